// Texts out of a report, fit for a result, a log and a terminal; and numbers out of its attributes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wa {

// Blanks, tabs and line ends taken off both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

// The first line that is more than blanks, as valid UTF-8 (U+FFFD for what is not) without control characters,
// terminal colour codes and characters that turn the direction of writing. At most `max_bytes`, cut between characters
// and then ending in "…".
[[nodiscard]] std::string clean_line(std::string_view text, std::size_t max_bytes);

// A count: digits, blanks around them; also "3.0". Absent: no number, negative, too large.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);

// Seconds: "1.5", "1,234.5" and "1.234,5" (the last sign is the decimal one), "0,5", "1,234,567". Finite, 0 to 10^10;
// otherwise absent. One comma alone is a decimal comma: producers that group thousands also write decimals.
[[nodiscard]] std::optional<double> parse_seconds(std::string_view text);

// A rate 0 to 1. Absent: no number, outside.
[[nodiscard]] std::optional<double> parse_rate(std::string_view text);

}  // namespace wa
