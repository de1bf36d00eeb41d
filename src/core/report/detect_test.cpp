#include "core/report/detect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace wa {
namespace {

using testing::HasSubstr;

TEST(DetectReport, ByTheRootElement) {
    for (const auto& [text, format] : std::vector<std::pair<std::string, ReportFormat>>{
             {"<testsuites/>", ReportFormat::kJunit},
             {"<testsuite name='x'>and then it is cut o", ReportFormat::kJunit},
             {"\xEF\xBB\xBF<?xml version='1.0'?>\n<!-- <coverage> --><?pi <a>?>\n<testsuite>", ReportFormat::kJunit},
             {"<j:testsuites xmlns:j='u'/>", ReportFormat::kJunit},
             {"<coverage line-rate='0.5'/>", ReportFormat::kCobertura},
             {"<coverage lines-valid = '5'>", ReportFormat::kCobertura},
             {"<coverage version='7'><!-- c --><sources/>", ReportFormat::kCobertura},
             {"<!DOCTYPE coverage [ <!-- ' ]> --> <!ENTITY a \"]>\"> ]><coverage><packages/>",
              ReportFormat::kCobertura},
             {"TN:\nSF:a", ReportFormat::kLcov},
             {"\r\n# comment\r\nSF:a", ReportFormat::kLcov}}) {
        const auto found = detect_report(text);
        ASSERT_TRUE(found) << text << ": " << found.error().describe();
        EXPECT_EQ(*found, format) << text;
    }
}

TEST(DetectReport, Utf16) {
    std::string text("\xFF\xFE");
    for (const char c : std::string("<testsuite/>"))
        text += {c, '\0'};
    EXPECT_EQ(detect_report(text).value(), ReportFormat::kJunit);
}

TEST(DetectReport, OthersAreUnsupportedByName) {
    for (const auto& [text, name] :
         std::vector<std::pair<std::string, std::string>>{{"<coverage clover='4'>", "Clover"},
                                                          {"<coverage><project>", "Clover"},
                                                          {"<coverage note='x clover=1'>", "not a Cobertura"},
                                                          {"<report name='x'>", "JaCoCo"},
                                                          {"<CoverageSession>", "OpenCover"},
                                                          {"<TestRun>", "TRX"},
                                                          {"<assemblies>", "xUnit.net"},
                                                          {"<unknown\x01>", "not well-formed"},
                                                          {"<something>", "<something>"},
                                                          {"{\"tests\":1}", "neither XML nor LCOV"},
                                                          {"mode: set\n", "neither XML nor LCOV"}}) {
        const auto found = detect_report(text);
        ASSERT_FALSE(found) << text;
        EXPECT_THAT(found.error().message, HasSubstr(name));
    }
}

TEST(DetectReport, EmptyAndCutOff) {
    for (const char* text :
         {"", " \n", "<", "<?xml version='1.0'?>", "<!-- ", "<!DOCTYPE coverage [", "<!-- c -->\n"}) {
        const auto found = detect_report(text);
        ASSERT_FALSE(found) << text;
        EXPECT_EQ(found.error().code, ErrorCode::kMalformed) << text;
    }
    EXPECT_EQ(detect_report("<testsuite/>", {.bytes = 5}).error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace wa
