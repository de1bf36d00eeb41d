#include "observability/log_observer.h"

namespace wa::observability {
namespace {

void settled_result(Logger& log, const TicketView& ticket, const Settlement& settlement) {
    const ExecutionResult& result = settlement.result;
    const double seconds = static_cast<double>(result.actual_duration_ms) / 1000.0;
    const auto attempts = static_cast<std::int64_t>(settlement.attempts.size());
    if (is_success(settlement.outcome)) {
        const bool simulated = result.metadata.contains("simulated");
        log.info("ticket_execution_completed", {{"ticket_id", ticket.ticket_id},
                                                {"task_type", to_string(ticket.task_type)},
                                                {"task_id", ticket.task_id},
                                                {"plan_id", ticket.plan_id},
                                                {"intent_id", ticket.intent_id},
                                                {"correlation_id", ticket.correlation_id},
                                                {"task_duration_seconds", seconds},
                                                {"attempts", attempts},
                                                {"trace_id", result.trace_id}});
        if (simulated) {
            log.warning("result_simulated", {{"ticket_id", ticket.ticket_id},
                                             {"task_type", to_string(ticket.task_type)},
                                             {"note", "nothing real was done for this ticket"}});
        }
        return;
    }
    std::string_view event = "ticket_execution_failed";
    if (settlement.outcome == Outcome::kTimeout) event = "ticket_execution_timeout";
    if (settlement.outcome == Outcome::kCancelled || settlement.outcome == Outcome::kPreempted)
        event = "ticket_execution_cancelled";
    if (settlement.outcome == Outcome::kDependencyFailed) event = "dependencies_failed";
    log.warning(event, {{"ticket_id", ticket.ticket_id},
                        {"task_type", to_string(ticket.task_type)},
                        {"task_id", ticket.task_id},
                        {"plan_id", ticket.plan_id},
                        {"intent_id", ticket.intent_id},
                        {"correlation_id", ticket.correlation_id},
                        {"outcome", to_string(settlement.outcome)},
                        {"error", result.error_message},
                        {"task_duration_seconds", seconds},
                        {"attempts", attempts},
                        {"trace_id", result.trace_id}});
}

}  // namespace

void LogObserver::ticket_consumed(const TicketView& ticket) {
    log_.debug("ticket_consumed", {{"ticket_id", ticket.ticket_id},
                                   {"task_type", to_string(ticket.task_type)},
                                   {"task_id", ticket.task_id},
                                   {"plan_id", ticket.plan_id},
                                   {"correlation_id", ticket.correlation_id}});
}

void LogObserver::ticket_moved(const TicketView& ticket, State, Event, State to, std::string_view reason) {
    if (!log_.enabled(LogLevel::kDebug)) return;
    std::string_view event = "ticket_moved";
    if (to == State::kParked) event = "waiting_for_dependencies";
    if (to == State::kHandedBack) event = "ticket_handed_back";
    log_.debug(
        event,
        {{"ticket_id", ticket.ticket_id}, {"state", to_string(to)}, {"attempt", ticket.attempt}, {"reason", reason}});
}

void LogObserver::attempt_started(const TicketView& ticket, Duration queue_wait) {
    log_.debug("ticket_execution_started", {{"ticket_id", ticket.ticket_id},
                                            {"task_type", to_string(ticket.task_type)},
                                            {"attempt", ticket.attempt},
                                            {"queue_wait_seconds", to_seconds(queue_wait)}});
}

void LogObserver::attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                                Duration retry_in) {
    if (retry_in < Duration::zero()) {
        log_.debug("task_execution_attempt", {{"ticket_id", ticket.ticket_id},
                                              {"attempt", ticket.attempt},
                                              {"success", report.success},
                                              {"runtime", report.runtime},
                                              {"duration_seconds", to_seconds(took)}});
    } else {
        log_.warning("task_execution_failed_retry", {{"ticket_id", ticket.ticket_id},
                                                     {"task_type", to_string(ticket.task_type)},
                                                     {"attempt", ticket.attempt},
                                                     {"error", report.error ? report.error->describe() : std::string()},
                                                     {"runtime", report.runtime},
                                                     {"duration_seconds", to_seconds(took)},
                                                     {"retry_in_seconds", to_seconds(retry_in)}});
    }
    if (report.still_alive) {
        log_.error("task_could_not_be_stopped", {{"ticket_id", ticket.ticket_id}, {"runtime", report.runtime}});
    }
}

