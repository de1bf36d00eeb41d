#include "adapters/tracing/otlp_message.h"

#include <algorithm>

#include "core/codec/text.h"

namespace wa::tracing {
namespace {

std::string text_of(std::string_view text, std::size_t limit) {
    const std::string_view cut = utf8_prefix(text, limit);
    // Protobuf refuses to write a text that is not UTF-8.
    return is_utf8(cut) ? std::string(cut) : lossy_utf8(cut, limit);
}

template <class Id>
std::string bytes_of(const Id& id) {
    return {reinterpret_cast<const char*>(id.data()), id.size()};
}

class Writer {
public:
    explicit Writer(const OtlpOptions& options) : options_(options) {}

    void put(const SpanAttributes& attributes, google::protobuf::RepeatedPtrField<otlp::KeyValue>& out) const {
        const std::size_t count = std::min(attributes.size(), options_.max_attributes);
        for (std::size_t i = 0; i < count; ++i) {
            const auto& [key, value] = attributes[i];
            auto& entry = *out.Add();
            entry.set_key(text(key));
            auto& to = *entry.mutable_value();
            if (const auto* string = std::get_if<std::string>(&value)) {
                to.set_string_value(text(*string));
            } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
                to.set_int_value(*number);
            } else if (const auto* real = std::get_if<double>(&value)) {
                to.set_double_value(*real);
            } else {
                to.set_bool_value(std::get<bool>(value));
            }
        }
    }

    void put(const Span& span, otlp::Span& out) const {
        out.set_trace_id(bytes_of(span.context.trace_id));
        out.set_span_id(bytes_of(span.context.span_id));
        out.set_trace_state(text(span.context.state));
        if (span.parent) out.set_parent_span_id(bytes_of(*span.parent));
        out.set_name(text(span.name));
        out.set_kind(static_cast<otlp::Span::SpanKind>(static_cast<int>(span.kind) + 1));
        out.set_start_time_unix_nano(static_cast<std::uint64_t>(std::max<std::int64_t>(0, span.start_ns)));
        out.set_end_time_unix_nano(static_cast<std::uint64_t>(std::max(span.start_ns, span.end_ns)));
        out.set_flags(span.context.sampled ? 1 : 0);
        put(span.attributes, *out.mutable_attributes());
        for (const SpanEvent& event : span.events) {
            auto& to = *out.add_events();
            to.set_time_unix_nano(static_cast<std::uint64_t>(std::max<std::int64_t>(0, event.at_ns)));
            to.set_name(text(event.name));
            put(event.attributes, *to.mutable_attributes());
        }
        for (const SpanLink& link : span.links) {
            auto& to = *out.add_links();
            to.set_trace_id(bytes_of(link.context.trace_id));
            to.set_span_id(bytes_of(link.context.span_id));
            to.set_trace_state(text(link.context.state));
            put(link.attributes, *to.mutable_attributes());
        }
        if (span.status == SpanStatus::kUnset) return;
        out.mutable_status()->set_code(static_cast<otlp::Status::StatusCode>(span.status));
        out.mutable_status()->set_message(text(span.status_message));
    }

private:
    [[nodiscard]] std::string text(std::string_view text) const { return text_of(text, options_.max_text_bytes); }

    const OtlpOptions& options_;
};

}  // namespace

otlp::ExportTraceServiceRequest message_of(const std::vector<Span>& spans, const OtlpOptions& options) {
    otlp::ExportTraceServiceRequest request;
    const Writer writer(options);
    auto& resource_spans = *request.add_resource_spans();
    writer.put(options.resource, *resource_spans.mutable_resource()->mutable_attributes());
    auto& scope_spans = *resource_spans.add_scope_spans();
    scope_spans.mutable_scope()->set_name("worker-agents");
    scope_spans.mutable_scope()->set_version(options.scope_version);
    for (const Span& span : spans)
        writer.put(span, *scope_spans.add_spans());
    return request;
}

}  // namespace wa::tracing
