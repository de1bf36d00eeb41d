#include "runtimes/code_forge_answers.h"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/parameters.h"
#include "core/codec/text.h"

namespace wa::code_forge {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::size_t kMaxAnswer = 8U << 20U;
constexpr std::size_t kMaxValues = 500'000;
constexpr std::size_t kMaxId = 200;
constexpr std::size_t kShown = 1000;

Failure unreadable(std::string why) {
    return Failure(make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService, "code_forge",
                              "Code Forge's answer cannot be read: " + std::move(why)));
}

Result<json::object> read(std::string_view body) {
    JsonLimits limits;
    limits.max_bytes = kMaxAnswer;
    limits.max_values = kMaxValues;
    auto parsed = parse_json(body, limits);
    if (!parsed) return unreadable(parsed.error().message);
    if (!parsed->is_object()) return unreadable("it is not a JSON object");
    return std::move(parsed->get_object());
}

// Numbers and booleans as their text; null and "None" as nothing.
std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return {};
    std::string text = value_text(*value);
    return text == "None" || text == "null" ? std::string() : text;
}

json::array list_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr) return {};
    if (const auto* list = value->if_array()) return *list;
    const auto* text = value->if_string();
    if (text == nullptr) return {};
    auto parsed = parse_json(std::string_view(text->data(), text->size()));
    return parsed && parsed->is_array() ? std::move(parsed->get_array()) : json::array{};
}

std::optional<State> state_of(std::string status) {
    static constexpr std::array<std::pair<std::string_view, State>, 11> kWords{{{"queued", State::kQueued},
                                                                                {"pending", State::kQueued},
                                                                                {"processing", State::kRunning},
                                                                                {"running", State::kRunning},
                                                                                {"completed", State::kCompleted},
                                                                                {"succeeded", State::kCompleted},
                                                                                {"failed", State::kFailed},
                                                                                {"cancelled", State::kFailed},
                                                                                {"timeout", State::kFailed},
                                                                                {"error", State::kFailed},
                                                                                {"partial", State::kFailed}}};
    std::ranges::transform(status, status.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const auto* const found = std::ranges::find_if(kWords, [&](const auto& entry) { return entry.first == status; });
    if (found == kWords.end()) return std::nullopt;
    return found->second;
}

// It becomes part of a path and of a note.
bool is_id(std::string_view text) {
    return !text.empty() && text.size() <= kMaxId &&
           std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

}  // namespace

Result<Task> parse_task(const Ticket& ticket) {
    const Parameters parameters(ticket.parameters);
    Task task;
    WA_TRY(task.template_id, parameters.required_text({"template_id", "template"}));
    WA_TRY(const auto given, parameters.object("parameters"));
    WA_TRY(const std::string repository, parameters.text_or("target_repo", ""));
    WA_TRY(const std::string branch, parameters.text_or("branch", "main"));
    WA_TRY(task.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(task.interval,
           parameters.duration({"poll_interval_seconds", "poll_interval"}, {milliseconds(100), std::chrono::hours(1)}));
    JsonObjectWriter writer(task.body);
    writer.text("ticket_id", ticket.ticket_id);
    writer.text("template_id", task.template_id);
    writer.value("parameters", given.value_or(json::object{}));
    writer.text("target_repo", repository);
    writer.text("branch", branch);
    writer.close();
    return task;
}

Result<std::string> read_request_id(std::string_view body) {
    WA_TRY(const json::object object, read(body));
    std::string id = text_of(object, "request_id");
    if (!is_id(id)) return unreadable("it has no request_id that can be used");
    return id;
}

Result<Generation> read_generation(std::string_view body, std::string_view request_id) {
    WA_TRY(const json::object object, read(body));
    const std::string id = text_of(object, "request_id");
    if (!id.empty() && id != request_id) return unreadable("it is about '" + clip(id) + "'");
    Generation generation;
    generation.status = text_of(object, "status");
    const auto state = state_of(generation.status);
    if (!state) {
        return unreadable(generation.status.empty() ? "it has no status"
                                                    : "its status is '" + clip(generation.status) + "'");
    }
    generation.state = *state;
    generation.error = clip(lossy_utf8(text_of(object, "error"), kShown), kShown);
    generation.pipeline_id = clip(text_of(object, "pipeline_id"), kMaxId);
    generation.artifacts = list_of(object, "artifacts");
    return generation;
}

std::string write_note(const Note& note) {
    std::string text;
    JsonObjectWriter writer(text);
    writer.text("ticket_id", note.ticket_id);
    writer.text("work", note.work);
    writer.text("request_id", note.request_id);
    writer.close();
    return text;
}

std::optional<Note> read_note(std::string_view text) {
    const auto object = read(text);
    if (!object) return std::nullopt;
    Note note{text_of(*object, "ticket_id"), text_of(*object, "work"), text_of(*object, "request_id")};
    if (note.ticket_id.empty() || (!note.request_id.empty() && !is_id(note.request_id))) return std::nullopt;
    return note;
}

std::optional<std::string> read_detail(std::string_view body) {
    const auto object = read(body);
    if (!object || !object->contains("detail")) return std::nullopt;
    return clip(lossy_utf8(text_of(*object, "detail"), kShown), kShown);
}

}  // namespace wa::code_forge
