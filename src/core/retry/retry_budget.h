// How many calls to one place may be repeats: a place that fails is not to be asked three times as often as one that
// works. A bucket: first calls put a part of a repeat in, time does too, a repeat takes one out. Pure.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace wa {

struct RetryBudgetOptions {
    double most = 10;         // kept at a time, and there at the beginning
    double per_call = 0.2;    // one repeat for five first calls
    double per_second = 0.2;  // so that who calls seldom may repeat too
};

class RetryBudget {
public:
    explicit RetryBudget(RetryBudgetOptions options) : options_(options), left_(options.most) {}

    // A call goes out for the first time.
    void called(MonoTime now) { add(now, options_.per_call); }
    // True: one repeat may go out.
    bool try_take(MonoTime now) {
        add(now, 0);
        if (left_ < 1) return false;
        left_ -= 1;
        return true;
    }
    [[nodiscard]] double left() const { return left_; }

private:
    void add(MonoTime now, double amount) {
        if (since_ == MonoTime{}) since_ = now;
        const double passed = std::max(0.0, to_seconds(now - since_));
        since_ = std::max(since_, now);
        left_ = std::min(options_.most, left_ + amount + passed * options_.per_second);
    }

    RetryBudgetOptions options_;
    double left_;
    MonoTime since_{};
};

}  // namespace wa
