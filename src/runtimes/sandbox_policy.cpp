#include "runtimes/sandbox_policy.h"

#include <stdlib.h>

#include <algorithm>
#include <climits>

#include "core/codec/parameters.h"
#include "core/codec/quantity.h"

namespace wa {
namespace {

constexpr std::uint64_t kLeastMemory = 8U << 20U;
constexpr std::int64_t kMostProcesses = 1'000'000;

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ", ") + word;
    return text;
}

// The layers that a level needs and that are not there, with the kernel's reasons.
std::string what_is_missing(IsolationLevel level, const HelperStatus& helper) {
    std::string text = joined(layer_names(layers_of(level) & ~helper.layers));
    if (!helper.missing.empty()) text += "; this machine lacks " + joined(helper.missing);
    return text;
}

std::uint64_t smaller(std::uint64_t limit, const std::optional<std::uint64_t>& wish) {
    if (!wish) return limit;
    return limit == 0 ? *wish : std::min(limit, *wish);
}

// What a link stands for is hidden with it. Looked up for each task: such links are moved to new versions of a file.
std::vector<std::string> with_targets(std::vector<std::string> paths) {
    const std::size_t named = paths.size();
    for (std::size_t index = 0; index < named; ++index) {
        char real[PATH_MAX];
        if (::realpath(paths[index].c_str(), real) != nullptr && paths[index] != real) paths.emplace_back(real);
    }
    return paths;
}

bool lies_below(std::string_view path, std::string_view folder) {
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// Names are looked up through a file that is often a link out of /etc.
void show_resolver(std::vector<std::string>& read_only) {
    char real[PATH_MAX];
    if (::realpath("/etc/resolv.conf", real) == nullptr) return;
    const std::string path = real;
    const bool shown = std::any_of(read_only.begin(), read_only.end(),
                                   [&](const std::string& folder) { return lies_below(path, folder); });
    if (!shown) read_only.push_back(path);
}

}  // namespace

std::optional<NetworkPolicy> parse_network_policy(std::string_view word) {
    if (word == "deny") return NetworkPolicy::kDeny;
    if (word == "ask") return NetworkPolicy::kAsk;
    if (word == "allow") return NetworkPolicy::kAllow;
    return std::nullopt;
}

Result<SandboxWish> read_sandbox_wish(const Ticket& ticket) {
    const Parameters parameters(ticket.parameters);
    SandboxWish wish;
    wish.security_level = ticket.security_level;
    WA_TRY(const auto mode, parameters.word("network_mode", {"none", "bridge", "host"}));
    WA_TRY(wish.network, parameters.boolean_or("network", mode && *mode != "none"));
    if (parameters.has("memory_limit")) {
        WA_TRY(const auto text, parameters.required_text("memory_limit"));
        wish.memory = parse_memory_quantity(text);
        if (!wish.memory)
            return parameters.refuse("memory_limit", "expected an amount of memory such as 512Mi, 512m or 1g");
        if (*wish.memory < kLeastMemory)
            return parameters.refuse("memory_limit", "with less than 8Mi nothing can be started");
    }
    if (parameters.has("cpu_limit")) {
        WA_TRY(const auto text, parameters.required_text("cpu_limit"));
        wish.cpu_millis = parse_cpu_quantity(text);
        if (!wish.cpu_millis) return parameters.refuse("cpu_limit", "expected processors such as 2, 0.5 or 500m");
    }
    WA_TRY(const auto processes, parameters.integer("process_limit", {1, kMostProcesses}));
    if (processes) wish.processes = static_cast<std::uint64_t>(*processes);
    return wish;
}

Layers SandboxPolicy::layers_to_try(bool enabled) {
    return enabled ? all_layers() | layer::kNoSockets : 0;
}

bool SandboxPolicy::has_own_root(Layers layers) {
    return (layers & layer::kMount) != 0;
}

