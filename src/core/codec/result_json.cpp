#include "core/codec/result_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <limits>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::size_t kMaxResultDepth = 64;

void write_map(std::string& out, const StringMap& map) {
    JsonObjectWriter writer(out);
    for (const auto& [key, value] : map)
        writer.text(key, value);
    writer.close();
}

void write_payload(std::string& out, const ExecutionResult& result) {
    JsonObjectWriter writer(out);
    writer.boolean("success", result.success);
    write_map(writer.key("output"), result.output);
    write_map(writer.key("metadata"), result.metadata);
    std::string& logs = writer.key("logs");
    logs += '[';
    for (std::size_t i = 0; i < result.logs.size(); ++i) {
        if (i > 0) logs += ',';
        append_json_string(logs, result.logs[i]);
    }
    logs += ']';
    writer.close();
}

void write_extras(JsonObjectWriter& writer, const ExecutionResult& result) {
    const auto text = [&](std::string_view key, const std::string& value) {
        if (!value.empty()) writer.text(key, value);
    };
    const auto time = [&](std::string_view key, std::int64_t value) {
        if (value != 0) writer.integer(key, value);
    };
    text("plan_id", result.plan_id);
    text("workflow_id", result.workflow_id);
    text("correlation_id", result.correlation_id);
    text("trace_id", result.trace_id);
    time("started_at", result.started_at);
    time("completed_at", result.completed_at);
}

class ResultReader {
public:
    explicit ResultReader(const json::object& object) : object_(object) {}

    Result<ExecutionResult> run() {
        ExecutionResult result;
        WA_CHECKED(text(object_, "ticket_id", result.ticket_id));
        if (result.ticket_id.empty()) return invalid("ticket_id", "ticket_id is missing or empty");
        WA_CHECKED(read_payload(result));
        WA_CHECKED(read_status(result));
        WA_CHECKED(text(object_, "error_message", result.error_message));
        WA_CHECKED(integer("actual_duration_ms", result.actual_duration_ms));
        WA_CHECKED(text(object_, "agent_id", result.agent_id));
        WA_CHECKED(integer("timestamp", result.timestamp));
        std::int64_t version = 1;
        WA_CHECKED(integer("schema_version", version));
        if (version < 0 || version > std::numeric_limits<std::int32_t>::max()) {
            return invalid("schema_version", "schema_version is out of range");
        }
        result.schema_version = static_cast<std::int32_t>(version);
        WA_CHECKED(read_extras(result));
        return result;
    }

private:
    static const json::value* find(const json::object& object, std::string_view key) {
        const auto* value = object.if_contains(key);
        return value != nullptr && value->is_null() ? nullptr : value;
    }
    static Failure wrong(std::string field, std::string_view wanted, const json::value& found) {
        std::string message = field + " must be " + std::string(wanted) + ", found " + describe_value(found);
        return invalid(std::move(field), std::move(message));
    }
    static Result<void> text(const json::object& object, std::string_view key, std::string& out) {
        const auto* value = find(object, key);
        if (value == nullptr) return {};
        const auto* string = value->if_string();
        if (string == nullptr) return wrong(std::string(key), "a text", *value);
        out.assign(string->data(), string->size());
        return {};
    }
    Result<void> integer(std::string_view key, std::int64_t& out) const {
        const auto* value = find(object_, key);
        if (value == nullptr) return {};
        const auto number = whole_number(*value);
        if (!number) return wrong(std::string(key), "a whole number", *value);
        out = *number;
        return {};
    }
    static Result<void> map(const json::object& payload, std::string_view key, StringMap& out) {
        const auto* value = find(payload, key);
        if (value == nullptr) return {};
        const auto* object = value->if_object();
        if (object == nullptr) return wrong("result." + std::string(key), "an object", *value);
        for (const auto& member : *object) {
            if (member.value().is_null()) continue;
            out.insert_or_assign(std::string(member.key().data(), member.key().size()), value_text(member.value()));
        }
        return {};
    }
    Result<void> read_payload(ExecutionResult& result) {
        const auto* value = find(object_, "result");
        if (value == nullptr) return {};
        const auto* payload = value->if_object();
        if (payload == nullptr) return wrong("result", "an object", *value);
        WA_CHECKED(map(*payload, "output", result.output));
        WA_CHECKED(map(*payload, "metadata", result.metadata));
        const auto* logs = payload->if_contains("logs");
        if (logs == nullptr || !logs->is_array()) return {};
        for (const auto& line : logs->get_array())
            result.logs.push_back(value_text(line));
        return {};
    }
    Result<void> read_status(ExecutionResult& result) {
        std::string status;
        WA_CHECKED(text(object_, "status", status));
        if (status == "PREEMPTED") result.metadata.try_emplace("outcome", "preempted");
        if (status == "CANCELLED") result.metadata.try_emplace("outcome", "cancelled");
        result.success = status == "COMPLETED";
        if (result.success || status == "FAILED" || status == "PREEMPTED" || status == "CANCELLED") return {};
        return invalid("status", "status must be COMPLETED or FAILED, found \"" + clip(status) + "\"");
    }
    Result<void> read_extras(ExecutionResult& result) {
        WA_CHECKED(text(object_, "plan_id", result.plan_id));
        WA_CHECKED(text(object_, "workflow_id", result.workflow_id));
        WA_CHECKED(text(object_, "correlation_id", result.correlation_id));
        WA_CHECKED(text(object_, "trace_id", result.trace_id));
        WA_CHECKED(integer("started_at", result.started_at));
        return integer("completed_at", result.completed_at);
    }

    const json::object& object_;
};

}  // namespace

std::string write_result(const ExecutionResult& result) {
    std::string out;
    out.reserve(512);
    JsonObjectWriter writer(out);
    writer.text("ticket_id", result.ticket_id);
    writer.text("status", result.success ? "COMPLETED" : "FAILED");
    write_payload(writer.key("result"), result);
    writer.text_or_null("error_message", result.error_message);
    writer.integer("actual_duration_ms", result.actual_duration_ms);
    writer.text("agent_id", result.agent_id);
    writer.integer("timestamp", result.timestamp);
    writer.integer("schema_version", result.schema_version);
    write_extras(writer, result);
    writer.close();
    return out;
}

Result<ExecutionResult> parse_result(std::string_view text, std::size_t max_bytes) {
    WA_TRY(const json::value value,
           parse_json(text, JsonLimits{max_bytes, kMaxResultDepth, DuplicateKeys::kRejectTop}));
    return parse_result_value(value);
}

Result<ExecutionResult> parse_result_value(const json::value& value) {
    if (!value.is_object()) {
        return invalid("", "a result must be a JSON object, found " + std::string(describe_kind(value)));
    }
    return ResultReader(value.get_object()).run();
}

}  // namespace wa
