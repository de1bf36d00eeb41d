#include "adapters/tracing/span_parts.h"

#include <cstdlib>

#include "core/codec/text.h"

namespace wa::tracing {
namespace {

constexpr std::size_t kMaxMessage = 500;
constexpr std::size_t kMaxValue = 256;  // the texts of a ticket may be large
// The calendar tells milliseconds, and is slewed while it is kept right; what differs by more was set.
constexpr std::int64_t kToleranceNs = 10'000'000;

}  // namespace

void put_text(Span& span, const char* key, std::string_view value) {
    if (!value.empty()) span.attributes.emplace_back(key, clip(value, kMaxValue));
}

void put_error(Span& span, const std::string& type, std::string_view message, std::int64_t at_ns) {
    span.attributes.emplace_back("error", true);
    span.attributes.emplace_back("error.type", type);
    span.status = SpanStatus::kError;
    span.status_message = clip(message, kMaxMessage);
    span.events.push_back({at_ns, "exception", {{"exception.type", type}, {"exception.message", span.status_message}}});
}

void carry_context(const TraceContext& context, CarriedHeaders& headers) {
    headers.emplace_back("traceparent", traceparent(context));
    if (!context.state.empty()) headers.emplace_back("tracestate", context.state);
}

std::int64_t SpanTime::now() {
    const MonoTime moment = clock_.now();
    const std::int64_t calendar = clock_.wall_now() * 1'000'000;
    const std::int64_t reckoned = calendar_ + (moment - as_of_).count();
    if (calendar_ != 0 && std::abs(reckoned - calendar) <= kToleranceNs) return reckoned;
    as_of_ = moment;
    calendar_ = calendar;
    return calendar;
}

}  // namespace wa::tracing
