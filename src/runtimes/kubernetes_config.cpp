#include "runtimes/kubernetes_config.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <utility>

#include "core/codec/text.h"
#include "http_client/url.h"
#include "plan_file/yaml.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr DocumentLimits kLimits{kMaxKubeconfigBytes, 32, 20'000};
constexpr std::size_t kMaxToken = 64 * 1024;
constexpr std::size_t kShownNames = 10;
constexpr std::string_view kBlanks = " \t\r\n";

Failure refuse(std::string why, std::string fix = {}) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "k8s", std::move(why));
    error.fix = std::move(fix);
    return Failure(std::move(error));
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// A name that came out of the file, for people.
std::string shown_name(std::string_view name) {
    constexpr std::size_t kShown = 60;
    return "'" + clip(name, kShown) + "'";
}

// One mapping of the file, and how it is called in messages: "the user 'admin'".
class Section {
public:
    Section(const json::object& fields, std::string called) : fields_(fields), called_(std::move(called)) {}

    [[nodiscard]] const std::string& called() const { return called_; }

    // Absent and null are the same.
    [[nodiscard]] const json::value* find(std::string_view key) const {
        const json::value* value = fields_.if_contains(key);
        return value == nullptr || value->is_null() ? nullptr : value;
    }

    // A word; numbers that nobody put quotes around are words too.
    [[nodiscard]] Result<std::string> text(std::string_view key) const {
        const json::value* value = find(key);
        if (value == nullptr) return std::string();
        if (value->is_object() || value->is_array()) return refuse(field(key) + " is not a text");
        std::string word = value_text(*value);
        if (word.find('\0') != std::string::npos) return refuse(field(key) + " holds a NUL character");
        return word;
    }

    [[nodiscard]] Result<bool> flag(std::string_view key) const {
        const json::value* value = find(key);
        if (value == nullptr) return false;
        if (!value->is_bool()) return refuse(field(key) + " is neither true nor false");
        return value->get_bool();
    }

    // Of a "…-data" field.
    [[nodiscard]] Result<std::string> pem(std::string_view key) const {
        WA_TRY(std::string coded, text(key));
        if (coded.empty()) return coded;
        std::erase_if(coded, [](char c) { return kBlanks.find(c) != std::string_view::npos; });
        auto plain = from_base64(coded);
        if (!plain) return refuse(field(key) + " is not Base64");
        if (plain->find("-----BEGIN ") == std::string::npos) return refuse(field(key) + " holds no PEM");
        return *std::move(plain);
    }

    [[nodiscard]] Result<std::string> path(std::string_view key, const fs::path& folder) const {
        WA_TRY(const std::string file, text(key));
        return file.empty() ? file : (folder / file).lexically_normal().string();
    }

    // Something is there that would have to be obeyed, and cannot be.
    [[nodiscard]] bool uses(std::string_view key) const {
        const json::value* value = find(key);
        if (value == nullptr) return false;
        if (const auto* text = value->if_string()) return !text->empty();
        if (const auto* list = value->if_array()) return !list->empty();
        if (const auto* object = value->if_object()) return !object->empty();
        return true;
    }

    [[nodiscard]] std::string field(std::string_view key) const { return std::string(key) + " of " + called_; }

private:
    const json::object& fields_;
    std::string called_;
};

// The kinds of named entries: clusters: [{name: …, cluster: {…}}], …
struct EntryKind {
    std::string_view list;
    std::string_view member;
};
constexpr EntryKind kContexts{"contexts", "context"};
constexpr EntryKind kClusters{"clusters", "cluster"};
constexpr EntryKind kUsers{"users", "user"};

std::string names_of(const json::array& entries) {
    std::string names;
    std::size_t count = 0;
    for (const json::value& entry : entries) {
        const auto* object = entry.if_object();
        const json::value* name = object != nullptr ? object->if_contains("name") : nullptr;
        if (name == nullptr || name->is_structured()) continue;
        if (++count > kShownNames) return names + ", …";
        names += (names.empty() ? "" : ", ") + shown_name(value_text(*name));
    }
    return names;
}

