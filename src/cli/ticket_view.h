// Answers of the API as people see them (experience.md 2.4). Pure: JSON in, text out; missing members are shown as "-".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/json_view.h"
#include "cli/progress.h"
#include "cli/table.h"

namespace wa::cli {

// How times are shown.
struct TimeStyle {
    std::int64_t now = 0;  // epoch milliseconds
    bool relative = true;  // "5m"; else RFC 3339
};

// The facts of one ticket that several views need.
struct TicketFacts {
    std::string id;
    std::string task;
    std::string type;
    std::string phase;   // a word of states.h
    std::string status;  // on the wire
    std::string plan;
    std::string worker;
    std::string why;
    std::int32_t attempts = 0;
    std::optional<std::int64_t> max_attempts;
    std::optional<std::int64_t> created_at;
    std::optional<std::int64_t> started_at;
    std::optional<std::int64_t> ended_at;
    std::optional<std::int64_t> run_ms;
    std::optional<std::int64_t> deadline;
};
[[nodiscard]] TicketFacts ticket_facts(const json::object& ticket, std::int64_t now);

[[nodiscard]] std::string tries_text(const TicketFacts& facts);                  // "1/4"
[[nodiscard]] std::string sla_text(const TicketFacts& facts, std::int64_t now);  // "ok", "4m", "missed", "-"

// `answer` is the body of GET /api/v1/tickets.
[[nodiscard]] Table tickets_table(const json::object& answer, const TimeStyle& style);
// "6 tickets (1 running, 2 completed)" and the command to look at next.
[[nodiscard]] std::string tickets_summary(const json::object& answer);
[[nodiscard]] Table plans_table(const json::object& answer, const TimeStyle& style);
[[nodiscard]] Table dead_letters_table(const json::object& answer, const TimeStyle& style);
[[nodiscard]] Table executors_table(const json::object& answer);

// `ticket`: GET …/{id}; `attempts`: GET …/attempts (may be null).
[[nodiscard]] std::string ticket_page(const json::object& ticket, const json::value& attempts, const TimeStyle& style,
                                      bool colours);
// GET …/{id}/explain.
[[nodiscard]] std::string explain_page(const json::object& explanation, std::string_view name);
// GET /api/v1/status.
[[nodiscard]] std::string worker_page(const json::object& status, const json::object& readiness, bool colours);
// GET /api/v1/doctor: one line a check. Also used for the local checks.
[[nodiscard]] std::string doctor_page(const json::object& report);

// GET /api/v1/plans/{id} for the live view. `limit` bounds the nodes.
[[nodiscard]] ProgressState plan_progress(const json::object& plan, std::int64_t now, std::size_t limit = 100'000);

// The attempts of a body that is a list, or an object that holds one.
[[nodiscard]] const json::array& attempts_of(const json::value& body);

}  // namespace wa::cli
