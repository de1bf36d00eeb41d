// Finding and reading the reports that a test run left in its folder.
//
// Threading: called on the engine's loop, and answers there; files are read and parsed on a thread of the adapter's
// own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/report/report.h"

namespace wa {

struct ReportWish {
    std::vector<std::string> junit;     // patterns below the folder ("out/*.xml", "**/TEST-*.xml"); empty = none
    std::vector<std::string> coverage;  // Cobertura or LCOV
    std::string summary;                // a JSON file with tests_passed, tests_failed, coverage; empty = none
    EpochMillis not_before = 0;         // older files come from an earlier run and do not count
    std::vector<std::string> secrets;   // values that no text taken from a report may show
};

// What could not be used, for the result and the counters.
struct ReportProblem {
    std::string path;    // below the folder; empty = about the search as a whole
    std::string format;  // "junit", "cobertura", "lcov", "unknown"; "summary"; empty = about the search as a whole
    std::string why;
};

struct ReportFindings {
    std::optional<TestReport> tests;         // all JUnit files together
    std::optional<CoverageReport> coverage;  // all coverage files together
    std::string summary;                     // bytes of the JSON file, at most 1 MiB
    std::vector<std::string> parsed;         // format of each file that was parsed
    std::vector<std::string> files;          // and its path below the folder, at most 100
    std::vector<ReportProblem> problems;     // at most 100
    std::vector<std::string> unmatched;      // patterns that no file fits
    std::vector<std::string> stale;          // files older than the run, which were not read, at most 100
};

class TestReports {
public:
    virtual ~TestReports() = default;
    // `directory` is used until `done` is called, which happens once, within a bounded time.
    virtual void read(int directory, ReportWish wish, std::function<void(ReportFindings)> done) = 0;
};

}  // namespace wa
