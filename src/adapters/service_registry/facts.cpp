#include "adapters/service_registry/facts.h"

#include <algorithm>

namespace wa {
namespace {

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
}

void add_once(std::vector<std::string>& list, std::string word) {
    if (!word.empty() && std::ranges::find(list, word) == list.end()) list.push_back(std::move(word));
}

// The runtime that a capability is about; empty = none.
std::string_view runtime_of(std::string_view capability) {
    constexpr std::string_view kPrefix = "runtime:";
    if (capability.starts_with(kPrefix)) return capability.substr(kPrefix.size());
    if (capability == "kubernetes" || capability == "k8s") return "k8s";
    if (capability == "docker" || capability == "lambda" || capability == "code_forge") return capability;
    return {};
}

bool is_offered(const WorkerIdentity& identity, const std::string& capability) {
    const std::string word = lower(capability);
    const std::string_view runtime = runtime_of(word);
    return runtime.empty() || std::ranges::find(identity.runtimes, runtime) != identity.runtimes.end();
}

}  // namespace

RegistrationFacts registration_facts(const WorkerIdentity& identity) {
    RegistrationFacts facts;
    std::string types;
    for (const std::string& capability : identity.capabilities)
        if (is_offered(identity, capability)) add_once(facts.capabilities, capability);
    for (const TaskType type : identity.task_types) {
        add_once(facts.capabilities, lower(to_string(type)));
        types += (types.empty() ? "" : ",") + std::string(to_string(type));
    }
    std::string runtimes;
    for (const std::string& runtime : identity.runtimes) {
        add_once(facts.capabilities, "runtime:" + runtime);
        runtimes += (runtimes.empty() ? "" : ",") + runtime;
    }
    const bool by_pod = !identity.pod_namespace.empty() && identity.pod_namespace != "default";
    facts.name_space = by_pod ? identity.pod_namespace : identity.name_space;
    facts.cluster = identity.cluster;
    facts.version = identity.version;
    const auto put = [&](const char* key, const std::string& value) {
        if (!value.empty()) facts.metadata.emplace(key, value);
    };
    put("agent_id", identity.agent_id);
    put("endpoint", identity.endpoint);
    put("http_port", std::to_string(identity.http_port));
    put("grpc_port", std::to_string(identity.grpc_port));
    put("max_concurrent_tasks", std::to_string(identity.max_concurrent_tasks));
    put("task_types", types);
    put("runtimes", runtimes);
    put("environment", identity.environment);
    put("pod_name", identity.pod_name);
    put("node_name", identity.node_name);
    put("security_level", identity.security_level);
    return facts;
}

}  // namespace wa
