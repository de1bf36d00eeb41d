// Single-row reads that the write side and the read side share. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/embedded_store/rows.h"
#include "adapters/embedded_store/sqlite.h"

namespace wa::store {

using CountArray = std::array<std::int64_t, kStoredPhaseCount>;

struct PlanRow {
    std::int64_t id = 0;
    std::string plan_id;
    std::string name;
    std::string intent_id;
    std::string actor;
    EpochMillis created_at = 0;
    EpochMillis changed_at = 0;
    std::int64_t open = 0;
    std::int64_t total = 0;
    CountArray counts{};
};
[[nodiscard]] std::string encode_counts(const CountArray& counts);
[[nodiscard]] Result<CountArray> decode_counts(std::string_view bytes);
// Columns id, plan_id, name, intent_id, actor, created_at, changed_at, open, total, counts of the current row.
[[nodiscard]] Result<PlanRow> read_plan(const sqlite::Statement& row);

struct StoredRecord {
    HistoryRecord record;
    std::string result;  // JSON, empty when there is none
};

[[nodiscard]] Result<std::optional<TicketRow>> find_ticket(sqlite::Db& db, const HashKey& hash_key,
                                                           std::string_view ticket_id);
[[nodiscard]] Result<std::optional<TicketRow>> ticket_at(sqlite::Db& db, Offset seq);
[[nodiscard]] Result<std::optional<PlanRow>> find_plan(sqlite::Db& db, std::string_view plan_id);
[[nodiscard]] Result<std::optional<PlanRow>> plan_at(sqlite::Db& db, std::int64_t id);
// kCorrupt when it is not there: chains never point at nothing.
[[nodiscard]] Result<StoredRecord> record_at(sqlite::Db& db, std::int64_t id, bool with_result);

struct StoredTicket {
    TicketHead head;
    std::string payload;
};
[[nodiscard]] Result<StoredTicket> stored_ticket(sqlite::Db& db, std::int64_t born, bool with_payload);

struct Tombstone {
    StoredPhase phase = StoredPhase::kCompleted;
    EpochMillis ended_at = 0;
};
[[nodiscard]] Result<std::optional<Tombstone>> find_tombstone(sqlite::Db& db, const HashKey& hash_key,
                                                              std::string_view ticket_id);

[[nodiscard]] Result<std::int64_t> meta_int(sqlite::Db& db, std::string_view key);
[[nodiscard]] Result<std::string> meta_text(sqlite::Db& db, std::string_view key);
[[nodiscard]] Result<void> set_meta(sqlite::Db& db, std::string_view key, std::int64_t value);
[[nodiscard]] Result<void> set_meta(sqlite::Db& db, std::string_view key, std::string_view value);

// The summary of a row; `plan` may be null (none). Error text and duration come from `ending` when there is one.
[[nodiscard]] TicketSummary summarize(const TicketRow& row, const PlanRow* plan);

}  // namespace wa::store
