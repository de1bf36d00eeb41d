#include "core/report/junit.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/report/source_text.h"
#include "core/report/text_line.h"
#include "core/report/xml_tree.h"

namespace wa {

namespace {

// Later ones win over earlier ones in one case (the contract's order). Skipped wins over all: node writes a test that
// is still to do, and fails, with both elements, and counts no failure.
enum class Verdict : std::uint8_t { kPassed, kFlaky, kFailed, kError, kSkipped };

void add(std::uint64_t& sum, std::uint64_t more) {
    sum += std::min(more, std::numeric_limits<std::uint64_t>::max() - sum);
}

struct Tally {
    std::uint64_t tests = 0;
    std::uint64_t failed = 0;
    std::uint64_t errors = 0;
    std::uint64_t skipped = 0;

    void add_all(const Tally& more) {
        add(tests, more.tests);
        add(failed, more.failed);
        add(errors, more.errors);
        add(skipped, more.skipped);
    }
};

// A suite's attributes; what is missing or no number is absent.
struct Stated {
    std::optional<std::uint64_t> tests, failures, errors, skipped;

    [[nodiscard]] bool any() const { return tests || failures || errors || skipped; }
    // Failures that exceed the tests are believed: rather too many tests than failures lost.
    [[nodiscard]] Tally tally() const {
        Tally out{0, failures.value_or(0), errors.value_or(0), skipped.value_or(0)};
        std::uint64_t parts = 0;
        for (const std::uint64_t part : {out.failed, out.errors, out.skipped})
            add(parts, part);
        out.tests = std::max(parts, tests.value_or(0));
        return out;
    }
    [[nodiscard]] bool contradicts(const Tally& counted) const {
        return (tests && *tests != counted.tests) || (failures && *failures != counted.failed) ||
               (errors && *errors != counted.errors) || (skipped && *skipped != counted.skipped);
    }
};

Stated stated_by(pugi::xml_node suite) {
    Stated out;
    out.tests = parse_count(attribute_text(suite, "tests"));
    out.failures = parse_count(attribute_text(suite, "failures"));
    out.errors = parse_count(attribute_text(suite, "errors"));
    for (const char* name : {"skipped", "disabled", "ignored"}) {
        const auto count = parse_count(attribute_text(suite, name));
        if (!count) continue;
        std::uint64_t sum = out.skipped.value_or(0);
        add(sum, *count);
        out.skipped = sum;
    }
    return out;
}

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, word) != words.end();
}

struct Findings {
    Verdict verdict = Verdict::kPassed;
    pugi::xml_node told_by;
};

Verdict verdict_of(std::string_view element) {
    if (element == "error") return Verdict::kError;
    if (element == "failure") return Verdict::kFailed;
    if (element == "skipped") return Verdict::kSkipped;
    if (one_of(element, {"flakyFailure", "flakyError", "rerunFailure", "rerunError"})) return Verdict::kFlaky;
    return Verdict::kPassed;
}

Findings look_at(pugi::xml_node test) {
    Findings found;
    for (const pugi::xml_node child : test.children()) {
        const Verdict verdict = verdict_of(local_name(child));
        if (verdict <= found.verdict) continue;
        found.verdict = verdict;
        found.told_by = child;
    }
    const bool not_run = one_of(attribute_text(test, "status"), {"notrun", "disabled", "skipped", "ignored"}) ||
                         one_of(attribute_text(test, "result"), {"suppressed", "skipped"});
    if (not_run && found.verdict <= Verdict::kFlaky) found.verdict = Verdict::kSkipped;
    return found;
}

class JunitReader {
public:
    explicit JunitReader(const ReportLimits& limits) : limits_(limits) {}

    TestReport read(pugi::xml_node root);

private:
    // An open suite. Text is looked up in the tree, not copied.
    struct Level {
        pugi::xml_node suite;
        pugi::xml_node next;  // the child that is looked at next
        Tally tally;
        double seconds = 0;
        bool counted = false;    // something in it told of tests
        bool has_cases = false;  // directly in it
    };

