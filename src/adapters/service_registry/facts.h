// What a worker says about itself when it registers (contract/services.md 1.4).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/ticket/ticket.h"
#include "ports/registry.h"

namespace wa {

struct WorkerIdentity {
    std::string agent_id;  // our own; the registry gives another one
    std::string endpoint;  // "http://host:8080": where others reach the API; empty = not told
    int http_port = 0;
    int grpc_port = 0;  // GRPC_PORT; nothing listens there
    std::size_t max_concurrent_tasks = 0;
    std::vector<std::string> capabilities;  // CAPABILITIES
    std::vector<TaskType> task_types;       // that are served
    std::vector<std::string> runtimes;      // of EXECUTE, that can be reached now
    std::string name_space;                 // NAMESPACE
    std::string pod_namespace;              // POD_NAMESPACE; wins unless empty or "default"
    std::string cluster;
    std::string version;
    std::string environment;
    std::string pod_name;
    std::string node_name;
    std::string security_level;  // the registry's filter; empty = not told
};

// Capabilities are those of the settings, the task types in lower case and "runtime:<name>" for each runtime, each
// once. One of the settings that names a back-end ("docker", "kubernetes", "lambda", "code_forge") is left out while
// that cannot be reached: nobody shall send work for it here. metadata.runtimes has the names. Empty values are left
// out of the metadata.
[[nodiscard]] RegistrationFacts registration_facts(const WorkerIdentity& identity);

}  // namespace wa
