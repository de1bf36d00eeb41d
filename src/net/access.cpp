#include "net/access.h"

#include <algorithm>

namespace wa::net {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string to_lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), lower);
    return out;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_host_character(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}
bool is_address_character(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

bool is_loopback_name(std::string_view host) {
    if (host == "localhost" || host == "::1") return true;
    // 127.0.0.0/8, written out in full; short forms like 127.1 are not needed by anybody honest.
    if (!host.starts_with("127.")) return false;
    return std::ranges::count(host, '.') == 3 &&
           std::ranges::all_of(host, [](char c) { return is_digit(c) || c == '.'; });
}

// "::ffff:10.0.0.7" on a dual-stack listener is the same address as "10.0.0.7".
std::string_view without_mapping(std::string_view address) {
    constexpr std::string_view kPrefix = "::ffff:";
    return address.starts_with(kPrefix) ? address.substr(kPrefix.size()) : address;
}

}  // namespace

Authority parse_authority(std::string_view text) {
    Authority result;
    if (text.empty() || text.size() > 300) return result;
    std::string_view host;
    std::string_view rest;
    if (text.front() == '[') {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos) return result;
        host = text.substr(1, close - 1);
        rest = text.substr(close + 1);
        if (host.empty() || !std::ranges::all_of(host, is_address_character)) return result;
    } else {
        const std::size_t colon = text.find(':');
        host = text.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
        if (host.ends_with('.')) host.remove_suffix(1);
        if (host.empty() || !std::ranges::all_of(host, is_host_character)) return result;
    }
    if (!rest.empty()) {
        if (rest.front() != ':' || rest.size() > 6) return result;
        rest.remove_prefix(1);
        if (!std::ranges::all_of(rest, is_digit)) return result;
        result.port = std::string(rest);
    }
    result.host = to_lower(host);
    result.valid = true;
    return result;
}

OwnNames::OwnNames(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        std::string clean = to_lower(name);
        if (clean.size() > 2 && clean.front() == '[' && clean.back() == ']') clean = clean.substr(1, clean.size() - 2);
        if (clean.empty() || clean == "0.0.0.0" || clean == "::" || clean == "*") continue;
        names_.push_back(std::move(clean));
    }
}

bool OwnNames::is_own(const Authority& authority, std::string_view connected_to) const {
    if (!authority.valid) return false;
    if (is_loopback_name(authority.host)) return true;
    if (!connected_to.empty() && without_mapping(authority.host) == without_mapping(connected_to)) return true;
    return std::ranges::find(names_, authority.host) != names_.end();
}

bool origin_is_own(std::string_view origin, const Authority& host, std::string_view connected_to,
                   std::string_view listen_port, const OwnNames& names) {
    std::string_view default_port = "80";
    if (origin.starts_with("https://")) {
        default_port = "443";
        origin.remove_prefix(8);
    } else if (origin.starts_with("http://")) {
        origin.remove_prefix(7);
    } else {
        return false;
    }
    const Authority from = parse_authority(origin);
    if (!names.is_own(from, connected_to)) return false;
    const std::string_view port = from.port.empty() ? default_port : std::string_view(from.port);
    const std::string_view host_port = host.port.empty() ? default_port : std::string_view(host.port);
    return port == host_port || port == listen_port;
}

bool equal_constant_time(std::string_view given, std::string_view expected) {
    unsigned difference = given.size() == expected.size() && !expected.empty() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char other = expected.empty() ? '\0' : expected[i % expected.size()];
        difference |= static_cast<unsigned>(static_cast<unsigned char>(given[i])) ^ static_cast<unsigned char>(other);
    }
    return difference == 0;
}

std::string_view bearer_token(std::string_view authorization) {
    constexpr std::string_view kScheme = "bearer ";
    if (authorization.size() <= kScheme.size()) return {};
    if (to_lower(authorization.substr(0, kScheme.size())) != kScheme) return {};
    authorization.remove_prefix(kScheme.size());
    while (authorization.starts_with(' '))
        authorization.remove_prefix(1);
    while (authorization.ends_with(' '))
        authorization.remove_suffix(1);
    return authorization;
}

}  // namespace wa::net
