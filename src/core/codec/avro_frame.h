// The envelope of Avro messages on Kafka, and telling it from JSON (contract/tickets.md 3.3 and 3.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace wa {

// Byte 0 is 0x00, bytes 1 to 4 are the schema id (big endian), the rest is the Avro binary.
inline constexpr std::size_t kAvroHeaderBytes = 5;

enum class ValueFormat : std::uint8_t {
    kAvro,     // framed: unframe() gives id and body
    kJson,     // begins with '{', perhaps after a byte order mark and blanks
    kUnknown,  // poison: nobody can read it
};
[[nodiscard]] ValueFormat detect_format(std::string_view value);

struct Framed {
    std::uint32_t schema_id = 0;
    std::string_view body;  // of the value that was given
};
// Nothing when the value is not framed.
[[nodiscard]] std::optional<Framed> unframe(std::string_view value);

}  // namespace wa
