// Spans: what took how long, and what caused it. Whoever makes one hands it over when it has ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/trace/trace_context.h"

namespace wa {

enum class SpanKind : std::uint8_t { kInternal, kServer, kClient, kProducer, kConsumer };
enum class SpanStatus : std::uint8_t { kUnset, kOk, kError };

using SpanValue = std::variant<std::string, std::int64_t, double, bool>;
using SpanAttributes = std::vector<std::pair<std::string, SpanValue>>;

struct SpanEvent {
    std::int64_t at_ns = 0;  // since 1970-01-01 UTC, as all times here
    std::string name;
    SpanAttributes attributes;
};

struct SpanLink {
    TraceContext context;
    SpanAttributes attributes;
};

struct Span {
    TraceContext context;          // its own
    std::optional<SpanId> parent;  // in the same trace; nothing at its root
    std::string name;
    SpanKind kind = SpanKind::kInternal;
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    SpanAttributes attributes;
    std::vector<SpanEvent> events;
    std::vector<SpanLink> links;
    SpanStatus status = SpanStatus::kUnset;
    std::string status_message;  // with kError
};

class SpanSink {
public:
    virtual ~SpanSink() = default;
    // Takes it and returns at once; may drop it. Loop thread only. Spans that are not sampled are not handed over.
    virtual void end(Span span) = 0;
};

}  // namespace wa
