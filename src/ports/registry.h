// Telling the cluster that this worker is there: registration, heartbeats, good-bye (contract/services.md 1).
//
// Loop thread only. The adapter keeps trying for ever; work goes on whether or not it succeeds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

// What others find the worker by.
struct RegistrationFacts {
    std::vector<std::string> capabilities;
    std::map<std::string, std::string> metadata;
    std::string name_space;
    std::string cluster;
    std::string version;

    friend bool operator==(const RegistrationFacts&, const RegistrationFacts&) = default;
};

struct RegistryTelemetry {
    double success_rate = 1.0;         // 0 to 1, of the last tickets; 1 when there were none
    std::int64_t avg_duration_ms = 0;  // of the same tickets
    std::int64_t total_executions = 0;
    std::int64_t failed_executions = 0;
    EpochMillis last_execution_at = 0;  // 0 = never
};

struct RegistryState {
    bool registered = false;
    std::string registry_agent_id;          // given by the registry; empty when not registered
    std::int32_t consecutive_failures = 0;  // of registrations and heartbeats, since the last success
    std::optional<EpochMillis> last_success_at;
    std::string problem;  // the last failure, for people; empty after a success
};

class Registry {
public:
    virtual ~Registry() = default;
    // Once. `telemetry` is asked at each heartbeat, on the loop.
    virtual void start(RegistrationFacts facts, std::function<RegistryTelemetry()> telemetry) = 0;
    // What others find the worker by has changed. Told by a registration anew (the protocol has no other way), not more
    // often than the adapter's pause allows; the worker stays registered meanwhile. Facts that are the same are
    // nothing.
    virtual void update(RegistrationFacts facts) = 0;
    // While draining the worker is shown as DEGRADED. Told at once, and again with each heartbeat.
    virtual void set_draining(bool draining) = 0;
    // Ends heartbeats and leaves the registry. `done` is called once, later, on the loop: with success also when the
    // worker was not registered; with an error when the registry could not be told within `deadline`.
    virtual void deregister(Duration deadline, std::function<void(Result<void>)> done) = 0;
    [[nodiscard]] virtual RegistryState state() const = 0;
};

}  // namespace wa
