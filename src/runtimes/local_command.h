// What an EXECUTE ticket asks the local runtime to do: its parameters, checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "ports/local_jobs.h"
#include "runtimes/command_policy.h"
#include "runtimes/sandbox_policy.h"
#include "runtimes/task_command.h"

namespace wa {

struct LocalCommand {
    std::string executable;              // absolute
    std::string digest;                  // that its file must have; empty = any
    std::vector<std::string> arguments;  // argv
    StringMap variables;                 // env_vars | env
    std::optional<std::string> working_dir;
    std::optional<std::chrono::milliseconds> timeout;
    std::optional<std::string> input;
    StringMap secret_files;  // parameters.secrets: name of a file and what it holds
    SandboxWish sandbox;
    std::size_t max_output_bytes = 0;  // of stdout and stderr together in the result
    RetryCodes retry;
    std::string shown;                 // the command as one line, secrets masked
    std::vector<std::string> secrets;  // values that must not be shown
};

struct LocalCommandRules {
    const CommandPolicy& policy;
    bool allow_shell = false;
    std::size_t max_output_bytes = 256 * 1024;
    const std::vector<std::string>& allowed_variables;  // patterns
    const std::vector<std::string>& denied_variables;
};

//
// `command` is a list, or one text that is split by shell rules (without a shell); `args` are appended. With `shell:
// true` (only where allowed) the text goes to `sh -c` as it is, and `args` become its positional parameters.
[[nodiscard]] Result<LocalCommand> parse_local_command(const Ticket& ticket, const LocalCommandRules& rules);
// The same for a command that another executor brings; what may run was decided there.
[[nodiscard]] Result<LocalCommand> parse_local_job(const Ticket& ticket, const LocalJob& job,
                                                   const LocalCommandRules& rules);

}  // namespace wa
