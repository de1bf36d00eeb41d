// One connection to Redis on the event loop: hiredis speaks, Asio waits. Comes back by itself. Loop thread only.
//
// Each command is answered in time or fails, and the number of those under way is bounded. Redis answers in order, so a
// command that takes too long ends the connection. Nothing is called back from inside a call.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/redis/redis_address.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "core/retry/backoff.h"

namespace wa::redis {

struct Reply {
    enum class Kind : std::uint8_t { kNil, kText, kInteger, kOther };
    Kind kind = Kind::kNil;
    std::string text;
    std::int64_t integer = 0;
};

struct ConnectionLimits {
    Duration connect = std::chrono::seconds(2);  // name, connection and greeting
    Duration command = std::chrono::seconds(5);
    std::size_t pending = 1000;
    BackoffPolicy backoff{std::chrono::milliseconds(200), std::chrono::seconds(10)};
};

class Connection {
public:
    // Error: kUnavailable, also when Redis answers with an error.
    using Done = std::function<void(const Result<Reply>&)>;
    // `up` false: was up and is not any more, or could not be made; `why` is for people.
    using Changed = std::function<void(bool up, const std::string& why)>;

    Connection(boost::asio::io_context& loop, const Clock& clock, Random& random, RedisAddress address,
               ConnectionLimits limits, Changed changed);
    // Nothing is called any more.
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Begins to connect.
    void start();
    [[nodiscard]] bool up() const { return up_; }
    [[nodiscard]] std::size_t pending() const;
    // Fails at once (by post) when the connection is not up or too many are pending.
    void command(const std::vector<std::string>& arguments, Done done);

private:
    struct Link;
    struct Hooks;  // hiredis calls these

    void connect();
    void connect_to(const std::string& host);
    void greet();
    void greeted(const Result<Reply>& reply, bool last);
    void send(const std::vector<std::string>& arguments, Done done);
    void answered(Done done, Result<Reply> reply);
    void wait(const std::shared_ptr<Link>& link, bool write);
    void arm(const std::shared_ptr<Link>& link);
    void after_io(const std::shared_ptr<Link>& link);
    void arm_command_timer();
    void drop(const std::string& why);
    void reconnect_later(const std::string& why);
    [[nodiscard]] Error unavailable(const std::string& why) const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    RedisAddress address_;
    ConnectionLimits limits_;
    Changed changed_;
    boost::asio::ip::tcp::resolver resolver_;
    boost::asio::steady_timer connect_timer_;
    boost::asio::steady_timer command_timer_;
    boost::asio::steady_timer retry_timer_;
    std::shared_ptr<Link> link_;
    bool up_ = false;
    bool command_timer_armed_ = false;
    std::int32_t failures_ = 0;
    std::uint32_t tries_ = 0;  // rotates through the addresses of a name
    std::uint64_t attempt_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::redis
