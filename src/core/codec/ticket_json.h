// Execution tickets as JSON: reading with every rule of contract/tickets.md 4, and writing.
//
// Whoever gets a Ticket from here may rely on: ticket_id is 1 to 255 bytes without control characters; dependencies
// have no duplicates, no empty id and not the ticket itself; sla.timeout_ms is 1 ms to 7 days; sla.max_retries is 0 to
// 100; sla.deadline is positive when present; defaults are filled in; unknown keys are gone.
//
// Required: ticket_id, task_id, task_type. Everything else may be missing. null counts as missing, except for
// ticket_id, task_id, task_type, status and dependencies. Accepted spellings beside the schema's: task types in any
// case, priority MEDIUM (= NORMAL) and integers 1 to 10 (<=2 LOW, <=5 NORMAL, <=8 HIGH, else CRITICAL), correlationId,
// whole numbers written as 5.0, metadata values that are not text (kept as JSON text).
//
// Errors, all with Retry::kNever and Fault::kInput, `field` naming the place ("sla.timeout_ms", "dependencies[3]"):
//   kMalformed        not JSON, not UTF-8, too deep, a repeated top-level key      (HTTP 400)
//   kInvalidArgument  JSON, but not a valid ticket                                 (HTTP 422)
//   kUnsupported      a task type that does not exist                              (HTTP 422, dead letter
//   unsupported_task_type) kLimitExceeded    more bytes or dependencies than allowed                      (HTTP 413)
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/ticket.h"

namespace wa {

inline constexpr std::size_t kMaxTicketBytes = 1'048'576;
inline constexpr std::size_t kMaxTicketIdBytes = 255;
inline constexpr std::size_t kMaxDependencies = 1000;
inline constexpr std::size_t kMaxTicketDepth = 64;
inline constexpr std::size_t kMaxTicketErrors = 50;
inline constexpr std::int64_t kMaxTimeoutMs = 7LL * 24 * 3600 * 1000;
inline constexpr std::int32_t kMaxRetries = 100;

struct TicketLimits {
    std::size_t max_bytes = kMaxTicketBytes;
    std::size_t max_dependencies = kMaxDependencies;  // counted before duplicates are removed
    std::size_t max_depth = kMaxTicketDepth;
    // False: ticket_id may be missing, null or empty and is left empty (the ticket service's POST makes one up).
    bool require_id = true;
};

// The first error when there are several.
[[nodiscard]] Result<Ticket> parse_ticket(std::string_view text, const TicketLimits& limits = {});
// From a value that parse_json() made; max_bytes does not apply.
[[nodiscard]] Result<Ticket> parse_ticket_value(const boost::json::value& value, const TicketLimits& limits = {});
template <std::same_as<boost::json::value> Value>
[[nodiscard]] Result<Ticket> parse_ticket(const Value& value, const TicketLimits& limits = {}) {
    return parse_ticket_value(value, limits);
}

// All that is wrong, in the order of the schema's fields, at most kMaxTicketErrors; empty = a valid ticket.
[[nodiscard]] std::vector<Error> check_ticket(std::string_view text, const TicketLimits& limits = {});
[[nodiscard]] std::vector<Error> check_ticket_value(const boost::json::value& value, const TicketLimits& limits = {});

// All fields of the schema in its order, null for what is absent. parse_ticket(write_ticket(t)) gives t again.
[[nodiscard]] std::string write_ticket(const Ticket& ticket);
[[nodiscard]] boost::json::object ticket_object(const Ticket& ticket);

// The same content in every field (parameters compared as JSON).
[[nodiscard]] bool same_ticket(const Ticket& a, const Ticket& b);

}  // namespace wa