    void open(pugi::xml_node suite);
    void close();
    void test_case(pugi::xml_node test);
    void note_failure(pugi::xml_node test, const Findings& found);

    const ReportLimits& limits_;
    std::vector<Level> levels_;
    TestReport report_;
    Tally total_;
};

void JunitReader::open(pugi::xml_node suite) {
    if (local_name(suite) == "testsuite") ++report_.suites;
    levels_.push_back({.suite = suite, .next = suite.first_child(), .tally = {}});
}

void JunitReader::close() {
    Level level = levels_.back();
    levels_.pop_back();
    const Stated stated = stated_by(level.suite);
    if (!level.counted) {
        level.tally = stated.tally();
        level.counted = stated.any();
    } else if (stated.contradicts(level.tally) || (level.has_cases && !stated.tests)) {
        report_.totals_corrected = true;
    }
    const double seconds = parse_seconds(attribute_text(level.suite, "time")).value_or(level.seconds);
    if (levels_.empty()) {
        total_ = level.tally;
        report_.duration_seconds = seconds;
        return;
    }
    Level& parent = levels_.back();
    parent.tally.add_all(level.tally);
    parent.seconds += seconds;
    parent.counted = parent.counted || level.counted;
}

void JunitReader::note_failure(pugi::xml_node test, const Findings& found) {
    if (report_.failures.size() >= limits_.failures) return;
    std::string_view suite = attribute_text(test, "classname");
    if (trimmed(suite).empty()) suite = attribute_text(levels_.back().suite, "name");
    FailedTest failed;
    failed.suite = clean_line(suite, limits_.text_bytes);
    failed.name = clean_line(attribute_text(test, "name"), limits_.text_bytes);
    failed.error = found.verdict == Verdict::kError;
    for (const std::string_view text :
         {attribute_text(found.told_by, "message"), own_text(found.told_by), attribute_text(found.told_by, "type")}) {
        failed.message_first_line = clean_line(text, limits_.text_bytes);
        if (!failed.message_first_line.empty()) break;
    }
    report_.failures.push_back(std::move(failed));
}

void JunitReader::test_case(pugi::xml_node test) {
    const Findings found = look_at(test);
    Level& level = levels_.back();
    level.counted = level.has_cases = true;
    level.seconds += parse_seconds(attribute_text(test, "time")).value_or(0);
    Tally& tally = level.tally;
    ++tally.tests;
    switch (found.verdict) {
        case Verdict::kPassed: break;
        case Verdict::kFlaky: ++report_.flaky; break;
        case Verdict::kFailed: ++tally.failed; break;
        case Verdict::kError: ++tally.errors; break;
        case Verdict::kSkipped: ++tally.skipped; break;
    }
    if (found.verdict == Verdict::kFailed || found.verdict == Verdict::kError) note_failure(test, found);
}

TestReport JunitReader::read(pugi::xml_node root) {
    open(root);
    while (!levels_.empty()) {
        const pugi::xml_node child = levels_.back().next;
        if (!child) {
            close();
            continue;
        }
        levels_.back().next = child.next_sibling();
        const std::string_view name = local_name(child);
        if (name == "testsuite" || name == "testsuites") open(child);
        if (name == "testcase") test_case(child);
    }
    report_.failed = total_.failed;
    report_.errors = total_.errors;
    report_.skipped = total_.skipped;
    report_.passed = total_.tests - std::min(total_.tests, report_.not_passed() + total_.skipped);
    report_.failures_omitted = report_.not_passed() - report_.failures.size();
    return std::move(report_);
}

}  // namespace

Result<TestReport> parse_junit(std::string bytes, const ReportLimits& limits) {
    WA_TRY(const XmlTree tree, XmlTree::parse(std::move(bytes), ReportFormat::kJunit, limits));
    return JunitReader(limits).read(tree.root());
}

}  // namespace wa
