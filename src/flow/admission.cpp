// Stage 3: a place in the in-flight window, then an execution slot. Nothing executes that was not granted one here.
#include "base/check.h"
#include "flow/engine.h"

namespace wa {

std::size_t Engine::in_flight() const {
    return admitted_;
}

std::size_t Engine::executing() const {
    return count(State::kStarting) + count(State::kRunning) + count(State::kCancelling);
}

void Engine::on_limits(const ChangeLimits& limits) {
    options_.max_concurrent_tasks = limits.max_concurrent_tasks;
    options_.max_concurrent_tickets = limits.max_concurrent_tickets;
    options_.pause_threshold = limits.pause_threshold;
    options_.resume_threshold = limits.resume_threshold;
    backpressure_.change(limits.max_concurrent_tickets, limits.pause_threshold, limits.resume_threshold);
}

void Engine::enter_ready(Slot slot) {
    TicketRecord& record = records_[slot];
    move(slot, Event::kDependenciesDone, "dependencies are done");
    record.active->entry = SlotQueue::Entry{slot, record.active->ticket->priority, ports_.clock.now(), record.deadline};
    ready_.push(record.active->entry);
    record.queued_entry = true;
    if (broken(Variant::kParkedHoldsWindow) && record.admitted) {
        record.admitted = false;
        --admitted_;
    }
}

Engine::Verdict Engine::window_verdict() const {
    if (drain_ != DrainPhase::kNone) return {false, "draining", "this worker is draining: nothing new is started"};
    if (admitted_ >= options_.max_concurrent_tickets) {
        return {false, "intake-paused",
                std::to_string(admitted_) + " of " + std::to_string(options_.max_concurrent_tickets) +
                    " tickets in flight"};
    }
    return {};
}

void Engine::grant_window() {
    while (!ready_.empty() && window_verdict().allowed) {
        const auto entry = ready_.pop(ports_.clock.now());
        TicketRecord& record = records_[entry->item];
        record.admitted = true;
        ++admitted_;
        move(entry->item, Event::kWindowGranted, "a place in the window is free");
        // The time of waiting for a slot counts from here; the deadline stays.
        record.active->entry.queued_at = ports_.clock.now();
        queue_.push(record.active->entry);
    }
}

Engine::Verdict Engine::slot_verdict() const {
    if (drain_ != DrainPhase::kNone) return {false, "draining", "this worker is draining: nothing new is started"};
    if (!sink_healthy_) return {false, "sink-unavailable", "results cannot be stored: " + sink_error_};
    if (broken(Variant::kNoSlotLimit)) return {};
    if (executing() + quarantined_ >= options_.max_concurrent_tasks) {
        std::string detail =
            std::to_string(executing()) + " of " + std::to_string(options_.max_concurrent_tasks) + " slots busy";
        if (quarantined_ > 0)
            detail += ", " + std::to_string(quarantined_) + " held by attempts that could not be stopped";
        return {false, "slots-full", std::move(detail)};
    }
    return {};
}

void Engine::grant_slots() {
    while (!queue_.empty() && slot_verdict().allowed) {
        const auto entry = queue_.pop(ports_.clock.now());
        records_[entry->item].queued_entry = false;
        start(entry->item);
    }
}

void Engine::leave_queues(Slot slot) {
    TicketRecord& record = records_[slot];
    if (!record.queued_entry) return;
    record.queued_entry = false;
    const bool removed =
        record.state == State::kReady ? ready_.remove(record.active->entry) : queue_.remove(record.active->entry);
    WA_CHECK(removed, "a queued ticket stands in its queue");
}

}  // namespace wa
