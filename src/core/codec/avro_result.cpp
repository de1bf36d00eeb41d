#include "core/codec/avro_result.h"

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

}  // namespace wa
