// What the spans of this program have in common.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "core/trace/call_watch.h"
#include "ports/tracing.h"

namespace wa::tracing {

// An attribute, clipped; nothing when it is empty.
void put_text(Span& span, const char* key, std::string_view value);
// Status Error with a sentence, and what contract/metrics.md 7.2 wants with it: attributes, and the event `exception`.
void put_error(Span& span, const std::string& type, std::string_view message, std::int64_t at_ns);

// The headers by which others take part in a trace.
void carry_context(const TraceContext& context, CarriedHeaders& headers);

// The calendar's time in nanoseconds, as spans show it. It goes on with the monotonic clock, so that what lies within
// something else does so in its trace too, and follows the calendar when that was set.
class SpanTime {
public:
    explicit SpanTime(const Clock& clock) : clock_(clock) {}
    [[nodiscard]] std::int64_t now();

private:
    const Clock& clock_;
    MonoTime as_of_{};
    std::int64_t calendar_ = 0;  // at as_of_; 0 = never looked
};

}  // namespace wa::tracing
