#include "app/call_metrics.h"

namespace wa::app {

void CallMetrics::tried(const http::ServiceTry& over) {
    if (over.stream) return;  // how long somebody listened says nothing about the other side
    std::string_view call = over.name;
    // "k8s.create_job": the target is named already.
    if (const std::size_t dot = call.find('.'); dot != std::string_view::npos) call.remove_prefix(dot + 1);
    metrics_.external_request(over.service, call.empty() ? over.method : call, over.took);
}

void CallMetrics::retried(const std::string& service, std::string_view reason) {
    metrics_.external_retry(service, reason);
}

void CallMetrics::breaker_changed(const std::string& service, CircuitBreaker::State state) {
    // One that is tried now and then, and stays away, is said once.
    if (state == CircuitBreaker::State::kOpen && away_.insert(service).second)
        log_.warning("service_away", {{"service", service}});
    if (state == CircuitBreaker::State::kClosed && away_.erase(service) > 0)
        log_.info("service_answers", {{"service", service}});
}

}  // namespace wa::app
