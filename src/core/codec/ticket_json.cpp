#include "core/codec/ticket_json.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

// An ordinary ticket is parsed without touching the heap; a larger one grows from here.
constexpr std::size_t kArenaBytes = 16 * 1024;

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}

bool has_control_character(std::string_view text) {
    return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

// Iterative: the value may come from a caller whose own depth limit was larger.
bool deeper_than(const json::value& root, std::size_t limit) {
    std::vector<std::pair<const json::value*, std::size_t>> open;
    const auto push = [&](const json::value& value, std::size_t depth) {
        if (value.is_structured()) open.emplace_back(&value, depth);
    };
    push(root, 1);
    while (!open.empty()) {
        const auto [value, depth] = open.back();
        open.pop_back();
        if (depth > limit) return true;
        if (const auto* object = value->if_object()) {
            for (const auto& member : *object)
                push(member.value(), depth + 1);
        } else {
            for (const auto& item : value->get_array())
                push(item, depth + 1);
        }
    }
    return false;
}

std::optional<Priority> priority_of(const json::value& value) {
    if (const auto* text = value.if_string()) {
        if (view(*text) == "MEDIUM") return Priority::kNormal;
        return parse_priority(view(*text));
    }
    const auto number = whole_number(value);
    if (!number || *number < 1 || *number > 10) return std::nullopt;
    if (*number <= 2) return Priority::kLow;
    if (*number <= 5) return Priority::kNormal;
    return *number <= 8 ? Priority::kHigh : Priority::kCritical;
}

// Reads the fields of one object into a Ticket and notes what is wrong with them.
class TicketReader {
public:
    TicketReader(const json::object& object, const TicketLimits& limits) : object_(object), limits_(limits) {}

    std::vector<Error> run(Ticket& ticket) {
        read_identity(ticket);
        read_work(ticket);
        read_sla(ticket.sla);
        read_qos(ticket.qos);
        read_rest(ticket);
        return std::move(errors_);
    }

private:
    enum class Null : std::uint8_t { kIsAbsent, kIsWrong };

    void note(ErrorCode code, std::string field, std::string message) {
        if (errors_.size() >= kMaxTicketErrors) return;
        Error error = make_error(code, Retry::kNever, Fault::kInput, "ticket", field + " " + message);
        error.field = std::move(field);
        errors_.push_back(std::move(error));
    }
    void wrong(std::string field, std::string_view wanted, const json::value& found) {
        note(ErrorCode::kInvalidArgument, std::move(field),
             "must be " + std::string(wanted) + ", found " + describe_value(found));
    }

    // The value of a key, null when there is none (or a null that means none).
    const json::value* find(const json::object& object, std::string_view key, Null null = Null::kIsAbsent) const {
        const auto* value = object.if_contains(key);
        return value != nullptr && value->is_null() && null == Null::kIsAbsent ? nullptr : value;
    }
    const json::value* find(std::string_view key, Null null = Null::kIsAbsent) const {
        return find(object_, key, null);
    }

    void text(std::string_view key, std::string& out) {
        const auto* value = find(key);
        if (value == nullptr) return;
        if (const auto* string = value->if_string()) {
            out.assign(string->data(), string->size());
        } else {
            wrong(std::string(key), "a text", *value);
        }
    }
    template <class Enum, class Parse>
    void word(const json::object& object, std::string_view key, std::string_view path, Null null, Parse parse,
              std::string_view wanted, Enum& out) {
        const auto* value = find(object, key, null);
        if (value == nullptr) return;
        const auto* string = value->if_string();
        const auto parsed = string == nullptr ? std::nullopt : parse(view(*string));
        if (parsed) {
            out = *parsed;
        } else {
            wrong(std::string(path) + std::string(key), wanted, *value);
        }
    }
    std::optional<std::int64_t> integer(const json::object& object, std::string_view key, std::string_view path,
                                        std::int64_t low, std::int64_t high) {
        const auto* value = find(object, key);
        if (value == nullptr) return std::nullopt;
        const auto number = whole_number(*value);
        if (number && *number >= low && *number <= high) return number;
        std::string wanted = "a whole number";
        if (low > std::numeric_limits<std::int64_t>::min()) {
            wanted += " from " + std::to_string(low) + " to " + std::to_string(high);
        }
        wrong(std::string(path) + std::string(key), wanted, *value);
        return std::nullopt;
    }
    std::optional<std::int64_t> integer(std::string_view key) {
        return integer(object_, key, "", std::numeric_limits<std::int64_t>::min(),
                       std::numeric_limits<std::int64_t>::max());
    }
    std::optional<std::int64_t> integer32(std::string_view key, std::int32_t low) {
        return integer(object_, key, "", low, std::numeric_limits<std::int32_t>::max());
    }

    void read_identity(Ticket& ticket) {
        read_id(ticket.ticket_id);
        text("plan_id", ticket.plan_id);
        text("intent_id", ticket.intent_id);
        text("decision_id", ticket.decision_id);
        text("correlation_id", ticket.correlation_id);
        if (ticket.correlation_id.empty()) text("correlationId", ticket.correlation_id);
        text("trace_id", ticket.trace_id);
        text("span_id", ticket.span_id);
    }

    void read_id(std::string& out) {
        const auto* value = object_.if_contains("ticket_id");
        const bool missing =
            value == nullptr || value->is_null() || (value->is_string() && value->get_string().empty());
        if (missing && !limits_.require_id) return;
        if (value == nullptr) return note(ErrorCode::kInvalidArgument, "ticket_id", "is missing");
        const auto* string = value->if_string();
        if (string == nullptr) return wrong("ticket_id", "a text", *value);
        if (string->empty()) return note(ErrorCode::kInvalidArgument, "ticket_id", "must not be empty");
        if (check_id("ticket_id", view(*string))) out.assign(string->data(), string->size());
    }

    bool check_id(const std::string& field, std::string_view id) {
        if (id.size() > kMaxTicketIdBytes) {
            note(ErrorCode::kInvalidArgument, field,
                 "must be at most " + std::to_string(kMaxTicketIdBytes) + " bytes long, found " +
                     std::to_string(id.size()));
            return false;
        }
        if (has_control_character(id)) {
            note(ErrorCode::kInvalidArgument, field, "must not contain control characters");
            return false;
        }
        return true;
    }

    void read_work(Ticket& ticket) {
        const auto* task_id = object_.if_contains("task_id");
        if (task_id == nullptr) {
            note(ErrorCode::kInvalidArgument, "task_id", "is missing");
        } else if (const auto* string = task_id->if_string()) {
            ticket.task_id.assign(string->data(), string->size());
        } else {
            wrong("task_id", "a text", *task_id);
        }
        read_task_type(ticket.task_type);
        text("description", ticket.description);
        read_dependencies(ticket);
        word(object_, "status", "", Null::kIsWrong, parse_ticket_status,
             "one of PENDING, RUNNING, COMPLETED, FAILED, COMPENSATING, COMPENSATED", ticket.status);
        if (const auto* value = find("priority")) {
            if (const auto priority = priority_of(*value)) {
                ticket.priority = *priority;
            } else {
                wrong("priority", "one of LOW, NORMAL, HIGH, CRITICAL, or a number from 1 to 10", *value);
            }
        }
        word(object_, "risk_band", "", Null::kIsAbsent, parse_risk_band, "one of low, medium, high, critical",
             ticket.risk_band);
    }

    void read_task_type(TaskType& out) {
        const auto* value = object_.if_contains("task_type");
        if (value == nullptr) return note(ErrorCode::kInvalidArgument, "task_type", "is missing");
        const auto* string = value->if_string();
        if (string == nullptr) return wrong("task_type", "a text", *value);
        if (const auto parsed = parse_task_type(view(*string))) {
            out = *parsed;
            return;
        }
        note(ErrorCode::kUnsupported, "task_type",
             "must be one of BUILD, DEPLOY, TEST, VALIDATE, EXECUTE, COMPENSATE, QUERY, TRANSFORM, found " +
                 describe_value(*value));
    }

    void read_dependencies(Ticket& ticket) {
        const auto* value = object_.if_contains("dependencies");
        if (value == nullptr) return;
        const auto* array = value->if_array();
        if (array == nullptr) return wrong("dependencies", "a list of ticket ids", *value);
        if (array->size() > limits_.max_dependencies) {
            return note(ErrorCode::kLimitExceeded, "dependencies",
                        "has " + std::to_string(array->size()) + " items; at most " +
                            std::to_string(limits_.max_dependencies) + " are allowed");
        }
        ticket.dependencies.reserve(array->size());
        std::unordered_set<std::string_view> seen;
        for (std::size_t i = 0; i < array->size(); ++i)
            read_dependency(ticket, (*array)[i], i, seen);
    }

    void read_dependency(Ticket& ticket, const json::value& item, std::size_t index,
                         std::unordered_set<std::string_view>& seen) {
        const auto field = [&] { return "dependencies[" + std::to_string(index) + "]"; };
        const auto* string = item.if_string();
        if (string == nullptr || string->empty()) return wrong(field(), "a ticket id", item);
        const std::string_view id = view(*string);
        if (id == ticket.ticket_id) {
            return note(ErrorCode::kInvalidArgument, field(), "must not be the ticket itself");
        }
        if (id.size() > kMaxTicketIdBytes || has_control_character(id)) {
            check_id(field(), id);
            return;
        }
        if (seen.insert(id).second) ticket.dependencies.emplace_back(id);
    }

    void read_sla(Sla& sla) {
        const auto* value = find("sla");
        if (value == nullptr) return;
        const auto* object = value->if_object();
        if (object == nullptr) return wrong("sla", "an object", *value);
        const auto deadline = integer(*object, "deadline", "sla.", std::numeric_limits<std::int64_t>::min(),
                                      std::numeric_limits<std::int64_t>::max());
        if (deadline && *deadline > 0) sla.deadline = deadline;
        if (const auto timeout = integer(*object, "timeout_ms", "sla.", 1, kMaxTimeoutMs)) sla.timeout_ms = *timeout;
        if (const auto retries = integer(*object, "max_retries", "sla.", 0, kMaxRetries)) {
            sla.max_retries = static_cast<std::int32_t>(*retries);
        }
    }

    void read_qos(Qos& qos) {
        const auto* value = find("qos");
        if (value == nullptr) return;
        const auto* object = value->if_object();
        if (object == nullptr) return wrong("qos", "an object", *value);
        word(*object, "delivery_mode", "qos.", Null::kIsAbsent, parse_delivery_mode,
             "one of AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE", qos.delivery_mode);
        word(*object, "consistency", "qos.", Null::kIsAbsent, parse_consistency, "one of EVENTUAL, STRONG",
             qos.consistency);
        word(*object, "durability", "qos.", Null::kIsAbsent, parse_durability, "one of TRANSIENT, PERSISTENT",
             qos.durability);
    }

    void read_rest(Ticket& ticket) {
        if (const auto* value = find("parameters")) {
            if (const auto* object = value->if_object()) {
                ticket.parameters = *object;
            } else {
                wrong("parameters", "an object", *value);
            }
        }
        read_capabilities(ticket.required_capabilities);
        word(object_, "security_level", "", Null::kIsAbsent, parse_security_level,
             "one of PUBLIC, INTERNAL, CONFIDENTIAL, RESTRICTED", ticket.security_level);
        ticket.created_at = std::max<std::int64_t>(integer("created_at").value_or(0), 0);
        ticket.started_at = integer("started_at");
        ticket.completed_at = integer("completed_at");
        if (ticket.started_at && ticket.completed_at && *ticket.completed_at <= *ticket.started_at) {
            note(ErrorCode::kInvalidArgument, "completed_at", "must be later than started_at");
        }
        ticket.estimated_duration_ms = integer("estimated_duration_ms");
        ticket.actual_duration_ms = integer("actual_duration_ms");
        ticket.retry_count = static_cast<std::int32_t>(integer32("retry_count", 0).value_or(0));
        text("error_message", ticket.error_message);
        text("compensation_ticket_id", ticket.compensation_ticket_id);
        read_metadata(ticket);
        ticket.schema_version = static_cast<std::int32_t>(integer32("schema_version", 0).value_or(1));
    }

    void read_capabilities(std::vector<std::string>& out) {
        const auto* value = find("required_capabilities");
        if (value == nullptr) return;
        const auto* array = value->if_array();
        if (array == nullptr) return wrong("required_capabilities", "a list of texts", *value);
        out.reserve(array->size());
        for (std::size_t i = 0; i < array->size(); ++i) {
            if (const auto* string = (*array)[i].if_string()) {
                out.emplace_back(string->data(), string->size());
            } else {
                wrong("required_capabilities[" + std::to_string(i) + "]", "a text", (*array)[i]);
            }
        }
    }

    void read_metadata(Ticket& ticket) {
        const auto* value = find("metadata");
        if (value == nullptr) return;
        const auto* object = value->if_object();
        if (object == nullptr) return wrong("metadata", "an object", *value);
        for (const auto& member : *object) {
            if (member.value().is_null()) continue;
            ticket.metadata.insert_or_assign(std::string(member.key().data(), member.key().size()),
                                             value_text(member.value()));
        }
    }

    const json::object& object_;
    const TicketLimits& limits_;
    std::vector<Error> errors_;
};

// The ticket and everything that is wrong with it; it may be used only when nothing is.
struct Reading {
    Ticket ticket;
    std::vector<Error> errors;
};

Reading read_value(const json::value& value, const TicketLimits& limits) {
    Reading reading;
    const auto refuse = [&](ErrorCode code, std::string message) {
        reading.errors.push_back(make_error(code, Retry::kNever, Fault::kInput, "ticket", std::move(message)));
    };
    if (!value.is_object()) {
        refuse(ErrorCode::kInvalidArgument,
               "a ticket must be a JSON object, found " + std::string(describe_kind(value)));
    } else if (deeper_than(value, limits.max_depth)) {
        refuse(ErrorCode::kMalformed,
               "the ticket is nested deeper than " + std::to_string(limits.max_depth) + " levels");
    } else {
        reading.errors = TicketReader(value.get_object(), limits).run(reading.ticket);
    }
    return reading;
}

Reading read_text(std::string_view text, const TicketLimits& limits) {
    std::array<unsigned char, kArenaBytes> buffer;  // NOLINT: raw memory for the arena
    json::monotonic_resource arena(buffer.data(), buffer.size());
    const auto value =
        parse_json(text, JsonLimits{limits.max_bytes, limits.max_depth, DuplicateKeys::kRejectTop}, &arena);
    if (value) return read_value(*value, limits);
    Reading reading;
    reading.errors.push_back(value.error());
    reading.errors.back().origin = "ticket";
    return reading;
}

Result<Ticket> first_error_or_ticket(Reading reading) {
    if (!reading.errors.empty()) return tl::unexpected(std::move(reading.errors.front()));
    return std::move(reading.ticket);
}

void write_texts(std::string& out, const std::vector<std::string>& texts) {
    out += '[';
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (i > 0) out += ',';
        append_json_string(out, texts[i]);
    }
    out += ']';
}

