// Whether the other side of a runtime is there: asked at the start, then again and again for as long as this worker
// runs. Sooner at first after it went away: most of what goes away comes back at once. Until the first answer it counts
// as there: whoever needs it finds out.
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
        : interval_(interval), ask_(std::move(ask)), timer_(loop) {}

    void begin() { ask(); }
    // Somebody else has found it away: it is asked soon.
    void unreachable(std::string detail);
    [[nodiscard]] bool there() const { return there_; }
    [[nodiscard]] const std::string& detail() const { return detail_; }  // why it is not there

private:
    void ask();
    void answered(const Result<void>& answer);
    void schedule(Duration wait);

    Duration interval_;
    Ask ask_;
    boost::asio::steady_timer timer_;
    bool there_ = true;
    std::string detail_;
    Duration wait_{};
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
