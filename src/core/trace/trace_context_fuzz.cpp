// Any text as traceparent, tracestate and ticket fields: what is accepted is written and read again as the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "core/trace/sampler.h"
#include "core/trace/trace_context.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto first = text.substr(0, text.find('\n'));
    const auto rest = text.substr(std::min(text.size(), first.size() + 1));
    if (const auto context = wa::parse_traceparent(first)) {
        WA_CHECK(wa::parse_traceparent(wa::traceparent(*context)) == *context, "a context comes back");
    }
    const auto half = rest.size() / 2;
    const auto parent = wa::parent_of({first, rest, rest.substr(0, half), rest.substr(half)});
    if (parent) {
        WA_CHECK(parent->state.size() <= wa::kMaxTraceState, "states are bounded");
        WA_CHECK(wa::parse_trace_id(wa::hex(parent->trace_id)) == parent->trace_id, "ids come back");
        WA_CHECK(wa::parse_span_id(wa::hex(parent->span_id)) == parent->span_id, "ids come back");
    }
    (void)wa::Sampler::parse(first, rest);
    return 0;
}
