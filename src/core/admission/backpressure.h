// When intake closes and opens again (contract/engine.md 7): hysteresis, not a threshold. Pure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace wa {

class Backpressure {
public:
    // pause_ratio in (0, 1], resume_ratio in [0, pause_ratio). Closing mark = max(1, floor(limit * pause_ratio)),
    // opening mark = min(closing mark - 1, floor(limit * resume_ratio)).
    Backpressure(std::size_t limit, double pause_ratio, double resume_ratio) {
        change(limit, pause_ratio, resume_ratio);
    }
    // New marks; whether intake is open is decided by the next update().
    void change(std::size_t limit, double pause_ratio, double resume_ratio) {
        limit_ = limit;
        close_at_ = std::max<std::size_t>(1, scaled(limit, pause_ratio));
        open_at_ = std::min(close_at_ - 1, scaled(limit, resume_ratio));
    }

    // Tells the count of tickets that are admitted and not finished; returns whether intake is open.
    bool update(std::size_t in_flight) {
        if (open_ && in_flight >= close_at_) open_ = false;
        if (!open_ && in_flight <= open_at_) open_ = true;
        return open_;
    }

    [[nodiscard]] bool open() const { return open_; }
    [[nodiscard]] std::size_t limit() const { return limit_; }
    [[nodiscard]] std::size_t close_at() const { return close_at_; }
    [[nodiscard]] std::size_t open_at() const { return open_at_; }

private:
    static std::size_t scaled(std::size_t limit, double ratio) {
        return static_cast<std::size_t>(std::floor(static_cast<double>(limit) * ratio + 1e-9));
    }

    std::size_t limit_ = 0;
    std::size_t close_at_ = 0;
    std::size_t open_at_ = 0;
    bool open_ = true;
};

}  // namespace wa
