// Splits and decodes a request target. Pure; total on any bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/http_types.h"

namespace wa::net {

inline constexpr std::size_t kMaxSegments = 64;
inline constexpr std::size_t kMaxQueryPairs = 256;

struct Target {
    std::string authority;              // of the absolute form ("http://host/path"), empty for the usual one
    std::string path;                   // as sent, without a trailing slash; "/" alone stays
    std::vector<std::string> segments;  // decoded; empty for "/"
    NameValues query;                   // decoded; "+" is a space
    bool asterisk = false;              // "OPTIONS *"
};

// kMalformed: not a target, a bad or cut percent sign, a NUL or control character, bytes that are not UTF-8, dot
// segments
// ("." and ".." have no meaning here and only serve to fool filters). kLimitExceeded: too many pieces.
[[nodiscard]] Result<Target> parse_target(std::string_view target);
// Percent-decoding of one piece. `plus_is_space` for query strings.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, bool plus_is_space);
[[nodiscard]] Result<NameValues> parse_query(std::string_view query);

}  // namespace wa::net
