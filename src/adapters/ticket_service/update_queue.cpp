#include "adapters/ticket_service/update_queue.h"

namespace wa::ticket_service {

bool is_ending(TicketStatus status) {
    return status != TicketStatus::kPending && status != TicketStatus::kRunning;
}

UpdateQueue::Added UpdateQueue::add(StatusUpdate update, MonoTime now, std::optional<StatusUpdate>& lost) {
    const std::string id = update.ticket_id;
    const bool ending = is_ending(update.status);
    auto found = entries_.find(id);
    if (found == entries_.end()) {
        if (entries_.size() >= max_tickets_) {
            if (ending) lost = evict_running();
            if (!lost) {
                lost = std::move(update);
                return Added::kDropped;
            }
        }
        found = entries_.try_emplace(id).first;
        found->second.since = now;
    }
    Entry& entry = found->second;
    if (entry.waiting) {
        entry.waiting = std::move(update);  // at the same place, after the same wait
        return Added::kReplaced;
    }
    entry.waiting = std::move(update);
    if (!ending) {
        running_.push_back(id);
        if (running_.size() > 2 * max_tickets_) running_.pop_front();
    }
    if (!entry.sending) make_ready(id, entry);
    return Added::kQueued;
}

UpdateQueue::Entry* UpdateQueue::at(const Place& place) {
    const auto found = entries_.find(place.first);
    return found != entries_.end() && found->second.place == place.second ? &found->second : nullptr;
}

std::optional<UpdateQueue::Sending> UpdateQueue::take(MonoTime now) {
    while (!delayed_.empty() && delayed_.begin()->first <= now) {
        ready_.push_back(std::move(delayed_.begin()->second));
        delayed_.erase(delayed_.begin());
    }
    while (!ready_.empty()) {
        Entry* const entry = at(ready_.front());
        ready_.pop_front();
        if (entry == nullptr) continue;
        entry->sending = std::move(entry->waiting);
        entry->waiting.reset();
        ++in_flight_;
        return Sending{&*entry->sending, entry->since, entry->failures};
    }
    return std::nullopt;
}

void UpdateQueue::done(const std::string& ticket_id, MonoTime now) {
    const auto found = entries_.find(ticket_id);
    if (found == entries_.end() || !found->second.sending) return;
    Entry& entry = found->second;
    entry.sending.reset();
    --in_flight_;
    if (!entry.waiting) {
        entries_.erase(found);
        return;
    }
    entry.since = now;
    entry.failures = 0;
    make_ready(ticket_id, entry);
}

void UpdateQueue::put_back(const std::string& ticket_id, MonoTime when, bool failed) {
    const auto found = entries_.find(ticket_id);
    if (found == entries_.end() || !found->second.sending) return;
    Entry& entry = found->second;
    if (!entry.waiting) entry.waiting = std::move(entry.sending);
    entry.sending.reset();
    --in_flight_;
    if (failed) ++entry.failures;
    entry.place = next_place_++;
    delayed_.emplace(when, Place{ticket_id, entry.place});
}

std::optional<MonoTime> UpdateQueue::next_due(MonoTime now) const {
    if (!ready_.empty()) return now;
    if (!delayed_.empty()) return delayed_.begin()->first;
    return std::nullopt;
}

std::optional<MonoTime> UpdateQueue::ready_since() {
    for (; !ready_.empty(); ready_.pop_front()) {
        if (const Entry* entry = at(ready_.front())) return entry->since;
    }
    return std::nullopt;
}

std::vector<StatusUpdate> UpdateQueue::unsent_endings() const {
    std::vector<StatusUpdate> updates;
    for (const auto& [id, entry] : entries_) {
        const auto& last = entry.waiting ? entry.waiting : entry.sending;
        if (last && is_ending(last->status)) updates.push_back(*last);
    }
    return updates;
}

void UpdateQueue::make_ready(const std::string& ticket_id, Entry& entry) {
    entry.place = next_place_++;
    ready_.emplace_back(ticket_id, entry.place);
}

std::optional<StatusUpdate> UpdateQueue::evict_running() {
    while (!running_.empty()) {
        const auto found = entries_.find(running_.front());
        running_.pop_front();
        if (found == entries_.end() || found->second.sending || !found->second.waiting) continue;
        if (is_ending(found->second.waiting->status)) continue;
        std::optional<StatusUpdate> evicted = std::move(found->second.waiting);
        entries_.erase(found);  // its place becomes stale
        return evicted;
    }
    return std::nullopt;
}

}  // namespace wa::ticket_service
