// Reports that real tools wrote: the parsers must find the numbers that the tools themselves printed.
//
// tests/reports/prepare makes them, on this machine, and names the folder in WA_REPORT_CORPUS (scripts/run-tests calls
// it). One test for each tool; where a tool could not be had, the test is skipped with the reason.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/text.h"
#include "core/report/cobertura.h"
#include "core/report/detect.h"
#include "core/report/junit.h"
#include "core/report/lcov.h"

namespace wa {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr double kPrintedDigits = 0.06;  // tools print one digit or two, rounded or cut

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    return {std::istreambuf_iterator<char>(in), {}};
}

json::object read_object(const fs::path& path) {
    return json::parse(read_file(path)).as_object();
}

std::uint64_t number(const json::object& expected, std::string_view key) {
    return expected.at(json::string_view(key.data(), key.size())).to_number<std::uint64_t>();
}

// UTF-16 with its mark, of text that is ASCII for the most part; what is not becomes "?".
std::string as_utf16(std::string_view text) {
    std::string out("\xFF\xFE");
    for (const char c : text)
        out += {static_cast<unsigned char>(c) < 0x80 ? c : '?', '\0'};
    return out;
}

// A file that a killed tool left behind: an error that names a place, never numbers of half a file.
void expect_cut_off_is_noticed(const std::string& whole) {
    const std::size_t end = whole.find_last_of('>');
    constexpr std::size_t kCuts = 50;
    for (std::size_t cut = 1; cut <= kCuts; ++cut) {
        const std::size_t size = end * cut / kCuts;
        const auto report = parse_junit(whole.substr(0, size));
        ASSERT_FALSE(report) << size;
        EXPECT_EQ(report.error().code, ErrorCode::kMalformed);
    }
}

class ReportCorpus : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        const char* corpus = std::getenv("WA_REPORT_CORPUS");
        if (corpus == nullptr || *corpus == '\0') {
            GTEST_SKIP() << GetParam() << ": WA_REPORT_CORPUS is not set; tests/reports/prepare makes that folder";
        }
        folder_ = fs::path(corpus) / GetParam();
        if (!fs::exists(folder_ / "expected.json")) GTEST_SKIP() << GetParam() << ": " << why_missing(corpus);
        reports_ = read_object(folder_ / "expected.json").at("reports").as_array();
        printed_ = read_file(folder_ / "printed.txt");
    }

    static std::string why_missing(const fs::path& corpus) {
        if (!fs::exists(corpus / "unavailable.json")) return "tests/reports/prepare did not finish";
        const json::object reasons = read_object(corpus / "unavailable.json");
        const auto* reason = reasons.if_contains(GetParam());
        return reason != nullptr ? std::string(reason->as_string()) : "not prepared";
    }

    [[nodiscard]] std::vector<std::string> files(const json::object& expected) const {
        std::vector<std::string> out;
        for (const auto& name : expected.at("files").as_array())
            out.push_back(read_file(folder_ / std::string(name.as_string())));
        return out;
    }

    void check_junit(const json::object& expected) const;
    void check_coverage(const json::object& expected, ReportFormat format) const;

    fs::path folder_;
    json::array reports_;
    std::string printed_;
};

void ReportCorpus::check_junit(const json::object& expected) const {
    TestReport all;
    for (const std::string& file : files(expected)) {
        ASSERT_EQ(detect_report(file).value(), ReportFormat::kJunit);
        auto report = parse_junit(file);
        ASSERT_TRUE(report) << report.error().describe();
        auto wide = parse_junit(as_utf16(file));
        ASSERT_TRUE(wide) << wide.error().describe();
        EXPECT_EQ(wide->total(), report->total());
        EXPECT_EQ(wide->not_passed(), report->not_passed());
        expect_cut_off_is_noticed(file);
        merge(all, std::move(*report));
    }
    EXPECT_EQ(all.passed, number(expected, "passed")) << printed_;
    EXPECT_EQ(all.failed, number(expected, "failed")) << printed_;
    EXPECT_EQ(all.errors, number(expected, "errors")) << printed_;
    EXPECT_EQ(all.skipped, number(expected, "skipped")) << printed_;
    if (expected.contains("flaky")) EXPECT_EQ(all.flaky, number(expected, "flaky")) << printed_;
    EXPECT_EQ(all.failures.size(), all.not_passed());
    for (const FailedTest& failure : all.failures) {
        EXPECT_FALSE(failure.name.empty());
        EXPECT_TRUE(is_utf8(failure.suite + failure.name + failure.message_first_line));
    }
}

Result<CoverageReport> parse_coverage(const std::string& text, ReportFormat format) {
    return format == ReportFormat::kLcov ? parse_lcov(text) : parse_cobertura(text);
}

void ReportCorpus::check_coverage(const json::object& expected, ReportFormat format) const {
    for (const std::string& file : files(expected)) {
        ASSERT_EQ(detect_report(file).value(), format);
        const auto report = parse_coverage(file, format);
        ASSERT_TRUE(report) << report.error().describe();
        const auto check = [&](json::string_view key, const Coverage& found) {
            const auto* pair = expected.if_contains(key);
            if (pair == nullptr) return;
            EXPECT_EQ(found.covered, pair->at(0).to_number<std::uint64_t>()) << key << "\n" << printed_;
            EXPECT_EQ(found.valid, pair->at(1).to_number<std::uint64_t>()) << key << "\n" << printed_;
        };
        check("lines", report->lines);
        check("branches", report->branches);
        check("functions", report->functions);
        ASSERT_TRUE(report->line_percent);
        EXPECT_NEAR(*report->line_percent, expected.at("line_percent").to_number<double>(), kPrintedDigits) << printed_;
        EXPECT_GT(report->files, 0U);
    }
}

TEST_P(ReportCorpus, HasTheNumbersThatTheToolPrinted) {
    ASSERT_FALSE(reports_.empty());
    for (const auto& value : reports_) {
        const json::object& expected = value.as_object();
        const std::string format(expected.at("format").as_string());
        SCOPED_TRACE(format);
        if (format == "junit") check_junit(expected);
        if (format == "cobertura") check_coverage(expected, ReportFormat::kCobertura);
        if (format == "lcov") check_coverage(expected, ReportFormat::kLcov);
    }
}

INSTANTIATE_TEST_SUITE_P(Tools, ReportCorpus,
                         testing::Values("pytest", "unittest", "coverage_py", "jest", "mocha", "node_test", "go",
                                         "surefire", "gtest", "ctest", "gcovr", "llvm_cov"),
                         [](const auto& tool) { return tool.param; });

}  // namespace
}  // namespace wa
