#include "executors/test_outcome.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace {

namespace json = boost::json;

constexpr std::string_view kOrigin = "test";
constexpr std::size_t kMaxNamesInError = 3;
constexpr std::size_t kMaxFailureText = 600;
constexpr std::size_t kMaxListed = 20;
constexpr std::size_t kMaxStdoutLines = 200;  // looked at, from the end
constexpr std::size_t kMaxStdoutJson = 64 * 1024;

std::optional<double> number_in(const json::value& value) {
    if (value.is_number()) return value.to_number<double>();
    if (value.is_string()) return parse_decimal(value.get_string());
    return std::nullopt;
}

std::optional<std::uint64_t> count_in(const json::object& object, std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys) {
        const auto* value = object.if_contains(key);
        if (value == nullptr) continue;
        const auto whole = value->is_string() ? parse_whole_number(value->get_string()) : whole_number(*value);
        if (whole && *whole >= 0) return static_cast<std::uint64_t>(*whole);
    }
    return std::nullopt;
}

// The counts that a JSON object states; what is missing or no number stays absent.
TestCounts counts_in(const json::object& object) {
    TestCounts counts;
    counts.passed = count_in(object, {"tests_passed", "passed"});
    counts.failed = count_in(object, {"tests_failed", "failed"});
    counts.errors = count_in(object, {"tests_errors", "errors"});
    counts.skipped = count_in(object, {"tests_skipped", "skipped"});
    if (const auto* value = object.if_contains("coverage"); value != nullptr) {
        const auto percent = number_in(*value);
        if (percent && *percent >= 0 && *percent <= 100) counts.coverage = percent;
    }
    return counts;
}

TestCounts counts_in(const TestReport& tests) {
    TestCounts counts;
    counts.passed = tests.passed;
    counts.failed = tests.failed;
    counts.errors = tests.errors;
    counts.skipped = tests.skipped;
    return counts;
}

std::optional<TestCounts> summary_counts(ReportFindings& findings, std::string_view path) {
    if (findings.summary.empty()) return std::nullopt;
    const auto value = parse_json(findings.summary);
    if (value && value->is_object()) return counts_in(value->get_object());
    findings.problems.push_back({std::string(path), "summary", value ? "it is no JSON object" : value.error().message});
    return std::nullopt;
}

std::optional<TestCounts> stdout_counts(std::string_view text) {
    for (std::size_t line_number = 0; line_number < kMaxStdoutLines && !text.empty(); ++line_number) {
        while (text.ends_with('\n') || text.ends_with('\r'))
            text.remove_suffix(1);
        const std::size_t start = text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n') + 1;
        const std::string_view line = text.substr(start);
        text = text.substr(0, start);
        if (line.size() > kMaxStdoutJson || !line.starts_with('{')) continue;
        const auto value = parse_json(line);
        if (value && value->is_object()) return counts_in(value->get_object());
    }
    return std::nullopt;
}

