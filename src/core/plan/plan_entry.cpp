#include "core/plan/plan_entry.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <chrono>

#include "core/codec/parameters.h"
#include "core/codec/shell_words.h"
#include "core/codec/suggest.h"
#include "core/codec/text.h"
#include "core/codec/ticket_json.h"
#include "core/plan/plan.h"

namespace wa {
namespace json = boost::json;

namespace {

// Below this a bare number cannot be a moment in epoch milliseconds (September 2001), so it is a duration without a
// unit.
constexpr std::int64_t kFirstMoment = 1'000'000'000'000;
constexpr std::array<std::string_view, 5> kRuntimes{"local", "docker", "k8s", "lambda", "simulation"};
constexpr std::array<std::string_view, 8> kTaskTypeWords{"BUILD",   "DEPLOY",     "TEST",  "VALIDATE",
                                                         "EXECUTE", "COMPENSATE", "QUERY", "TRANSFORM"};
constexpr std::array<std::string_view, 14> kShellOperators{"|", "||", "&",  "&&",   ";",  ">", ">>",
                                                           "<", "<<", "2>", "2>&1", "&>", "(", ")"};

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}
std::string_view view(json::string_view text) {
    return {text.data(), text.size()};
}

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    return out;
}
std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

std::string joined(std::span<const std::string_view> words) {
    std::string out;
    for (const std::string_view word : words)
        out += (out.empty() ? "" : ", ") + std::string(word);
    return out;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
    const std::string_view found = closest(word, candidates);
    return found.empty() ? "" : " (did you mean \"" + std::string(found) + "\"?)";
}

std::optional<Priority> read_priority(const PlanObject& object) {
    const auto* value = object.find("priority");
    if (value == nullptr) return std::nullopt;
    const auto number = value->is_string() ? parse_whole_number(view(value->get_string())) : whole_number(*value);
    if (number && *number >= 1 && *number <= 10) {
        return *number <= 2   ? Priority::kLow
               : *number <= 5 ? Priority::kNormal
               : *number <= 8 ? Priority::kHigh
                              : Priority::kCritical;
    }
    const std::string word = upper(value_text(*value));
    const auto priority = word == "MEDIUM" ? Priority::kNormal : parse_priority(word);
    if (!priority) object.wrong("priority", "one of LOW, NORMAL, HIGH, CRITICAL", *value, "unknown-word");
    return priority;
}

template <class Parse>
auto read_word(const PlanObject& object, std::string_view key, Parse parse, std::span<const std::string_view> words,
               bool upper_case = true) {
    const auto* value = object.find(key);
    decltype(parse(std::string_view())) parsed;
    if (value == nullptr) return parsed;
    const std::string text = value_text(*value);
    parsed = parse(upper_case ? upper(text) : lower(text));
    if (!parsed) object.wrong(key, "one of " + joined(words), *value, "unknown-word");
    return parsed;
}

void read_timeout(const PlanObject& sla, SlaPatch& patch) {
    patch.timeout_ms = sla.integer("timeout_ms", 1, kMaxTimeoutMs);
    if (patch.timeout_ms) patch.timeout_at = sla.find("timeout_ms");
    const auto* value = sla.find("timeout");
    if (value == nullptr) return;
    if (patch.timeout_ms) {
        return sla.error("given-twice", "timeout", *value, "says the same as timeout_ms; keep one of them");
    }
    const auto* text = value->if_string();
    const auto duration = text == nullptr ? std::nullopt : parse_duration(view(*text), false);
    if (!duration) return sla.wrong("timeout", "a duration with a unit, such as \"90s\", \"5m\" or \"1h30m\"", *value);
    if (duration->count() < 1 || duration->count() > kMaxTimeoutMs) {
        return sla.wrong("timeout", "between 1ms and 7d", *value, "out-of-range");
    }
    patch.timeout_ms = duration->count();
    patch.timeout_at = value;
}

void read_deadline(const PlanObject& sla, EpochMillis now, SlaPatch& patch) {
    const auto* value = sla.find("deadline");
    if (value == nullptr) return;
    const auto* text = value->if_string();
    const auto moment = text != nullptr ? parse_whole_number(view(*text)) : whole_number(*value);
    const auto duration = text == nullptr || moment ? std::nullopt : parse_duration(view(*text), false);
    if (duration) {
        patch.deadline = now + duration->count();
        patch.relative_deadline = true;
    } else if (moment && *moment <= 0) {
        patch.deadline = 0;
    } else if (moment && *moment >= kFirstMoment) {
        patch.deadline = moment;
    } else {
        return sla.wrong("deadline", "a duration from now with a unit (\"30m\") or a moment in epoch milliseconds",
                         *value);
    }
    patch.deadline_at = value;
    if (*patch.deadline > 0 && *patch.deadline <= now) {
        sla.warn("past-deadline", "deadline", *value, "is already past: the ticket would end before it starts");
    }
}

