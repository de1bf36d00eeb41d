// Stage 1: a record was read. Decide what it is: finished before, a dead letter, a repeat, too late, or work.
#include <utility>

#include "flow/engine.h"

namespace wa {
namespace {

// A deadline further away than this is none; it also keeps the arithmetic far from overflow.
constexpr std::int64_t kFarthestDeadlineMs = std::int64_t{10} * 365 * 24 * 3600 * 1000;

std::string clip(std::string text) {
    constexpr std::size_t kMaxText = 500;
    if (text.size() > kMaxText) text.resize(kMaxText);
    return text;
}

}  // namespace

void Engine::on_record(Record& record) {
    const auto found = partitions_.find(record.position.partition);
    if (found == partitions_.end() || found->second.epoch != record.epoch || found->second.releasing) return;
    Partition& partition = found->second;
    // A sink that knows each ticket's row needs no offsets, and its source may deliver the urgent ones first.
    const bool unfinished = !sink_traits_.wants_offsets || partition.tracker.read(record.position.offset);
    if (!unfinished && !broken(Variant::kIgnoreFinishedSet)) return;

    const Slot slot = new_record();
    TicketRecord& entry = records_[slot];
    ++partition.records;
    entry.position = record.position;
    entry.origin = record.origin;
    entry.epoch = record.epoch;
    entry.key = std::make_unique<std::string>(std::move(record.key));
    entry.payload = std::move(record.payload);
    if (!record.traceparent.empty() || !record.other_headers.empty()) {
        entry.headers = std::make_unique<RecordHeaders>(RecordHeaders{
            std::move(record.traceparent), std::move(record.tracestate), std::move(record.other_headers)});
    }
    entry.timestamp = record.timestamp;
    entry.admitted_at = ports_.clock.wall_now();
    entry.requeue_round = record.requeue_round;
    entry.run_again = record.run_again;
    entry.attempts_made = record.attempts_made;
    entry.attempts_burned = record.attempts_burned;
    entry.uncertain_start = record.position.offset < partition.uncertain_below;
    entry.deliveries = std::max(record.deliveries, partition.tracker.deliveries(record.position.offset));
    entry.received_at = ports_.clock.now();
    accept(slot);
}

void Engine::accept(Slot slot) {
    TicketRecord& record = records_[slot];
    if (!record.active) {
        Result<Ticket> decoded = ports_.decode(record.payload);
        if (!decoded) {
            std::string reason = "invalid_ticket";
            if (decoded.error().code == ErrorCode::kMalformed) reason = "decode_error";
            if (decoded.error().code == ErrorCode::kUnsupported) reason = "unsupported_task_type";
            return dead_letter(
                slot, DeadLetter{std::move(reason), "ValidationError", clip(decoded.error().describe()), "unknown"});
        }
        record.active = std::make_unique<Active>();
        record.active->ticket = std::make_shared<const Ticket>(std::move(*decoded));
    }
    const Ticket& ticket = *record.active->ticket;
    const bool first_look = record.node == kNoSlot;
    if (first_look) {
        record.node = index_.intern(ticket.ticket_id);
        if (*record.key == ticket.ticket_id) record.key.reset();
        if (record.requeue_round > 0 && rotated_.contains(std::hash<std::string>{}(ticket.ticket_id))) {
            ++rotated_reads_;
        } else {
            rotated_reads_ = 0;
            rotation_blocked_ = false;
        }
        ports_.observer.ticket_consumed(view(record));
    }
    DependencyIndex::Node& node = index_.at(record.node);

    if (record.run_again && node.in_hand == kNoSlot) index_.forget_ending(record.node);
    const bool completed_before = node.ending == Ending::kCompleted && node.public_ending;
    if (completed_before && !broken(Variant::kRunCompletedAgain))
        return suppress(slot, "already completed; not run again");
    if (node.in_hand != kNoSlot && node.in_hand != slot) {
        hold(node, slot);
        move(slot, Event::kDuplicateInHand, "another record of this ticket is in hand");
        record.active.reset();
        return;
    }
    node.in_hand = slot;
    node.unknown_since = MonoTime{};
    asked_.erase(record.node);

    if (ticket.status != TicketStatus::kPending) {
        return suppress(slot, "status is " + std::string(to_string(ticket.status)) + ", not PENDING");
    }
    if (!ports_.executors.contains(ticket.task_type)) {
        return dead_letter(slot, DeadLetter{"unsupported_task_type", "ValidationError",
                                            "no executor serves " + std::string(to_string(ticket.task_type)) + " here",
                                            std::string(to_string(ticket.task_type))});
    }
    if (record.deliveries + (record.uncertain_start ? 1 : 0) > options_.max_deliveries) {
        return dead_letter(slot,
                           DeadLetter{"worker_crashed", "TimeoutError",
                                      "a worker died " + std::to_string(record.deliveries) +
                                          " times while this ticket may have been running; it is not started again",
                                      std::string(to_string(ticket.task_type))});
    }
    if (ticket.sla.deadline && options_.deadline_mode == DeadlineMode::kEnforce) {
        // Bound to the clock that cannot jump once, at the read; a repeat that was held meanwhile may have outlived it.
        const std::int64_t left = *ticket.sla.deadline - record.admitted_at;
        record.deadline = record.received_at + std::chrono::milliseconds(std::min(left, kFarthestDeadlineMs));
        if (record.deadline <= ports_.clock.now()) {
            const std::string when = left <= 0 ? std::to_string(-left) + " ms before the ticket was read"
                                               : "while another record of this ticket was in hand";
            return decide(
                slot, Outcome::kDeadlineExceeded,
                make_error(ErrorCode::kDeadlineExceeded, Retry::kNever, Fault::kLimit, "engine",
                           "the deadline passed " + when + " (deadline " + std::to_string(*ticket.sla.deadline) +
                               ", clock " + std::to_string(record.admitted_at) + ")"),
                nullptr);
        }
        timers_.arm(record.deadline, TimerKind::kTicketDeadline, slot, record.generation);
    }
    if (const auto cancelled = cancel_on_arrival_.find(ticket.ticket_id); cancelled != cancel_on_arrival_.end()) {
        const CancelRequest request = std::move(cancelled->second);
        cancel_on_arrival_.erase(cancelled);
        return decide(
            slot, request.reason == "preemption" ? Outcome::kPreempted : Outcome::kCancelled,
            make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "engine", "cancelled: " + request.reason),
            nullptr);
    }
    wait_for_dependencies(slot);
}

