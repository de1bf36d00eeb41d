// Writes what the flow does into the log, under the stable event names of contract/metrics.md 8.
//
// What happens to every ticket is DEBUG; endings are INFO (thinned out by the log when they come in floods), failures
// WARNING. Engine's loop.
#pragma once

#include "observability/logger.h"
#include "ports/flow_observer.h"

namespace wa::observability {

class LogObserver final : public FlowObserver {
public:
    explicit LogObserver(Logger& log) : log_(log) {}

    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void attempt_started(const TicketView& ticket, Duration queue_wait) override;
    void attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                       Duration retry_in) override;
    void dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) override;
    void duplicate_suppressed(const TicketView& ticket) override;
    void stop_requested(const TicketView& ticket, StopReason reason) override;
    void stop_finished(const TicketView& ticket, StopReason reason, Duration took) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;
    void intake_changed(bool open, std::string_view why, Duration since) override;
    void commit_finished(const CommitResult& result, std::size_t settlements, Duration took) override;
    void breaker_changed(std::string_view backend, std::string_view state) override;
    void drain_changed(std::string_view phase) override;

private:
    Logger& log_;
    bool commit_failing_ = false;
};

}  // namespace wa::observability
