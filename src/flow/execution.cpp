// Stage 4: attempts. One object owns each attempt; its end, its limit and a wish to stop it race, and exactly one wins.
#include <algorithm>
#include <utility>

#include "flow/engine.h"

namespace wa {
namespace {

Duration scaled_timeout(const Ticket& ticket, double multiplier) {
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(ticket.sla.timeout_ms) * multiplier * 1e6));
}

Error stop_error(StopReason reason, const std::string& detail, std::int64_t limit_ms, std::int32_t attempt) {
    switch (reason) {
        case StopReason::kTimeout:
            return make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit, "engine",
                              "attempt " + std::to_string(attempt) + " exceeded " + std::to_string(limit_ms) + " ms");
        case StopReason::kDeadline:
            return make_error(ErrorCode::kDeadlineExceeded, Retry::kNever, Fault::kLimit, "engine",
                              "the deadline passed during attempt " + std::to_string(attempt));
        case StopReason::kPreempted:
            return make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "engine",
                              detail.empty() ? "preempted" : "preempted by " + detail);
        default:
            return make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "engine",
                              detail.empty() ? "cancelled" : "cancelled: " + detail);
    }
}

}  // namespace

CircuitBreaker& Engine::breaker(const std::string& backend) {
    const auto found = breakers_.find(backend);
    if (found != breakers_.end()) return found->second;
    return breakers_.emplace(backend, CircuitBreaker(options_.breaker_threshold, options_.breaker_cool_down))
        .first->second;
}

void Engine::start(Slot slot) {
    TicketRecord& record = records_[slot];
    const std::shared_ptr<const Ticket> ticket = record.active->ticket;
    Executor& executor = *ports_.executors.at(ticket->task_type);
    const MonoTime now = ports_.clock.now();
    std::string backend = executor.backend(*ticket);
    CircuitBreaker& gate = breaker(backend);
    if (!gate.try_acquire(now)) {
        const MonoTime until = std::max(gate.retry_at(), now + std::chrono::seconds(1));
        return back_off(slot, until, Event::kDeferred,
                        "breaker-open: " + backend + " could not be reached; it is tried again later");
    }
    if (ended_elsewhere(record)) return suppress(slot, "completed meanwhile; not run again");
    record.active->breaker = std::move(backend);
    record.active->queue_wait = now - record.active->entry.queued_at;
    ++record.attempts_made;
    move(slot, Event::kSlotGranted, "slot granted");
    progress();
    if (ports_.leases != nullptr && !record.leased && !broken(Variant::kIgnoreLeases)) return ask_for_lease(slot);
    begin_attempt(slot);
}

// Another worker ended it while it stood in line here, under another record (rule 11).
bool Engine::ended_elsewhere(const TicketRecord& record) const {
    if (!sink_traits_.wants_offsets || record.run_again || broken(Variant::kRunCompletedAgain)) return false;
    const DependencyIndex::Node& node = index_.at(record.node);
    return node.ending == Ending::kCompleted && node.public_ending;
}

LeasePosition Engine::lease_position(const TicketRecord& record) const {
    // Of the record as it came first: a re-queued copy is the same record.
    return {ports_.source_name, record.origin.partition, record.origin.offset};
}

void Engine::ask_for_lease(Slot slot) {
    const TicketRecord& record = records_[slot];
    ports_.leases->acquire(record.active->ticket->ticket_id, lease_position(record),
                           [this, slot, generation = record.generation, stamp = record.stamp](
                               const LeaseAnswer& answer) { handle(LeaseAnswered{slot, generation, stamp, answer}); });
}

