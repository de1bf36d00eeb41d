#include "runtimes/docker_answers.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "core/codec/json_limits.h"
#include "core/codec/text.h"

namespace wa::docker {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxList = 32U << 20U;
constexpr std::size_t kMaxAnswer = 4U << 20U;
constexpr std::size_t kShown = 1000;
constexpr std::size_t kMaxLabel = 4096;
constexpr std::size_t kMaxWarnings = 16;

Failure malformed(std::string_view what) {
    return fail(ErrorCode::kMalformed, "docker", "the engine's answer about " + std::string(what) + " cannot be read");
}

Result<json::value> read(std::string_view body, std::size_t max_bytes, std::string_view what) {
    JsonLimits limits;
    limits.max_bytes = max_bytes;
    limits.max_depth = 32;
    auto value = parse_json(body, limits);
    if (!value && value.error().code == ErrorCode::kLimitExceeded) return value;
    if (!value) return malformed(what);
    return value;
}

std::string_view text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

bool flag_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_bool() && value->get_bool();
}

std::optional<std::int64_t> number_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr ? whole_number(*value) : std::nullopt;
}

// Ids become part of paths.
bool is_id(std::string_view text) {
    constexpr std::size_t kHex = 64;
    return text.size() == kHex && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string plain_name(std::string_view name) {
    if (name.starts_with('/')) name.remove_prefix(1);
    return clip(name, 200);
}

StringMap labels_of(const json::object& object) {
    StringMap labels;
    const auto* found = object.if_contains("Labels");
    if (found == nullptr || !found->is_object()) return labels;
    for (const auto& [key, value] : found->get_object()) {
        const auto* text = value.if_string();
        if (text == nullptr || text->size() > kMaxLabel || key.size() > kMaxLabel) continue;
        labels.emplace(std::string(key.data(), key.size()), std::string(text->data(), text->size()));
    }
    return labels;
}

std::optional<ContainerState> state_of(std::string_view text) {
    if (text == "created") return ContainerState::kCreated;
    if (text == "running" || text == "paused" || text == "restarting") return ContainerState::kRunning;
    if (text == "exited" || text == "dead" || text == "removing" || text == "stopped") return ContainerState::kEnded;
    return std::nullopt;
}

// Exit codes of containers are those of processes.
Result<int> exit_code_of(const json::object& object, std::string_view key, std::string_view what) {
    const auto code = number_of(object, key);
    if (!code || *code < -1 || *code > 0xFFFFFFFFLL) return malformed(what);
    return static_cast<int>(*code & 0xFFFFFFFFLL);
}

}  // namespace

std::optional<ApiVersion> parse_api_version(std::string_view text) {
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos || dot == 0 || dot > 3 || text.size() > dot + 4) return std::nullopt;
    const auto digits = [](std::string_view part) {
        return !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (!digits(text.substr(0, dot)) || !digits(text.substr(dot + 1))) return std::nullopt;
    return ApiVersion{static_cast<int>(*parse_whole_number(text.substr(0, dot))),
                      static_cast<int>(*parse_whole_number(text.substr(dot + 1)))};
}

Result<EngineVersion> parse_version(std::string_view body) {
    WA_TRY(const json::value value, read(body, kMaxAnswer, "its version"));
    if (!value.is_object()) return malformed("its version");
    const json::object& object = value.get_object();
    EngineVersion version;
    version.version = clip(text_of(object, "Version"));
    version.platform = clip(text_of(object, "Os")) + "/" + clip(text_of(object, "Arch"));
    const auto newest = parse_api_version(text_of(object, "ApiVersion"));
    if (!newest) return malformed("its version");
    version.newest = *newest;
    version.oldest = parse_api_version(text_of(object, "MinAPIVersion"));
    return version;
}

