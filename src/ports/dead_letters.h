// Dead letters, for people who look at them: list, show, send back, discard. Behind it stand the embedded store and the
// dead letter topic; those who ask cannot tell which (contract/tickets.md 6).
//
// Threading: any thread. Each question is answered exactly once, on any thread, perhaps before the call returns; the
// answer must be quick and must not throw.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

enum class LetterState : std::uint8_t { kOpen, kReplayed, kDiscarded };
// "open", "replayed", "discarded".
[[nodiscard]] std::string_view to_string(LetterState state);

struct DeadLetterEntry {
    std::string key;  // names it in the other calls
    LetterState state = LetterState::kOpen;
    std::string ticket_id;  // "unknown" when it could not be read
    std::string plan_id;
    std::string task_id;
    std::string task_type;
    std::string reason;  // stable word: "invalid_ticket", …
    std::string error_type;
    std::string error;
    EpochMillis at = 0;  // last time it died
    EpochMillis first_at = 0;
    std::int32_t attempts = 0;
    std::int32_t replays = 0;  // of this ticket, so far
    // When it is not open any more.
    EpochMillis settled_at = 0;
    std::string settled_by;  // "cli", "api", or another worker's word
    // Single reads only.
    std::string payload;          // bytes of the message as they are kept
    std::string original_base64;  // of a message that was no ticket: its own bytes, as far as they were kept
};

struct DeadLetterList {
    std::vector<DeadLetterEntry> letters;  // newest first
    std::int64_t total = 0;
    bool complete = true;  // false: there are older ones that are not counted
};

class DeadLetters {
public:
    template <class T>
    using Answer = std::function<void(Result<T>)>;

    virtual ~DeadLetters() = default;
    virtual void list(std::size_t offset, std::size_t limit, Answer<DeadLetterList> answer) = 0;
    // kNotFound.
    virtual void show(std::string key, Answer<DeadLetterEntry> answer) = 0;
    // The ticket goes back to the queue under its own id, which is the answer. kNotFound; kConflict: it is not open any
    // more; kInvalidArgument: there is no ticket in it.
    virtual void replay(std::string key, std::string actor, Answer<std::string> answer) = 0;
    // Nobody asks for it again; `reason` for people. kNotFound; kConflict.
    virtual void discard(std::string key, std::string reason, std::string actor, Answer<void> answer) = 0;
};

}  // namespace wa
