#include "executors/execute.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

namespace wa {
namespace {

class StillClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return at; }
    [[nodiscard]] EpochMillis wall_now() const override { return 0; }
    MonoTime at = MonoTime{} + std::chrono::hours(1);
};

// A runtime that ends as it is told, from the test's own queue.
class FakeRuntime final : public Runtime {
public:
    FakeRuntime(std::string name, std::deque<std::function<void()>>& queue) : name_(std::move(name)), queue_(queue) {}

    [[nodiscard]] std::string_view name() const override { return name_; }
    [[nodiscard]] Availability availability() const override { return now; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return valid; }
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return name_ != "simulation"; }
    [[nodiscard]] bool can_detach() const override { return detachable; }
    [[nodiscard]] bool may_hold(const Ticket&) const override { return holds; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override {
        ++starts;
        last_timeout_ms = context.timeout_ms;
        class Running final : public RunningAttempt {
        public:
            Running(FakeRuntime& runtime, AttemptKey key, RuntimeListener& listener)
                : runtime_(runtime), key_(key), listener_(listener) {}
            void stop(StopReason, Duration) override {
                ++runtime_.stops;
                RuntimeReport stopped;
                stopped.attempt.error =
                    make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit, "fake", "stopped");
                end(stopped);
            }
            void end(RuntimeReport with) {
                runtime_.queue_.push_back([this, alive = std::weak_ptr<int>(alive_), with = std::move(with)] {
                    if (!alive.expired()) listener_.runtime_ended(key_, with);
                });
            }

        private:
            FakeRuntime& runtime_;
            AttemptKey key_;
            RuntimeListener& listener_;
            std::shared_ptr<int> alive_ = std::make_shared<int>(0);
        };
        auto running = std::make_unique<Running>(*this, context.key, listener);
        if (report) running->end(*report);
        return running;
    }

    Availability now;
    Result<void> valid;
    std::optional<RuntimeReport> report;  // nothing = runs on
    bool detachable = false;
    bool holds = false;
    int starts = 0;
    int stops = 0;
    std::int64_t last_timeout_ms = 0;

private:
    std::string name_;
    std::deque<std::function<void()>>& queue_;
};

class ExecuteTest : public ::testing::Test, public AttemptListener {
protected:
    ExecuteTest() {
        RuntimeReport good;
        good.attempt.success = true;
        good.attempt.exit_code = 0;
        local.report = good;
        docker.report = good;
        good.attempt.simulated = true;
        simulation.report = good;
        simulation.report->attempt.metadata["simulated"] = "true";
        ticket.ticket_id = "t";
        ticket.parameters["command"] = "echo";
    }

    void attempt_ended(AttemptKey, AttemptReport report) override {
        ++ends;
        result = std::move(report);
    }

    AttemptReport run(std::vector<Runtime*> runtimes) {
        ExecuteExecutor executor(clock, options, std::move(runtimes));
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        context.name = "t.1";
        context.timeout_ms = 60'000;
        context.deadline = clock.at + std::chrono::seconds(60);
        const int before = ends;
        const auto attempt = executor.start(context, *this);
        while (!queue.empty()) {
            auto next = std::move(queue.front());
            queue.pop_front();
            next();
        }
        EXPECT_EQ(ends, before + 1);
        return result;
    }

    static RuntimeReport failure(ErrorCode code, std::optional<Unavailable> unavailable = std::nullopt) {
        RuntimeReport report;
        report.attempt.error = make_error(code, Retry::kAfterBackoff, Fault::kWorker, "fake", "it failed");
        report.unavailable = unavailable;
        report.work_began = !unavailable;
        return report;
    }

    StillClock clock;
    ExecuteOptions options;
    std::deque<std::function<void()>> queue;
    FakeRuntime local{"local", queue};
    FakeRuntime docker{"docker", queue};
    FakeRuntime simulation{"simulation", queue};
    Ticket ticket;
    AttemptReport result;
    int ends = 0;
};

TEST_F(ExecuteTest, RunsOnTheDefaultWithoutSayingMuch) {
    const AttemptReport report = run({&simulation, &docker, &local});
    EXPECT_TRUE(report.success);
    EXPECT_EQ(local.starts, 1);
    EXPECT_EQ(report.metadata.at("executor"), "ExecuteExecutor");
    EXPECT_FALSE(report.metadata.contains("fallback_reason"));
    EXPECT_EQ(report.runtime, "local");
}

TEST_F(ExecuteTest, RunsWhereTheTicketSays) {
    ticket.parameters["runtime"] = "docker";
    EXPECT_TRUE(run({&local, &docker, &simulation}).success);
    EXPECT_EQ(docker.starts, 1);
    EXPECT_EQ(local.starts, 0);
}

