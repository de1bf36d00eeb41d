// The HTTP/1.1 server: one thread, one event loop, up to three listeners (API, metrics only, unix socket).
//
// Bounds are options with the values of interface.md as defaults; what lies over a bound is answered with its own
// status code and never kept. A caller that is slow, silent, lying or gone costs at most one connection for at most
// `request_time`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "net/http_types.h"
#include "net/router.h"

namespace wa::net {

// Something an operator may want to read in the log. `event` is a stable name.
struct Notice {
    enum class Level : std::uint8_t { kInfo, kWarning, kError } level = Level::kInfo;
    std::string_view event;
    std::string message;
};

// One answered request, for metrics. Valid during the call, on the server's thread.
struct Served {
    std::string_view method;
    std::string_view pattern;  // of the route; empty when none matched
    int status = 0;
    Duration took{};
};

struct ServerOptions {
    // API. Empty host = no TCP listener at all. "0.0.0.0" and "::" listen on every address.
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;  // 0 = any free one
    // Second listener on the same host that serves `metrics_router` only. Equal to `port` (and not 0) = no second one.
    bool metrics_listener = false;
    std::uint16_t metrics_port = 9090;
    // Unix socket, made with mode 0600. Empty = none. At most 107 bytes.
    std::string socket_path;

    std::string token;  // empty: nobody may write over TCP
    // Asked when the bearer token is not `token` (a JWT of the mesh, say). Null = no.
    std::function<bool(const Request&, std::string_view bearer)> accept_bearer;
    std::vector<std::string> own_names;   // further names for Host and Origin
    bool remote_reads_need_token = true;  // Access::kRead from other machines

    std::size_t max_connections = 1024;        // on the API port; lowered when the process may not open that many files
    std::size_t max_metrics_connections = 64;  // apart, so that a flood on the API does not blind the scraper
    std::size_t max_socket_connections = 256;  // apart, so that the CLI gets through
    std::size_t max_header_bytes = kMaxHeaderBytes;
    std::size_t max_target_bytes = kMaxTargetBytes;
    std::size_t max_body_memory = 256 * 1024 * 1024;   // of all requests together; beyond it 503
    std::size_t max_stream_queue = 1024 * 1024;        // unsent bytes of one stream
    Duration request_time = std::chrono::seconds(30);  // from the first byte of a request to its last
    Duration idle_time = std::chrono::seconds(60);     // between two requests of a connection
    Duration answer_time = std::chrono::seconds(60);   // a handler that has not answered by then: 504
    Duration write_time = std::chrono::seconds(30);    // without a byte taken by the reader
    Duration linger_time =
        std::chrono::seconds(5);  // for the rest of a refused body, so that the caller sees the answer

    std::function<void(const Notice&)> on_notice;  // on the server's thread (and inside start())
    std::function<void(const Served&)> on_served;
};

// Where the server really listens.
struct Endpoints {
    std::string host;
    std::uint16_t port = 0;          // 0 = no TCP listener
    std::uint16_t metrics_port = 0;  // the same as `port` when both are one; 0 = none
    std::string socket_path;
};

struct ServerStats {
    std::size_t connections = 0;
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;  // over the limit
    std::uint64_t requests = 0;
    std::size_t body_bytes = 0;
};

class HttpServer {
public:
    // Binds and starts to serve. kConflict when an address is taken (the message names host and port, `field` the
    // setting), kNotAllowed, kInvalidArgument. Both routers must hold what they need for the server's life.
    [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(ServerOptions options, Router api,
                                                                   Router metrics = {});
    ~HttpServer();  // stop(0)
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    [[nodiscard]] const Endpoints& endpoints() const;
    [[nodiscard]] ServerStats stats() const;  // any thread
    [[nodiscard]] std::shared_ptr<Loop> loop() const;
    // No new connections from now on; answers under way get up to `grace`; streams are ended. Returns when the thread
    // has ended. Not from the server's own thread. The socket file is removed.
    void stop(Duration grace);

private:
    class Impl;
    explicit HttpServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace wa::net
