#include "runtimes/kubernetes_answers.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "core/codec/json_limits.h"
#include "core/codec/text.h"
#include "runtimes/kubernetes_task.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxPage = 32U << 20U;
constexpr std::size_t kMaxAnswer = 4U << 20U;
constexpr std::size_t kMaxItems = 10'000;
constexpr std::size_t kMaxEvents = 100;
constexpr std::size_t kMaxEntries = 256;
constexpr std::size_t kMaxEntry = 64U << 10U;
constexpr std::size_t kShown = 1000;
constexpr std::size_t kShortText = 200;

Failure malformed(std::string_view what) {
    return fail(ErrorCode::kMalformed, "k8s", "the API server's answer about " + std::string(what) + " cannot be read");
}

Result<json::object> read(std::string_view body, std::size_t max_bytes, std::string_view what) {
    JsonLimits limits;
    limits.max_bytes = max_bytes;
    auto value = parse_json(body, limits);
    if (!value && value.error().code == ErrorCode::kLimitExceeded) return Failure(std::move(value).error());
    if (!value || !value->is_object()) return malformed(what);
    return std::move(value->get_object());
}

const json::object& object_of(const json::object& object, std::string_view key) {
    static const json::object kNone;
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_object() ? value->get_object() : kNone;
}

const json::array& array_of(const json::object& object, std::string_view key) {
    static const json::array kNone;
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_array() ? value->get_array() : kNone;
}

std::string_view text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

std::optional<std::int64_t> number_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr ? whole_number(*value) : std::nullopt;
}

// For people: one line.
std::string words(std::string_view text, std::size_t max = kShown) {
    std::string line = clip(text, max);
    std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    while (!line.empty() && line.back() == ' ')
        line.pop_back();
    return line;
}

// Names of objects become part of paths (RFC 1123 subdomains).
bool is_name(std::string_view text) {
    constexpr std::size_t kLongest = 253;
    return !text.empty() && text.size() <= kLongest &&
           text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string_view::npos &&
           !text.starts_with('.');
}

bool is_uid(std::string_view text) {
    constexpr std::size_t kLongest = 64;
    return !text.empty() && text.size() <= kLongest &&
           text.find_first_not_of("abcdefABCDEF0123456789-") == std::string_view::npos;
}

StringMap map_of(const json::object& object, std::string_view key) {
    StringMap map;
    for (const auto& [name, value] : object_of(object, key)) {
        const auto* text = value.if_string();
        if (text == nullptr || text->size() > kMaxEntry || name.size() > kMaxEntry || map.size() == kMaxEntries)
            continue;
        map.emplace(std::string(name.data(), name.size()), std::string(text->data(), text->size()));
    }
    return map;
}

// The condition of a type, if it holds.
const json::object* condition(const json::object& status, std::string_view type, std::string_view value = "True") {
    for (const json::value& entry : array_of(status, "conditions")) {
        const auto* object = entry.if_object();
        if (object != nullptr && text_of(*object, "type") == type && text_of(*object, "status") == value) return object;
    }
    return nullptr;
}

