#include "http_client/poll_course.h"

#include <algorithm>

namespace wa::http {
namespace {

// The last question before the deadline comes so long before it: its answer takes time too.
constexpr Duration kLastMargin = std::chrono::seconds(1);

Duration scaled(Duration duration, double factor) {
    constexpr double kMost = 1e18;  // thirty years
    return Duration(static_cast<std::int64_t>(std::min(static_cast<double>(duration.count()) * factor, kMost)));
}

}  // namespace

PollCourse::Next PollCourse::running(MonoTime now, std::optional<Duration> hint) {
    existed_ = true;
    missing_ = unknown_ = 0;
    known_at_ = now;
    return paced(now, hint, policy_.growth);
}

PollCourse::Next PollCourse::not_there(MonoTime now, std::optional<Duration> hint) {
    unknown_ = 0;
    known_at_ = now;
    ++missing_;
    if (existed_ && missing_ >= policy_.gone_after) return {{}, PollEnd::kVanished};
    if (!existed_ && now - begun_ >= policy_.appear_within) return {{}, PollEnd::kNeverAppeared};
    return paced(now, hint, existed_ ? 1.0 : policy_.growth);
}

PollCourse::Next PollCourse::unknown(MonoTime now, std::optional<Duration> hint, bool busy) {
    if (!busy) ++unknown_;
    const bool too_often = policy_.unknown_answers > 0 && unknown_ >= policy_.unknown_answers;
    const bool too_long = policy_.unknown_for > Duration::zero() && now - known_at_ >= policy_.unknown_for;
    if (too_often || too_long) return {{}, PollEnd::kUnknownTooLong};
    return paced(now, hint, 2.0);
}

PollCourse::Next PollCourse::paced(MonoTime now, std::optional<Duration> hint, double growth) {
    const double factor = 1.0 + policy_.jitter * (2.0 * random_.unit() - 1.0);
    Duration wait = scaled(pace_, std::max(0.0, factor));
    pace_ = std::clamp(scaled(pace_, growth), std::min(policy_.interval, policy_.longest), policy_.longest);
    const bool fixed = hint && *hint > wait;
    if (fixed) wait = *hint;
    return after(now, wait, fixed);
}

// `fixed`: nothing may be asked before that.
PollCourse::Next PollCourse::after(MonoTime now, Duration wait, bool fixed) {
    wait = std::max(wait, Duration::zero());
    if (deadline_ == MonoTime{}) return {wait, {}};
    const Duration left = deadline_ - now;
    if (left <= Duration::zero()) return {{}, PollEnd::kOutOfTime};
    if (wait < left) return {wait, {}};
    // One last question while an answer can still be of use, or the deadline itself.
    const Duration last = left - std::min(kLastMargin, policy_.interval);
    return {!fixed && last > policy_.interval / 2 ? last : left, {}};
}

}  // namespace wa::http
