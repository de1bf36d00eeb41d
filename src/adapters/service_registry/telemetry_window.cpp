#include "adapters/service_registry/telemetry_window.h"

#include <algorithm>

namespace wa {
namespace {

bool says_something(Outcome outcome) {
    switch (outcome) {
        case Outcome::kCompleted:
        case Outcome::kExecutionFailed:
        case Outcome::kTimeout:
        case Outcome::kDeadlineExceeded: return true;
        case Outcome::kDependencyFailed:
        case Outcome::kDependencyTimeout:
        case Outcome::kCancelled:
        case Outcome::kPreempted:
        case Outcome::kInvalid: return false;
    }
    return false;
}

}  // namespace

void TelemetryWindow::ticket_settled(const TicketView&, const Settlement& settlement) {
    if (settlement.kind != SettlementKind::kResult || !says_something(settlement.outcome)) return;
    Ended ended;
    ended.completed = is_success(settlement.outcome);
    for (const AttemptRecord& attempt : settlement.attempts)
        ended.duration_ms += std::max<std::int64_t>(0, attempt.ended_at - attempt.started_at);
    last_.push_back(ended);
    if (last_.size() > kTickets) last_.pop_front();
    ++total_;
    if (!ended.completed) ++failed_;
    last_at_ = settlement.result.timestamp;
}

RegistryTelemetry TelemetryWindow::telemetry() const {
    RegistryTelemetry telemetry;
    telemetry.total_executions = total_;
    telemetry.failed_executions = failed_;
    telemetry.last_execution_at = last_at_;
    if (last_.empty()) return telemetry;
    std::int64_t completed = 0;
    std::int64_t duration = 0;
    for (const Ended& ended : last_) {
        completed += ended.completed ? 1 : 0;
        duration += ended.duration_ms;
    }
    const auto count = static_cast<std::int64_t>(last_.size());
    telemetry.success_rate = static_cast<double>(completed) / static_cast<double>(count);
    telemetry.avg_duration_ms = duration / count;
    return telemetry;
}

}  // namespace wa