void LogObserver::dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) {
    if (result == "success") {
        log_.debug("dependencies_ready", {{"ticket_id", ticket.ticket_id}, {"waited_seconds", to_seconds(waited)}});
        return;
    }
    log_.warning(
        result == "timeout" ? "dependency_timeout" : "dependency_check_failed",
        {{"ticket_id", ticket.ticket_id}, {"plan_id", ticket.plan_id}, {"waited_seconds", to_seconds(waited)}});
}

void LogObserver::duplicate_suppressed(const TicketView& ticket) {
    log_.info("duplicate_ticket_skipped",
              {{"ticket_id", ticket.ticket_id}, {"task_type", to_string(ticket.task_type)}});
}

void LogObserver::stop_requested(const TicketView& ticket, StopReason reason) {
    log_.info("task_stop_requested",
              {{"ticket_id", ticket.ticket_id}, {"attempt", ticket.attempt}, {"reason", to_string(reason)}});
}

void LogObserver::stop_finished(const TicketView& ticket, StopReason reason, Duration took) {
    const bool cancelled = reason == StopReason::kCancelled || reason == StopReason::kPreempted;
    log_.info(cancelled ? "task_cancelled_successfully" : "task_stopped",
              {{"ticket_id", ticket.ticket_id}, {"reason", to_string(reason)}, {"took_seconds", to_seconds(took)}});
}

void LogObserver::ticket_settled(const TicketView& ticket, const Settlement& settlement) {
    switch (settlement.kind) {
        case SettlementKind::kResult: return settled_result(log_, ticket, settlement);
        case SettlementKind::kDeadLetter:
            return log_.warning("ticket_sent_to_dlq", {{"ticket_id", settlement.ticket_id},
                                                       {"task_type", settlement.dead_letter.task_type},
                                                       {"reason", settlement.dead_letter.reason},
                                                       {"error", settlement.dead_letter.error}});
        case SettlementKind::kSuppressed: return;
        case SettlementKind::kRequeue: return log_.debug("ticket_requeued", {{"ticket_id", ticket.ticket_id}});
    }
}

void LogObserver::intake_changed(bool open, std::string_view why, Duration since) {
    log_.info(open ? "consumer_resumed_backpressure" : "consumer_paused_backpressure",
              {{"reason", why}, {open ? "paused_seconds" : "open_seconds", to_seconds(since)}});
}

void LogObserver::commit_finished(const CommitResult& result, std::size_t settlements, Duration took) {
    if (result.status == CommitStatus::kCommitted) {
        if (std::exchange(commit_failing_, false)) log_.info("publish_result_recovered");
        log_.debug("result_published", {{"settlements", settlements}, {"took_seconds", to_seconds(took)}});
        return;
    }
    commit_failing_ = true;
    log_.error("publish_result_failed", {{"batch", result.number},
                                         {"settlements", settlements},
                                         {"error", result.error ? result.error->describe() : std::string("unknown")}});
}

void LogObserver::breaker_changed(std::string_view backend, std::string_view state) {
    log_.warning("circuit_breaker_changed", {{"backend", backend}, {"state", state}});
}

void LogObserver::drain_changed(std::string_view phase) {
    log_.info("drain_changed", {{"phase", phase.empty() ? std::string_view("not draining") : phase}});
}

}  // namespace wa::observability
