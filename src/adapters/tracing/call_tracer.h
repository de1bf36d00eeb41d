// Makes spans of calls to other services (core/trace/call_watch.h), and gives each call its context to carry.
//
// A call that is done for one ticket is a child of the span of that ticket's work; any other begins a trace of its own,
// which the sampler decides about, and of which only so many are recorded in a second: look-ups may be thousands, and
// would push the spans of tickets out of the queue to the collector. The names of spans are those of
// contract/metrics.md 7.2 in kind (service.operation); attributes follow the semantic conventions of OpenTelemetry for
// HTTP, RPC and databases. A span holds no query, no credentials, no headers and no bodies.
//
// What is not sampled carries its context all the same (flags 00), and costs nothing else.
// Loop thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "adapters/tracing/span_parts.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/trace/call_watch.h"
#include "core/trace/sampler.h"
#include "ports/tracing.h"

namespace wa {

class CallTracer final : public CallWatch {
public:
    // The context that work for a ticket belongs to; nothing when it is not in hand.
    using ContextOf = std::function<std::optional<TraceContext>(std::string_view ticket_id)>;

    // All must outlive this. Calls under way may outlive it: they have no spans then.
    CallTracer(const Clock& clock, tracing::SpanTime& time, Random& random, Sampler sampler, SpanSink& sink,
               ContextOf context_of, std::size_t max_roots_per_second = 50);
    ~CallTracer() override;
    CallTracer(const CallTracer&) = delete;
    CallTracer& operator=(const CallTracer&) = delete;

    std::unique_ptr<WatchedCall> begin(const CallPurpose& purpose, const OutgoingCall& call,
                                       CarriedHeaders& carry) override;

private:
    class Watched;
    [[nodiscard]] std::optional<TraceContext> parent_of(const CallPurpose& purpose) const;
    [[nodiscard]] bool record_root(const TraceId& trace_id);

    const Clock& clock_;
    tracing::SpanTime& time_;
    Random& random_;
    Sampler sampler_;
    SpanSink& sink_;
    ContextOf context_of_;
    std::size_t max_roots_per_second_;
    std::size_t roots_ = 0;  // recorded in the second that began at second_
    MonoTime second_{};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
