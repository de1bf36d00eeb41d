#include "core/codec/avro_schema.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::size_t kPrimitives = 8;
constexpr std::array<std::string_view, 14> kKindNames = {"null",   "boolean", "int",    "long",  "float",
                                                         "double", "bytes",   "string", "fixed", "enum",
                                                         "array",  "map",     "record", "union"};
constexpr std::int64_t kMaxFixedBytes = 1'048'576;
// Defaults of recursive records may refer to themselves; no schema that anybody wrote comes near.
constexpr std::size_t kMaxDefaultDepth = 32;
constexpr std::size_t kMaxDefaultValues = 100'000;

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}

Failure refuse(std::string message) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "avro",
                             "not a usable Avro schema: " + std::move(message));
    return Failure(std::move(error));
}

std::string quoted(std::string_view text) {
    return "\"" + clip(text) + "\"";
}

bool is_name(std::string_view text) {
    const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return !text.empty() && letter(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return letter(c) || digit(c); });
}

bool is_full_name(std::string_view text) {
    while (true) {
        const auto dot = text.find('.');
        if (!is_name(text.substr(0, dot))) return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

std::string_view namespace_of(std::string_view full_name) {
    const auto dot = full_name.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : full_name.substr(0, dot);
}

std::string qualify(std::string_view name, std::string_view space) {
    if (space.empty() || name.find('.') != std::string_view::npos) return std::string(name);
    return std::string(space) + "." + std::string(name);
}

std::optional<AvroKind> primitive(std::string_view name) {
    for (std::size_t i = 0; i < kPrimitives; ++i) {
        if (kKindNames[i] == name) return static_cast<AvroKind>(i);
    }
    return std::nullopt;
}

std::optional<std::string_view> text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    if (text == nullptr) return std::nullopt;
    return view(*text);
}

// Fills in and checks a default.
class DefaultReader {
public:
    explicit DefaultReader(const AvroSchema& schema) : schema_(schema) {}

    Result<json::value> read(AvroTypeIndex index, const json::value& written, std::size_t depth) {
        if (depth > kMaxDefaultDepth || ++values_ > kMaxDefaultValues) return wrong("it is too large");
        const AvroType& type = schema_.type(index);
        switch (type.kind) {
            case AvroKind::kNull: return keep(written.is_null(), written, "null");
            case AvroKind::kBoolean: return keep(written.is_bool(), written, "true or false");
            case AvroKind::kInt:
                return integer(written, std::numeric_limits<std::int32_t>::min(),
                               std::numeric_limits<std::int32_t>::max());
            case AvroKind::kLong:
                return integer(written, std::numeric_limits<std::int64_t>::min(),
                               std::numeric_limits<std::int64_t>::max());
            case AvroKind::kFloat:
            case AvroKind::kDouble:
                if (!written.is_number()) return wrong("it must be a number");
                return json::value(written.to_number<double>());
            case AvroKind::kString: return keep(written.is_string(), written, "a text");
            case AvroKind::kBytes:
            case AvroKind::kFixed: return bytes(type, written);
            case AvroKind::kEnum: {
                const auto* text = written.if_string();
                const bool known =
                    text != nullptr && std::ranges::find(type.symbols, view(*text)) != type.symbols.end();
                return keep(known, written, "a symbol of " + type.name);
            }
            case AvroKind::kArray: return array(type, written, depth);
            case AvroKind::kMap: return map(type, written, depth);
            case AvroKind::kRecord: return record(type, written, depth);
            case AvroKind::kUnion: return branch(type, written, depth);
        }
        return wrong("its type is unknown");
    }

private:
    static Failure wrong(std::string message) {
        return Failure(
            make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "avro", std::move(message)));
    }
    static Result<json::value> keep(bool fits, const json::value& written, std::string_view wanted) {
        if (fits) return written;
        return wrong("it must be " + std::string(wanted));
    }
    static Result<json::value> integer(const json::value& written, std::int64_t low, std::int64_t high) {
        const auto number = whole_number(written);
        if (!number || *number < low || *number > high) return wrong("it must be a whole number in range");
        return json::value(*number);
    }
    static Result<json::value> bytes(const AvroType& type, const json::value& written) {
        const auto* text = written.if_string();
        const auto raw = text == nullptr ? std::nullopt : text_as_bytes(view(*text));
        if (!raw) return wrong("it must be a text of characters up to U+00FF");
        return keep(type.kind == AvroKind::kBytes || raw->size() == type.size, written, "as long as its type");
    }
    Result<json::value> array(const AvroType& type, const json::value& written, std::size_t depth) {
        const auto* items = written.if_array();
        if (items == nullptr) return wrong("it must be a list");
        json::array out;
        for (const auto& item : *items) {
            WA_TRY(json::value value, read(type.parts.front(), item, depth + 1));
            out.push_back(std::move(value));
        }
        return json::value(std::move(out));
    }
    Result<json::value> map(const AvroType& type, const json::value& written, std::size_t depth) {
        const auto* entries = written.if_object();
        if (entries == nullptr) return wrong("it must be an object");
        json::object out;
        for (const auto& entry : *entries) {
            WA_TRY(json::value value, read(type.parts.front(), entry.value(), depth + 1));
            out.insert_or_assign(entry.key(), std::move(value));
        }
        return json::value(std::move(out));
    }
    Result<json::value> record(const AvroType& type, const json::value& written, std::size_t depth) {
        const auto* given = written.if_object();
        if (given == nullptr) return wrong("it must be an object");
        json::object out;
        for (const auto& field : type.fields) {
            const auto* value = given->if_contains(field.name);
            if (value == nullptr && field.default_value) value = &*field.default_value;
            if (value == nullptr) return wrong("it lacks " + field.name);
            WA_TRY(json::value filled, read(field.type, *value, depth + 1));
            out.insert_or_assign(field.name, std::move(filled));
        }
        return json::value(std::move(out));
    }
    // The first branch it fits: 1.11 asks for the first of all, 1.12 allows any.
    Result<json::value> branch(const AvroType& type, const json::value& written, std::size_t depth) {
        for (const auto part : type.parts) {
            if (auto value = read(part, written, depth + 1)) return value;
        }
        return wrong("it fits no branch of the union");
    }

    const AvroSchema& schema_;
    std::size_t values_ = 0;
};

}  // namespace

