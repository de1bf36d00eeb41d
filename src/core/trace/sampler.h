// Which traces are recorded: the samplers of OTEL_TRACES_SAMPLER. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "core/trace/trace_context.h"

namespace wa {

class Sampler {
public:
    // always_on, always_off, traceidratio, and each with parentbased_ in front. `argument` (OTEL_TRACES_SAMPLER_ARG) is
    // the share from 0 to 1 for traceidratio; empty = 1. Error: kInvalidArgument, naming the setting.
    static Result<Sampler> parse(std::string_view name, std::string_view argument = "");

    // `parent`: nothing at the root of a trace.
    [[nodiscard]] bool sample(const TraceId& trace_id, const std::optional<TraceContext>& parent) const;

private:
    bool by_parent_ = true;   // the parent's decision where there is one
    bool everything_ = true;  // of the rest; else below_
    std::uint64_t below_ = 0;
};

}  // namespace wa
