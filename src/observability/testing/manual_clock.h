// For tests only: a clock that stands still until it is moved. Threads: any.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace wa::observability::testing {

class ManualClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return MonoTime(Duration(mono_.load())); }
    [[nodiscard]] EpochMillis wall_now() const override { return wall_.load(); }
    void advance(Duration by) {
        mono_ += by.count();
        wall_ += to_millis(by);
    }
    void set_wall(EpochMillis wall) { wall_ = wall; }

private:
    std::atomic<std::int64_t> mono_{1'000'000'000};
    std::atomic<EpochMillis> wall_{1'767'220'000'123};
};

}  // namespace wa::observability::testing
