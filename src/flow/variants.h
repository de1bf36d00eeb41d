// Deliberately broken engines. They exist in test builds only and show that the simulation's checker sees what it must:
// each breaks one promise or one rule of cluster-rules.md, and a test demands that it is caught. A rule that binds the
// adapter beside the engine (rule 2) is broken in the simulated adapter.
#pragma once

#include <cstdint>

namespace wa {

enum class Variant : std::uint8_t {
    kNone,
    kUnfencedOutcomes,      // rule 1: outcomes of a partition that is no longer owned are committed
    kAnonymousOffsets,      // rule 2: a consumer made anew keeps the old one's outcomes, offsets go without generation
    kReleaseTooEarly,       // rule 1: a partition is let go while a transaction with its offsets is open
    kForgetOnAbort,         // rule 6: outcomes are dropped when a commit is aborted
    kResendAfterFatal,      // rule 6: after a rebuild everything is sent again without asking what happened
    kEffectsBeforeCommit,   // rule 9: waiters wake and statuses go out before the commit
    kRunCompletedAgain,     // rule 11: a repeat of a completed ticket runs
    kRequeueForgets,        // rule 14: a re-queued ticket leaves memory and offsets before its copy is committed
    kOldFailureEndsWaiter,  // rule 15: a failure older than the waiter ends it
    kCommitPastOpen,        // offsets: commits the position instead of the lowest unfinished offset
    kIgnoreFinishedSet,     // offsets: what an earlier owner finished runs again
    kIgnoreDependencies,    // order: starts at once
    kParkedHoldsWindow,     // deadlock: waiting tickets count against the window
    kNoSlotLimit,           // bounds: more attempts than slots
    kNoAttemptTimeout,      // deadlines: attempts run for ever
    kTwoEndings,            // one ending: a late end of a timed-out attempt is reported as well
    kCompensateAtEachFailure,  // compensation: with an id of its own each time
    kDrainSettles,             // drain: what was handed back is reported as failed
    kSimulatedUnlabelled,      // nothing made up: the label is lost
    kTrustStaleClean,          // rule 4: starts before the last owner's clean mark is taken back
    kWakeLost,                 // waiting: a completion wakes only the first waiter
    kIgnoreLeases,             // rule 11: starts whatever other workers do
    kLeaseBackBeforeCommit,    // rule 11: a lease is given back before the result that it guards is committed
    kKeepLeases,               // rule 11: what was handed back undone stays reserved
};

}  // namespace wa
