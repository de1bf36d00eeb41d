#include "config/suggest.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace wa {
namespace {
char folded(char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}
constexpr std::size_t kLongestWord = 200;  // longer ones are not slips of the fingers
}  // namespace

std::size_t edit_distance(std::string_view left, std::string_view right, std::size_t limit) {
    const std::size_t gap = left.size() > right.size() ? left.size() - right.size() : right.size() - left.size();
    if (gap > limit || left.size() > kLongestWord || right.size() > kLongestWord) return limit + 1;
    // Three rows of the table: the swap looks two rows back.
    std::array<std::vector<std::size_t>, 3> rows;
    for (auto& row : rows)
        row.resize(right.size() + 1);
    for (std::size_t j = 0; j <= right.size(); ++j)
        rows[0][j] = j;
    for (std::size_t i = 1; i <= left.size(); ++i) {
        auto& row = rows[i % 3];
        const auto& above = rows[(i - 1) % 3];
        const auto& twice = rows[(i + 1) % 3];
        row[0] = i;
        std::size_t best = i;
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const bool same = folded(left[i - 1]) == folded(right[j - 1]);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0U : 1U)});
            const bool swapped = i > 1 && j > 1 && folded(left[i - 1]) == folded(right[j - 2]) &&
                                 folded(left[i - 2]) == folded(right[j - 1]);
            if (swapped) row[j] = std::min(row[j], twice[j - 2] + 1);
            best = std::min(best, row[j]);
        }
        if (best > limit) return limit + 1;
    }
    return std::min(rows[left.size() % 3][right.size()], limit + 1);
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    std::size_t limit = std::min<std::size_t>(3, std::max<std::size_t>(1, word.size() / 3));
    std::string_view found;
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate, limit);
        if (distance > limit || (distance == limit && !found.empty())) continue;
        found = candidate;
        limit = distance;
    }
    return found;
}

}  // namespace wa
