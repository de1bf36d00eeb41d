#include "executors/fallback.h"

#include <algorithm>

namespace wa {
namespace {

void add_once(std::vector<std::string>& names, std::string_view name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
}

void put_simulation_last(std::vector<std::string>& names) {
    std::erase(names, kSimulationRuntime);
    names.emplace_back(kSimulationRuntime);
}

}  // namespace

std::optional<FallbackOn> parse_fallback_on(std::string_view text) {
    if (text == "unavailable") return FallbackOn::kUnavailable;
    if (text == "any_error") return FallbackOn::kAnyError;
    return std::nullopt;
}

FallbackStep decide_fallback(FallbackOn mode, const RuntimeReport& report, bool stop_requested) {
    if (report.attempt.success || stop_requested) return FallbackStep::kReport;
    // The command ran and said how it ended: that is a result, in either mode.
    if (report.attempt.exit_code) return FallbackStep::kReport;
    if (report.attempt.error && report.attempt.error->code == ErrorCode::kCancelled) return FallbackStep::kReport;
    if (mode == FallbackOn::kAnyError) return FallbackStep::kTryNext;
    return report.unavailable && !report.work_began ? FallbackStep::kTryNext : FallbackStep::kReport;
}

std::string_view fallback_reason(const RuntimeReport& report) {
    if (report.unavailable) return to_string(*report.unavailable);
    if (report.attempt.error && report.attempt.error->code == ErrorCode::kTimeout) return "timeout";
    return "error";
}

std::vector<std::string> selection_order(const RuntimePreferences& preferences, std::string_view requested) {
    std::vector<std::string> names;
    add_once(names, requested);
    // Whoever asks for a simulation gets one; nothing real stands in for it.
    if (requested == kSimulationRuntime) return names;
    add_once(names, preferences.default_runtime);
    for (const std::string& name : preferences.chain)
        add_once(names, name);
    if (preferences.default_runtime == kSimulationRuntime && requested.empty())
        return {std::string(kSimulationRuntime)};
    put_simulation_last(names);
    return names;
}

std::vector<std::string> order_after(const RuntimePreferences& preferences, std::string_view failed) {
    std::vector<std::string> names;
    const auto& chain = preferences.chain;
    auto next = std::find(chain.begin(), chain.end(), failed);
    next = next == chain.end() ? chain.begin() : next + 1;
    for (; next != chain.end(); ++next)
        add_once(names, *next);
    put_simulation_last(names);
    return names;
}

bool may_fall_to_local(std::string_view requested, SecurityLevel level, std::optional<bool> allowed_by_ticket) {
    if (requested.empty() || requested == kLocalRuntime || requested == kCodeForgeRuntime) return true;
    if (allowed_by_ticket) return *allowed_by_ticket;
    return level != SecurityLevel::kConfidential && level != SecurityLevel::kRestricted;
}

}  // namespace wa