void read_sla(const PlanObject& object, EpochMillis now, SlaPatch& patch, ProblemList& problems) {
    const auto* value = object.object("sla");
    if (value == nullptr) return;
    const PlanObject sla(*value, object.scope().in("sla"), problems);
    sla.check_keys(plan_keys(PlanSection::kSla));
    read_timeout(sla, patch);
    read_deadline(sla, now, patch);
    if (const auto retries = sla.integer("max_retries", 0, kMaxRetries))
        patch.max_retries = static_cast<std::int32_t>(*retries);
    if (patch.timeout_ms && patch.deadline.value_or(0) > now && *patch.timeout_ms > *patch.deadline - now) {
        sla.warn(
            "timeout-beyond-deadline", sla.find("timeout") != nullptr ? "timeout" : "timeout_ms", *patch.timeout_at,
            "(" + duration_text(std::chrono::milliseconds(*patch.timeout_ms)) + ") is longer than the deadline allows");
    }
}

void read_qos(const PlanObject& object, PlanSettings& settings, ProblemList& problems) {
    static constexpr std::array<std::string_view, 3> kModes{"AT_MOST_ONCE", "AT_LEAST_ONCE", "EXACTLY_ONCE"};
    static constexpr std::array<std::string_view, 2> kConsistencies{"EVENTUAL", "STRONG"};
    static constexpr std::array<std::string_view, 2> kDurabilities{"TRANSIENT", "PERSISTENT"};
    const auto* value = object.object("qos");
    if (value == nullptr) return;
    const PlanObject qos(*value, object.scope().in("qos"), problems);
    qos.check_keys(plan_keys(PlanSection::kQos));
    settings.delivery_mode = read_word(qos, "delivery_mode", parse_delivery_mode, kModes);
    settings.consistency = read_word(qos, "consistency", parse_consistency, kConsistencies);
    settings.durability = read_word(qos, "durability", parse_durability, kDurabilities);
}

void read_runtime(const PlanObject& object, PlanSettings& settings) {
    settings.runtime = object.text("runtime");
    if (!settings.runtime || std::ranges::find(kRuntimes, *settings.runtime) != kRuntimes.end()) return;
    // Not an error: a worker may have a runtime that this one does not know.
    object.warn(
        "unknown-word", "runtime", *object.find("runtime"),
        "names the unknown runtime \"" + clip(*settings.runtime) + "\"" + did_you_mean(*settings.runtime, kRuntimes));
}

void read_settings(const PlanObject& object, EpochMillis now, PlanSettings& settings, ProblemList& problems) {
    static constexpr std::array<std::string_view, 4> kRiskBands{"low", "medium", "high", "critical"};
    static constexpr std::array<std::string_view, 4> kLevels{"PUBLIC", "INTERNAL", "CONFIDENTIAL", "RESTRICTED"};
    settings.priority = read_priority(object);
    settings.risk_band = read_word(object, "risk_band", parse_risk_band, kRiskBands, false);
    settings.security_level = read_word(object, "security_level", parse_security_level, kLevels);
    read_sla(object, now, settings.sla, problems);
    read_qos(object, settings, problems);
    settings.capabilities = object.list("required_capabilities");
    settings.metadata = object.texts("metadata", true);
    settings.env = object.texts("env", false);
    settings.working_dir = object.text("working_dir");
    settings.image = object.text("image");
    settings.parameters = object.object("parameters");
    read_runtime(object, settings);
}

bool starts_shell(const std::vector<std::string>& words) {
    static constexpr std::array<std::string_view, 6> kShells{"sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash"};
    return !words.empty() && std::ranges::find(kShells, words.front()) != kShells.end();
}

// A command that was written for a shell does something else without one; better said now than found out later.
void warn_about_shell_syntax(const PlanObject& object, const json::value& value, std::string_view text,
                             const std::vector<std::string>& words) {
    if (starts_shell(words)) return;
    std::string found;
    for (const std::string& word : words) {
        const bool operators = std::ranges::find(kShellOperators, word) != kShellOperators.end();
        if (operators || word.find("$(") != std::string::npos || (word.size() > 1 && word.front() == '$')) found = word;
        if (!found.empty()) break;
    }
    if (found.empty()) {
        const std::size_t line_end = text.find('\n');
        if (line_end == std::string_view::npos || text.find_first_not_of(" \t\r\n", line_end) == std::string_view::npos)
            return;
        if (line_end > 0 && text[line_end - 1] == '\\') return;
        found = "a second line";
    } else {
        found = "\"" + clip(found) + "\"";
    }
    object.warn("shell-syntax", "run", value,
                "is not given to a shell, so " + found + " means nothing special; write run: [sh, -c, \"…\"] for that");
}

