// What test and coverage reports come down to, and the bounds within which they are read (contract/executors.md 4.7).
//
// Pure: bytes in, values out. Reports are written by the tested code and are hostile until parsed; what comes out is
// bounded, its texts are one line of valid UTF-8 without control characters, its percentages are finite and 0 to 100.
//
// Errors of everything in core/report: origin "report", Retry::kNever, Fault::kTask. kMalformed (cannot be read; the
// message names the line), kUnsupported (another format or encoding, named), kLimitExceeded (the limit is named).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

enum class ReportFormat : std::uint8_t { kJunit, kCobertura, kLcov };

// "junit", "cobertura", "lcov".
[[nodiscard]] std::string_view to_string(ReportFormat format);

inline constexpr std::size_t kMaxReportBytes = std::size_t{32} * 1024 * 1024;  // one file (interface.md, Limits)
inline constexpr std::size_t kMaxAttemptReportBytes = std::size_t{128} * 1024 * 1024;  // all files of one attempt
inline constexpr std::size_t kMaxReportFailures = 100;

// What one report may hold. `elements` and `attributes` bound the parsed tree: 64 and 40 bytes each.
struct ReportLimits {
    std::size_t bytes = kMaxReportBytes;
    std::size_t depth = 256;                                     // nested elements
    std::size_t elements = 1'000'000;                            // elements and pieces of text between them
    std::size_t attributes = 3'000'000;                          // of all elements
    std::size_t attribute_bytes = std::size_t{4} * 1024 * 1024;  // one attribute's value
    std::size_t sources = 200'000;                               // files that one LCOV report names
    std::size_t failures = kMaxReportFailures;                   // kept by name; the others are only counted
    std::size_t text_bytes = 512;                                // of each name and message
};

// A test that did not pass. Each text is at most ReportLimits::text_bytes long, and marked with "…" when it was cut.
struct FailedTest {
    std::string suite;               // its class, or else the suite that it stands in; may be empty
    std::string name;                // may be empty
    std::string message_first_line;  // may be empty
    bool error = false;              // ended by something else than an assertion
};

// A test counts once. passed + failed + errors + skipped = total.
struct TestReport {
    std::uint64_t passed = 0;
    std::uint64_t failed = 0;  // failures alone, without errors
    std::uint64_t errors = 0;
    std::uint64_t skipped = 0;           // and disabled, ignored
    std::uint64_t flaky = 0;             // of the passed: failed first, passed when run again
    std::uint64_t suites = 0;            // suites in the files, nested ones too
    double duration_seconds = 0;         // finite, not negative
    std::vector<FailedTest> failures{};  // in the file's order
    std::uint64_t failures_omitted = 0;
    bool totals_corrected = false;  // totals that the file states are missing or not those of its tests

    [[nodiscard]] std::uint64_t total() const;
    [[nodiscard]] std::uint64_t not_passed() const;  // failed and errors together: what metrics call tests_failed
};

// covered <= valid.
struct Coverage {
    std::uint64_t covered = 0;
    std::uint64_t valid = 0;

    [[nodiscard]] std::optional<double> percent() const;  // 0 to 100; absent when there is nothing to cover

    friend bool operator==(const Coverage&, const Coverage&) = default;
};

struct CoverageReport {
    ReportFormat format = ReportFormat::kCobertura;
    Coverage lines{};
    Coverage branches{};
    Coverage functions{};
    // lines.percent(), or what the file states when it counts no lines. 0 to 100; absent when it says neither.
    std::optional<double> line_percent{};
    std::optional<double> branch_percent{};
    std::uint64_t files = 0;  // source files that the report names
};

// Adds another file of the same run. At most `max_failures` failures are kept.
void merge(TestReport& total, TestReport more, std::size_t max_failures = kMaxReportFailures);

// Adds another file of the same run: counts are summed, percentages follow from the sums. Of reports that state only a
// percentage the lowest one is kept. LCOV files about the same sources are put together by LcovCollector (lcov.h)
// instead, which does not count a line twice. `format` stays that of the first.
void merge(CoverageReport& total, const CoverageReport& more);

}  // namespace wa
