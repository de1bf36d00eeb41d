// Inside admin/: records of the store and of the engine as JSON. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/embedded_store/records.h"
#include "admin/api.h"
#include "ports/engine_control.h"

namespace wa::admin {

// What the engine knows beyond the store, by ticket id. Views into the snapshot.
using LiveTasks = std::unordered_map<std::string_view, const RunningTask*>;
[[nodiscard]] LiveTasks live_tasks(const EngineSnapshot* snapshot);

// The ticket in the contract's form (tickets.md 4) with its present status, plus what this worker adds: phase, why,
// attempts, max_attempts, outcome, submitted_at, ended_at, plan_name, worker (null where it is not known).
[[nodiscard]] boost::json::object ticket_record(const TicketSummary& summary, const RunningTask* live,
                                                const WorkerFacts& worker);
[[nodiscard]] boost::json::object ticket_detail(const TicketDetail& detail, const RunningTask* live,
                                                const WorkerFacts& worker);
// Without the ticket's own text: for lists and plans that only show where things stand.
[[nodiscard]] boost::json::object ticket_line(const TicketSummary& summary, const RunningTask* live,
                                              const WorkerFacts& worker);

[[nodiscard]] boost::json::object plan_record(const PlanSummary& plan);
[[nodiscard]] boost::json::object dead_letter_record(const DeadLetterEntry& letter);
[[nodiscard]] boost::json::object attempt_record(const AttemptRecord& attempt);
[[nodiscard]] boost::json::object history_record(const HistoryLine& line);
[[nodiscard]] boost::json::object explanation_record(std::string_view ticket_id, const Explanation& explanation);
// For a ticket that the engine does not hold: from what the store says.
[[nodiscard]] Explanation explain_stored(const TicketDetail& detail, const EngineSnapshot* snapshot);

[[nodiscard]] std::string stats_json(const EngineSnapshot& snapshot, EpochMillis now);
// {"<items>": […], "total", "offset", "limit"}
[[nodiscard]] std::string list_json(std::string_view items, boost::json::array rows, std::int64_t total,
                                    std::size_t offset, std::size_t limit, bool complete = true);

}  // namespace wa::admin
