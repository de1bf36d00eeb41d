#include "adapters/embedded_store/rows.h"

#include <algorithm>
#include <utility>

namespace wa::store {

namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::uint8_t kOutcomes = 9;
constexpr std::size_t kChecksum = 4;
constexpr std::size_t kNameBytes = 512;  // of a task name in the hot row; the payload keeps the whole one

// What a checksum covers beside the bytes themselves: the place where they stand.
std::uint32_t seed_of(std::initializer_list<std::int64_t> place) {
    return crc32({reinterpret_cast<const char*>(place.begin()), place.size() * sizeof(std::int64_t)});
}

void append_checksum(std::string& out, std::size_t from, std::uint32_t seed) {
    const std::uint32_t sum = crc32(std::string_view(out).substr(from), seed);
    ByteWriter(out).u32(sum);
}

// The bytes without their checksum, or nothing when it does not fit.
std::optional<std::string_view> checked(std::string_view bytes, std::uint32_t seed) {
    if (bytes.size() < kChecksum) return std::nullopt;
    const std::string_view content = bytes.substr(0, bytes.size() - kChecksum);
    ByteReader tail(bytes.substr(content.size()));
    if (tail.u32() != crc32(content, seed)) return std::nullopt;
    return content;
}

std::int32_t small_int(std::uint64_t value) {
    return static_cast<std::int32_t>(std::min<std::uint64_t>(value, INT32_MAX));
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

constexpr bool dash_at(std::size_t index) {
    return index == 8 || index == 13 || index == 18 || index == 23;
}

// True when a UUID may begin with this text.
bool uuid_beginning(std::string_view text) {
    if (text.size() > 36) return false;
    for (std::size_t n = 0; n < text.size(); ++n) {
        if (dash_at(n) ? text[n] != '-' : hex_digit(text[n]) < 0) return false;
    }
    return true;
}

std::int64_t ordered(std::uint64_t bits) {
    return static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63U));
}

void write_attempt(ByteWriter& writer, const AttemptRecord& attempt) {
    writer.varint(static_cast<std::uint64_t>(std::max(attempt.number, 0)));
    writer.u48(attempt.started_at);
    writer.u48(attempt.ended_at);
    writer.signed_varint(attempt.queued_ms);
    const unsigned flags = (attempt.retryable ? 1U : 0U) | (attempt.exit_code ? 2U : 0U) | (attempt.signal ? 4U : 0U) |
                           (attempt.next_try_at ? 8U : 0U);
    writer.u8(static_cast<std::uint8_t>(flags));
    if (attempt.exit_code) writer.signed_varint(*attempt.exit_code);
    if (attempt.signal) writer.signed_varint(*attempt.signal);
    if (attempt.next_try_at) writer.u48(*attempt.next_try_at);
    writer.text(attempt.outcome);
    writer.text(attempt.fault);
    writer.text(attempt.error);
    writer.text(attempt.runtime);
}

AttemptRecord read_attempt(ByteReader& reader) {
    AttemptRecord attempt;
    attempt.number = small_int(reader.varint());
    attempt.started_at = reader.u48();
    attempt.ended_at = reader.u48();
    attempt.queued_ms = reader.signed_varint();
    const std::uint8_t flags = reader.u8();
    attempt.retryable = (flags & 1U) != 0U;
    if ((flags & 2U) != 0U) attempt.exit_code = static_cast<std::int32_t>(reader.signed_varint());
    if ((flags & 4U) != 0U) attempt.signal = static_cast<std::int32_t>(reader.signed_varint());
    if ((flags & 8U) != 0U) attempt.next_try_at = reader.u48();
    attempt.outcome = reader.text();
    attempt.fault = reader.text();
    attempt.error = reader.text();
    attempt.runtime = reader.text();
    return attempt;
}

void write_entry(ByteWriter& writer, const HistoryEntry& entry) {
    writer.u48(entry.at);
    writer.u8(static_cast<std::uint8_t>(entry.from));
    writer.u8(static_cast<std::uint8_t>(entry.to));
    writer.varint(static_cast<std::uint64_t>(std::max(entry.attempt, 0)));
    writer.text(entry.reason);
    writer.text(entry.actor == "engine" ? std::string_view{} : std::string_view(entry.actor));
}

