// The rows of the store as values, and their binary forms. Every form carries a checksum over all that belongs to it,
// so a flipped byte is found when the row is read, not believed. Private to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/embedded_store/bytes.h"
#include "adapters/embedded_store/records.h"
#include "base/error.h"

namespace wa::store {

// The mutable part of a ticket: small, of constant size over its life, so that SQLite overwrites it in place.
struct TicketRow {
    Offset seq = 0;  // row number = queue number
    std::int64_t id_key = 0;
    std::int64_t plan = 0;  // plans.id, 0 = none
    StoredPhase phase = StoredPhase::kPending;
    TaskType type = TaskType::kExecute;
    Priority priority = Priority::kNormal;
    std::optional<Outcome> outcome;  // of the last ending
    bool odd_id = false;             // not in UUID form: also in table names
    std::int32_t attempts = 0;       // highest number used
    std::int32_t ended_attempt = 0;  // highest number whose end is in the history
    std::int32_t burned = 0;         // attempts that count against max_retries since the last (re)submission
    std::int32_t deliveries = 0;
    std::int32_t submissions = 1;
    std::uint32_t round = 0;       // requeue rounds
    std::int64_t born = 0;         // queue number of the first submission: key of payload and records
    std::int64_t last_record = 0;  // head of the chain of records, 0 = none
    Offset origin = 0;             // queue number before the first re-queue, 0 = own
    EpochMillis created_at = 0;
    EpochMillis submitted_at = 0;
    EpochMillis started_at = 0;
    EpochMillis attempt_at = 0;  // start of the attempt whose intent was last made durable
    EpochMillis ended_at = 0;
    std::int64_t duration_ms = 0;
    std::string ticket_id;
    std::string task_id;
};

// Column value of a phase; never 0 or 1, which SQLite stores in another width.
[[nodiscard]] constexpr std::int64_t phase_code(StoredPhase phase) {
    return static_cast<std::int64_t>(phase) + 2;
}
[[nodiscard]] std::optional<StoredPhase> phase_of(std::int64_t code);

void encode_row(const TicketRow& row, std::string& out);
[[nodiscard]] Result<TicketRow> decode_row(Offset seq, std::int64_t id_key, std::int64_t plan, std::int64_t phase,
                                           std::string_view body);

// The immutable part, beside the payload.
struct TicketHead {
    std::string correlation_id;
    std::string intent_id;
    std::string actor;
    std::string identity;
    EpochMillis submitted_at = 0;  // the first time
    std::vector<std::string> dependencies;
};
[[nodiscard]] std::string encode_head(std::int64_t born, const TicketHead& head, std::string_view payload);
[[nodiscard]] Result<TicketHead> decode_head(std::int64_t born, std::string_view bytes);
// The payload's own checksum sits in the head.
[[nodiscard]] bool payload_matches(std::string_view head, std::string_view payload);

// Kinds of records, as stored; never renumber.
enum class RecordKind : std::uint8_t {
    kNote = 1,
    kResubmitted = 2,
    kRetried = 3,
    kReplayed = 4,
    kInterrupted = 5,
    kHandedBack = 6,
    kPatched = 7,
    kRequeued = 8,
    kEnded = 9,
    kDeadLettered = 10,
    kDiscarded = 11,
    kCompensation = 12,
    kSuppressed = 13,
    kAttemptEnded = 14,
};
inline constexpr std::uint8_t kLastRecordKind = 14;
// The word in HistoryLine::kind.
std::string_view to_string(RecordKind kind);
[[nodiscard]] bool is_ending(RecordKind kind, StoredPhase phase);

// One write to a ticket's history: everything that one settlement says, in one row. Records of a ticket form a chain
// (`previous`), newest first.
struct HistoryRecord {
    std::int64_t id = 0;
    std::int64_t born = 0;
    RecordKind kind = RecordKind::kNote;
    std::int64_t previous = 0;
    EpochMillis at = 0;
    StoredPhase phase = StoredPhase::kPending;  // after this record
    std::int32_t attempt = 0;
    std::string ticket_id;
    std::string actor;
    std::string reason;
    std::string error;
    std::string compensation_ticket_id;
    std::vector<AttemptRecord> attempts;
    std::vector<HistoryEntry> history;
};
// The parts that the engine hands over, encoded where they are at hand (the loop), so that nothing is copied twice.
// `limit` bounds the bytes: the middle of a longer history is left out and a note says how many lines.
[[nodiscard]] std::string encode_trail(const std::vector<AttemptRecord>& attempts,
                                       const std::vector<HistoryEntry>& history, std::size_t limit);
void encode_record(const HistoryRecord& record, std::string_view trail, std::string_view result, std::string& out);
[[nodiscard]] Result<HistoryRecord> decode_record(std::int64_t id, std::int64_t born, std::int64_t kind,
                                                  std::string_view body);
[[nodiscard]] bool result_matches(std::string_view record_body, std::string_view result);

// Index key of an id. UUID form: first 32 bits in order (so a beginning of the id is a range), then 32 keyed bits.
struct IdKey {
    std::int64_t key = 0;
    bool odd = false;  // not in UUID form: 64 keyed bits
};
[[nodiscard]] IdKey id_key(const HashKey& hash_key, std::string_view ticket_id);
// The range of keys of UUID-formed ids that begin with `prefix` (which may be longer than the 8 digits that order
// them); nothing when no UUID begins so.
[[nodiscard]] std::optional<std::pair<std::int64_t, std::int64_t>> id_range(std::string_view prefix);

[[nodiscard]] Failure corrupt(std::string_view what);

}  // namespace wa::store
