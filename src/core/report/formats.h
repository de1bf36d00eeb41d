// What detection and the parsers share: telling formats apart.
#pragma once

#include <string_view>

#include "base/error.h"
#include "core/report/report.h"
#include "core/report/xml_scan.h"

namespace wa {

// By the root element and what it begins with. Errors: kUnsupported, with the name of the format where it is known.
[[nodiscard]] Result<ReportFormat> xml_format(const XmlRoot& root);

// The first line that is neither blank nor a comment begins with TN: or SF:.
[[nodiscard]] bool looks_like_lcov(std::string_view text);

}  // namespace wa
