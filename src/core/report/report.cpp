#include "core/report/report.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

namespace wa {

namespace {

// Files may state any number; sums of them stay where they are instead of starting again at 0.
void add(std::uint64_t& sum, std::uint64_t more) {
    const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - sum;
    sum += std::min(more, room);
}

void add(Coverage& sum, const Coverage& more) {
    add(sum.valid, more.valid);
    add(sum.covered, more.covered);
    sum.covered = std::min(sum.covered, sum.valid);
}

std::optional<double> lower(std::optional<double> a, std::optional<double> b) {
    if (!a || !b) return a ? a : b;
    return std::min(*a, *b);
}

// Counts decide; without any, what the files state.
std::optional<double> merged(const Coverage& sum, std::optional<double> stated, std::optional<double> more) {
    const auto counted = sum.percent();
    return counted ? counted : lower(stated, more);
}

}  // namespace

std::string_view to_string(ReportFormat format) {
    switch (format) {
        case ReportFormat::kJunit: return "junit";
        case ReportFormat::kCobertura: return "cobertura";
        case ReportFormat::kLcov: return "lcov";
    }
    return "unknown";
}

std::uint64_t TestReport::not_passed() const {
    std::uint64_t sum = failed;
    add(sum, errors);
    return sum;
}

std::uint64_t TestReport::total() const {
    std::uint64_t sum = not_passed();
    add(sum, passed);
    add(sum, skipped);
    return sum;
}

std::optional<double> Coverage::percent() const {
    if (valid == 0) return std::nullopt;
    return std::clamp(static_cast<double>(covered) / static_cast<double>(valid) * 100.0, 0.0, 100.0);
}

void merge(TestReport& total, TestReport more, std::size_t max_failures) {
    add(total.passed, more.passed);
    add(total.failed, more.failed);
    add(total.errors, more.errors);
    add(total.skipped, more.skipped);
    add(total.flaky, more.flaky);
    add(total.suites, more.suites);
    add(total.failures_omitted, more.failures_omitted);
    const double seconds = total.duration_seconds + more.duration_seconds;
    total.duration_seconds = std::isfinite(seconds) ? seconds : std::numeric_limits<double>::max();
    total.totals_corrected = total.totals_corrected || more.totals_corrected;
    const std::size_t room = max_failures - std::min(max_failures, total.failures.size());
    const std::size_t kept = std::min(room, more.failures.size());
    const auto end = more.failures.begin() + static_cast<std::ptrdiff_t>(kept);
    total.failures.insert(total.failures.end(), std::make_move_iterator(more.failures.begin()),
                          std::make_move_iterator(end));
    add(total.failures_omitted, more.failures.size() - kept);
}

void merge(CoverageReport& total, const CoverageReport& more) {
    add(total.lines, more.lines);
    add(total.branches, more.branches);
    add(total.functions, more.functions);
    add(total.files, more.files);
    total.line_percent = merged(total.lines, total.line_percent, more.line_percent);
    total.branch_percent = merged(total.branches, total.branch_percent, more.branch_percent);
}

}  // namespace wa
