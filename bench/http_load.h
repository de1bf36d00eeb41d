// A load generator small enough not to be what is measured: one thread, prebuilt requests, keep-alive, one request at a
// time on each connection. Any failure ends the program with a message: a benchmark with errors in it is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace wa::bench {

struct Reply {
    int status = 0;
    std::string body;
    double took_ms = 0;        // from before the first byte was sent to the last byte of the answer
    std::int64_t sent_ns = 0;  // wall clock
};

class HttpLoad {
public:
    // 127.0.0.1 only. `token` goes into every request.
    HttpLoad(std::uint16_t port, std::string token, std::size_t connections);
    ~HttpLoad();
    HttpLoad(const HttpLoad&) = delete;
    HttpLoad& operator=(const HttpLoad&) = delete;

    [[nodiscard]] std::string request(std::string_view method, std::string_view path, std::string_view body = {}) const;
    // Sends all of them, each on the next connection that is free; returns when the last one is answered.
    void run(const std::vector<std::string>& requests, const std::function<void(std::size_t, Reply&)>& answered);
    // One request on the first connection.
    [[nodiscard]] Reply one(const std::string& request);

private:
    struct Connection {
        int fd = -1;
        std::size_t index = 0;  // of the request under way
        std::size_t sent = 0;
        std::string received;
        bool busy = false;
        double began = 0;
        std::int64_t sent_ns = 0;
    };
    void begin(Connection& connection, const std::vector<std::string>& requests, std::size_t index);
    void send_rest(Connection& connection, const std::string& request);
    [[nodiscard]] static bool parse(std::string_view received, Reply& reply);

    std::uint16_t port_;
    std::string token_;
    int poll_ = -1;
    std::vector<Connection> connections_;
};

[[nodiscard]] double now_ms();         // steady
[[nodiscard]] std::int64_t wall_ns();  // since 1970
[[noreturn]] void give_up(const std::string& message);

}  // namespace wa::bench
