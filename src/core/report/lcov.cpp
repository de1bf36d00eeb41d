#include "core/report/lcov.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "core/report/formats.h"
#include "core/report/source_text.h"
#include "core/report/text_line.h"

namespace wa {

namespace {

constexpr std::uint64_t kIdMask = ~std::uint64_t{0} >> 1U;  // Item::id has 63 bits

std::uint64_t id_of(std::string_view name) {
    return std::hash<std::string_view>{}(name)&kIdMask;
}

// Takes the part before the next comma off `text`.
std::string_view take_field(std::string_view& text) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view field = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return field;
}

// "0", "-" (never reached), "-1" (a counter that ran over) and what is no number are not hit. Counts of any length are.
bool is_hit(std::string_view count) {
    count = trimmed(count);
    return !count.empty() && count.find_first_not_of("0123456789") == std::string_view::npos &&
           count.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

void LcovCollector::Part::make_unique() {
    // Hits first, so that the first of equals decides.
    std::ranges::sort(items, [](const Item& a, const Item& b) { return a.id != b.id ? a.id < b.id : a.hit > b.hit; });
    const auto rest = std::ranges::unique(items, [](const Item& a, const Item& b) { return a.id == b.id; });
    items.erase(rest.begin(), rest.end());
    items.shrink_to_fit();
}

void LcovCollector::Part::absorb(const Part& more) {
    items.insert(items.end(), more.items.begin(), more.items.end());
    make_unique();
    stated.valid = std::max(stated.valid, more.stated.valid);
    stated.covered = std::max(stated.covered, more.stated.covered);
    has_stated = has_stated || more.has_stated;
    records += more.records;
}

Coverage LcovCollector::Part::count() const {
    if (records == 1 && has_stated) return stated;
    Coverage out;
    out.valid = std::max<std::uint64_t>(items.size(), stated.valid);
    out.covered = static_cast<std::uint64_t>(std::ranges::count_if(items, [](const Item& item) { return item.hit; }));
    out.covered = std::min(std::max(out.covered, stated.covered), out.valid);
    return out;
}

// Reads one file into a collector of its own.
class LcovReader {
public:
    explicit LcovReader(const ReportLimits& limits) : limits_(limits) {}

    Result<LcovCollector> read(std::string_view text);

private:
    using Part = LcovCollector::Part;
    // What the open record states about one part.
    struct Totals {
        std::optional<std::uint64_t> found, hit;
        bool said_anything = false;
    };

    Result<void> line(std::string_view line);
    Result<void> begin(std::string_view path);
    void end();
    static void close(Part& part, Totals& totals);
    void item(Part& part, Totals& totals, std::uint64_t id, bool hit);
    void data(std::string_view key, std::string_view value);
    void branch(std::string_view value);
    void function(std::string_view value);

    const ReportLimits& limits_;
    LcovCollector out_;
    LcovCollector::Source* source_ = nullptr;  // of the open record
    Totals lines_, branches_, functions_;
};

Result<LcovCollector> LcovReader::read(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        WA_CHECKED(line(trimmed(text.substr(0, end))));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    this->end();
    if (out_.sources_.empty()) return bad_report(ErrorCode::kMalformed, "an LCOV file without a record (SF:)");
    for (auto& [path, source] : out_.sources_) {
        source.lines.make_unique();
        source.branches.make_unique();
        source.functions.make_unique();
    }
    return std::move(out_);
}

Result<void> LcovReader::line(std::string_view line) {
    if (line == "end_of_record") {
        end();
        return {};
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return {};
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = line.substr(colon + 1);
    if (key == "SF") return begin(value);
    if (source_ != nullptr) data(key, value);
    return {};
}

Result<void> LcovReader::begin(std::string_view path) {
    end();  // of a record whose end is missing
    source_ = &out_.sources_[std::string(path)];
    if (out_.sources_.size() > limits_.sources) {
        return over_limit("too many source files", limits_.sources, "of them");
    }
    return {};
}

void LcovReader::end() {
    if (source_ == nullptr) return;
    close(source_->lines, lines_);
    close(source_->branches, branches_);
    close(source_->functions, functions_);
    source_ = nullptr;
}

void LcovReader::close(Part& part, Totals& totals) {
    const Totals said = std::exchange(totals, {});
    if (said.said_anything) ++part.records;
    if (!said.found || !said.hit || *said.hit > *said.found) return;
    part.has_stated = true;
    part.stated.valid = std::max(part.stated.valid, *said.found);
    part.stated.covered = std::max(part.stated.covered, *said.hit);
}

void LcovReader::item(Part& part, Totals& totals, std::uint64_t id, bool hit) {
    totals.said_anything = true;
    part.items.push_back({.id = id & kIdMask, .hit = hit ? 1U : 0U});
}

// BRDA:<line>,[e]<block>,<branch>,<taken>: the branch may be an expression with commas; what comes last is the count.
void LcovReader::branch(std::string_view value) {
    const std::size_t comma = value.rfind(',');
    if (comma == std::string_view::npos) return;
    item(source_->branches, branches_, id_of(value.substr(0, comma)), is_hit(value.substr(comma + 1)));
}

// FN:<line>[,<end line>],<name>: the name of a C++ function may have commas.
void LcovReader::function(std::string_view value) {
    take_field(value);
    std::string_view name = value;
    if (parse_count(take_field(value)) && !value.empty()) name = value;
    item(source_->functions, functions_, id_of(name), false);
}

void LcovReader::data(std::string_view key, std::string_view value) {
    const auto total = [&](Totals& totals, std::optional<std::uint64_t>& into) {
        totals.said_anything = true;
        into = parse_count(value);
    };
    if (key == "DA") {
        const auto number = parse_count(take_field(value));
        if (number) item(source_->lines, lines_, *number, is_hit(take_field(value)));
    } else if (key == "BRDA") {
        branch(value);
    } else if (key == "FN") {
        function(value);
    } else if (key == "FNDA") {  // FNDA:<count>,<name>
        const bool hit = is_hit(take_field(value));
        item(source_->functions, functions_, id_of(value), hit);
    } else if (key == "FNA") {  // FNA:<index>,<count>,<name>
        take_field(value);
        const bool hit = is_hit(take_field(value));
        item(source_->functions, functions_, id_of(value), hit);
    } else if (key == "LF") {
        total(lines_, lines_.found);
    } else if (key == "LH") {
        total(lines_, lines_.hit);
    } else if (key == "BRF") {
        total(branches_, branches_.found);
    } else if (key == "BRH") {
        total(branches_, branches_.hit);
    } else if (key == "FNF") {
        total(functions_, functions_.found);
    } else if (key == "FNH") {
        total(functions_, functions_.hit);
    }
}

Result<void> LcovCollector::add(std::string_view bytes, const ReportLimits& limits) {
    WA_TRY(const std::string text, source_text(std::string(bytes), limits));
    if (!looks_like_lcov(text)) {
        return bad_report(ErrorCode::kUnsupported, "not LCOV: the first line begins with neither TN: nor SF:");
    }
    WA_TRY(LcovCollector more, LcovReader(limits).read(text));
    std::size_t sum = sources_.size();
    for (const auto& [path, source] : more.sources_)
        sum += sources_.contains(path) ? 0 : 1;
    if (sum > limits.sources) return over_limit("too many source files", limits.sources, "of them");
    for (auto& [path, source] : more.sources_) {
        Source& mine = sources_[path];
        mine.lines.absorb(source.lines);
        mine.branches.absorb(source.branches);
        mine.functions.absorb(source.functions);
    }
    return {};
}

CoverageReport LcovCollector::report() const {
    CoverageReport total;
    total.format = ReportFormat::kLcov;
    for (const auto& [path, source] : sources_) {
        CoverageReport one;
        one.format = ReportFormat::kLcov;
        one.lines = source.lines.count();
        one.branches = source.branches.count();
        one.functions = source.functions.count();
        one.files = 1;
        merge(total, one);
    }
    if (!sources_.empty() && !total.line_percent) total.line_percent = 0.0;
    return total;
}

Result<CoverageReport> parse_lcov(std::string_view bytes, const ReportLimits& limits) {
    LcovCollector collector;
    WA_CHECKED(collector.add(bytes, limits));
    return collector.report();
}

}  // namespace wa
