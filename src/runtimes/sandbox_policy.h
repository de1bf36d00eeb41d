// Which layers stand around a local task: what the operator demands, what the ticket demands and asks for, and what
// this machine has. One place decides, and says why when it cannot be met.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"
#include "process/spawner.h"

namespace wa {

// LOCAL_RUNTIME_NETWORK
enum class NetworkPolicy : std::uint8_t {
    kDeny,   // no local task has the network
    kAsk,    // tickets that ask for it (parameters.network) have it, except RESTRICTED ones
    kAllow,  // every task has it
};
[[nodiscard]] std::optional<NetworkPolicy> parse_network_policy(std::string_view word);

struct SandboxOptions {
    bool enabled = true;                                 // LOCAL_RUNTIME_ENABLE_SANDBOX
    IsolationLevel minimum = IsolationLevel::kFiltered;  // LOCAL_RUNTIME_MIN_ISOLATION
    NetworkPolicy network = NetworkPolicy::kAsk;
    // LOCAL_RUNTIME_READ_PATHS: what a task sees of this machine.
    std::vector<std::string> read_only{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt"};
    std::vector<std::string> hidden;          // LOCAL_RUNTIME_HIDDEN_PATHS, and the worker's own files
    std::uint64_t memory = 4ULL << 30U;       // LOCAL_RUNTIME_MEMORY_LIMIT, bytes; 0 = no limit, here and below
    std::uint64_t processes = 512;            // LOCAL_RUNTIME_MAX_PROCESSES
    std::uint64_t cpu_millis = 0;             // LOCAL_RUNTIME_CPU_LIMIT
    std::uint64_t workspace = 1ULL << 30U;    // LOCAL_RUNTIME_WORKSPACE_LIMIT, bytes
    std::uint64_t workspace_files = 200'000;  // LOCAL_RUNTIME_WORKSPACE_FILES
};

// What a ticket asks for.
struct SandboxWish {
    SecurityLevel security_level = SecurityLevel::kInternal;
    bool network = false;
    std::optional<std::uint64_t> memory;  // below the operator's limit
    std::optional<std::uint64_t> processes;
    std::optional<std::uint64_t> cpu_millis;
};

// parameters.network, network_mode, memory_limit, cpu_limit, process_limit. Permanent errors.
[[nodiscard]] Result<SandboxWish> read_sandbox_wish(const Ticket& ticket);

class SandboxPolicy {
public:
    explicit SandboxPolicy(SandboxOptions options) : options_(std::move(options)) {}

    // What the spawner must try out.
    [[nodiscard]] static Layers layers_to_try(bool enabled);
    // Whether the operator's demands can be met at all; fails closed.
    [[nodiscard]] Result<void> check(const HelperStatus& helper) const;
    // Whether this ticket's can. Permanent errors (kNotAllowed): another machine may do what this one cannot.
    [[nodiscard]] Result<void> check(const SandboxWish& wish, const HelperStatus& helper) const;
    // For a wish that was checked. Paths of the attempt itself are added by the caller.
    [[nodiscard]] SandboxRequest decide(const SandboxWish& wish, const HelperStatus& helper) const;
    [[nodiscard]] bool allows_network(const SandboxWish& wish) const;
    [[nodiscard]] const SandboxOptions& options() const { return options_; }

    // A root of its own and a private workspace; without it the attempt needs folders on disk.
    [[nodiscard]] static bool has_own_root(Layers layers);
    static constexpr const char* kHome = "/task/home";
    static constexpr const char* kTemporary = "/tmp";
    static constexpr const char* kSecrets = "/run/secrets";

private:
    [[nodiscard]] IsolationLevel demanded(const SandboxWish& wish) const;

    SandboxOptions options_;
};

}  // namespace wa
