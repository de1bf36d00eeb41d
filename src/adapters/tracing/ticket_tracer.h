// Makes spans of what the flow tells: one for each ticket, and below it one for each wait, each attempt and the
// publication (contract/metrics.md 7.2, engine.md 1).
//
//   ticket_execution    from the record's arrival to its commit; child of the context that came with the record
//   ├ dependency_wait   until the dependencies were done
//   ├ slot_wait         until window and slot were granted (once for each attempt)
//   ├ task_execution    one attempt
//   └ result_publish    from the decision to its commit
//
// Bounded: tickets in hand beyond `max_tickets` go without spans and are counted. Texts of the ticket (parameters,
// command lines) are never put into a span.
// Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/tracing/span_parts.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/trace/sampler.h"
#include "ports/flow_observer.h"
#include "ports/tracing.h"

namespace wa {

class TicketTracer final : public FlowObserver {
public:
    // What came with the record of a ticket; asked once, when the record arrives, and valid until the answer was read.
    using HintOf = std::function<TraceHint(const TicketView&)>;

    // All must outlive this. `hint_of` may be empty: then every ticket begins a trace.
    TicketTracer(const Clock& clock, tracing::SpanTime& time, Random& random, Sampler sampler, SpanSink& sink,
                 HintOf hint_of, std::size_t max_tickets = 50'000);

    // The context that work for a ticket belongs to: of its attempt while one runs, else of the ticket. For headers of
    // outgoing calls and messages (traceparent()), also when it is not sampled. Nothing when the ticket is not in hand.
    [[nodiscard]] std::optional<TraceContext> context_of(std::string_view ticket_id) const;
    // Tickets that went without spans because there were too many.
    [[nodiscard]] std::uint64_t untraced() const { return untraced_; }

    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void attempt_started(const TicketView& ticket, Duration queue_wait) override;
    void attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                       Duration retry_in) override;
    void dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) override;
    void stop_requested(const TicketView& ticket, StopReason reason) override;
    void outcome_decided(const TicketView& ticket, const Settlement& settlement) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;

private:
    struct Open {
        TraceContext context{};
        std::optional<SpanId> parent{};
        MonoTime began{};
        TaskType task_type = TaskType::kExecute;
        std::int64_t began_ns = 0;  // the same moment by the calendar: all times of the ticket are reckoned from it
        std::optional<MonoTime> waits_for_slot{};
        std::optional<SpanId> attempt{};
        MonoTime attempt_began{};
        std::optional<MonoTime> decided{};
        std::vector<SpanEvent> events{};
    };
    using Tickets = std::map<std::string, Open, std::less<>>;

    Open* find(const TicketView& ticket);
    Open* begin(const TicketView& ticket);  // null when there are too many
    Open* find_or_begin(const TicketView& ticket);
    [[nodiscard]] static std::int64_t nanos(const Open& open, MonoTime at);
    // A child of the ticket's span from `from` to now; not yet handed over.
    Span child(const Open& open, std::string name, MonoTime from);
    void hand_over(Span span);
    void end_ticket(const TicketView& ticket, Open& open, const Settlement* settlement);

    const Clock& clock_;
    tracing::SpanTime& time_;
    Random& random_;
    Sampler sampler_;
    SpanSink& sink_;
    HintOf hint_of_;
    std::size_t max_tickets_;
    Tickets open_;
    std::uint64_t untraced_ = 0;
};

}  // namespace wa
