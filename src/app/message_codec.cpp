#include "app/message_codec.h"

#include <utility>

#include "core/codec/avro_frame.h"
#include "core/codec/avro_result.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/result_json.h"
#include "core/codec/ticket_json.h"

namespace wa::app {
namespace {

Failure poison(std::string message) {
    return Failure(make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kInput, "ticket", std::move(message)));
}

}  // namespace

MessageCodec::MessageCodec(ResultsFormat format, std::string subject) : format_(format), subject_(std::move(subject)) {}

void MessageCodec::use(Schemas* schemas) {
    schemas_ = schemas;
    if (schemas_ != nullptr && format_ != ResultsFormat::kJson)
        schemas_->publish(subject_, std::string(result_schema_text()));
}

void MessageCodec::refresh() {
    if (schemas_ == nullptr) return;
    if (const auto id = schemas_->published(subject_)) result_schema_ = *id;
}

void MessageCodec::learn(const SchemaAnswer& answer) {
    auto reader = std::make_shared<Reader>();
    if (answer.state == SchemaState::kNotFound) {
        reader->why_not = answer.detail;
    } else {
        Result<AvroTicketReader> made = AvroTicketReader::make(*answer.text);
        if (made) {
            reader->tickets = std::move(*made);
        } else {
            reader->why_not = made.error().describe();
        }
    }
    const std::lock_guard lock(mutex_);
    readers_[answer.id] = std::move(reader);
}

bool MessageCodec::readable(std::string_view payload, std::function<void()> again) {
    if (schemas_ == nullptr || detect_format(payload) != ValueFormat::kAvro) return true;
    const auto framed = unframe(payload);
    if (!framed) return true;
    {
        const std::lock_guard lock(mutex_);
        if (readers_.contains(framed->schema_id)) return true;
    }
    if (const auto text = schemas_->find(framed->schema_id)) {
        learn(SchemaAnswer{framed->schema_id, SchemaState::kFound, text, {}, {}});
        return true;
    }
    schemas_->fetch(framed->schema_id,
                    [this, again = std::move(again), alive = std::weak_ptr<bool>(alive_)](const SchemaAnswer& answer) {
                        if (alive.expired()) return;
                        if (answer.state != SchemaState::kUnreachable) learn(answer);
                        again();
                    });
    return false;
}

Result<Ticket> MessageCodec::decode(std::string_view payload) const {
    switch (detect_format(payload)) {
        case ValueFormat::kJson: return parse_ticket(payload);
        case ValueFormat::kUnknown:
            return poison(payload.empty() ? "an empty message" : "neither JSON nor Avro with a schema id");
        case ValueFormat::kAvro: break;
    }
    const auto framed = unframe(payload);
    if (!framed) return poison("an Avro message without a schema id");
    std::shared_ptr<const Reader> reader;
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = readers_.find(framed->schema_id); found != readers_.end()) reader = found->second;
    }
    const std::string schema = "schema " + std::to_string(framed->schema_id);
    if (!reader) return poison("Avro under " + schema + ", and no schema registry is configured");
    if (!reader->tickets) return poison(schema + ": " + reader->why_not);
    return decode_ticket_avro(*reader->tickets, framed->body);
}

std::optional<kafka::DecodedEnding> MessageCodec::ending(std::string_view payload) const {
    if (detect_format(payload) != ValueFormat::kJson) return std::nullopt;
    const Result<ExecutionResult> result = parse_result(payload);
    if (!result) return std::nullopt;
    return kafka::DecodedEnding{result->success, result->error_message};
}

kafka::EncodedResult MessageCodec::encode(const ExecutionResult& result) const {
    const std::int64_t schema = result_schema_;
    const bool wants_avro = schemas_ != nullptr && format_ != ResultsFormat::kJson;
    if (wants_avro && schema >= 0)
        return {encode_result_avro(result, static_cast<std::uint32_t>(schema)), kafka::ValueKind::kAvro};
    if (wants_avro) ++fallbacks_;
    return {write_result(result), wants_avro ? kafka::ValueKind::kJsonInsteadOfAvro : kafka::ValueKind::kJson};
}

}  // namespace wa::app
