// URLs of requests, read by libcurl's own parser so that what is checked is what is used. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa::http {

struct Url {
    std::string text;  // without credentials and fragment
    bool tls = false;
    std::string host;  // IPv6 without brackets
    std::uint16_t port = 0;
    bool port_given = false;    // not just what the scheme stands for
    bool needs_lookup = false;  // a name, and not localhost
    std::string authorization;  // "Basic …" when the URL had credentials
    std::string path;           // as it is sent, without a query
    std::string shown;          // for messages: scheme, host, port and path
};

// Errors: kInvalidArgument, permanent; the message does not quote the URL.
[[nodiscard]] Result<Url> parse_url(const std::string& text);

// Where `reference` (of a Location header) leads from `base`; credentials in it are left out. Errors: kInvalidArgument.
[[nodiscard]] Result<Url> resolve_url(const Url& base, const std::string& reference);

// One piece of a path or of a query value, percent-encoded: only letters, digits and "-._~" stay.
[[nodiscard]] std::string encode_url_part(std::string_view text);

// `base` without trailing slashes, and `path` (which begins with one).
[[nodiscard]] std::string join_url(std::string_view base, std::string_view path);

}  // namespace wa::http