TEST_F(ExecuteTest, ARuntimeThatIsNotBuiltIsPassedOverAloud) {
    ticket.parameters["runtime"] = "k8s";
    const AttemptReport report = run({&local, &simulation});
    EXPECT_TRUE(report.success);
    EXPECT_EQ(local.starts, 1);
    EXPECT_EQ(report.metadata.at("requested_runtime"), "k8s");
    EXPECT_EQ(report.metadata.at("fallback_from"), "k8s");
    EXPECT_EQ(report.metadata.at("fallback_code"), "disabled");
    EXPECT_NE(report.metadata.at("fallback_reason").find("not built"), std::string::npos);
    EXPECT_FALSE(report.logs.empty());
}

TEST_F(ExecuteTest, ConfidentialWorkIsSimulatedRatherThanRunOnTheHost) {
    ticket.parameters["runtime"] = "docker";
    ticket.security_level = SecurityLevel::kConfidential;
    const AttemptReport report = run({&local, &simulation});
    EXPECT_TRUE(report.simulated);
    EXPECT_EQ(local.starts, 0);
    ticket.parameters["allow_local_fallback"] = "true";
    EXPECT_FALSE(run({&local, &simulation}).simulated);
    ticket.parameters["allow_local_fallback"] = false;
    ticket.security_level = SecurityLevel::kPublic;
    EXPECT_TRUE(run({&local, &simulation}).simulated);
}

TEST_F(ExecuteTest, WithoutSimulationNothingIsMadeUp) {
    ticket.parameters["runtime"] = "docker";
    ticket.parameters["allow_local_fallback"] = false;
    AttemptReport report = run({&local});
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->code, ErrorCode::kUnavailable);
    EXPECT_EQ(report.error->retry, Retry::kNever);
    EXPECT_NE(report.error->message.find("backend_unavailable"), std::string::npos);
    simulation.now = {false, Unavailable::kDisabled, "SIMULATION_POLICY=deny"};
    report = run({&local, &simulation});
    EXPECT_FALSE(report.success);
    EXPECT_EQ(simulation.starts, 0);
    // One that may come back is waited for.
    docker.now = {false, Unavailable::kUnreachable, "connection refused"};
    report = run({&local, &docker, &simulation});
    EXPECT_EQ(report.error.value().retry, Retry::kAfterBackoff);
}

TEST_F(ExecuteTest, AnAbsentBackEndLeadsOnAlongTheChain) {
    ticket.parameters["runtime"] = "docker";
    docker.report = failure(ErrorCode::kUnavailable, Unavailable::kUnreachable);
    clock.at += std::chrono::seconds(0);
    const AttemptReport report = run({&local, &docker, &simulation});
    EXPECT_TRUE(report.success);
    EXPECT_EQ(docker.starts, 1);
    EXPECT_EQ(local.starts, 1);
    EXPECT_EQ(report.metadata.at("fallback_from"), "docker");
    EXPECT_EQ(report.metadata.at("fallback_code"), "unavailable");
}

// Something of an earlier attempt may be there: it is not run elsewhere, however the back-end is doing.
TEST_F(ExecuteTest, WhereSomethingMayBeLeftTheTicketStays) {
    docker.holds = true;
    docker.now = {false, Unavailable::kUnreachable, "connection refused"};
    docker.report = failure(ErrorCode::kUnavailable);
    const AttemptReport report = run({&local, &docker, &simulation});
    EXPECT_EQ(docker.starts, 1);
    EXPECT_EQ(local.starts, 0);
    EXPECT_EQ(report.error.value().code, ErrorCode::kUnavailable);
    ExecuteExecutor executor(clock, options, {&local, &docker, &simulation});
    EXPECT_EQ(executor.backend(ticket), "docker");
}

TEST_F(ExecuteTest, WhatCanBeDetachedIsWhereTheAttemptIsNow) {
    ticket.parameters["runtime"] = "docker";
    docker.detachable = true;
    docker.report.reset();
    local.report.reset();
    ExecuteExecutor executor(clock, options, {&local, &docker, &simulation});
    EXPECT_FALSE(executor.can_detach(ticket));  // nothing runs
    AttemptContext context;
    context.ticket = std::make_shared<const Ticket>(ticket);
    auto attempt = executor.start(context, *this);
    EXPECT_TRUE(executor.can_detach(ticket));
    attempt.reset();
    EXPECT_FALSE(executor.can_detach(ticket));
    docker.now = {false, Unavailable::kUnreachable, "connection refused"};
    attempt = executor.start(context, *this);
    EXPECT_EQ(local.starts, 1);
    EXPECT_FALSE(executor.can_detach(ticket));  // it fell back to processes of this machine
}

TEST_F(ExecuteTest, RealFailuresStayFailures) {
    for (const ErrorCode code : {ErrorCode::kExecutionFailed, ErrorCode::kNotAllowed, ErrorCode::kTimeout,
                                 ErrorCode::kUnavailable, ErrorCode::kInterrupted}) {
        local.report = failure(code);
        const AttemptReport report = run({&local, &docker, &simulation});
        ASSERT_TRUE(report.error);
        EXPECT_EQ(report.error->code, code);
        EXPECT_FALSE(report.simulated);
    }
    EXPECT_EQ(simulation.starts, 0);
    EXPECT_EQ(docker.starts, 0);
}