Result<Section> find_entry(const Section& root, const EntryKind& kind, const std::string& name) {
    const std::string member(kind.member);
    const json::value* list = root.find(kind.list);
    const json::array* entries = list != nullptr ? list->if_array() : nullptr;
    if (entries == nullptr) return refuse("it has no list '" + std::string(kind.list) + "'");
    std::optional<Section> found;
    for (const json::value& entry : *entries) {
        const auto* object = entry.if_object();
        const json::value* its_name = object != nullptr ? object->if_contains("name") : nullptr;
        if (its_name == nullptr || its_name->is_structured() || value_text(*its_name) != name) continue;
        if (found) return refuse("it has the " + member + " " + shown_name(name) + " twice");
        static const json::object kNothing;
        const json::value* body = object->if_contains(kind.member);
        if (body != nullptr && !body->is_null() && !body->is_object())
            return refuse("the " + member + " " + shown_name(name) + " is not a mapping");
        found.emplace(body != nullptr && body->is_object() ? body->get_object() : kNothing,
                      "the " + member + " " + shown_name(name));
    }
    if (found) return *std::move(found);
    const std::string there = names_of(*entries);
    return refuse("it has no " + member + " " + shown_name(name) +
                  (there.empty() ? std::string() : "; there are " + there));
}

Result<void> check_kind(const Section& root) {
    WA_TRY(const std::string kind, root.text("kind"));
    WA_TRY(const std::string version, root.text("apiVersion"));
    if (!kind.empty() && kind != "Config") return refuse("its kind is " + shown_name(kind) + ", not Config");
    if (!version.empty() && version != "v1") return refuse("its apiVersion is " + shown_name(version) + ", not v1");
    return {};
}

Result<void> read_cluster(const Section& cluster, const fs::path& folder, Login& login) {
    WA_TRY(const std::string address, cluster.text("server"));
    if (address.empty()) return refuse(cluster.called() + " has no server");
    auto server = read_server(address, login.tls);
    if (!server) return refuse(cluster.field("server") + ": " + server.error().message);
    login.server = *std::move(server);
    for (const std::string_view key : {"proxy-url", "tls-server-name"}) {
        if (cluster.uses(key)) return refuse(cluster.field(key) + " is not supported", "remove it");
    }
    WA_TRY(const bool insecure, cluster.flag("insecure-skip-tls-verify"));
    WA_TRY(login.ca_pem, cluster.pem("certificate-authority-data"));
    WA_TRY(login.ca_file, cluster.path("certificate-authority", folder));
    if (insecure && (!login.ca_pem.empty() || !login.ca_file.empty()))
        return refuse(cluster.called() + " has a certificate authority, and insecure-skip-tls-verify");
    login.verify = !insecure;
    return {};
}

// Another way to log in than what is said in the file. Nothing is executed for it.
Result<void> refuse_foreign_logins(const Section& user) {
    if (const json::value* exec = user.find("exec"); exec != nullptr && user.uses("exec")) {
        const auto* object = exec->if_object();
        const json::value* command = object != nullptr ? object->if_contains("command") : nullptr;
        const std::string named =
            command != nullptr && command->is_string() ? " (" + shown_name(value_text(*command)) + ")" : std::string();
        return refuse(user.called() + " logs in with an exec plug-in" + named + "; no program is started for that",
                      "give the worker a token, a tokenFile or a client certificate of a service account");
    }
    if (user.uses("auth-provider"))
        return refuse(user.called() + " logs in with an auth-provider, which is not supported",
                      "give the worker a token, a tokenFile or a client certificate of a service account");
    for (const std::string_view key : {"as", "as-uid", "as-groups", "as-user-extra"}) {
        if (user.uses(key))
            return refuse(user.field(key) + ": acting as somebody else is not supported",
                          "give the worker a user of its own");
    }
    return {};
}

