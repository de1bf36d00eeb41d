// The offsets of one partition that are read and not finished: eight bytes each. They are added in rising order and
// leave in any order; what has left stays as a mark until half of the list is marks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace wa {

class OpenOffsets {
public:
    // `offset` is above all that were added before and below 2^62.
    void add(std::int64_t offset) {
        entries_.push_back(offset * 2);
        ++open_;
    }
    // Unknown ones are ignored.
    void remove(std::int64_t offset) {
        const auto found = std::lower_bound(entries_.begin(), entries_.end(), offset * 2);
        if (found == entries_.end() || *found != offset * 2) return;
        *found += 1;
        --open_;
        while (first_ < entries_.size() && left(entries_[first_]))
            ++first_;
        constexpr std::size_t kWorthCompacting = 64;
        if (entries_.size() > kWorthCompacting && open_ * 2 < entries_.size()) compact();
    }
    [[nodiscard]] bool contains(std::int64_t offset) const {
        return std::binary_search(entries_.begin(), entries_.end(), offset * 2);
    }
    [[nodiscard]] bool empty() const { return open_ == 0; }
    [[nodiscard]] std::size_t size() const { return open_; }
    // Not empty.
    [[nodiscard]] std::int64_t lowest() const { return entries_[first_] / 2; }
    // Ascending.
    template <class Visitor>
    void visit(Visitor&& visitor) const {
        for (std::size_t at = first_; at < entries_.size(); ++at) {
            if (!left(entries_[at])) visitor(entries_[at] / 2);
        }
    }

private:
    static bool left(std::int64_t entry) { return (entry & 1) != 0; }
    void compact() {
        std::erase_if(entries_, left);
        first_ = 0;
    }

    std::vector<std::int64_t> entries_;  // twice the offset, one more once it has left: the order stays
    std::size_t first_ = 0;              // nothing below it is open
    std::size_t open_ = 0;
};

}  // namespace wa
