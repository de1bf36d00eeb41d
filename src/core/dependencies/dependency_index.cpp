#include "core/dependencies/dependency_index.h"

#include <utility>

namespace wa {

DependencyIndex::NodeId DependencyIndex::intern(std::string_view id) {
    if (const auto found = by_id_.find(id); found != by_id_.end()) return *found;
    NodeId node = 0;
    if (free_.empty()) {
        node = static_cast<NodeId>(nodes_.size());
        nodes_.emplace_back();
    } else {
        node = free_.back();
        free_.pop_back();
    }
    Node& entry = nodes_[node];
    entry.id = std::string(id);
    entry.alive = true;
    by_id_.insert(node);
    return node;
}

DependencyIndex::NodeId DependencyIndex::find(std::string_view id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? kNoSlot : *found;
}

void DependencyIndex::remember_ending(NodeId node, Ending ending, EpochMillis at, bool public_ending,
                                      std::string detail) {
    Node& entry = nodes_[node];
    if (entry.ending == Ending::kCompleted && ending != Ending::kCompleted) return;  // COMPLETED is sticky (rule 11)
    if (entry.ending == Ending::kNone) endings_.push_back(node);
    entry.public_ending = public_ending || (entry.ending == ending && entry.public_ending);
    entry.ending = ending;
    entry.ending_at = at;
    entry.known_open = false;
    entry.set_detail(std::move(detail));
    // An entry that is still awaited or in hand keeps its ending; it is looked at again when its turn comes round.
    for (std::size_t tries = endings_.size(); endings_.size() > max_endings_ && tries > 0; --tries) {
        const NodeId oldest = endings_.front();
        endings_.pop_front();
        const Node& victim = nodes_[oldest];
        if (!victim.alive || victim.ending == Ending::kNone) continue;
        if (victim.in_hand != kNoSlot || victim.has_held() || victim.waiters.size() > victim.stale_waiters) {
            endings_.push_back(oldest);
            continue;
        }
        drop(oldest);
    }
}

void DependencyIndex::forget_ending(NodeId node) {
    Node& entry = nodes_[node];
    if (entry.ending == Ending::kNone) return;
    entry.ending = Ending::kNone;
    entry.public_ending = false;
    entry.ending_at = 0;
    entry.set_detail({});  // its place among endings_ is passed over when its turn comes
}

void DependencyIndex::release(NodeId node) {
    if (nodes_[node].alive && !needed(nodes_[node])) drop(node);
}

void DependencyIndex::drop(NodeId node) {
    Node& entry = nodes_[node];
    by_id_.erase(node);
    entry = Node{};
    free_.push_back(node);
}

}  // namespace wa
