#include "runtimes/simulation.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <utility>

#include "core/codec/parameters.h"
#include "core/codec/text.h"
#include "runtimes/stop_error.h"

namespace wa {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

constexpr std::string_view kMark = "[SIMULAÇÃO]";
// How long the original pretends to work (contract/executors.md 1.6).
struct Wait {
    std::int64_t shortest_ms = 0;
    std::int64_t longest_ms = 0;
};
constexpr Wait kExecuteWait{2000, 4000};
constexpr Wait kTestWait{1000, 3000};
constexpr std::int64_t kMostMs = 600'000;
constexpr std::size_t kShownBytes = 4096;

struct Plan {
    std::optional<std::int64_t> duration_ms;
    int exit_code = 0;
    std::string command;
    StringMap test_output;  // TEST only: the numbers it will report
};

Result<Plan> read_plan(const Ticket& ticket) {
    const Parameters parameters(ticket.parameters);
    Plan plan;
    WA_TRY(plan.duration_ms, parameters.integer("simulated_duration_ms", {0, kMostMs}));
    WA_TRY(const auto code, parameters.integer_or("simulated_exit_code", 0, {0, 255}));
    plan.exit_code = static_cast<int>(code);
    // Nothing is run, so a command that could not be run is no error here.
    std::vector<std::string> words;
    if (const auto command = parameters.command("command"); command && *command) words = **command;
    if (const auto arguments = parameters.command("args"); arguments && *arguments) {
        words.insert(words.end(), (*arguments)->begin(), (*arguments)->end());
    }
    for (const std::string& word : words)
        plan.command += (plan.command.empty() ? "" : " ") + word;
    plan.command = clip(plan.command, kShownBytes);
    return plan;
}

// Invented numbers in the ranges of the original; coverage in percent, as in real results. A simulated failure is one
// failed test.
StringMap invent_tests(const Plan& plan, Random& random) {
    const auto number = [&](std::int64_t low, std::int64_t high) { return std::to_string(random.between(low, high)); };
    return {{"tests_passed", number(40, 50)},
            {"tests_failed", plan.exit_code == 0 ? "0" : "1"},
            {"tests_skipped", number(0, 5)},
            {"coverage", number(80, 95)}};
}

class Attempt final : public RunningAttempt {
public:
    Attempt(asio::io_context& loop, const Clock& clock, AttemptKey key, RuntimeListener& listener)
        : timer_(loop), clock_(clock), started_(clock.now()), key_(key), listener_(listener) {}

    void begin(Result<Plan> plan, Duration wait) {
        if (!plan) {
            RuntimeReport report;
            report.attempt.error = std::move(plan).error();
            report.work_began = false;
            return end_later(std::move(report));
        }
        plan_ = std::move(*plan);
        timer_.expires_after(wait);
        timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](boost::system::error_code error) {
            if (!error && !alive.expired() && !ended_) end(make_report());
        });
    }

    void stop(StopReason reason, Duration) override {
        if (ended_) return;
        RuntimeReport report = make_report();
        report.attempt.success = false;
        report.attempt.exit_code.reset();
        report.attempt.output.erase("exit_code");
        for (const auto& [key, value] : plan_.test_output)
            report.attempt.output.erase(key);  // what did not end counted nothing
        report.attempt.error = stop_error(reason, "simulation");
        end_later(std::move(report));
    }

private:
    RuntimeReport make_report() const {
        RuntimeReport report;
        AttemptReport& attempt = report.attempt;
        attempt.success = plan_.exit_code == 0;
        attempt.exit_code = plan_.exit_code;
        if (!attempt.success) {
            attempt.error = make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, "simulation",
                                       "simulated exit code " + std::to_string(plan_.exit_code));
        }
        attempt.metadata = {{"duration_seconds", seconds_text(clock_.now() - started_)}};
        if (!plan_.test_output.empty()) {
            attempt.output = plan_.test_output;
            return report;
        }
        attempt.output = {{"exit_code", std::to_string(plan_.exit_code)},
                          {"stdout", std::string(kMark) + (plan_.command.empty() ? "" : " " + plan_.command)},
                          {"stderr", ""},
                          {"command", plan_.command}};
        return report;
    }

    void end_later(RuntimeReport report) {
        ended_ = true;
        timer_.cancel();
        asio::post(timer_.get_executor(),
                   [this, alive = std::weak_ptr<int>(alive_), report = std::move(report)]() mutable {
                       if (!alive.expired()) end(std::move(report));
                   });
    }

    // Whatever it reports, it says what it is.
    void end(RuntimeReport report) {
        ended_ = true;
        report.attempt.simulated = true;
        report.attempt.runtime = "simulation";
        report.attempt.metadata["runtime"] = "simulation";
        report.attempt.metadata["simulated"] = "true";
        report.attempt.logs.emplace_back("simulated: nothing was run");
        listener_.runtime_ended(key_, std::move(report));
    }

    asio::steady_timer timer_;
    const Clock& clock_;
    MonoTime started_;
    AttemptKey key_;
    RuntimeListener& listener_;
    Plan plan_;
    bool ended_ = false;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

SimulationRuntime::SimulationRuntime(asio::io_context& loop, const Clock& clock, Random& random,
                                     SimulationPolicy policy)
    : loop_(loop), clock_(clock), random_(random), policy_(policy) {}

Availability SimulationRuntime::availability() const {
    if (policy_ == SimulationPolicy::kAllow) return {};
    return Availability{false, Unavailable::kDisabled, "simulated results are forbidden here (SIMULATION_POLICY=deny)"};
}

// There is none outside this process; but what takes its time is shown as running.
bool SimulationRuntime::has_effects(const Ticket& ticket) const {
    constexpr std::int64_t kNoticedMs = 1000;
    const auto plan = read_plan(ticket);
    return plan && plan->duration_ms.value_or(kNoticedMs) >= kNoticedMs;
}

Result<void> SimulationRuntime::validate(const Ticket& ticket) const {
    if (policy_ == SimulationPolicy::kDeny) {
        Error error =
            make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "simulation", availability().detail);
        error.field = "parameters.runtime";
        return Failure(std::move(error));
    }
    WA_CHECKED(read_plan(ticket));
    return {};
}

std::unique_ptr<RunningAttempt> SimulationRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(loop_, clock_, context.key, listener);
    Result<Plan> plan = read_plan(*context.ticket);
    if (auto allowed = validate(*context.ticket); !allowed) plan = Failure(std::move(allowed).error());
    const bool test = context.ticket->task_type == TaskType::kTest;
    const Wait range = test ? kTestWait : kExecuteWait;
    std::int64_t wait = random_.between(range.shortest_ms, range.longest_ms);
    if (plan && plan->duration_ms) wait = *plan->duration_ms;
    if (plan && test) plan->test_output = invent_tests(*plan, random_);
    attempt->begin(std::move(plan), milliseconds(wait));
    return attempt;
}

}  // namespace wa
