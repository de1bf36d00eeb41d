// Appends Avro binary to a text of bytes. The caller keeps to its schema.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wa {

class AvroWriter {
public:
    explicit AvroWriter(std::string& out) : out_(out) {}

    // The envelope of core/codec/avro_frame.h; comes first.
    void header(std::uint32_t schema_id);
    void boolean(bool truth) { out_ += truth ? '\1' : '\0'; }
    void integer(std::int64_t number);  // int and long; also counts of blocks, branches of unions, symbols of enums
    void bytes(std::string_view bytes);
    // What is not UTF-8 becomes U+FFFD, as core/codec/json_write.h does.
    void text(std::string_view text);
    // A union of null and string.
    void text_or_null(std::string_view text, bool present);

    // A sequence of texts, or a map of texts to texts: one block and its end.
    void texts(const auto& list) {
        if (!list.empty()) integer(static_cast<std::int64_t>(list.size()));
        for (const auto& item : list)
            text(item);
        integer(0);
    }
    void map(const auto& map) {
        if (!map.empty()) integer(static_cast<std::int64_t>(map.size()));
        for (const auto& [key, value] : map) {
            text(key);
            text(value);
        }
        integer(0);
    }

private:
    std::string& out_;
};

}  // namespace wa
