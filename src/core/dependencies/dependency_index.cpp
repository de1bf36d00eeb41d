#include "core/dependencies/dependency_index.h"

#include <utility>

namespace wa {

DependencyIndex::NodeId DependencyIndex::intern(std::string_view id) {
    if (const auto found = by_id_.find(id); found != by_id_.end()) return found->second;
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
    by_id_.emplace(std::string_view(entry.id), node);
    return node;
}

DependencyIndex::NodeId DependencyIndex::find(std::string_view id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? kNoSlot : found->second;
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
    entry.detail = std::move(detail);
    // An entry that is still awaited or in hand keeps its ending; it is looked at again when its turn comes round.
    for (std::size_t tries = endings_.size(); endings_.size() > max_endings_ && tries > 0; --tries) {
        const NodeId oldest = endings_.front();
        endings_.pop_front();
        Node& victim = nodes_[oldest];
        if (victim.in_hand != kNoSlot || !victim.held.empty() || victim.waiters.size() > victim.stale_waiters) {
            endings_.push_back(oldest);
            continue;
        }
        drop(oldest);
    }
}

void DependencyIndex::release(NodeId node) {
    if (nodes_[node].alive && !needed(nodes_[node])) drop(node);
}

void DependencyIndex::drop(NodeId node) {
    Node& entry = nodes_[node];
    by_id_.erase(std::string_view(entry.id));
    entry = Node{};
    free_.push_back(node);
}

}  // namespace wa