Result<void> read_user(const Section& user, const fs::path& folder, Login& login) {
    WA_CHECKED(refuse_foreign_logins(user));
    WA_TRY(login.cert_pem, user.pem("client-certificate-data"));
    WA_TRY(login.cert_file, user.path("client-certificate", folder));
    WA_TRY(login.key_pem, user.pem("client-key-data"));
    WA_TRY(login.key_file, user.path("client-key", folder));
    const bool certificate = !login.cert_pem.empty() || !login.cert_file.empty();
    const bool key = !login.key_pem.empty() || !login.key_file.empty();
    if (certificate != key)
        return refuse(user.called() + " has " + (key ? "a client key without its certificate" : "no client key") +
                      (key ? "" : " for its certificate"));
    WA_TRY(const std::string token, user.text("token"));
    if (!token.empty()) {
        auto usable = read_token(token);
        if (!usable) return refuse(user.field("token") + " " + usable.error().message);
        login.token = *std::move(usable);
    }
    WA_TRY(login.token_file, user.path("tokenFile", folder));
    WA_TRY(login.user, user.text("username"));
    WA_TRY(login.password, user.text("password"));
    const bool basic = !login.user.empty() || !login.password.empty();
    if (basic && login.has_token()) return refuse(user.called() + " has a token, and a password");
    if (basic && login.user.empty()) return refuse(user.called() + " has a password without a username");
    if (login.user.find(':') != std::string::npos) return refuse(user.field("username") + " holds a colon");
    return {};
}

}  // namespace

Result<std::string> read_token(std::string_view text) {
    const std::string_view token = trimmed(text);
    if (token.empty()) return refuse("is empty");
    if (token.size() > kMaxToken) return refuse("is longer than " + std::to_string(kMaxToken) + " bytes");
    const bool sendable = std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; });
    if (!sendable) return refuse("holds characters that no token has");
    return std::string(token);
}

Result<std::string> read_server(std::string_view text, bool& tls) {
    const std::string address(trimmed(text));
    if (!address.starts_with("http://") && !address.starts_with("https://"))
        return refuse("it begins neither with https:// nor with http://");
    WA_TRY(const http::Url url, http::parse_url(address));
    if (!url.authorization.empty() || address.find_first_of("?#") != std::string::npos)
        return refuse("an address has no password, no query and no fragment");
    std::string base = url.text;
    while (base.ends_with('/'))
        base.pop_back();
    tls = url.tls;
    return base;
}

Result<Login> read_kubeconfig(std::string_view text, const std::string& context, const fs::path& folder) {
    TextMark where;
    const auto document = read_yaml_document(text, kLimits, &where);
    if (!document) {
        // What the reader quotes may be part of a key.
        std::string message = "it is not YAML of at most 1 MiB";
        if (where.line > 0)
            message += " (line " + std::to_string(where.line) + ", column " + std::to_string(where.column) + ")";
        return tl::unexpected(
            make_error(document.error().code, Retry::kNever, Fault::kInput, "k8s", std::move(message)));
    }
    if (!document->root.is_object()) return refuse("it is not a mapping");
    const Section root(document->root.get_object(), "the file");
    WA_CHECKED(check_kind(root));
    Login login;
    login.context = context;
    if (login.context.empty()) {
        WA_TRY(login.context, root.text("current-context"));
        if (login.context.empty()) return refuse("it has no current-context", "name a context (K8S_JOBS_CONTEXT)");
    }
    WA_TRY(const Section chosen, find_entry(root, kContexts, login.context));
    WA_TRY(const std::string cluster_name, chosen.text("cluster"));
    if (cluster_name.empty()) return refuse(chosen.called() + " names no cluster");
    WA_TRY(const Section cluster, find_entry(root, kClusters, cluster_name));
    WA_CHECKED(read_cluster(cluster, folder, login));
    WA_TRY(const std::string user_name, chosen.text("user"));
    if (user_name.empty()) return login;
    WA_TRY(const Section user, find_entry(root, kUsers, user_name));
    WA_CHECKED(read_user(user, folder, login));
    return login;
}

}  // namespace wa::kubernetes
