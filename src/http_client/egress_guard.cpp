#include "http_client/egress_guard.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/codec/text.h"

namespace wa::http {
namespace {

constexpr std::size_t kMaxEntries = 1000;

// As hosts are compared: in lower case, without the dot that ends a full name.
std::string plain_name(std::string_view host) {
    if (host.size() > 1 && host.ends_with('.')) host.remove_suffix(1);
    std::string name(host);
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return name;
}

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= 253 && !text.starts_with('.') && !text.starts_with('-') &&
           text.find("..") == std::string_view::npos && std::ranges::all_of(text, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
           });
}

Failure refused(const std::string& host, const std::string& why) {
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "http",
                             "'" + clip(host, 100) + "' may not be called: " + why);
    error.fix = "ask who runs the worker to put the host or its network on the list of allowed targets";
    return tl::unexpected(std::move(error));
}

}  // namespace

Result<std::shared_ptr<const EgressGuard>> EgressGuard::make(const EgressRules& rules) {
    auto guard = std::make_shared<EgressGuard>();
    if (rules.hosts.size() + rules.networks.size() > kMaxEntries)
        return invalid("hosts", "more than " + std::to_string(kMaxEntries) + " hosts and networks are listed");
    for (const std::string& entry : rules.hosts) {
        if (entry == "*") {
            guard->any_ = true;
            continue;
        }
        const bool below = entry.starts_with("*.");
        const std::string name = plain_name(std::string_view(entry).substr(below ? 2 : 0));
        if (parse_ip(name) || !is_name(name))
            return invalid("hosts", "'" + clip(entry) + "' is no host: write 'host.example', '*.example' or '*' (" +
                                        "addresses belong to the networks)");
        if (below) {
            guard->suffixes_.push_back("." + name);
        } else {
            guard->names_.push_back(name);
        }
    }
    for (const std::string& entry : rules.networks) {
        WA_TRY(const Network network, parse_network(entry));
        guard->networks_.push_back(network);
    }
    guard->allow_loopback_ = rules.allow_loopback;
    return std::shared_ptr<const EgressGuard>(std::move(guard));
}

EgressGuard::Named EgressGuard::named(const std::string& host) const {
    const std::string name = plain_name(host);
    if (std::ranges::find(names_, name) != names_.end()) return Named::kByName;
    const auto ends = [&](const std::string& suffix) { return name.size() > suffix.size() && name.ends_with(suffix); };
    if (!parse_ip(name) && std::ranges::any_of(suffixes_, ends)) return Named::kByName;
    return any_ ? Named::kAsAny : Named::kNo;
}

Result<void> EgressGuard::check_host(const std::string& host) const {
    if (const auto address = parse_ip(host)) {
        if (allows(host, *address)) return {};
        return refused(host, "this " + std::string(to_string(kind_of(*address))) + " address is not allowed");
    }
    if (named(host) == Named::kNo && networks_.empty()) return refused(host, "it is not on the list");
    return {};
}

Result<Addresses> EgressGuard::allowed(const std::string& host, const Addresses& addresses) const {
    Addresses left;
    std::string seen;
    for (const std::string& text : addresses) {
        const auto address = parse_ip(text);
        if (address && allows(host, *address)) {
            left.push_back(text);
        } else if (seen.empty()) {
            seen = address ? std::string(to_string(kind_of(*address))) : "unreadable";
        }
    }
    if (left.empty()) return refused(host, "it leads to no address that is allowed (but to a " + seen + " one)");
    return left;
}

bool EgressGuard::allows(const std::string& host, const IpAddress& address) const {
    const auto has = [&](const Network& network) { return network.contains(address); };
    const bool listed = std::ranges::any_of(networks_, has);
    switch (kind_of(address)) {
        case AddressKind::kPublic: return listed || named(host) != Named::kNo;
        case AddressKind::kPrivate: return listed || named(host) == Named::kByName;
        case AddressKind::kLoopback: return allow_loopback_ && (listed || named(host) == Named::kByName);
        case AddressKind::kLinkLocal:
        case AddressKind::kMetadata:
        case AddressKind::kMulticast:
        case AddressKind::kUnspecified:
        case AddressKind::kReserved: return false;
    }
    return false;
}

}  // namespace wa::http
