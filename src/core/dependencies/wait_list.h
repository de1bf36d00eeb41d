// Which dependencies a parked ticket still waits for. Small for few, and linear in all for many: taking one off a list
// of a hundred thousand is a search by halves, not a walk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace wa {

class WaitList {
public:
    using NodeId = std::uint32_t;  // below 2^31

    // Only before seal(); each node at most once.
    void add(NodeId node) { entries_.push_back(node); }
    void seal() {
        entries_.shrink_to_fit();
        std::sort(entries_.begin(), entries_.end());
        open_ = static_cast<std::uint32_t>(entries_.size());
    }
    // False when it is not waited for (any more).
    bool remove(NodeId node) {
        const auto found = find(node);
        if (found == entries_.end() || *found != node) return false;
        *found |= kDone;
        --open_;
        return true;
    }
    [[nodiscard]] bool contains(NodeId node) const {
        const auto found = std::lower_bound(entries_.begin(), entries_.end(), node, before);
        return found != entries_.end() && *found == node;
    }
    [[nodiscard]] bool empty() const { return open_ == 0; }
    [[nodiscard]] std::size_t size() const { return open_; }
    // For walking: every place, whether still waited for or not.
    [[nodiscard]] std::size_t places() const { return entries_.size(); }
    [[nodiscard]] bool open_at(std::size_t place) const { return (entries_[place] & kDone) == 0; }
    [[nodiscard]] NodeId node_at(std::size_t place) const { return entries_[place] & ~kDone; }

private:
    static constexpr NodeId kDone = NodeId{1} << 31U;
    static bool before(NodeId entry, NodeId wanted) { return (entry & ~kDone) < wanted; }
    std::vector<NodeId>::iterator find(NodeId node) {
        return std::lower_bound(entries_.begin(), entries_.end(), node, before);
    }

    std::vector<NodeId> entries_;  // ascending; the top bit marks what is done
    std::uint32_t open_ = 0;
};

}  // namespace wa
