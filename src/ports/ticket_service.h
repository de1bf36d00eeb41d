// Who knows the status of tickets that are not in hand: the Execution Ticket Service, or the embedded store that plays
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/ticket/ticket.h"
#include "core/trace/trace_context.h"

namespace wa {

struct StatusUpdate {
    std::string ticket_id;
    TicketStatus status = TicketStatus::kPending;
    std::string error_message;
    std::int64_t actual_duration_ms = 0;
    // The span that it belongs to: the ticket may be settled when the update goes out. Not kept over a restart.
    std::optional<TraceContext> cause{};
};

enum class DependencyState : std::uint8_t {
    kUnknown,  // nobody knows this id (yet)
    kOpen,     // known and not ended
    kCompleted,
    kFailed,  // failed, cancelled, skipped, compensated
};

struct DependencyStatus {
    std::string ticket_id;
    DependencyState state = DependencyState::kUnknown;
    // A failure counts only when it is the last word (rule 15): the embedded store knows; a remote service does not.
    bool last_word = false;
    std::string detail;  // "FAILED: exit code 1"
};

// Input that answers lookup(); ids that are missing in it stay as they were.
struct DependencyStatuses {
    std::vector<DependencyStatus> statuses;
};

// An ending seen on the results topic (read_committed, outside any group).
struct EndingSeen {
    std::string ticket_id;
    bool completed = false;
    EpochMillis at = 0;  // when the result was published
    std::string detail;
};
// The results reader has passed the stable offset that stood at `as_of` (rule 15, 16).
struct ResultsReaderCaughtUp {
    MonoTime as_of{};
};

class TicketService {
public:
    virtual ~TicketService() = default;
    // Fire and forget; the adapter orders, bounds and retries. Called after the commit that it tells about (rule 9).
    virtual void update_status(StatusUpdate update) = 0;
    // Answers later with DependencyStatuses, or never when the service is away: the engine asks again.
    virtual void lookup(std::vector<std::string> ticket_ids) = 0;
    // Whether new tickets had better wait: the service answers, but takes statuses more slowly than tickets end, and
    // the endings of more would soon find no room. False while it is away: no work waits for that. Asked often.
    [[nodiscard]] virtual bool behind() { return false; }
};

}  // namespace wa
