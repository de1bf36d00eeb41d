// Execution results as JSON (contract/tickets.md 5): the schema's fields in its order, then the extra top-level keys
// that consumers of JSON results look for (plan_id, workflow_id, correlation_id, trace_id, started_at, completed_at)
// when known.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "core/ticket/result.h"

namespace wa {

// A result message stays below this, so that no broker with ordinary settings refuses it.
inline constexpr std::size_t kMaxResultBytes = 1'048'576;

[[nodiscard]] std::string write_result(const ExecutionResult& result);

// Reads our own and other workers' results: output and metadata values that are not text become JSON text, nulls are
// dropped, missing parts take defaults, unknown keys are ignored. The statuses PREEMPTED and CANCELLED of older workers
// read as a failure with metadata.outcome set. Errors: kMalformed, kLimitExceeded, kInvalidArgument (no ticket_id, no
// ending).
[[nodiscard]] Result<ExecutionResult> parse_result(std::string_view text, std::size_t max_bytes = 4 * kMaxResultBytes);
[[nodiscard]] Result<ExecutionResult> parse_result_value(const boost::json::value& value);

}  // namespace wa
