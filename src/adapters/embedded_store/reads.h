// The store's questions, each on one snapshot of a read connection. Private to this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "adapters/embedded_store/queries.h"
#include "adapters/embedded_store/store.h"

namespace wa::store {

struct ReadContext {
    sqlite::Db& db;
    const HashKey& hash_key;
    const StoreLimits& limits;
};

[[nodiscard]] Result<std::string> resolve_id(const ReadContext& in, std::string_view text);
[[nodiscard]] Result<TicketDetail> read_detail(const ReadContext& in, std::string_view ticket_id);
[[nodiscard]] Result<TicketPage> list_tickets(const ReadContext& in, const TicketQuery& query);
[[nodiscard]] Result<PlanPage> list_plans(const ReadContext& in, std::size_t offset, std::size_t limit);
[[nodiscard]] Result<PlanSummary> read_plan_summary(const ReadContext& in, std::string_view plan_id);
[[nodiscard]] Result<PlanGraph> read_graph(const ReadContext& in, std::string_view plan_id, std::size_t node_limit);
[[nodiscard]] Result<std::vector<std::string>> list_open(const ReadContext& in, std::string_view plan_id);
[[nodiscard]] Result<std::vector<AttemptRecord>> read_attempts(const ReadContext& in, std::string_view ticket_id);
[[nodiscard]] Result<std::vector<HistoryLine>> read_history(const ReadContext& in, std::string_view ticket_id);
[[nodiscard]] Result<AttemptLog> read_log(const ReadContext& in, std::string_view ticket_id, std::int32_t attempt);
[[nodiscard]] Result<DeadLetterPage> list_letters(const ReadContext& in, std::size_t offset, std::size_t limit);
[[nodiscard]] Result<DeadLetterRecord> read_letter(const ReadContext& in, std::int64_t key);
[[nodiscard]] Result<PhaseCounts> count_phases(const ReadContext& in);
[[nodiscard]] Result<std::vector<DependencyStatus>> read_statuses(const ReadContext& in,
                                                                  const std::vector<std::string>& ticket_ids);
[[nodiscard]] Result<std::vector<EndingEvent>> list_endings(const ReadContext& in, std::int64_t cursor,
                                                            std::size_t limit);

// For the source: open tickets that wait in the queue, from `after` on, with where the queue ends.
struct QueueSlice {
    std::vector<Record> records;
    Offset end = 0;         // nothing at or above it was in the queue
    bool exhausted = true;  // there is nothing between the last record and `end`
};
[[nodiscard]] Result<QueueSlice> read_queue(const ReadContext& in, Offset from, std::size_t records, std::size_t bytes);

}  // namespace wa::store