// Unknown states (a damaged byte that the checksum missed) make the record unreadable, never an invalid enumerator.
bool read_entry(ByteReader& reader, HistoryEntry& entry) {
    entry.at = reader.u48();
    const std::uint8_t from = reader.u8();
    const std::uint8_t to = reader.u8();
    entry.attempt = small_int(reader.varint());
    entry.reason = reader.text();
    const std::string_view actor = reader.text();
    entry.actor = actor.empty() ? std::string_view("engine") : actor;
    if (from >= kStateCount || to >= kStateCount) return false;
    entry.from = static_cast<State>(from);
    entry.to = static_cast<State>(to);
    return reader.ok();
}

std::size_t size_of(const HistoryEntry& entry) {
    return 24 + entry.reason.size() + entry.actor.size();
}

// Writes the entries that fit: whole, or the first and last ones around a line that says what is missing.
void write_history(ByteWriter& writer, const std::vector<HistoryEntry>& history, std::size_t limit) {
    std::size_t total = 0;
    for (const auto& entry : history)
        total += size_of(entry);
    if (total <= limit) {
        writer.varint(history.size());
        for (const auto& entry : history)
            write_entry(writer, entry);
        return;
    }
    std::size_t head = 0;
    std::size_t tail = history.size();
    for (std::size_t used = 0; head < tail && used + size_of(history[head]) <= limit / 2; ++head) {
        used += size_of(history[head]);
    }
    for (std::size_t used = 0; tail > head && used + size_of(history[tail - 1]) <= limit / 2; --tail) {
        used += size_of(history[tail - 1]);
    }
    writer.varint(head + (history.size() - tail) + 1);
    for (std::size_t n = 0; n < head; ++n)
        write_entry(writer, history[n]);
    HistoryEntry gap = head < history.size() ? history[head] : HistoryEntry{};
    gap.reason = std::to_string(tail - head) + " lines left out here: the history is over its limit";
    gap.actor = "store";
    write_entry(writer, gap);
    for (std::size_t n = tail; n < history.size(); ++n)
        write_entry(writer, history[n]);
}

}  // namespace

Failure corrupt(std::string_view what) {
    Error error = make_error(ErrorCode::kCorrupt, Retry::kNever, Fault::kWorker, "store", std::string(what));
    error.fix = "restore a backup of the store, or start with a new state folder";
    return tl::unexpected(std::move(error));
}

std::optional<StoredPhase> phase_of(std::int64_t code) {
    if (code < 2 || code >= static_cast<std::int64_t>(kStoredPhaseCount) + 2) return std::nullopt;
    return static_cast<StoredPhase>(code - 2);
}

// ---------------------------------------------------------------- ticket row

void encode_row(const TicketRow& row, std::string& out) {
    out.clear();
    ByteWriter writer(out);
    writer.u8(kFormat);
    writer.u8(static_cast<std::uint8_t>(row.type));
    writer.u8(static_cast<std::uint8_t>(row.priority));
    writer.u8(row.outcome ? static_cast<std::uint8_t>(static_cast<unsigned>(*row.outcome) + 1U) : std::uint8_t{0});
    writer.u8(row.odd_id ? 1 : 0);
    writer.u32(static_cast<std::uint32_t>(row.attempts));
    writer.u32(static_cast<std::uint32_t>(row.ended_attempt));
    writer.u32(static_cast<std::uint32_t>(row.burned));
    writer.u32(static_cast<std::uint32_t>(row.deliveries));
    writer.u32(static_cast<std::uint32_t>(row.submissions));
    writer.u32(row.round);
    for (const std::int64_t value : {row.born, row.last_record, row.origin, row.created_at, row.submitted_at,
                                     row.started_at, row.attempt_at, row.ended_at, row.duration_ms}) {
        writer.u48(value);
    }
    writer.text(row.ticket_id);
    writer.text(std::string_view(row.task_id).substr(0, kNameBytes));
    append_checksum(out, 0, seed_of({row.seq, row.id_key, row.plan, phase_code(row.phase)}));
}

