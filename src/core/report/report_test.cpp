#include "core/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace wa {
namespace {

TEST(MergeTests, SumsAndKeepsTheFirstFailures) {
    TestReport total{.passed = 1, .failed = 1, .suites = 1, .duration_seconds = 1.5, .failures = {{"s", "a", "m"}}};
    const TestReport more{.passed = 2,
                          .errors = 2,
                          .skipped = 3,
                          .flaky = 1,
                          .suites = 2,
                          .duration_seconds = 0.5,
                          .failures = {{"s", "b", "m"}, {"s", "c", "m"}},
                          .failures_omitted = 5,
                          .totals_corrected = true};
    merge(total, more, 2);
    EXPECT_EQ(total.passed, 3U);
    EXPECT_EQ(total.not_passed(), 3U);
    EXPECT_EQ(total.skipped, 3U);
    EXPECT_EQ(total.flaky, 1U);
    EXPECT_EQ(total.suites, 3U);
    EXPECT_EQ(total.total(), 9U);
    EXPECT_DOUBLE_EQ(total.duration_seconds, 2);
    EXPECT_TRUE(total.totals_corrected);
    ASSERT_EQ(total.failures.size(), 2U);
    EXPECT_EQ(total.failures[1].name, "b");
    EXPECT_EQ(total.failures_omitted, 6U);
}

TEST(MergeTests, StaysFinite) {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    TestReport total{.passed = kMost, .duration_seconds = std::numeric_limits<double>::max()};
    merge(total, total);
    EXPECT_EQ(total.passed, kMost);
    EXPECT_EQ(total.total(), kMost);
    EXPECT_TRUE(std::isfinite(total.duration_seconds));
}

TEST(MergeCoverage, PercentagesFollowFromTheSums) {
    CoverageReport total{.lines = {5, 10}, .branches = {1, 1}, .line_percent = 50, .branch_percent = 100, .files = 1};
    merge(total, {.lines = {30, 30}, .functions = {1, 2}, .line_percent = 100, .files = 2});
    EXPECT_EQ(total.lines, (Coverage{35, 40}));
    EXPECT_DOUBLE_EQ(*total.line_percent, 87.5);
    EXPECT_DOUBLE_EQ(*total.branch_percent, 100);
    EXPECT_EQ(total.functions, (Coverage{1, 2}));
    EXPECT_EQ(total.files, 3U);
}

TEST(MergeCoverage, OfStatedPercentagesTheLowestIsKept) {
    CoverageReport total{.line_percent = 80};
    merge(total, {.line_percent = 60});
    EXPECT_DOUBLE_EQ(*total.line_percent, 60);
    merge(total, CoverageReport{});
    EXPECT_DOUBLE_EQ(*total.line_percent, 60);
    merge(total, {.lines = {9, 10}, .line_percent = 90});
    EXPECT_DOUBLE_EQ(*total.line_percent, 90);
}

TEST(ReportFormat, HasNames) {
    EXPECT_EQ(to_string(ReportFormat::kJunit), "junit");
    EXPECT_EQ(to_string(ReportFormat::kCobertura), "cobertura");
    EXPECT_EQ(to_string(ReportFormat::kLcov), "lcov");
}

}  // namespace
}  // namespace wa