std::string_view to_string(AvroKind kind) {
    return kKindNames[static_cast<std::size_t>(kind)];
}

std::string_view unqualified(std::string_view full_name) {
    const auto dot = full_name.rfind('.');
    return dot == std::string_view::npos ? full_name : full_name.substr(dot + 1);
}

// Turns JSON into types. The JSON's own depth limit bounds the recursion.
class AvroSchemaReader {
public:
    explicit AvroSchemaReader(const AvroSchemaLimits& limits) : limits_(limits) {}

    Result<AvroSchema> run(const json::value& value) {
        WA_TRY(schema_.root_, read(value, ""));
        WA_CHECKED(check_defaults());
        return std::move(schema_);
    }

private:
    // The index of the type that `value` describes; `space` is the namespace around it.
    Result<AvroTypeIndex> read(const json::value& value, const std::string& space) {
        if (const auto* text = value.if_string()) return read_name(view(*text), space);
        if (const auto* array = value.if_array()) return read_union(*array, space);
        if (const auto* object = value.if_object()) return read_object(*object, space);
        return refuse("a type must be a text, a list or an object, found " + describe_value(value));
    }

    Result<AvroTypeIndex> read_name(std::string_view name, const std::string& space) {
        if (const auto kind = primitive(name)) return read_primitive(*kind);
        if (const auto found = named_.find(qualify(name, space)); found != named_.end()) return found->second;
        // A short name may also mean a type without a namespace.
        if (const auto found = named_.find(name); found != named_.end()) return found->second;
        return refuse("unknown type " + quoted(name));
    }

    Result<AvroTypeIndex> read_primitive(AvroKind kind) {
        auto& known = primitives_[static_cast<std::size_t>(kind)];  // one node serves all
        if (!known) {
            WA_TRY(known, add(kind));
        }
        return *known;
    }

