#include "core/plan/problems.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <utility>

#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kMaxMessageBytes = 1024;
constexpr std::size_t kMaxAlignedColumn = 60;

// Names in a file may hold anything; a terminal must not act on them, and one problem is one line.
std::string printable(std::string_view text) {
    std::string out(text);
    std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
    return out;
}

std::string counted(std::size_t number, std::string_view word) {
    return std::to_string(number) + " " + std::string(word) + (number == 1 ? "" : "s");
}

std::string place_of(const Problem& problem) {
    std::string place = problem.file.empty() ? "-" : printable(problem.file);
    if (problem.line > 0) place += ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column);
    return place;
}

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string padded(std::string text, std::size_t width) {
    const std::size_t length = characters(text);
    if (length < width) text.append(width - length, ' ');
    return text;
}

std::string human(const std::vector<Problem>& problems, std::size_t files) {
    std::size_t width = 0;
    for (const auto& problem : problems)
        width = std::max(width, characters(place_of(problem)));
    width = std::min(width, kMaxAlignedColumn);
    std::string out;
    for (const auto& problem : problems) {
        out += padded(place_of(problem), width) + " " + padded(std::string(to_string(problem.severity)), 7) + "  " +
               printable(problem.message) + "\n";
    }
    return out + counted(files, "file") + ", " + counted(count(problems, Severity::kError), "error") + ", " +
           counted(count(problems, Severity::kWarning), "warning") + "\n";
}

std::string json(const std::vector<Problem>& problems, std::size_t files) {
    std::string out;
    JsonObjectWriter report(out);
    report.integer("files", static_cast<std::int64_t>(files));
    report.integer("errors", static_cast<std::int64_t>(count(problems, Severity::kError)));
    report.integer("warnings", static_cast<std::int64_t>(count(problems, Severity::kWarning)));
    report.key("problems") += '[';
    for (const auto& problem : problems) {
        if (out.back() != '[') out += ',';
        JsonObjectWriter writer(out);
        writer.text("severity", to_string(problem.severity));
        writer.text("rule", problem.rule);
        writer.text("message", problem.message);
        writer.text("path", problem.path);
        writer.text("file", problem.file);
        writer.integer("line", problem.line);
        writer.integer("column", problem.column);
        writer.close();
    }
    out += ']';
    report.close();
    return out + "\n";
}

// Workflow commands end at the first colon or comma of a property, and at the line's end.
std::string github_escaped(std::string_view text, bool property) {
    std::string out;
    for (const char c : text) {
        if (c == '%') {
            out += "%25";
        } else if (c == '\r') {
            out += "%0D";
        } else if (c == '\n') {
            out += "%0A";
        } else if (property && c == ':') {
            out += "%3A";
        } else if (property && c == ',') {
            out += "%2C";
        } else {
            out += c;
        }
    }
    return out;
}

std::string github(const std::vector<Problem>& problems) {
    std::string out;
    for (const auto& problem : problems) {
        out += "::" + std::string(to_string(problem.severity)) + " file=" + github_escaped(problem.file, true);
        if (problem.line > 0) {
            out += ",line=" + std::to_string(problem.line) + ",col=" + std::to_string(problem.column);
        }
        out += ",title=" + github_escaped(problem.rule, true) + "::" + github_escaped(problem.message, false) + "\n";
    }
    return out;
}

std::string uri_of(std::string_view file) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : file) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("-._~/").find(c) != std::string_view::npos;
        if (plain) {
            out += c;
        } else {
            out += '%';
            out += kHex[byte >> 4U];
            out += kHex[byte & 0xFU];
        }
    }
    return out;
}

void sarif_location(std::string& out, const Problem& problem) {
    JsonObjectWriter location(out);
    JsonObjectWriter physical(location.key("physicalLocation"));
    JsonObjectWriter artifact(physical.key("artifactLocation"));
    artifact.text("uri", uri_of(problem.file));
    artifact.close();
    if (problem.line > 0) {
        JsonObjectWriter region(physical.key("region"));
        region.integer("startLine", problem.line);
        region.integer("startColumn", std::max<std::uint32_t>(problem.column, 1));
        region.close();
    }
    physical.close();
    location.close();
}

void sarif_result(std::string& out, const Problem& problem) {
    JsonObjectWriter result(out);
    result.text("ruleId", problem.rule);
    result.text("level", to_string(problem.severity));
    JsonObjectWriter message(result.key("message"));
    message.text("text", problem.message);
    message.close();
    result.key("locations") += '[';
    sarif_location(out, problem);
    out += ']';
    result.close();
}

