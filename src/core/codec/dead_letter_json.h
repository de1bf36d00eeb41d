// Dead letter messages (contract/tickets.md 6): what is published when a ticket cannot be taken.
//
// Normal form: every key of the ticket as it came, plus `dlq_metadata`. Undecodable form, when the bytes are no JSON
// object (and no decoded ticket is at hand) or the whole would be too large: ids as far as known, a readable preview,
// and the original bytes as Base64. An operator strips `dlq_metadata`, sets the status to PENDING and publishes the
// ticket again: replayable_ticket() does that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/ticket.h"

namespace wa {

inline constexpr std::size_t kMaxDeadLetterBytes = 1'048'576;
inline constexpr std::size_t kMaxRawBytes = 49'152;  // of the original; 64 KiB as Base64
inline constexpr std::size_t kPreviewCharacters = 1000;
inline constexpr std::size_t kMaxFailureReasons = 10;

// What is known about one dead letter. Only read during the call.
struct DeadLetterFacts {
    std::string_view payload;                  // the record's bytes as they were read
    const Ticket* ticket = nullptr;            // decoded form, for records whose bytes are not JSON (Avro); may be null
    std::string ticket_id;                     // empty = unknown
    std::string task_id;                       // empty = unknown
    std::string task_type;                     // empty = unknown
    std::string reason;                        // stable word: "invalid_ticket", "decode_error", …
    std::string error_type;                    // "ValidationError", "TimeoutError", "ConnectionError", "NetworkError"
    std::string error;                         // for people; must not hold secrets
    std::int32_t retry_count = 0;              // consumption attempts
    std::int64_t first_failure_timestamp = 0;  // epoch milliseconds; 0 = the last one
    std::int64_t last_failure_timestamp = 0;
    std::int64_t published_at = 0;
    std::vector<std::string> failure_reasons;  // the newest kMaxFailureReasons are kept
    std::string agent_id;
    std::string source_topic;
    std::int32_t source_partition = 0;
    std::int64_t source_offset = 0;
    std::int64_t source_timestamp = 0;
};

// Never fails and never exceeds kMaxDeadLetterBytes by the ticket's own size.
[[nodiscard]] std::string write_dead_letter(const DeadLetterFacts& facts, std::size_t max_bytes = kMaxDeadLetterBytes);

// The ticket inside a dead letter of the normal form, ready to be published again: without dlq_metadata, processed_at,
// processed_at_ms and _id, status PENDING. Errors: kMalformed; kInvalidArgument for the undecodable form.
[[nodiscard]] Result<std::string> replayable_ticket(std::string_view dead_letter);

// What a reader of the dead letter topic shows of one letter. Other programs write there too: whatever cannot be read
// leaves its field empty.
struct DeadLetterSummary {
    bool readable = false;    // a JSON object
    bool replayable = false;  // normal form, with a ticket id
    std::string ticket_id;
    std::string plan_id;
    std::string task_id;
    std::string task_type;
    std::string reason;
    std::string error_type;
    std::string error;
    std::int32_t attempts = 0;
    std::int64_t first_at = 0;  // epoch milliseconds; 0 = it does not say
};
// Never fails; every text is clipped.
[[nodiscard]] DeadLetterSummary dead_letter_summary(std::string_view dead_letter);

// The Base64 text that a letter of the undecodable form keeps of the original bytes; empty when there is none.
[[nodiscard]] std::string original_base64(std::string_view dead_letter);

}  // namespace wa
