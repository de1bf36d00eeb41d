// The layers that can stand between a local task and the machine, the levels they add up to, and their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

// A set of layers. What each one is: spawn-helper/protocol.h, which has the same bits.
using Layers = std::uint32_t;
namespace layer {
inline constexpr Layers kUser = 1U << 0U;
inline constexpr Layers kPid = 1U << 1U;
inline constexpr Layers kMount = 1U << 2U;
inline constexpr Layers kIpc = 1U << 3U;
inline constexpr Layers kUts = 1U << 4U;
inline constexpr Layers kCgroupNs = 1U << 5U;
inline constexpr Layers kNetwork = 1U << 6U;
inline constexpr Layers kOwnUid = 1U << 7U;
inline constexpr Layers kCapabilities = 1U << 8U;
inline constexpr Layers kSeccomp = 1U << 9U;
inline constexpr Layers kLandlock = 1U << 10U;
inline constexpr Layers kMemory = 1U << 11U;
inline constexpr Layers kProcesses = 1U << 12U;
inline constexpr Layers kCpu = 1U << 13U;
inline constexpr Layers kNoSockets = 1U << 14U;
inline constexpr Layers kNamespaces = kUser | kPid | kMount | kIpc | kUts | kCgroupNs;  // all of them or none
inline constexpr Layers kCgroup = kMemory | kProcesses | kCpu;
}  // namespace layer

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
