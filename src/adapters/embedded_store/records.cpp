#include "adapters/embedded_store/records.h"

#include <array>
#include <utility>

namespace wa {

namespace {
constexpr std::array<std::string_view, kStoredPhaseCount> kPhaseWords{
    "pending",           "running",   "external",      "completed",    "simulated",  "failed",
    "dependency-failed", "cancelled", "dead-lettered", "compensating", "compensated"};
}

std::string_view to_string(StoredPhase phase) {
    return kPhaseWords[static_cast<std::size_t>(phase)];
}

std::optional<StoredPhase> parse_stored_phase(std::string_view text) {
    for (std::size_t n = 0; n < kPhaseWords.size(); ++n) {
        if (kPhaseWords[n] == text) return static_cast<StoredPhase>(n);
    }
    return std::nullopt;
}

TicketStatus wire_status(StoredPhase phase) {
    switch (phase) {
        case StoredPhase::kPending: return TicketStatus::kPending;
        case StoredPhase::kRunning:
        case StoredPhase::kExternal: return TicketStatus::kRunning;
        case StoredPhase::kCompleted:
        case StoredPhase::kSimulated: return TicketStatus::kCompleted;
        case StoredPhase::kFailed:
        case StoredPhase::kDependencyLost:
        case StoredPhase::kCancelled:
        case StoredPhase::kDeadLettered: return TicketStatus::kFailed;
        case StoredPhase::kCompensating: return TicketStatus::kCompensating;
        case StoredPhase::kCompensated: return TicketStatus::kCompensated;
    }
    return TicketStatus::kPending;
}

bool is_ended(StoredPhase phase) {
    return phase != StoredPhase::kPending && phase != StoredPhase::kRunning && phase != StoredPhase::kExternal;
}

std::int64_t PlanSummary::open() const {
    std::int64_t sum = 0;
    for (const auto& [phase, count] : counts) {
        if (!is_ended(phase)) sum += count;
    }
    return sum;
}

}  // namespace wa
