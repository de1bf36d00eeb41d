// What a test run's reports and output come down to: counts, the text of its failure, and whether it succeeded. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/executor.h"
#include "ports/test_reports.h"

namespace wa {

inline constexpr std::size_t kShownFailedTests = 20;

// What is absent was not said by anything that could be read; it is never made up.
struct TestCounts {
    std::optional<std::uint64_t> passed;
    std::optional<std::uint64_t> failed;  // without errors
    std::optional<std::uint64_t> errors;
    std::optional<std::uint64_t> skipped;
    std::optional<double> coverage;  // percent of lines
    std::optional<double> branch_coverage;
    std::string source;  // "junit", "summary", "stdout"; empty = no counts

    [[nodiscard]] std::optional<std::uint64_t> not_passed() const;  // failed and errors
    [[nodiscard]] bool known() const { return passed || failed || errors || skipped; }
};

// JUnit first, then the JSON summary, then the last line of `standard_output` that is a JSON object. A summary that
// cannot be used becomes one of the problems.
[[nodiscard]] TestCounts count_tests(ReportFindings& findings, std::string_view summary_path,
                                     std::string_view standard_output);

// Puts counts and findings into the report, and has the last word on success: the command's own ending decides, but a
// run whose reports name failed tests has failed, whatever its exit code says.
void judge_tests(const TestCounts& counts, const ReportFindings& findings, AttemptReport& report);

// The figures for metrics.
[[nodiscard]] TestFigures test_figures(const TestCounts& counts, const ReportFindings& findings, std::string suite);

// The last `bytes` of a text, not beginning inside a character.
[[nodiscard]] std::string tail_of(std::string_view text, std::size_t bytes);

}  // namespace wa
