// A proxy for a client's calls, and which calls go past it. Pure.
// Conventions: HTTPS_PROXY and NO_PROXY as other programs read them; who reads the environment is config/ alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http_client/network.h"
#include "http_client/url.h"

namespace wa::http {

// Which hosts are called without the proxy, as in NO_PROXY: entries with commas or blanks between them.
//   *              all
//   example.org    the host and all below it; ".example.org" and "*.example.org": only those below
//   10.0.0.0/8     addresses of a network, when the URL is written with an address: names are not looked up for this
//   …:8443         with a port: only that port
// Loopback addresses and localhost never go through a proxy.
class ProxyExceptions {
public:
    // What cannot be read is an error: a slip would send traffic where it does not belong. kInvalidArgument.
    [[nodiscard]] static Result<ProxyExceptions> parse(std::string_view text);
    // `host` as in Url::host.
    [[nodiscard]] bool has(const std::string& host, std::uint16_t port) const;

private:
    struct Entry {
        std::string name{};  // in lower case; empty = a network
        bool itself = true;  // not only what is below
        Network network{};
        std::uint16_t port = 0;  // 0 = any
    };
    std::vector<Entry> entries_;
    bool all_ = false;
};

struct Proxy {
    Url url{};  // with authorization, when credentials were given
    ProxyExceptions exceptions{};
};

// `url`: http:// or https://, perhaps with "user:password@"; the path counts for nothing. The port must be given, as
// programs differ in what they take when it is missing. Errors: kInvalidArgument, without the URL.
[[nodiscard]] Result<Proxy> make_proxy(const std::string& url, std::string_view exceptions);

}  // namespace wa::http