// Two records of one ticket may be alive on two workers: one of them goes first (contract/engine.md R3 to R5). What
// Redis says never ends a ticket by itself: only a result does (rule 9).
void Engine::on_lease(const LeaseAnswered& answered) {
    TicketRecord* record = live(answered.slot, answered.generation);
    const bool awaited = record != nullptr && record->state == State::kStarting && record->stamp == answered.stamp;
    const LeaseState state = answered.answer.state;
    if (!awaited) {
        if (state == LeaseState::kAcquired || state == LeaseState::kUnavailable)
            ports_.leases->release(answered.answer.ticket_id);
        return;
    }
    constexpr std::uint8_t kDoubts = 3;
    switch (state) {
        case LeaseState::kAcquired:
        case LeaseState::kUnavailable:
        case LeaseState::kHeldHere: record->leased = true; break;
        case LeaseState::kHeld:
            return wait_for_lease(answered.slot, "lease: " + answered.answer.note.worker + " works on this ticket");
        case LeaseState::kProcessed:
            if (record->doubts == 0) ports_.observer.repeat_known_to_leases(view(*record));
            if (++record->doubts <= kDoubts) {
                ports_.tickets.lookup({answered.answer.ticket_id});
                return wait_for_lease(answered.slot,
                                      "lease: another worker says that it has ended; its result is awaited");
            }
            // No result of it can be found: it has not ended for those who read results.
            break;
    }
    if (ended_elsewhere(*record)) {
        settle_breaker(*record, nullptr);
        return suppress(answered.slot, "completed meanwhile; not run again");
    }
    begin_attempt(answered.slot);
}

void Engine::wait_for_lease(Slot slot, std::string reason) {
    TicketRecord& record = records_[slot];
    settle_breaker(record, nullptr);
    --record.attempts_made;  // nothing was tried
    constexpr Duration kAskAgain = std::chrono::seconds(5);
    back_off(slot, ports_.clock.now() + kAskAgain, Event::kAttemptFailed, std::move(reason));
}

void Engine::give_lease_back(TicketRecord& record) {
    if (!std::exchange(record.leased, false) || record.node == kNoSlot || broken(Variant::kKeepLeases)) return;
    ports_.leases->release(index_.at(record.node).id);
}

void Engine::begin_attempt(Slot slot) {
    TicketRecord& record = records_[slot];
    const std::shared_ptr<const Ticket> ticket = record.active->ticket;
    const Executor& executor = *ports_.executors.at(ticket->task_type);
    bool durable_first = sink_traits_.keeps_attempts && executor.has_effects(*ticket);
    if (sink_traits_.wants_offsets) {
        Partition& partition = partitions_.at(record.position.partition);
        // Nothing starts under the last owner's word that all was left in good order: if this attempt kills us, the
        // next owner must not believe it. One commit per assignment.
        if (!partition.marked) {
            partition.dirty = true;
            durable_first = true;
        }
        if (record.uncertain_start) {
            // An earlier owner died and may have been running this: count that before it can kill another worker (rule
            // 4).
            record.uncertain_start = false;
            ++record.deliveries;
            partition.tracker.set_deliveries(record.position.offset, record.deliveries);
            partition.dirty = true;
            durable_first = true;
        }
        if (broken(Variant::kTrustStaleClean)) durable_first = false;
    }
    if (!durable_first) return run(slot);
    record.active->intent_pending = true;
    intents_due_.emplace_back(slot, record.generation);
}

void Engine::run(Slot slot) {
    TicketRecord& record = records_[slot];
    Active& active = *record.active;
    active.intent_pending = false;
    move(slot, Event::kIntentDurable, "attempt " + std::to_string(record.attempts_made));
    const MonoTime now = ports_.clock.now();
    active.attempt_started = now;
    active.attempt_started_wall = ports_.clock.wall_now();
    active.stop.reset();
    const MonoTime limit = std::min(now + scaled_timeout(*active.ticket, options_.timeout_multiplier), record.deadline);
    if (!broken(Variant::kNoAttemptTimeout))
        timers_.arm(limit, TimerKind::kAttemptLimit, slot, record.generation, record.stamp);
    ports_.tickets.update_status(StatusUpdate{active.ticket->ticket_id, TicketStatus::kRunning, {}, 0});
    ports_.observer.attempt_started(view(record), active.queue_wait);

    AttemptContext context;
    context.key = AttemptKey{slot, record.generation, record.attempts_made};
    context.name = active.ticket->ticket_id + "." + std::to_string(record.attempts_made);
    context.ticket = active.ticket;
    context.number = record.attempts_made;
    context.deadline = limit;
    context.timeout_ms = to_millis(limit - now);
    active.attempt = ports_.executors.at(active.ticket->task_type)->start(context, *this);
}

