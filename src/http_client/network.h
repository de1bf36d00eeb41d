// Internet addresses and networks as numbers, so that no spelling of an address is compared as text. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa::http {

// IPv4 addresses are kept in their IPv6 form (::ffff:a.b.c.d): an address has one value, however it was written.
struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};

    [[nodiscard]] bool is_v4() const;
    [[nodiscard]] std::string text() const;  // IPv4 in dotted form
    friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

// Only the usual forms: four decimal numbers without leading zeros, or IPv6 without brackets and zone.
[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);
[[nodiscard]] IpAddress ip_of_v4(std::uint32_t number);

struct Network {
    IpAddress base{};
    int bits = 128;  // of the IPv6 form

    [[nodiscard]] bool contains(const IpAddress& address) const;
};

// "10.0.0.0/8", "fd00::/8", or an address, which is a network of its own. Errors: kInvalidArgument; also when bits
// behind the mask are set, which is mostly a slip.
[[nodiscard]] Result<Network> parse_network(std::string_view text);

enum class AddressKind : std::uint8_t {
    kPublic,
    kPrivate,      // RFC 1918, RFC 6598, fc00::/7 and others that are not routed in the internet
    kLoopback,     // 127.0.0.0/8, ::1
    kLinkLocal,    // 169.254.0.0/16, fe80::/10
    kMetadata,     // where clouds tell a machine its own credentials
    kMulticast,    // 224.0.0.0/4, ff00::/8
    kUnspecified,  // 0.0.0.0/8, ::
    kReserved,     // 240.0.0.0/4, Teredo
};
[[nodiscard]] std::string_view to_string(AddressKind kind);

// Forms that carry an IPv4 address to somebody who takes it out again (NAT64, 6to4, ::a.b.c.d) count as that address.
[[nodiscard]] AddressKind kind_of(const IpAddress& address);

}  // namespace wa::http
