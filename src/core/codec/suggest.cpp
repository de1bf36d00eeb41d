#include "core/codec/suggest.h"

#include <algorithm>
#include <array>

namespace wa {
namespace {

constexpr std::size_t kMaxWord = 64;

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
    const std::size_t difference = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
    if (a.size() > kMaxWord || b.size() > kMaxWord || difference > limit) return limit + 1;
    using Row = std::array<std::size_t, kMaxWord + 1>;
    Row before{};
    Row previous{};
    Row current{};
    for (std::size_t j = 0; j <= b.size(); ++j)
        previous[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        current[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0U : 1U)});
            const bool swapped =
                i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
            if (swapped) current[j] = std::min(current[j], before[j - 2] + 1);
        }
        before = previous;
        previous = current;
    }
    return std::min(previous[b.size()], limit + 1);
}

std::string_view closest(std::string_view word, std::span<const std::string_view> candidates) {
    std::size_t best = std::clamp<std::size_t>(word.size() / 3, 1, 3) + 1;
    std::string_view found;
    for (const std::string_view candidate : candidates) {
        if (best == 0) break;
        const std::size_t distance = edit_distance(word, candidate, best - 1);
        if (distance >= best) continue;
        best = distance;
        found = candidate;
    }
    return found;
}

}  // namespace wa
