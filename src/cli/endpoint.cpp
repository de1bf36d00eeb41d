#include "cli/endpoint.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json/value.hpp>
#include <cstring>
#include <filesystem>

#include "config/environment.h"
#include "config/values.h"
#include "core/codec/json_limits.h"

namespace wa::cli {
namespace {

constexpr std::string_view kDefaultAddress = "http://127.0.0.1:8080";

Failure unreachable(std::string message, std::string fix) {
    Error error =
        make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "connect", std::move(message));
    error.fix = std::move(fix);
    return tl::unexpected(std::move(error));
}

// A socket file stays behind when a worker is killed: only one that somebody listens on counts.
bool somebody_listens(const std::string& path) {
    sockaddr_un address{};
    if (path.size() >= sizeof(address.sun_path)) return false;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0) return false;
    const int answer =
        ::connect(file, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address));
    ::close(file);
    return answer == 0;
}

Server on_socket(const std::string& path) {
    return {"http://localhost", path, {}, "unix:" + path, {}};
}

Result<Server> on_address(std::string_view text) {
    std::string url(config::trim(text));
    if (url.starts_with("unix://")) return on_socket(url.substr(7));
    if (url.starts_with('/')) return on_socket(url);
    if (url.find("://") == std::string::npos) url = "http://" + url;
    while (url.ends_with('/') && !url.ends_with("//"))
        url.pop_back();
    const auto good = config::parse_url(url);
    const config::Host host = config::url_host(url);
    if (!good || host.name.empty() || (host.scheme != "http" && host.scheme != "https")) {
        return invalid("--server", "--server must be http://host:port or unix:///path");
    }
    return Server{url, {}, {}, config::mask_url(url), {}};
}

bool is_this_machine(const Server& server) {
    if (!server.socket_path.empty()) return true;
    const std::string host = config::url_host(server.base_url).name;
    return host == "localhost" || host == "::1" || (host.starts_with("127.") && config::is_internal_host(host, {}));
}

// The address that a running worker wrote down.
std::optional<Server> written_address(const std::string& folder) {
    const auto text = config::read_small_file(folder + "/endpoints", 64 * 1024);
    if (!text) return std::nullopt;
    const auto json = parse_json(*text);
    if (!json || !json->is_object()) return std::nullopt;
    const auto* http = json->as_object().if_contains("http");
    if (http == nullptr || !http->is_string()) return std::nullopt;
    auto server = on_address(std::string_view(http->as_string().data(), http->as_string().size()));
    if (!server) return std::nullopt;
    return *server;
}

std::optional<Server> in_folder(const std::string& folder) {
    if (folder.empty()) return std::nullopt;
    const std::string socket = folder + "/api.sock";
    if (somebody_listens(socket)) return on_socket(socket);
    return written_address(folder);
}

Result<std::string> first_line_of(const std::string& path) {
    WA_TRY(const std::string text, config::read_small_file(path, 64 * 1024));
    const std::string token(config::trim(text));
    if (token.empty() || token.find_first_of("\r\n \t") != std::string::npos) {
        return fail(ErrorCode::kNotAllowed, "files", path + " does not hold one token");
    }
    return token;
}

Result<void> add_token(Server& server, const GlobalOptions& global, const std::string& folder) {
    if (!global.token_file.empty()) {
        auto token = first_line_of(global.token_file);
        if (!token) return tl::unexpected(std::move(token).error().in("--token-file"));
        server.token = std::move(*token);
        return {};
    }
    if (folder.empty() || !server.socket_path.empty() || !is_this_machine(server)) return {};
    // A missing or unreadable token is no error yet: reading needs none.
    if (auto token = first_line_of(folder + "/token")) server.token = std::move(*token);
    return {};
}

Result<Server> choose(const GlobalOptions& global, const std::string& folder) {
    if (!global.server.empty()) {
        WA_TRY(Server server, on_address(global.server));
        server.found_by = "--server";
        return server;
    }
    if (auto server = in_folder(folder)) {
        server->found_by = "state folder " + folder;
        return std::move(*server);
    }
    if (!global.state_dir.empty()) {
        return unreachable("no worker runs with the state folder " + folder,
                           "start one: worker-agents dev --state-dir " + folder);
    }
    WA_TRY(Server server, on_address(kDefaultAddress));
    server.found_by = "default address";
    return server;
}

}  // namespace

std::string state_folder(const GlobalOptions& global, const config::Environment& environment) {
    if (global.state_dir.empty()) return config::default_state_dir(environment);
    std::error_code ignored;
    const auto path = std::filesystem::absolute(global.state_dir, ignored);
    return ignored ? global.state_dir : path.lexically_normal().string();
}

Result<Server> find_server(const GlobalOptions& global, const config::Environment& environment) {
    const std::string folder = state_folder(global, environment);
    WA_TRY(Server server, choose(global, folder));
    WA_CHECKED(add_token(server, global, folder));
    return server;
}

}  // namespace wa::cli
