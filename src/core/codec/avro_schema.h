// Avro schemas (specification 1.11): reading their JSON text, canonical form and fingerprint.
//
// A schema may come from a registry, so it is hostile until parsed: its size, nesting and number of types are bounded,
// names are checked, references must name a type that was seen before, unions hold each kind once. Recursion by name is
// allowed (a type refers to itself); what bounds it is the depth limit of decoding. logicalType, doc, order and unknown
// attributes are ignored, as the specification asks.
//
// Pure; an AvroSchema is an immutable value and may be read from any thread.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa {

enum class AvroKind : std::uint8_t {
    kNull,
    kBoolean,
    kInt,
    kLong,
    kFloat,
    kDouble,
    kBytes,
    kString,
    kFixed,
    kEnum,
    kArray,
    kMap,
    kRecord,
    kUnion,
};
// "null", "boolean", …, as in schemas.
std::string_view to_string(AvroKind kind);

struct AvroSchemaLimits {
    std::size_t max_bytes = 256 * 1024;
    std::size_t max_depth = 64;    // of the JSON text
    std::size_t max_types = 4096;  // types in all; a named type counts once
};

// An index into AvroSchema::type().
using AvroTypeIndex = std::uint32_t;

struct AvroField {
    std::string name;
    std::vector<std::string> aliases;
    AvroTypeIndex type = 0;
    std::optional<boost::json::value> default_value;  // checked: a value of the type (default_for())
};

struct AvroType {
    AvroKind kind = AvroKind::kNull;
    std::string name;                  // full name; empty unless record, enum or fixed
    std::vector<std::string> aliases;  // full names
    std::vector<AvroField> fields;     // record
    std::vector<AvroTypeIndex> parts;  // array: items; map: values; union: branches
    std::vector<std::string> symbols;  // enum
    std::optional<std::uint32_t> default_symbol;
    std::size_t size = 0;  // fixed
};

class AvroSchema {
public:
    // Errors: kMalformed (not JSON), kInvalidArgument (JSON, but no schema; the message says where), kLimitExceeded.
    // All with Retry::kNever and Fault::kInput.
    static Result<AvroSchema> parse(std::string_view text, const AvroSchemaLimits& limits = {});

    [[nodiscard]] AvroTypeIndex root() const { return root_; }
    [[nodiscard]] const AvroType& type(AvroTypeIndex index) const { return types_[index]; }
    [[nodiscard]] std::size_t type_count() const { return types_.size(); }

    // Parsing canonical form: two schemas with the same form read and write the same bytes.
    [[nodiscard]] std::string canonical_form() const;
    // CRC-64-AVRO of the canonical form.
    [[nodiscard]] std::uint64_t fingerprint() const;

    // The value that a JSON default stands for, in the form that decoding gives (core/codec/avro_decode.h): fields that
    // a default of a record leaves out take their own defaults. Errors: kInvalidArgument.
    [[nodiscard]] Result<boost::json::value> default_for(AvroTypeIndex type, const boost::json::value& written) const;

private:
    friend class AvroSchemaReader;
    std::vector<AvroType> types_;
    AvroTypeIndex root_ = 0;
};

[[nodiscard]] std::uint64_t crc64_avro(std::string_view bytes);
// Sixteen hexadecimal digits, lowest byte first: the way Java and fastavro print it.
[[nodiscard]] std::string fingerprint_text(std::uint64_t fingerprint);

// The part of a full name behind its last dot.
[[nodiscard]] std::string_view unqualified(std::string_view full_name);

// Bytes as text, one character U+0000 to U+00FF for each: how Avro writes bytes in JSON.
[[nodiscard]] std::string bytes_as_text(std::string_view bytes);
// The other way; nothing when a character is above U+00FF or the text is not UTF-8.
[[nodiscard]] std::optional<std::string> text_as_bytes(std::string_view text);

}  // namespace wa
