#include "core/codec/avro_result.h"

#include <utility>

#include "core/codec/avro_schemas.h"
#include "core/codec/avro_write.h"

namespace wa {

namespace {

// Indexes in ExecutionStatus.
constexpr int kCompleted = 0;
constexpr int kFailed = 1;

// The worker's facts win over what an executor wrote under the same name.
StringMap with_facts(const ExecutionResult& result) {
    StringMap metadata = result.metadata;
    const auto text = [&](const char* key, const std::string& value) {
        if (!value.empty()) metadata.insert_or_assign(key, value);
    };
    const auto time = [&](const char* key, std::int64_t value) {
        if (value != 0) metadata.insert_or_assign(key, std::to_string(value));
    };
    text("plan_id", result.plan_id);
    text("workflow_id", result.workflow_id);
    text("correlation_id", result.correlation_id);
    text("trace_id", result.trace_id);
    time("started_at", result.started_at);
    time("completed_at", result.completed_at);
    return metadata;
}

}  // namespace

std::string encode_result_avro(const ExecutionResult& result, std::uint32_t schema_id) {
    std::string out;
    out.reserve(512);
    AvroWriter writer(out);
    writer.header(schema_id);
    writer.text(result.ticket_id);
    writer.integer(result.success ? kCompleted : kFailed);
    writer.boolean(result.success);
    writer.map(result.output);
    writer.map(with_facts(result));
    writer.texts(result.logs);
    writer.text_or_null(result.error_message, !result.error_message.empty());
    writer.integer(1);  // the branch of a known duration
    writer.integer(result.actual_duration_ms);
    writer.text(result.agent_id);
    writer.integer(result.timestamp);
    writer.integer(result.schema_version);
    return out;
}

Result<AvroVerdictReader> AvroVerdictReader::make(std::string_view writer_schema) {
    WA_TRY(const AvroSchema reader, AvroSchema::parse(result_schema_text()));
    WA_TRY(const AvroSchema writer, AvroSchema::parse(writer_schema));
    WA_TRY(AvroResolver resolver, AvroResolver::make(writer, reader));
    return AvroVerdictReader(std::move(resolver));
}

Result<std::optional<ResultVerdict>> AvroVerdictReader::read(std::string_view body) const {
    WA_TRY(const boost::json::value value, resolver_.decode(body));
    const boost::json::object& fields = value.as_object();
    const boost::json::string& status = fields.at("status").as_string();
    if (status != "COMPLETED" && status != "FAILED") return std::optional<ResultVerdict>();
    ResultVerdict verdict;
    verdict.completed = status == "COMPLETED";
    if (const auto* text = fields.at("error_message").if_string()) verdict.error = std::string(*text);
    return std::optional(std::move(verdict));
}

}  // namespace wa
