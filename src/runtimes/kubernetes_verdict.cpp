#include "runtimes/kubernetes_verdict.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtimes/stop_error.h"

namespace wa::kubernetes {
namespace {

constexpr std::string_view kOrigin = "k8s";

Error make(ErrorCode code, Retry retry, Fault fault, std::string message) {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

Error interrupted(std::string message) {
    return make(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kService, std::move(message));
}

// Of a pod that has ended: whether the cluster, or somebody in it, made it end. A process that catches SIGTERM may well
// leave with 0.
bool is_ended_by_others(const PodState& pod) {
    return (pod.deleting || !pod.reason.empty()) && (pod.exit_code != 0 || pod.failed);
}

// Time that was over before anything ran is mostly not the task's fault: then what it waited for is said.
Error with_cause(Error error, const JobEnd& end) {
    const bool of_time = error.code == ErrorCode::kTimeout || error.code == ErrorCode::kDeadlineExceeded;
    if (of_time && !end.ran && !end.waited_for.empty()) error.message += "; it had not started: " + end.waited_for;
    return error;
}

Error verdict_of_stopped(const JobEnd& end) {
    if (end.over_time && !end.stopped) {
        return with_cause(make(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                               "timed out after " + seconds_text(end.limit) + " s"),
                          end);
    }
    if (end.stopped) return with_cause(stop_error(*end.stopped, std::string(kOrigin)), end);
    if (!end.ran) return *end.hopeless;
    return interrupted("it was given up just as it started: " + end.hopeless->message);
}

Error verdict_of_exit(const JobEnd& end, std::string_view last_line) {
    if (end.pod->out_of_memory()) {
        return make(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kLimit,
                    "killed because memory ran out: it used all of its " + std::to_string(end.memory_limit >> 20U) +
                        " MiB (exit code " + std::to_string(end.pod->exit_code) + ")");
    }
    std::string message = exit_text(end.pod->exit_code);
    if (!last_line.empty()) message += ": " + std::string(last_line);
    if (!end.pod->end_message.empty()) message += "; the cluster says: " + end.pod->end_message;
    const Retry retry = end.retry.includes(end.pod->exit_code) ? Retry::kAfterBackoff : Retry::kNever;
    return make(ErrorCode::kExecutionFailed, retry, Fault::kTask, std::move(message));
}

// Its end is not that of its process: somebody ended it, or nobody knows how it went.
Error verdict_without_exit(const JobEnd& end) {
    const JobState& job = end.job;
    const PodState* pod = end.pod;
    if (job.failing && job.reason == "DeadlineExceeded") {
        return make(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                    "the cluster ended it: " + joined(job.reason, job.message));
    }
    if (pod != nullptr && pod->reason == "Evicted" && pod->message.find("exceeds") != std::string::npos) {
        return make(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kLimit,
                    "it used more than it may: " + joined(pod->reason, pod->message));
    }
    if (pod != nullptr && !pod->reason.empty())
        return interrupted("its pod was ended: " + joined(pod->reason, pod->message));
    if (end.job_gone) return interrupted(end.shown + " was removed by somebody else before it was seen to end");
    if (job.suspended) return interrupted(end.shown + " was suspended by somebody else");
    if (pod == nullptr || end.pod_gone || pod->deleting) {
        return interrupted("the pod of " + end.shown + " was removed by somebody else before it was seen to end (" +
                           joined(job.reason, job.message) + ")");
    }
    return interrupted("how its process ended is not known: " + (pod->end_reason.empty()
                                                                     ? joined(job.reason, job.message)
                                                                     : joined(pod->end_reason, pod->end_message)));
}

}  // namespace

std::string joined(std::string_view reason, std::string_view message) {
    if (reason.empty()) return std::string(message);
    return std::string(reason) + (message.empty() ? "" : ": " + std::string(message));
}

bool is_stuck(std::string_view waiting_reason) {
    static constexpr std::array kStuck{
        "ErrImagePull",         "ImagePullBackOff",    "InvalidImageName",          "ErrImageNeverPull",
        "ImageInspectError",    "RegistryUnavailable", "SignatureValidationFailed", "CreateContainerConfigError",
        "CreateContainerError", "RunContainerError",   "CreatePodSandboxError"};
    return std::ranges::find(kStuck, waiting_reason) != kStuck.end();
}

bool is_hopeless(std::string_view waiting_reason) {
    return waiting_reason == "InvalidImageName" || waiting_reason == "ErrImageNeverPull";
}

bool is_passing(std::string_view waiting_reason) {
    return !is_hopeless(waiting_reason) && waiting_reason != "CreateContainerConfigError";
}

std::optional<int> own_exit_code(const JobEnd& end) {
    const PodState* pod = end.pod;
    if (pod == nullptr || !pod->terminated() || !pod->began || pod->exit_code < 0) return std::nullopt;
    if ((end.stopping() && pod->deleting) || is_ended_by_others(*pod)) return std::nullopt;
    return pod->exit_code;
}

std::optional<Error> verdict(const JobEnd& end, std::string_view last_line) {
    const std::optional<int> code = own_exit_code(end);
    if (code == 0) return std::nullopt;
    if (code) return verdict_of_exit(end, last_line);
    if (end.stopping()) return verdict_of_stopped(end);
    if (end.job.complete) return std::nullopt;
    return verdict_without_exit(end);
}

}  // namespace wa::kubernetes
