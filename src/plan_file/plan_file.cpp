#include "plan_file/plan_file.h"

#include <boost/json/object.hpp>

#include "plan_file/yaml.h"

namespace wa {
namespace {

std::string_view without_mark_and_blanks(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

// `{ plan: x }` is YAML and `{"plan": …}` is both; as JSON it is read faster and its errors are clearer.
bool looks_like_json(std::string_view text) {
    const std::string_view begin = without_mark_and_blanks(text);
    if (!begin.starts_with('{') && !begin.starts_with('[')) return false;
    const std::string_view next = without_mark_and_blanks(begin.substr(1));
    return next.empty() || std::string_view("\"{}[]").find(next.front()) != std::string_view::npos;
}

bool ends_with(std::string_view file, std::string_view ending) {
    return file.size() > ending.size() && file.ends_with(ending);
}

// The name of the file without folders and endings.
std::string stem_of(std::string_view file) {
    file = file.substr(file.find_last_of('/') + 1);
    for (const std::string_view ending : {".json", ".yaml", ".yml", ".plan"}) {
        if (ends_with(file, ending)) file.remove_suffix(ending.size());
    }
    return file.empty() || file == "-" || file.size() > kMaxPlanNameBytes ? "plan" : std::string(file);
}

Problem unreadable(const Error& error, TextMark where, const std::string& file) {
    const std::string rule = error.code == ErrorCode::kLimitExceeded ? "limit" : "syntax";
    return Problem{Severity::kError, rule, error.message, {}, where.line, where.column, file, error.code};
}

}  // namespace

TextFormat format_of(std::string_view file) {
    if (ends_with(file, ".json")) return TextFormat::kJson;
    if (ends_with(file, ".yaml") || ends_with(file, ".yml")) return TextFormat::kYaml;
    return TextFormat::kAuto;
}

Result<Document> read_document(std::string_view text, TextFormat format, const DocumentLimits& limits,
                               TextMark* where) {
    const bool json = format == TextFormat::kJson || (format == TextFormat::kAuto && looks_like_json(text));
    return json ? read_json_document(text, limits, where) : read_yaml_document(text, limits, where);
}

PlanReading read_plan_text(std::string_view text, TextFormat format, const PlanContext& context,
                           const DocumentLimits& limits) {
    TextMark where;
    const auto document = read_document(text, format, limits, &where);
    if (document) return read_plan(*document, context);
    PlanReading reading;
    reading.problems.push_back(unreadable(document.error(), where, context.file));
    return reading;
}

std::vector<Problem> validate_text(const std::string& file, std::string_view text, EpochMillis now) {
    TextMark where;
    const auto document = read_document(text, format_of(file), {}, &where);
    if (!document) return {unreadable(document.error(), where, file)};
    const auto* root = document->root.if_object();
    const bool ticket = root != nullptr && root->contains("task_type") && !root->contains("tickets");
    if (ticket) return check_ticket_document(*document, file);
    // The ids of this expansion are thrown away, so any source of chance will do.
    SeededRandom random(1);
    return read_plan(*document, PlanContext{random, now, file, stem_of(file)}).problems;
}

}  // namespace wa
