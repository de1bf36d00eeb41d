// The table of routes and the handlers behind them. Plain; knows no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/http_types.h"

namespace wa::net {

// Work on the server's own thread. Lives as long as anybody holds it; after the server has stopped, calls do nothing.
class Loop {
public:
    virtual ~Loop() = default;
    // From any thread. Runs later, never inside the call.
    virtual void post(std::function<void()> work) = 0;
    // Runs `work` once after `delay` unless the handle is destroyed first. On the loop's thread only.
    class Timer {
    public:
        virtual ~Timer() = default;
    };
    [[nodiscard]] virtual std::unique_ptr<Timer> after(Duration delay, std::function<void()> work) = 0;
};

// A response whose body is written bit by bit (events, followed logs). Threads: any, except where said otherwise.
class Stream {
public:
    virtual ~Stream() = default;
    // False when the other side is gone, or when more than the stream's limit is waiting unread; the stream is then
    // closed, because a reader that does not read may not cost memory. Check queued() first to be gentle with a slow
    // reader.
    virtual bool write(std::string bytes) = 0;
    // Ends the body properly once everything written has gone out.
    virtual void finish() = 0;
    [[nodiscard]] virtual bool closed() const = 0;
    // Bytes that wait to be sent.
    [[nodiscard]] virtual std::size_t queued() const = 0;
    // Called once, on the loop's thread, when the stream has ended for whatever reason; at once (posted) if it has
    // already.
    virtual void on_close(std::function<void()> work) = 0;
    // Called on the loop's thread each time that everything written has been sent.
    virtual void on_drained(std::function<void()> work) = 0;
};

// What stands behind a Responder.
class Exchange {
public:
    virtual ~Exchange() = default;
    virtual void send(Response response) = 0;
    virtual std::shared_ptr<Stream> stream(Response head) = 0;
    virtual std::shared_ptr<Loop> loop() = 0;
};

// The right, and the duty, to answer one request exactly once. May be moved to any thread. Destroyed without an answer,
// it answers 500, so that no caller ever waits for nothing.
class Responder {
public:
    explicit Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
    Responder(Responder&&) noexcept = default;
    Responder& operator=(Responder&& other) noexcept;
    Responder(const Responder&) = delete;
    Responder& operator=(const Responder&) = delete;
    ~Responder();

    // Only the first of send() and stream() counts.
    void send(Response response);
    // `head`: status, content type and headers; its body must be empty.
    [[nodiscard]] std::shared_ptr<Stream> stream(Response head);
    [[nodiscard]] std::shared_ptr<Loop> loop() const { return exchange_ ? exchange_->loop() : nullptr; }
    [[nodiscard]] bool answered() const { return exchange_ == nullptr; }

private:
    std::shared_ptr<Exchange> exchange_;
};

enum class Access : std::uint8_t {
    kOpen,   // probes, scrapes, the API description: anybody who reaches the port
    kRead,   // token needed when the caller is neither on this machine nor on the socket
    kWrite,  // token needed unless on the socket
};

struct Route {
    std::string method;   // "GET"; HEAD is answered by the GET route
    std::string pattern;  // "/api/v1/tickets/{id}"
    Access access = Access::kRead;
    std::size_t body_limit = 64 * 1024;  // bytes; more is answered 413 without being kept
    std::vector<std::string> content_types =
        {};  // media types taken for a body, empty = any; none sent is taken as the first
    // Called on the server's thread; must not block for long. Must not throw.
    std::function<void(Request, Responder)> handle = {};
};

class Router {
public:
    // A route whose method and pattern are there already replaces it (WA_CHECK: patterns start with a slash).
    void add(Route route);

    struct Match {
        const Route* route = nullptr;  // null: see `allow`
        NameValues params;
        std::string allow;  // methods that this path knows, for 405; empty: no such path
    };
    // `segments`: decoded pieces of the path. A literal piece wins over a {name}.
    [[nodiscard]] Match match(std::string_view method, const std::vector<std::string>& segments) const;
    [[nodiscard]] std::vector<const Route*> routes() const;

private:
    struct Entry {
        std::unique_ptr<Route> route;
        std::vector<std::string> pieces;
        std::size_t literals = 0;
    };
    static bool fits(const Entry& entry, const std::vector<std::string>& segments, NameValues* params);
    std::vector<Entry> entries_;  // more literals first
};

}  // namespace wa::net
