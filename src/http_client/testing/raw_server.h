// For tests only: an HTTP server on the test's own io_context that answers exactly the bytes it is told to, or
// misbehaves in the way it is told to.
#pragma once

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace wa::http::testing {

namespace asio = boost::asio;

// A request as it came.
struct Seen {
    std::string method;
    std::string target;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    std::size_t connection = 0;  // which one, from 1
};

// More of an answer, whenever the test has it: after the first bytes, as they are. Ended once, by the test.
class Push {
public:
    void send(std::string_view bytes) {
        waiting_ += bytes;
        if (wake_) wake_();
    }
    void end(bool with_reset = false) {
        ended_ = true;
        resets_ = with_reset;
        if (wake_) wake_();
    }
    // Its connection is over.
    [[nodiscard]] bool closed() const { return closed_; }

private:
    template <class Protocol>
    friend class BasicRawServer;
    std::string waiting_;
    bool ended_ = false;
    bool resets_ = false;
    bool closed_ = false;
    std::function<void()> wake_;
};

struct Reaction {
    enum class Then : std::uint8_t {
        kKeep,   // wait for the next request
        kClose,  // end the connection properly
        kReset,  // end it with a reset
        kHold,   // do nothing any more, but keep it open
        kFlood,  // send `flood` again and again
        kShut,   // end its half of the connection, and keep the other open
        kPush,   // send what `push` has, until it ends
    };
    std::string bytes{};
    Then then = Then::kKeep;
    std::string flood{};
    std::chrono::milliseconds delay{0};       // before the first byte
    std::chrono::milliseconds byte_pause{0};  // after each byte; 0 = all at once
    std::shared_ptr<Push> push{};
};

inline std::string reply_text(int status, std::string_view body, std::string_view extra_headers = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + std::string(extra_headers) +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

inline Reaction reply(int status, std::string_view body, std::string_view extra_headers = {}) {
    return {.bytes = reply_text(status, body, extra_headers)};
}

template <class Protocol>
class BasicRawServer {
public:
    using Serve = std::function<Reaction(const Seen&)>;
    using Endpoint = typename Protocol::endpoint;
    using Socket = typename Protocol::socket;

    BasicRawServer(asio::io_context& loop, const Endpoint& endpoint, Serve serve)
        : state_(std::make_shared<State>(loop, endpoint, std::move(serve))) {
        state_->accept(state_);
    }
    ~BasicRawServer() { stop(); }
    BasicRawServer(const BasicRawServer&) = delete;
    BasicRawServer& operator=(const BasicRawServer&) = delete;

    // Ends all connections and listens no more.
    void stop() {
        state_->stopped = true;
        boost::system::error_code ignored;
        state_->acceptor.close(ignored);
        drop_connections();
    }
    void drop_connections() {
        for (const auto& connection : std::set<std::shared_ptr<Connection>>(state_->open))
            connection->close();
    }
    [[nodiscard]] Endpoint endpoint() const { return state_->acceptor.local_endpoint(); }
    [[nodiscard]] std::size_t connections() const { return state_->accepted; }
    [[nodiscard]] std::size_t open_connections() const { return state_->open.size(); }
    [[nodiscard]] std::size_t most_at_once() const { return state_->most_at_once; }
    [[nodiscard]] const std::vector<Seen>& seen() const { return state_->seen; }
    void set_serve(Serve serve) { state_->serve = std::move(serve); }
    // Connections are reset as soon as they are there.
    void reset_connections(bool yes) { state_->resets = yes; }

private:
    struct State;
    struct Connection : std::enable_shared_from_this<Connection> {
        Connection(Socket accepted, std::shared_ptr<State> owner, std::size_t which)
            : socket(std::move(accepted)), timer(socket.get_executor()), state(std::move(owner)), number(which) {}

        void read() {
            asio::async_read_until(socket, asio::dynamic_buffer(input), "\r\n\r\n",
                                   [self = this->shared_from_this()](const auto& error, std::size_t size) {
                                       if (error) return self->close();
                                       self->parse_head(size);
                                   });
        }
        void parse_head(std::size_t size) {
            std::string_view head(input.data(), size);
            current = {};
            current.connection = number;
            std::string_view first = take_line(head);
            current.method = std::string(first.substr(0, first.find(' ')));
            first.remove_prefix(std::min(first.size(), current.method.size() + 1));
            current.target = std::string(first.substr(0, first.find(' ')));
            for (std::string_view line = take_line(head); !line.empty(); line = take_line(head)) {
                const std::size_t colon = std::min(line.find(':'), line.size());
                std::string name(line.substr(0, colon));
                std::ranges::transform(name, name.begin(),
                                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
                std::string_view value = line.substr(std::min(colon + 1, line.size()));
                while (value.starts_with(' '))
                    value.remove_prefix(1);
                current.headers[name] = std::string(value);
            }
            input.erase(0, size);
            read_body(std::strtoull(current.headers["content-length"].c_str(), nullptr, 10));
        }
        void read_body(std::size_t size) {
            if (input.size() >= size) {
                current.body = input.substr(0, size);
                input.erase(0, size);
                return answer();
            }
            asio::async_read(socket, asio::dynamic_buffer(input), asio::transfer_exactly(size - input.size()),
                             [self = this->shared_from_this(), size](const auto& error, std::size_t) {
                                 if (error) return self->close();
                                 self->read_body(size);
                             });
        }
        void answer() {
            const auto owner = state.lock();
            if (!owner) return close();
            owner->seen.push_back(current);
            reaction = owner->serve(current);
            if (reaction.delay.count() == 0) return send();
            timer.expires_after(reaction.delay);
            timer.async_wait([self = this->shared_from_this()](const auto& error) {
                if (!error) self->send();
            });
        }
        void send(std::size_t at = 0) {
            const std::size_t size = reaction.byte_pause.count() == 0
                                         ? reaction.bytes.size() - at
                                         : std::min<std::size_t>(1, reaction.bytes.size() - at);
            asio::async_write(socket, asio::buffer(reaction.bytes.data() + at, size),
                              [self = this->shared_from_this(), next = at + size](const auto& error, std::size_t) {
                                  if (error) return self->close();
                                  if (next >= self->reaction.bytes.size()) return self->sent();
                                  self->timer.expires_after(self->reaction.byte_pause);
                                  self->timer.async_wait([self, next](const auto& stopped) {
                                      if (!stopped) self->send(next);
                                  });
                              });
        }
        void sent() {
            switch (reaction.then) {
                case Reaction::Then::kKeep: return read();
                case Reaction::Then::kClose: return close();
                case Reaction::Then::kReset: return reset();
                case Reaction::Then::kHold: return hold();
                case Reaction::Then::kShut: {
                    boost::system::error_code ignored;
                    socket.shutdown(Socket::shutdown_send, ignored);
                    return hold();
                }
                case Reaction::Then::kPush: {
                    reaction.push->wake_ = [weak = this->weak_from_this()] {
                        if (const auto self = weak.lock()) self->pump();
                    };
                    hold();
                    return pump();
                }
                case Reaction::Then::kFlood: reaction.bytes = reaction.flood; return send();
            }
        }
        void pump() {
            if (pushing || !socket.is_open()) return;
            Push& push = *reaction.push;
            if (push.waiting_.empty()) {
                if (push.ended_) push.resets_ ? reset() : close();
                return;
            }
            pushing = true;
            pushed = std::exchange(push.waiting_, {});
            asio::async_write(socket, asio::buffer(pushed),
                              [self = this->shared_from_this()](const auto& error, std::size_t) {
                                  self->pushing = false;
                                  error ? self->close() : self->pump();
                              });
        }
        // Until the other side ends.
        void hold() {
            socket.async_wait(Socket::wait_read, [self = this->shared_from_this()](const auto& error) {
                char bytes[4096];
                boost::system::error_code failure;
                if (!error) self->socket.read_some(asio::buffer(bytes), failure);
                if (error || failure) return self->close();
                self->hold();
            });
        }
        void reset() {
            boost::system::error_code ignored;
            socket.set_option(asio::socket_base::linger(true, 0), ignored);
            close();
        }
        void close() {
            boost::system::error_code ignored;
            timer.cancel();
            if (reaction.push) reaction.push->closed_ = true;
            socket.close(ignored);
            if (const auto owner = state.lock()) owner->open.erase(this->shared_from_this());
        }
        static std::string_view take_line(std::string_view& rest) {
            const std::size_t end = rest.find("\r\n");
            const std::string_view line = rest.substr(0, end);
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
            return line;
        }

        Socket socket;
        asio::steady_timer timer;
        std::weak_ptr<State> state;
        std::size_t number;
        std::string input;
        std::string pushed;
        bool pushing = false;
        Seen current;
        Reaction reaction;
    };
    struct State {
        State(asio::io_context& loop, const Endpoint& endpoint, Serve how)
            : acceptor(loop, endpoint), serve(std::move(how)) {
            acceptor.listen(4096);
        }
        void accept(const std::shared_ptr<State>& self) {
            acceptor.async_accept([self](const auto& error, Socket socket) {
                if (self->stopped) return;
                if (!error) {
                    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) {
                        boost::system::error_code ignored;
                        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
                    }
                    auto connection = std::make_shared<Connection>(std::move(socket), self, ++self->accepted);
                    self->open.insert(connection);
                    self->most_at_once = std::max(self->most_at_once, self->open.size());
                    self->resets ? connection->reset() : connection->read();
                }
                self->accept(self);
            });
        }
        typename Protocol::acceptor acceptor;
        Serve serve;
        bool stopped = false;
        bool resets = false;
        std::size_t accepted = 0;
        std::size_t most_at_once = 0;
        std::set<std::shared_ptr<Connection>> open;
        std::vector<Seen> seen;
    };

    std::shared_ptr<State> state_;
};

class RawServer : public BasicRawServer<asio::ip::tcp> {
public:
    RawServer(asio::io_context& loop, Serve serve, std::uint16_t port = 0)
        : BasicRawServer(loop, {asio::ip::address_v4::loopback(), port}, std::move(serve)) {}
    [[nodiscard]] std::uint16_t port() const { return endpoint().port(); }
    [[nodiscard]] std::string url(std::string_view path = "/") const {
        return "http://127.0.0.1:" + std::to_string(port()) + std::string(path);
    }
};
using RawUnixServer = BasicRawServer<asio::local::stream_protocol>;

// Runs the loop until `done()` or until the time is over; false then.
template <class Done>
bool run_until(asio::io_context& loop, Done done, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + limit;
    loop.restart();
    while (!done()) {
        if (std::chrono::steady_clock::now() >= until) return false;
        loop.run_one_for(std::chrono::milliseconds(20));
        if (loop.stopped()) loop.restart();
    }
    return true;
}

inline void run_for(asio::io_context& loop, std::chrono::milliseconds time) {
    static_cast<void>(run_until(loop, [] { return false; }, time));
}

}  // namespace wa::http::testing
