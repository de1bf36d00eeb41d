// What the flow tells those who watch it: metrics, logs, the event stream. Observers never change the flow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "core/ticket/ticket_state.h"
#include "core/trace/trace_context.h"
#include "ports/executor.h"
#include "ports/result_sink.h"

namespace wa {

// A ticket as observers see it; valid during the call only.
struct TicketView {
    std::string_view ticket_id;
    std::string_view plan_id;
    std::string_view task_id;
    std::string_view intent_id;
    std::string_view correlation_id;
    TaskType task_type = TaskType::kExecute;
    Priority priority = Priority::kNormal;
    State state = State::kReceived;
    std::int32_t attempt = 0;
    TraceHint trace{};  // what came with the record about who caused it
};

struct FlowGauges {
    std::size_t in_flight = 0;  // admitted and not finished
    std::size_t in_flight_limit = 0;
    std::size_t executing = 0;  // attempts under way
    std::size_t slots = 0;
    std::size_t parked = 0;  // wait for dependencies
    std::size_t held = 0;    // wait for another record of the same id
    std::size_t ready = 0;   // wait for the window
    std::size_t queued = 0;  // wait for a slot
    std::size_t backing_off = 0;
    std::size_t reporting = 0;
    bool open = true;  // intake
    bool draining = false;
};

class FlowObserver {
public:
    virtual ~FlowObserver() = default;
    virtual void ticket_consumed(const TicketView&) {}
    virtual void ticket_moved(const TicketView&, State /*from*/, Event, State /*to*/, std::string_view /*reason*/) {}
    virtual void attempt_started(const TicketView&, Duration /*queue_wait*/) {}
    // `retry_in` is negative when no other attempt follows.
    virtual void attempt_ended(const TicketView&, const AttemptReport&, Duration /*took*/, Duration /*retry_in*/) {}
    virtual void dependency_wait_ended(const TicketView&, std::string_view /*result: success, failed, timeout*/,
                                       Duration) {}
    virtual void duplicate_suppressed(const TicketView&) {}
    // The leases say that this ticket has ended before; once for each record. Only a result decides about it.
    virtual void repeat_known_to_leases(const TicketView&) {}
    virtual void stop_requested(const TicketView&, StopReason) {}
    virtual void stop_finished(const TicketView&, StopReason, Duration /*took*/) {}
    // The ending is decided; it becomes public with ticket_settled.
    virtual void outcome_decided(const TicketView&, const Settlement&) {}
    virtual void ticket_settled(const TicketView&, const Settlement&) {}
    virtual void intake_changed(bool /*open*/, std::string_view /*why*/, Duration /*since_last_change*/) {}
    virtual void commit_finished(const CommitResult&, std::size_t /*settlements*/, Duration /*took*/) {}
    virtual void breaker_changed(std::string_view /*backend*/, std::string_view /*state*/) {}
    virtual void drain_changed(std::string_view /*phase: draining, cancelling, drained*/) {}
};

}  // namespace wa
