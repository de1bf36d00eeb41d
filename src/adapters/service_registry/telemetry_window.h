// How the last tickets went, for the registry (contract/services.md 1.5). Loop thread only.
//
// Counted are COMPLETED and FAILED results of real work: cancelled and preempted tickets, failures of dependencies and
// messages that were no tickets say nothing about this worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "ports/flow_observer.h"
#include "ports/registry.h"

namespace wa {

class TelemetryWindow final : public FlowObserver {
public:
    static constexpr std::size_t kTickets = 100;

    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;
    [[nodiscard]] RegistryTelemetry telemetry() const;

private:
    struct Ended {
        bool completed = false;
        std::int64_t duration_ms = 0;  // of all its attempts
    };
    std::deque<Ended> last_;
    std::int64_t total_ = 0;
    std::int64_t failed_ = 0;
    EpochMillis last_at_ = 0;
};

}  // namespace wa
