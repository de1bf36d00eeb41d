// Any bytes as a Cobertura report.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "core/codec/text.h"
#include "core/report/cobertura.h"
#include "core/report/detect.h"

namespace {

void check_percent(const std::optional<double>& percent) {
    WA_CHECK(!percent || (std::isfinite(*percent) && *percent >= 0 && *percent <= 100), "percentages are 0 to 100");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    const auto report = wa::parse_cobertura(bytes);
    if (!report) {
        WA_CHECK(wa::is_utf8(report.error().message) && report.error().message.size() < 400, "errors are short texts");
        return 0;
    }
    for (const wa::Coverage& coverage : {report->lines, report->branches, report->functions})
        WA_CHECK(coverage.covered <= coverage.valid, "no more covered than there is");
    check_percent(report->line_percent);
    check_percent(report->branch_percent);
    WA_CHECK(wa::detect_report(bytes) == wa::ReportFormat::kCobertura, "what is parsed is detected");
    return 0;
}
