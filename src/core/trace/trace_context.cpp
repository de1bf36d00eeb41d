#include "core/trace/trace_context.h"

#include <algorithm>

namespace wa {
namespace {

constexpr std::size_t kTraceparentLength = 55;  // of version 00
constexpr std::string_view kDigits = "0123456789abcdef";

// The value of a hexadecimal digit; -1 for anything else.
int digit_of(char c, bool upper_too) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (upper_too && c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

template <std::size_t Size>
std::optional<std::array<std::uint8_t, Size>> parse_bytes(std::string_view text, bool upper_too) {
    if (text.size() != 2 * Size) return std::nullopt;
    std::array<std::uint8_t, Size> bytes{};
    for (std::size_t i = 0; i < Size; ++i) {
        const int high = digit_of(text[2 * i], upper_too);
        const int low = digit_of(text[2 * i + 1], upper_too);
        if (high < 0 || low < 0) return std::nullopt;
        bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return bytes;
}

template <std::size_t Size>
std::optional<std::array<std::uint8_t, Size>> parse_id(std::string_view text, bool upper_too) {
    const auto bytes = parse_bytes<Size>(text, upper_too);
    if (!bytes || std::ranges::all_of(*bytes, [](std::uint8_t byte) { return byte == 0; })) return std::nullopt;
    return bytes;
}

template <std::size_t Size>
std::string to_hex(const std::array<std::uint8_t, Size>& bytes) {
    std::string text;
    text.reserve(2 * Size);
    for (const std::uint8_t byte : bytes) {
        text += kDigits[byte >> 4U];
        text += kDigits[byte & 0x0FU];
    }
    return text;
}

bool good_state(std::string_view state) {
    return state.size() <= kMaxTraceState && std::ranges::all_of(state, [](char c) { return c >= 0x20 && c < 0x7F; });
}

// All zero is no id.
std::uint64_t some_bits(Random& random) {
    std::uint64_t bits = 0;
    while (bits == 0)
        bits = random.next();
    return bits;
}

template <class Id>
void put(Id& id, std::size_t at, std::uint64_t bits) {
    for (std::size_t i = 0; i < sizeof(bits); ++i) {
        id[at + i] = static_cast<std::uint8_t>(bits);
        bits >>= 8U;
    }
}

}  // namespace

std::string hex(const TraceId& id) {
    return to_hex(id);
}

std::string hex(const SpanId& id) {
    return to_hex(id);
}

std::optional<TraceId> parse_trace_id(std::string_view text) {
    return parse_id<16>(text, true);
}

std::optional<SpanId> parse_span_id(std::string_view text) {
    return parse_id<8>(text, true);
}

std::optional<TraceContext> parse_traceparent(std::string_view text) {
    if (text.size() < kTraceparentLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
    const auto version = parse_bytes<1>(text.substr(0, 2), false);
    if (!version || version->front() == 0xFF) return std::nullopt;
    if (version->front() == 0 && text.size() != kTraceparentLength) return std::nullopt;
    if (text.size() > kTraceparentLength && text[kTraceparentLength] != '-') return std::nullopt;
    const auto trace_id = parse_id<16>(text.substr(3, 32), false);
    const auto span_id = parse_id<8>(text.substr(36, 16), false);
    const auto flags = parse_bytes<1>(text.substr(53, 2), false);
    if (!trace_id || !span_id || !flags) return std::nullopt;
    return TraceContext{*trace_id, *span_id, (flags->front() & 1U) != 0, {}};
}

std::string traceparent(const TraceContext& context) {
    return "00-" + hex(context.trace_id) + "-" + hex(context.span_id) + (context.sampled ? "-01" : "-00");
}

TraceId new_trace_id(Random& random) {
    TraceId id{};
    put(id, 0, some_bits(random));
    put(id, sizeof(std::uint64_t), some_bits(random));
    return id;
}

SpanId new_span_id(Random& random) {
    SpanId id{};
    put(id, 0, some_bits(random));
    return id;
}

std::optional<TraceContext> parent_of(const TraceHint& hint) {
    if (auto context = parse_traceparent(hint.traceparent)) {
        if (good_state(hint.tracestate)) context->state = hint.tracestate;
        return context;
    }
    const auto trace_id = parse_trace_id(hint.trace_id);
    const auto span_id = parse_span_id(hint.span_id);
    if (!trace_id || !span_id) return std::nullopt;
    return TraceContext{*trace_id, *span_id, true, {}};
}

}  // namespace wa
