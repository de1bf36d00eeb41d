// Any bytes as a JUnit report; and the bounds on the tree hold whatever the bytes are.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "core/codec/text.h"
#include "core/report/detect.h"
#include "core/report/junit.h"
#include "core/report/source_text.h"
#include "core/report/text_line.h"
#include "core/report/xml_scan.h"

#include <pugixml.hpp>

namespace {

void check_text(std::string_view text, std::size_t max) {
    WA_CHECK(text.size() <= max, "texts are bounded");
    WA_CHECK(wa::is_utf8(text), "texts are UTF-8");
    WA_CHECK(wa::clean_line(text, max) == text, "texts are one clean line");
}

void check_report(const wa::TestReport& report, const wa::ReportLimits& limits) {
    WA_CHECK(std::isfinite(report.duration_seconds) && report.duration_seconds >= 0, "a duration");
    WA_CHECK(report.failures.size() <= limits.failures, "failures are bounded");
    WA_CHECK(report.failures.size() + report.failures_omitted == report.not_passed(), "no failure is lost");
    WA_CHECK(report.flaky <= report.passed, "flaky tests passed");
    for (const auto& failure : report.failures) {
        check_text(failure.suite, limits.text_bytes);
        check_text(failure.name, limits.text_bytes);
        check_text(failure.message_first_line, limits.text_bytes);
    }
}

// What the scan accepts makes a tree of no more than it counted.
void check_tree(std::string_view bytes, const wa::ReportLimits& limits) {
    auto text = wa::source_text(std::string(bytes), limits);
    if (!text) return;
    const auto counts = wa::scan_xml(*text, limits);
    if (!counts) return;
    pugi::xml_document document;
    if (!document.load_buffer(text->data(), text->size(), pugi::parse_default, pugi::encoding_utf8)) return;
    std::size_t nodes = 0;
    std::size_t attributes = 0;
    for (pugi::xml_node node = document.document_element(); node;) {
        ++nodes;
        for (auto attribute = node.first_attribute(); attribute; attribute = attribute.next_attribute())
            ++attributes;
        pugi::xml_node next = node.first_child();
        for (; !next && node; node = node.parent())
            next = node.next_sibling();
        node = next;
    }
    WA_CHECK(nodes <= counts->elements + counts->texts, "no more nodes than counted");
    WA_CHECK(attributes == counts->attributes, "as many attributes as counted");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    const wa::ReportLimits limits{.depth = 16, .elements = 200, .attributes = 200, .failures = 5, .text_bytes = 40};
    const auto report = wa::parse_junit(bytes, limits);
    if (report) {
        check_report(*report, limits);
        WA_CHECK(wa::detect_report(bytes, limits) == wa::ReportFormat::kJunit, "what is parsed is detected");
    } else {
        check_text(report.error().message, 400);
    }
    check_tree(bytes, limits);
    return 0;
}
