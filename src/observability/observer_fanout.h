// One FlowObserver that passes everything on to several, in order. They must outlive it.
#pragma once

#include <utility>
#include <vector>

#include "ports/flow_observer.h"

namespace wa::observability {

class ObserverFanout final : public FlowObserver {
public:
    explicit ObserverFanout(std::vector<FlowObserver*> observers) : observers_(std::move(observers)) {}

    void ticket_consumed(const TicketView& ticket) override {
        for (FlowObserver* each : observers_)
            each->ticket_consumed(ticket);
    }
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override {
        for (FlowObserver* each : observers_)
            each->ticket_moved(ticket, from, event, to, reason);
    }
    void attempt_started(const TicketView& ticket, Duration queue_wait) override {
        for (FlowObserver* each : observers_)
            each->attempt_started(ticket, queue_wait);
    }
    void attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                       Duration retry_in) override {
        for (FlowObserver* each : observers_)
            each->attempt_ended(ticket, report, took, retry_in);
    }
    void dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) override {
        for (FlowObserver* each : observers_)
            each->dependency_wait_ended(ticket, result, waited);
    }
    void duplicate_suppressed(const TicketView& ticket) override {
        for (FlowObserver* each : observers_)
            each->duplicate_suppressed(ticket);
    }
    void repeat_known_to_leases(const TicketView& ticket) override {
        for (FlowObserver* each : observers_)
            each->repeat_known_to_leases(ticket);
    }
    void stop_requested(const TicketView& ticket, StopReason reason) override {
        for (FlowObserver* each : observers_)
            each->stop_requested(ticket, reason);
    }
    void stop_finished(const TicketView& ticket, StopReason reason, Duration took) override {
        for (FlowObserver* each : observers_)
            each->stop_finished(ticket, reason, took);
    }
    void outcome_decided(const TicketView& ticket, const Settlement& settlement) override {
        for (FlowObserver* each : observers_)
            each->outcome_decided(ticket, settlement);
    }
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override {
        for (FlowObserver* each : observers_)
            each->ticket_settled(ticket, settlement);
    }
    void intake_changed(bool open, std::string_view why, Duration since) override {
        for (FlowObserver* each : observers_)
            each->intake_changed(open, why, since);
    }
    void commit_finished(const CommitResult& result, std::size_t settlements, Duration took) override {
        for (FlowObserver* each : observers_)
            each->commit_finished(result, settlements, took);
    }
    void breaker_changed(std::string_view backend, std::string_view state) override {
        for (FlowObserver* each : observers_)
            each->breaker_changed(backend, state);
    }
    void drain_changed(std::string_view phase) override {
        for (FlowObserver* each : observers_)
            each->drain_changed(phase);
    }

private:
    std::vector<FlowObserver*> observers_;
};

}  // namespace wa::observability
