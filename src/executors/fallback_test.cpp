#include "executors/fallback.h"

#include <gtest/gtest.h>

namespace wa {
namespace {

using Names = std::vector<std::string>;

RuntimeReport failed(ErrorCode code) {
    RuntimeReport report;
    report.attempt.error = make_error(code, Retry::kNever, Fault::kTask, "test", "failed");
    return report;
}

TEST(Fallback, ByDefaultOnlyAnAbsentBackEndBeforeTheStartLeadsOn) {
    RuntimeReport away = failed(ErrorCode::kUnavailable);
    away.unavailable = Unavailable::kUnreachable;
    away.work_began = false;
    EXPECT_EQ(decide_fallback(FallbackOn::kUnavailable, away, false), FallbackStep::kTryNext);
    away.work_began = true;  // lost after the start: it may have run
    EXPECT_EQ(decide_fallback(FallbackOn::kUnavailable, away, false), FallbackStep::kReport);
    for (const ErrorCode code :
         {ErrorCode::kInvalidArgument, ErrorCode::kNotAllowed, ErrorCode::kUnavailable, ErrorCode::kTimeout,
          ErrorCode::kDeadlineExceeded, ErrorCode::kCancelled, ErrorCode::kExecutionFailed, ErrorCode::kInterrupted,
          ErrorCode::kDiskFull, ErrorCode::kInternal}) {
        RuntimeReport report = failed(code);
        EXPECT_EQ(decide_fallback(FallbackOn::kUnavailable, report, false), FallbackStep::kReport);
        report.work_began = false;
        EXPECT_EQ(decide_fallback(FallbackOn::kUnavailable, report, false), FallbackStep::kReport);
    }
}

TEST(Fallback, TheLiteralRuleLeadsOnFromEveryErrorButACancelOrAnExitCode) {
    for (const ErrorCode code :
         {ErrorCode::kNotAllowed, ErrorCode::kTimeout, ErrorCode::kExecutionFailed, ErrorCode::kUnavailable}) {
        EXPECT_EQ(decide_fallback(FallbackOn::kAnyError, failed(code), false), FallbackStep::kTryNext);
        EXPECT_EQ(decide_fallback(FallbackOn::kAnyError, failed(code), true), FallbackStep::kReport);
    }
    EXPECT_EQ(decide_fallback(FallbackOn::kAnyError, failed(ErrorCode::kCancelled), false), FallbackStep::kReport);
    RuntimeReport exited = failed(ErrorCode::kExecutionFailed);
    exited.attempt.exit_code = 3;
    EXPECT_EQ(decide_fallback(FallbackOn::kAnyError, exited, false), FallbackStep::kReport);
    RuntimeReport good;
    good.attempt.success = true;
    EXPECT_EQ(decide_fallback(FallbackOn::kAnyError, good, false), FallbackStep::kReport);
}

TEST(Fallback, SelectionOrder) {
    const RuntimePreferences usual;
    EXPECT_EQ(selection_order(usual, ""), (Names{"local", "k8s", "docker", "simulation"}));
    EXPECT_EQ(selection_order(usual, "docker"), (Names{"docker", "local", "k8s", "simulation"}));
    EXPECT_EQ(selection_order(usual, "lambda"), (Names{"lambda", "local", "k8s", "docker", "simulation"}));
    EXPECT_EQ(selection_order(usual, "simulation"), (Names{"simulation"}));
    EXPECT_EQ(selection_order({"docker", {}}, "k8s"), (Names{"k8s", "docker", "simulation"}));
    EXPECT_EQ(selection_order({"local", {"simulation", "docker", "docker"}}, ""),
              (Names{"local", "docker", "simulation"}));
    EXPECT_EQ(selection_order({"simulation", {"local"}}, ""), (Names{"simulation"}));
    EXPECT_EQ(selection_order({"simulation", {"local"}}, "docker"), (Names{"docker", "local", "simulation"}));
}

TEST(Fallback, OrderAfterAFailure) {
    const RuntimePreferences usual;
    EXPECT_EQ(order_after(usual, "k8s"), (Names{"docker", "local", "simulation"}));
    EXPECT_EQ(order_after(usual, "local"), (Names{"simulation"}));
    EXPECT_EQ(order_after(usual, "lambda"), (Names{"k8s", "docker", "local", "simulation"}));
    EXPECT_EQ(order_after({"local", {}}, "local"), (Names{"simulation"}));
}

TEST(Fallback, ConfidentialWorkDoesNotFallToTheHost) {
    EXPECT_TRUE(may_fall_to_local("", SecurityLevel::kRestricted, std::nullopt));
    EXPECT_TRUE(may_fall_to_local("local", SecurityLevel::kRestricted, false));
    EXPECT_TRUE(may_fall_to_local("docker", SecurityLevel::kInternal, std::nullopt));
    EXPECT_FALSE(may_fall_to_local("docker", SecurityLevel::kConfidential, std::nullopt));
    EXPECT_FALSE(may_fall_to_local("k8s", SecurityLevel::kRestricted, std::nullopt));
    EXPECT_TRUE(may_fall_to_local("k8s", SecurityLevel::kRestricted, true));
    EXPECT_FALSE(may_fall_to_local("docker", SecurityLevel::kPublic, false));
}

TEST(Fallback, Words) {
    EXPECT_EQ(parse_fallback_on("unavailable"), FallbackOn::kUnavailable);
    EXPECT_EQ(parse_fallback_on("any_error"), FallbackOn::kAnyError);
    EXPECT_EQ(parse_fallback_on("sometimes"), std::nullopt);
    RuntimeReport report = failed(ErrorCode::kTimeout);
    EXPECT_EQ(fallback_reason(report), "timeout");
    report.unavailable = Unavailable::kDisabled;
    EXPECT_EQ(fallback_reason(report), "disabled");
    EXPECT_EQ(fallback_reason(failed(ErrorCode::kInternal)), "error");
}

}  // namespace
}  // namespace wa