void read_run(const PlanObject& object, PlanEntry& entry) {
    const auto* value = object.find("run");
    if (value == nullptr) return;
    if (const auto* text = value->if_string()) {
        auto words = split_shell_words(view(*text));
        if (!words)
            return object.error("wrong-type", "run", *value, "cannot be split into words: " + words.error().message);
        warn_about_shell_syntax(object, *value, view(*text), *words);
        entry.run = std::move(*words);
    } else if (value->is_array()) {
        if (auto words = object.list("run")) {
            entry.run = std::move(*words);
        } else {
            return;
        }
    } else {
        return object.wrong("run", "a command: text or a list of words", *value);
    }
    if (entry.run.empty()) object.error("wrong-type", "run", *value, "is empty");
}

void read_type(const PlanObject& object, PlanEntry& entry, const json::value& at) {
    const auto* value = object.find("type");
    if (value == nullptr) {
        if (!entry.run.empty()) {
            entry.type = TaskType::kExecute;
        } else if (!entry.compensates.empty()) {
            entry.type = TaskType::kCompensate;
        } else {
            object.error("required", "type", at, "is missing (one of " + joined(kTaskTypeWords) + ")");
        }
        return;
    }
    const std::string word = value_text(*value);
    entry.type = parse_task_type(word);
    if (!entry.type) {
        object.error("unknown-word", "type", *value,
                     "must be one of " + joined(kTaskTypeWords) + ", found " + describe_value(*value) +
                         did_you_mean(word, kTaskTypeWords));
    }
}

void read_needs(const PlanObject& object, std::string_view key, PlanEntry& entry) {
    const auto* value = object.find(key);
    if (value == nullptr) return;
    const auto add = [&](const json::value& item) {
        if (item.is_structured() || item.is_null() || value_text(item).empty()) {
            object.wrong(key, "a list of ticket names", item);
        } else {
            entry.needs.push_back(&item);
        }
    };
    if (const auto* array = value->if_array()) {
        for (const auto& item : *array)
            add(item);
    } else {
        add(*value);
    }
}

void read_ticket_id(const PlanObject& object, PlanEntry& entry) {
    const auto id = object.text("ticket_id");
    if (!id) return;
    const bool control =
        std::ranges::any_of(*id, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    if (id->empty() || id->size() > kMaxTicketIdBytes || control) {
        return object.wrong("ticket_id", "1 to 255 bytes without control characters", *object.find("ticket_id"),
                            "out-of-range");
    }
    entry.ticket_id = *id;
}

}  // namespace

std::string PlanScope::path(std::string_view key) const {
    std::string path(base);
    if (index) {
        path = "tickets[" + std::to_string(*index) + "]";
    } else if (ticket) {
        path = "tickets." + clip(*ticket);
    }
    for (const std::string_view part : {inner, key}) {
        if (part.empty()) continue;
        if (!path.empty()) path += '.';
        path += clip(part);
    }
    return path;
}

std::string PlanScope::subject(std::string_view key) const {
    std::string name = inner.empty() ? std::string(key) : std::string(inner) + "." + std::string(key);
    if (ticket) return name + " of ticket \"" + clip(*ticket) + "\"";
    if (index) return name + " of ticket " + std::to_string(*index + 1);
    return base.empty() ? name : std::string(base) + "." + name;
}

std::string PlanScope::inside() const {
    const std::string part = inner.empty() ? "" : std::string(inner) + " of ";
    if (ticket) return " in " + part + "ticket \"" + clip(*ticket) + "\"";
    if (index) return " in " + part + "ticket " + std::to_string(*index + 1);
    if (base.empty()) return "";
    return " in " + std::string(base) + (inner.empty() ? "" : "." + std::string(inner));
}

const json::value* PlanObject::find(std::string_view key) const {
    const auto* value = object_.if_contains(key);
    return value != nullptr && value->is_null() ? nullptr : value;
}

void PlanObject::error(std::string_view rule, std::string_view key, const json::value& at, std::string message) const {
    problems_.error(rule, scope_.subject(key) + " " + message, scope_.path(key), {&at, false});
}

void PlanObject::warn(std::string_view rule, std::string_view key, const json::value& at, std::string message) const {
    problems_.warning(rule, scope_.subject(key) + " " + message, scope_.path(key), {&at, false});
}

void PlanObject::wrong(std::string_view key, std::string_view wanted, const json::value& found,
                       std::string_view rule) const {
    error(rule, key, found, "must be " + std::string(wanted) + ", found " + describe_value(found));
}

