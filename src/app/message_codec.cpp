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

constexpr std::size_t kMaxResultSchemas = 1000;
constexpr std::size_t kMaxVerdictsWaiting = 1000;

std::optional<kafka::DecodedEnding> verdict_of(const std::optional<AvroVerdictReader>& reader, std::string_view body) {
    if (!reader) return std::nullopt;
    auto verdict = reader->read(body);
    if (!verdict || !*verdict) return std::nullopt;
    return kafka::DecodedEnding{(*verdict)->completed, std::move((*verdict)->error)};
}

}  // namespace

MessageCodec::MessageCodec(ResultsFormat format, std::string subject,
                           std::function<void(SchemaId, const std::string&)> unusable)
    : format_(format), subject_(std::move(subject)), unusable_(std::move(unusable)) {}

void MessageCodec::use(Schemas* schemas) {
    schemas_ = schemas;
    if (schemas_ != nullptr && format_ != ResultsFormat::kJson)
        schemas_->publish(subject_, std::string(result_schema_text()));
}

bool MessageCodec::waits_for_own_schema() {
    if (schemas_ == nullptr || format_ == ResultsFormat::kJson) return false;
    if (const auto id = schemas_->published(subject_)) result_schema_ = *id;
    return result_schema_ < 0 && schemas_->is_publishing(subject_);
}

void MessageCodec::refresh() {
    if (schemas_ == nullptr) return;
    if (!waits_for_own_schema())
        for (const auto& again : std::exchange(waiting_for_own_, {}))
            again();
    constexpr int kCallsBetweenTries = 5;
    if (++refreshed_ % kCallsBetweenTries != 0) return;
    for (auto& [id, verdicts] : verdicts_) {
        if (!verdicts.waiting.empty()) ask_for_verdicts(id, verdicts);
    }
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
    if (waits_for_own_schema()) {
        waiting_for_own_.push_back(std::move(again));
        return false;
    }
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

void MessageCodec::ending(std::string_view payload, kafka::EndingDecoded done) {
    if (detect_format(payload) == ValueFormat::kJson) {
        const Result<ExecutionResult> result = parse_result(payload);
        if (!result) return done(std::nullopt);
        return done(kafka::DecodedEnding{result->success, result->error_message});
    }
    const auto framed = detect_format(payload) == ValueFormat::kAvro ? unframe(payload) : std::nullopt;
    if (!framed || schemas_ == nullptr) return done(std::nullopt);
    if (!verdicts_.contains(framed->schema_id) && verdicts_.size() >= kMaxResultSchemas) return done(std::nullopt);
    Verdicts& verdicts = verdicts_[framed->schema_id];
    if (!verdicts.known) {
        if (const auto text = schemas_->find(framed->schema_id))
            learn_verdicts(SchemaAnswer{framed->schema_id, SchemaState::kFound, text, {}, {}});
    }
    if (verdicts.known) return done(verdict_of(verdicts.reader, framed->body));
    if (verdicts_waiting_ >= kMaxVerdictsWaiting) return done(std::nullopt);  // the ticket service answers for it
    ++verdicts_waiting_;
    verdicts.waiting.emplace_back(framed->body, std::move(done));
    ask_for_verdicts(framed->schema_id, verdicts);
}

void MessageCodec::ask_for_verdicts(SchemaId id, Verdicts& verdicts) {
    if (std::exchange(verdicts.asking, true)) return;
    schemas_->fetch(id, [this, alive = std::weak_ptr<bool>(alive_)](const SchemaAnswer& answer) {
        if (alive.expired()) return;
        verdicts_[answer.id].asking = false;
        // Unreachable: refresh() asks again.
        if (answer.state != SchemaState::kUnreachable) learn_verdicts(answer);
    });
}

void MessageCodec::learn_verdicts(const SchemaAnswer& answer) {
    Verdicts& verdicts = verdicts_[answer.id];
    verdicts.known = true;
    std::string why = "the schema registry does not have it";
    if (answer.state == SchemaState::kFound) {
        auto made = AvroVerdictReader::make(*answer.text);
        why = made ? std::string() : made.error().describe();
        if (made) verdicts.reader = std::move(*made);
    }
    if (!why.empty() && unusable_) unusable_(answer.id, why);
    auto waiting = std::exchange(verdicts.waiting, {});
    verdicts_waiting_ -= waiting.size();
    for (auto& [body, done] : waiting)
        done(verdict_of(verdicts.reader, body));
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
