#include "runtimes/simulation.h"

#include <gtest/gtest.h>

#include <chrono>

namespace wa {
namespace {

using namespace std::chrono_literals;  // NOLINT: tests

class SimulationTest : public ::testing::Test, public RuntimeListener {
protected:
    void runtime_ended(AttemptKey, RuntimeReport report) override {
        ++ends;
        result = std::move(report);
    }
    std::unique_ptr<RunningAttempt> start(SimulationPolicy policy = SimulationPolicy::kAllow) {
        runtime = std::make_unique<SimulationRuntime>(loop, clock, random, policy);
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        return runtime->start(context, *this);
    }
    void run(std::chrono::milliseconds limit = 10s) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (ends == 0 && std::chrono::steady_clock::now() < end) {
            loop.restart();
            loop.run_one_for(10ms);
        }
    }

    SystemClock clock;
    SeededRandom random{42};
    boost::asio::io_context loop;
    Ticket ticket;
    std::unique_ptr<SimulationRuntime> runtime;
    RuntimeReport result;
    int ends = 0;
};

TEST_F(SimulationTest, WaitsAndSaysWhatItIs) {
    ticket.parameters["command"] = "deploy now";
    const auto begin = std::chrono::steady_clock::now();
    const auto attempt = start();
    run();
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took, 2s);
    EXPECT_LT(took, 10s);
    EXPECT_TRUE(result.attempt.success);
    EXPECT_TRUE(result.attempt.simulated);
    EXPECT_EQ(result.attempt.metadata.at("simulated"), "true");
    EXPECT_EQ(result.attempt.metadata.at("runtime"), "simulation");
    EXPECT_EQ(result.attempt.output.at("stdout"), "[SIMULAÇÃO] deploy now");
    EXPECT_EQ(result.attempt.output.at("exit_code"), "0");
    EXPECT_EQ(result.attempt.output.at("stderr"), "");
    EXPECT_FALSE(result.attempt.logs.empty());
}

TEST_F(SimulationTest, OnlyWhatTakesItsTimeIsShownAsRunning) {
    const SimulationRuntime one(loop, clock, random, SimulationPolicy::kAllow);
    EXPECT_TRUE(one.has_effects(ticket)) << "two seconds at least";
    for (const auto& [duration, shown] : {std::pair{0, false}, std::pair{999, false}, std::pair{1000, true}}) {
        ticket.parameters["simulated_duration_ms"] = duration;
        EXPECT_EQ(one.has_effects(ticket), shown) << duration;
    }
}

TEST_F(SimulationTest, LoadTestsSetTimeAndCode) {
    ticket.parameters["simulated_duration_ms"] = 30;
    ticket.parameters["simulated_exit_code"] = "7";
    const auto begin = std::chrono::steady_clock::now();
    const auto attempt = start();
    run();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
    EXPECT_FALSE(result.attempt.success);
    EXPECT_EQ(result.attempt.exit_code, 7);
    EXPECT_EQ(result.attempt.error.value().code, ErrorCode::kExecutionFailed);
    EXPECT_TRUE(result.attempt.simulated);
    EXPECT_EQ(result.attempt.metadata.at("simulated"), "true");
}

TEST_F(SimulationTest, InventsTestsInPercentAndSaysSo) {
    ticket.task_type = TaskType::kTest;
    ticket.parameters["simulated_duration_ms"] = 1;
    const auto attempt = start();
    run();
    EXPECT_TRUE(result.attempt.success);
    EXPECT_TRUE(result.attempt.simulated);
    const auto number = [&](const char* key) { return std::stoi(result.attempt.output.at(key)); };
    EXPECT_TRUE(number("tests_passed") >= 40 && number("tests_passed") <= 50);
    EXPECT_EQ(number("tests_failed"), 0);
    EXPECT_TRUE(number("tests_skipped") >= 0 && number("tests_skipped") <= 5);
    EXPECT_TRUE(number("coverage") >= 80 && number("coverage") <= 95);
    EXPECT_FALSE(result.attempt.output.contains("stdout"));
}

TEST_F(SimulationTest, StopsAtOnce) {
    const auto attempt = start();
    loop.poll();
    attempt->stop(StopReason::kCancelled, 30s);
    attempt->stop(StopReason::kTimeout, 30s);
    run(1s);
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(result.attempt.error.value().code, ErrorCode::kCancelled);
    EXPECT_TRUE(result.attempt.simulated);
    run(50ms);
    EXPECT_EQ(ends, 1);
}

TEST_F(SimulationTest, DestructionIsSilent) {
    ticket.parameters["simulated_duration_ms"] = 1;
    start().reset();
    run(50ms);
    EXPECT_EQ(ends, 0);
}

TEST_F(SimulationTest, CanBeForbidden) {
    const auto attempt = start(SimulationPolicy::kDeny);
    EXPECT_FALSE(runtime->availability().available);
    EXPECT_EQ(runtime->validate(ticket).error().code, ErrorCode::kNotAllowed);
    run();
    EXPECT_FALSE(result.attempt.success);
    EXPECT_EQ(result.attempt.error.value().code, ErrorCode::kNotAllowed);
}

TEST_F(SimulationTest, RefusesNonsense) {
    for (const char* key : {"simulated_duration_ms", "simulated_exit_code"}) {
        ticket.parameters.clear();
        ticket.parameters[key] = 10'000'000;
        ends = 0;
        const auto attempt = start();
        EXPECT_FALSE(runtime->validate(ticket));
        run();
        EXPECT_EQ(result.attempt.error.value().code, ErrorCode::kInvalidArgument) << key;
        EXPECT_FALSE(result.work_began);
    }
}

}  // namespace
}  // namespace wa
