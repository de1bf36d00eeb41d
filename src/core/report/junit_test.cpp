#include "core/report/junit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/codec/text.h"

namespace wa {
namespace {

using testing::HasSubstr;

TestReport parsed(std::string text) {
    auto report = parse_junit(std::move(text));
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *std::move(report) : TestReport{};
}

Error refused(std::string text, const ReportLimits& limits = {}) {
    auto report = parse_junit(std::move(text), limits);
    EXPECT_FALSE(report);
    if (report) return {};
    EXPECT_EQ(report.error().origin, "report");
    EXPECT_EQ(report.error().retry, Retry::kNever);
    EXPECT_EQ(report.error().fault, Fault::kTask);
    EXPECT_LT(report.error().message.size(), 400U);
    EXPECT_TRUE(is_utf8(report.error().message));
    return report.error();
}

// passed, failed, errors, skipped
void expect_counts(const TestReport& report, std::uint64_t passed, std::uint64_t failed, std::uint64_t errors,
                   std::uint64_t skipped) {
    EXPECT_EQ(report.passed, passed);
    EXPECT_EQ(report.failed, failed);
    EXPECT_EQ(report.errors, errors);
    EXPECT_EQ(report.skipped, skipped);
    EXPECT_EQ(report.total(), passed + failed + errors + skipped);
    EXPECT_EQ(report.not_passed(), failed + errors);
}

std::string one_case(std::string_view inside, std::string_view attributes = "") {
    return "<testsuite tests=\"1\"><testcase name=\"t\" " + std::string(attributes) + ">" + std::string(inside) +
           "</testcase></testsuite>";
}

TEST(Junit, CountsCasesByWhatTheyHold) {
    const auto report = parsed(R"(<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="s" tests="4" failures="1" errors="1" skipped="1" time="1.5">
    <properties><property name="a" value="b"/></properties>
    <testcase classname="C" name="good" time="0.5"/>
    <testcase classname="C" name="bad"><failure message="1 != 2" type="AssertionError">trace</failure></testcase>
    <testcase classname="C" name="broken"><error message="boom"/></testcase>
    <testcase classname="C" name="later"><skipped/></testcase>
    <system-out>&lt;failure/&gt;</system-out><system-err><![CDATA[<testcase/>]]></system-err>
  </testsuite>
</testsuites>)");
    expect_counts(report, 1, 1, 1, 1);
    EXPECT_EQ(report.suites, 1U);
    EXPECT_DOUBLE_EQ(report.duration_seconds, 1.5);
    EXPECT_FALSE(report.totals_corrected);
    ASSERT_EQ(report.failures.size(), 2U);
    EXPECT_EQ(report.failures[0].suite, "C");
    EXPECT_EQ(report.failures[0].name, "bad");
    EXPECT_EQ(report.failures[0].message_first_line, "1 != 2");
    EXPECT_FALSE(report.failures[0].error);
    EXPECT_TRUE(report.failures[1].error);
}

TEST(Junit, NestedSuitesCountOnce) {
    const auto report = parsed(R"(<testsuites tests="3" failures="1">
  <testsuite name="outer" tests="3" failures="1" time="3">
    <testcase name="a"/>
    <testsuite name="inner" tests="2" failures="1" time="2">
      <testcase name="b"/><testcase name="c"><failure/></testcase>
    </testsuite>
  </testsuite>
</testsuites>)");
    expect_counts(report, 2, 1, 0, 0);
    EXPECT_EQ(report.suites, 2U);
    EXPECT_DOUBLE_EQ(report.duration_seconds, 3);
    EXPECT_EQ(report.failures.at(0).suite, "inner");
    EXPECT_FALSE(report.totals_corrected);
}

TEST(Junit, ChildSuitesAreBelievedOverTheirParent) {
    const auto report = parsed(R"(<testsuites tests="100" failures="50">
  <testsuite tests="90"><testsuite tests="3" failures="1"/><testsuite tests="2" skipped="1"/></testsuite>
</testsuites>)");
    expect_counts(report, 3, 1, 0, 1);
    EXPECT_TRUE(report.totals_corrected);
    EXPECT_EQ(report.failures_omitted, 1U);
}

TEST(Junit, AttributesCountWhereThereAreNoCases) {
    const auto report =
        parsed(R"(<testsuite tests="10" failures="2" errors="1" skipped="1" disabled="1" ignored="1" time="0,25"/>)");
    expect_counts(report, 4, 2, 1, 3);
    EXPECT_DOUBLE_EQ(report.duration_seconds, 0.25);
    EXPECT_EQ(report.failures_omitted, 3U);
    EXPECT_FALSE(report.totals_corrected);
}

TEST(Junit, AParentSpeaksForSuitesThatSayNothing) {
    expect_counts(parsed(R"(<testsuites tests="5" failures="2"><testsuite/></testsuites>)"), 3, 2, 0, 0);
}

TEST(Junit, CasesAreBelievedOverAttributes) {
    const auto lied = parsed(R"(<testsuite tests="9" failures="0"><testcase><failure/></testcase></testsuite>)");
    expect_counts(lied, 0, 1, 0, 0);
    EXPECT_TRUE(lied.totals_corrected);
    EXPECT_TRUE(parsed("<testsuite><testcase/></testsuite>").totals_corrected);
}

TEST(Junit, NothingIsZero) {
    for (const char* text : {"<testsuites/>", "<testsuite/>", "<testsuites><testsuite tests='0'/></testsuites>"}) {
        expect_counts(parsed(text), 0, 0, 0, 0);
    }
}

TEST(Junit, CasesDirectlyBelowTheRootCount) {
    expect_counts(parsed("<testsuites><testcase/><testcase><failure/></testcase></testsuites>"), 1, 1, 0, 0);
}

TEST(Junit, RerunsDoNotFailACase) {
    for (const char* name : {"rerunFailure", "flakyFailure", "rerunError", "flakyError"}) {
        const auto report = parsed(one_case("<" + std::string(name) + " message='m'>x</" + name + ">"));
        expect_counts(report, 1, 0, 0, 0);
        EXPECT_EQ(report.flaky, 1U) << name;
        EXPECT_TRUE(report.failures.empty());
    }
    const auto failed = parsed(one_case("<failure message='first'/><rerunFailure message='second'/>"));
    expect_counts(failed, 0, 1, 0, 0);
    EXPECT_EQ(failed.flaky, 0U);
    EXPECT_EQ(failed.failures.at(0).message_first_line, "first");
}

TEST(Junit, OfSeveralElementsOneDecides) {
    expect_counts(parsed(one_case("<skipped/><failure/>")), 0, 0, 0, 1);
    expect_counts(parsed(one_case("<failure/><skipped/><error/>")), 0, 0, 0, 1);
    expect_counts(parsed(one_case("<error/><failure/>")), 0, 0, 1, 0);
    expect_counts(parsed(one_case("<failure/><failure/>")), 0, 1, 0, 0);
    expect_counts(parsed(one_case("<failure/><flakyFailure/>")), 0, 1, 0, 0);
    // A word does not hide an element.
    expect_counts(parsed(one_case("<failure/>", "status='notrun'")), 0, 1, 0, 0);
}

TEST(Junit, StatusWordsSkip) {
    expect_counts(parsed(one_case("", R"(status="notrun" result="suppressed")")), 0, 0, 0, 1);
    expect_counts(parsed(one_case("", R"(status="disabled")")), 0, 0, 0, 1);
    expect_counts(parsed(one_case("", R"(status="run" result="completed")")), 1, 0, 0, 0);
}

TEST(Junit, NamespacesDoNotMatter) {
    expect_counts(parsed(R"(<testsuite xmlns="urn:x"><testcase/></testsuite>)"), 1, 0, 0, 0);
    expect_counts(parsed(R"(<j:testsuite xmlns:j="u"><j:testcase><j:failure/></j:testcase></j:testsuite>)"), 0, 1, 0,
                  0);
}

TEST(Junit, NumbersThatAreNoneAreAbsent) {
    for (const char* number : {"x", "-1", "", "1e400", "99999999999999999999999", "NaN", "0x10", "1 2"}) {
        const auto report =
            parsed("<testsuite tests='" + std::string(number) + "' failures='2' time='" + number + "'/>");
        expect_counts(report, 0, 2, 0, 0);
        EXPECT_GE(report.duration_seconds, 0);
        EXPECT_TRUE(std::isfinite(report.duration_seconds));
    }
}

TEST(Junit, SumsDoNotRunOver) {
    std::string text = "<testsuites>";
    for (int i = 0; i < 5; ++i)
        text += "<testsuite tests='9223372036854775807' failures='9223372036854775807' errors='9223372036854775807'/>";
    const auto report = parsed(text + "</testsuites>");
    EXPECT_GE(report.failed, 9223372036854775807U);
    EXPECT_GE(report.not_passed(), report.failed);
    EXPECT_EQ(report.passed, 0U);
}

TEST(Junit, TimeIsTheSuitesOrThatOfItsCases) {
    EXPECT_DOUBLE_EQ(parsed("<testsuite><testcase time='1,234.5'/><testcase time='0.5'/></testsuite>").duration_seconds,
                     1235);
    EXPECT_DOUBLE_EQ(parsed("<testsuite time='7'><testcase time='2'/></testsuite>").duration_seconds, 7);
    EXPECT_DOUBLE_EQ(parsed("<testsuites><testsuite time='7'/><testsuite time='2'/></testsuites>").duration_seconds, 9);
    EXPECT_DOUBLE_EQ(
        parsed("<testsuites time='8'><testsuite time='7'/><testsuite time='2'/></testsuites>").duration_seconds, 8);
}

TEST(Junit, TheFirstLineOfAFailureIsFound) {
    const auto line = [](std::string_view failure) {
        return parsed(one_case(failure)).failures.at(0).message_first_line;
    };
    EXPECT_EQ(line("<failure message='a&#10;b'/>"), "a");
    EXPECT_EQ(line("<failure message='a\nb'/>"), "a");
    EXPECT_EQ(line("<failure message='  '>\n\n  text &lt;1&gt;\nmore</failure>"), "text <1>");
    EXPECT_EQ(line("<failure><![CDATA[\ncdata line\nmore]]></failure>"), "cdata line");
    EXPECT_EQ(line("<failure>\n<![CDATA[after blanks]]></failure>"), "after blanks");
    EXPECT_EQ(line("<failure type='E'/>"), "E");
    EXPECT_EQ(line("<failure/>"), "");
    EXPECT_EQ(line("<failure message='&#27;[31mred&#27;[0m &#7;bell&#x202E;'/>"), "red bell");
    EXPECT_EQ(line("<failure message='\xFF\xC3'/>"), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Junit, FailuresAreBounded) {
    std::string text = "<testsuite name='s'>";
    for (int i = 0; i < 250; ++i)
        text +=
            "<testcase name='t" + std::to_string(i) + "'><error message='" + std::string(5000, 'm') + "'/></testcase>";
    const auto report = parsed(text + "</testsuite>");
    EXPECT_EQ(report.errors, 250U);
    ASSERT_EQ(report.failures.size(), 100U);
    EXPECT_EQ(report.failures_omitted, 150U);
    EXPECT_EQ(report.failures[99].name, "t99");
    EXPECT_LE(report.failures[0].message_first_line.size(), 512U);
    EXPECT_THAT(report.failures[0].message_first_line, testing::EndsWith("…"));
}

TEST(Junit, OtherEncodings) {
    const std::string text = "<testsuite><testcase name='\xC3\xA9\xE2\x82\xAC'><failure/></testcase></testsuite>";
    EXPECT_EQ(parsed("\xEF\xBB\xBF" + text).failures.at(0).name, "é€");
    const auto latin = parsed(
        "<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='\xE9'><failure/>"
        "</testcase></testsuite>");
    EXPECT_EQ(latin.failures.at(0).name, "é");
    std::string little("\xFF\xFE");
    std::string big("\xFE\xFF");
    for (const char c : std::string("<?xml version='1.0' encoding='UTF-16'?><testsuite><testcase name='e'><failure/>"
                                    "</testcase></testsuite>")) {
        little += {c, '\0'};
        big += {'\0', c};
    }
    EXPECT_EQ(parsed(little).failures.at(0).name, "e");
    EXPECT_EQ(parsed(big).failures.at(0).name, "e");
    EXPECT_EQ(parsed(little.substr(2)).failed, 1U);
    EXPECT_EQ(refused("<?xml version='1.0' encoding='Shift_JIS'?><testsuite/>").code, ErrorCode::kUnsupported);
}

TEST(Junit, OtherReportsAreRefusedByName) {
    EXPECT_THAT(refused("<coverage line-rate='1'/>").message, HasSubstr("this is a cobertura report"));
    EXPECT_THAT(refused("<html><body/></html>").message, HasSubstr("HTML"));
    EXPECT_THAT(refused("<x/>").message, HasSubstr("<x>"));
}

TEST(Junit, CutOffFilesNameTheLine) {
    const std::string text =
        "<testsuite>\n<testcase name='a'/>\n<testcase name='b'>\n<failure message='x'>y</failure>\n"
        "</testcase>\n</testsuite>";
    EXPECT_EQ(parsed(text).total(), 2U);
    for (std::size_t size = 1; size < text.size(); ++size) {
        const Error error = refused(text.substr(0, size));
        EXPECT_EQ(error.code, ErrorCode::kMalformed) << size;
        EXPECT_THAT(error.message, HasSubstr(", in line ")) << size;
    }
    EXPECT_THAT(refused(text.substr(0, 50)).message, HasSubstr("in line 3"));
    EXPECT_EQ(refused("").code, ErrorCode::kMalformed);
}

TEST(Junit, EntityBombsAreInert) {
    std::string text = "<!DOCTYPE lolz [<!ENTITY l0 \"lol\">";
    for (int i = 1; i < 10; ++i) {
        text += "<!ENTITY l" + std::to_string(i) + " \"";
        for (int k = 0; k < 10; ++k)
            text += "&l" + std::to_string(i - 1) + ";";
        text += "\">";
    }
    text +=
        "<!ENTITY file SYSTEM \"file:///etc/passwd\">]>"
        "<testsuite><testcase name='&l9;'><failure message='&file;'>&l9;</failure></testcase></testsuite>";
    const auto report = parsed(text);
    expect_counts(report, 0, 1, 0, 0);
    EXPECT_EQ(report.failures.at(0).name, "&l9;");
    EXPECT_EQ(report.failures.at(0).message_first_line, "&file;");
}

TEST(Junit, AMillionNestedElementsAreRefused) {
    std::string text;
    for (int i = 0; i < 1'000'000; ++i)
        text += "<testsuite>";
    EXPECT_EQ(refused(text).code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(refused(text).message, HasSubstr("limit of 256 levels"));
}

TEST(Junit, DepthIsExact) {
    const auto nested = [](int depth) {
        std::string text;
        for (int i = 0; i < depth; ++i)
            text += "<testsuite>";
        for (int i = 0; i < depth; ++i)
            text += "</testsuite>";
        return text;
    };
    EXPECT_EQ(parsed(nested(256)).suites, 256U);
    EXPECT_EQ(refused(nested(257)).code, ErrorCode::kLimitExceeded);
}

TEST(Junit, EveryLimitIsNamed) {
    const auto limited = [](const ReportLimits& limits, std::string text) { return refused(std::move(text), limits); };
    EXPECT_THAT(limited({.bytes = 10}, "<testsuite></testsuite>").message, HasSubstr("10 bytes"));
    EXPECT_THAT(limited({.elements = 3}, "<testsuite><a/>text<a/></testsuite>").message,
                HasSubstr("limit of 3 elements"));
    EXPECT_THAT(limited({.attributes = 2}, "<testsuite a='' b='' c=''/>").message, HasSubstr("limit of 2"));
    const auto error = limited({.attribute_bytes = 4}, "<testsuite a='12345'/>");
    EXPECT_THAT(error.message, HasSubstr("attribute a is too long"));
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
}

TEST(Junit, AHugeAttributeIsRefusedAndALargeOneShortened) {
    EXPECT_EQ(refused("<testsuite name='" + std::string(5'000'000, 'x') + "'/>").code, ErrorCode::kLimitExceeded);
    const auto report = parsed(one_case("<failure message='" + std::string(1'000'000, 'x') + "'/>"));
    EXPECT_EQ(report.failures.at(0).message_first_line.size(), 512U);
}

}  // namespace
}  // namespace wa
