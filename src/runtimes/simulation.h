// The runtime that runs nothing: it waits a while and reports success (for a TEST ticket: invented numbers of tests),
// and every result of it says that it was simulated (contract/executors.md 1.6). It exists so that a flow can be tried
// while its back-ends are missing; SIMULATION_POLICY=deny switches it off.
//
// For load tests two parameters, read here only:
//   simulated_duration_ms   0 .. 600,000: how long to wait, instead of a random 2 to 4 s (TEST: 1 to 3 s)
//   simulated_exit_code     0 .. 255: the exit code to report; other than 0 it is a (simulated) failure
#pragma once

#include <boost/asio/io_context.hpp>

#include "base/clock.h"
#include "base/random.h"
#include "ports/runtime.h"

namespace wa {

enum class SimulationPolicy : std::uint8_t { kAllow, kDeny };

class SimulationRuntime final : public Runtime {
public:
    // All must outlive this object.
    SimulationRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, SimulationPolicy policy);

    [[nodiscard]] std::string_view name() const override { return "simulation"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& ticket) const override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

private:
    boost::asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    SimulationPolicy policy_;
};

}  // namespace wa
