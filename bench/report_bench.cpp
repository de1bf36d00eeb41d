// Reading one JUnit file at the size limit, or the tree of the library alone. One JSON object on stdout.
//
//   report_bench parser|library real|dense
//
//   parser   what the worker does: scan, tree, counting
//   library  pugixml's tree of the same bytes, with its default settings: what any use of it costs at least
//   real     cases with names, classes and times; one of twenty fails, with a trace; some output
//   dense    cases with short attributes and nothing else, as many as the limits allow: the most memory there is
//
// Peak is the highest resident memory above what was there before, with the text itself already in memory.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "core/report/junit.h"

namespace {

constexpr std::size_t kBytes = wa::kMaxReportBytes;

[[noreturn]] void give_up(const std::string& message) {
    std::fprintf(stderr, "report_bench: %s\n", message.c_str());
    std::exit(1);
}

std::string one_case(std::size_t n) {
    const std::string number = std::to_string(n);
    std::string text = "  <testcase classname=\"com.example.shop.orders.OrderServiceTest\" name=\"acceptsOrderNumber" +
                       number + "WithRebate\" time=\"0." + std::to_string(100 + n % 900) + "\"";
    if (n % 20 != 0) return text + "/>\n";
    text +=
        ">\n    <failure message=\"expected: &lt;16&gt; but was: &lt;15&gt;\" "
        "type=\"org.opentest4j.AssertionFailedError\">";
    for (int frame = 0; frame < 20; ++frame)
        text += "\tat com.example.shop.orders.OrderServiceTest.acceptsOrder(OrderServiceTest.java:" +
                std::to_string(frame) + ")\n";
    return text + "</failure>\n  </testcase>\n";
}

std::string real_text(std::size_t& cases) {
    std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
    text.reserve(kBytes);
    const std::string output = "  <system-out><![CDATA[" + std::string(2000, 'o') + "]]></system-out>\n";
    constexpr std::size_t kSuite = 500;
    constexpr std::size_t kRoom = 8192;  // the largest case, the end of a suite, and the end
    for (cases = 0; text.size() + kRoom < kBytes; ++cases) {
        if (cases % kSuite == 0)
            text += (cases > 0 ? output + "</testsuite>\n" : "") + "<testsuite name=\"s\" tests=\"500\">\n";
        text += one_case(cases);
    }
    return text + "</testsuite>\n</testsuites>\n";
}

std::string dense_text(std::size_t& cases) {
    const wa::ReportLimits limits;
    std::string text = "<testsuite>";
    text.reserve(kBytes);
    const std::string one = "<testcase a=\"\" b=\"\" c=\"\"/>";
    for (cases = 0; cases + 1 < limits.elements && text.size() + 2 * one.size() < kBytes; ++cases)
        text += one;
    return text + "</testsuite>";
}

std::size_t status_kib(std::string_view key) {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
    }
    give_up("no such line in /proc/self/status");
}

double cpu_ms() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

void parse(std::string text, std::size_t cases) {
    const auto report = wa::parse_junit(std::move(text));
    if (!report) give_up(report.error().describe());
    if (report->total() != cases) give_up("wrong count");
}

void load(std::string text) {
    pugi::xml_document document;
    if (!document.load_buffer_inplace(text.data(), text.size())) give_up("the library did not read it");
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 3 ? argv[1] : "";
    const std::string_view shape = argc == 3 ? argv[2] : "";
    if ((what != "parser" && what != "library") || (shape != "real" && shape != "dense")) {
        give_up("usage: report_bench parser|library real|dense");
    }
    std::size_t cases = 0;
    std::string text = shape == "real" ? real_text(cases) : dense_text(cases);
    const std::size_t bytes = text.size();
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak so far does not count
    const std::size_t before = status_kib("VmRSS:");
    const double began = cpu_ms();
    if (what == "parser") {
        parse(std::move(text), cases);
    } else {
        load(std::move(text));
    }
    const double took = cpu_ms() - began;
    const std::size_t peak = status_kib("VmHWM:");
    std::printf("{\"bytes\":%zu,\"cases\":%zu,\"ms\":%.2f,\"peak_kib\":%zu}\n", bytes, cases, took,
                peak > before ? peak - before : 0);
    return 0;
}
