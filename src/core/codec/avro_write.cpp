#include "core/codec/avro_write.h"

#include "core/codec/text.h"

namespace wa {

void AvroWriter::header(std::uint32_t schema_id) {
    out_ += '\0';
    for (int shift = 24; shift >= 0; shift -= 8)
        out_ += static_cast<char>(schema_id >> static_cast<unsigned>(shift) & 0xFFU);
}

void AvroWriter::integer(std::int64_t number) {
    auto bits = static_cast<std::uint64_t>(number) << 1U ^ static_cast<std::uint64_t>(number >> 63);
    for (; bits >= 0x80; bits >>= 7U)
        out_ += static_cast<char>(0x80U | (bits & 0x7FU));
    out_ += static_cast<char>(bits);
}

void AvroWriter::bytes(std::string_view bytes) {
    integer(static_cast<std::int64_t>(bytes.size()));
    out_ += bytes;
}

void AvroWriter::text(std::string_view text) {
    if (is_utf8(text)) return bytes(text);
    bytes(lossy_utf8(text, text.size()));
}

void AvroWriter::text_or_null(std::string_view value, bool present) {
    integer(present ? 1 : 0);
    if (present) text(value);
}

}  // namespace wa
