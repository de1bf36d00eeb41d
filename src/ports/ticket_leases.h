// Which worker works on a ticket, and which tickets have ended, known across workers (Redis). Two records of one id on
// two partitions may be alive at the same time: only this tells the workers of each other.
//
// Best effort on purpose: when it is away everything goes on without it.
// Threading: the loop; callbacks are never called from inside a call.
// Rules: contract/engine.md section 3 (R1 to R6), cluster-rules.md 11.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "core/ticket/ticket.h"

namespace wa {

// Where the record stood. The offset makes a redelivery of one record different from a new record of the same ticket.
struct LeasePosition {
    std::string topic;
    std::int32_t partition = -1;
    std::int64_t offset = -1;

    friend bool operator==(const LeasePosition&, const LeasePosition&) = default;
};

// What somebody noted about a ticket. Another implementation notes no facts at all ("1"): then all is empty.
struct LeaseNote {
    std::string worker;
    std::string status;
    LeasePosition position;
    EpochMillis at = 0;

    friend bool operator==(const LeaseNote&, const LeaseNote&) = default;
};

enum class LeaseState : std::uint8_t {
    kAcquired,
    kHeld,         // by another worker: ask again in 5 s (R3)
    kHeldHere,     // by this worker, for the record in the note: a second copy, or a fast redelivery (R4)
    kProcessed,    // ended before, in a way that this record must not run again (R5)
    kUnavailable,  // nobody can say: go on without. The lease is taken later if it can be; give it back as any other
};

struct LeaseAnswer {
    std::string ticket_id;
    LeaseState state = LeaseState::kUnavailable;
    LeaseNote note;      // of who holds it, or how it ended
    std::string detail;  // why it is unavailable
};

class TicketLeases {
public:
    virtual ~TicketLeases() = default;

    // A lease that another worker holds for the same record is taken over: the record's partition is ours now.
    // One answer, unless this object is destroyed before. What was acquired is renewed until it is given back.
    virtual void acquire(std::string ticket_id, LeasePosition position,
                         std::function<void(const LeaseAnswer&)> done) = 0;
    // Gives the lease back without an ending: another worker, or a later try, may have it.
    virtual void release(const std::string& ticket_id) = 0;
    // The ticket has ended; called after the result was committed (rule 9). Gives the lease back too. Written later
    // when the store is away. COMPLETED stays what it is whatever comes after.
    virtual void mark_processed(const std::string& ticket_id, TicketStatus status, LeasePosition position) = 0;
};

}  // namespace wa
