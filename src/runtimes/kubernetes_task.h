// What an EXECUTE ticket asks the Kubernetes runtime to do: its parameters, checked, and the Job that is made of them
// (contract/executors.md 6.1 and 6.3). Pure.
//
// A ticket chooses its image, command, variables, amounts, user and service account within what the operator allows.
// Volumes, host access and privileges are never taken from a ticket.
#pragma once

#include <boost/json/array.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "runtimes/image_name.h"
#include "runtimes/task_command.h"

namespace wa::kubernetes {

inline constexpr std::string_view kContainer = "executor";  // the one container of a pod

struct JobRules {
    std::vector<std::string> allowed_images{"*"};  // EXECUTE_ALLOWED_IMAGES
    std::string default_image = "python:3.11-slim";
    std::uint64_t cpu_request_millis = 100;        // K8S_JOBS_DEFAULT_CPU_REQUEST
    std::uint64_t cpu_limit_millis = 1000;         // K8S_JOBS_DEFAULT_CPU_LIMIT
    std::uint64_t memory_request = 128ULL << 20U;  // K8S_JOBS_DEFAULT_MEMORY_REQUEST, bytes
    std::uint64_t memory_limit = 512ULL << 20U;    // K8S_JOBS_DEFAULT_MEMORY_LIMIT, bytes
    std::uint64_t tmp_bytes = 64ULL << 20U;        // K8S_JOBS_TMP_SIZE
    std::uint64_t ephemeral_bytes = 1ULL << 30U;   // K8S_JOBS_EPHEMERAL_STORAGE
    std::string service_account;                   // K8S_JOBS_SERVICE_ACCOUNT; empty = the namespace's default
    std::vector<std::string> allowed_accounts;     // K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS; empty = the configured one
    bool automount_token = false;                  // K8S_JOBS_AUTOMOUNT_TOKEN; a ticket that names its account has it
    std::string user = "1000:1000";                // K8S_JOBS_USER
    bool read_only = true;                         // K8S_JOBS_READONLY_ROOTFS
    std::string pull_policy = "IfNotPresent";      // K8S_JOBS_IMAGE_PULL_POLICY
    std::vector<std::string> pull_secrets;         // K8S_JOBS_IMAGE_PULL_SECRETS
    StringMap node_selector;                       // K8S_JOBS_NODE_SELECTOR
    boost::json::array tolerations;                // K8S_JOBS_TOLERATIONS
    std::string runtime_class;                     // K8S_JOBS_RUNTIME_CLASS
    int backoff_limit = 0;                         // K8S_JOBS_BACKOFF_LIMIT
    std::chrono::seconds ttl = std::chrono::hours(24);      // K8S_JOBS_TTL_SECONDS
    std::chrono::seconds grace = std::chrono::seconds(10);  // from SIGTERM to SIGKILL
    std::size_t max_output_bytes = 256 * 1024;
};

struct JobTask {
    std::vector<std::string> words;
    ImageName image;
    StringMap variables;
    std::string working_dir;  // empty = the image's own
    std::string user;         // "uid[:gid]"
    std::string service_account;
    bool mounts_token = false;
    std::uint64_t cpu_request_millis = 0;
    std::uint64_t cpu_limit_millis = 0;
    std::uint64_t memory_request = 0;
    std::uint64_t memory_limit = 0;
    std::string pull_policy;
    std::optional<std::chrono::milliseconds> timeout;
    RetryCodes retry;
    std::size_t max_output_bytes = 0;
    std::vector<std::string> secrets;  // values that must not be shown
    std::string shown;                 // the command as one line, secrets masked
};

// Permanent errors only.
[[nodiscard]] Result<JobTask> parse_task(const Ticket& ticket, const JobRules& rules);

struct JobMarks {
    std::string name;
    StringMap labels;                 // values that labels may have
    StringMap annotations;            // any text
    std::chrono::seconds deadline{};  // activeDeadlineSeconds: the cluster's own guard; 0 = none
};

// The body of POST /apis/batch/v1/namespaces/{namespace}/jobs.
[[nodiscard]] std::string job_body(const JobTask& task, const JobRules& rules, const JobMarks& marks);

// A text as the value of a label: itself where that is allowed (63 of [A-Za-z0-9._-], no sign at its ends), else a hash
// of it.
[[nodiscard]] std::string label_value(std::string_view text);

}  // namespace wa::kubernetes
