#include "core/report/cobertura.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace wa {
namespace {

using testing::HasSubstr;

CoverageReport parsed(std::string text) {
    auto report = parse_cobertura(std::move(text));
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *std::move(report) : CoverageReport{};
}

std::string file_with(std::string_view root_attributes, std::string_view classes) {
    return "<?xml version=\"1.0\"?>\n<!DOCTYPE coverage SYSTEM "
           "\"http://cobertura.example/coverage-04.dtd\">\n<coverage " +
           std::string(root_attributes) + "><sources><source>/src</source></sources><packages><package><classes>" +
           std::string(classes) + "</classes></package></packages></coverage>";
}

constexpr const char* kClass = R"x(<class name="A" filename="a.py"><methods>
  <method name="f" signature="()" line-rate="1"><lines><line number="1" hits="1"/><line number="2" hits="0"/></lines></method>
  <method name="g" signature="()" line-rate="0"><lines><line number="3" hits="0"/></lines></method>
</methods><lines>
  <line number="1" hits="1"/>
  <line number="2" hits="0" branch="true" condition-coverage="50% (1/2)"/>
  <line number="3" hits="0"/>
  <line number="4" hits="7"/>
</lines></class>)x";

TEST(Cobertura, TheRootsTotalsComeFirst) {
    const auto report = parsed(file_with(
        R"x(lines-covered="85" lines-valid="100" branches-covered="1" branches-valid="4" line-rate="0.1" branch-rate="0.9")x",
        kClass));
    EXPECT_EQ(report.lines, (Coverage{85, 100}));
    EXPECT_EQ(report.branches, (Coverage{1, 4}));
    EXPECT_DOUBLE_EQ(*report.line_percent, 85);
    EXPECT_DOUBLE_EQ(*report.branch_percent, 25);
    EXPECT_EQ(report.format, ReportFormat::kCobertura);
}

TEST(Cobertura, LinesCountOncePerFile) {
    const auto report = parsed(file_with("line-rate='0.9'", std::string(kClass) + kClass));
    EXPECT_EQ(report.lines, (Coverage{2, 4}));
    EXPECT_EQ(report.branches, (Coverage{1, 2}));
    EXPECT_EQ(report.functions, (Coverage{1, 2}));
    EXPECT_EQ(report.files, 1U);
    EXPECT_DOUBLE_EQ(*report.line_percent, 50);
}

TEST(Cobertura, ALineIsCoveredWhenAnyOfItsElementsSaysSo) {
    const auto report = parsed(file_with("", R"x(<class filename="a"><lines><line number="1" hits="0"/></lines></class>
        <class filename="a"><lines><line number="1" hits="2"/></lines></class>
        <class filename="b"><lines><line number="1" hits="0"/></lines></class>)x"));
    EXPECT_EQ(report.lines, (Coverage{1, 2}));
    EXPECT_EQ(report.files, 2U);
}

TEST(Cobertura, ImpossibleTotalsAreAbsent) {
    for (const char* totals :
         {"lines-covered='5' lines-valid='4'", "lines-covered='x' lines-valid='4'", "lines-valid='4'",
          "lines-covered='-1' lines-valid='4'", "lines-covered='0' lines-valid='0'"}) {
        EXPECT_EQ(parsed(file_with(totals, kClass)).lines, (Coverage{2, 4})) << totals;
    }
}

TEST(Cobertura, TheRateIsTheLastResort) {
    const auto report = parsed(file_with("line-rate='0.755' branch-rate='1'", ""));
    EXPECT_EQ(report.lines, (Coverage{0, 0}));
    EXPECT_DOUBLE_EQ(*report.line_percent, 75.5);
    EXPECT_DOUBLE_EQ(*report.branch_percent, 100);
    for (const char* rate : {"NaN", "inf", "-0.5", "1.01", "85", "", "x"}) {
        EXPECT_FALSE(parsed(file_with("line-rate='" + std::string(rate) + "'", "")).line_percent) << rate;
    }
}

TEST(Cobertura, StrangeLinesAreLeftOut) {
    const auto report = parsed(file_with("", R"x(<class filename="a"><lines>
        <line number="x" hits="1"/><line hits="1"/><line number="1" hits="many"/><line number="2"/>
        <line number="3" hits="1" condition-coverage="50% (3/2)"/>
        <line number="4" hits="1" condition-coverage="50% )1/2("/>
        <line number="5" hits="1" condition-coverage="9 (9999999999/9999999999)"/></lines></class>)x"));
    EXPECT_EQ(report.lines, (Coverage{3, 5}));
    EXPECT_EQ(report.branches, (Coverage{0, 0}));
}

TEST(Cobertura, MethodsWithoutARateCountByTheirLines) {
    const auto report = parsed(file_with("", R"x(<class filename="a"><methods>
        <method name="f"><lines><line number="1" hits="1"/></lines></method>
        <method name="g"><lines><line number="2" hits="0"/></lines></method><method name="h"/></methods></class>)x"));
    EXPECT_EQ(report.functions, (Coverage{1, 3}));
}

TEST(Cobertura, OtherCoverageIsUnsupportedNotZero) {
    for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
             {"<coverage generated='1' clover='4.4.1'><project/></coverage>", "Clover"},
             {"<coverage generated='1'><project timestamp='1'/></coverage>", "Clover"},
             {"<!DOCTYPE report PUBLIC \"-//JACOCO//DTD Report 1.1//EN\" \"report.dtd\"><report name='x'/>", "JaCoCo"},
             {"<coverage version='1'><file path='a'/></coverage>", "SonarQube"},
             {"<coverage/>", "not a Cobertura report"},
             {"<testsuites/>", "junit"}}) {
        const auto report = parse_cobertura(text);
        ASSERT_FALSE(report) << text;
        EXPECT_EQ(report.error().code, ErrorCode::kUnsupported);
        EXPECT_THAT(report.error().message, HasSubstr(name));
    }
}

TEST(Cobertura, DeepOrCutOffFilesAreRefused) {
    std::string deep = "<coverage line-rate='1'>";
    for (int i = 0; i < 300; ++i)
        deep += "<a>";
    EXPECT_EQ(parse_cobertura(deep).error().code, ErrorCode::kLimitExceeded);
    const std::string whole = file_with("line-rate='1'", kClass);
    for (std::size_t size = 0; size < whole.size(); size += 7)
        EXPECT_EQ(parse_cobertura(whole.substr(0, size)).error().code, ErrorCode::kMalformed) << size;
}

}  // namespace
}  // namespace wa
