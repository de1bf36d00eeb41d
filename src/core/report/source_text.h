// The bytes of a report as UTF-8 text.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// Takes away what stands in the way of reading: a byte order mark, UTF-16 (with a mark, or told by its first "<") and
// ISO-8859-1 (when the XML declaration says so). Text without a declaration, or with one that its own bytes disprove,
// is taken as UTF-8. What is not UTF-8 in it stays: whoever takes a text out cleans it (text_line.h). Errors:
// kLimitExceeded (ReportLimits::bytes), kUnsupported (UTF-32, other declared encodings), kMalformed (empty, a NUL
// character, half a UTF-16 unit).
[[nodiscard]] Result<std::string> source_text(std::string bytes, const ReportLimits& limits);

// The common form of this folder's errors.
[[nodiscard]] Failure bad_report(ErrorCode code, std::string message);
// The same, with the place in `text`: "…, in line 3 (byte 57)".
[[nodiscard]] Failure bad_report_at(ErrorCode code, std::string message, std::string_view text, std::size_t offset);
// "… is over the limit of 256 …".
[[nodiscard]] Failure over_limit(std::string_view what, std::size_t limit, std::string_view unit);

}  // namespace wa
