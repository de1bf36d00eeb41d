// The way out: a proxy for calls of services on the internet. What is called inside the cluster or on this machine
// never takes it.
#pragma once

#include <memory>

#include "config/settings.h"
#include "http_client/proxy.h"

namespace wa::app {

// Null = OUTBOUND_PROXY_URL is not set. Errors: kInvalidArgument, naming the setting, without its value.
[[nodiscard]] Result<std::shared_ptr<const http::Proxy>> outbound_proxy(const config::Settings& settings);

}  // namespace wa::app