void Engine::on_attempt_ended(AttemptEnded& ended) {
    const auto zombie =
        std::find_if(zombies_.begin(), zombies_.end(), [&](const Zombie& entry) { return entry.key == ended.key; });
    if (zombie != zombies_.end()) {
        retired_.push_back(std::move(zombie->attempt));
        zombies_.erase(zombie);
        --quarantined_;
        return;
    }
    TicketRecord* record = live(ended.key.slot, ended.key.generation);
    if (record == nullptr || record->attempts_made != ended.key.number) return;
    if (record->state != State::kRunning && record->state != State::kCancelling) return;
    after_attempt(ended.key.slot, std::move(ended.report));
}

// The attempt is over, in one of three ways: by itself, because it was told to stop, or because it could not be stopped
// and was given up (then `report` is our own). This is the one place where its end becomes a decision.
void Engine::after_attempt(Slot slot, AttemptReport report) {
    TicketRecord& record = records_[slot];
    Active& active = *record.active;
    const MonoTime now = ports_.clock.now();
    const Duration took = now - active.attempt_started;
    active.executed += took;
    if (active.attempt) retired_.push_back(std::move(active.attempt));
    active.effects.insert(active.effects.end(), report.effects.begin(), report.effects.end());
    if (active.stop) ports_.observer.stop_finished(view(record), *active.stop, now - active.stop_requested);

    const std::optional<StopReason> stop = active.stop;
    const bool ended_well = report.success && !report.still_alive;
    // Drain and revoke only hurry an attempt: one that finished all the same has finished.
    const bool hand_over = stop && (*stop == StopReason::kShutdown || *stop == StopReason::kPartitionRevoked);
    if (broken(Variant::kLeaseBackBeforeCommit)) give_lease_back(record);
    std::optional<Error> error = report.error;
    if (stop && !hand_over) {
        error = stop_error(*stop, active.stop_detail, to_millis(took), record.attempts_made);
        if (report.still_alive) error->message += "; it could not be stopped and may still be running";
    } else if (report.success && report.simulated && !options_.simulation_allowed) {
        error = make_error(ErrorCode::kUnavailable, Retry::kNever, Fault::kService, "engine",
                           "a simulated outcome is not allowed here (SIMULATION_POLICY=deny)");
    }
    settle_breaker(record, stop ? nullptr : &report);

    AttemptRecord attempt;
    attempt.number = record.attempts_made;
    attempt.started_at = active.attempt_started_wall;
    attempt.ended_at = ports_.clock.wall_now();
    attempt.queued_ms = to_millis(active.queue_wait);
    attempt.runtime = report.runtime;
    attempt.exit_code = report.exit_code;
    attempt.signal = report.signal;
    if (hand_over && !ended_well) {
        attempt.outcome = "handed_back";
    } else if (error) {
        attempt.outcome = stop ? std::string(to_string(*stop)) : "failed";
        attempt.fault = std::string(to_string(error->fault));
        attempt.error = error->describe();
        attempt.retryable = error->retryable();
    } else {
        attempt.outcome = "completed";
    }
    active.attempts.push_back(std::move(attempt));
    active.last = std::move(report);

    if (hand_over && !ended_well) {
        ports_.observer.attempt_ended(view(record), *active.last, took, Duration{-1});
        if (sink_traits_.keeps_attempts && owned(record)) {
            attempt_ends_due_.push_back(
                AttemptEnd{record.position, record.epoch, active.ticket->ticket_id, active.attempts.back()});
        }
        return hand_back(slot, *stop == StopReason::kShutdown ? "draining: handed back" : "partition_revoked");
    }
    if (!error) {
        ports_.observer.attempt_ended(view(record), *active.last, took, Duration{-1});
        return decide(slot, Outcome::kCompleted, std::nullopt, &*active.last);
    }
    ++record.attempts_burned;
    const bool again = error->retryable() && try_again(slot, *error);
    if (broken(Variant::kCompensateAtEachFailure)) active.compensation_id = uuid4(ports_.random);
    if (again) return;
    ports_.observer.attempt_ended(view(record), *active.last, took, Duration{-1});
    Outcome outcome = Outcome::kExecutionFailed;
    if (error->code == ErrorCode::kTimeout) outcome = Outcome::kTimeout;
    if (stop == StopReason::kDeadline) outcome = Outcome::kDeadlineExceeded;
    if (stop == StopReason::kCancelled) outcome = Outcome::kCancelled;
    if (stop == StopReason::kPreempted) outcome = Outcome::kPreempted;
    decide(slot, outcome, error, &*active.last);
}

