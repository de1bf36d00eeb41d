#include "adapters/redis/lease_value.h"

#include <boost/json/object.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::redis {
namespace json = boost::json;

namespace {

std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : clip(std::string_view(text->data(), text->size()), 512);
}

std::optional<std::int64_t> number_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value == nullptr ? std::nullopt : whole_number(*value);
}

}  // namespace

std::string processed_key(std::string_view ticket_id) {
    return "ticket:processed:" + std::string(ticket_id);
}

std::string processing_key(std::string_view ticket_id) {
    return "ticket:processing:" + std::string(ticket_id);
}

std::string write_note(const LeaseNote& note) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.text("worker", clip(note.worker, 512));
    writer.text("status", clip(note.status, 512));
    writer.text("topic", clip(note.position.topic, 512));
    writer.integer("partition", note.position.partition);
    writer.integer("offset", note.position.offset);
    writer.integer("at", note.at);
    writer.close();
    return out;
}

LeaseNote read_note(std::string_view text) {
    JsonLimits limits;
    limits.max_bytes = kMaxValueBytes;
    limits.max_depth = 4;
    const auto value = parse_json(text, limits);
    const auto* object = value ? value->if_object() : nullptr;
    if (object == nullptr) return {};
    LeaseNote note;
    note.worker = text_of(*object, "worker");
    note.status = text_of(*object, "status");
    note.position.topic = text_of(*object, "topic");
    const auto partition = number_of(*object, "partition");
    if (partition && *partition >= -1 && *partition <= std::numeric_limits<std::int32_t>::max())
        note.position.partition = static_cast<std::int32_t>(*partition);
    note.position.offset = number_of(*object, "offset").value_or(-1);
    note.at = number_of(*object, "at").value_or(0);
    return note;
}

bool suppresses(const LeaseNote& ending, const LeasePosition& position) {
    if (ending.status.empty() || ending.status == to_string(TicketStatus::kCompleted)) return true;
    return ending.position == position;
}

}  // namespace wa::redis
