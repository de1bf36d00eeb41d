// What the registry's client tells about itself, for logs and metrics. Called from the loop; must not call back into
// the client. Names of the metrics: contract/metrics.md 2.1.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

enum class HeartbeatOutcome : std::uint8_t {
    kSuccess,
    kFailed,
    kNotFound,  // the registry does not know us (any more): registered again at once
    kSkipped,   // it was time for one, but the worker is not registered
};
// "success", "failed", "not_found", "skipped".
std::string_view to_string(HeartbeatOutcome outcome);

class ServiceRegistryListener {
public:
    virtual ~ServiceRegistryListener() = default;
    // `again`: this worker was registered before.
    virtual void registered(std::string_view /*registry_agent_id*/, bool /*again*/) {}
    // `tries`: of this registration so far; `given_up`: they are as many as the setting allows, and what follows comes
    // at the slowest pace. A worker that must not start unregistered ends then.
    virtual void registration_failed(const Error& /*why*/, std::int32_t /*tries*/, bool /*given_up*/) {}
    virtual void heartbeat_ended(HeartbeatOutcome /*outcome*/, const Error* /*why, null on success*/,
                                 Duration /*took*/) {}
    virtual void deregistered() {}
    virtual void deregistration_failed(const Error& /*why*/) {}
};

}  // namespace wa
