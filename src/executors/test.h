// The executor for TEST: runs the ticket's test command on this machine, reads the reports that it leaves, and says
// what passed and what failed. The CI providers (github_actions, gitlab_ci, jenkins) are not built: a ticket that names
// one runs here only if it brings a command that ALLOWED_TEST_COMMANDS allows, else it is simulated (labelled) or
// refused (SIMULATION_POLICY). Failed tests are never run again elsewhere, nor here.
//
// Everything that was not as the ticket asked is said in the result, in the words of executors/execute.h:
// metadata.requested_provider, fallback_reason, fallback_code, fallback_from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "executors/test_wish.h"
#include "ports/executor.h"
#include "ports/local_jobs.h"
#include "ports/runtime.h"
#include "ports/test_reports.h"

namespace wa {

// Calls `action` on the loop after `wait`, never from inside this call; what it returns takes the call back.
using CallLater = std::function<std::function<void()>(Duration wait, std::function<void()> action)>;

struct TestOptions {
    std::vector<std::string> allowed_commands;     // ALLOWED_TEST_COMMANDS
    std::string workspace_root;                    // TEST_WORKSPACE_ROOT; empty = not restricted
    Duration timeout = std::chrono::seconds(600);  // TEST_EXECUTION_TIMEOUT_SECONDS
    int tries = 3;                                 // TEST_RETRY_ATTEMPTS: of beginning, within one attempt
    bool read_junit = true;                        // JUNIT_XML_ENABLED
    bool read_coverage = true;                     // COVERAGE_REPORT_ENABLED
};

class TestExecutor final : public Executor {
public:
    // What this is built on. All must outlive this object.
    struct Parts {
        const Clock& clock;
        LocalJobs& local;
        TestReports& reports;
        Runtime& simulation;  // simulates TEST tickets too
        CallLater call_later;
    };
    TestExecutor(Parts parts, TestOptions options);

    [[nodiscard]] TaskType task_type() const override { return TaskType::kTest; }
    [[nodiscard]] std::string backend(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& ticket) const override;
    [[nodiscard]] bool can_detach(const Ticket&) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override;

private:
    class Attempt;
    // Whether the ticket's command is what would run, if this machine can be used: it has one, and may.
    [[nodiscard]] static bool wants_local(const TestWish& wish, const Ticket& ticket);
    // The command as a job; refused when it may not run here.
    [[nodiscard]] Result<LocalJob> make_job(const TestWish& wish) const;

    Parts parts_;
    TestOptions options_;
    AllowedTestCommands allowed_;
};

}  // namespace wa
