// "Did you mean": the nearest of some known words.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace wa {

// Damerau-Levenshtein distance (adjacent letters may swap), without case. Gives limit + 1 as soon as it is above
// `limit`.
std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit);

// The candidate that is near enough to be a slip of the fingers (a third of the letters, at most 3), or "".
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace wa