TEST_F(ExecuteTest, UnderTheLiteralRuleErrorsEndInALabelledSimulation) {
    options.fallback_on = FallbackOn::kAnyError;
    local.report = failure(ErrorCode::kNotAllowed);
    const AttemptReport report = run({&local, &simulation});
    EXPECT_TRUE(report.success);
    EXPECT_TRUE(report.simulated);
    EXPECT_EQ(report.metadata.at("fallback_code"), "error");
    local.report->attempt.exit_code = 1;
    EXPECT_FALSE(run({&local, &simulation}).success);
    local.report->attempt.exit_code.reset();
    const AttemptReport alone = run({&local});  // nothing left: the real error is the news
    EXPECT_EQ(alone.error.value().code, ErrorCode::kNotAllowed);
}

TEST_F(ExecuteTest, AMissingCommandIsRefused) {
    ticket.parameters.erase("command");
    const AttemptReport report = run({&local, &simulation});
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(report.error->retry, Retry::kNever);
    EXPECT_EQ(report.error->fault, Fault::kInput);
    EXPECT_EQ(local.starts + simulation.starts, 0);
    const ExecuteExecutor executor(clock, options, {&local, &simulation});
    EXPECT_FALSE(executor.validate(ticket));
    EXPECT_FALSE(executor.has_effects(ticket));
}

TEST_F(ExecuteTest, ATemplateWithoutACommandNeverBecomesACommand) {
    ticket.parameters.erase("command");
    ticket.parameters["template_id"] = "microservice";
    AttemptReport report = run({&local, &simulation});
    EXPECT_TRUE(report.simulated);
    EXPECT_EQ(local.starts, 0);
    EXPECT_EQ(report.metadata.at("requested_runtime"), "code_forge");
    report = run({&local});
    EXPECT_EQ(report.error.value().code, ErrorCode::kUnavailable);
    EXPECT_EQ(local.starts, 0);
    ticket.parameters["command"] = "echo";
    EXPECT_EQ(run({&local, &simulation}).runtime, "local");
}

TEST_F(ExecuteTest, AskingForASimulationIsGrantedAndSaid) {
    ticket.parameters["runtime"] = "simulation";
    const AttemptReport report = run({&local, &simulation});
    EXPECT_TRUE(report.simulated);
    EXPECT_NE(report.metadata.at("fallback_reason").find("asked for"), std::string::npos);
    const ExecuteExecutor executor(clock, options, {&local, &simulation});
    EXPECT_FALSE(executor.has_effects(ticket));
    EXPECT_EQ(executor.backend(ticket), "simulation");
    ticket.parameters["runtime"] = "local";
    EXPECT_TRUE(executor.has_effects(ticket));
    EXPECT_EQ(executor.backend(ticket), "local");
}

TEST_F(ExecuteTest, AnUnknownRuntimeIsRefused) {
    ticket.parameters["runtime"] = "mainframe";
    const AttemptReport report = run({&local, &simulation});
    EXPECT_EQ(report.error.value().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(local.starts, 0);
}

TEST_F(ExecuteTest, WhateverIsBuiltCanBeAskedForByItsName) {
    FakeRuntime other("toolshed", queue);
    other.report = local.report;
    ticket.parameters["runtime"] = "toolshed";
    EXPECT_TRUE(run({&local, &other, &simulation}).success);
    EXPECT_EQ(other.starts, 1);
    EXPECT_EQ(local.starts, 0);
    FakeRuntime forge("code_forge", queue);
    forge.report = local.report;
    ticket.parameters["runtime"] = "code_forge";  // that one is asked for by a template
    const AttemptReport report = run({&local, &forge, &simulation});
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(forge.starts, 0);
}

TEST_F(ExecuteTest, StopReachesTheRuntimeAndNothingFollows) {
    options.fallback_on = FallbackOn::kAnyError;
    local.report.reset();
    ExecuteExecutor executor(clock, options, {&local, &simulation});
    AttemptContext context;
    context.ticket = std::make_shared<const Ticket>(ticket);
    const auto attempt = executor.start(context, *this);
    attempt->stop(StopReason::kTimeout, std::chrono::seconds(1));
    while (!queue.empty()) {
        auto next = std::move(queue.front());
        queue.pop_front();
        next();
    }
    EXPECT_EQ(local.stops, 1);
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(result.error.value().code, ErrorCode::kTimeout);
    EXPECT_EQ(simulation.starts, 0);
}

TEST_F(ExecuteTest, ValidationAsksTheRuntimeThatWouldRunIt) {
    local.valid = fail(ErrorCode::kNotAllowed, "local", "no");
    {
        const ExecuteExecutor executor(clock, options, {&local, &simulation});
        EXPECT_EQ(executor.validate(ticket).error().code, ErrorCode::kNotAllowed);
        local.now = {false, Unavailable::kDisabled, "off"};
        EXPECT_TRUE(executor.validate(ticket));
    }
    local.now = {};
    options.fallback_on = FallbackOn::kAnyError;
    const ExecuteExecutor literal(clock, options, {&local, &simulation});
    EXPECT_TRUE(literal.validate(ticket));
}

}  // namespace
}  // namespace wa