Result<std::vector<ContainerSummary>> parse_list(std::string_view body) {
    WA_TRY(const json::value value, read(body, kMaxList, "its containers"));
    if (!value.is_array()) return malformed("its containers");
    if (value.get_array().size() > kMaxContainers)
        return fail(ErrorCode::kLimitExceeded, "docker", "the engine lists more than 10,000 containers of this worker");
    std::vector<ContainerSummary> containers;
    for (const json::value& entry : value.get_array()) {
        if (!entry.is_object()) return malformed("its containers");
        const json::object& object = entry.get_object();
        const auto state = state_of(text_of(object, "State"));
        if (!is_id(text_of(object, "Id")) || !state) return malformed("its containers");
        ContainerSummary summary;
        summary.id = text_of(object, "Id");
        summary.state = *state;
        summary.labels = labels_of(object);
        summary.created = number_of(object, "Created").value_or(0);
        const auto* names = object.if_contains("Names");
        if (names != nullptr && names->is_array() && !names->get_array().empty()) {
            const auto* name = names->get_array().front().if_string();
            if (name != nullptr) summary.name = plain_name({name->data(), name->size()});
        }
        containers.push_back(std::move(summary));
    }
    return containers;
}

Result<ContainerDetail> parse_inspect(std::string_view body) {
    WA_TRY(const json::value value, read(body, kMaxAnswer, "a container"));
    if (!value.is_object()) return malformed("a container");
    const json::object& object = value.get_object();
    const auto* state = object.if_contains("State");
    if (!is_id(text_of(object, "Id")) || state == nullptr || !state->is_object()) return malformed("a container");
    const json::object& facts = state->get_object();
    ContainerDetail detail;
    detail.id = text_of(object, "Id");
    detail.name = plain_name(text_of(object, "Name"));
    detail.image_id = clip(text_of(object, "Image"), 200);
    const auto known = state_of(text_of(facts, "Status"));
    if (!known) return malformed("a container");
    detail.state = *known;
    WA_TRY(detail.exit_code, exit_code_of(facts, "ExitCode", "a container"));
    detail.out_of_memory = flag_of(facts, "OOMKilled");
    detail.error = clip(text_of(facts, "Error"), kShown);
    detail.started_at = clip(text_of(facts, "StartedAt"));
    detail.finished_at = clip(text_of(facts, "FinishedAt"));
    const auto* config = object.if_contains("Config");
    if (config != nullptr && config->is_object()) detail.labels = labels_of(config->get_object());
    return detail;
}

Result<CreatedContainer> parse_created(std::string_view body) {
    WA_TRY(const json::value value, read(body, kMaxAnswer, "a new container"));
    if (!value.is_object() || !is_id(text_of(value.get_object(), "Id"))) return malformed("a new container");
    CreatedContainer created;
    created.id = text_of(value.get_object(), "Id");
    const auto* warnings = value.get_object().if_contains("Warnings");
    if (warnings == nullptr || !warnings->is_array()) return created;
    for (const json::value& warning : warnings->get_array()) {
        if (!warning.is_string() || created.warnings.size() == kMaxWarnings) continue;
        created.warnings.push_back(clip(std::string_view(warning.get_string()), kShown));
    }
    return created;
}

Result<WaitAnswer> parse_wait(std::string_view body) {
    WA_TRY(const json::value value, read(body, kMaxAnswer, "a container's end"));
    if (!value.is_object()) return malformed("a container's end");
    WaitAnswer answer;
    WA_TRY(answer.exit_code, exit_code_of(value.get_object(), "StatusCode", "a container's end"));
    const auto* error = value.get_object().if_contains("Error");
    if (error != nullptr && error->is_object()) answer.error = clip(text_of(error->get_object(), "Message"), kShown);
    return answer;
}

std::string refusal_text(std::string_view body) {
    const auto value = read(body.substr(0, kMaxAnswer), kMaxAnswer, "a refusal");
    std::string text;
    if (value && value->is_object()) text = clip(text_of(value->get_object(), "message"), kShown);
    if (text.empty()) text = lossy_utf8(body.substr(0, kShown), 200);
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    while (!text.empty() && text.back() == ' ')
        text.pop_back();
    return text.empty() ? "no reason given" : text;
}

std::optional<ErrorCode> registry_refusal(std::string_view text) {
    static constexpr std::array kLogin{
        "no basic auth credentials",     "unauthorized:", "authentication required", "denied:", "access denied",
        "incorrect username or password"};
    static constexpr std::array kAbsent{"manifest unknown", "name unknown", "name invalid"};
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    const auto is_said = [&lower](const char* words) { return lower.find(words) != std::string::npos; };
    if (std::ranges::any_of(kLogin, is_said)) return ErrorCode::kNotAllowed;
    if (std::ranges::any_of(kAbsent, is_said)) return ErrorCode::kNotFound;
    return std::nullopt;
}

}  // namespace wa::docker