Result<TicketRow> decode_row(Offset seq, std::int64_t id_key, std::int64_t plan, std::int64_t phase,
                             std::string_view body) {
    const auto content = checked(body, seed_of({seq, id_key, plan, phase}));
    const auto known_phase = phase_of(phase);
    if (!content || !known_phase) return corrupt("ticket row " + std::to_string(seq) + " does not match its checksum");
    ByteReader reader(*content);
    TicketRow row;
    row.seq = seq;
    row.id_key = id_key;
    row.plan = plan;
    row.phase = *known_phase;
    const std::uint8_t format = reader.u8();
    const std::uint8_t type = reader.u8();
    const std::uint8_t priority = reader.u8();
    const std::uint8_t outcome = reader.u8();
    row.odd_id = (reader.u8() & 1U) != 0U;
    row.attempts = static_cast<std::int32_t>(reader.u32());
    row.ended_attempt = static_cast<std::int32_t>(reader.u32());
    row.burned = static_cast<std::int32_t>(reader.u32());
    row.deliveries = static_cast<std::int32_t>(reader.u32());
    row.submissions = static_cast<std::int32_t>(reader.u32());
    row.round = reader.u32();
    for (std::int64_t* value : {&row.born, &row.last_record, &row.origin, &row.created_at, &row.submitted_at,
                                &row.started_at, &row.attempt_at, &row.ended_at, &row.duration_ms}) {
        *value = reader.u48();
    }
    row.ticket_id = reader.text();
    row.task_id = reader.text();
    const bool sane = format == kFormat && type < kTaskTypeCount &&
                      priority <= static_cast<std::uint8_t>(Priority::kCritical) && outcome <= kOutcomes;
    if (!reader.ok() || !sane) return corrupt("ticket row " + std::to_string(seq) + " cannot be read");
    row.type = static_cast<TaskType>(type);
    row.priority = static_cast<Priority>(priority);
    if (outcome != 0) row.outcome = static_cast<Outcome>(outcome - 1);
    return row;
}

// ---------------------------------------------------------------------- head

std::string encode_head(std::int64_t born, const TicketHead& head, std::string_view payload) {
    std::string out;
    ByteWriter writer(out);
    writer.u32(crc32(payload));
    writer.u8(kFormat);
    writer.text(head.correlation_id);
    writer.text(head.intent_id);
    writer.text(head.actor);
    writer.text(head.identity);
    writer.u48(head.submitted_at);
    writer.varint(head.dependencies.size());
    for (const auto& id : head.dependencies)
        writer.text(id);
    append_checksum(out, 0, seed_of({born}));
    return out;
}

Result<TicketHead> decode_head(std::int64_t born, std::string_view bytes) {
    const auto content = checked(bytes, seed_of({born}));
    if (!content) return corrupt("the stored ticket " + std::to_string(born) + " does not match its checksum");
    ByteReader reader(*content);
    TicketHead head;
    [[maybe_unused]] const std::uint32_t payload_sum = reader.u32();
    const std::uint8_t format = reader.u8();
    head.correlation_id = reader.text();
    head.intent_id = reader.text();
    head.actor = reader.text();
    head.identity = reader.text();
    head.submitted_at = reader.u48();
    const std::uint64_t count = reader.varint();
    for (std::uint64_t n = 0; n < count && reader.ok(); ++n)
        head.dependencies.emplace_back(reader.text());
    if (!reader.ok() || format != kFormat)
        return corrupt("the stored ticket " + std::to_string(born) + " cannot be read");
    return head;
}

bool payload_matches(std::string_view head, std::string_view payload) {
    ByteReader reader(head);
    return reader.u32() == crc32(payload) && reader.ok();
}

// -------------------------------------------------------------------- record

std::string_view to_string(RecordKind kind) {
    switch (kind) {
        case RecordKind::kNote: return "note";
        case RecordKind::kResubmitted: return "resubmitted";
        case RecordKind::kRetried: return "retried";
        case RecordKind::kReplayed: return "replayed";
        case RecordKind::kInterrupted: return "interrupted";
        case RecordKind::kHandedBack: return "handed-back";
        case RecordKind::kPatched: return "patched";
        case RecordKind::kRequeued: return "requeued";
        case RecordKind::kEnded: return "ended";
        case RecordKind::kDeadLettered: return "dead-lettered";
        case RecordKind::kDiscarded: return "discarded";
        case RecordKind::kCompensation: return "compensation";
        case RecordKind::kSuppressed: return "suppressed";
        case RecordKind::kAttemptEnded: return "attempt-ended";
    }
    return "note";
}

bool is_ending(RecordKind kind, StoredPhase phase) {
    return kind == RecordKind::kEnded || kind == RecordKind::kDeadLettered || kind == RecordKind::kSuppressed ||
           (kind == RecordKind::kPatched && is_ended(phase));
}

