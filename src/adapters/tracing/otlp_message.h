// Spans as OTLP messages.
#pragma once

#include <cstddef>
#include <vector>

#include "adapters/tracing/otlp_exporter.h"
#include "otlp_trace.pb.h"

namespace wa::tracing {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// Texts are made UTF-8 and cut, attributes beyond the limit left out. Never more than the options allow.
[[nodiscard]] otlp::ExportTraceServiceRequest message_of(const std::vector<Span>& spans, const OtlpOptions& options);

}  // namespace wa::tracing
