#include "http_client/network.h"

#include <arpa/inet.h>

#include <algorithm>

#include "core/codec/text.h"

namespace wa::http {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedBits = 96;
constexpr std::size_t kMaxAddressText = 45;

struct Block {
    std::string_view network;
    AddressKind kind;
};
// The first that fits counts.
constexpr Block kBlocks[] = {
    {"169.254.169.254", AddressKind::kMetadata}, {"169.254.170.2", AddressKind::kMetadata},  // containers in AWS
    {"100.100.100.200", AddressKind::kMetadata},                                             // Alibaba
    {"192.0.0.192", AddressKind::kMetadata},                                                 // Oracle
    {"168.63.129.16", AddressKind::kMetadata},                                               // Azure
    {"fd00:ec2::254", AddressKind::kMetadata},                                               // AWS
    {"fd00:ec2::23", AddressKind::kMetadata},    {"fd20:ce::254", AddressKind::kMetadata},   // Google
    {"0.0.0.0/8", AddressKind::kUnspecified},    {"127.0.0.0/8", AddressKind::kLoopback},
    {"169.254.0.0/16", AddressKind::kLinkLocal}, {"224.0.0.0/4", AddressKind::kMulticast},
    {"240.0.0.0/4", AddressKind::kReserved},     {"10.0.0.0/8", AddressKind::kPrivate},
    {"172.16.0.0/12", AddressKind::kPrivate},    {"192.168.0.0/16", AddressKind::kPrivate},
    {"100.64.0.0/10", AddressKind::kPrivate},    {"192.0.0.0/24", AddressKind::kPrivate},
    {"198.18.0.0/15", AddressKind::kPrivate},    {"::ffff:0:0/96", AddressKind::kPublic},
    {"::", AddressKind::kUnspecified},           {"::1", AddressKind::kLoopback},
    {"fe80::/10", AddressKind::kLinkLocal},      {"fec0::/10", AddressKind::kPrivate},
    {"fc00::/7", AddressKind::kPrivate},         {"ff00::/8", AddressKind::kMulticast},
    {"2001::/32", AddressKind::kReserved},       {"100::/64", AddressKind::kReserved},
};

Failure bad_network(std::string_view text, const std::string& why) {
    return invalid("networks", "'" + clip(text) + "' " + why);
}

// The IPv4 address inside a form of IPv6 that is made of one; not the mapped form, which is the address itself.
std::optional<IpAddress> carried_v4(const IpAddress& address) {
    const auto& bytes = address.bytes;
    const auto at = [&](std::size_t first) {
        return ip_of_v4(std::uint32_t{bytes[first]} << 24U | std::uint32_t{bytes[first + 1]} << 16U |
                        std::uint32_t{bytes[first + 2]} << 8U | bytes[first + 3]);
    };
    if (bytes[0] == 0x20 && bytes[1] == 0x02) return at(2);                                           // 6to4
    if (bytes[0] == 0x00 && bytes[1] == 0x64 && bytes[2] == 0xff && bytes[3] == 0x9b) return at(12);  // NAT64
    const bool compatible = std::all_of(bytes.begin(), bytes.begin() + 12, [](auto b) { return b == 0; });
    if (compatible && (bytes[12] != 0 || bytes[13] != 0 || bytes[14] != 0 || bytes[15] > 1)) return at(12);
    return std::nullopt;
}

}  // namespace

bool IpAddress::is_v4() const {
    return std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
}

std::string IpAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> out{};
    const bool v4 = is_v4();
    const void* const from = v4 ? bytes.data() + kMapped.size() : bytes.data();
    return ::inet_ntop(v4 ? AF_INET : AF_INET6, from, out.data(), out.size()) != nullptr ? out.data() : std::string();
}

IpAddress ip_of_v4(std::uint32_t number) {
    IpAddress address;
    std::ranges::copy(kMapped, address.bytes.begin());
    for (std::size_t i = 0; i < 4; ++i)
        address.bytes[kMapped.size() + i] = static_cast<std::uint8_t>(number >> (24U - 8U * i));
    return address;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
    if (text.empty() || text.size() > kMaxAddressText || text.find('\0') != std::string_view::npos) return std::nullopt;
    const std::string copy(text);
    IpAddress address;
    if (::inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
    std::ranges::copy(kMapped, address.bytes.begin());
    if (::inet_pton(AF_INET, copy.c_str(), address.bytes.data() + kMapped.size()) == 1) return address;
    return std::nullopt;
}

bool Network::contains(const IpAddress& address) const {
    const auto whole = static_cast<std::size_t>(bits / 8);
    if (!std::equal(base.bytes.begin(), base.bytes.begin() + bits / 8, address.bytes.begin())) return false;
    if (bits % 8 == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xff00U >> static_cast<unsigned>(bits % 8));
    return (base.bytes[whole] & mask) == (address.bytes[whole] & mask);
}

Result<Network> parse_network(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto address = parse_ip(text.substr(0, slash));
    if (!address) return bad_network(text, "is no address and no network; write '10.0.0.0/8' or 'fd00::/8'");
    Network network{*address, 128};
    if (slash == std::string_view::npos) return network;
    // "::ffff:10.0.0.0/104" counts in IPv6, "10.0.0.0/8" in IPv4.
    const bool dotted = text.substr(0, slash).find(':') == std::string_view::npos;
    const int offset = dotted ? kMappedBits : 0;
    const std::string_view digits = text.substr(slash + 1);
    const auto bits = parse_whole_number(digits);
    const bool plain = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
    if (!bits || !plain || digits.size() > 3 || *bits > 128 - offset)
        return bad_network(text, "has no usable number of bits behind its slash");
    network.bits = static_cast<int>(*bits) + offset;
    IpAddress base = network.base;
    for (int bit = network.bits; bit < 128; ++bit)
        base.bytes[static_cast<std::size_t>(bit / 8)] &=
            static_cast<std::uint8_t>(~(0x80U >> static_cast<unsigned>(bit % 8)));
    if (base != network.base)
        return bad_network(
            text, "has bits set behind its mask; the network would be " + base.text() + "/" + std::to_string(*bits));
    return network;
}

std::string_view to_string(AddressKind kind) {
    switch (kind) {
        case AddressKind::kPublic: return "public";
        case AddressKind::kPrivate: return "private";
        case AddressKind::kLoopback: return "loopback";
        case AddressKind::kLinkLocal: return "link-local";
        case AddressKind::kMetadata: return "metadata";
        case AddressKind::kMulticast: return "multicast";
        case AddressKind::kUnspecified: return "unspecified";
        case AddressKind::kReserved: return "reserved";
    }
    return "unknown";
}

AddressKind kind_of(const IpAddress& address) {
    struct Known {
        Network network;
        AddressKind kind;
    };
    static const auto known = [] {
        std::array<Known, std::size(kBlocks)> all{};
        for (std::size_t i = 0; i < all.size(); ++i)
            all[i] = {parse_network(kBlocks[i].network).value(), kBlocks[i].kind};
        return all;
    }();
    if (const auto inside = carried_v4(address)) return kind_of(*inside);
    for (const Known& block : known)
        if (block.network.contains(address)) return block.kind;
    return AddressKind::kPublic;
}

}  // namespace wa::http
