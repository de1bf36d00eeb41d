// The one way JSON text from outside becomes a value.
//
// What boost::json::parse lets through and we do not: numbers that overflow to infinity (1e400), repeated keys (where
// the caller asks), unbounded size. Invalid UTF-8, lone surrogates and too deep nesting are refused by the library
// itself.
#pragma once

#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace wa {

// A repeated key silently keeps its last value; whoever reads something that must not be ambiguous rejects it.
enum class DuplicateKeys : std::uint8_t { kKeepLast, kRejectTop, kRejectAll };

struct JsonLimits {
    std::size_t max_bytes = 1'048'576;
    std::size_t max_depth = 64;  // nested arrays and objects
    DuplicateKeys duplicates = DuplicateKeys::kKeepLast;
    // Values in all; a value takes up to twelve times its text in memory. Only large documents need a bound of their
    // own.
    std::size_t max_values = std::numeric_limits<std::size_t>::max();
};

// A place in a text. 1-based; columns count characters (code points), not bytes. 0 = unknown.
struct TextMark {
    std::uint32_t line = 0;
    std::uint32_t column = 0;

    friend auto operator<=>(const TextMark&, const TextMark&) = default;
};

// Where byte `offset` of `text` stands.
[[nodiscard]] TextMark mark_at(std::string_view text, std::size_t offset);

// Parses exactly one JSON value; blanks around it and a leading byte order mark are allowed. Never throws.
// Errors: kLimitExceeded (too many bytes), kMalformed (everything else; the message names line and column).
// `storage` holds the value: hand in a monotonic_resource that outlives it when speed matters.
// `where`, when given, is set to the place of the error.
[[nodiscard]] Result<boost::json::value> parse_json(std::string_view text, const JsonLimits& limits = {},
                                                    boost::json::storage_ptr storage = {}, TextMark* where = nullptr);

}  // namespace wa
