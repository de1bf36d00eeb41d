// LCOV tracefiles (contract/executors.md 4.7), of lcov 1 and 2.
//
// A record (SF: … end_of_record) counts by its totals (LF and LH, BRF and BRH, FNF and FNH); where they are absent or
// impossible, by its lines (DA), branches (BRDA) and functions (FN, FNDA; FNL, FNA). Records of the same SF are one:
// a line, branch or function that any of them covers is covered. A missing last end_of_record does not matter, nor do
// unknown lines.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// Puts several files together. Holds eight bytes for each line, branch and function of each source, once.
class LcovCollector {
public:
    // Errors: kUnsupported (not LCOV), kMalformed (no record in it), kLimitExceeded. After an error the collector is
    // as it was before.
    [[nodiscard]] Result<void> add(std::string_view bytes, const ReportLimits& limits = {});
    // All that was added. No lines at all are 0 percent, as the contract has it; nothing added is no percentage.
    [[nodiscard]] CoverageReport report() const;

private:
    friend class LcovReader;

    struct Item {
        std::uint64_t id : 63;  // a line's number, or the hash of a branch's or function's name
        std::uint64_t hit : 1;
    };
    // The lines, branches or functions of one source.
    struct Part {
        std::vector<Item> items;  // sorted and unique once a file is added
        Coverage stated;          // the highest totals of a record
        bool has_stated = false;
        std::size_t records = 0;  // records that said anything about it

        void absorb(const Part& more);
        void make_unique();
        [[nodiscard]] Coverage count() const;
    };
    struct Source {
        Part lines;
        Part branches;
        Part functions;
    };

    // By path; ordered, since paths that hash alike are easily made.
    std::map<std::string, Source, std::less<>> sources_;
};

// One file.
[[nodiscard]] Result<CoverageReport> parse_lcov(std::string_view bytes, const ReportLimits& limits = {});

}  // namespace wa
