#include "runtimes/run_limit.h"

#include <algorithm>
#include <limits>

#include "core/codec/text.h"

namespace wa {

using std::chrono::milliseconds;

namespace {

// What a back-end says of times is not trusted to be near.
milliseconds span(EpochMillis from, EpochMillis to) {
    constexpr EpochMillis kFar = std::chrono::duration_cast<milliseconds>(std::chrono::years(10)).count();
    if (to <= from) return milliseconds(from - to > kFar ? -kFar : to - from);
    return milliseconds(std::min(kFar, to - from));
}

}  // namespace

EarlierRun earlier_run(std::string_view deadline_label, std::string_view started_at) {
    // Of what was never started some engines say that it began in the year 1.
    const auto is_time = [](EpochMillis time) {
        return time > 0 && time < std::numeric_limits<EpochMillis>::max() / 2;
    };
    EarlierRun earlier{parse_whole_number(deadline_label), parse_iso_timestamp(started_at)};
    if (earlier.until && !is_time(*earlier.until)) earlier.until.reset();
    if (earlier.started && !is_time(*earlier.started)) earlier.started.reset();
    return earlier;
}

RunLimit run_limit(Duration own, const AttemptContext& context, const std::optional<EarlierRun>& earlier,
                   const Clock& clock) {
    Duration engine = Duration::max() / 2;
    if (context.timeout_ms > 0) engine = milliseconds(context.timeout_ms);
    if (context.deadline != MonoTime{}) engine = std::min(engine, context.deadline - clock.now());
    Duration ran{};
    Duration left = std::min(own, engine);
    if (earlier) {
        const EpochMillis now = clock.wall_now();
        if (earlier->started) ran = std::max(milliseconds(0), span(*earlier->started, now));
        left = std::min(left, own - ran);
        if (earlier->until) left = std::min<Duration>(left, span(now, *earlier->until));
    }
    left = std::max(left, Duration::zero());
    return {std::max<Duration>(ran + left, milliseconds(1)), left, left < engine};
}

}  // namespace wa
