// Where Redis is. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa {

struct RedisAddress {
    std::string host = "localhost";
    std::uint16_t port = 6379;
    std::string unix_socket;  // path; in place of host and port
    std::string username;     // empty = the default user
    std::string password;     // empty = none. A secret
    std::int32_t database = 0;

    // "host:port", "[v6]:port" or the path; no secrets.
    [[nodiscard]] std::string shown() const;
};

// redis://[user][:password]@host[:port][/database] or unix://[user][:password]@/path[?db=n]; percent-encoded user and
// password. Errors: kInvalidArgument with field REDIS_URL; kUnsupported for rediss:// (TLS is left to a sidecar). The
// message does not quote the URL.
[[nodiscard]] Result<RedisAddress> parse_redis_url(std::string_view text);

}  // namespace wa
