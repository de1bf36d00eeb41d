// Any bytes as an LCOV file, and merged with themselves.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "core/codec/text.h"
#include "core/report/detect.h"
#include "core/report/lcov.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    wa::LcovCollector collector;
    if (const auto added = collector.add(bytes); !added) {
        WA_CHECK(wa::is_utf8(added.error().message) && added.error().message.size() < 400, "errors are short texts");
        WA_CHECK(collector.report().files == 0, "an error adds nothing");
        return 0;
    }
    const wa::CoverageReport once = collector.report();
    for (const wa::Coverage& coverage : {once.lines, once.branches, once.functions})
        WA_CHECK(coverage.covered <= coverage.valid, "no more covered than there is");
    WA_CHECK(once.line_percent && *once.line_percent >= 0 && *once.line_percent <= 100, "percentages are 0 to 100");
    WA_CHECK(!once.branch_percent || (*once.branch_percent >= 0 && *once.branch_percent <= 100), "and of branches");
    WA_CHECK(wa::detect_report(bytes) == wa::ReportFormat::kLcov, "what is parsed is detected");
    WA_CHECK(collector.add(bytes).has_value(), "it can be added again");
    WA_CHECK(collector.report().files == once.files, "the same sources");
    return 0;
}
