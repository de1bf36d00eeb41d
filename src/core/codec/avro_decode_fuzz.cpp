// Any bytes as Avro, with avro-c as the oracle where avro-c is safe.
//
// The first byte of the input chooses what the rest is: a message under one of our schemas (also read by avro-c), a
// schema, a message under a schema that avro-c would not survive, or a pair of schemas and a message.
//
// With avro-c: what we accept it accepts, with the same value. What it accepts and writes again as the very same bytes
// we accept, unless it holds a text that is not UTF-8, a boolean above 1 or no symbol of its enum. (Longer forms of
// numbers and bytes behind the value change when they are written again.) avro-c leaks on malformed input and allocates
// what a length claims, so it gets an allocator of its own that is emptied after each input and has an end.
#include <avro.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "core/codec/avro_decode.h"
#include "core/codec/avro_frame.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/avro_ticket.h"
#include "core/codec/text.h"

namespace {

namespace json = boost::json;

// Every kind, no item without bytes (avro-c would count to any number).
constexpr std::string_view kEveryKind = R"({"type": "record", "name": "All", "fields": [
    {"name": "b", "type": "boolean"}, {"name": "i", "type": "int"}, {"name": "l", "type": "long"},
    {"name": "f", "type": "float"}, {"name": "d", "type": "double"}, {"name": "s", "type": "string"},
    {"name": "y", "type": "bytes"}, {"name": "x", "type": {"type": "fixed", "name": "Three", "size": 3}},
    {"name": "e", "type": {"type": "enum", "name": "Letter", "symbols": ["A", "B", "C"]}},
    {"name": "u", "type": ["null", "string", "long", {"type": "array", "items": "long"}]},
    {"name": "a", "type": {"type": "array", "items": {"type": "map", "values": ["int", "string"]}}},
    {"name": "r", "type": {"type": "array", "items": {"type": "record", "name": "Pair", "fields": [
        {"name": "k", "type": "string"}, {"name": "v", "type": {"type": "array", "items": "bytes"}}]}}}]})";

// Recursive and with items of no bytes: ours only.
constexpr std::string_view kHard = R"({"type": "record", "name": "Tree", "fields": [
    {"name": "nulls", "type": {"type": "array", "items": "null"}},
    {"name": "empty", "type": {"type": "map", "values": {"type": "record", "name": "Nothing", "fields": []}}},
    {"name": "kids", "type": {"type": "array", "items": ["null", "Tree"]}}]})";
constexpr std::string_view kHardReader = R"({"type": "record", "name": "Tree", "fields": [
    {"name": "kids", "type": {"type": "array", "items": ["null", "Tree"]}},
    {"name": "more", "type": {"type": "map", "values": "double"}, "default": {"x": 1}}]})";

// What avro-c allocates while it reads: one piece of memory, emptied after each input.
class Arena {
public:
    void begin() { used_ = 0, on_ = true; }
    void end() { on_ = false; }

    static void* allocate(void* self, void* block, std::size_t old_size, std::size_t new_size) {
        auto& arena = *static_cast<Arena*>(self);
        if (!arena.on_) return arena.forever(block, new_size);
        if (new_size == 0) return nullptr;
        const std::size_t rounded = (new_size + 15) / 16 * 16;
        if (new_size > kBytes || arena.used_ + rounded > kBytes) return nullptr;
        unsigned char* fresh = arena.memory_.get() + arena.used_;
        arena.used_ += rounded;
        if (block != nullptr) std::memcpy(fresh, block, std::min(old_size, new_size));
        return fresh;
    }

private:
    static constexpr std::size_t kBytes = 32 * 1024 * 1024;
    static void* forever(void* block, std::size_t size) {
        if (size != 0) return std::realloc(block, size);
        std::free(block);
        return nullptr;
    }
    std::unique_ptr<unsigned char[]> memory_ = std::make_unique<unsigned char[]>(kBytes);  // NOLINT: raw memory
    std::size_t used_ = 0;
    bool on_ = false;
};

Arena& arena() {
    static Arena one;
    return one;
}

std::string_view bytes_of(const void* data, std::size_t size) {
    return {static_cast<const char*>(data), size};
}

