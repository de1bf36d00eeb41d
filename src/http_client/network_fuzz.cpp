// Any text as an address, a network, a list of hosts without a proxy, and a place that a guard is asked about.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "http_client/egress_guard.h"
#include "http_client/network.h"
#include "http_client/proxy.h"
#include "http_client/url.h"

namespace {

void one_address(const std::string& text) {
    const auto address = wa::http::parse_ip(text);
    if (!address) return;
    const auto again = wa::http::parse_ip(address->text());
    WA_CHECK(again && *again == *address, "an address is written as it can be read");
    const auto network = wa::http::parse_network(text);
    WA_CHECK(network && network->contains(*address), "an address is a network of its own");
}

void one_place(const std::string& text) {
    static const auto internet = wa::http::EgressGuard::make({.hosts = {"*"}}).value();
    static const auto all =
        wa::http::EgressGuard::make({.hosts = {"*"}, .networks = {"::/0"}, .allow_loopback = true}).value();
    const auto url = wa::http::parse_url("http://" + text + "/");
    if (!url || !internet->check_host(url->host)) return;
    if (const auto address = wa::http::parse_ip(url->host)) {
        WA_CHECK(wa::http::kind_of(*address) == wa::http::AddressKind::kPublic, "'*' is the internet");
        WA_CHECK(all->allows(url->host, *address), "more is allowed with more rules");
    }
    for (const char* inside : {"169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.1.1"})
        WA_CHECK(!all->allows(url->host, *wa::http::parse_ip(inside)), "some places are never allowed");
    for (const char* near : {"127.0.0.1", "::1", "10.0.0.1", "fd00::1"})
        WA_CHECK(!internet->allows(url->host, *wa::http::parse_ip(near)), "'*' is not this network");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    one_address(text);
    if (const auto network = wa::http::parse_network(text)) {
        WA_CHECK(network->contains(network->base), "a network has its own address");
        WA_CHECK(network->bits >= 0 && network->bits <= 128, "a number of bits");
    }
    if (const auto exceptions = wa::http::ProxyExceptions::parse(text)) {
        WA_CHECK(exceptions->has("127.0.0.1", 80), "what is here is never asked for elsewhere");
        static_cast<void>(exceptions->has("a.example.org", 443));
        static_cast<void>(exceptions->has("10.0.0.1", 443));
    }
    one_place(text);
    return 0;
}
