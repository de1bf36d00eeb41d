// What a schema registry answers, read from JSON, and the files that keep it. Outside input: bounded and typed. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ports/schemas.h"

namespace wa::schema_registry {

inline constexpr std::size_t kMaxSchemaBytes = 1ULL << 20U;
inline constexpr std::size_t kMaxAnswerBytes = 4ULL << 20U;

// {"schema": "…", "schemaType"?: "AVRO", "references"?: []}. kUnsupported: a schema, but not a plain Avro one;
// kMalformed: no such answer.
[[nodiscard]] Result<std::string> parse_schema(std::string_view body);
// {"id": n}
[[nodiscard]] Result<SchemaId> parse_registered(std::string_view body);

// An error answer in the registry's own words: {"error_code": 40403, "message": "…"}. Nothing when something else, a
// proxy or a wrong path, is speaking.
struct RegistryError {
    std::int64_t code = 0;
    std::string message;  // one short line
};
[[nodiscard]] std::optional<RegistryError> parse_error(std::string_view body);

[[nodiscard]] std::string registration_body(std::string_view schema);

// A cached schema on disk, with what makes sure that it is whole and meant.
[[nodiscard]] std::string file_text(std::string_view registry, SchemaId id, std::string_view schema);
// kCorrupt when it is damaged, or of another registry or id.
[[nodiscard]] Result<std::string> parse_file(std::string_view registry, SchemaId id, std::string_view text);

}  // namespace wa::schema_registry
