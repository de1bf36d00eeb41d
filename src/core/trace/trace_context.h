// W3C Trace Context (level 1): who caused what, across processes. Pure.
//
// Where a ticket's context comes from (contract/tickets.md 2, metrics.md 7.3): the header `traceparent` of its record,
// else the fields trace_id and span_id of the ticket, else nowhere: then the ticket begins a trace of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace wa {

using TraceId = std::array<std::uint8_t, 16>;
using SpanId = std::array<std::uint8_t, 8>;

struct TraceContext {
    TraceId trace_id{};  // never all zero, nor is span_id
    SpanId span_id{};
    bool sampled = false;
    std::string state;  // tracestate, passed on unread; at most kMaxTraceState bytes

    friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

inline constexpr std::size_t kMaxTraceState = 512;

// Lower-case hexadecimal digits.
[[nodiscard]] std::string hex(const TraceId& id);
[[nodiscard]] std::string hex(const SpanId& id);
// Exactly 32 or 16 hexadecimal digits in either case, not all zero.
[[nodiscard]] std::optional<TraceId> parse_trace_id(std::string_view text);
[[nodiscard]] std::optional<SpanId> parse_span_id(std::string_view text);

// "00-<trace id>-<span id>-<flags>". Later versions are read as far as this one knows them, as the standard asks.
[[nodiscard]] std::optional<TraceContext> parse_traceparent(std::string_view text);
[[nodiscard]] std::string traceparent(const TraceContext& context);

// By chance, never all zero.
[[nodiscard]] TraceId new_trace_id(Random& random);
[[nodiscard]] SpanId new_span_id(Random& random);

// What came with a ticket, as it came: nothing of it is checked. Views into the record and the ticket.
struct TraceHint {
    std::string_view traceparent{};  // header of the record
    std::string_view tracestate{};   // likewise
    std::string_view trace_id{};     // fields of the ticket
    std::string_view span_id{};
};
// The parent it names; nothing when it names none. A state that is too long or holds anything but printable ASCII is
// dropped, the rest kept. The ticket's fields say nothing about sampling: taken as sampled.
[[nodiscard]] std::optional<TraceContext> parent_of(const TraceHint& hint);

}  // namespace wa
