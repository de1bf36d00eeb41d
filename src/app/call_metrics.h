// Counts the calls that the runtimes make of other services, and says in the log when one of these is away.
//
// Threading: the loop. Names: contract/metrics.md 4.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "http_client/service_caller.h"
#include "observability/logger.h"
#include "observability/metrics.h"

namespace wa::app {

class CallMetrics final : public http::ServiceListener {
public:
    // Both must outlive this object.
    CallMetrics(observability::Metrics& metrics, observability::Log& log) : metrics_(metrics), log_(log) {}

    void tried(const http::ServiceTry& over) override;
    void retried(const std::string& service, std::string_view reason) override;
    void breaker_changed(const std::string& service, CircuitBreaker::State state) override;

private:
    observability::Metrics& metrics_;
    observability::Log& log_;
    std::set<std::string, std::less<>> away_;
};

}  // namespace wa::app