// Another attempt follows only if one is left and its wait ends before the deadline. The wait holds no slot.
bool Engine::try_again(Slot slot, const Error& error) {
    TicketRecord& record = records_[slot];
    Active& active = *record.active;
    const std::int32_t retries = active.ticket->sla.max_retries.value_or(options_.max_retries);
    if (record.attempts_burned > retries) return false;
    const Duration wait = next_backoff(options_.backoff, record.attempts_burned, error.retry_after, ports_.random);
    const MonoTime until = ports_.clock.now() + wait;
    if (until >= record.deadline) return false;
    active.attempts.back().next_try_at = ports_.clock.wall_now() + to_millis(wait);
    ports_.observer.attempt_ended(view(record), *active.last, ports_.clock.now() - active.attempt_started, wait);
    if (sink_traits_.keeps_attempts) {
        attempt_ends_due_.push_back(
            AttemptEnd{record.position, record.epoch, active.ticket->ticket_id, active.attempts.back()});
    }
    back_off(slot, until, Event::kAttemptFailed, "retry-at: " + error.message);
    return true;
}

void Engine::back_off(Slot slot, MonoTime until, Event event, std::string reason) {
    TicketRecord& record = records_[slot];
    record.active->retry_at = until;
    record.active->stop.reset();
    move(slot, event, std::move(reason));
    timers_.arm(until, TimerKind::kBackoffOver, slot, record.generation, record.stamp);
}

void Engine::on_backoff_over(Slot slot) {
    TicketRecord& record = records_[slot];
    if (record.state != State::kBackingOff) return;
    move(slot, Event::kBackoffOver, "waits for a slot again");
    record.active->entry.queued_at = ports_.clock.now();
    queue_.push(record.active->entry);
    record.queued_entry = true;
}

void Engine::on_attempt_limit(Slot slot) {
    TicketRecord& record = records_[slot];
    if (record.state != State::kRunning) return;
    const bool deadline = record.deadline <= ports_.clock.now();
    request_stop(slot, deadline ? StopReason::kDeadline : StopReason::kTimeout, options_.stop_grace, {});
}

void Engine::request_stop(Slot slot, StopReason reason, Duration grace, std::string detail) {
    TicketRecord& record = records_[slot];
    Active& active = *record.active;
    active.stop = reason;
    active.stop_detail = std::move(detail);
    active.stop_requested = ports_.clock.now();
    move(slot, Event::kStopRequested, "stopping: " + std::string(to_string(reason)));
    ports_.observer.stop_requested(view(record), reason);
    timers_.arm(active.stop_requested + grace + options_.stop_margin, TimerKind::kStopOverdue, slot, record.generation,
                record.stamp);
    active.attempt->stop(reason, grace);
}

// The executor did not manage to stop it. The ticket ends and says so; the slot stays taken until the attempt is gone.
void Engine::on_stop_overdue(Slot slot) {
    TicketRecord& record = records_[slot];
    if (record.state != State::kCancelling) return;
    zombies_.push_back(
        Zombie{AttemptKey{slot, record.generation, record.attempts_made}, std::move(record.active->attempt)});
    ++quarantined_;
    AttemptReport report;
    report.still_alive = true;
    report.error =
        make_error(ErrorCode::kInternal, Retry::kNever, Fault::kWorker, "engine", "the attempt could not be stopped");
    after_attempt(slot, std::move(report));
}

