#include "runtimes/registry_auth.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxBytes = 64 * 1024;
constexpr std::size_t kMaxEntries = 256;

Failure refuse(std::string why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "docker", std::move(why));
    error.field = "DOCKER_AUTH_CONFIG";
    error.fix = R"(give it the form of ~/.docker/config.json: {"auths": {"registry": {"auth": "..."}}})";
    return Failure(std::move(error));
}

std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string(text->data(), text->size()) : std::string();
}

// "https://index.docker.io/v1/" is docker.io.
std::string host_of(std::string_view address) {
    if (const std::size_t scheme = address.find("://"); scheme != std::string_view::npos)
        address.remove_prefix(scheme + 3);
    address = address.substr(0, address.find('/'));
    if (address == "index.docker.io" || address == "registry-1.docker.io") address = "docker.io";
    return std::string(address);
}

}  // namespace

Result<RegistryAuth> RegistryAuth::parse(std::string_view text) {
    RegistryAuth auth;
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return auth;
    JsonLimits limits;
    limits.max_bytes = kMaxBytes;
    limits.max_depth = 8;
    const auto parsed = parse_json(text, limits);
    if (!parsed || !parsed->is_object()) return refuse("it is not a JSON object of at most 64 KiB");
    const auto* auths = parsed->get_object().if_contains("auths");
    if (auths == nullptr || !auths->is_object()) return refuse("it has no object \"auths\"");
    if (auths->get_object().size() > kMaxEntries) return refuse("it names more than 256 registries");
    for (const auto& [key, value] : auths->get_object()) {
        if (!value.is_object()) return refuse("an entry of \"auths\" is not an object");
        Entry entry;
        entry.address = std::string(key.data(), key.size());
        entry.username = text_of(value.get_object(), "username");
        entry.password = text_of(value.get_object(), "password");
        entry.token = text_of(value.get_object(), "identitytoken");
        if (const std::string both = text_of(value.get_object(), "auth"); !both.empty()) {
            const auto plain = from_base64(both);
            const std::size_t colon = plain ? plain->find(':') : std::string::npos;
            if (colon == std::string::npos)
                return refuse("the \"auth\" of '" + clip(entry.address) + "' is not Base64 of user:password");
            entry.username = plain->substr(0, colon);
            entry.password = plain->substr(colon + 1);
        }
        auth.entries_.insert_or_assign(host_of(entry.address), std::move(entry));
    }
    return auth;
}

std::string RegistryAuth::header_for(std::string_view registry) const {
    const auto found = entries_.find(registry);
    if (found == entries_.end()) return {};
    const Entry& entry = found->second;
    std::string text;
    JsonObjectWriter writer(text);
    if (entry.token.empty()) {
        writer.text("username", entry.username);
        writer.text("password", entry.password);
    } else {
        writer.text("identitytoken", entry.token);
    }
    writer.text("serveraddress", entry.address);
    writer.close();
    std::string header = base64(text);
    std::ranges::replace(header, '+', '-');
    std::ranges::replace(header, '/', '_');
    return header;
}

std::vector<std::string> RegistryAuth::secrets() const {
    std::vector<std::string> values;
    for (const auto& [host, entry] : entries_) {
        if (!entry.password.empty()) values.push_back(entry.password);
        if (!entry.token.empty()) values.push_back(entry.token);
    }
    return values;
}

}  // namespace wa
