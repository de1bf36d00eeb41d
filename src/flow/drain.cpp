// Leaving in good order (contract/engine.md 11, interface.md "signals and drain"): stop taking, let what runs finish up
// to the grace, cancel the rest and give it back, commit, and say so. A ticket that is given back gets no result.
#include <utility>

#include "flow/engine.h"

namespace wa {

void Engine::on_drain(const StartDrain& drain) {
    if (drain_ == DrainPhase::kNone) {
        drain_ = DrainPhase::kDraining;
        drain_reason_ = drain.reason;
        handed_back_ = 0;
        drain_commits_timed_ = drain_commits_overdue_ = false;
        ++drain_number_;
        timers_.arm(ports_.clock.now() + options_.shutdown_grace, TimerKind::kDrainGrace, 0, 0, drain_number_);
        ports_.observer.drain_changed("draining");
    }
    if (drain.now && drain_ == DrainPhase::kDraining) cancel_for_drain();
}

void Engine::on_undrain(StopDrain& stop) {
    if (drain_ != DrainPhase::kDraining) {
        const bool never = drain_ == DrainPhase::kNone;
        if (stop.answer) {
            stop.answer(never ? Result<void>{}
                              : Result<void>(fail(ErrorCode::kConflict, "engine",
                                                  "the drain has gone too far: running tickets were cancelled")));
        }
        return;
    }
    drain_ = DrainPhase::kNone;
    ports_.observer.drain_changed("");
    if (stop.answer) stop.answer({});
}

void Engine::cancel_for_drain() {
    drain_ = DrainPhase::kCancelling;
    ports_.observer.drain_changed("cancelling");
    for (Slot slot = 0; slot < records_.size(); ++slot) {
        const TicketRecord& record = records_[slot];
        if (!record.in_use || record.state != State::kRunning) continue;
        const Executor* executor = ports_.executors.at(record.active->ticket->task_type);
        if (executor->can_detach(*record.active->ticket)) {
            hand_back(slot, "draining: detached");
        } else {
            request_stop(slot, StopReason::kShutdown, options_.stop_grace, {});
        }
    }
}

void Engine::finish_drain() {
    if (drain_ != DrainPhase::kDraining && drain_ != DrainPhase::kCancelling) return;
    if (count(State::kRunning) + count(State::kCancelling) > 0) return;
    // Nothing runs any more. What has no outcome goes back; what has one is committed before we leave.
    for (Slot slot = 0; slot < records_.size(); ++slot) {
        const TicketRecord& record = records_[slot];
        if (!record.in_use || record.state == State::kReporting) continue;
        if (broken(Variant::kDrainSettles)) {
            if (record.state == State::kParked) wake(records_[slot]);
            if (record.active) {
                decide(slot, Outcome::kCancelled,
                       make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kWorker, "engine", "drained"), nullptr);
                continue;
            }
        }
        hand_back(slot, "draining: handed back");
    }
    if (!everything_committed()) {
        // A sink that is away must not hold up the end for ever. Nothing is lost by leaving: what was not committed
        // is as if the worker had died now.
        if (!std::exchange(drain_commits_timed_, true))
            timers_.arm(ports_.clock.now() + options_.drain_commit_limit, TimerKind::kDrainCommits, 0, 0,
                        drain_number_);
        if (!drain_commits_overdue_) return;
        left_uncommitted_ = count(State::kReporting);
    }
    drain_ = DrainPhase::kDrained;
    ports_.observer.drain_changed("drained");
}

bool Engine::everything_committed() {
    if (count(State::kReporting) > 0 || batch_ || recovering_ || !attempt_ends_due_.empty()) return false;
    bool clean = true;
    for (auto& [id, partition] : partitions_) {
        if (sink_traits_.wants_offsets && !partition.clean_committed && !partition.releasing) {
            partition.dirty = true;
            clean = false;
        }
    }
    return clean;
}

}  // namespace wa
