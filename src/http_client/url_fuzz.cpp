// Any text as a URL: an error, or parts that are consistent and hold no credentials.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "http_client/url.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    // Most texts fail at the scheme: every other one begins with a good one.
    const std::string text =
        ((data[0] & 1U) != 0 ? "https://" : "") + std::string(reinterpret_cast<const char*>(data + 1), size - 1);
    const auto url = wa::http::parse_url(text);
    if (!url) return 0;
    WA_CHECK(url->text.starts_with("http"), "only http and https");
    WA_CHECK(!url->host.empty() && url->port != 0, "a place to connect to");
    const auto again = wa::http::parse_url(url->text);
    WA_CHECK(again.has_value(), "what was put together can be read");
    WA_CHECK(again->authorization.empty(), "no credentials stay in it");
    WA_CHECK(again->host == url->host && again->port == url->port && again->tls == url->tls, "and means the same");
    return 0;
}
