// Whether the other side of a runtime is there: asked at the start, then again and again for as long as this worker
// runs. Sooner at first after it went away: most of what goes away comes back at once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

class EndpointProbe {
public:
    using Answer = std::function<void(Result<void>)>;
    // Asks once. May answer from inside; must answer within a bounded time, or never if what it asks with is destroyed.
    using Ask = std::function<void(Answer)>;

    EndpointProbe(boost::asio::io_context& loop, Duration interval, Ask ask)
        : loop_(loop), interval_(interval), ask_(std::move(ask)), timer_(loop) {}

    // `done`, once, after the first answer, from the loop.
    void begin(std::function<void()> done);
    // Somebody else has found it away: it is asked soon.
    void unreachable(std::string detail);
    [[nodiscard]] bool there() const { return there_; }
    [[nodiscard]] const std::string& detail() const { return detail_; }  // why it is not there

private:
    void ask();
    void answered(const Result<void>& answer);
    void schedule(Duration wait);

    boost::asio::io_context& loop_;
    Duration interval_;
    Ask ask_;
    boost::asio::steady_timer timer_;
    std::function<void()> begun_;
    bool there_ = false;
    std::string detail_ = "it was not asked yet";
    Duration wait_{};
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
