// Stops hammering a back-end that is down: after `threshold` failures in a row nothing is sent for `cool_down`, then
// one trial decides. Only "the back-end cannot be reached" counts as a failure; work that ran and failed does not.
// Pure.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace wa {

class CircuitBreaker {
public:
    enum class State : std::uint8_t { kClosed, kHalfOpen, kOpen };

    CircuitBreaker(std::int32_t threshold, Duration cool_down) : threshold_(threshold), cool_down_(cool_down) {}

    // May an attempt go to this back-end now? In half-open state only one at a time may: the caller that gets `true`
    // must report success(), failure() or abandoned().
    bool try_acquire(MonoTime now) {
        if (state_ == State::kOpen && now >= retry_at_) {
            state_ = State::kHalfOpen;
            trial_running_ = false;
        }
        if (state_ == State::kClosed) return true;
        if (state_ == State::kOpen || trial_running_) return false;
        trial_running_ = true;
        return true;
    }
    void success() {
        state_ = State::kClosed;
        failures_ = 0;
        trial_running_ = false;
    }
    void failure(MonoTime now) {
        ++failures_;
        trial_running_ = false;
        if (state_ == State::kHalfOpen || failures_ >= threshold_) {
            state_ = State::kOpen;
            retry_at_ = now + cool_down_;
        }
    }
    // The attempt ended without saying anything about the back-end (cancelled, handed back).
    void abandoned() { trial_running_ = false; }

    [[nodiscard]] State state() const { return state_; }
    // When the next trial is allowed; meaningful while not closed.
    [[nodiscard]] MonoTime retry_at() const { return retry_at_; }

private:
    std::int32_t threshold_;
    Duration cool_down_;
    State state_ = State::kClosed;
    std::int32_t failures_ = 0;
    bool trial_running_ = false;
    MonoTime retry_at_{};
};

}  // namespace wa