    Result<AvroTypeIndex> add(AvroKind kind) {
        if (schema_.types_.size() >= limits_.max_types) {
            Error error = make_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput, "avro",
                                     "the schema has more than " + std::to_string(limits_.max_types) + " types");
            return Failure(std::move(error));
        }
        schema_.types_.emplace_back().kind = kind;
        return static_cast<AvroTypeIndex>(schema_.types_.size() - 1);
    }
    AvroType& at(AvroTypeIndex index) { return schema_.types_[index]; }

    Result<AvroTypeIndex> read_union(const json::array& branches, const std::string& space) {
        WA_TRY(const AvroTypeIndex index, add(AvroKind::kUnion));
        std::vector<AvroTypeIndex> parts;
        std::set<std::string, std::less<>> seen;
        for (const auto& branch : branches) {
            WA_TRY(const AvroTypeIndex part, read(branch, space));
            const AvroType& type = at(part);
            if (type.kind == AvroKind::kUnion) return refuse("a union may not hold a union");
            const std::string label = type.name.empty() ? std::string(to_string(type.kind)) : type.name;
            if (!seen.insert(label).second) return refuse("a union holds " + quoted(label) + " twice");
            parts.push_back(part);
        }
        if (parts.empty()) return refuse("a union needs at least one branch");
        at(index).parts = std::move(parts);
        return index;
    }

    Result<AvroTypeIndex> read_object(const json::object& object, const std::string& space) {
        const auto* type = object.if_contains("type");
        if (type == nullptr) return refuse("a type without \"type\"");
        if (!type->is_string()) return read(*type, space);
        const std::string_view word = view(type->get_string());
        if (word == "array") return read_container(AvroKind::kArray, object, "items", space);
        if (word == "map") return read_container(AvroKind::kMap, object, "values", space);
        if (word == "record" || word == "error") return read_record(object, space);
        if (word == "enum") return read_enum(object, space);
        if (word == "fixed") return read_fixed(object, space);
        return read_name(word, space);
    }

    Result<AvroTypeIndex> read_container(AvroKind kind, const json::object& object, std::string_view key,
                                         const std::string& space) {
        const auto* inner = object.if_contains(key);
        if (inner == nullptr) {
            return refuse(std::string(to_string(kind)) + " without " + quoted(key));
        }
        WA_TRY(const AvroTypeIndex index, add(kind));
        WA_TRY(const AvroTypeIndex part, read(*inner, space));
        at(index).parts = {part};
        return index;
    }

    // Adds a named type under its full name, so that what follows may refer to it.
    Result<AvroTypeIndex> add_named(AvroKind kind, const json::object& object, const std::string& space) {
        const auto name = text_of(object, "name");
        if (!name) return refuse(std::string(to_string(kind)) + " without a name");
        std::string around = space;
        if (object.if_contains("namespace") != nullptr) around = text_of(object, "namespace").value_or("");
        std::string full = qualify(*name, around);
        if (!is_full_name(full)) return refuse(quoted(full) + " is not a name");
        if (primitive(full)) return refuse(quoted(full) + " is the name of a primitive type");
        WA_TRY(const AvroTypeIndex index, add(kind));
        if (!named_.emplace(full, index).second) return refuse(quoted(full) + " is defined twice");
        WA_TRY(at(index).aliases, read_aliases(object, std::string(namespace_of(full))));
        at(index).name = std::move(full);
        return index;
    }

    static Result<std::vector<std::string>> read_aliases(const json::object& object, const std::string& space) {
        std::vector<std::string> aliases;
        const auto* value = object.if_contains("aliases");
        if (value == nullptr) return aliases;
        const auto* array = value->if_array();
        if (array == nullptr) return refuse("\"aliases\" must be a list");
        for (const auto& item : *array) {
            const auto* text = item.if_string();
            if (text == nullptr) return refuse("an alias must be a text");
            aliases.push_back(qualify(view(*text), space));
        }
        return aliases;
    }

    Result<AvroTypeIndex> read_record(const json::object& object, const std::string& space) {
        const auto* value = object.if_contains("fields");
        const auto* array = value == nullptr ? nullptr : value->if_array();
        if (array == nullptr) return refuse("a record needs a list of fields");
        WA_TRY(const AvroTypeIndex index, add_named(AvroKind::kRecord, object, space));
        const std::string inner(namespace_of(at(index).name));
        std::vector<AvroField> fields;
        std::set<std::string, std::less<>> names;
        for (const auto& item : *array) {
            WA_TRY(AvroField field, read_field(item, inner));
            if (!names.insert(field.name).second) return refuse("field " + quoted(field.name) + " is there twice");
            fields.push_back(std::move(field));
        }
        at(index).fields = std::move(fields);
        return index;
    }

    Result<AvroField> read_field(const json::value& value, const std::string& space) {
        const auto* object = value.if_object();
        if (object == nullptr) return refuse("a field must be an object");
        const auto name = text_of(*object, "name");
        if (!name || !is_name(*name)) return refuse("a field without a proper name");
        const auto* type = object->if_contains("type");
        if (type == nullptr) return refuse("field " + quoted(*name) + " has no type");
        AvroField field;
        field.name = *name;
        WA_TRY(field.type, read(*type, space));
        WA_TRY(field.aliases, read_aliases(*object, ""));
        if (const auto* written = object->if_contains("default")) field.default_value = *written;
        return field;
    }

    Result<AvroTypeIndex> read_enum(const json::object& object, const std::string& space) {
        const auto* value = object.if_contains("symbols");
        const auto* array = value == nullptr ? nullptr : value->if_array();
        if (array == nullptr || array->empty()) return refuse("an enum needs a list of symbols");
        WA_TRY(const AvroTypeIndex index, add_named(AvroKind::kEnum, object, space));
        std::set<std::string_view> seen;
        for (const auto& item : *array) {
            const auto* text = item.if_string();
            if (text == nullptr || !is_name(view(*text))) return refuse("a symbol must be a name");
            if (!seen.insert(view(*text)).second) return refuse("symbol " + quoted(view(*text)) + " is there twice");
            at(index).symbols.emplace_back(view(*text));
        }
        if (object.if_contains("default") != nullptr) {
            const auto& symbols = at(index).symbols;
            const auto found = std::ranges::find(symbols, text_of(object, "default").value_or(""));
            if (found == symbols.end()) return refuse("the default of an enum must be one of its symbols");
            at(index).default_symbol = static_cast<std::uint32_t>(found - symbols.begin());
        }
        return index;
    }

    Result<AvroTypeIndex> read_fixed(const json::object& object, const std::string& space) {
        const auto* value = object.if_contains("size");
        const auto size = value == nullptr ? std::nullopt : whole_number(*value);
        if (!size || *size < 0 || *size > kMaxFixedBytes) {
            return refuse("the size of a fixed type must be from 0 to " + std::to_string(kMaxFixedBytes));
        }
        WA_TRY(const AvroTypeIndex index, add_named(AvroKind::kFixed, object, space));
        at(index).size = static_cast<std::size_t>(*size);
        return index;
    }

    // After all types are known, for a default may need one that comes later.
    Result<void> check_defaults() {
        DefaultReader reader(schema_);  // one for all: its bound is on the whole schema
        for (auto& type : schema_.types_) {
            for (auto& field : type.fields) {
                if (!field.default_value) continue;
                auto value = reader.read(field.type, *field.default_value, 0);
                if (!value) {
                    return refuse("the default of field " + quoted(field.name) +
                                  " does not fit: " + value.error().message);
                }
            }
        }
        return {};
    }

    const AvroSchemaLimits& limits_;
    AvroSchema schema_;
    std::map<std::string, AvroTypeIndex, std::less<>> named_;
    std::array<std::optional<AvroTypeIndex>, kPrimitives> primitives_;
};

