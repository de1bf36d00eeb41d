// What a ticket ends as: one terminal result (contract/tickets.md 5), and the fine-grained outcome behind it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

// Why a ticket ended. The wire knows only COMPLETED and FAILED; the rest travels in result.metadata.outcome.
enum class Outcome : std::uint8_t {
    kCompleted,
    kExecutionFailed,    // ran and failed, or could not be run within its retries
    kTimeout,            // last attempt exceeded its time
    kDeadlineExceeded,   // the ticket's own deadline passed
    kDependencyFailed,   // a dependency failed, was cancelled or skipped; also a dependency cycle
    kDependencyTimeout,  // a dependency stayed unknown
    kCancelled,
    kPreempted,
    kInvalid,  // could not be accepted (dead letter)
};

// "completed", "execution_failed", "timeout", "deadline_exceeded", "dependency_failed", …
std::string_view to_string(Outcome outcome);
[[nodiscard]] inline bool is_success(Outcome outcome) {
    return outcome == Outcome::kCompleted;
}

using StringMap = std::map<std::string, std::string, std::less<>>;

// The Avro record ExecutionResult, field by field. Values of output and metadata are text: strings as they are;
// numbers, booleans, objects and arrays as compact JSON.
struct ExecutionResult {
    std::string ticket_id;
    bool success = false;  // status COMPLETED or FAILED on the wire
    StringMap output;
    StringMap metadata;  // always: outcome, attempts; `simulated`=`true` only when simulated, else omitted
    std::vector<std::string> logs;
    std::string error_message;  // empty = null
    std::int64_t actual_duration_ms = 0;
    std::string agent_id;
    std::int64_t timestamp = 0;  // epoch milliseconds of publication
    std::int32_t schema_version = 1;
    // JSON-only extra top-level keys (contract/tickets.md 5.3); empty or 0 = omitted.
    std::string plan_id;
    std::string workflow_id;
    std::string correlation_id;
    std::string trace_id;
    std::int64_t started_at = 0;
    std::int64_t completed_at = 0;
};

}  // namespace wa
