#include "adapters/schema_registry/answers.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <limits>
#include <utility>

#include "base/random.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::schema_registry {
namespace json = boost::json;

namespace {

Failure not_understood(const std::string& what) {
    return tl::unexpected(make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService, "schema_registry",
                                     "the schema registry answered with something that is not " + what));
}

// Null when the text is no object.
Result<json::value> parse(std::string_view text) {
    JsonLimits limits;
    limits.max_bytes = kMaxAnswerBytes;
    limits.max_values = 100'000;
    limits.duplicates = DuplicateKeys::kRejectTop;
    WA_TRY(json::value value, parse_json(text, limits));
    if (!value.is_object()) return fail(ErrorCode::kMalformed, "schema_registry", "not an object");
    return value;
}

std::optional<std::string> text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    if (text == nullptr) return std::nullopt;
    return std::string(text->data(), text->size());
}

std::optional<SchemaId> id_of(const json::object& object) {
    const auto* value = object.if_contains("id");
    const auto number = value == nullptr ? std::nullopt : whole_number(*value);
    if (!number || *number < 0 || *number > std::numeric_limits<SchemaId>::max()) return std::nullopt;
    return static_cast<SchemaId>(*number);
}

// Tells a whole text from a damaged one.
std::string mark_of(std::string_view registry, SchemaId id, std::string_view schema) {
    return uuid5(std::string(registry) + "\n" + std::to_string(id) + "\n" + std::string(schema));
}

}  // namespace

Result<std::string> parse_schema(std::string_view body) {
    const auto value = parse(body);
    if (!value) return not_understood("a schema");
    const json::object& object = value->get_object();
    auto schema = text_of(object, "schema");
    if (!schema || schema->empty()) return not_understood("a schema");
    const std::string type = text_of(object, "schemaType").value_or("AVRO");
    if (type != "AVRO")
        return fail(ErrorCode::kUnsupported, "schema_registry", "the schema is of type " + clip(type) + ", not AVRO");
    const auto* references = object.if_contains("references");
    const auto* list = references == nullptr ? nullptr : references->if_array();
    if (list != nullptr && !list->empty())
        return fail(ErrorCode::kUnsupported, "schema_registry", "the schema refers to other schemas");
    if (schema->size() > kMaxSchemaBytes)
        return fail(ErrorCode::kUnsupported, "schema_registry", "the schema is larger than 1 MiB");
    return *std::move(schema);
}

Result<SchemaId> parse_registered(std::string_view body) {
    const auto value = parse(body);
    const auto id = value ? id_of(value->get_object()) : std::nullopt;
    if (!id) return not_understood("the id of a schema");
    return *id;
}

std::optional<RegistryError> parse_error(std::string_view body) {
    const auto value = parse(body);
    if (!value) return std::nullopt;
    const auto* code = value->get_object().if_contains("error_code");
    const auto number = code == nullptr ? std::nullopt : whole_number(*code);
    if (!number) return std::nullopt;
    std::string message = text_of(value->get_object(), "message").value_or("");
    std::ranges::replace_if(message, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
    return RegistryError{*number, clip(message, 200)};
}

std::string registration_body(std::string_view schema) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.text("schema", schema);
    writer.close();
    return out;
}

std::string file_text(std::string_view registry, SchemaId id, std::string_view schema) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.integer("id", id);
    writer.text("mark", mark_of(registry, id, schema));
    writer.text("schema", schema);
    writer.close();
    return out;
}

Result<std::string> parse_file(std::string_view registry, SchemaId id, std::string_view text) {
    const auto value = parse(text);
    if (!value) return fail(ErrorCode::kCorrupt, "schema_registry", "it is not readable");
    const json::object& object = value->get_object();
    auto schema = text_of(object, "schema");
    if (!schema || schema->empty() || schema->size() > kMaxSchemaBytes || id_of(object) != id)
        return fail(ErrorCode::kCorrupt, "schema_registry", "it is about something else");
    if (text_of(object, "mark") != mark_of(registry, id, *schema))
        return fail(ErrorCode::kCorrupt, "schema_registry", "its content does not fit its mark");
    return *std::move(schema);
}

}  // namespace wa::schema_registry
