// The client side of the worker's HTTP API. The only includer of libcurl is api_client.cpp.
//
// Not thread-safe; one request at a time (an open stream may exist beside it). Everything has a deadline, answers have
// a largest size, redirects are not followed, and the environment's proxies are not used for this machine.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/endpoint.h"
#include "cli/interrupt.h"

namespace wa::cli {

struct ApiOptions {
    std::chrono::milliseconds request_time{30'000};
    std::chrono::milliseconds connect_time{5'000};
    std::size_t max_body = 256 * 1024 * 1024;
    std::string user_agent = "worker-agents";
    InterruptWatch* interrupt = nullptr;  // when set, Ctrl-C ends a request with kCancelled
};

struct ApiAnswer {
    int status = 0;
    std::string content_type;  // lower case, without parameters
    std::string body;
};

// A body that arrives bit by bit: events, followed logs.
class ApiStream {
public:
    virtual ~ApiStream() = default;
    struct Piece {
        std::string bytes;
        bool ended = false;  // properly, by the server
    };
    // What has arrived, waiting at most `wait` for the first byte. An empty piece that has not ended = nothing came.
    // kUnavailable: the connection broke. kCancelled: interrupted.
    [[nodiscard]] virtual Result<Piece> read(std::chrono::milliseconds wait) = 0;
};

class ApiClient {
public:
    ApiClient(Server server, ApiOptions options);
    ~ApiClient();
    ApiClient(ApiClient&&) noexcept;
    ApiClient& operator=(ApiClient&&) noexcept;

    [[nodiscard]] const Server& server() const;

    // Answers of 2xx. Everything else is an error whose code says what kind (kNotAllowed 401/403, kNotFound 404,
    // kConflict 409, kInvalidArgument 422, kLimitExceeded 413, …), whose message is what the server said, and whose
    // origin is "api"; kUnavailable with origin "connect" means that no server was reached.
    [[nodiscard]] Result<ApiAnswer> get(std::string_view target);
    [[nodiscard]] Result<ApiAnswer> post(std::string_view target, std::string_view body,
                                         std::string_view content_type = "application/json");
    [[nodiscard]] Result<ApiAnswer> remove(std::string_view target);  // DELETE
    // Like get(), but whatever the status is, it is an answer (health, ready).
    [[nodiscard]] Result<ApiAnswer> probe(std::string_view target);

    // Returns once the head of the answer is there and is 200. The stream may outlive neither the client nor its
    // interrupt.
    [[nodiscard]] Result<std::unique_ptr<ApiStream>> stream(std::string_view target,
                                                            std::string_view last_event_id = {});

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// What a refusal means. `answer` may hold application/problem+json.
[[nodiscard]] Error error_of(const ApiAnswer& answer, const Server& server);

// One piece of a path or query, percent-encoded.
[[nodiscard]] std::string encoded(std::string_view text);

}  // namespace wa::cli
