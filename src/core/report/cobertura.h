// Cobertura XML (contract/executors.md 4.7).
//
// Lines and branches: the root's totals (lines-covered and lines-valid, branches-…) when they are there and possible;
// otherwise counted from the `line` elements, each line of a file once (methods repeat their class's lines);
// otherwise only a percentage, from line-rate and branch-rate. Functions: methods, covered when any line of them is.
#pragma once

#include <string>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// `bytes` is parsed in place: move it in to save a copy. Errors as in report.h; Clover's and JaCoCo's files are
// kUnsupported.
[[nodiscard]] Result<CoverageReport> parse_cobertura(std::string bytes, const ReportLimits& limits = {});

}  // namespace wa
