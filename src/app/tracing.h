// Traces of tickets and of calls to other services, from the settings: what is recorded and where it goes
// (contract/metrics.md 7).
//
// Threading: the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "adapters/tracing/call_tracer.h"
#include "adapters/tracing/otlp_exporter.h"
#include "adapters/tracing/ticket_tracer.h"
#include "adapters/tracing/trace_passage.h"
#include "app/platform.h"
#include "observability/platform_metrics.h"

namespace wa::app {

class Tracing {
public:
    // Switched off (OTEL_SDK_DISABLED): nothing is made or exported, what came with tickets is passed on.
    // kInvalidArgument when the settings cannot be used.
    static Result<std::unique_ptr<Tracing>> make(const PlatformParts& parts, observability::PlatformMetrics& metrics);
    ~Tracing();

    [[nodiscard]] FlowObserver& observer();
    // For the clients of other services.
    [[nodiscard]] CallWatch& calls();
    // What work for a ticket belongs to; nothing when it is not in hand.
    [[nodiscard]] std::optional<TraceContext> context_of(std::string_view ticket_id) const;
    // For what is written about a ticket; nothing when it is not in hand.
    [[nodiscard]] CarriedHeaders headers_of(std::string_view ticket_id) const;
    void flush(Duration limit, std::function<void()> done);
    // Spans that wait to be exported.
    [[nodiscard]] std::size_t waiting() const { return exporter_ ? exporter_->stats().waiting : 0; }

private:
    class Listener;
    explicit Tracing(const Clock& clock);

    std::unique_ptr<Listener> listener_;
    std::unique_ptr<OtlpExporter> exporter_;
    tracing::SpanTime time_;
    std::unique_ptr<TicketTracer> tickets_;
    std::unique_ptr<CallTracer> calls_;
    TracePassage passage_;  // in place of all of these, when switched off
};

}  // namespace wa::app
