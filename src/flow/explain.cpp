// Why a ticket stands where it stands, said by the code that decides it: the verdicts shown here are the ones that the
// pump acts on.
#include <algorithm>

#include "flow/engine.h"

namespace wa {
namespace {

std::string seconds_left(MonoTime until, MonoTime now) {
    const std::int64_t ms = to_millis(until - now);
    if (ms < 0) return "0 s";
    return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
}

}  // namespace

Result<Explanation> Engine::explain(std::string_view ticket_id) const {
    const NodeId node = index_.find(ticket_id);
    const Slot slot = node == kNoSlot ? kNoSlot : index_.at(node).in_hand;
    if (slot == kNoSlot) {
        return Failure(make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "engine",
                                  "ticket " + std::string(ticket_id) + " is not in hand here"));
    }
    const TicketRecord& record = records_[slot];
    const MonoTime now = ports_.clock.now();
    Explanation out;
    out.phase = phase(record.state);
    const auto condition = [&](std::string name, bool met, std::string detail) {
        out.conditions.push_back(Condition{std::move(name), met, std::move(detail)});
    };
    const bool parked = record.state == State::kParked;
    condition("dependencies", !parked && record.state != State::kHeld, parked ? describe_waits(record) : "done");

    const Verdict window = window_verdict();
    const Verdict slots = slot_verdict();
    const Verdict intake = intake_verdict();
    switch (record.state) {
        case State::kHeld:
            out.reason = "duplicate";
            out.summary =
                "another record of the same ticket is in hand; this one is decided about when that one has ended";
            break;
        case State::kParked:
            out.reason = "deps";
            out.summary = "waits for " + describe_waits(record);
            break;
        case State::kReady:
            condition("window", window.allowed, window.detail);
            out.reason = window.allowed ? "queued" : std::string(window.code);
            out.summary = "its dependencies are done; waits for a place in the in-flight window" +
                          (window.detail.empty() ? "" : " (" + window.detail + ")");
            break;
        case State::kQueued:
            condition("window", true, "holds a place");
            condition("slot", slots.allowed, slots.detail);
            out.reason = slots.allowed ? "queued" : std::string(slots.code);
            out.summary = "waits for an execution slot" + (slots.detail.empty() ? "" : ": " + slots.detail);
            break;
        case State::kBackingOff:
            condition("backoff", false, "next try in " + seconds_left(record.active->retry_at, now));
            out.reason = "retry-at";
            out.summary = "attempt " + std::to_string(record.attempts_made) + " failed; the next one starts in " +
                          seconds_left(record.active->retry_at, now);
            if (record.steps) out.summary += " (" + record.steps->back().reason + ")";
            break;
        case State::kStarting:
            out.reason = "starting";
            out.summary =
                "has a slot; the start of attempt " + std::to_string(record.attempts_made) + " is being made durable";
            break;
        case State::kRunning:
            out.reason = "running";
            out.summary = "attempt " + std::to_string(record.attempts_made) + " has been running for " +
                          seconds_left(now, record.active->attempt_started);
            break;
        case State::kCancelling:
            out.reason = "cancelling";
            out.summary = "attempt " + std::to_string(record.attempts_made) + " is being stopped (" +
                          std::string(to_string(record.active->stop.value_or(StopReason::kCancelled))) + ")";
            break;
        case State::kReporting:
            condition("commit", false, sink_healthy_ ? "in the next commit" : sink_error_);
            out.reason = "reporting";
            out.summary = "has ended (" + std::string(to_string(record.active->settlement->outcome)) +
                          "); its result is not acknowledged yet";
            if (!sink_healthy_) out.summary += ": " + sink_error_;
            break;
        case State::kReceived:
        case State::kSettled:
        case State::kHandedBack:
            out.reason = out.phase;
            out.summary = "was just read";
            break;
    }
    if (!intake.allowed) condition("intake", false, std::string(intake.code) + ": " + intake.detail);
    if (record.deadline != MonoTime::max()) {
        condition("deadline", record.deadline > now,
                  seconds_left(record.deadline, now) + " left; at the deadline it fails");
    }
    return out;
}

FlowGauges Engine::gauges() const {
    FlowGauges gauges;
    gauges.in_flight = in_flight();
    gauges.in_flight_limit = options_.max_concurrent_tickets;
    gauges.executing = executing();
    gauges.slots = options_.max_concurrent_tasks;
    gauges.parked = count(State::kParked);
    gauges.held = count(State::kHeld);
    gauges.ready = count(State::kReady);
    gauges.queued = count(State::kQueued);
    gauges.backing_off = count(State::kBackingOff);
    gauges.reporting = count(State::kReporting);
    gauges.open = intake_open_;
    gauges.draining = drain_ != DrainPhase::kNone;
    return gauges;
}

EngineSnapshot Engine::snapshot() const {
    EngineSnapshot out;
    out.gauges = gauges();
    constexpr std::size_t kMaxTasks = 1000;
    const auto collect = [&](bool running) {
        for (const TicketRecord& record : records_) {
            if (out.tasks.size() >= kMaxTasks) return;
            if (!record.in_use || !record.active || !record.active->ticket) continue;
            const bool is_running = record.state == State::kRunning || record.state == State::kCancelling ||
                                    record.state == State::kStarting;
            if (is_running != running) continue;
            const Ticket& ticket = *record.active->ticket;
            out.tasks.push_back(RunningTask{ticket.ticket_id, ticket.plan_id, ticket.task_id, ticket.task_type,
                                            ticket.priority, record.state, record.attempts_made,
                                            record.active->attempt_started_wall,
                                            !record.steps ? std::string() : record.steps->back().reason});
        }
    };
    collect(true);
    collect(false);
    static constexpr std::array<std::string_view, 4> kPhases{"", "draining", "cancelling", "drained"};
    out.drain_phase = kPhases[static_cast<std::size_t>(drain_)];
    if (!intake_open_) out.paused_for = ports_.clock.now() - intake_changed_;
    out.completed = completed_;
    out.failed = failed_;
    out.last_ended_at = last_ended_at_;
    if (!recent_endings_.empty()) {
        std::int64_t good = 0;
        std::int64_t total_ms = 0;
        for (const auto& [completed, ms] : recent_endings_) {
            good += completed ? 1 : 0;
            total_ms += ms;
        }
        const auto size = static_cast<std::int64_t>(recent_endings_.size());
        out.success_rate = static_cast<double>(good) / static_cast<double>(size);
        out.average_duration_ms = total_ms / size;
    }
    out.sink_healthy = sink_healthy_;
    out.sink_error = sink_error_;
    return out;
}

}  // namespace wa
