// Where endings go, and what settles the offsets that they stand for. One batch is one transaction: all of it becomes
// visible, or none (design.md "Exactly one result"; cluster-rules 1, 5, 6, 8, 9).
//
// The engine hands over at most one batch at a time and keeps everything in memory until the sink says kCommitted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "core/ticket/ticket_state.h"
#include "ports/ticket_source.h"

namespace wa {

// One line of a ticket's history.
struct HistoryEntry {
    EpochMillis at = 0;
    State from = State::kReceived;
    State to = State::kReceived;
    std::int32_t attempt = 0;  // 0 = none yet
    std::string reason;        // stable reason code and facts: "deps: needs b (running)"
    std::string actor;         // "engine", or who asked ("api", "cli", "scheduler")
};

// One try at the work, as history keeps it.
struct AttemptRecord {
    std::int32_t number = 0;
    EpochMillis started_at = 0;
    EpochMillis ended_at = 0;
    std::int64_t queued_ms = 0;
    std::string outcome;  // "completed", "failed", "timeout", "cancelled", "interrupted"
    std::string fault;    // to_string(Fault), empty on success
    std::string error;    // describe(), empty on success
    bool retryable = false;
    std::string runtime;  // back-end that ran it
    std::optional<std::int32_t> exit_code;
    std::optional<std::int32_t> signal;
    std::optional<EpochMillis> next_try_at;
};

struct DeadLetter {
    std::string reason;      // stable word: "invalid_ticket", "decode_error", "unsupported_task_type", "worker_crashed"
    std::string error_type;  // "ValidationError", "TimeoutError", "ConnectionError", "NetworkError"
    std::string error;       // for people
    std::string task_type;   // as far as known, else "unknown"
};

enum class SettlementKind : std::uint8_t {
    kResult,
    kDeadLetter,
    kSuppressed,  // a repeat of a ticket that COMPLETED: offset done, no second result (rule 11)
    kRequeue,     // moved to the tail of its partition (rule 14)
};

// One ticket leaving the worker.
struct Settlement {
    SettlementKind kind = SettlementKind::kResult;
    SourcePosition position;
    SourcePosition origin;
    Epoch epoch = 0;
    std::string ticket_id;  // "unknown" when it could not be read
    std::string plan_id;
    std::string key;
    Outcome outcome = Outcome::kCompleted;
    ExecutionResult result;     // kResult; its timestamp, when this was decided, for every kind
    DeadLetter dead_letter;     // kDeadLetter
    std::string payload;        // original bytes: kDeadLetter, kRequeue
    EpochMillis timestamp = 0;  // of the original record: kRequeue
    std::string traceparent;    // of the original record: kRequeue
    std::string tracestate;     // the same
    std::string other_headers;  // the same
    std::uint32_t requeue_round = 0;
    std::int32_t deliveries = 0;         // kRequeue: the count of rule 4 travels with the copy
    std::optional<Ticket> compensation;  // goes into the same transaction (rule 10)
    std::vector<HistoryEntry> history;
    std::vector<AttemptRecord> attempts;
};

// Made durable before the attempt is started (rule 24).
struct AttemptIntent {
    SourcePosition position;
    Epoch epoch = 0;
    std::string ticket_id;
    std::int32_t number = 0;
    EpochMillis at = 0;
};

// An attempt that ended without ending its ticket: another one follows, or the ticket is handed back. Kept so that a
// later start knows it; a sink without a per-ticket record ignores it.
struct AttemptEnd {
    SourcePosition position;
    Epoch epoch = 0;
    std::string ticket_id;
    AttemptRecord attempt;  // outcome "failed", "timeout" (count against max_retries) or "handed_back" (does not)
};

struct PartitionCommit {
    PartitionId partition = 0;
    Epoch epoch = 0;
    Offset offset = 0;     // lowest unfinished
    std::string metadata;  // finished set above it and delivery counts, text-safe (core/admission/offset_tracker.h)
};

struct CommitBatch {
    std::uint64_t number = 0;  // rises; the same number again means the same call again
    // Shared with the engine, which keeps them until the batch is committed; never null.
    std::vector<std::shared_ptr<const Settlement>> settlements;
    std::vector<AttemptIntent> intents;
    std::vector<AttemptEnd> attempt_ends;
    std::vector<PartitionCommit> offsets;  // empty when the sink does not want them

    [[nodiscard]] bool empty() const {
        return settlements.empty() && intents.empty() && attempt_ends.empty() && offsets.empty();
    }
};

enum class CommitStatus : std::uint8_t {
    kCommitted,
    kRetry,    // nothing is known to be wrong with the batch: hand over the same one again after a pause
    kAborted,  // nothing of it happened; hand over what is still owned, anew
    kFatal,    // it may or may not have happened; the sink must be rebuilt and asked (recover)
};

// One settlement that made the whole batch fail and must not be handed over again as it is (rule 8).
struct RejectedSettlement {
    SourcePosition position;
    enum class Why : std::uint8_t { kTooLarge, kTargetUnavailable } why = Why::kTooLarge;
};

struct CommitResult {
    std::uint64_t number = 0;
    CommitStatus status = CommitStatus::kCommitted;
    std::optional<Error> error;                // when not kCommitted
    std::vector<RejectedSettlement> rejected;  // with kAborted
    bool metadata_too_large = false;           // with kAborted: halve the known limit (rule 12)
    // Where re-queued copies landed, by position of the original (kCommitted).
    std::vector<std::pair<SourcePosition, SourcePosition>> requeued;
};

// What the sink found when it was rebuilt: for each partition that it may still write, what is settled there.
struct RecoveredPartition {
    PartitionId partition = 0;
    Epoch epoch = 0;
    Offset committed = 0;
    std::string metadata;
};
struct SinkRecovered {
    std::vector<RecoveredPartition> partitions;
};

struct SinkTraits {
    bool wants_offsets = false;         // Kafka: yes; embedded store: it knows each ticket's row
    bool keeps_attempts = true;         // embedded store: intents and attempt ends are rows; Kafka: no
    std::size_t metadata_limit = 4096;  // bytes of PartitionCommit::metadata
    std::size_t batch_limit = 1000;     // settlements and intents in one batch
};

class ResultSink {
public:
    virtual ~ResultSink() = default;
    [[nodiscard]] virtual SinkTraits traits() const = 0;
    // Answers later, on the loop, with exactly one CommitResult of the same number.
    virtual void commit(const CommitBatch& batch) = 0;
    // After kFatal. Answers later with SinkRecovered; retries for ever inside.
    virtual void recover() = 0;
};

}  // namespace wa
