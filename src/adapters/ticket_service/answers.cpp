#include "adapters/ticket_service/answers.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::ticket_service {
namespace json = boost::json;

namespace {

constexpr std::size_t kMaxListed = 1000;
constexpr std::size_t kMaxIdBytes = 512;
constexpr std::size_t kMaxMessageBytes = 4096;  // of an error message that is sent or kept
constexpr std::size_t kMaxTokenBytes = 16'384;
constexpr std::int64_t kSpillVersion = 1;

Failure not_understood(const std::string& what) {
    return tl::unexpected(make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kService, "ticket_service",
                                     "the ticket service answered with something that is not " + what));
}

std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : std::string(text->data(), text->size());
}

Result<json::value> parse_answer(std::string_view body, const std::string& what) {
    JsonLimits limits;
    limits.max_bytes = 16ULL << 20U;
    limits.max_values = 1'000'000;
    auto value = parse_json(body, limits);
    if (!value) return not_understood(what + ": " + value.error().message);
    return value;
}

std::optional<TicketAnswer> ticket_of(const json::value& value) {
    const auto* object = value.if_object();
    if (object == nullptr) return std::nullopt;
    TicketAnswer ticket{text_of(*object, "ticket_id"), text_of(*object, "plan_id"), text_of(*object, "status"),
                        clip(text_of(*object, "error_message"), kMaxMessageBytes)};
    if (ticket.ticket_id.empty() || ticket.ticket_id.size() > kMaxIdBytes || ticket.status.empty() ||
        ticket.plan_id.size() > kMaxIdBytes)
        return std::nullopt;
    return ticket;
}

std::string one_line(std::string text) {
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
    return clip(text, 200);
}

}  // namespace

Result<TicketAnswer> parse_ticket(std::string_view body) {
    WA_TRY(const json::value value, parse_answer(body, "a ticket"));
    auto ticket = ticket_of(value);
    if (!ticket) return not_understood("a ticket");
    return *std::move(ticket);
}

Result<std::vector<TicketAnswer>> parse_ticket_list(std::string_view body) {
    WA_TRY(const json::value value, parse_answer(body, "a list of tickets"));
    const auto* object = value.if_object();
    const auto* listed = object == nullptr ? nullptr : object->if_contains("tickets");
    const auto* items = listed == nullptr ? nullptr : listed->if_array();
    if (items == nullptr) return not_understood("a list of tickets");
    std::vector<TicketAnswer> tickets;
    tickets.reserve(std::min<std::size_t>(items->size(), kMaxListed));
    for (const auto& item : *items) {
        if (tickets.size() == kMaxListed) break;
        if (auto ticket = ticket_of(item)) tickets.push_back(*std::move(ticket));
    }
    return tickets;
}

DependencyStatus dependency_status(const TicketAnswer& ticket) {
    static constexpr std::array<std::string_view, 6> kFailed{"FAILED",    "COMPENSATING", "COMPENSATED",
                                                             "CANCELLED", "PREEMPTED",    "REJECTED"};
    DependencyStatus status;
    status.ticket_id = ticket.ticket_id;
    if (ticket.status == "COMPLETED") {
        status.state = DependencyState::kCompleted;
    } else if (std::ranges::find(kFailed, ticket.status) != kFailed.end()) {
        status.state = DependencyState::kFailed;
        status.detail = ticket.status;
        if (!ticket.error_message.empty()) status.detail += ": " + one_line(ticket.error_message);
    } else {
        status.state = DependencyState::kOpen;
    }
    return status;
}

Result<TokenAnswer> parse_token(std::string_view body) {
    JsonLimits limits;
    limits.max_bytes = 65'536;
    const auto value = parse_json(body, limits);
    const auto* object = value ? value->if_object() : nullptr;
    if (object == nullptr) return not_understood("a token");
    TokenAnswer answer{text_of(*object, "access_token"), std::nullopt};
    const bool visible = std::ranges::all_of(answer.token, [](char c) { return c > 0x20 && c < 0x7F; });
    if (answer.token.empty() || answer.token.size() > kMaxTokenBytes || !visible) return not_understood("a token");
    if (const auto* at = object->if_contains("expires_at")) answer.expires_at = whole_number(*at);
    return answer;
}