namespace {

// Writes the parsing canonical form. Named types are written out once, so the recursion is as deep as the schema's
// text.
class CanonicalWriter {
public:
    explicit CanonicalWriter(const AvroSchema& schema) : schema_(schema) {}

    std::string run() {
        write(schema_.root());
        return std::move(out_);
    }

private:
    void quote(std::string_view text) {
        out_ += '"';
        out_ += text;  // names hold nothing to escape
        out_ += '"';
    }
    void list(const auto& items, const auto& one) {
        out_ += '[';
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (i > 0) out_ += ',';
            one(items[i]);
        }
        out_ += ']';
    }
    void write(AvroTypeIndex index) {
        const AvroType& type = schema_.type(index);
        switch (type.kind) {
            case AvroKind::kArray: return container("array", "items", type);
            case AvroKind::kMap: return container("map", "values", type);
            case AvroKind::kUnion: return list(type.parts, [&](AvroTypeIndex part) { write(part); });
            case AvroKind::kRecord:
            case AvroKind::kEnum:
            case AvroKind::kFixed: return named(index, type);
            default: return quote(to_string(type.kind));
        }
    }
    void container(std::string_view word, std::string_view key, const AvroType& type) {
        out_ += "{\"type\":";
        quote(word);
        out_ += ',';
        quote(key);
        out_ += ':';
        write(type.parts.front());
        out_ += '}';
    }
    void named(AvroTypeIndex index, const AvroType& type) {
        if (!written_.insert(index).second) return quote(type.name);
        out_ += "{\"name\":";
        quote(type.name);
        out_ += ",\"type\":";
        quote(to_string(type.kind));
        if (type.kind == AvroKind::kRecord) {
            out_ += ",\"fields\":";
            list(type.fields, [&](const AvroField& field) {
                out_ += "{\"name\":";
                quote(field.name);
                out_ += ",\"type\":";
                write(field.type);
                out_ += '}';
            });
        } else if (type.kind == AvroKind::kEnum) {
            out_ += ",\"symbols\":";
            list(type.symbols, [&](const std::string& symbol) { quote(symbol); });
        } else {
            out_ += ",\"size\":" + std::to_string(type.size);
        }
        out_ += '}';
    }