// An avro-c value in the form of our decoder; `regular` turns false when it holds what we refuse:
// a text that is not UTF-8, a boolean above 1, a symbol that
// is none.
json::value converted(const avro_value_t& value, bool& regular) {
    const auto text = [&](std::string_view bytes) {
        regular = regular && wa::is_utf8(bytes);
        return json::value(json::string(bytes.data(), bytes.size()));
    };
    const auto latin = [](std::string_view bytes) {
        const std::string as_text = wa::bytes_as_text(bytes);
        return json::value(json::string(as_text.data(), as_text.size()));
    };
    std::size_t size = 0;
    switch (static_cast<int>(avro_value_get_type(&value))) {
        case AVRO_NULL: return nullptr;
        case AVRO_BOOLEAN: {
            int truth = 0;
            avro_value_get_boolean(&value, &truth);
            regular = regular && (truth == 0 || truth == 1);
            return json::value(truth != 0);
        }
        case AVRO_INT32: {
            std::int32_t number = 0;
            avro_value_get_int(&value, &number);
            return std::int64_t{number};
        }
        case AVRO_INT64: {
            std::int64_t number = 0;
            avro_value_get_long(&value, &number);
            return number;
        }
        case AVRO_FLOAT: {
            float number = 0;
            avro_value_get_float(&value, &number);
            return double{number};
        }
        case AVRO_DOUBLE: {
            double number = 0;
            avro_value_get_double(&value, &number);
            return number;
        }
        case AVRO_STRING: {
            const char* data = nullptr;
            avro_value_get_string(&value, &data, &size);
            return text(bytes_of(data, size - 1));  // its size counts a zero behind the text
        }
        case AVRO_BYTES: {
            const void* data = nullptr;
            avro_value_get_bytes(&value, &data, &size);
            return latin(bytes_of(data, size));
        }
        case AVRO_FIXED: {
            const void* data = nullptr;
            avro_value_get_fixed(&value, &data, &size);
            return latin(bytes_of(data, size));
        }
        case AVRO_ENUM: {
            int symbol = 0;
            avro_value_get_enum(&value, &symbol);
            const avro_schema_t schema = avro_value_get_schema(&value);
            // It takes any number, and reads memory that nobody wrote when asked for that symbol.
            regular = regular && symbol >= 0 && symbol < avro_schema_enum_number_of_symbols(schema);
            return regular ? json::value(avro_schema_enum_get(schema, symbol)) : json::value();
        }
        case AVRO_UNION: {
            avro_value_t branch;
            avro_value_get_current_branch(&value, &branch);
            return converted(branch, regular);
        }
        case AVRO_ARRAY: {
            json::array out;
            avro_value_get_size(&value, &size);
            for (std::size_t i = 0; i < size; ++i) {
                avro_value_t item;
                avro_value_get_by_index(&value, i, &item, nullptr);
                out.push_back(converted(item, regular));
            }
            return out;
        }
        case AVRO_MAP:
        case AVRO_RECORD: {
            json::object out;
            avro_value_get_size(&value, &size);
            for (std::size_t i = 0; i < size; ++i) {
                avro_value_t item;
                const char* name = nullptr;
                avro_value_get_by_index(&value, i, &item, &name);
                regular = regular && wa::is_utf8(name);
                out.insert_or_assign(name, converted(item, regular));
            }
            return out;
        }
        default: WA_CHECK(false, "all types are handled"); return {};
    }
}

// The same, with not-a-number equal to itself.
bool same(const json::value& a, const json::value& b) {
    if (a.is_double() && b.is_double()) {
        const double one = a.get_double();
        const double two = b.get_double();
        return one == two || (std::isnan(one) && std::isnan(two));
    }
    if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), same);
    if (a.is_object() && b.is_object()) {
        return a.get_object().size() == b.get_object().size() &&
               std::ranges::all_of(a.get_object(), [&](const auto& member) {
                   const auto* other = b.get_object().if_contains(member.key());
                   return other != nullptr && same(member.value(), *other);
               });
    }
    return a == b;
}

// One schema, for both.
class Subject {
public:
    explicit Subject(std::string_view schema_text)
        : plan_(wa::AvroResolver::make(wa::AvroSchema::parse(schema_text).value(),
                                       wa::AvroSchema::parse(schema_text).value())
                    .value()) {
        avro_schema_t schema = nullptr;
        WA_CHECK(avro_schema_from_json_length(schema_text.data(), schema_text.size(), &schema) == 0, "a good schema");
        class_ = avro_generic_class_from_schema(schema);
        WA_CHECK(class_ != nullptr, "a good schema");
    }

