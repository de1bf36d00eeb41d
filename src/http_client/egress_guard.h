// Where calls may go whose address came out of a ticket: an allow-list of hosts and networks, and places that are never
// allowed. Pure.
//
// What is checked is the address that is connected to, not the name: the client checks what a name resolved to, each
// socket before it is connected, and each connection before a request goes out on it (Request::guard). A name that
// resolves to something else the second time gains nothing; a redirect is checked like the first address.
//
//   never      link-local, metadata, multicast, unspecified and reserved addresses; IPv4 inside IPv6 counts as IPv4
//   loopback   only with allow_loopback, and when it is on the list too
//   private    when a network of the list has it, or a pattern that names its host (not "*", which stands for the
//              internet)
//   public     when a network or a pattern of the list has it
// Rules: issue "EXECUTE on real runtimes" 1; field.md row 78.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "http_client/name_cache.h"
#include "http_client/network.h"

namespace wa::http {

struct EgressRules {
    std::vector<std::string> hosts{};     // "api.example.org", "*.example.org" (not example.org itself), "*"
    std::vector<std::string> networks{};  // "10.1.0.0/16", "fd00:1::/32", "192.0.2.7"
    bool allow_loopback = false;
};

class EgressGuard {
public:
    // Errors: kInvalidArgument; names the entry.
    [[nodiscard]] static Result<std::shared_ptr<const EgressGuard>> make(const EgressRules& rules);

    // Before anything is asked for: false positives only; what stays is decided by allow(). `host` as in Url::host.
    // Errors: kNotAllowed, permanent.
    [[nodiscard]] Result<void> check_host(const std::string& host) const;
    // Those of a name's addresses that may be connected to; not empty. Errors: kNotAllowed, permanent.
    [[nodiscard]] Result<Addresses> allowed(const std::string& host, const Addresses& addresses) const;
    [[nodiscard]] bool allows(const std::string& host, const IpAddress& address) const;

private:
    enum class Named : std::uint8_t { kNo, kAsAny, kByName };
    [[nodiscard]] Named named(const std::string& host) const;

    std::vector<std::string> names_;     // in lower case
    std::vector<std::string> suffixes_;  // ".example.org"
    bool any_ = false;
    std::vector<Network> networks_;
    bool allow_loopback_ = false;
};

}  // namespace wa::http
