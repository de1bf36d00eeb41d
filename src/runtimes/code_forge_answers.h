// What a ticket asks Code Forge for, and what Code Forge answers (contract/executors.md 6.2, services.md section 3).
// Pure.
//
// Answers are read with patience, as its store turns values into text: "None" is nothing, a list may be text that holds
// one. What decides (the state, the id) must be there and known, or nothing is concluded from the answer.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>

#include "base/error.h"
#include "core/ticket/ticket.h"

namespace wa::code_forge {

struct Task {
    std::string template_id;
    std::string body;  // of POST /api/v1/generate
    std::optional<std::chrono::milliseconds> timeout;
    std::optional<std::chrono::milliseconds> interval;
};

// Permanent errors only.
[[nodiscard]] Result<Task> parse_task(const Ticket& ticket);

// The request_id of an answer to POST; an error when it has none that can be used.
[[nodiscard]] Result<std::string> read_request_id(std::string_view body);

enum class State : std::uint8_t { kQueued, kRunning, kCompleted, kFailed };

struct Generation {
    State state = State::kQueued;
    std::string status;  // in its own word
    std::string error;   // why it failed; may be empty
    std::string pipeline_id;
    boost::json::array artifacts;
};

// Of GET /api/v1/generate/{request_id}. kMalformed: nothing can be concluded (no JSON, no state or an unknown one, the
// answer to another question).
[[nodiscard]] Result<Generation> read_generation(std::string_view body, std::string_view request_id);

// What is kept about a ticket (ticket_notes.h).
struct Note {
    std::string ticket_id;
    std::string work;        // what it asked for, as a hash
    std::string request_id;  // empty: it was asked for, and the answer is not known
};
[[nodiscard]] std::string write_note(const Note& note);
// Nothing when it is damaged.
[[nodiscard]] std::optional<Note> read_note(std::string_view text);

// Whether a refusal is Code Forge's own word ({"detail": …}), not that of somebody on the way; and the word.
[[nodiscard]] std::optional<std::string> read_detail(std::string_view body);

}  // namespace wa::code_forge