void integer_or_null(JsonObjectWriter& writer, std::string_view key, const auto& number) {
    if (number) {
        writer.integer(key, *number);
    } else {
        writer.null(key);
    }
}

void write_sla(std::string& out, const Sla& sla) {
    JsonObjectWriter writer(out);
    integer_or_null(writer, "deadline", sla.deadline);
    writer.integer("timeout_ms", sla.timeout_ms);
    integer_or_null(writer, "max_retries", sla.max_retries);
    writer.close();
}

void write_qos(std::string& out, const Qos& qos) {
    JsonObjectWriter writer(out);
    writer.text("delivery_mode", to_string(qos.delivery_mode));
    writer.text("consistency", to_string(qos.consistency));
    writer.text("durability", to_string(qos.durability));
    writer.close();
}

}  // namespace

Result<Ticket> parse_ticket(std::string_view text, const TicketLimits& limits) {
    return first_error_or_ticket(read_text(text, limits));
}

Result<Ticket> parse_ticket_value(const json::value& value, const TicketLimits& limits) {
    return first_error_or_ticket(read_value(value, limits));
}

std::vector<Error> check_ticket(std::string_view text, const TicketLimits& limits) {
    return read_text(text, limits).errors;
}

std::vector<Error> check_ticket_value(const json::value& value, const TicketLimits& limits) {
    return read_value(value, limits).errors;
}