void Engine::dead_letter(Slot slot, DeadLetter letter) {
    TicketRecord& record = records_[slot];
    if (!record.active) record.active = std::make_unique<Active>();
    Settlement settlement;
    settlement.kind = SettlementKind::kDeadLetter;
    settlement.outcome = Outcome::kInvalid;
    settlement.ticket_id = "unknown";
    if (record.active->ticket) {
        settlement.ticket_id = record.active->ticket->ticket_id;
        settlement.plan_id = record.active->ticket->plan_id;
    }
    settlement.payload = record.payload;
    std::string reason = letter.reason + ": " + letter.error;
    settlement.dead_letter = std::move(letter);
    into_outbox(slot, std::move(settlement), std::move(reason));
}

void Engine::suppress(Slot slot, std::string reason) {
    TicketRecord& record = records_[slot];
    ports_.observer.duplicate_suppressed(view(record));
    Settlement settlement;
    settlement.kind = SettlementKind::kSuppressed;
    settlement.ticket_id = record.active->ticket->ticket_id;
    settlement.plan_id = record.active->ticket->plan_id;
    into_outbox(slot, std::move(settlement), std::move(reason));
}

Engine::Verdict Engine::intake_verdict() const {
    if (drain_ != DrainPhase::kNone) return {false, "draining", "this worker is draining: it takes no new tickets"};
    if (!sink_healthy_) return {false, "sink-unavailable", "results cannot be stored: " + sink_error_};
    const std::size_t waiting = count(State::kParked) + count(State::kHeld);
    if (waiting > options_.max_parked) {
        return {false, "parked-full", std::to_string(waiting) + " tickets wait for dependencies, which is the limit"};
    }
    constexpr std::size_t kOutboxLimit = 10'000;  // outcomes of tickets that never entered the window
    if (outbox_.size() >= kOutboxLimit) return {false, "outbox-full", "too many results wait to be committed"};
    if (ports_.tickets.behind())
        return {false, "statuses-behind", "the ticket service takes statuses more slowly than tickets end"};
    if (!backpressure_.open()) {
        return {false, "intake-paused",
                std::to_string(in_flight()) + " of " + std::to_string(backpressure_.limit()) + " tickets in flight"};
    }
    return {true, "open", {}};
}

void Engine::update_intake() {
    backpressure_.update(in_flight() + count(State::kReady));
    const Verdict verdict = intake_verdict();
    const MonoTime now = ports_.clock.now();
    if (verdict.code == "statuses-behind" && !std::exchange(intake_timer_, true)) {
        constexpr Duration kLookAgain = std::chrono::milliseconds(50);  // nobody says when it has caught up
        timers_.arm(now + kLookAgain, TimerKind::kIntakeAgain);
    }
    if (verdict.allowed == intake_open_) return;
    intake_open_ = verdict.allowed;
    intake_reason_ = verdict.code;
    ports_.observer.intake_changed(intake_open_, verdict.code, now - intake_changed_);
    intake_changed_ = now;
    ports_.source.set_open(intake_open_);
}

}  // namespace wa
