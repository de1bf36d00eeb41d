#include "core/codec/avro_frame.h"

namespace wa {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

ValueFormat detect_format(std::string_view value) {
    if (unframe(value)) return ValueFormat::kAvro;
    if (value.starts_with(kByteOrderMark)) value.remove_prefix(kByteOrderMark.size());
    const auto begin = value.find_first_not_of(" \t\r\n");
    return begin != std::string_view::npos && value[begin] == '{' ? ValueFormat::kJson : ValueFormat::kUnknown;
}

std::optional<Framed> unframe(std::string_view value) {
    if (value.size() < kAvroHeaderBytes || value.front() != '\0') return std::nullopt;
    Framed framed;
    for (std::size_t i = 1; i < kAvroHeaderBytes; ++i)
        framed.schema_id = framed.schema_id << 8U | static_cast<unsigned char>(value[i]);
    framed.body = value.substr(kAvroHeaderBytes);
    return framed;
}

}  // namespace wa
