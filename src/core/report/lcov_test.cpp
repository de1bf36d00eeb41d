#include "core/report/lcov.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace wa {
namespace {

using testing::HasSubstr;

CoverageReport parsed(std::string_view text) {
    auto report = parse_lcov(text);
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *std::move(report) : CoverageReport{};
}

TEST(Lcov, TotalsOfEachRecordAreSummed) {
    const auto report = parsed(
        "TN:\nSF:a.c\nFNF:2\nFNH:1\nBRF:4\nBRH:3\nDA:1,1\nLF:10\nLH:8\nend_of_record\n"
        "SF:b.c\nLF:10\nLH:2\nend_of_record\n");
    EXPECT_EQ(report.lines, (Coverage{10, 20}));
    EXPECT_EQ(report.branches, (Coverage{3, 4}));
    EXPECT_EQ(report.functions, (Coverage{1, 2}));
    EXPECT_EQ(report.files, 2U);
    EXPECT_DOUBLE_EQ(*report.line_percent, 50);
    EXPECT_DOUBLE_EQ(*report.branch_percent, 75);
    EXPECT_EQ(report.format, ReportFormat::kLcov);
}

TEST(Lcov, WithoutTotalsLinesBranchesAndFunctionsAreCounted) {
    const auto report = parsed(
        "# made by hand\nTN:x\nSF:a.c\nFN:1,f\nFN:5,9,g(int, int)\nFNDA:3,f\nFNDA:0,g(int, int)\n"
        "BRDA:2,0,0,1\nBRDA:2,0,1,-\nBRDA:3,e0,a ? b, c,0\nDA:1,3,checksum\nDA:2,0\nDA:3,1\n");
    EXPECT_EQ(report.lines, (Coverage{2, 3}));
    EXPECT_EQ(report.branches, (Coverage{1, 3}));
    EXPECT_EQ(report.functions, (Coverage{1, 2}));
}

TEST(Lcov, FunctionsOfLcovTwo) {
    EXPECT_EQ(parsed("SF:a\nFNL:0,1,5\nFNA:0,2,f\nFNL:1,7\nFNA:1,0,g\nDA:1,1\n").functions, (Coverage{1, 2}));
}

TEST(Lcov, RecordsOfTheSameSourceAreOne) {
    const auto report = parsed(
        "TN:one\nSF:a.c\nDA:1,1\nDA:2,0\nDA:3,0\nLF:3\nLH:1\nend_of_record\n"
        "TN:two\nSF:a.c\nDA:1,0\nDA:2,5\nDA:3,0\nDA:4,0\nLF:4\nLH:1\nend_of_record\n");
    EXPECT_EQ(report.lines, (Coverage{2, 4}));
    EXPECT_EQ(report.files, 1U);
    // Nothing but totals: the highest, since which lines they count is not known.
    EXPECT_EQ(parsed("SF:a\nLF:5\nLH:2\nend_of_record\nSF:a\nLF:5\nLH:3\nend_of_record\n").lines, (Coverage{3, 5}));
}

TEST(Lcov, FilesAboutTheSameSourcesAreMerged) {
    LcovCollector collector;
    ASSERT_TRUE(collector.add("SF:a\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nend_of_record\n"));
    ASSERT_TRUE(collector.add("SF:a\nDA:1,0\nDA:2,1\nLF:2\nLH:1\nend_of_record\nSF:b\nDA:1,0\nend_of_record\n"));
    const auto report = collector.report();
    EXPECT_EQ(report.lines, (Coverage{2, 3}));
    EXPECT_EQ(report.files, 2U);
    ASSERT_FALSE(collector.add("<xml/>"));
    EXPECT_EQ(collector.report().lines, report.lines);
}

TEST(Lcov, LineEndsMarksAndTheLastEndDoNotMatter) {
    const auto report = parsed("\xEF\xBB\xBF\r\n\r\nTN:\r\nSF:C:\\src\\a.c\r\nDA:1,1\r\nDA:2,0\r\nLF:2\r\nLH:1");
    EXPECT_EQ(report.lines, (Coverage{1, 2}));
    EXPECT_EQ(parsed("SF:a\nDA:1,1\nSF:b\nDA:1,0").lines, (Coverage{1, 2}));
}

TEST(Lcov, ImpossibleTotalsAndNumbersAreAbsent) {
    EXPECT_EQ(parsed("SF:a\nDA:1,1\nDA:2,0\nLF:1\nLH:5\n").lines, (Coverage{1, 2}));
    EXPECT_EQ(parsed("SF:a\nDA:1,1\nLF:x\nLH:0\n").lines, (Coverage{1, 1}));
    EXPECT_EQ(parsed("SF:a\nDA:1,1\nLF:99999999999999999999\nLH:0\n").lines, (Coverage{1, 1}));
    EXPECT_EQ(parsed("SF:a\nDA:x,1\nDA:\nDA\nDA:1\nDA:2,-1\nDA:3,99999999999999999999999\nDA:4,=\nDA:4,1\n").lines,
              (Coverage{2, 4}));
    EXPECT_EQ(parsed("SF:a\nBRDA:\nBRDA:1\nFN:\nFNDA:\nFNA:\nVER:1\nnonsense\n:\nDA:1,1").lines, (Coverage{1, 1}));
}

TEST(Lcov, SumsDoNotRunOver) {
    std::string text;
    for (const char* name : {"a", "b", "c"})
        text += "SF:" + std::string(name) + "\nLF:9223372036854775807\nLH:9223372036854775807\nend_of_record\n";
    const auto report = parsed(text);
    EXPECT_LE(report.lines.covered, report.lines.valid);
    EXPECT_DOUBLE_EQ(*report.line_percent, 100);
}

TEST(Lcov, NoLinesAreZeroPercent) {
    EXPECT_DOUBLE_EQ(*parsed("TN:\nSF:a\nLF:0\nLH:0\nend_of_record\n").line_percent, 0);
    EXPECT_FALSE(LcovCollector().report().line_percent);
}

TEST(Lcov, OtherFilesAreRefused) {
    EXPECT_EQ(parse_lcov("").error().code, ErrorCode::kMalformed);
    EXPECT_EQ(parse_lcov("TN:only a name\n").error().code, ErrorCode::kMalformed);
    EXPECT_EQ(parse_lcov("mode: set\n").error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(parse_lcov("<coverage/>").error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(parse_lcov(std::string_view("SF:a\0b\n", 7)).error().code, ErrorCode::kMalformed);
    EXPECT_EQ(parse_lcov("SF:abcdefgh\n", {.bytes = 8}).error().code, ErrorCode::kLimitExceeded);
}

TEST(Lcov, SourcesAreBounded) {
    const ReportLimits limits{.sources = 2};
    const auto error = parse_lcov("SF:a\nSF:b\nSF:c\n", limits).error();
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(error.message, HasSubstr("limit of 2"));
    LcovCollector collector;
    ASSERT_TRUE(collector.add("SF:a\nSF:b\n", limits));
    EXPECT_TRUE(collector.add("SF:b\n", limits));
    EXPECT_FALSE(collector.add("SF:c\n", limits));
    EXPECT_EQ(collector.report().files, 2U);
}

}  // namespace
}  // namespace wa
