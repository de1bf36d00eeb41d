// What a Kubernetes API server answers, read as what it is: text from outside. Unknown members are ignored, names that
// cannot be part of a path are refused, texts are clipped. Pure. The real shapes: contract/executors.md 6.3.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"

namespace wa::kubernetes {

struct JobState {
    std::string name;
    std::string uid;
    std::string created;  // as text: "2026-01-31T09:05:00Z"; later ones compare greater
    StringMap labels;
    StringMap annotations;
    bool complete = false;
    bool failed = false;
    bool failing = false;  // it is about to be `failed`: that waits until its pods are gone
    bool suspended = false;
    bool deleting = false;
    std::string reason;   // of its failure: "BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"
    std::string message;  // of its failure

    [[nodiscard]] bool finished() const { return complete || failed; }
};

enum class ContainerPhase : std::uint8_t {
    kUnknown,  // the node has not said anything yet
    kWaiting,
    kRunning,
    kTerminated,
};

struct PodState {
    std::string name;
    std::string uid;
    std::string created;
    std::string job_name;
    std::string job_uid;  // empty: it does not say
    std::string node;
    bool failed = false;  // its phase: also of those whose container never ran
    bool deleting = false;
    std::string reason;  // of the pod itself: "Evicted", "NodeLost", …; or that of a DisruptionTarget condition
    std::string message;
    std::string unscheduled;  // why no node takes it; empty = one has, or nobody has looked yet
    ContainerPhase container = ContainerPhase::kUnknown;
    std::string waiting_reason;
    std::string waiting_message;
    int exit_code = 0;
    std::string end_reason;  // "Completed", "Error", "OOMKilled", "StartError", …
    std::string end_message;
    bool began = false;      // its process was started
    std::string started_at;  // of the process, while it runs; as text
    std::string image_id;

    [[nodiscard]] bool terminated() const { return container == ContainerPhase::kTerminated; }
    [[nodiscard]] bool out_of_memory() const { return terminated() && end_reason == "OOMKilled"; }
};

// Errors: kMalformed.
[[nodiscard]] Result<JobState> read_job(const boost::json::object& object);
[[nodiscard]] Result<PodState> read_pod(const boost::json::object& object);
[[nodiscard]] Result<JobState> parse_job(std::string_view body);

struct Page {
    std::vector<boost::json::object> items;
    std::string version;  // where a watch goes on
    std::string next;     // token of the next page; empty = this is the last one
};
[[nodiscard]] Result<Page> parse_page(std::string_view body);
// "v1.35.4"
[[nodiscard]] Result<std::string> parse_version(std::string_view body);
// Of a SelfSubjectAccessReview.
[[nodiscard]] Result<bool> parse_review(std::string_view body);
// The messages of a list of events, the last one last.
[[nodiscard]] Result<std::vector<std::string>> parse_events(std::string_view body);

// A Status object, or whatever a proxy in between says.
struct Refusal {
    std::string reason;   // "AlreadyExists", "Forbidden", …; may be empty
    std::string message;  // never empty
};
[[nodiscard]] Refusal parse_refusal(std::string_view body);

// One line of a watch.
struct WatchEvent {
    enum class Type : std::uint8_t { kAdded, kModified, kDeleted, kBookmark, kError };
    Type type = Type::kError;
    boost::json::object object;
    std::string version;  // of the object
    int code = 0;         // of an error: 410
};
[[nodiscard]] Result<WatchEvent> parse_watch_event(std::string_view line);

// A stream of lines, cut anywhere.
class LineSplitter {
public:
    explicit LineSplitter(std::size_t max_line) : max_line_(max_line) {}
    // kLimitExceeded: a line is too long; nothing is taken any more. An error of `take` ends it, too. It fails from
    // then on.
    [[nodiscard]] Result<void> feed(std::string_view bytes, const std::function<Result<void>(std::string_view)>& take);

private:
    std::size_t max_line_;
    std::string held_;
    bool broken_ = false;
};

}  // namespace wa::kubernetes
