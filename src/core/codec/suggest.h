// "Did you mean": the word of a list that a typing mistake most likely stood for.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace wa {

// Optimal string alignment distance (insert, delete, replace, swap of neighbours), case ignored. Words longer than 64
// bytes, and distances above `limit`, give `limit + 1`.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit);

// The closest candidate, empty when none is close enough (a third of the word's length, at least 1, at most 3). The
// first of equally close ones wins.
[[nodiscard]] std::string_view closest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace wa
