// What goes into the embedded store and what comes out of it: plain values, no SQLite.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "ports/result_sink.h"
#include "ports/ticket_service.h"

namespace wa {

// Where a stored ticket stands, one step finer than the six wire statuses (experience.md 2.5). Phases that only the
// engine knows (waiting, queued, backing-off, …) come from EngineControl; the store says what is durable.
enum class StoredPhase : std::uint8_t {
    kPending,         // PENDING: in the queue, whether or not the engine holds it already
    kRunning,         // RUNNING: an attempt's intent is durable
    kExternal,        // RUNNING: somebody outside set this status; this worker does not run it
    kCompleted,       // COMPLETED
    kSimulated,       // COMPLETED, but nothing real was done
    kFailed,          // FAILED for a reason of its own: work, timeout, deadline
    kDependencyLost,  // FAILED because a dependency failed or stayed unknown
    kCancelled,       // FAILED: cancelled or preempted
    kDeadLettered,    // FAILED: never acceptable, or it killed the worker too often
    kCompensating,    // COMPENSATING
    kCompensated,     // COMPENSATED
};
inline constexpr std::size_t kStoredPhaseCount = 11;

// "pending", "running", "external", "completed", "simulated", "failed", "dependency-failed", "cancelled",
// "dead-lettered", "compensating", "compensated".
std::string_view to_string(StoredPhase phase);
std::optional<StoredPhase> parse_stored_phase(std::string_view text);
TicketStatus wire_status(StoredPhase phase);
// The ticket will not move any more by itself.
[[nodiscard]] bool is_ended(StoredPhase phase);

// ---------------------------------------------------------------- going in

// One ticket of a submit. The caller has validated it; the store keeps `payload` as it is and never parses it.
struct NewTicket {
    std::string ticket_id;       // 1 .. 255 bytes
    std::string task_id;         // the task's name in its plan, for people
    std::string correlation_id;  // empty = absent
    TaskType task_type = TaskType::kExecute;
    Priority priority = Priority::kNormal;
    EpochMillis created_at = 0;             // 0 = now
    std::vector<std::string> dependencies;  // ticket ids
    std::string payload;                    // canonical wire JSON, at most StoreLimits::payload_bytes
    // Says whether a repeated submit means the same ticket: a digest (or any text up to 64 bytes) of what the sender
    // wrote, without the fields that the server fills in (created_at, …). Empty: the payload's bytes are compared.
    std::string identity;
};

// All or nothing.
struct SubmitRequest {
    std::string plan_id;    // empty: the tickets belong to no plan
    std::string plan_name;  // for people; kept with the plan when it is new
    std::string intent_id;
    std::vector<NewTicket> tickets;
    std::string actor = "api";  // who asked: "api", "cli", "example", "engine"
    // Set by the compensation route: this ticket becomes COMPENSATING and points at the first ticket of the request.
    std::string compensates;
};

enum class Disposition : std::uint8_t {
    kCreated,   // new
    kSame,      // known, identical, not ended or COMPLETED: nothing was changed (HTTP 200)
    kRequeued,  // known, identical, had FAILED: runs again (design.md "Duplicates")
};
struct SubmittedTicket {
    std::string ticket_id;
    Disposition disposition = Disposition::kCreated;
    StoredPhase phase = StoredPhase::kPending;
    Offset queue_seq = 0;
};
struct SubmitAnswer {
    std::string plan_id;
    std::vector<SubmittedTicket> tickets;  // in the order of the request
};

enum class PlanRetry : std::uint8_t {
    kFailed,  // whatever is FAILED, also what was cancelled or lost its dependency
    kAll,     // whatever has ended
};
struct RetryAnswer {
    std::vector<std::string> ticket_ids;  // back in the queue, in queue order
};

struct StatusPatch {
    std::string ticket_id;
    TicketStatus status = TicketStatus::kPending;
    std::optional<std::string> error_message;
    std::optional<std::int64_t> actual_duration_ms;
    std::string actor = "api";
    // With FAILED, of a ticket that this worker ends itself although the engine never held it: the finer ending, the
    // wire form of its one result, and what the history says. Empty: the status came from outside, and so does its
    // result.
    std::optional<Outcome> outcome{};
    std::string result_json{};
    std::string reason{};
    bool unless_ended = false;  // kConflict when it has ended meanwhile
};

// ---------------------------------------------------------------- coming out

struct TicketSummary {
    Offset queue_seq = 0;  // rises with every (re)submission: the source's offset; newest first means highest first
    std::string ticket_id;
    std::string plan_id;  // empty = none
    std::string plan_name;
    std::string task_id;
    TaskType task_type = TaskType::kExecute;
    Priority priority = Priority::kNormal;
    StoredPhase phase = StoredPhase::kPending;
    std::string outcome;        // of the last ending: "completed", "timeout", "dependency_failed", …; empty while open
    std::int32_t attempts = 0;  // highest attempt number used so far
    std::int32_t deliveries = 0;  // how often a worker died under it since its last (re)submission (rule 4)
    std::int32_t submissions = 1;
    EpochMillis created_at = 0;
    EpochMillis submitted_at = 0;     // the last (re)submission
    EpochMillis started_at = 0;       // first attempt since then; 0 = not yet
    EpochMillis last_attempt_at = 0;  // start of the latest attempt since then; 0 = not yet
    EpochMillis ended_at = 0;         // 0 = open
    std::int64_t actual_duration_ms = 0;
    std::string error;    // of the last ending, empty when none; at most 1,024 bytes
    std::string payload;  // canonical wire JSON; only when asked for (TicketQuery::with_payload, detail)

