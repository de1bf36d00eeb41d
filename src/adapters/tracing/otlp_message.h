// Spans as OTLP messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/tracing/otlp_exporter.h"
#include "otlp_trace.pb.h"

namespace wa::tracing {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// Texts are made UTF-8 and cut, attributes beyond the limit left out. Never more than the options allow.
[[nodiscard]] otlp::ExportTraceServiceRequest message_of(const std::vector<Span>& spans, const OtlpOptions& options);

// The same as OTLP's JSON: not protobuf's own, for ids are hexadecimal and enumerations are numbers.
[[nodiscard]] std::string json_of(const otlp::ExportTraceServiceRequest& request);
// What a collector answers in JSON; nothing in it is required.
[[nodiscard]] otlp::ExportTraceServiceResponse response_of_json(std::string_view text);

}  // namespace wa::tracing
