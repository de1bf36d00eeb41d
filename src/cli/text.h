// Text for terminals. Whatever came from a server, a ticket or a file passes through here before it is printed: it must
// not be able to drive the terminal or to forge rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wa::cli {

// One line: control characters (C0, C1, DEL, line ends, tabs) and characters that reorder text become visible escapes,
// bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string printable(std::string_view text);
// Many lines: the same, but line feeds and tabs stay.
[[nodiscard]] std::string printable_block(std::string_view text);

// Columns that a terminal needs for printable text.
[[nodiscard]] std::size_t display_width(std::string_view text);
// At most `width` columns, with "…" when something is missing.
[[nodiscard]] std::string fit(std::string_view text, std::size_t width);
// Filled with blanks to `width` columns; longer text stays.
[[nodiscard]] std::string pad(std::string_view text, std::size_t width);

// "0s", "70s", "12m", "5h", "3d": how long ago, one unit. Negative = 0.
[[nodiscard]] std::string age_text(std::int64_t ms);
// "0.8s", "41.0s", "1m44s", "2h05m": how long it took.
[[nodiscard]] std::string run_text(std::int64_t ms);
// "2026-08-04T14:02:11.904Z".
[[nodiscard]] std::string rfc3339(std::int64_t epoch_ms);
[[nodiscard]] std::string clock_text(std::int64_t epoch_ms);  // "14:02:11.904Z"

// The first 8 characters of an id.
[[nodiscard]] std::string_view short_id(std::string_view id);

}  // namespace wa::cli
