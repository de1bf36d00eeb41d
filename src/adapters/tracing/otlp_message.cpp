#include "adapters/tracing/otlp_message.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <cmath>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
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

namespace {

std::string hex_text(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const char byte : bytes) {
        text += kDigits[static_cast<unsigned char>(byte) >> 4U];
        text += kDigits[static_cast<unsigned char>(byte) & 0x0FU];
    }
    return text;
}

void write_list(std::string& out, const auto& items, const auto& one) {
    out += '[';
    bool first = true;
    for (const auto& item : items) {
        if (!std::exchange(first, false)) out += ',';
        one(item);
    }
    out += ']';
}

class JsonText {
public:
    explicit JsonText(std::string& out) : out_(out) {}

    void attributes(JsonObjectWriter& writer,
                    const google::protobuf::RepeatedPtrField<otlp::KeyValue>& attributes) const {
        write_list(writer.key("attributes"), attributes, [&](const otlp::KeyValue& attribute) {
            JsonObjectWriter entry(out_);
            entry.text("key", attribute.key());
            JsonObjectWriter value(entry.key("value"));
            const otlp::AnyValue& from = attribute.value();
            switch (from.value_case()) {
                case otlp::AnyValue::kStringValue: value.text("stringValue", from.string_value()); break;
                case otlp::AnyValue::kBoolValue: value.boolean("boolValue", from.bool_value()); break;
                case otlp::AnyValue::kIntValue: value.text("intValue", std::to_string(from.int_value())); break;
                case otlp::AnyValue::kDoubleValue: put_double(value, from.double_value()); break;
                case otlp::AnyValue::VALUE_NOT_SET: break;
            }
            value.close();
            entry.close();
        });
    }

    void span(const otlp::Span& span) const {
        JsonObjectWriter writer(out_);
        writer.text("traceId", hex_text(span.trace_id()));
        writer.text("spanId", hex_text(span.span_id()));
        if (!span.trace_state().empty()) writer.text("traceState", span.trace_state());
        if (!span.parent_span_id().empty()) writer.text("parentSpanId", hex_text(span.parent_span_id()));
        writer.text("name", span.name());
        writer.integer("kind", span.kind());
        writer.text("startTimeUnixNano", std::to_string(span.start_time_unix_nano()));
        writer.text("endTimeUnixNano", std::to_string(span.end_time_unix_nano()));
        attributes(writer, span.attributes());
        write_list(writer.key("events"), span.events(), [&](const otlp::Span::Event& event) {
            JsonObjectWriter entry(out_);
            entry.text("timeUnixNano", std::to_string(event.time_unix_nano()));
            entry.text("name", event.name());
            attributes(entry, event.attributes());
            entry.close();
        });
        write_list(writer.key("links"), span.links(), [&](const otlp::Span::Link& link) {
            JsonObjectWriter entry(out_);
            entry.text("traceId", hex_text(link.trace_id()));
            entry.text("spanId", hex_text(link.span_id()));
            attributes(entry, link.attributes());
            entry.close();
        });
        if (span.has_status()) {
            JsonObjectWriter status(writer.key("status"));
            status.integer("code", span.status().code());
            status.text("message", span.status().message());
            status.close();
        }
        writer.integer("flags", span.flags());
        writer.close();
    }

private:
    // JSON has no word for what is not finite; protobuf's mapping writes it as text.
    static void put_double(JsonObjectWriter& value, double number) {
        if (std::isfinite(number)) return value.value("doubleValue", boost::json::value(number));
        value.text("doubleValue", std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
    }

    std::string& out_;
};

}  // namespace

std::string json_of(const otlp::ExportTraceServiceRequest& request) {
    std::string out;
    const JsonText text(out);
    JsonObjectWriter root(out);
    write_list(root.key("resourceSpans"), request.resource_spans(), [&](const otlp::ResourceSpans& resource_spans) {
        JsonObjectWriter writer(out);
        JsonObjectWriter resource(writer.key("resource"));
        text.attributes(resource, resource_spans.resource().attributes());
        resource.close();
        write_list(writer.key("scopeSpans"), resource_spans.scope_spans(), [&](const otlp::ScopeSpans& scope_spans) {
            JsonObjectWriter entry(out);
            JsonObjectWriter scope(entry.key("scope"));
            scope.text("name", scope_spans.scope().name());
            scope.text("version", scope_spans.scope().version());
            scope.close();
            write_list(entry.key("spans"), scope_spans.spans(), [&](const otlp::Span& span) { text.span(span); });
            entry.close();
        });
        writer.close();
    });
    root.close();
    return out;
}

otlp::ExportTraceServiceResponse response_of_json(std::string_view text) {
    otlp::ExportTraceServiceResponse response;
    const auto value = parse_json(text);
    const auto* object = value ? value->if_object() : nullptr;
    const auto* found = object == nullptr ? nullptr : object->if_contains("partialSuccess");
    const auto* partial = found == nullptr ? nullptr : found->if_object();
    if (partial == nullptr) return response;
    if (const auto* rejected = partial->if_contains("rejectedSpans")) {
        // 64-bit numbers are texts in protobuf's JSON; collectors write either.
        const auto* digits = rejected->if_string();
        const auto number =
            digits == nullptr ? whole_number(*rejected) : parse_whole_number({digits->data(), digits->size()});
        response.mutable_partial_success()->set_rejected_spans(number.value_or(0));
    }
    const auto* message = partial->if_contains("errorMessage");
    if (message != nullptr && message->is_string())
        response.mutable_partial_success()->set_error_message(value_text(*message));
    return response;
}

}  // namespace wa::tracing