void Engine::on_cancel(CancelTicket& cancel) {
    const CancelRequest& request = cancel.request;
    const auto answer = [&](Result<CancelAnswer> text) {
        if (cancel.answer) cancel.answer(std::move(text));
    };
    const NodeId node = index_.find(request.ticket_id);
    const Slot slot = node == kNoSlot ? kNoSlot : index_.at(node).in_hand;
    const bool preemption = request.reason == "preemption";
    if (slot == kNoSlot) {
        // Not read yet: remembered for a while, so that it ends as soon as it is. Whether the ticket exists at all is
        // for the caller to know, who sees the store.
        if (request.on_arrival && node != kNoSlot && index_.at(node).known_open && remember_cancel(request)) {
            return answer(CancelAnswer{true, "the ticket is cancelled as soon as it is read"});
        }
        return answer(Failure(make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "engine",
                                         "ticket " + request.ticket_id + " is not in hand here")));
    }
    TicketRecord& record = records_[slot];
    switch (record.state) {
        case State::kCancelling:
            // It is being stopped for another reason after which it could run again: the wish to cancel is the stronger
            // one.
            if (record.active->stop != StopReason::kDeadline && record.active->stop != StopReason::kPreempted) {
                record.active->stop = preemption ? StopReason::kPreempted : StopReason::kCancelled;
                record.active->stop_detail = preemption ? request.preempted_by : request.reason;
            }
            return answer(CancelAnswer{true, "the ticket is being stopped already"});
        case State::kReporting:
        case State::kSettled:
        case State::kHandedBack:
            return answer(Failure(make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "engine",
                                             "ticket " + request.ticket_id + " has ended already")));
        case State::kRunning:
            request_stop(slot, preemption ? StopReason::kPreempted : StopReason::kCancelled, request.grace,
                         preemption ? request.preempted_by : request.reason);
            return answer(CancelAnswer{true, "the ticket is being stopped"});
        default: {
            if (record.state == State::kParked) {
                stop_waiting(slot);
                wake(record);
            }
            const StopReason reason = preemption ? StopReason::kPreempted : StopReason::kCancelled;
            record.active->stop = reason;
            record.active->stop_detail = preemption ? request.preempted_by : request.reason;
            ports_.observer.stop_requested(view(record), reason);
            decide(slot, preemption ? Outcome::kPreempted : Outcome::kCancelled,
                   stop_error(reason, record.active->stop_detail, 0, 0), nullptr);
            return answer(CancelAnswer{true, "the ticket had not started; it is cancelled"});
        }
    }
}

// A cancelled ticket that is not in hand ends as soon as it is read.
bool Engine::remember_cancel(CancelRequest request) {
    constexpr std::size_t kRemembered = 10'000;
    if (cancel_on_arrival_.size() >= kRemembered) return false;
    std::string id = request.ticket_id;
    cancel_on_arrival_.insert_or_assign(std::move(id), std::move(request));
    return true;
}

void Engine::on_ticket_deadline(Slot slot) {
    TicketRecord& record = records_[slot];
    switch (record.state) {
        case State::kRunning:  // its attempt's own limit is never later
        case State::kCancelling:
        case State::kReporting:
        case State::kSettled:
        case State::kHandedBack: return;
        default: break;
    }
    std::string message = "the deadline passed while the ticket was " + std::string(phase(record.state));
    if (record.state == State::kParked) {
        message += ": " + describe_waits(record);
        stop_waiting(slot);
    }
    wake(record);
    decide(slot, Outcome::kDeadlineExceeded,
           make_error(ErrorCode::kDeadlineExceeded, Retry::kNever, Fault::kLimit, "engine", std::move(message)),
           nullptr);
}

// Only "could not be reached" is a word about the back-end; a command that ran and failed is not. `report` is null when
// the attempt was stopped or handed back.
void Engine::settle_breaker(TicketRecord& record, const AttemptReport* report) {
    const std::string backend = std::exchange(record.active->breaker, {});
    if (backend.empty()) return;
    CircuitBreaker& gate = breaker(backend);
    const CircuitBreaker::State before = gate.state();
    if (report == nullptr) {
        gate.abandoned();
    } else if (!report->success && report->error && report->error->code == ErrorCode::kUnavailable &&
               report->error->retryable()) {
        gate.failure(ports_.clock.now());
    } else {
        gate.success();
    }
    if (before == gate.state()) return;
    static constexpr std::array<std::string_view, 3> kNames{"closed", "half_open", "open"};
    ports_.observer.breaker_changed(backend, kNames[static_cast<std::size_t>(gate.state())]);
}

}  // namespace wa
