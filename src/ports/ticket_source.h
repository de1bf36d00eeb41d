// Where tickets come from. Kafka and the embedded queue look alike: partitions of records with rising offsets, owned
// for the length of one assignment (its epoch). Rules: cluster-rules 1-3, 12-14, 18-20.
//
// Threading: every call in both directions happens on the engine's loop. A source never calls the engine from inside a
// call that the engine made; it posts its input.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "core/ticket/ticket.h"

namespace wa {

using PartitionId = std::int32_t;
using Offset = std::int64_t;
// One assignment of one partition to this worker. Rises with every assignment and is never reused in a process, so that
// whatever is left over from an earlier assignment can be told apart and is void.
using Epoch = std::uint64_t;

struct SourcePosition {
    PartitionId partition = 0;
    Offset offset = 0;

    friend auto operator<=>(const SourcePosition&, const SourcePosition&) = default;
};

// One ticket as it was read. `payload` is what the decoder understands (JSON text, or framed Avro).
struct Record {
    SourcePosition position;
    Epoch epoch = 0;
    std::string key;
    std::string payload;
    EpochMillis timestamp = 0;  // when it was produced
    // Where this ticket stood first, when this record is a re-queued copy (rule 14); else its own position.
    SourcePosition origin;
    std::uint32_t requeue_round = 0;  // how often it was re-queued
    std::int32_t attempts_made = 0;   // attempts of earlier processes; the next attempt is numbered one higher
    std::int32_t attempts_burned =
        0;                        // of those, the ones that count against max_retries (not: interrupted, handed back)
    std::int32_t deliveries = 0;  // how often a worker died while it may have been running (rule 4)
    // Somebody asked for this ticket to run once more, although it may have completed: what is remembered of its ending
    // is void. Only a source that has judged that itself says so.
    bool run_again = false;
    std::string traceparent{};  // headers of that name; empty = none
    std::string tracestate{};
    // The record's other headers, packed as the source likes; the engine does not look into them. They go on a copy.
    std::string other_headers{};
    Priority priority = Priority::kNormal;  // as far as the source knows it; the engine goes by the ticket itself
};

class TicketSource {
public:
    virtual ~TicketSource() = default;
    // After set_open(false) returns no further record is delivered until set_open(true). Polling goes on either way.
    virtual void set_open(bool open) = 0;
    // The engine has let go of a revoked partition: every transaction with its offsets has ended (rule 1).
    virtual void release(PartitionId partition, Epoch epoch) = 0;
};

// Inputs that a source posts to the engine. With a results reader, an assignment is announced only after the reader has
// passed the stable end of the results as of that assignment: what the last owner finished is known before anything
// starts.
struct PartitionAssigned {
    PartitionId partition = 0;
    Epoch epoch = 0;
    Offset committed = 0;  // lowest unfinished offset; reading starts here
    std::string metadata;  // of that commit; empty, foreign or damaged is allowed
    Offset end_at_assign =
        0;  // stable end when the assignment was made: what lies below may have been running elsewhere
    // Finished offsets at or above `committed` that were found in the results' source headers, as ranges [from, to),
    // rising; used when the metadata is missing or unreadable (rule 12).
    std::vector<std::pair<Offset, Offset>> finished_by_results{};
    bool fresh = false;  // nothing was committed before: `committed` is where reading starts, and is committed soon
};
struct PartitionRevoked {
    PartitionId partition = 0;
    Epoch epoch = 0;
    bool lost = false;  // lost: owned by another already, nothing may be committed any more
};

}  // namespace wa