std::string write_ticket(const Ticket& ticket) {
    std::string out;
    out.reserve(1024);
    JsonObjectWriter writer(out);
    writer.text("ticket_id", ticket.ticket_id);
    writer.text("plan_id", ticket.plan_id);
    writer.text("intent_id", ticket.intent_id);
    writer.text("decision_id", ticket.decision_id);
    writer.text_or_null("correlation_id", ticket.correlation_id);
    writer.text_or_null("trace_id", ticket.trace_id);
    writer.text_or_null("span_id", ticket.span_id);
    writer.text("task_id", ticket.task_id);
    writer.text("task_type", to_string(ticket.task_type));
    writer.text("description", ticket.description);
    write_texts(writer.key("dependencies"), ticket.dependencies);
    writer.text("status", to_string(ticket.status));
    writer.text("priority", to_string(ticket.priority));
    writer.text("risk_band", to_string(ticket.risk_band));
    write_sla(writer.key("sla"), ticket.sla);
    write_qos(writer.key("qos"), ticket.qos);
    append_json(writer.key("parameters"), ticket.parameters);
    write_texts(writer.key("required_capabilities"), ticket.required_capabilities);
    writer.text("security_level", to_string(ticket.security_level));
    writer.integer("created_at", ticket.created_at);
    integer_or_null(writer, "started_at", ticket.started_at);
    integer_or_null(writer, "completed_at", ticket.completed_at);
    integer_or_null(writer, "estimated_duration_ms", ticket.estimated_duration_ms);
    integer_or_null(writer, "actual_duration_ms", ticket.actual_duration_ms);
    writer.integer("retry_count", ticket.retry_count);
    writer.text_or_null("error_message", ticket.error_message);
    writer.text_or_null("compensation_ticket_id", ticket.compensation_ticket_id);
    JsonObjectWriter metadata(writer.key("metadata"));
    for (const auto& [key, value] : ticket.metadata)
        metadata.text(key, value);
    metadata.close();
    writer.integer("schema_version", ticket.schema_version);
    writer.close();
    return out;
}

json::object ticket_object(const Ticket& ticket) {
    // One list of fields, not two: what write_ticket() writes is valid by construction.
    auto value = parse_json(write_ticket(ticket), JsonLimits{std::numeric_limits<std::size_t>::max(), 256, {}});
    return value && value->is_object() ? std::move(value->get_object()) : json::object();
}

bool same_ticket(const Ticket& a, const Ticket& b) {
    const auto tie = [](const Ticket& t) {
        return std::tie(t.ticket_id, t.plan_id, t.intent_id, t.decision_id, t.correlation_id, t.trace_id, t.span_id,
                        t.task_id, t.task_type, t.description, t.dependencies, t.status, t.priority, t.risk_band, t.sla,
                        t.qos, t.required_capabilities, t.security_level, t.created_at, t.started_at, t.completed_at,
                        t.estimated_duration_ms, t.actual_duration_ms, t.retry_count, t.error_message,
                        t.compensation_ticket_id, t.metadata, t.schema_version);
    };
    return tie(a) == tie(b) && a.parameters == b.parameters;
}

}  // namespace wa
