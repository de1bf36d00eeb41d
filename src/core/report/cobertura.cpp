#include "core/report/cobertura.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/report/text_line.h"
#include "core/report/xml_tree.h"

namespace wa {

namespace {

std::uint64_t hash_of(std::string_view text, std::uint64_t seed = 0) {
    return std::hash<std::string_view>{}(text) ^ (seed * 0x9E3779B97F4A7C15U);
}

// One line of a file, as one of its `line` elements tells it.
struct Line {
    std::uint64_t file = 0;
    std::uint64_t number = 0;
    std::uint32_t branches_covered = 0;
    std::uint32_t branches_valid = 0;
    bool hit = false;

    [[nodiscard]] auto place() const { return std::pair(file, number); }
};

struct Method {
    std::uint64_t id = 0;
    bool hit = false;
};

// covered and valid as the root states them; absent when one is missing or they are impossible.
std::optional<Coverage> stated(pugi::xml_node root, const char* covered_name, const char* valid_name) {
    const auto covered = parse_count(attribute_text(root, covered_name));
    const auto valid = parse_count(attribute_text(root, valid_name));
    if (!covered || !valid || *covered > *valid || *valid == 0) return std::nullopt;
    return Coverage{*covered, *valid};
}

// The "(1/2)" of condition-coverage="50% (1/2)". A line of more conditions than fit is no line of code.
void read_conditions(std::string_view text, Line& line) {
    const std::size_t open = text.find('(');
    const std::size_t slash = text.find('/', open == std::string_view::npos ? 0 : open);
    const std::size_t close = text.find(')', slash == std::string_view::npos ? 0 : slash);
    if (open == std::string_view::npos || slash == std::string_view::npos || close == std::string_view::npos) return;
    const auto covered = parse_count(text.substr(open + 1, slash - open - 1));
    const auto valid = parse_count(text.substr(slash + 1, close - slash - 1));
    constexpr std::uint64_t kMost = 1'000'000;
    if (!covered || !valid || *covered > *valid || *valid > kMost) return;
    line.branches_covered = static_cast<std::uint32_t>(*covered);
    line.branches_valid = static_cast<std::uint32_t>(*valid);
}

class CoberturaReader {
public:
    CoverageReport read(pugi::xml_node root);

private:
    void walk(pugi::xml_node root);
    void enter(pugi::xml_node node);
    void note_line(pugi::xml_node node);
    void note_method(pugi::xml_node node);
    [[nodiscard]] std::pair<Coverage, Coverage> count_lines();
    [[nodiscard]] Coverage count_methods();
    [[nodiscard]] std::uint64_t count_files();

    std::uint64_t file_ = 0;  // of the class that is being read
    std::uint64_t class_ = 0;
    std::vector<Line> lines_;
    std::vector<Method> methods_;
    std::vector<std::uint64_t> files_;
};

void CoberturaReader::note_line(pugi::xml_node node) {
    const auto number = parse_count(attribute_text(node, "number"));
    if (!number) return;
    Line line{.file = file_, .number = *number};
    const auto hits = parse_count(attribute_text(node, "hits"));
    line.hit = hits && *hits > 0;
    read_conditions(attribute_text(node, "condition-coverage"), line);
    lines_.push_back(line);
}

void CoberturaReader::note_method(pugi::xml_node node) {
    const std::uint64_t id = hash_of(attribute_text(node, "signature"), hash_of(attribute_text(node, "name"), class_));
    const auto rate = parse_rate(attribute_text(node, "line-rate"));
    bool hit = rate && *rate > 0;
    if (!rate) {
        for (const pugi::xml_node line : node.child("lines").children("line"))
            hit = hit || parse_count(attribute_text(line, "hits")).value_or(0) > 0;
    }
    methods_.push_back({id, hit});
}

void CoberturaReader::enter(pugi::xml_node node) {
    const std::string_view name = local_name(node);
    if (name == "class") {
        file_ = hash_of(attribute_text(node, "filename"));
        class_ = hash_of(attribute_text(node, "name"), file_);
        files_.push_back(file_);
    }
    if (name == "line") note_line(node);
    if (name == "method") note_method(node);
}

// In the file's order, without recursion: down, else to the right, else up until there is a right.
void CoberturaReader::walk(pugi::xml_node root) {
    pugi::xml_node node = root;
    while (node) {
        enter(node);
        if (node.first_child()) {
            node = node.first_child();
            continue;
        }
        while (node && node != root && !node.next_sibling())
            node = node.parent();
        node = node == root ? pugi::xml_node() : node.next_sibling();
    }
}

std::pair<Coverage, Coverage> CoberturaReader::count_lines() {
    std::ranges::sort(lines_, {}, &Line::place);
    Coverage lines;
    Coverage branches;
    for (std::size_t i = 0; i < lines_.size();) {
        Line line = lines_[i];
        for (; i < lines_.size() && lines_[i].place() == line.place(); ++i) {
            line.hit = line.hit || lines_[i].hit;
            line.branches_covered = std::max(line.branches_covered, lines_[i].branches_covered);
            line.branches_valid = std::max(line.branches_valid, lines_[i].branches_valid);
        }
        ++lines.valid;
        lines.covered += line.hit ? 1 : 0;
        branches.valid += line.branches_valid;
        branches.covered += line.branches_covered;
    }
    return {lines, branches};
}

Coverage CoberturaReader::count_methods() {
    // Hits last, so that the last of equals decides.
    std::ranges::sort(methods_, {}, [](const Method& m) { return std::pair(m.id, m.hit); });
    Coverage out;
    for (std::size_t i = 0; i < methods_.size(); ++i) {
        if (i + 1 < methods_.size() && methods_[i + 1].id == methods_[i].id) continue;
        ++out.valid;
        out.covered += methods_[i].hit ? 1 : 0;
    }
    return out;
}

std::uint64_t CoberturaReader::count_files() {
    std::ranges::sort(files_);
    return static_cast<std::uint64_t>(std::ranges::unique(files_).begin() - files_.begin());
}

std::optional<double> percent_or_rate(const Coverage& counted, pugi::xml_node root, const char* rate_name) {
    if (const auto percent = counted.percent()) return percent;
    const auto rate = parse_rate(attribute_text(root, rate_name));
    if (!rate) return std::nullopt;
    return *rate * 100;
}

CoverageReport CoberturaReader::read(pugi::xml_node root) {
    walk(root);
    const auto [lines, branches] = count_lines();
    CoverageReport report;
    report.format = ReportFormat::kCobertura;
    report.lines = stated(root, "lines-covered", "lines-valid").value_or(lines);
    report.branches = stated(root, "branches-covered", "branches-valid").value_or(branches);
    report.functions = count_methods();
    report.files = count_files();
    report.line_percent = percent_or_rate(report.lines, root, "line-rate");
    report.branch_percent = percent_or_rate(report.branches, root, "branch-rate");
    return report;
}

}  // namespace

Result<CoverageReport> parse_cobertura(std::string bytes, const ReportLimits& limits) {
    WA_TRY(const XmlTree tree, XmlTree::parse(std::move(bytes), ReportFormat::kCobertura, limits));
    return CoberturaReader().read(tree.root());
}

}  // namespace wa
