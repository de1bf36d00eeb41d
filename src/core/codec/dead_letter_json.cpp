#include "core/codec/dead_letter_json.h"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <limits>
#include <optional>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "core/codec/ticket_json.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::size_t kMaxErrorBytes = 4096;
constexpr std::size_t kMaxReasonBytes = 1024;
constexpr std::string_view kMetadataKey = "dlq_metadata";
constexpr std::array<std::string_view, 4> kAddedByConsumers{kMetadataKey, "processed_at", "processed_at_ms", "_id"};

constexpr std::size_t kMaxWordBytes = 128;

Result<json::value> parsed_letter(std::string_view dead_letter) {
    return parse_json(dead_letter, JsonLimits{2 * kMaxDeadLetterBytes, kMaxTicketDepth + 1, {}});
}

bool is_undecodable_form(const json::object& letter) {
    const auto* broken = letter.if_contains("_deserialization_error");
    return broken != nullptr && *broken == true;
}

std::string text_in(const json::object& object, std::string_view key, std::size_t most) {
    const auto* value = object.if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : clip(std::string_view(text->data(), text->size()), most);
}

bool names_its_ticket(const json::object& letter) {
    const auto* value = letter.if_contains("ticket_id");
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text != nullptr && !text->empty() && text->size() <= kMaxTicketIdBytes;
}

std::int64_t count_in(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value == nullptr ? 0 : std::max<std::int64_t>(0, whole_number(*value).value_or(0));
}

std::optional<json::object> object_of(const DeadLetterFacts& facts, std::size_t max_bytes) {
    auto parsed = parse_json(facts.payload, JsonLimits{max_bytes, kMaxTicketDepth, DuplicateKeys::kKeepLast});
    if (parsed && parsed->is_object()) return std::move(parsed->get_object());
    if (facts.ticket != nullptr) return ticket_object(*facts.ticket);
    return std::nullopt;
}

void write_reasons(std::string& out, const std::vector<std::string>& reasons) {
    const std::size_t count = std::min(reasons.size(), kMaxFailureReasons);
    out += '[';
    for (std::size_t i = reasons.size() - count; i < reasons.size(); ++i) {
        if (out.back() != '[') out += ',';
        append_json_string(out, clip(reasons[i], kMaxReasonBytes));
    }
    out += ']';
}

void write_metadata(std::string& out, const DeadLetterFacts& facts, bool with_raw) {
    JsonObjectWriter writer(out);
    writer.text("original_error", clip(facts.error, kMaxErrorBytes));
    writer.text("error_type", facts.error_type);
    writer.integer("retry_count", facts.retry_count);
    writer.integer("last_failure_timestamp", facts.last_failure_timestamp);
    writer.integer("dlq_published_at", facts.published_at);
    writer.integer("first_failure_timestamp",
                   facts.first_failure_timestamp != 0 ? facts.first_failure_timestamp : facts.last_failure_timestamp);
    write_reasons(writer.key("failure_reasons"), facts.failure_reasons);
    writer.text("reason", facts.reason);
    writer.text("agent_id", facts.agent_id);
    writer.text("source_topic", facts.source_topic);
    writer.integer("source_partition", facts.source_partition);
    writer.integer("source_offset", facts.source_offset);
    if (with_raw) {
        writer.text("raw_value_base64", base64(facts.payload.substr(0, kMaxRawBytes)));
        writer.integer("raw_value_bytes", static_cast<std::int64_t>(facts.payload.size()));
        writer.boolean("raw_value_truncated", facts.payload.size() > kMaxRawBytes);
    }
    writer.close();
}

std::string normal_form(const json::object& ticket, const DeadLetterFacts& facts) {
    std::string out;
    JsonObjectWriter writer(out);
    for (const auto& member : ticket) {
        const std::string_view key{member.key().data(), member.key().size()};
        // A replayed ticket may still carry the story of its last death.
        if (std::ranges::find(kAddedByConsumers, key) == kAddedByConsumers.end()) writer.value(key, member.value());
    }
    write_metadata(writer.key(kMetadataKey), facts, false);
    writer.close();
    return out;
}

