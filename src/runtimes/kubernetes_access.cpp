#include "runtimes/kubernetes_access.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/codec/text.h"
#include "http_client/kept_files.h"
#include "http_client/network.h"
#include "http_client/url.h"
#include "runtimes/kubernetes_config.h"

namespace wa::kubernetes {
namespace {

constexpr std::int64_t kMaxTokenFile = 64LL * 1024;

Error problem(ErrorCode code, Retry retry, std::string message, std::string fix) {
    Error error = make_error(code, retry, Fault::kWorker, "k8s", std::move(message));
    error.fix = std::move(fix);
    return error;
}

bool same_name(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::ranges::equal(a, b, {}, lower, lower);
}

void authorize(http::Request& request, std::string value) {
    std::erase_if(request.headers, [](const http::Header& header) { return same_name(header.name, "authorization"); });
    request.headers.push_back({"Authorization", std::move(value)});
}

// Passwords do not go over a network in the clear.
bool stays_here(const std::string& server) {
    const auto url = http::parse_url(server);
    if (!url) return false;
    if (url->host == "localhost") return true;
    const auto address = http::parse_ip(url->host);
    return address && http::kind_of(*address) == http::AddressKind::kLoopback;
}

}  // namespace

struct Access::State {
    explicit State(AccessOptions given) : options(std::move(given)) {}

    Result<void> open();
    Result<void> open_pod();
    Result<void> read_config();
    void refresh();
    void take(Login fresh);
    [[nodiscard]] Result<std::string> token();

    AccessOptions options;
    http::KeptFiles configs{
        {.what = "kubeconfig", .origin = "k8s", .max_bytes = static_cast<std::int64_t>(kMaxKubeconfigBytes)}};
    http::KeptFiles tokens{{.what = "token file", .origin = "k8s", .max_bytes = kMaxTokenFile}};
    std::shared_ptr<const std::string> config;  // as it was last looked at
    Login login;
    http::TlsOptions tls;
    std::shared_ptr<const std::string> token_bytes;  // as the token was last made of
    std::string file_token;                          // the last good one
};

void Access::State::take(Login fresh) {
    if (fresh.token_file != login.token_file) {
        token_bytes.reset();
        file_token.clear();
    }
    login = std::move(fresh);
    tls = {};
    tls.verify = login.verify;
    tls.ca_file = login.ca_file;
    tls.ca_pem = login.ca_pem;
    tls.client_cert = login.cert_file;
    tls.client_cert_pem = login.cert_pem;
    tls.client_key = login.key_file;
    tls.client_key_pem = login.key_pem;
}

Result<void> Access::State::open() {
    if (options.kubeconfig.empty()) return open_pod();
    WA_TRY(config, configs.read(options.kubeconfig));
    return read_config();
}

Result<void> Access::State::open_pod() {
    static const std::string kFix = "name a kubeconfig (K8S_JOBS_KUBECONFIG_PATH), or run the worker in a pod";
    if (options.service_host.empty())
        return tl::unexpected(problem(ErrorCode::kInvalidArgument, Retry::kNever,
                                      "this worker is not in a pod (KUBERNETES_SERVICE_HOST is not set), and no "
                                      "kubeconfig is named",
                                      kFix));
    const bool v6 = options.service_host.find(':') != std::string::npos;
    Login pod;
    auto server = read_server(
        "https://" + (v6 ? "[" + options.service_host + "]" : options.service_host) + ":" + options.service_port,
        pod.tls);
    if (!server)
        return tl::unexpected(problem(ErrorCode::kInvalidArgument, Retry::kNever,
                                      "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address", kFix));
    const std::filesystem::path folder = options.account_folder;
    pod.server = *std::move(server);
    pod.ca_file = (folder / "ca.crt").string();
    pod.token_file = (folder / "token").string();
    take(std::move(pod));
    if (auto there = token(); !there) {
        there.error().fix = "let the pod have its account's token (automountServiceAccountToken)";
        return tl::unexpected(std::move(there).error());
    }
    return {};
}

Result<void> Access::State::read_config() {
    const std::filesystem::path folder = std::filesystem::path(options.kubeconfig).parent_path();
    auto fresh = read_kubeconfig(*config, options.context, folder);
    if (!fresh) {
        Error error = std::move(fresh).error();
        error.code = ErrorCode::kInvalidArgument;
        error.message = "the kubeconfig '" + options.kubeconfig + "' cannot be used: " + error.message;
        if (error.fix.empty()) error.fix = "correct it; kubectl --kubeconfig shows what else is wrong with it";
        return tl::unexpected(std::move(error));
    }
    if (!fresh->tls && fresh->has_secret() && !stays_here(fresh->server))
        return tl::unexpected(problem(ErrorCode::kInvalidArgument, Retry::kNever,
                                      "the kubeconfig '" + options.kubeconfig +
                                          "' cannot be used: its token or password would go over http:// as it is",
                                      "reach the API server over https://"));
    // Whoever switches the file to another context does not mean to move this worker's Jobs to another cluster.
    options.context = fresh->context;
    take(*std::move(fresh));
    return {};
}

void Access::State::refresh() {
    if (options.kubeconfig.empty()) return;
    const auto now = configs.read(options.kubeconfig);
    if (!now || *now == config) return;
    config = *now;
    // What is not usable leaves the last good one in force.
    static_cast<void>(read_config());
}

Result<std::string> Access::State::token() {
    if (login.token_file.empty()) return login.token;
    const auto now = tokens.read(login.token_file);
    if (now && *now != token_bytes) {
        if (auto fresh = read_token(**now)) {
            file_token = *std::move(fresh);
            token_bytes = *now;
        } else if (file_token.empty() && login.token.empty()) {
            return tl::unexpected(problem(ErrorCode::kUnavailable, Retry::kAfterBackoff,
                                          "the token file '" + login.token_file + "' " + fresh.error().message,
                                          "put the account's token into it"));
        }
    }
    if (!file_token.empty()) return file_token;
    if (!login.token.empty()) return login.token;
    return tl::unexpected(now.error());
}

Result<Access> Access::open(AccessOptions options) {
    auto state = std::make_unique<State>(std::move(options));
    WA_CHECKED(state->open());
    return Access(std::move(state));
}

Access::Access(std::unique_ptr<State> state) : state_(std::move(state)) {}
Access::Access(Access&&) noexcept = default;
Access& Access::operator=(Access&&) noexcept = default;
Access::~Access() = default;

Result<void> Access::apply(http::Request& request) {
    if (!request.url.starts_with('/'))
        return fail(ErrorCode::kInternal, "k8s", "a request to the API server is not a path");
    state_->refresh();
    const Login& login = state_->login;
    std::string authorization;
    if (login.has_token()) {
        WA_TRY(const std::string token, state_->token());
        authorization = "Bearer " + token;
    } else if (!login.user.empty()) {
        authorization = "Basic " + base64(login.user + ":" + login.password);
    }
    if (!authorization.empty()) authorize(request, std::move(authorization));
    request.url = login.server + request.url;
    request.tls = state_->tls;
    return {};
}

const std::string& Access::server() const {
    return state_->login.server;
}

}  // namespace wa::kubernetes