void sarif_tool(std::string& out, const std::vector<Problem>& problems, std::string_view version) {
    JsonObjectWriter tool(out);
    JsonObjectWriter driver(tool.key("driver"));
    driver.text("name", "worker-agents");
    driver.text("version", version);
    driver.key("rules") += '[';
    std::set<std::string_view> rules;
    for (const auto& problem : problems)
        rules.insert(problem.rule);
    for (const std::string_view rule : rules) {
        if (out.back() != '[') out += ',';
        JsonObjectWriter entry(out);
        entry.text("id", rule);
        entry.close();
    }
    out += ']';
    driver.close();
    tool.close();
}

std::string sarif(const std::vector<Problem>& problems, std::string_view version) {
    std::string out;
    JsonObjectWriter log(out);
    log.text("$schema", "https://json.schemastore.org/sarif-2.1.0.json");
    log.text("version", "2.1.0");
    log.key("runs") += '[';
    JsonObjectWriter run(out);
    sarif_tool(run.key("tool"), problems, version);
    run.text("columnKind", "unicodeCodePoints");
    run.key("results") += '[';
    for (const auto& problem : problems) {
        if (out.back() != '[') out += ',';
        sarif_result(out, problem);
    }
    out += ']';
    run.close();
    out += ']';
    log.close();
    return out + "\n";
}

}  // namespace

std::string_view to_string(Severity severity) {
    return severity == Severity::kError ? "error" : "warning";
}

std::size_t count(const std::vector<Problem>& problems, Severity severity) {
    return static_cast<std::size_t>(
        std::ranges::count_if(problems, [&](const Problem& problem) { return problem.severity == severity; }));
}

ErrorCode worst_code(const std::vector<Problem>& problems) {
    for (const ErrorCode code : {ErrorCode::kMalformed, ErrorCode::kLimitExceeded, ErrorCode::kInternal}) {
        const bool found = std::ranges::any_of(
            problems, [&](const Problem& p) { return p.severity == Severity::kError && p.code == code; });
        if (found) return code;
    }
    return ErrorCode::kInvalidArgument;
}

void ProblemList::error(std::string_view rule, std::string message, std::string path, DocumentPlace place,
                        ErrorCode code) {
    ++errors_;
    add(Problem{Severity::kError, std::string(rule), std::move(message), std::move(path), 0, 0, {}, code}, place);
}

void ProblemList::warning(std::string_view rule, std::string message, std::string path, DocumentPlace place) {
    add(Problem{Severity::kWarning, std::string(rule), std::move(message), std::move(path), 0, 0, {}, {}}, place);
}

void ProblemList::add(Problem problem, DocumentPlace place) {
    if (full()) {
        ++left_out_;
        return;
    }
    problem.message = clip(problem.message, kMaxMessageBytes);
    problem.path = clip(problem.path, kMaxMessageBytes);
    problems_.push_back(std::move(problem));
    places_.push_back(place);
}

std::vector<Problem> ProblemList::finish(const Document& document, const std::string& file) && {
    const std::vector<TextMark> marks = locate(document, places_);
    std::vector<std::size_t> order(problems_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(marks[i], i); });
    std::vector<Problem> sorted;
    sorted.reserve(problems_.size() + 1);
    for (const std::size_t i : order) {
        sorted.push_back(std::move(problems_[i]));
        sorted.back().line = marks[i].line;
        sorted.back().column = marks[i].column;
        sorted.back().file = file;
    }
    if (left_out_ > 0) {
        const Severity severity = errors_ > 0 ? Severity::kError : Severity::kWarning;
        sorted.push_back(Problem{severity, "more", "and " + counted(left_out_, "more problem"), {}, 0, 0, file, {}});
    }
    return sorted;
}

std::optional<ProblemFormat> parse_problem_format(std::string_view word) {
    if (word == "human") return ProblemFormat::kHuman;
    if (word == "json") return ProblemFormat::kJson;
    if (word == "github") return ProblemFormat::kGithub;
    if (word == "sarif") return ProblemFormat::kSarif;
    return std::nullopt;
}

std::string format_problems(const std::vector<Problem>& problems, ProblemFormat format, std::size_t files,
                            std::string_view version) {
    switch (format) {
        case ProblemFormat::kHuman: return human(problems, files);
        case ProblemFormat::kJson: return json(problems, files);
        case ProblemFormat::kGithub: return github(problems);
        case ProblemFormat::kSarif: return sarif(problems, version);
    }
    return {};
}

}  // namespace wa
