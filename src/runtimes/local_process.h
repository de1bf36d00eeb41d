// The runtime "local": the ticket's command as processes of this machine, through the spawn helper.
//
// Around each task stand the layers that runtimes/sandbox_policy.h decides on: namespaces with a root of its own, no
// capabilities, a system call filter, Landlock, cgroup limits, a user id of its own. Every result names the level that
// was reached in metadata.isolation and its layers in metadata.isolation_layers, and isolation() tells doctor the same.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "ports/local_jobs.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "process/spawner.h"
#include "runtimes/command_policy.h"
#include "runtimes/local_command.h"
#include "runtimes/program_check.h"
#include "runtimes/sandbox_policy.h"
#include "runtimes/workspace.h"

namespace wa {

struct LocalRuntimeOptions {
    bool enabled = true;                                                                   // LOCAL_RUNTIME_ENABLED
    std::vector<std::string> allowed_commands{"python", "python3", "node", "bash", "sh"};  // see CommandPolicy
    std::string search_path = "/usr/local/bin:/usr/bin:/bin";                              // LOCAL_RUNTIME_PATH
    bool allow_shell = false;                                                              // LOCAL_RUNTIME_ALLOW_SHELL
    WorkspaceOptions workspace;
    SandboxOptions sandbox;
    Duration timeout = std::chrono::seconds(300);  // LOCAL_RUNTIME_TIMEOUT_SECONDS: upper bound of one attempt
    Duration grace = std::chrono::seconds(10);     // LOCAL_RUNTIME_GRACE_SECONDS: from SIGTERM to SIGKILL
    std::uint64_t open_files = 256;
    std::uint64_t file_size = 256ULL << 20U;              // bytes
    std::optional<std::uint64_t> address_space;           // bytes; many runtimes reserve far more than they use
    std::optional<std::uint64_t> processes;               // counted over the worker's whole user
    std::size_t result_bytes = 256 * 1024;                // of stdout and stderr together in the result
    std::size_t result_lines = 1000;                      // of each
    std::vector<std::string> allowed_variables{"*"};      // patterns of names that a ticket may set
    std::vector<std::string> denied_variables;            // names of the worker's own secrets
    Duration cleanup_patience = std::chrono::seconds(2);  // an ended attempt waits so long for its folder to be removed
};

// Which of the measures against a task's reach are in force, for doctor.
struct IsolationReport {
    std::string level;                  // of process/isolation.h; "none" while the helper is not there
    std::vector<std::string> measures;  // in force
    std::vector<std::string> missing;   // not built or not to be had here
};

class LocalRuntime final : public Runtime, public LocalJobs {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    LocalRuntime(boost::asio::io_context& loop, const Clock& clock, Spawner& spawner, TaskLogs* logs,
                 LocalRuntimeOptions options);
    ~LocalRuntime() override;

    // Makes the folders. Once, before the first start; an error makes the runtime unavailable and is returned too.
    Result<void> prepare(Random& random);

    [[nodiscard]] std::string_view name() const override { return "local"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return true; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;
    [[nodiscard]] Result<void> check_job(const Ticket& ticket, const LocalJob& job) const override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start_job(const AttemptContext& context, LocalJob job,
                                                            RuntimeListener& listener) override;

    [[nodiscard]] IsolationReport isolation() const;

private:
    class Attempt;
    friend class Attempt;
    [[nodiscard]] LocalCommandRules rules() const;
    struct TimeLimits {
        Duration effective{};  // what the attempt may take
        Duration enforced{};   // what the helper is told
    };
    [[nodiscard]] TimeLimits time_limits(const AttemptContext& context, const LocalCommand& command,
                                         Duration longest) const;
    [[nodiscard]] ProcessLimits limits(Duration time_limit) const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Spawner& spawner_;
    TaskLogs* logs_;
    LocalRuntimeOptions options_;
    CommandPolicy policy_;
    ProgramCheck programs_;
    SandboxPolicy sandbox_;
    Workspace workspace_;
    std::string unprepared_ = "its folders have not been made yet";  // why it cannot be used; empty = it can
    std::optional<std::uint64_t> out_of_memory_kills_;               // of the machine, when last looked at
};

}  // namespace wa