std::optional<std::string> PlanObject::text(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_structured()) {
        wrong(key, "a text", *value);
        return std::nullopt;
    }
    std::string text = value_text(*value);
    if (text.size() > kMaxParameterBytes) {
        error("limit", key, *value, "is longer than 64 KiB");
        return std::nullopt;
    }
    return text;
}

const json::object* PlanObject::object(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) return nullptr;
    if (!value->is_object()) wrong(key, "a mapping of keys to values", *value);
    return value->if_object();
}

std::optional<std::int64_t> PlanObject::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
    const auto* value = find(key);
    if (value == nullptr) return std::nullopt;
    const auto* text = value->if_string();
    const auto number = text != nullptr ? parse_whole_number(view(*text)) : whole_number(*value);
    if (number && *number >= low && *number <= high) return number;
    wrong(key, "a whole number from " + std::to_string(low) + " to " + std::to_string(high), *value,
          number ? "out-of-range" : "wrong-type");
    return std::nullopt;
}

StringMap PlanObject::texts(std::string_view key, bool null_allowed) const {
    StringMap map;
    const auto* values = object(key);
    if (values == nullptr) return map;
    for (const auto& member : *values) {
        if (member.value().is_null() && null_allowed) continue;
        const std::string name = std::string(key) + "." + clip(view(member.key()));
        if (member.value().is_null()) {
            error("wrong-type", name, member.value(), "has no value; write \"\" for an empty one");
        } else if (member.value().is_structured() && !null_allowed) {
            wrong(name, "a text", member.value());
        } else {
            map.insert_or_assign(std::string(view(member.key())), value_text(member.value()));
        }
    }
    return map;
}

std::optional<std::vector<std::string>> PlanObject::list(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) return std::nullopt;
    const auto* array = value->if_array();
    if (array == nullptr) {
        const auto single = text(key);
        if (!single) return std::nullopt;
        return std::vector<std::string>{*single};
    }
    if (array->size() > kMaxParameterListItems) {
        error("limit", key, *value, "has more than " + std::to_string(kMaxParameterListItems) + " items");
        return std::nullopt;
    }
    std::vector<std::string> texts;
    for (const auto& item : *array) {
        if (item.is_structured() || item.is_null()) {
            wrong(key, "a list of texts", item);
            return std::nullopt;
        }
        texts.push_back(value_text(item));
    }
    return texts;
}

void PlanObject::check_keys(std::span<const std::string_view> known) const {
    for (const auto& member : object_) {
        const std::string_view key = view(member.key());
        if (std::ranges::find(known, key) != known.end()) continue;
        std::string hint = did_you_mean(key, known);
        const auto sla = plan_keys(PlanSection::kSla);
        if (key == "<<") hint = " (merge keys are not supported; use defaults)";
        if (scope_.inner.empty() && std::ranges::find(sla, key) != sla.end()) hint = " (it belongs into sla)";
        problems_.error("unknown-key", "unknown key \"" + clip(key) + "\"" + scope_.inside() + hint, scope_.path(key),
                        {&member.value(), true});
    }
}

PlanSettings read_plan_defaults(const json::value& value, EpochMillis now, ProblemList& problems) {
    PlanSettings settings;
    const PlanScope scope{"defaults"};
    const auto* values = value.if_object();
    if (values == nullptr) {
        problems.error("wrong-type", "defaults must be a mapping of keys to values, found " + describe_value(value),
                       "defaults", {&value, false});
        return settings;
    }
    const PlanObject object(*values, scope, problems);
    object.check_keys(plan_keys(PlanSection::kDefaults));
    read_settings(object, now, settings, problems);
    return settings;
}

PlanEntry read_plan_entry(const json::value& value, const PlanScope& scope, EpochMillis now, ProblemList& problems) {
    PlanEntry entry;
    const auto* values = value.if_object();
    if (values == nullptr) {
        problems.error("wrong-type",
                       "ticket \"" + clip(scope.ticket.value_or("")) +
                           "\" must be a mapping of keys to values, found " + describe_value(value),
                       scope.path(), {&value, false});
        return entry;
    }
    const PlanObject object(*values, scope, problems);
    object.check_keys(plan_keys(PlanSection::kTicket));
    if (scope.ticket && !scope.index && object.find("name") != nullptr) {
        object.warn("no-effect", "name", *object.find("name"),
                    "has no effect: the key in front of the ticket is its name");
    }
    read_settings(object, now, entry, problems);
    read_ticket_id(object, entry);
    entry.description = object.text("description").value_or("");
    entry.junit = object.text("junit").value_or("");
    entry.compensates = object.text("compensates").value_or("");
    read_needs(object, "needs", entry);
    read_needs(object, "dependencies", entry);
    read_run(object, entry);
    read_type(object, entry, value);
    return entry;
}

}  // namespace wa
