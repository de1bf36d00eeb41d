#include "core/admission/slot_queue.h"

#include <tuple>

namespace wa {

bool SlotQueue::ByDeadline::operator()(const Entry& a, const Entry& b) const {
    return std::tie(a.deadline, a.queued_at, a.item) < std::tie(b.deadline, b.queued_at, b.item);
}

bool SlotQueue::ByAge::operator()(const Entry& a, const Entry& b) const {
    return std::tie(a.queued_at, a.item) < std::tie(b.queued_at, b.item);
}

void SlotQueue::push(const Entry& entry) {
    Class& bucket = classes_[static_cast<std::size_t>(entry.priority)];
    bucket.by_deadline.insert(entry);
    bucket.by_age.insert(entry);
}

bool SlotQueue::remove(const Entry& entry) {
    Class& bucket = classes_[static_cast<std::size_t>(entry.priority)];
    bucket.by_age.erase(entry);
    return bucket.by_deadline.erase(entry) != 0;
}

std::int64_t SlotQueue::effective_class(const Entry& entry, MonoTime now) const {
    const Duration waited = now > entry.queued_at ? now - entry.queued_at : Duration::zero();
    return static_cast<std::int64_t>(entry.priority) + waited / aging_step_;
}

std::optional<SlotQueue::Entry> SlotQueue::peek(MonoTime now) const {
    // In each class only two can win: the nearest deadline, and the oldest (which aging may have lifted furthest).
    std::optional<Entry> best;
    std::int64_t best_class = -1;
    const auto consider = [&](const Entry& entry) {
        const std::int64_t rank = effective_class(entry, now);
        const bool better = !best || rank > best_class || (rank == best_class && ByDeadline{}(entry, *best));
        if (better) {
            best = entry;
            best_class = rank;
        }
    };
    for (const Class& bucket : classes_) {
        if (bucket.by_deadline.empty()) continue;
        consider(*bucket.by_deadline.begin());
        consider(*bucket.by_age.begin());
    }
    return best;
}

std::optional<SlotQueue::Entry> SlotQueue::pop(MonoTime now) {
    std::optional<Entry> entry = peek(now);
    if (entry) remove(*entry);
    return entry;
}

std::size_t SlotQueue::size() const {
    std::size_t count = 0;
    for (const Class& bucket : classes_)
        count += bucket.by_deadline.size();
    return count;
}

}  // namespace wa