    [[nodiscard]] TicketStatus status() const { return wire_status(phase); }
};

struct TicketDetail {
    TicketSummary summary;  // with payload
    std::string intent_id;
    std::string correlation_id;
    std::vector<std::string> dependencies;
    std::string result_json;  // wire form of the last ending's result; empty when there is none
    std::string error;        // whole text
    std::string submitted_by;
    std::string compensation_ticket_id;  // empty = none
};

// One line of a ticket's history, as kept. `kind` is a stable word.
struct HistoryLine {
    EpochMillis at = 0;
    // "submitted", "resubmitted", "retried", "replayed", "moved" (inside the engine, one line for each step), "ended",
    // "attempt-ended", "interrupted", "handed-back", "patched", "requeued", "dead-lettered", "discarded",
    // "compensation", "suppressed", "note"
    std::string kind;
    std::string from;  // "moved": engine states as words (core/ticket/ticket_state.h); else empty
    std::string to;    // "moved": engine state; else the stored phase after it
    std::int32_t attempt = 0;
    std::string reason;
    std::string actor;
};

struct TicketQuery {
    std::string plan_id;
    std::optional<TicketStatus> status;
    std::optional<StoredPhase> phase;
    std::optional<TaskType> task_type;
    std::string text;  // case-insensitive part of ticket id, task, plan id or plan name
    std::size_t offset = 0;
    std::size_t limit = 100;  // 1 .. StoreLimits::list_limit, else kInvalidArgument
    bool with_payload = false;
};
struct TicketPage {
    std::vector<TicketSummary> tickets;  // newest (re)submission first
    std::int64_t total = 0;
    // False: `total` counts only what was looked at (StoreLimits::scan_rows), or payloads were left out at
    // StoreLimits::answer_bytes.
    bool complete = true;
};

using PhaseCounts = std::map<StoredPhase, std::int64_t>;

struct PlanSummary {
    std::string plan_id;
    std::string name;
    std::string intent_id;
    EpochMillis created_at = 0;
    EpochMillis changed_at = 0;
    std::int64_t total = 0;
    PhaseCounts counts;  // phases without a ticket are left out
    std::string submitted_by;

    [[nodiscard]] std::int64_t open() const;
};
struct PlanPage {
    std::vector<PlanSummary> plans;  // newest first
    std::int64_t total = 0;
};
struct PlanNode {
    TicketSummary ticket;
    std::vector<std::string> dependencies;  // ticket ids, may point out of the plan
};
struct PlanGraph {
    PlanSummary plan;
    std::vector<PlanNode> nodes;  // in queue order; at most the limit that was asked for
    bool complete = true;
};

struct DeadLetterRecord {
    std::int64_t key = 0;  // stays the same when the same ticket dies again
    std::string ticket_id;
    std::string plan_id;
    std::string task_id;
    std::string task_type;
    std::string reason;
    std::string error_type;
    std::string error;
    EpochMillis at = 0;  // last time it died
    EpochMillis first_at = 0;
    std::int32_t attempts = 0;
    std::int32_t replays = 0;  // how often it was replayed so far
    Offset queue_seq = 0;
    std::string payload;  // single reads only
};
struct DeadLetterPage {
    std::vector<DeadLetterRecord> letters;  // newest first
    std::int64_t total = 0;
};

struct AttemptLog {
    std::int32_t attempt = 0;
    std::vector<std::string> lines;
};

// One ending, in the order of commits: the cursor of an event reader.
struct EndingEvent {
    std::int64_t cursor = 0;
    EpochMillis at = 0;
    std::string ticket_id;
    StoredPhase phase = StoredPhase::kCompleted;
    std::string result_json;  // empty for dead letters and outside endings
};

}  // namespace wa
