#include "admin/records.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

json::value number_or_null(std::int64_t value) {
    return value == 0 ? json::value(nullptr) : json::value(value);
}
json::value text_or_null(std::string_view text) {
    return text.empty() ? json::value(nullptr) : json::value(json::string(text));
}
json::value text(std::string_view value) {
    return json::value(json::string(value));
}

bool is_open(StoredPhase phase) {
    return phase == StoredPhase::kPending || phase == StoredPhase::kRunning;
}

json::object parsed_payload(const std::string& payload) {
    if (payload.empty()) return {};
    auto value = parse_json(payload, {.max_bytes = payload.size() + 1, .max_depth = 128});
    if (!value || !value->is_object()) return {};
    return std::move(value->get_object());
}

// Nobody else works on this state folder, so what began after this process did began in it.
bool ran_here(const TicketSummary& summary, const WorkerFacts& worker) {
    return summary.last_attempt_at > 0 && summary.last_attempt_at >= worker.started_at;
}

// The worker that has the ticket in hand or ran its latest attempt; null: another process did, and the record at hand
// does not say which.
void add_worker(json::object& out, const TicketSummary& summary, const RunningTask* live, const WorkerFacts& worker) {
    if (live == nullptr && summary.attempts == 0) return;
    out["worker"] = live != nullptr || ran_here(summary, worker) ? text(worker.agent_id) : json::value(nullptr);
}

// The result names its worker. Not so that of a cancelled ticket: it may have been ended in the queue, by another
// process than the one that had run it.
void add_worker_of_result(json::object& out, const TicketSummary& summary) {
    const auto* known = out.if_contains("worker");
    if (known == nullptr || !known->is_null() || !is_ended(summary.phase)) return;
    if (summary.phase == StoredPhase::kCancelled) return;
    const auto* result = out.if_contains("result");
    const auto* object = result == nullptr ? nullptr : result->if_object();
    const auto* name = object == nullptr ? nullptr : object->if_contains("agent_id");
    if (name != nullptr && name->is_string() && !name->get_string().empty()) out["worker"] = *name;
}

// Where the ticket stands now, written over (or added to) what its sender wrote.
void add_present(json::object& out, const TicketSummary& summary, const RunningTask* live, const WorkerFacts& worker) {
    const bool open = is_open(summary.phase);
    out["status"] = text(to_string(summary.status()));
    out["started_at"] = number_or_null(summary.started_at);
    out["completed_at"] = number_or_null(summary.ended_at);
    out["actual_duration_ms"] = open ? json::value(nullptr) : json::value(summary.actual_duration_ms);
    out["retry_count"] = std::max(0, summary.attempts - 1);
    out["error_message"] = text_or_null(summary.error);
    out["phase"] = open && live != nullptr ? text(phase(live->state)) : text(to_string(summary.phase));
    if (open && live != nullptr) out["why"] = text(live->why);
    out["attempts"] = open && live != nullptr ? std::max(live->attempt, summary.attempts) : summary.attempts;
    if (!summary.outcome.empty()) out["outcome"] = text(summary.outcome);
    out["submitted_at"] = number_or_null(summary.submitted_at);
    out["ended_at"] = number_or_null(summary.ended_at);
    if (!summary.plan_name.empty()) out["plan_name"] = text(summary.plan_name);
    add_worker(out, summary, live, worker);
    if (summary.deliveries > 0) out["interrupted"] = summary.deliveries;
    if (summary.submissions > 1) out["submissions"] = summary.submissions;
}

// A ticket that does not say takes the worker's number.
void add_max_attempts(json::object& out, const WorkerFacts& worker) {
    const auto* sla = out.if_contains("sla");
    if (sla == nullptr || !sla->is_object()) return;
    const auto* retries = sla->get_object().if_contains("max_retries");
    const bool said = retries != nullptr && retries->is_int64();
    out["max_attempts"] = (said ? retries->get_int64() : worker.max_retries) + 1;
}

