#include "adapters/kafka/letter_index.h"

#include <charconv>
#include <iterator>

namespace wa::kafka {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) {
    if (text.empty() || text.front() < '0' || text.front() > '9') return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string letter_key(LetterPlace place) {
    return std::to_string(place.partition) + "-" + std::to_string(place.offset);
}

std::optional<LetterPlace> parse_letter_key(std::string_view key) {
    const std::size_t dash = key.find('-');
    LetterPlace place;
    if (dash == std::string_view::npos || !read_number(key.substr(0, dash), place.partition) ||
        !read_number(key.substr(dash + 1), place.offset))
        return std::nullopt;
    return place;
}

void LetterIndex::add(LetterPlace place, DeadLetterEntry entry) {
    entry.key = letter_key(place);
    entry.state = LetterState::kOpen;
    const auto [where, fresh] = letters_.try_emplace(place, std::move(entry));
    if (!fresh) return;
    by_time_.emplace(where->second.at, place);
    if (letters_.size() <= most_) return;
    complete_ = false;
    remove(by_time_.begin()->second);
}

void LetterIndex::settle(LetterPlace place, LetterState state, EpochMillis at, std::string by) {
    const auto found = letters_.find(place);
    if (found == letters_.end() || found->second.state != LetterState::kOpen) return;
    found->second.state = state;
    found->second.settled_at = at;
    found->second.settled_by = std::move(by);
    if (state == LetterState::kReplayed) ++replays_[found->second.ticket_id];
}

void LetterIndex::remove(LetterPlace place) {
    const auto found = letters_.find(place);
    const DeadLetterEntry& entry = found->second;
    if (entry.state == LetterState::kReplayed) {
        const auto count = replays_.find(entry.ticket_id);
        if (--count->second == 0) replays_.erase(count);
    }
    by_time_.erase({entry.at, place});
    letters_.erase(found);
}

void LetterIndex::forget_below(PartitionId partition, Offset offset) {
    while (true) {
        const auto first = letters_.lower_bound({partition, 0});
        if (first == letters_.end() || first->first.partition != partition || first->first.offset >= offset) return;
        remove(first->first);
    }
}

void LetterIndex::clear() {
    letters_.clear();
    by_time_.clear();
    replays_.clear();
    complete_ = true;
}

const DeadLetterEntry* LetterIndex::find(LetterPlace place) const {
    const auto found = letters_.find(place);
    return found == letters_.end() ? nullptr : &found->second;
}

std::optional<DeadLetterEntry> LetterIndex::get(LetterPlace place) const {
    const DeadLetterEntry* entry = find(place);
    if (entry == nullptr) return std::nullopt;
    return with_replays(*entry);
}

DeadLetterEntry LetterIndex::with_replays(DeadLetterEntry entry) const {
    const auto count = replays_.find(entry.ticket_id);
    if (count != replays_.end()) entry.replays = count->second;
    return entry;
}

DeadLetterList LetterIndex::page(std::size_t offset, std::size_t limit) const {
    DeadLetterList list;
    list.total = static_cast<std::int64_t>(letters_.size());
    list.complete = complete_;
    if (offset >= by_time_.size()) return list;
    auto each = by_time_.rbegin();
    std::advance(each, static_cast<std::ptrdiff_t>(offset));
    for (; each != by_time_.rend() && list.letters.size() < limit; ++each)
        list.letters.push_back(with_replays(letters_.at(each->second)));
    return list;
}

}  // namespace wa::kafka
