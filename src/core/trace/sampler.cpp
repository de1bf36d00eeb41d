#include "core/trace/sampler.h"

#include <string>

#include "core/codec/text.h"

namespace wa {

Result<Sampler> Sampler::parse(std::string_view name, std::string_view argument) {
    constexpr std::string_view kByParent = "parentbased_";
    std::string_view rest = name;
    Sampler sampler;
    sampler.by_parent_ = rest.starts_with(kByParent);
    if (sampler.by_parent_) rest.remove_prefix(kByParent.size());
    if (rest == "always_on") return sampler;
    sampler.everything_ = false;
    if (rest == "always_off") return sampler;
    if (rest != "traceidratio") {
        return invalid("OTEL_TRACES_SAMPLER",
                       "OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio, or one of them after "
                       "parentbased_, found \"" +
                           clip(name) + "\"");
    }
    const auto share = argument.empty() ? std::optional<double>(1.0) : parse_decimal(argument);
    if (!share || *share < 0 || *share > 1) {
        return invalid("OTEL_TRACES_SAMPLER_ARG",
                       "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, found \"" + clip(argument) + "\"");
    }
    sampler.everything_ = *share >= 1;
    sampler.below_ = static_cast<std::uint64_t>(*share * 9223372036854775808.0);  // 2^63
    return sampler;
}

bool Sampler::sample(const TraceId& trace_id, const std::optional<TraceContext>& parent) const {
    if (by_parent_ && parent) return parent->sampled;
    if (everything_) return true;
    // The lower eight bytes, as other implementations do: all of them keep the same traces.
    std::uint64_t number = 0;
    for (std::size_t i = 8; i < trace_id.size(); ++i)
        number = number << 8U | trace_id[i];
    return number >> 1U < below_;
}

}  // namespace wa
