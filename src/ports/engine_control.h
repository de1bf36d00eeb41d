// What the API and the CLI may ask of the running engine. Calls may come from any thread; each answer is given exactly
// once, on the engine's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/ticket_state.h"
#include "ports/flow_observer.h"

namespace wa {

struct CancelRequest {
    std::string ticket_id;
    std::string reason;        // "preemption", "timeout", "user_request"
    std::string preempted_by;  // empty = nobody
    Duration grace = std::chrono::seconds(30);
    std::string actor = "api";
    // A ticket that is known but not read yet: cancel it on arrival. False: kNotFound, because the caller can end it in
    // the queue itself.
    bool on_arrival = true;
};
struct CancelAnswer {
    bool accepted = true;
    std::string message;
};

// One condition on the way of a ticket, with the fact behind it.
struct Condition {
    std::string name;  // "dependencies", "window", "slot", "backoff", "deadline", "breaker", "commit"
    bool met = false;
    std::string detail;
};
// Computed by the code that decides (design.md "Explain").
struct Explanation {
    std::string summary;  // one true sentence
    std::string phase;
    std::string reason;  // stable code: deps, slots-full, intake-paused, retry-at, draining, …
    std::vector<Condition> conditions;
    std::string fix;  // empty = none known
};

struct RunningTask {
    std::string ticket_id;
    std::string plan_id;
    std::string task_id;
    TaskType task_type = TaskType::kExecute;
    Priority priority = Priority::kNormal;
    State state = State::kRunning;
    std::int32_t attempt = 0;
    EpochMillis started_at = 0;
    std::string why;
};

struct EngineSnapshot {
    FlowGauges gauges;
    std::vector<RunningTask> tasks;  // executing ones first; at most 1,000
    std::string drain_phase;         // "", "draining", "cancelling", "drained"
    Duration paused_for{};           // 0 when intake is open
    std::int64_t completed = 0;      // since start
    std::int64_t failed = 0;
    EpochMillis last_ended_at = 0;
    double success_rate = 1.0;  // of the last 100 endings
    std::int64_t average_duration_ms = 0;
    bool sink_healthy = true;
    std::string sink_error;
};

class EngineControl {
public:
    virtual ~EngineControl() = default;
    // kNotFound when the ticket is not in hand. A repeated cancel is accepted again.
    virtual void cancel(CancelRequest request, std::function<void(Result<CancelAnswer>)> answer) = 0;
    // Somebody outside set the ticket to COMPLETED: what waits for it goes on, and a copy in hand is dropped.
    virtual void completed_outside(std::string ticket_id, EpochMillis at) = 0;
    // kNotFound when the ticket is not in hand (the store then explains from its record).
    virtual void explain(std::string ticket_id, std::function<void(Result<Explanation>)> answer) = 0;
    virtual void snapshot(std::function<void(EngineSnapshot)> answer) = 0;
    // now: cancel and hand back at once.
    virtual void drain(bool now, std::string reason) = 0;
    virtual void undrain(std::function<void(Result<void>)> answer) = 0;
};

}  // namespace wa
