// The layers that can stand between a local task and the machine, the levels they add up to, and their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

// A set of layers; the bits of spawn-helper/protocol.h.
using Layers = std::uint32_t;

// In ascending order: each level holds what the ones before it hold.
//   process-group  own session and process group, killed as a whole with all descendants; no new privileges; clean
//                  environment and descriptors; resource limits
//   filtered       + no capabilities, and a system call filter
//   namespaces     + user, process, mount, IPC, UTS and cgroup namespaces: a root of its own, with a read-only system
//                  and a private workspace of bounded size
//   full           + Landlock, and cgroup limits of memory and processes
// Network and user id are named beside the level: they depend on the ticket and on who the worker is.
enum class IsolationLevel : std::uint8_t { kNone, kProcessGroup, kFiltered, kNamespaces, kFull };

[[nodiscard]] std::string_view to_string(IsolationLevel level);
[[nodiscard]] std::optional<IsolationLevel> parse_isolation_level(std::string_view word);
// What these layers, around a task that a working helper started, add up to.
[[nodiscard]] IsolationLevel level_of(Layers layers);
// What a level needs.
[[nodiscard]] Layers layers_of(IsolationLevel level);

// Every layer that a task without network gets, when it can be had.
[[nodiscard]] Layers all_layers();
// "user-namespace", "seccomp", …, in a fixed order.
[[nodiscard]] std::vector<std::string> layer_names(Layers layers);

}  // namespace wa