std::string seconds_text(std::int64_t millis) {
    const std::int64_t tenths = (millis + 50) / 100;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

LiveTasks live_tasks(const EngineSnapshot* snapshot) {
    LiveTasks tasks;
    if (snapshot == nullptr) return tasks;
    tasks.reserve(snapshot->tasks.size());
    for (const RunningTask& task : snapshot->tasks)
        tasks.emplace(task.ticket_id, &task);
    return tasks;
}

json::object ticket_line(const TicketSummary& summary, const RunningTask* live, const WorkerFacts& worker) {
    json::object out;
    out["ticket_id"] = text(summary.ticket_id);
    out["plan_id"] = text(summary.plan_id);
    out["task_id"] = text(summary.task_id);
    out["task_type"] = text(to_string(summary.task_type));
    out["priority"] = text(to_string(summary.priority));
    out["created_at"] = summary.created_at;
    add_present(out, summary, live, worker);
    return out;
}

json::object ticket_record(const TicketSummary& summary, const RunningTask* live, const WorkerFacts& worker) {
    json::object out = parsed_payload(summary.payload);
    if (out.empty()) return ticket_line(summary, live, worker);
    add_present(out, summary, live, worker);
    add_max_attempts(out, worker);
    out["predictions"] = nullptr;
    return out;
}

json::object ticket_detail(const TicketDetail& detail, const RunningTask* live, const WorkerFacts& worker) {
    json::object out = ticket_record(detail.summary, live, worker);
    out["error_message"] = text_or_null(detail.error);
    out["compensation_ticket_id"] = text_or_null(detail.compensation_ticket_id);
    out["submitted_by"] = text(detail.submitted_by);
    if (!detail.result_json.empty()) {
        if (auto result =
                parse_json(detail.result_json, {.max_bytes = detail.result_json.size() + 1, .max_depth = 128})) {
            out["result"] = std::move(*result);
            add_worker_of_result(out, detail.summary);
        }
    }
    return out;
}

json::object plan_record(const PlanSummary& plan) {
    json::object counts;
    for (const auto& [phase_found, count] : plan.counts)
        counts[to_string(phase_found)] = count;
    json::object out;
    out["plan_id"] = text(plan.plan_id);
    out["name"] = text(plan.name);
    out["intent_id"] = text(plan.intent_id);
    out["created_at"] = plan.created_at;
    out["changed_at"] = plan.changed_at;
    out["submitted_by"] = text(plan.submitted_by);
    out["total"] = plan.total;
    out["open"] = plan.open();
    out["counts"] = std::move(counts);
    return out;
}

json::object dead_letter_record(const DeadLetterEntry& letter) {
    json::object out;
    out["key"] = text(letter.key);
    out["state"] = text(to_string(letter.state));
    out["ticket_id"] = text(letter.ticket_id);
    out["plan_id"] = text(letter.plan_id);
    out["task_id"] = text(letter.task_id);
    out["task_type"] = text(letter.task_type);
    out["reason"] = text(letter.reason);
    out["error_type"] = text(letter.error_type);
    out["error"] = json::string(lossy_utf8(letter.error, 4096));
    out["at"] = letter.at;
    out["first_at"] = letter.first_at;
    out["attempts"] = letter.attempts;
    out["replays"] = letter.replays;
    if (letter.state != LetterState::kOpen) {
        out["settled_at"] = letter.settled_at;
        out["settled_by"] = text(letter.settled_by);
    }
    if (!letter.payload.empty()) out["payload"] = json::string(lossy_utf8(letter.payload, letter.payload.size()));
    // A text would lose what is no text.
    if (!is_utf8(letter.payload)) out["payload_base64"] = text(base64(letter.payload));
    if (!letter.original_base64.empty())
        out["original_base64"] = json::string(lossy_utf8(letter.original_base64, letter.original_base64.size()));
    return out;
}

json::object attempt_record(const AttemptRecord& attempt) {
    json::object out;
    out["number"] = attempt.number;
    out["started_at"] = number_or_null(attempt.started_at);
    out["ended_at"] = number_or_null(attempt.ended_at);
    out["queued_ms"] = attempt.queued_ms;
    out["outcome"] = text_or_null(attempt.outcome);
    out["fault"] = text_or_null(attempt.fault);
    out["error"] = text_or_null(attempt.error);
    out["retryable"] = attempt.retryable;
    out["runtime"] = text_or_null(attempt.runtime);
    out["exit_code"] = attempt.exit_code ? json::value(*attempt.exit_code) : json::value(nullptr);
    out["signal"] = attempt.signal ? json::value(*attempt.signal) : json::value(nullptr);
    out["next_try_at"] = attempt.next_try_at ? json::value(*attempt.next_try_at) : json::value(nullptr);
    return out;
}

json::object history_record(const HistoryLine& line) {
    json::object out;
    out["at"] = line.at;
    out["kind"] = text(line.kind);
    out["from"] = text_or_null(line.from);
    out["to"] = text_or_null(line.to);
    out["attempt"] = line.attempt;
    out["reason"] = text(line.reason);
    out["actor"] = text(line.actor);
    return out;
}

json::object explanation_record(std::string_view ticket_id, const Explanation& explanation) {
    json::array conditions;
    for (const Condition& condition : explanation.conditions) {
        json::object one;
        one["name"] = text(condition.name);
        one["met"] = condition.met;
        one["detail"] = text(condition.detail);
        conditions.push_back(std::move(one));
    }
    json::object out;
    out["ticket_id"] = text(ticket_id);
    out["summary"] = text(explanation.summary);
    out["phase"] = text(explanation.phase);
    out["reason"] = text(explanation.reason);
    out["conditions"] = std::move(conditions);
    if (!explanation.fix.empty()) out["fix"] = text(explanation.fix);
    return out;
}

Explanation explain_stored(const TicketDetail& detail, const EngineSnapshot* snapshot) {
    const TicketSummary& summary = detail.summary;
    const std::string name = summary.task_id.empty() ? summary.ticket_id : summary.task_id;
    const std::string tries = summary.attempts == 1 ? "1 attempt" : std::to_string(summary.attempts) + " attempts";
    Explanation out;
    out.phase = std::string(to_string(summary.phase));
    out.reason = out.phase;
    switch (summary.phase) {
        case StoredPhase::kPending:
        case StoredPhase::kRunning: {
            out.reason = "queued";
            out.summary = name + " is stored and waits to be read by the engine.";
            const bool known = snapshot != nullptr;
            const bool open = known && snapshot->gauges.open;
            if (known && !open) {
                const bool draining = !snapshot->drain_phase.empty();
                out.reason = draining ? "draining" : "intake-paused";
                out.summary = name + (draining ? " waits: this worker is draining and takes no new tickets."
                                               : " waits: intake is paused until tickets in flight have ended.");
                if (draining) out.fix = "worker-agents drain --undo, or start a worker on this store";
            }
            out.conditions.push_back({"stored", true, "queue number " + std::to_string(summary.queue_seq)});
            out.conditions.push_back({"intake", open,
                                      known
                                          ? std::to_string(snapshot->gauges.in_flight) + " of " +
                                                std::to_string(snapshot->gauges.in_flight_limit) + " tickets in flight"
                                          : "the engine did not answer within a second"});
            return out;
        }
        case StoredPhase::kExternal:
            out.summary = name + " was set to RUNNING from outside; this worker does not run it.";
            return out;
        case StoredPhase::kCompleted:
            out.summary = name + " completed in " + seconds_text(summary.actual_duration_ms) + " with " + tries + ".";
            return out;
        case StoredPhase::kSimulated:
            out.summary = name + " was only simulated: nothing real was done.";
            out.fix = "make the runtime that the ticket asks for available, or set SIMULATION_POLICY=deny";
            return out;
        case StoredPhase::kFailed:
        case StoredPhase::kDependencyLost:
        case StoredPhase::kCancelled:
            out.reason = summary.outcome.empty() ? out.phase : summary.outcome;
            out.summary = name + " " + (summary.phase == StoredPhase::kCancelled ? "was cancelled" : "failed") +
                          " after " + tries + (detail.error.empty() ? "." : ": " + detail.error);
            out.fix = "worker-agents tickets retry " + summary.ticket_id;
            // Alone it would only meet the same dependency again.
            if (summary.phase == StoredPhase::kDependencyLost && !summary.plan_id.empty())
                out.fix = "worker-agents plans retry " + summary.plan_id + " --failed";
            return out;
        case StoredPhase::kDeadLettered:
            out.summary = name + " was put aside as a dead letter" + (detail.error.empty() ? "." : ": " + detail.error);
            out.fix = "look at it with worker-agents dlq ls; send it back with dlq replay once the cause is gone";
            return out;
        case StoredPhase::kCompensating:
            out.summary = name + " failed and is being undone by ticket " + detail.compensation_ticket_id + ".";
            return out;
        case StoredPhase::kCompensated:
            out.summary = name + " failed and was undone by ticket " + detail.compensation_ticket_id + ".";
            return out;
    }
    return out;
}

std::string stats_json(const EngineSnapshot& snapshot, EpochMillis now) {
    const FlowGauges& gauges = snapshot.gauges;
    std::string out;
    JsonObjectWriter writer(out);
    const auto count = [&](std::string_view name, std::size_t value) {
        writer.integer(name, static_cast<std::int64_t>(value));
    };
    writer.integer("at", now);
    count("in_flight", gauges.in_flight);
    count("in_flight_limit", gauges.in_flight_limit);
    count("executing", gauges.executing);
    count("slots", gauges.slots);
    count("parked", gauges.parked);
    count("held", gauges.held);
    count("ready", gauges.ready);
    count("queued", gauges.queued);
    count("backing_off", gauges.backing_off);
    count("reporting", gauges.reporting);
    writer.boolean("open", gauges.open);
    writer.boolean("draining", gauges.draining);
    writer.text("drain_phase", snapshot.drain_phase);
    writer.integer("paused_for_ms", to_millis(snapshot.paused_for));
    writer.integer("completed", snapshot.completed);
    writer.integer("failed", snapshot.failed);
    writer.value("success_rate", snapshot.success_rate);
    writer.close();
    return out;
}

std::string list_json(std::string_view items, json::array rows, std::int64_t total, std::size_t offset,
                      std::size_t limit, bool complete) {
    json::object out;
    out[items] = std::move(rows);
    out["total"] = total;
    out["offset"] = offset;
    out["limit"] = limit;
    if (!complete) out["complete"] = false;
    return json_text(out);
}

}  // namespace wa::admin
