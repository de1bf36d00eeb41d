// What an EXECUTE ticket asks the Docker runtime to do: its parameters, checked, and the container that is made of them
// (contract/executors.md 6.1 and 6.4). Pure.
//
// A ticket chooses its image, command, variables, limits, user and network within what the operator allows. Mounts,
// devices, privileges and capabilities are never taken from a ticket; one that asks for them is refused, as it would
// not do what it was written for.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "runtimes/image_name.h"
#include "runtimes/task_command.h"

namespace wa::docker {

enum class PullPolicy : std::uint8_t { kMissing, kAlways, kNever };
[[nodiscard]] std::optional<PullPolicy> parse_pull_policy(std::string_view text);  // "missing", "always", "never"

struct TaskRules {
    std::vector<std::string> allowed_images{"*"};  // EXECUTE_ALLOWED_IMAGES: patterns for the name as it is given
    std::string default_image = "python:3.11-slim";
    std::uint64_t cpu_millis = 1000;            // DOCKER_DEFAULT_CPU_LIMIT
    std::uint64_t memory = 512ULL << 20U;       // DOCKER_DEFAULT_MEMORY_LIMIT, bytes
    std::uint64_t processes = 256;              // DOCKER_PIDS_LIMIT
    std::uint64_t tmp_bytes = 64ULL << 20U;     // DOCKER_TMPFS_SIZE
    std::string network = "bridge";             // DOCKER_NETWORK_MODE
    bool allow_host_network = false;            // DOCKER_ALLOW_HOST_NETWORK
    std::string user = "1000:1000";             // DOCKER_USER
    bool allow_root = false;                    // DOCKER_ALLOW_ROOT
    bool read_only = true;                      // DOCKER_READONLY_ROOTFS
    PullPolicy pull = PullPolicy::kMissing;     // DOCKER_PULL_POLICY
    std::size_t max_output_bytes = 256 * 1024;  // of stdout and stderr together in the result
};

struct Task {
    std::vector<std::string> words;  // Cmd of the container
    ImageName image;
    StringMap variables;
    std::string working_dir;  // empty = the image's own
    std::string user;         // "uid[:gid]"
    std::string network;
    std::uint64_t cpu_millis = 0;
    std::uint64_t memory = 0;
    PullPolicy pull = PullPolicy::kMissing;
    std::optional<std::chrono::milliseconds> timeout;
    RetryCodes retry;
    std::size_t max_output_bytes = 0;
    std::vector<std::string> secrets;  // values that must not be shown
    std::string shown;                 // the command as one line, secrets masked
};

// Permanent errors only.
[[nodiscard]] Result<Task> parse_task(const Ticket& ticket, const TaskRules& rules);

// The body of POST /containers/create.
[[nodiscard]] std::string create_body(const Task& task, const TaskRules& rules, const StringMap& labels);

}  // namespace wa::docker