    const AvroSchema& schema_;
    std::string out_;
    std::set<AvroTypeIndex> written_;
};

constexpr std::uint64_t kEmptyFingerprint = 0xC15D213AA4D7A795;

consteval std::array<std::uint64_t, 256> crc_table() {
    std::array<std::uint64_t, 256> table{};
    for (std::uint64_t i = 0; i < table.size(); ++i) {
        std::uint64_t entry = i;
        for (int bit = 0; bit < 8; ++bit)
            entry = entry >> 1U ^ ((entry & 1U) != 0 ? kEmptyFingerprint : 0);
        table[i] = entry;
    }
    return table;
}

}  // namespace

Result<AvroSchema> AvroSchema::parse(std::string_view text, const AvroSchemaLimits& limits) {
    auto value = parse_json(text, JsonLimits{limits.max_bytes, limits.max_depth, DuplicateKeys::kKeepLast});
    if (!value) return Failure(std::move(value).error().in("Avro schema"));
    return AvroSchemaReader(limits).run(*value);
}

std::string AvroSchema::canonical_form() const {
    return CanonicalWriter(*this).run();
}

std::uint64_t AvroSchema::fingerprint() const {
    return crc64_avro(canonical_form());
}

Result<json::value> AvroSchema::default_for(AvroTypeIndex type, const json::value& written) const {
    return DefaultReader(*this).read(type, written, 0);
}

std::uint64_t crc64_avro(std::string_view bytes) {
    static constexpr auto kTable = crc_table();
    std::uint64_t crc = kEmptyFingerprint;
    for (const char byte : bytes)
        crc = crc >> 8U ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU];
    return crc;
}

std::string fingerprint_text(std::uint64_t fingerprint) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (int byte = 0; byte < 8; ++byte, fingerprint >>= 8U) {
        text += kDigits[fingerprint >> 4U & 0xFU];
        text += kDigits[fingerprint & 0xFU];
    }
    return text;
}

std::string bytes_as_text(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    for (const char byte : bytes) {
        const auto code = static_cast<unsigned char>(byte);
        if (code < 0x80) {
            text += byte;
        } else {
            text += static_cast<char>(0xC0U | code >> 6U);
            text += static_cast<char>(0x80U | (code & 0x3FU));
        }
    }
    return text;
}

std::optional<std::string> text_as_bytes(std::string_view text) {
    std::string bytes;
    bytes.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const auto first = static_cast<unsigned char>(text.front());
        if (length == 1) {
            bytes += text.front();
        } else if (length == 2 && first <= 0xC3) {
            bytes += static_cast<char>((first & 0x03U) << 6U | (static_cast<unsigned char>(text[1]) & 0x3FU));
        } else {
            return std::nullopt;
        }
        text.remove_prefix(length);
    }
    return bytes;
}

}  // namespace wa
