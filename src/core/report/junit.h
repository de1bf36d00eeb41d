// JUnit XML, as the many tools write it (contract/executors.md 4.7).
//
// The root is testsuites or testsuite; prefixes of namespaces do not matter. Suites may be nested; each test counts
// once, where it stands. Test cases are believed, the suites' totals (tests, failures, errors, skipped, disabled,
// ignored) only where a suite holds no cases and no suites that say more. A case with `skipped` is skipped, else with
// `error` an error, else with `failure` failed, else with status notrun, disabled, skipped or ignored, or with result
// suppressed or skipped, skipped.
// rerunFailure, rerunError, flakyFailure and flakyError alone do not fail a case: it is flaky. Properties and output
// are ignored. Numbers that are none count as absent; `time` may have commas for thousands or as the decimal sign.
#pragma once

#include <string>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// `bytes` is parsed in place: move it in to save a copy. UTF-8, UTF-16 and ISO-8859-1 are read.
// Peak memory: about `bytes` (twice that for other encodings than UTF-8) and the tree that ReportLimits bounds.
[[nodiscard]] Result<TestReport> parse_junit(std::string bytes, const ReportLimits& limits = {});

}  // namespace wa
