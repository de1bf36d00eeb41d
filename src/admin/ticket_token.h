// Ticket tokens (contract/services.md 2.3) and the digest that tells repeated submits apart. The only includer of
// OpenSSL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/ticket/ticket.h"

namespace wa::admin {

inline constexpr std::int64_t kTokenSeconds = 3600;

// HS256, signed with `key`. `jti`: a fresh UUID. Times in seconds since 1970.
[[nodiscard]] std::string make_ticket_token(const Ticket& ticket, std::string_view key, std::string_view jti,
                                            std::int64_t now);
[[nodiscard]] std::vector<std::string> token_scopes(const Ticket& ticket);

// SHA-256 as 64 hex digits.
[[nodiscard]] std::string sha256_hex(std::string_view text);

}  // namespace wa::admin
