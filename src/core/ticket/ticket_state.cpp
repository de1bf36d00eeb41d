#include "core/ticket/ticket_state.h"

namespace wa {

std::string_view to_string(State state) {
    switch (state) {
        case State::kReceived: return "received";
        case State::kHeld: return "held";
        case State::kParked: return "parked";
        case State::kReady: return "ready";
        case State::kQueued: return "queued";
        case State::kBackingOff: return "backing_off";
        case State::kStarting: return "starting";
        case State::kRunning: return "running";
        case State::kCancelling: return "cancelling";
        case State::kReporting: return "reporting";
        case State::kSettled: return "settled";
        case State::kHandedBack: return "handed_back";
    }
    return "received";
}

std::string_view to_string(Event event) {
    switch (event) {
        case Event::kDuplicateInHand: return "duplicate_in_hand";
        case Event::kDependenciesOpen: return "dependencies_open";
        case Event::kDependenciesDone: return "dependencies_done";
        case Event::kWindowGranted: return "window_granted";
        case Event::kSlotGranted: return "slot_granted";
        case Event::kIntentDurable: return "intent_durable";
        case Event::kAttemptFailed: return "attempt_failed";
        case Event::kDeferred: return "deferred";
        case Event::kBackoffOver: return "backoff_over";
        case Event::kStopRequested: return "stop_requested";
        case Event::kOutcome: return "outcome";
        case Event::kCommitted: return "committed";
        case Event::kHandBack: return "hand_back";
        case Event::kFirstCopyEnded: return "first_copy_ended";
    }
    return "outcome";
}

TicketStatus wire_status(State state) {
    switch (state) {
        case State::kRunning:
        case State::kCancelling:
        case State::kReporting: return TicketStatus::kRunning;
        default: return TicketStatus::kPending;
    }
}

std::string_view phase(State state) {
    switch (state) {
        case State::kReceived: return "received";
        case State::kHeld: return "held";
        case State::kParked: return "waiting";
        case State::kReady:
        case State::kQueued: return "queued";
        case State::kBackingOff: return "backing-off";
        case State::kStarting: return "starting";
        case State::kRunning: return "running";
        case State::kCancelling: return "cancelling";
        case State::kReporting: return "reporting";
        case State::kSettled: return "ended";
        case State::kHandedBack: return "handed-back";
    }
    return "received";
}

}  // namespace wa
