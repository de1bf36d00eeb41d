// Writes tickets as Avro under our own schema, for tests and benchmarks: the worker itself never does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/codec/avro_write.h"
#include "core/codec/text.h"
#include "core/ticket/ticket.h"

namespace wa::testing {

inline std::string avro_of(const Ticket& ticket) {
    std::string out;
    AvroWriter writer(out);
    const auto symbol = [&](auto value) { writer.integer(static_cast<std::int64_t>(value)); };
    const auto maybe = [&](const std::optional<std::int64_t>& number) {
        writer.integer(number ? 1 : 0);
        if (number) writer.integer(*number);
    };
    const auto text_or_null = [&](const std::string& text) { writer.text_or_null(text, !text.empty()); };
    writer.text(ticket.ticket_id);
    writer.text(ticket.plan_id);
    writer.text(ticket.intent_id);
    writer.text(ticket.decision_id);
    text_or_null(ticket.correlation_id);
    text_or_null(ticket.trace_id);
    text_or_null(ticket.span_id);
    writer.text(ticket.task_id);
    symbol(ticket.task_type);
    writer.text(ticket.description);
    writer.texts(ticket.dependencies);
    symbol(ticket.status);
    symbol(ticket.priority);
    symbol(ticket.risk_band);
    writer.integer(ticket.sla.deadline.value_or(0));
    writer.integer(ticket.sla.timeout_ms);
    writer.integer(ticket.sla.max_retries.value_or(0));
    symbol(ticket.qos.delivery_mode);
    symbol(ticket.qos.consistency);
    symbol(ticket.qos.durability);
    std::map<std::string, std::string> parameters;
    for (const auto& member : ticket.parameters)
        parameters[std::string(member.key().data(), member.key().size())] = value_text(member.value());
    writer.map(parameters);
    writer.texts(ticket.required_capabilities);
    symbol(ticket.security_level);
    writer.integer(ticket.created_at);
    maybe(ticket.started_at);
    maybe(ticket.completed_at);
    maybe(ticket.estimated_duration_ms);
    maybe(ticket.actual_duration_ms);
    writer.integer(ticket.retry_count);
    text_or_null(ticket.error_message);
    text_or_null(ticket.compensation_ticket_id);
    writer.map(ticket.metadata);
    writer.integer(ticket.schema_version);
    return out;
}

}  // namespace wa::testing
