#include "app/outbound.h"

#include <string>
#include <utility>

namespace wa::app {

Result<std::shared_ptr<const http::Proxy>> outbound_proxy(const config::Settings& settings) {
    if (!settings.has("OUTBOUND_PROXY_URL")) return std::shared_ptr<const http::Proxy>();
    // Tells which of the two it is that cannot be used.
    if (const auto exceptions = http::ProxyExceptions::parse(settings.text("OUTBOUND_NO_PROXY")); !exceptions)
        return invalid("OUTBOUND_NO_PROXY", "OUTBOUND_NO_PROXY: " + exceptions.error().message);
    auto proxy = http::make_proxy(settings.text("OUTBOUND_PROXY_URL"), settings.text("OUTBOUND_NO_PROXY"));
    if (!proxy) return invalid("OUTBOUND_PROXY_URL", "OUTBOUND_PROXY_URL: " + proxy.error().message);
    return std::make_shared<const http::Proxy>(*std::move(proxy));
}

}  // namespace wa::app