std::string encode_trail(const std::vector<AttemptRecord>& attempts, const std::vector<HistoryEntry>& history,
                         std::size_t limit) {
    std::string out;
    ByteWriter writer(out);
    std::size_t first = 0;  // the newest attempts are kept
    std::size_t used = 0;
    for (std::size_t n = attempts.size(); n > 0; --n) {
        const auto& attempt = attempts[n - 1];
        used += 48 + attempt.error.size() + attempt.outcome.size() + attempt.runtime.size();
        if (used > limit / 2 && n < attempts.size()) {
            first = n;
            break;
        }
    }
    writer.varint(attempts.size() - first);
    for (std::size_t n = first; n < attempts.size(); ++n)
        write_attempt(writer, attempts[n]);
    write_history(writer, history, limit / 2);
    return out;
}

void encode_record(const HistoryRecord& record, std::string_view trail, std::string_view result, std::string& out) {
    out.clear();
    ByteWriter writer(out);
    writer.u32(crc32(result));
    writer.u8(kFormat);
    writer.u8(static_cast<std::uint8_t>(record.phase));
    writer.u48(record.previous);
    writer.u48(record.at);
    writer.varint(static_cast<std::uint64_t>(std::max(record.attempt, 0)));
    writer.text(record.ticket_id);
    writer.text(record.actor);
    writer.text(record.reason);
    writer.text(record.error);
    writer.text(record.compensation_ticket_id);
    if (trail.empty()) {
        writer.varint(0);
        writer.varint(0);
    } else {
        out.append(trail);
    }
    append_checksum(out, 0, seed_of({record.id, record.born, static_cast<std::int64_t>(record.kind)}));
}

Result<HistoryRecord> decode_record(std::int64_t id, std::int64_t born, std::int64_t kind, std::string_view body) {
    const auto content = checked(body, seed_of({id, born, kind}));
    if (!content || kind < 1 || kind > kLastRecordKind) {
        return corrupt("history record " + std::to_string(id) + " does not match its checksum");
    }
    ByteReader reader(*content);
    HistoryRecord record;
    record.id = id;
    record.born = born;
    record.kind = static_cast<RecordKind>(kind);
    [[maybe_unused]] const std::uint32_t result_sum = reader.u32();
    const std::uint8_t format = reader.u8();
    const std::uint8_t phase = reader.u8();
    record.previous = reader.u48();
    record.at = reader.u48();
    record.attempt = small_int(reader.varint());
    record.ticket_id = reader.text();
    record.actor = reader.text();
    record.reason = reader.text();
    record.error = reader.text();
    record.compensation_ticket_id = reader.text();
    const std::uint64_t attempts = reader.varint();
    for (std::uint64_t n = 0; n < attempts && reader.ok(); ++n)
        record.attempts.push_back(read_attempt(reader));
    const std::uint64_t lines = reader.varint();
    bool readable = format == kFormat && phase < kStoredPhaseCount;
    for (std::uint64_t n = 0; n < lines && readable && reader.ok(); ++n) {
        readable = read_entry(reader, record.history.emplace_back());
    }
    if (!reader.ok() || !readable) return corrupt("history record " + std::to_string(id) + " cannot be read");
    record.phase = static_cast<StoredPhase>(phase);
    return record;
}

bool result_matches(std::string_view record_body, std::string_view result) {
    return payload_matches(record_body, result);  // both forms begin with the checksum of what stands beside them
}

// ------------------------------------------------------------------------ id

IdKey id_key(const HashKey& hash_key, std::string_view ticket_id) {
    const std::uint64_t hash = siphash(hash_key, ticket_id);
    if (ticket_id.size() != 36 || !uuid_beginning(ticket_id)) return {ordered(hash), true};
    std::uint64_t first = 0;
    for (std::size_t n = 0; n < 8; ++n)
        first = (first << 4U) | static_cast<unsigned>(hex_digit(ticket_id[n]));
    return {ordered((first << 32U) | (hash & 0xffffffffU)), false};
}

std::optional<std::pair<std::int64_t, std::int64_t>> id_range(std::string_view prefix) {
    if (!uuid_beginning(prefix)) return std::nullopt;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    for (std::size_t n = 0; n < 8; ++n) {
        const bool given = n < prefix.size();
        low = (low << 4U) | (given ? static_cast<unsigned>(hex_digit(prefix[n])) : 0U);
        high = (high << 4U) | (given ? static_cast<unsigned>(hex_digit(prefix[n])) : 15U);
    }
    return std::pair{ordered(low << 32U), ordered((high << 32U) | 0xffffffffU)};
}

}  // namespace wa::store
