#include "runtimes/endpoint_probe.h"

#include <algorithm>
#include <utility>

namespace wa {
namespace {

constexpr Duration kSoon = std::chrono::seconds(1);

}  // namespace

void EndpointProbe::ask() {
    ask_([this, alive = std::weak_ptr<int>(alive_)](const Result<void>& answer) {
        if (!alive.expired()) answered(answer);
    });
}

void EndpointProbe::answered(const Result<void>& answer) {
    if (answer) {
        there_ = true;
        detail_.clear();
        wait_ = interval_;
        schedule(interval_);
    } else {
        unreachable(answer.error().message);
    }
}

void EndpointProbe::unreachable(std::string detail) {
    wait_ = there_ ? kSoon : std::min(interval_, std::max(wait_, kSoon) * 2);
    there_ = false;
    detail_ = std::move(detail);
    schedule(wait_);
}

void EndpointProbe::schedule(Duration wait) {
    timer_.expires_after(wait);
    timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) ask();
    });
}

}  // namespace wa
