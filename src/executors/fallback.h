// When an attempt may go on with another runtime, and with which (contract/executors.md 1.6 and 6.2). Pure; the only
// place where this is decided.
//
// By default only a back-end that is not there, and before anything was started, leads on; whatever the work itself did
// is reported as it is. RUNTIME_FALLBACK_ON=any_error is the old, literal reading: every error but a cancel and an exit
// code leads on, in the end to a (labelled) simulated success.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ticket/ticket.h"
#include "ports/runtime.h"

namespace wa {

enum class FallbackOn : std::uint8_t { kUnavailable, kAnyError };
// "unavailable", "any_error"
[[nodiscard]] std::optional<FallbackOn> parse_fallback_on(std::string_view text);

enum class FallbackStep : std::uint8_t { kReport, kTryNext };

// What to do with a report of one runtime. `stop_requested`: the engine has told the attempt to stop.
[[nodiscard]] FallbackStep decide_fallback(FallbackOn mode, const RuntimeReport& report, bool stop_requested);

// Why the attempt left a runtime: a stable word for the counter (contract/metrics.md: disabled, unavailable, timeout,
// error).
[[nodiscard]] std::string_view fallback_reason(const RuntimeReport& report);

inline constexpr std::string_view kLocalRuntime = "local";
inline constexpr std::string_view kSimulationRuntime = "simulation";
inline constexpr std::string_view kCodeForgeRuntime = "code_forge";

struct RuntimePreferences {
    std::string default_runtime = "local";                                   // DEFAULT_RUNTIME
    std::vector<std::string> chain{"k8s", "docker", "local", "simulation"};  // RUNTIME_FALLBACK_CHAIN
};

// The order in which runtimes are considered, without repeats; simulation is always last and always there. First those
// to select from: the one asked for (if any), the default, the chain.
[[nodiscard]] std::vector<std::string> selection_order(const RuntimePreferences& preferences,
                                                       std::string_view requested);
// And those that follow once `failed` was really tried: the part of the chain after it, or all of it.
[[nodiscard]] std::vector<std::string> order_after(const RuntimePreferences& preferences, std::string_view failed);

// Whether work that asked for an isolated runtime may run on this machine instead. The ticket may say so itself
// (allow_local_fallback); if it does not, confidential and restricted work may not.
[[nodiscard]] bool may_fall_to_local(std::string_view requested, SecurityLevel level,
                                     std::optional<bool> allowed_by_ticket);

}  // namespace wa