void known_or_unknown(JsonObjectWriter& writer, std::string_view key, const std::string& value) {
    writer.text(key, value.empty() ? "unknown" : clip(value, kMaxTicketIdBytes));
}

std::string undecodable_form(const DeadLetterFacts& facts) {
    std::string out;
    JsonObjectWriter writer(out);
    known_or_unknown(writer, "ticket_id", facts.ticket_id);
    known_or_unknown(writer, "task_id", facts.task_id);
    known_or_unknown(writer, "task_type", facts.task_type);
    writer.text("status", "DESERIALIZATION_FAILED");
    writer.key("dependencies") += "[]";
    writer.boolean("_deserialization_error", true);
    writer.text("_raw_message_preview", lossy_utf8(facts.payload, kPreviewCharacters));
    JsonObjectWriter source(writer.key("_kafka_metadata"));
    source.text("topic", facts.source_topic);
    source.integer("partition", facts.source_partition);
    source.integer("offset", facts.source_offset);
    source.integer("timestamp", facts.source_timestamp);
    source.close();
    write_metadata(writer.key(kMetadataKey), facts, true);
    writer.close();
    return out;
}

}  // namespace

std::string write_dead_letter(const DeadLetterFacts& facts, std::size_t max_bytes) {
    if (const auto ticket = object_of(facts, max_bytes)) {
        std::string message = normal_form(*ticket, facts);
        if (message.size() <= max_bytes) return message;
    }
    return undecodable_form(facts);
}

Result<std::string> replayable_ticket(std::string_view dead_letter) {
    WA_TRY(json::value value, parsed_letter(dead_letter));
    auto* object = value.if_object();
    if (object == nullptr) return invalid("", "a dead letter must be a JSON object");
    if (is_undecodable_form(*object)) {
        return invalid("_deserialization_error",
                       "the ticket could not be read, so it cannot be published again as it is");
    }
    for (const std::string_view key : kAddedByConsumers)
        object->erase(key);
    (*object)["status"] = "PENDING";
    return json_text(*object);
}

DeadLetterSummary dead_letter_summary(std::string_view dead_letter) {
    DeadLetterSummary summary;
    const auto parsed = parsed_letter(dead_letter);
    const auto* letter = parsed ? parsed->if_object() : nullptr;
    if (letter == nullptr) return summary;
    summary.readable = true;
    summary.ticket_id = text_in(*letter, "ticket_id", kMaxTicketIdBytes);
    summary.plan_id = text_in(*letter, "plan_id", kMaxTicketIdBytes);
    summary.task_id = text_in(*letter, "task_id", kMaxTicketIdBytes);
    summary.task_type = text_in(*letter, "task_type", kMaxWordBytes);
    summary.replayable = !is_undecodable_form(*letter) && names_its_ticket(*letter);
    const auto* value = letter->if_contains(kMetadataKey);
    const auto* metadata = value == nullptr ? nullptr : value->if_object();
    if (metadata == nullptr) return summary;
    summary.reason = text_in(*metadata, "reason", kMaxWordBytes);
    summary.error_type = text_in(*metadata, "error_type", kMaxWordBytes);
    summary.error = text_in(*metadata, "original_error", kMaxReasonBytes);
    summary.attempts = static_cast<std::int32_t>(
        std::min<std::int64_t>(count_in(*metadata, "retry_count"), std::numeric_limits<std::int32_t>::max()));
    summary.first_at = count_in(*metadata, "first_failure_timestamp");
    return summary;
}

std::string original_base64(std::string_view dead_letter) {
    const auto parsed = parsed_letter(dead_letter);
    const auto* letter = parsed ? parsed->if_object() : nullptr;
    const auto* value = letter == nullptr ? nullptr : letter->if_contains(kMetadataKey);
    const auto* metadata = value == nullptr ? nullptr : value->if_object();
    const auto* raw = metadata == nullptr ? nullptr : metadata->if_contains("raw_value_base64");
    const auto* text = raw == nullptr ? nullptr : raw->if_string();
    return text == nullptr ? std::string() : std::string(text->data(), text->size());
}

}  // namespace wa
