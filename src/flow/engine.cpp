#include "flow/engine.h"

#include <utility>

#include "base/check.h"

namespace wa {

Engine::Engine(EngineOptions options, EnginePorts ports)
    : options_(std::move(options)),
      ports_(std::move(ports)),
      sink_traits_(ports_.sink.traits()),
      index_(options_.max_known_endings),
      backpressure_(options_.max_concurrent_tickets, options_.pause_threshold, options_.resume_threshold),
      ready_(options_.aging_step),
      queue_(options_.aging_step),
      metadata_limit_(sink_traits_.metadata_limit) {
    intake_changed_ = ports_.clock.now();
}

Engine::~Engine() = default;

void Engine::handle(EngineInput input) {
    inbox_.push_back(std::move(input));
    if (busy_) return;
    busy_ = true;
    retired_.clear();
    while (!inbox_.empty()) {
        EngineInput current = std::move(inbox_.front());
        inbox_.pop_front();
        process(current);
        pump();
    }
    busy_ = false;
    if (ports_.handled) ports_.handled();
}

void Engine::process(EngineInput& input) {
    struct Dispatch {
        Engine& engine;
        void operator()(Record& record) const { engine.on_record(record); }
        void operator()(PartitionAssigned& assigned) const { engine.on_assigned(assigned); }
        void operator()(PartitionRevoked& revoked) const { engine.on_revoked(revoked); }
        void operator()(CommitResult& result) const { engine.on_commit(result); }
        void operator()(SinkRecovered& recovered) const { engine.on_recovered(recovered); }
        void operator()(AttemptEnded& ended) const { engine.on_attempt_ended(ended); }
        void operator()(DependencyStatuses& statuses) const { engine.on_statuses(statuses); }
        void operator()(EndingSeen& ending) const { engine.on_ending_seen(ending); }
        void operator()(ResultsReaderCaughtUp& caught_up) const { engine.on_reader_caught_up(caught_up); }
        void operator()(CancelTicket& cancel) const { engine.on_cancel(cancel); }
        void operator()(StartDrain& drain) const { engine.on_drain(drain); }
        void operator()(StopDrain& stop) const { engine.on_undrain(stop); }
        void operator()(ChangeLimits& limits) const { engine.on_limits(limits); }
        void operator()(TimePassed& /*unused*/) const { engine.on_time(); }
        void operator()(LeaseAnswered& answered) const { engine.on_lease(answered); }
    };
    std::visit(Dispatch{*this}, input);
}

// What can go on after an input: places are granted, outcomes are sent, intake is opened or closed. Each decision is
// made here and nowhere else.
void Engine::pump() {
    grant_window();
    grant_slots();
    release_partitions();
    finish_drain();
    while (count(State::kParked) + count(State::kHeld) > options_.max_parked && !rotation_blocked_)
        requeue_longest_parked();
    commit_next();
    send_lookups();
    if (cycles_unchecked_ && admitted_ == 0 && ready_.empty()) sweep_for_cycles();
    update_intake();
    forget_stale_timers();
}

void Engine::on_time() {
    const MonoTime now = ports_.clock.now();
    while (const auto timer = timers_.pop_due(now))
        fire(*timer);
}

// After every input: a limit that is hours away would keep its timer for as long, for each of the tickets that have
// ended since. A record has fewer than four that are alive.
void Engine::forget_stale_timers() {
    constexpr std::size_t kSlack = 1024;
    if (timers_.size() > 4 * live_ + kSlack)
        timers_.compact([this](const Timer& timer) { return timer_is_live(timer); });
}

bool Engine::timer_is_live(const Timer& timer) const {
    switch (timer.kind) {
        case TimerKind::kTicketDeadline:
            return records_[timer.slot].in_use && records_[timer.slot].generation == timer.generation;
        case TimerKind::kAttemptLimit:
        case TimerKind::kStopOverdue:
        case TimerKind::kBackoffOver:
            return records_[timer.slot].in_use && records_[timer.slot].generation == timer.generation &&
                   records_[timer.slot].stamp == timer.stamp;
        case TimerKind::kDrainGrace:
        case TimerKind::kDrainCommits: return drain_ != DrainPhase::kNone && timer.stamp == drain_number_;
        default: return true;
    }
}

void Engine::fire(const Timer& timer) {
    if (!timer_is_live(timer)) return;
    switch (timer.kind) {
        case TimerKind::kTicketDeadline: return on_ticket_deadline(timer.slot);
        case TimerKind::kAttemptLimit: return on_attempt_limit(timer.slot);
        case TimerKind::kStopOverdue: return on_stop_overdue(timer.slot);
        case TimerKind::kBackoffOver: return on_backoff_over(timer.slot);
        case TimerKind::kCommitAgain:
            commit_paused_ = false;
            if (batch_ && batch_->waiting_to_retry) {
                batch_->waiting_to_retry = false;
                ports_.sink.commit(batch_->batch);
            }
            return;
        case TimerKind::kTargetAgain:
            for (const auto& item : held_back_) {
                if (TicketRecord* record = live(item.first, item.second)) {
                    record->active->held_back = false;
                    outbox_.push_back(item);
                }
            }
            held_back_.clear();
            return;
        case TimerKind::kLookup: return on_lookup_timer();
        case TimerKind::kIntakeAgain: intake_timer_ = false; return;
        case TimerKind::kDrainGrace:
            if (drain_ == DrainPhase::kDraining) cancel_for_drain();
            return;
        case TimerKind::kDrainCommits: drain_commits_overdue_ = true; return;
        case TimerKind::kReleaseOverdue:
            for (auto& [id, partition] : partitions_) {
                if (partition.epoch == timer.stamp) partition.release_overdue = true;
            }
            return;
    }
}

void Engine::attempt_ended(AttemptKey key, AttemptReport report) {
    handle(AttemptEnded{key, std::move(report)});
}

Engine::Slot Engine::new_record() {
    Slot slot = 0;
    if (free_.empty()) {
        slot = static_cast<Slot>(records_.size());
        records_.emplace_back();
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    TicketRecord& record = records_[slot];
    record.in_use = true;
    record.state = State::kReceived;
    record.node = kNoSlot;
    ++live_;
    ++counter(State::kReceived);
    return slot;
}

void Engine::free_record(Slot slot) {
    TicketRecord& record = records_[slot];
    --counter(record.state);
    if (record.admitted) --admitted_;
    if (const auto found = partitions_.find(record.position.partition);
        found != partitions_.end() && found->second.epoch == record.epoch) {
        --found->second.records;
    }
    give_lease_back(record);
    const NodeId node = record.node;
    if (node != kNoSlot) let_go(index_.at(node), slot);
    const std::uint32_t generation = record.generation + 1;
    record = TicketRecord{};  // an attempt that is still there is abandoned by this
    record.generation = generation;
    --live_;
    free_.push_back(slot);
    if (node == kNoSlot) return;
    DependencyIndex::Node& entry = index_.at(node);
    if (entry.in_hand == slot) entry.in_hand = kNoSlot;
    if (entry.in_hand == kNoSlot) release_held(node);
    if (entry.in_hand == kNoSlot && !entry.has_held() && entry.waiters.size() > entry.stale_waiters &&
        entry.ending != Ending::kCompleted) {
        // Others still wait for it, and from here on nobody in this process will tell them.
        set_known_open(entry, entry.known_open);
        ask_for(node);
    }
    index_.release(node);
}

Engine::TicketRecord* Engine::live(Slot slot, std::uint32_t generation) {
    if (slot >= records_.size()) return nullptr;
    TicketRecord& record = records_[slot];
    return record.in_use && record.generation == generation ? &record : nullptr;
}

void Engine::move(Slot slot, Event event, std::string reason) {
    TicketRecord& record = records_[slot];
    const State from = record.state;
    const auto to = next(from, event);
    WA_CHECK(to.has_value(), "the state table knows every move of a ticket");
    --counter(from);
    ++counter(*to);
    record.state = *to;
    record.stamp = next_stamp_++;  // timers of the state that was left are void
    restore_steps(record);
    if (!record.steps) record.steps = std::make_unique<std::vector<Step>>();
    record.steps->push_back(Step{ports_.clock.wall_now(), from, *to, record.attempts_made, std::move(reason)});
    ports_.observer.ticket_moved(view(record), from, event, *to, record.steps->back().reason);
}

void Engine::wake(TicketRecord& record) {
    if (record.active) return;
    record.active = std::make_unique<Active>();
    Result<Ticket> ticket = ports_.decode(record.payload);
    WA_CHECK(ticket.has_value(), "a ticket that was accepted can be decoded again");
    record.active->ticket = std::make_shared<const Ticket>(std::move(*ticket));
}

TicketView Engine::view(const TicketRecord& record) const {
    TicketView result;
    if (record.node != kNoSlot) result.ticket_id = index_.at(record.node).id;
    result.state = record.state;
    result.attempt = record.attempts_made;
    if (record.headers) {
        result.trace.traceparent = record.headers->traceparent;
        result.trace.tracestate = record.headers->tracestate;
    }
    if (record.active && record.active->ticket) {
        const Ticket& ticket = *record.active->ticket;
        result.ticket_id = ticket.ticket_id;
        result.plan_id = ticket.plan_id;
        result.task_id = ticket.task_id;
        result.intent_id = ticket.intent_id;
        result.correlation_id = ticket.correlation_id;
        result.task_type = ticket.task_type;
        result.priority = ticket.priority;
        result.trace.trace_id = ticket.trace_id;
        result.trace.span_id = ticket.span_id;
    }
    return result;
}

void Engine::visit(const std::function<void(std::string_view, State, SourcePosition)>& visitor) const {
    for (const TicketRecord& record : records_) {
        if (!record.in_use) continue;
        visitor(record.node == kNoSlot ? std::string_view("unknown") : std::string_view(index_.at(record.node).id),
                record.state, record.position);
    }
}

}  // namespace wa
