// How an attempt that ran as a Job ended, told from what the cluster says of it and from what we did to it. Pure: no
// call is made here. The shapes and their meaning: contract/executors.md 6.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "ports/executor.h"
#include "runtimes/kubernetes_answers.h"
#include "runtimes/task_command.h"

namespace wa::kubernetes {

// A reason and its message as one text; either may be empty.
[[nodiscard]] std::string joined(std::string_view reason, std::string_view message);

// Why a container that waits does so, by the cluster's word for it ("ErrImagePull", …).
// It waits for somebody to change something.
[[nodiscard]] bool is_stuck(std::string_view waiting_reason);
// No time will help.
[[nodiscard]] bool is_hopeless(std::string_view waiting_reason);
// Another attempt may find it repaired: a registry may come back, a configuration does not.
[[nodiscard]] bool is_passing(std::string_view waiting_reason);

// An attempt whose Job has ended, or is gone. What it refers to must outlive it.
struct JobEnd {
    const JobState& job;
    const PodState* pod = nullptr;  // the newest one; null = none was ever seen
    std::string shown;              // the Job, for people
    bool job_gone = false;
    bool pod_gone = false;
    bool ran = false;          // its process was seen to run, or to have run
    std::string waited_for{};  // what it waited for, when it did not
    // What we did. At least one of the first three is set when it was stopped by us.
    std::optional<StopReason> stopped;
    bool over_time = false;         // of its own limit
    std::optional<Error> hopeless;  // given up before it started, and why
    Duration limit{};
    std::uint64_t memory_limit = 0;  // bytes
    const RetryCodes& retry;         // exit codes that another attempt may help

    [[nodiscard]] bool stopping() const { return stopped.has_value() || over_time || hopeless.has_value(); }
};

// The exit code of the task's own process; nothing where somebody ended it, or nobody knows.
[[nodiscard]] std::optional<int> own_exit_code(const JobEnd& end);

// Nothing: it did what it should. `last_line` is of its output, masked, for the message.
[[nodiscard]] std::optional<Error> verdict(const JobEnd& end, std::string_view last_line);

}  // namespace wa::kubernetes