    void compare(std::string_view body) const {
        const auto ours = plan_.decode(body);
        arena().begin();
        compare_with_oracle(body, ours);
        arena().end();
    }

private:
    void compare_with_oracle(std::string_view body, const wa::Result<json::value>& ours) const {
        avro_value_t value;
        if (avro_generic_value_new(class_, &value) != 0) return;
        avro_reader_t reader = avro_reader_memory(body.data(), static_cast<std::int64_t>(body.size()));
        if (avro_value_read(reader, &value) != 0) {
            WA_CHECK(!ours.has_value(), "what avro-c refuses is refused");
            return;
        }
        bool regular = true;
        const json::value theirs = converted(value, regular);
        if (ours) {
            WA_CHECK(regular, "texts are UTF-8, booleans are 0 or 1");
            // Maps of avro-c end keys at a zero.
            if (body.find('\0') == std::string_view::npos || !has_zero_key(*ours))
                WA_CHECK(same(*ours, theirs), "the same value");
            return;
        }
        if (!regular) return;
        std::string again(body.size() + 64, '\0');
        avro_writer_t writer = avro_writer_memory(again.data(), static_cast<std::int64_t>(again.size()));
        if (avro_value_write(writer, &value) != 0) return;
        again.resize(static_cast<std::size_t>(avro_writer_tell(writer)));
        WA_CHECK(again != body, "what avro-c writes is accepted");
    }

    static bool has_zero_key(const json::value& value) {
        if (const auto* array = value.if_array()) return std::ranges::any_of(*array, has_zero_key);
        const auto* object = value.if_object();
        return object != nullptr && std::ranges::any_of(*object, [](const auto& member) {
                   return member.key().find('\0') != json::string_view::npos || has_zero_key(member.value());
               });
    }

    wa::AvroResolver plan_;
    avro_value_iface_t* class_ = nullptr;
};

void check_ticket(std::string_view body) {
    static const auto kReader = wa::AvroTicketReader::make(wa::ticket_schema_text()).value();
    const auto ticket = wa::decode_ticket_avro(kReader, body);
    if (!ticket) {
        WA_CHECK(!ticket.error().message.empty() && ticket.error().message.size() < 600, "errors are short sentences");
        return;
    }
    wa::TicketLimits limits;
    limits.max_bytes = 64 * 1024 * 1024;
    const auto again = wa::parse_ticket(wa::write_ticket(*ticket), limits);
    WA_CHECK(again && wa::same_ticket(*ticket, *again), "a ticket from Avro is a ticket in JSON");
}

void check_schema(std::string_view text) {
    const auto schema = wa::AvroSchema::parse(text);
    if (!schema) return;
    const std::string form = schema->canonical_form();
    const auto again = wa::AvroSchema::parse(form, wa::AvroSchemaLimits{64 * 1024 * 1024, 256, 8192});
    WA_CHECK(again && again->canonical_form() == form, "the canonical form is its own");
    const auto plan = wa::AvroResolver::make(*schema, *schema);
    if (plan) (void)plan->decode(text);
}

void check_pair(std::string_view input) {
    const auto first = input.find('\n');
    if (first == std::string_view::npos) return;
    const auto second = input.find('\n', first + 1);
    if (second == std::string_view::npos) return;
    const auto writer = wa::AvroSchema::parse(input.substr(0, first));
    const auto reader = wa::AvroSchema::parse(input.substr(first + 1, second - first - 1));
    if (!writer || !reader) return;
    const auto plan = wa::AvroResolver::make(*writer, *reader);
    if (plan) (void)plan->decode(input.substr(second + 1));
}

void check_hard(std::string_view body) {
    static const auto kWriter = wa::AvroSchema::parse(kHard).value();
    static const auto kReader = wa::AvroSchema::parse(kHardReader).value();
    static const auto kSame = wa::AvroResolver::make(kWriter, kWriter).value();
    static const auto kOther = wa::AvroResolver::make(kWriter, kReader).value();
    const bool accepted = kSame.decode(body).has_value();
    WA_CHECK(kOther.decode(body).has_value() == accepted, "reading over refuses what reading refuses");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    avro_set_allocator(Arena::allocate, &arena());
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Subject kTicket(wa::ticket_schema_text());
    static const Subject kEvery(kEveryKind);
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    (void)wa::detect_format(rest);
    switch (data[0]) {
        case 's': check_schema(rest); break;
        case 'p': check_pair(rest); break;
        case 'h': check_hard(rest); break;
        case 'e': kEvery.compare(rest); break;
        default: kTicket.compare(rest); check_ticket(rest);
    }
    return 0;
}