std::string error_detail(std::string_view body) {
    JsonLimits limits;
    limits.max_bytes = 65'536;
    const auto value = parse_json(body, limits);
    const auto* object = value ? value->if_object() : nullptr;
    const auto* detail = object == nullptr ? nullptr : object->if_contains("detail");
    if (detail == nullptr) return {};
    if (const auto* text = detail->if_string()) return one_line(std::string(text->data(), text->size()));
    // A validation error: the first message of the list. Its "input" may be anything, so it is not quoted.
    const auto* list = detail->if_array();
    const auto* first = list == nullptr || list->empty() ? nullptr : list->front().if_object();
    return first == nullptr ? std::string() : one_line(text_of(*first, "msg"));
}

std::string status_body(const StatusUpdate& update) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.text("status", to_string(update.status));
    writer.text_or_null("error_message", clip(update.error_message, kMaxMessageBytes));
    if (update.actual_duration_ms > 0) {
        writer.integer("actual_duration_ms", update.actual_duration_ms);
    } else {
        writer.null("actual_duration_ms");
    }
    writer.close();
    return out;
}

std::string spill_text(const std::vector<StatusUpdate>& updates) {
    std::string out;
    JsonObjectWriter file(out);
    file.integer("version", kSpillVersion);
    std::string& list = file.key("updates");
    list += '[';
    bool first = true;
    for (const StatusUpdate& update : updates) {
        if (out.size() + kMaxIdBytes + 2 * kMaxMessageBytes > kMaxSpillBytes) break;
        if (!std::exchange(first, false)) list += ',';
        JsonObjectWriter item(list);
        item.text("ticket_id", update.ticket_id);
        item.text("status", to_string(update.status));
        item.text("error_message", clip(update.error_message, kMaxMessageBytes));
        item.integer("actual_duration_ms", update.actual_duration_ms);
        item.close();
    }
    list += ']';
    file.close();
    return out;
}

Result<std::vector<StatusUpdate>> parse_spill(std::string_view text) {
    const auto corrupt = [](const std::string& why) {
        return fail(ErrorCode::kCorrupt, "ticket_service", "the file of waiting status updates is damaged: " + why);
    };
    JsonLimits limits;
    limits.max_bytes = kMaxSpillBytes;
    limits.max_values = 1'000'000;
    const auto value = parse_json(text, limits);
    if (!value) return corrupt(value.error().message);
    const auto* object = value->if_object();
    const auto* version = object == nullptr ? nullptr : object->if_contains("version");
    if (version == nullptr || whole_number(*version) != kSpillVersion) return corrupt("its version is not 1");
    const auto* listed = object->if_contains("updates");
    const auto* items = listed == nullptr ? nullptr : listed->if_array();
    if (items == nullptr) return corrupt("it has no list of updates");
    std::vector<StatusUpdate> updates;
    for (const auto& item : *items) {
        const auto* fields = item.if_object();
        if (fields == nullptr) return corrupt("an update is not an object");
        StatusUpdate update;
        update.ticket_id = text_of(*fields, "ticket_id");
        const auto status = parse_ticket_status(text_of(*fields, "status"));
        const auto* duration = fields->if_contains("actual_duration_ms");
        const auto millis = duration == nullptr ? std::nullopt : whole_number(*duration);
        if (update.ticket_id.empty() || update.ticket_id.size() > kMaxIdBytes || !status || !millis)
            return corrupt("an update lacks a field");
        update.status = *status;
        update.error_message = clip(text_of(*fields, "error_message"), kMaxMessageBytes);
        update.actual_duration_ms = *millis;
        updates.push_back(std::move(update));
    }
    return updates;
}

}  // namespace wa::ticket_service
