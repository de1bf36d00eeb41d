// The life of a ticket inside one worker, as a table. Everything that moves a ticket goes through next(); a history
// that the table does not know cannot happen. The wire knows only six statuses: wire_status() maps.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ticket/ticket.h"

namespace wa {

enum class State : std::uint8_t {
    kReceived,    // read from the source, nothing decided yet
    kHeld,        // another record of the same id is in hand; waits for its end
    kParked,      // waits for dependencies; outside the in-flight window
    kReady,       // dependencies done, waits for a place in the in-flight window
    kQueued,      // in the window, waits for an execution slot
    kBackingOff,  // waits for the next attempt; holds no slot
    kStarting,    // slot held, the attempt's intent is being made durable
    kRunning,     // an executor works on it
    kCancelling,  // the executor was told to stop; slot held until it has
    kReporting,   // has its outcome; result and offset are not committed yet
    kSettled,     // committed; nothing left to do
    kHandedBack,  // given back undone (drain, revoke): someone else, or a later start, takes it
};
inline constexpr std::size_t kStateCount = 12;

enum class Event : std::uint8_t {
    kDuplicateInHand,
    kDependenciesOpen,
    kDependenciesDone,
    kWindowGranted,
    kSlotGranted,
    kIntentDurable,
    kAttemptFailed,  // and another attempt follows
    kDeferred,       // its back-end's circuit breaker is open; costs no retry
    kBackoffOver,
    kStopRequested,  // cancel, preempt, timeout, deadline or drain reaches a started attempt
    kOutcome,        // the one ending is decided
    kCommitted,
    kHandBack,
    kFirstCopyEnded,  // the other record of the same id ended; decide again
};

struct Transition {
    State from;
    Event event;
    State to;
};

inline constexpr std::array kTransitions{
    Transition{State::kReceived, Event::kDuplicateInHand, State::kHeld},
    Transition{State::kReceived, Event::kDependenciesOpen, State::kParked},
    Transition{State::kReceived, Event::kDependenciesDone, State::kReady},
    Transition{State::kReceived, Event::kOutcome, State::kReporting},
    Transition{State::kHeld, Event::kFirstCopyEnded, State::kReceived},
    Transition{State::kHeld, Event::kOutcome, State::kReporting},
    Transition{State::kHeld, Event::kHandBack, State::kHandedBack},
    Transition{State::kParked, Event::kDependenciesDone, State::kReady},
    Transition{State::kParked, Event::kOutcome, State::kReporting},
    Transition{State::kParked, Event::kHandBack, State::kHandedBack},
    Transition{State::kReady, Event::kWindowGranted, State::kQueued},
    Transition{State::kReady, Event::kOutcome, State::kReporting},
    Transition{State::kReady, Event::kHandBack, State::kHandedBack},
    Transition{State::kQueued, Event::kSlotGranted, State::kStarting},
    Transition{State::kQueued, Event::kDeferred, State::kBackingOff},
    Transition{State::kQueued, Event::kOutcome, State::kReporting},
    Transition{State::kQueued, Event::kHandBack, State::kHandedBack},
    Transition{State::kBackingOff, Event::kBackoffOver, State::kQueued},
    Transition{State::kBackingOff, Event::kOutcome, State::kReporting},
    Transition{State::kBackingOff, Event::kHandBack, State::kHandedBack},
    Transition{State::kStarting, Event::kIntentDurable, State::kRunning},
    Transition{State::kStarting, Event::kAttemptFailed, State::kBackingOff},
    Transition{State::kStarting, Event::kOutcome, State::kReporting},
    Transition{State::kStarting, Event::kHandBack, State::kHandedBack},
    Transition{State::kRunning, Event::kAttemptFailed, State::kBackingOff},
    Transition{State::kRunning, Event::kStopRequested, State::kCancelling},
    Transition{State::kRunning, Event::kOutcome, State::kReporting},
    Transition{State::kRunning, Event::kHandBack, State::kHandedBack},
    Transition{State::kCancelling, Event::kAttemptFailed, State::kBackingOff},
    Transition{State::kCancelling, Event::kOutcome, State::kReporting},
    Transition{State::kCancelling, Event::kHandBack, State::kHandedBack},
    Transition{State::kReporting, Event::kCommitted, State::kSettled},
    Transition{State::kReporting, Event::kHandBack, State::kHandedBack},
};

constexpr std::optional<State> next(State from, Event event) {
    for (const auto& row : kTransitions) {
        if (row.from == from && row.event == event) return row.to;
    }
    return std::nullopt;
}

static_assert(next(State::kReceived, Event::kSlotGranted) == std::nullopt, "nothing runs before it was queued");
static_assert(next(State::kParked, Event::kSlotGranted) == std::nullopt, "nothing runs before its dependencies");
static_assert(next(State::kSettled, Event::kOutcome) == std::nullopt, "an ending is the last one");

std::string_view to_string(State state);
std::string_view to_string(Event event);
// PENDING until an attempt starts, RUNNING until the result is committed.
TicketStatus wire_status(State state);
// The derived phase that people see ("waiting", "queued", "backing-off", "running", "reporting", …).
std::string_view phase(State state);

}  // namespace wa
