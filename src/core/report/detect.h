// Which format a report has, told by its content alone, never by its name (contract/executors.md 4.7).
#pragma once

#include <string_view>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// XML by its root element, after byte order mark, prolog, comments and DOCTYPE: testsuites and testsuite are JUnit,
// coverage with Cobertura's attributes or children is Cobertura. Anything else is LCOV when its first line that is
// neither blank nor a comment begins with TN: or SF:.
//
// Only the beginning is looked at: that the rest can be read is not said.
// Errors: kUnsupported (Clover, JaCoCo, NUnit, … by name; what is neither XML nor LCOV), kMalformed (empty, or cut off
// before the root element), kLimitExceeded (ReportLimits::bytes).
[[nodiscard]] Result<ReportFormat> detect_report(std::string_view bytes, const ReportLimits& limits = {});

}  // namespace wa
