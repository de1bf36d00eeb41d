// Small pure helpers around text and JSON values, shared by the codecs.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wa {

inline constexpr std::size_t kClipBytes = 64;

// At most `max` bytes of `text`, cut between characters and marked with "…" when something is missing.
[[nodiscard]] std::string clip(std::string_view text, std::size_t max = kClipBytes);

// The longest beginning of at most `max` bytes that does not end inside a character.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, std::size_t max);

// What a value is, for error messages: `the text "abc"`, `5.5`, `true`, `null`, `a list`, `an object`. Clipped.
[[nodiscard]] std::string describe_value(const boost::json::value& value);
// The same without the value itself, for values that may be secret: "a text", "a number", …
[[nodiscard]] std::string_view describe_kind(const boost::json::value& value);

// Text as it is; everything else as compact JSON (core/codec/json_write.h).
[[nodiscard]] std::string value_text(const boost::json::value& value);

// The whole number a JSON number stands for (5 and 5.0, not 5.5), when it fits.
[[nodiscard]] std::optional<std::int64_t> whole_number(const boost::json::value& value);

// A decimal number in text; blanks around it are allowed. Finite only.
[[nodiscard]] std::optional<std::int64_t> parse_whole_number(std::string_view text);
[[nodiscard]] std::optional<double> parse_decimal(std::string_view text);

// "30s", "5m", "1h", "2d", "500ms", "1h30m", "1.5h". A bare number means seconds when `bare_seconds`. At most ten
// years. Negative durations do not exist.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text, bool bare_seconds);
// "1h30m", "250ms", "0s": the shortest exact form of those that parse_duration() reads.
[[nodiscard]] std::string duration_text(std::chrono::milliseconds duration);

// ISO 8601 in UTC with microseconds: "2026-01-31T09:05:00.123000Z".
[[nodiscard]] std::string iso_timestamp(std::int64_t epoch_millis);
// Milliseconds since 1970 of "2026-01-31T09:05:00Z", with a fraction of a second (which is left out) or without.
[[nodiscard]] std::optional<std::int64_t> parse_iso_timestamp(std::string_view text);

// True when a name says that its value is a secret (token, password, key, …): such values are never quoted.
[[nodiscard]] bool names_secret(std::string_view name);

// Bytes that may not be UTF-8, with U+FFFD in place of what is not. At most `max_characters`.
[[nodiscard]] std::string lossy_utf8(std::string_view bytes, std::size_t max_characters);
// Length of the well-formed UTF-8 sequence (RFC 3629) that `bytes` begins with; 0 when there is none.
[[nodiscard]] std::size_t utf8_length(std::string_view bytes);
[[nodiscard]] bool is_utf8(std::string_view bytes);

[[nodiscard]] std::string base64(std::string_view bytes);
// The bytes that Base64 stands for, with or without the signs that fill it up; nothing when it is none.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

// Whether a whole text fits a pattern: '*' stands for any characters, '?' for one (a whole one, in UTF-8). Time is
// bounded by the product of the lengths.
[[nodiscard]] bool fits_pattern(std::string_view text, std::string_view pattern);

}  // namespace wa