void read_container(const json::object& container, PodState& pod) {
    const json::object& state = object_of(container, "state");
    pod.image_id = words(text_of(container, "imageID"), kShortText);
    if (const json::object& waiting = object_of(state, "waiting"); state.contains("waiting")) {
        pod.container = ContainerPhase::kWaiting;
        pod.waiting_reason = words(text_of(waiting, "reason"), kShortText);
        pod.waiting_message = words(text_of(waiting, "message"));
    }
    if (const json::object& running = object_of(state, "running"); state.contains("running")) {
        pod.container = ContainerPhase::kRunning;
        pod.began = true;
        pod.started_at = words(text_of(running, "startedAt"), kShortText);
    }
    if (const json::object& end = object_of(state, "terminated"); state.contains("terminated")) {
        pod.container = ContainerPhase::kTerminated;
        pod.exit_code = static_cast<int>(std::clamp<std::int64_t>(number_of(end, "exitCode").value_or(-1), -1, 65'535));
        pod.end_reason = words(text_of(end, "reason"), kShortText);
        pod.end_message = words(text_of(end, "message"));
        // Reasons of container runtimes for a process that never was; and one that the node has only heard of.
        pod.began = pod.end_reason != "StartError" && pod.end_reason != "ContainerCannotRun" &&
                    pod.end_reason != "ContainerStatusUnknown";
    }
}

}  // namespace

Result<JobState> read_job(const json::object& object) {
    const json::object& meta = object_of(object, "metadata");
    const json::object& status = object_of(object, "status");
    JobState job;
    job.name = text_of(meta, "name");
    job.uid = text_of(meta, "uid");
    if (!is_name(job.name) || !is_uid(job.uid)) return malformed("a Job");
    job.created = words(text_of(meta, "creationTimestamp"), kShortText);
    job.labels = map_of(meta, "labels");
    job.annotations = map_of(meta, "annotations");
    job.deleting = meta.contains("deletionTimestamp");
    job.complete = condition(status, "Complete") != nullptr;
    job.suspended = condition(status, "Suspended") != nullptr;
    const json::object* failed = condition(status, "Failed");
    job.failed = failed != nullptr;
    if (failed == nullptr) failed = condition(status, "FailureTarget");
    if (failed != nullptr) {
        job.failing = true;
        job.reason = words(text_of(*failed, "reason"), kShortText);
        job.message = words(text_of(*failed, "message"));
    }
    return job;
}

Result<PodState> read_pod(const json::object& object) {
    const json::object& meta = object_of(object, "metadata");
    const json::object& status = object_of(object, "status");
    PodState pod;
    pod.name = text_of(meta, "name");
    pod.uid = text_of(meta, "uid");
    if (!is_name(pod.name) || !is_uid(pod.uid)) return malformed("a pod");
    pod.created = words(text_of(meta, "creationTimestamp"), kShortText);
    const json::object& labels = object_of(meta, "labels");
    pod.job_name = text_of(labels, "batch.kubernetes.io/job-name");
    if (pod.job_name.empty()) pod.job_name = text_of(labels, "job-name");  // of clusters before 1.27
    if (!pod.job_name.empty() && !is_name(pod.job_name)) return malformed("a pod");
    pod.job_uid = text_of(labels, "batch.kubernetes.io/controller-uid");
    if (pod.job_uid.empty()) pod.job_uid = text_of(labels, "controller-uid");
    pod.node = words(text_of(object_of(object, "spec"), "nodeName"), kShortText);
    pod.deleting = meta.contains("deletionTimestamp");
    pod.failed = text_of(status, "phase") == "Failed";
    pod.reason = words(text_of(status, "reason"), kShortText);
    pod.message = words(text_of(status, "message"));
    if (const json::object* disrupted = condition(status, "DisruptionTarget");
        disrupted != nullptr && pod.reason.empty()) {
        pod.reason = words(text_of(*disrupted, "reason"), kShortText);
        pod.message = words(text_of(*disrupted, "message"));
    }
    if (const json::object* waits = condition(status, "PodScheduled", "False"); waits != nullptr)
        pod.unscheduled =
            words(text_of(*waits, "message").empty() ? text_of(*waits, "reason") : text_of(*waits, "message"));
    for (const json::value& entry : array_of(status, "containerStatuses")) {
        const auto* container = entry.if_object();
        if (container != nullptr && text_of(*container, "name") == kContainer) read_container(*container, pod);
    }
    return pod;
}

Result<JobState> parse_job(std::string_view body) {
    WA_TRY(const json::object object, read(body, kMaxAnswer, "a Job"));
    return read_job(object);
}

Result<Page> parse_page(std::string_view body) {
    WA_TRY(json::object object, read(body, kMaxPage, "a list"));
    Page page;
    const json::object& meta = object_of(object, "metadata");
    page.version = text_of(meta, "resourceVersion");
    page.next = text_of(meta, "continue");
    auto* items = object.if_contains("items");
    if (items == nullptr || (!items->is_array() && !items->is_null())) return malformed("a list");
    if (items->is_null()) return page;
    if (items->get_array().size() > kMaxItems)
        return fail(ErrorCode::kLimitExceeded, "k8s", "the API server lists more than 10,000 objects on a page");
    for (json::value& item : items->get_array()) {
        if (!item.is_object()) return malformed("a list");
        page.items.push_back(std::move(item.get_object()));
    }
    return page;
}

Result<std::string> parse_version(std::string_view body) {
    WA_TRY(const json::object object, read(body, kMaxAnswer, "its version"));
    std::string version = words(text_of(object, "gitVersion"), kShortText);
    if (version.empty()) return malformed("its version");
    return version;
}

Result<bool> parse_review(std::string_view body) {
    WA_TRY(const json::object object, read(body, kMaxAnswer, "what this account may do"));
    const auto* allowed = object_of(object, "status").if_contains("allowed");
    if (allowed == nullptr || !allowed->is_bool()) return malformed("what this account may do");
    return allowed->get_bool();
}

Result<std::vector<std::string>> parse_events(std::string_view body) {
    WA_TRY(const Page page, parse_page(body));
    std::vector<std::pair<std::string, std::string>> found;
    for (const json::object& event : page.items) {
        if (found.size() == kMaxEvents) break;
        std::string message = words(text_of(event, "reason"), kShortText);
        message += (message.empty() ? "" : ": ") + words(text_of(event, "message"));
        const std::string_view last = text_of(event, "lastTimestamp");
        found.emplace_back(last.empty() ? text_of(event, "eventTime") : last, std::move(message));
    }
    std::ranges::sort(found);
    std::vector<std::string> messages;
    for (auto& [when, message] : found)
        messages.push_back(std::move(message));
    return messages;
}

Refusal parse_refusal(std::string_view body) {
    Refusal refusal;
    if (const auto object = read(body.substr(0, kMaxAnswer), kMaxAnswer, "a refusal")) {
        refusal.reason = words(text_of(*object, "reason"), kShortText);
        refusal.message = words(text_of(*object, "message"));
    } else {
        refusal.message = words(lossy_utf8(body.substr(0, kShown), kShortText));
    }
    if (refusal.message.empty()) refusal.message = refusal.reason.empty() ? "no reason given" : refusal.reason;
    return refusal;
}

Result<WatchEvent> parse_watch_event(std::string_view line) {
    WA_TRY(json::object object, read(line, kMaxAnswer, "a change"));
    WatchEvent event;
    const std::string_view type = text_of(object, "type");
    if (type == "ADDED")
        event.type = WatchEvent::Type::kAdded;
    else if (type == "MODIFIED")
        event.type = WatchEvent::Type::kModified;
    else if (type == "DELETED")
        event.type = WatchEvent::Type::kDeleted;
    else if (type == "BOOKMARK")
        event.type = WatchEvent::Type::kBookmark;
    else if (type != "ERROR")
        return malformed("a change");
    auto* inner = object.if_contains("object");
    if (inner == nullptr || !inner->is_object()) return malformed("a change");
    event.object = std::move(inner->get_object());
    event.version = text_of(object_of(event.object, "metadata"), "resourceVersion");
    event.code = static_cast<int>(std::clamp<std::int64_t>(number_of(event.object, "code").value_or(0), 0, 999));
    return event;
}

Result<void> LineSplitter::feed(std::string_view bytes, const std::function<Result<void>(std::string_view)>& take) {
    if (broken_) return fail(ErrorCode::kLimitExceeded, "k8s", "what the API server sends is not read any more");
    while (!bytes.empty()) {
        const std::size_t end = bytes.find('\n');
        const std::string_view part = bytes.substr(0, end);
        if (held_.size() + part.size() > max_line_) {
            broken_ = true;
            return fail(ErrorCode::kLimitExceeded, "k8s", "the API server sends a line that is too long");
        }
        held_ += part;
        if (end == std::string_view::npos) return {};
        bytes.remove_prefix(end + 1);
        const std::string line = std::exchange(held_, {});
        if (line.empty()) continue;
        if (auto taken = take(line); !taken) {
            broken_ = true;
            return taken;
        }
    }
    return {};
}

}  // namespace wa::kubernetes