std::string percent_text(double percent) {
    std::array<char, 32> text{};
    const int length = std::snprintf(text.data(), text.size(), "%.2f", percent);
    return std::string(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
}

std::string full_name(const FailedTest& test) {
    if (test.suite.empty()) return test.name.empty() ? std::string("a test without a name") : test.name;
    return test.name.empty() ? test.suite : test.suite + "." + test.name;
}

// "2 of 10 tests failed: suite.a: expected 1; suite.b".
std::string failure_text(const TestCounts& counts, const ReportFindings& findings) {
    const std::uint64_t bad = counts.not_passed().value_or(0);
    std::string text = std::to_string(bad);
    if (counts.passed) text += " of " + std::to_string(bad + *counts.passed);
    text += bad == 1 && !counts.passed ? " test failed" : " tests failed";
    if (!findings.tests || findings.tests->failures.empty()) return text;
    const auto& failures = findings.tests->failures;
    text += ": " + full_name(failures.front());
    if (!failures.front().message_first_line.empty()) text += ": " + failures.front().message_first_line;
    const std::size_t named = std::min(kMaxNamesInError, failures.size());
    for (std::size_t index = 1; index < named; ++index)
        text += "; " + full_name(failures[index]);
    if (bad > named) text += "; and " + std::to_string(bad - named) + " more";
    return clip(text, kMaxFailureText);
}

std::string text_list(const std::vector<std::string>& texts) {
    json::array list;
    for (const std::string& text : texts) {
        if (list.size() == kMaxListed) break;
        list.emplace_back(text);
    }
    return json_text(json::value(std::move(list)));
}

std::string failed_list(const TestReport& tests) {
    json::array list;
    for (const FailedTest& test : tests.failures) {
        if (list.size() == kShownFailedTests) break;
        json::object entry{{"name", full_name(test)}, {"message", test.message_first_line}};
        if (test.error) entry["error"] = true;
        list.push_back(std::move(entry));
    }
    return json_text(json::value(std::move(list)));
}

std::string problem_list(const std::vector<ReportProblem>& problems) {
    json::array list;
    for (const ReportProblem& problem : problems) {
        if (list.size() == kMaxListed) break;
        list.push_back(json::object{{"path", problem.path}, {"format", problem.format}, {"why", problem.why}});
    }
    return json_text(json::value(std::move(list)));
}

void put(StringMap& map, const char* key, const std::optional<std::uint64_t>& count) {
    if (count) map[key] = std::to_string(*count);
}

void describe_counts(const TestCounts& counts, const ReportFindings& findings, AttemptReport& report) {
    put(report.output, "tests_passed", counts.passed);
    put(report.output, "tests_failed", counts.failed);
    put(report.output, "tests_errors", counts.errors);
    put(report.output, "tests_skipped", counts.skipped);
    if (counts.coverage) report.output["coverage"] = percent_text(*counts.coverage);
    if (counts.branch_coverage) report.output["branch_coverage"] = percent_text(*counts.branch_coverage);
    if (!counts.source.empty()) report.metadata["counts_from"] = counts.source;
    if (!findings.tests) return;
    if (!findings.tests->failures.empty()) report.output["failed_tests"] = failed_list(*findings.tests);
    if (findings.tests->flaky > 0) report.metadata["tests_flaky"] = std::to_string(findings.tests->flaky);
}

void describe_findings(const ReportFindings& findings, AttemptReport& report) {
    if (!findings.files.empty()) report.metadata["report_files"] = text_list(findings.files);
    if (!findings.problems.empty()) report.metadata["report_problems"] = problem_list(findings.problems);
    if (!findings.unmatched.empty()) report.metadata["report_unmatched"] = text_list(findings.unmatched);
    if (!findings.stale.empty()) report.metadata["report_stale"] = text_list(findings.stale);
    const auto warn = [&](std::string text) { report.logs.push_back("test: warning: " + std::move(text)); };
    for (std::size_t index = 0; index < std::min(kMaxListed, findings.unmatched.size()); ++index)
        warn("no file fits the report path '" + findings.unmatched[index] + "'");
    for (std::size_t index = 0; index < std::min(kMaxListed, findings.stale.size()); ++index)
        warn("'" + findings.stale[index] + "' is older than this run and does not count");
    for (std::size_t index = 0; index < std::min(kMaxListed, findings.problems.size()); ++index) {
        const ReportProblem& problem = findings.problems[index];
        warn((problem.path.empty() ? std::string("reports") : "'" + problem.path + "'") + ": " + problem.why);
    }
}

}  // namespace

std::optional<std::uint64_t> TestCounts::not_passed() const {
    if (!failed && !errors) return std::nullopt;
    return failed.value_or(0) + errors.value_or(0);
}

TestCounts count_tests(ReportFindings& findings, std::string_view summary_path, std::string_view standard_output) {
    const auto summary = summary_counts(findings, summary_path);
    const auto printed = stdout_counts(standard_output);
    TestCounts counts;
    const auto use = [&](const TestCounts& from, std::string_view source) {
        counts = from;
        counts.source = source;
    };
    if (findings.tests) {
        use(counts_in(*findings.tests), "junit");
    } else if (summary && summary->known()) {
        use(*summary, "summary");
    } else if (printed && printed->known()) {
        use(*printed, "stdout");
    }
    counts.coverage.reset();
    if (findings.coverage) {
        counts.coverage = findings.coverage->line_percent;
        counts.branch_coverage = findings.coverage->branch_percent;
    }
    if (!counts.coverage && summary) counts.coverage = summary->coverage;
    if (!counts.coverage && printed) counts.coverage = printed->coverage;
    return counts;
}

void judge_tests(const TestCounts& counts, const ReportFindings& findings, AttemptReport& report) {
    describe_counts(counts, findings, report);
    describe_findings(findings, report);
    const bool partial = findings.tests && std::ranges::any_of(findings.problems, [](const ReportProblem& problem) {
                             return problem.format == "junit" || problem.format.empty();
                         });
    if (partial) report.metadata["counts_incomplete"] = "true";
    const std::uint64_t bad = counts.not_passed().value_or(0);
    if (bad == 0) return;
    if (report.success) {
        report.success = false;
        report.error = make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, std::string(kOrigin),
                                  failure_text(counts, findings) + " (the command itself ended with exit code 0)");
    } else if (report.error && report.exit_code) {
        report.error->message += "; " + failure_text(counts, findings);
    }
}

TestFigures test_figures(const TestCounts& counts, const ReportFindings& findings, std::string suite) {
    TestFigures figures;
    figures.suite = std::move(suite);
    figures.passed = counts.passed;
    figures.not_passed = counts.not_passed();
    figures.coverage_percent = counts.coverage;
    for (const std::string& format : findings.parsed)
        figures.reports.push_back({format, true});
    for (const ReportProblem& problem : findings.problems) {
        if (!problem.format.empty() && problem.format != "summary") figures.reports.push_back({problem.format, false});
    }
    return figures;
}

std::string tail_of(std::string_view text, std::size_t bytes) {
    if (text.size() <= bytes) return std::string(text);
    text.remove_prefix(text.size() - bytes);
    while (!text.empty() && (static_cast<unsigned char>(text.front()) & 0xC0U) == 0x80U)
        text.remove_prefix(1);
    return std::string(text);
}

}  // namespace wa
