// Which compensation a failed ticket asks for: at most one COMPENSATE ticket, always with the same id.
//
// Asked for when all of this holds: the ticket FAILED for good; at least one attempt was started (work that never ran
// left nothing behind); the ticket is not a COMPENSATE ticket itself; it did not end because of a dependency or as
// invalid; the run was not simulated; and either the ticket declares a compensation in its metadata or executors
// recorded effects that can be undone.
//
// Declaration (all metadata values are text):
//   compensation_action      one of the actions below, or any other word the COMPENSATE executor knows
//   compensation_parameters  a JSON object, added to (and winning over) the parameters that follow from the action
//   compensation_timeout_ms  time limit of the compensation; default 120000
//
// Actions by type of the failed ticket: BUILD delete_artifacts, DEPLOY rollback_deployment, TEST cleanup_test_env,
// VALIDATE revert_approval, EXECUTE rollback_execution, others generic_cleanup (contract/engine.md 8).
//
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"

namespace wa {

inline constexpr std::string_view kCompensationActionKey = "compensation_action";
inline constexpr std::string_view kCompensationParametersKey = "compensation_parameters";
inline constexpr std::string_view kCompensationTimeoutKey = "compensation_timeout_ms";
inline constexpr std::int64_t kCompensationTimeoutMs = 120'000;
inline constexpr std::size_t kMaxCompensatedEffects = 256;

// Something real that an attempt left behind. `undo` is a compensation action; empty = cannot be undone.
struct UndoableEffect {
    std::string kind;
    std::string name;
    std::string undo;
};

struct CompensationFacts {
    Outcome outcome = Outcome::kExecutionFailed;
    bool simulated = false;
    std::int32_t attempts_started = 0;
    std::vector<UndoableEffect> effects;  // of all attempts
    std::string reason;                   // why the ticket failed; for people
    std::int64_t now = 0;                 // epoch milliseconds
};

struct Compensation {
    Ticket ticket;
    // What was wrong with the declaration; it was left out, the compensation itself is still asked for.
    std::vector<Error> warnings;
};

[[nodiscard]] std::optional<Compensation> compensation_for(const Ticket& failed, const CompensationFacts& facts);

// The id of the one compensation that a ticket can have.
[[nodiscard]] std::string compensation_id(std::string_view original_ticket_id);
[[nodiscard]] std::string_view compensation_action(TaskType original);

}  // namespace wa
