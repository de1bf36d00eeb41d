// What is known of the newest letters of the dead letter topic, and what became of each. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "ports/dead_letters.h"
#include "ports/ticket_source.h"

namespace wa::kafka {

// Where a letter stands in its topic.
struct LetterPlace {
    PartitionId partition = 0;
    Offset offset = 0;
    friend auto operator<=>(const LetterPlace&, const LetterPlace&) = default;
};
// "<partition>-<offset>", the key by which people name it; the same text stands in marks.
[[nodiscard]] std::string letter_key(LetterPlace place);
[[nodiscard]] std::optional<LetterPlace> parse_letter_key(std::string_view key);

class LetterIndex {
public:
    static constexpr std::size_t kMaxLetters = 10'000;
    explicit LetterIndex(std::size_t most = kMaxLetters) : most_(most) {}

    // Without payload; its key is set here. Beyond the bound the oldest ones go.
    void add(LetterPlace place, DeadLetterEntry entry);
    // The first word about a letter counts; one about a letter that is not here is nothing.
    void settle(LetterPlace place, LetterState state, EpochMillis at, std::string by);
    // The topic begins at `offset` now.
    void forget_below(PartitionId partition, Offset offset);
    // There are older letters than those that were added.
    void not_complete() { complete_ = false; }
    void clear();

    // Null when it is not here. Valid until the next change.
    [[nodiscard]] const DeadLetterEntry* find(LetterPlace place) const;
    // As in a page.
    [[nodiscard]] std::optional<DeadLetterEntry> get(LetterPlace place) const;
    [[nodiscard]] DeadLetterList page(std::size_t offset, std::size_t limit) const;

private:
    void remove(LetterPlace place);
    [[nodiscard]] DeadLetterEntry with_replays(DeadLetterEntry entry) const;

    std::size_t most_;
    bool complete_ = true;
    std::map<LetterPlace, DeadLetterEntry> letters_;
    std::set<std::pair<EpochMillis, LetterPlace>> by_time_;
    std::unordered_map<std::string, std::int32_t> replays_;  // by ticket id, of the letters that are here
};

}  // namespace wa::kafka
