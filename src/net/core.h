// Inside net/: the event loop, its timers, and what all connections share. Not for other folders.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/clock.h"
#include "net/access.h"
#include "net/http_server.h"

namespace wa::net {

// Lives as long as anybody holds a Responder, Stream or Loop of it, so that late answers are harmless.
class Core final : public Loop, public std::enable_shared_from_this<Core> {
public:
    explicit Core(ServerOptions options);

    void post(std::function<void()> work) override;
    std::unique_ptr<Timer> after(Duration delay, std::function<void()> work) override;
    // Runs at once when on the loop's thread, else posts.
    void run(std::function<void()> work);
    [[nodiscard]] bool on_loop() { return context.get_executor().running_in_this_thread(); }

    // Refuses all further work and drops what waits. After the thread has ended.
    void shut_down();
    // Arms the one timer of the loop; called on the loop whenever it fired.
    void arm();

    [[nodiscard]] MonoTime now() const { return clock_.now(); }
    [[nodiscard]] const std::string& date();
    void notice(Notice::Level level, std::string_view event, std::string message) const;

    boost::asio::io_context context{1};
    const ServerOptions options;
    const OwnNames names;
    bool draining = false;  // loop's thread only
    std::atomic<bool> draining_seen{false};
    std::function<void()> on_sweep;  // about four times a second, on the loop

    std::atomic<std::size_t> connections{0};
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::size_t> body_bytes{0};

private:
    class Entry;
    using Timers = std::multimap<MonoTime, std::pair<std::uint64_t, std::function<void()>>>;
    void fire();
    void cancel(MonoTime when, std::uint64_t id);

    SystemClock clock_;
    boost::asio::steady_timer timer_;
    std::mutex mutex_;  // guards the members below
    bool stopped_ = false;
    Timers timers_;
    std::uint64_t next_id_ = 1;
    MonoTime armed_for_ = MonoTime::max();

    Duration sweep_every_;
    MonoTime next_sweep_;
    EpochMillis date_second_ = -1;
    std::string date_;
};

}  // namespace wa::net