// A ticket that calls itself confidential may not see more of the machine than it must; a restricted one gets every
// layer there is, or is not run.
IsolationLevel SandboxPolicy::demanded(const SandboxWish& wish) const {
    IsolationLevel level = options_.minimum;
    if (wish.security_level == SecurityLevel::kConfidential) level = std::max(level, IsolationLevel::kNamespaces);
    if (wish.security_level == SecurityLevel::kRestricted) level = std::max(level, IsolationLevel::kFull);
    return level;
}

Result<void> SandboxPolicy::check(const HelperStatus& helper) const {
    if (!options_.enabled) return {};
    if (!helper.probed) {
        return Failure(
            make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "local",
                       "what this machine offers as a sandbox is not known yet: the spawn helper is starting"));
    }
    if (level_of(helper.layers) >= options_.minimum) return {};
    Error error = make_error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker, "local",
                             "the sandbox cannot reach the level '" + std::string(to_string(options_.minimum)) +
                                 "': missing " + what_is_missing(options_.minimum, helper));
    error.fix = "allow the worker what is missing, or lower LOCAL_RUNTIME_MIN_ISOLATION";
    return Failure(std::move(error));
}

Result<void> SandboxPolicy::check(const SandboxWish& wish, const HelperStatus& helper) const {
    const auto refuse = [](std::string why, std::string field, std::string fix) {
        Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "local", std::move(why));
        error.field = std::move(field);
        error.fix = std::move(fix);
        return Failure(std::move(error));
    };
    if (wish.network && !allows_network(wish)) {
        return refuse("the ticket asks for the network, which local tasks of its security level may not have",
                      "parameters.network", "leave it out, or let the operator set LOCAL_RUNTIME_NETWORK");
    }
    const IsolationLevel level = demanded(wish);
    if (options_.enabled && !helper.probed) return {};  // check(helper) stands before every start
    const IsolationLevel reached = options_.enabled ? level_of(helper.layers) : IsolationLevel::kProcessGroup;
    const bool by_ticket = wish.security_level >= SecurityLevel::kConfidential;
    if (reached >= level || (!by_ticket && !options_.enabled)) return {};
    return refuse("a ticket with security_level " + std::string(to_string(wish.security_level)) +
                      " needs the isolation level '" + std::string(to_string(level)) + "', and this worker reaches '" +
                      std::string(to_string(reached)) + "'" +
                      (options_.enabled ? ": missing " + what_is_missing(level, helper)
                                        : std::string(" (LOCAL_RUNTIME_ENABLE_SANDBOX=false)")),
                  "security_level", "run it on a worker whose `doctor` shows that level");
}

bool SandboxPolicy::allows_network(const SandboxWish& wish) const {
    switch (options_.network) {
        case NetworkPolicy::kDeny: return false;
        case NetworkPolicy::kAllow: return true;
        case NetworkPolicy::kAsk: break;
    }
    return wish.network && wish.security_level != SecurityLevel::kRestricted;
}

SandboxRequest SandboxPolicy::decide(const SandboxWish& wish, const HelperStatus& helper) const {
    SandboxRequest request;
    if (!options_.enabled) return request;
    constexpr Layers kNeedNamespaces = layer::kNetwork | layer::kOwnUid;
    Layers layers = helper.layers & all_layers();
    if ((layers & layer::kNamespaces) != layer::kNamespaces) layers &= ~(layer::kNamespaces | kNeedNamespaces);
    const bool network = allows_network(wish);
    if (network) layers &= ~layer::kNetwork;
    // Without a network of its own, the filter keeps it from the machine's.
    if (!network && (layers & layer::kNetwork) == 0) layers |= helper.layers & layer::kNoSockets;
    request.layers = layers;
    request.read_only = options_.read_only;
    if (network) show_resolver(request.read_only);
    request.hidden = with_targets(options_.hidden);
    request.memory = smaller(options_.memory, wish.memory);
    request.processes = smaller(options_.processes, wish.processes);
    request.cpu_millis = smaller(options_.cpu_millis, wish.cpu_millis);
    request.workspace_bytes = options_.workspace;
    request.workspace_entries = options_.workspace_files;
    return request;
}

}  // namespace wa
