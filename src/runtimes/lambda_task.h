// What an EXECUTE ticket asks the Lambda runtime to do: its parameters, checked, and the payload that the function gets
// (contract/executors.md 6.1 and 6.5). Pure.
//
// The payload: command (one text; words that need quotes have them), args, env_vars, working_dir, timeout_seconds, as
// far as the ticket has them, and always ticket_id and attempt: a function that must not work twice for one ticket
// knows by them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "runtimes/task_command.h"

namespace wa::lambda {

inline constexpr std::size_t kMaxPayload = 6U << 20U;  // AWS's limit for calls that are waited for

struct TaskRules {
    std::string function = "neural-hive-executor";  // LAMBDA_FUNCTION_NAME
    std::vector<std::string> allowed;               // LAMBDA_ALLOWED_FUNCTIONS: patterns; empty = only `function`
    std::size_t max_output_bytes = 256 * 1024;      // of stdout and stderr together in the result
};

struct Task {
    std::string function;   // name or ARN
    std::string qualifier;  // version or alias; empty = the function's own choice
    std::optional<std::string> command;
    std::optional<std::vector<std::string>> args;
    std::optional<StringMap> variables;
    std::string working_dir;
    std::optional<std::chrono::milliseconds> timeout;
    RetryCodes retry;
    std::size_t max_output_bytes = 0;
    std::vector<std::string> secrets;  // values that must not be shown
    std::string shown;                 // the command as one line, secrets masked; may be empty
};

// Permanent errors only.
[[nodiscard]] Result<Task> parse_task(const Ticket& ticket, const TaskRules& rules);

// Errors: kLimitExceeded, permanent.
[[nodiscard]] Result<std::string> payload(const Task& task, std::string_view ticket_id, std::int32_t attempt,
                                          Duration timeout);

// "/2015-03-31/functions/…/invocations", percent-encoded, with the qualifier.
[[nodiscard]] std::string invocation_path(const Task& task);

}  // namespace wa::lambda
