#include "core/report/detect.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/report/formats.h"
#include "core/report/source_text.h"
#include "core/report/text_line.h"
#include "core/report/xml_scan.h"

namespace wa {

namespace {

// Reports of other kinds that people point at by mistake, by root element.
struct Other {
    std::string_view root;
    std::string_view name;
};
constexpr std::array kOthers{
    Other{"report", "JaCoCo"},         Other{"CoverageSession", "OpenCover"},
    Other{"TestRun", "TRX"},           Other{"test-run", "NUnit 3"},
    Other{"test-results", "NUnit 2"},  Other{"assemblies", "xUnit.net"},
    Other{"testng-results", "TestNG"}, Other{"testExecutions", "SonarQube test execution"},
    Other{"robot", "Robot Framework"}, Other{"html", "HTML"},
};

bool has_attribute(const XmlRoot& root, std::string_view name) {
    return std::ranges::find(root.attributes, name) != root.attributes.end();
}

Failure unsupported(std::string_view what) {
    return bad_report(ErrorCode::kUnsupported, "this is a " + std::string(what) +
                                                   " report, which is not read; JUnit XML, Cobertura XML and LCOV are");
}

// Cobertura, Clover and SonarQube share the name of their root.
Result<ReportFormat> coverage_format(const XmlRoot& root) {
    for (const std::string_view name : {"line-rate", "lines-valid", "lines-covered", "branch-rate"}) {
        if (has_attribute(root, name)) return ReportFormat::kCobertura;
    }
    if (has_attribute(root, "clover") || root.first_child == "project") return unsupported("Clover");
    if (root.first_child == "file") return unsupported("SonarQube coverage");
    if (root.first_child == "packages" || root.first_child == "sources") return ReportFormat::kCobertura;
    return bad_report(ErrorCode::kUnsupported, "the root element is <coverage>, but this is not a Cobertura report");
}

}  // namespace

Result<ReportFormat> xml_format(const XmlRoot& root) {
    if (root.name == "testsuites" || root.name == "testsuite") return ReportFormat::kJunit;
    if (root.name == "coverage") return coverage_format(root);
    const auto* other = std::ranges::find(kOthers, root.name, &Other::root);
    if (other != kOthers.end()) return unsupported(other->name);
    return bad_report(ErrorCode::kUnsupported,
                      "the root element is <" + clean_line(root.name, 64) + ">: neither JUnit XML nor Cobertura XML");
}

bool looks_like_lcov(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        if (!line.empty() && line[0] != '#') return line.starts_with("TN:") || line.starts_with("SF:");
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return false;
}

Result<ReportFormat> detect_report(std::string_view bytes, const ReportLimits& limits) {
    WA_TRY(const std::string text, source_text(std::string(bytes), limits));
    if (trimmed(text).starts_with('<')) {
        WA_TRY(const XmlRoot root, xml_root(text));
        return xml_format(root);
    }
    if (looks_like_lcov(text)) return ReportFormat::kLcov;
    return bad_report(ErrorCode::kUnsupported, "neither XML nor LCOV: a report begins with \"<\", \"TN:\" or \"SF:\"");
}

}  // namespace wa
