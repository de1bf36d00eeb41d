#include "core/codec/result_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace wa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// The sample of contract/tickets.md 5.4, as one line.
constexpr std::string_view kSample =
    R"({"ticket_id":"6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11","status":"COMPLETED","result":{"success":true,)"
    R"("output":{"exit_code":"0"},"metadata":{"runtime":"local"},"logs":["done"]},"error_message":null,)"
    R"("actual_duration_ms":5321,"agent_id":"a2c9d7f4-5b11-4c0f-9a39-3f0a9c1b2d3e","timestamp":1767220006000,)"
    R"("schema_version":1})";

ExecutionResult sample() {
    ExecutionResult r;
    r.ticket_id = "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11";
    r.success = true;
    r.output = {{"exit_code", "0"}};
    r.metadata = {{"runtime", "local"}};
    r.logs = {"done"};
    r.actual_duration_ms = 5321;
    r.agent_id = "a2c9d7f4-5b11-4c0f-9a39-3f0a9c1b2d3e";
    r.timestamp = 1767220006000;
    return r;
}

TEST(WriteResult, IsTheSampleOfTheContractByteForByte) {
    EXPECT_EQ(write_result(sample()), kSample);
}

TEST(WriteResult, FailureSaysFailedTwice) {
    ExecutionResult r = sample();
    r.success = false;
    r.error_message = "attempt 3 of 3 exceeded 180 s";
    const auto value = boost::json::parse(write_result(r));
    EXPECT_EQ(value.at("status"), "FAILED");
    EXPECT_EQ(value.at("result").at("success"), false);
    EXPECT_EQ(value.at("error_message"), "attempt 3 of 3 exceeded 180 s");
}

TEST(WriteResult, AddsWhatIsKnownAtTheTop) {
    ExecutionResult r = sample();
    r.plan_id = "p";
    r.workflow_id = "w";
    r.correlation_id = "c";
    r.trace_id = "t";
    r.started_at = 1;
    r.completed_at = 2;
    EXPECT_THAT(
        write_result(r),
        HasSubstr(
            R"("schema_version":1,"plan_id":"p","workflow_id":"w","correlation_id":"c","trace_id":"t","started_at":1,"completed_at":2})"));
}

TEST(WriteResult, SurvivesAnyBytesOfAnExecutor) {
    ExecutionResult r = sample();
    r.logs = {"\xFF\x01\n"};
    r.output["a\xC0"] = "\xED\xA0\x80";
    const auto again = parse_result(write_result(r));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_THAT(again->logs, ElementsAre("\xEF\xBF\xBD\x01\n"));
}

TEST(ParseResult, ReadsBackWhatWasWritten) {
    ExecutionResult r = sample();
    r.success = false;
    r.error_message = "x";
    r.plan_id = "p";
    r.started_at = 5;
    const auto again = parse_result(write_result(r));
    ASSERT_TRUE(again);
    EXPECT_EQ(write_result(*again), write_result(r));
}

TEST(ParseResult, ToleratesOlderWorkers) {
    const auto r = parse_result(
        R"({"ticket_id":"t","status":"PREEMPTED","result":{"success":false,"output":{"n":1,"o":{"a":[true]},"z":null},
        "metadata":null,"logs":"x","reason":"preemption"},"actual_duration_ms":null,"extra":1})");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_FALSE(r->success);
    EXPECT_THAT(r->output, ElementsAre(Pair("n", "1"), Pair("o", R"({"a":[true]})")));
    EXPECT_THAT(r->metadata, ElementsAre(Pair("outcome", "preempted")));
    EXPECT_THAT(r->logs, IsEmpty());
    EXPECT_EQ(r->actual_duration_ms, 0);
    EXPECT_TRUE(parse_result(R"({"ticket_id":"t","status":"CANCELLED"})"));
}

TEST(ParseResult, RefusesWhatIsNoEnding) {
    for (const std::string_view text :
         {R"({"status":"COMPLETED"})", R"({"ticket_id":"t"})", R"({"ticket_id":"t","status":"RUNNING"})",
          R"({"ticket_id":5,"status":"FAILED"})", R"({"ticket_id":"t","status":"FAILED","result":[]})",
          R"({"ticket_id":"t","status":"FAILED","timestamp":"now"})", "[]"}) {
        const auto r = parse_result(text);
        ASSERT_FALSE(r) << text;
        EXPECT_EQ(r.error().code, ErrorCode::kInvalidArgument);
    }
    EXPECT_EQ(parse_result("{").error().code, ErrorCode::kMalformed);
    EXPECT_EQ(parse_result(kSample, 10).error().code, ErrorCode::kLimitExceeded);
}

TEST(Outcomes, HaveStableWords) {
    EXPECT_EQ(to_string(Outcome::kCompleted), "completed");
    EXPECT_EQ(to_string(Outcome::kExecutionFailed), "execution_failed");
    EXPECT_EQ(to_string(Outcome::kTimeout), "timeout");
    EXPECT_EQ(to_string(Outcome::kDeadlineExceeded), "deadline_exceeded");
    EXPECT_EQ(to_string(Outcome::kDependencyFailed), "dependency_failed");
    EXPECT_EQ(to_string(Outcome::kDependencyTimeout), "dependency_timeout");
    EXPECT_EQ(to_string(Outcome::kCancelled), "cancelled");
    EXPECT_EQ(to_string(Outcome::kPreempted), "preempted");
    EXPECT_EQ(to_string(Outcome::kInvalid), "invalid");
}

}  // namespace
}  // namespace wa
