#include "core/codec/json_write.h"

#include <array>
#include <charconv>

#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

bool needs_escape(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}

void append_escaped(std::string& out, char c) {
    constexpr std::string_view kHex = "0123456789abcdef";
    switch (c) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default: break;
    }
    const auto code = static_cast<unsigned char>(c);
    out += "\\u00";
    out += kHex[code >> 4U];
    out += kHex[code & 0xFU];
}

void append_double(std::string& out, double number) {
    std::array<char, 32> buffer{};
    const auto [end, failure] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
    const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    // JSON has no word for infinity; nothing that we parse holds one.
    if (failure != std::errc() || text.find_first_of("ni") != std::string_view::npos) {
        out += "null";
        return;
    }
    out += text;
    if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void append_array(std::string& out, const json::array& array) {
    out += '[';
    for (std::size_t i = 0; i < array.size(); ++i) {
        if (i > 0) out += ',';
        append_json(out, array[i]);
    }
    out += ']';
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        // As much as can be copied unchanged, in one go.
        std::size_t plain = 0;
        while (plain < text.size() && !needs_escape(text[plain]) && static_cast<unsigned char>(text[plain]) < 0x80)
            ++plain;
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) break;
        if (static_cast<unsigned char>(text.front()) < 0x80) {
            append_escaped(out, text.front());
            text.remove_prefix(1);
        } else {
            const std::size_t length = utf8_length(text);
            out += length == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(0, length);
            text.remove_prefix(length == 0 ? 1 : length);
        }
    }
    out += '"';
}

void append_json(std::string& out, const json::object& object) {
    JsonObjectWriter writer(out);
    for (const auto& member : object)
        writer.value({member.key().data(), member.key().size()}, member.value());
    writer.close();
}

// Recursion is as deep as the value is nested, and every way in (parse_json, YAML) bounds that.
void append_json(std::string& out, const json::value& value) {
    switch (value.kind()) {
        case json::kind::null: out += "null"; return;
        case json::kind::bool_: out += value.get_bool() ? "true" : "false"; return;
        case json::kind::int64: out += std::to_string(value.get_int64()); return;
        case json::kind::uint64: out += std::to_string(value.get_uint64()); return;
        case json::kind::double_: append_double(out, value.get_double()); return;
        case json::kind::string:
            append_json_string(out, {value.get_string().data(), value.get_string().size()});
            return;
        case json::kind::array: append_array(out, value.get_array()); return;
        case json::kind::object: append_json(out, value.get_object()); return;
    }
}

std::string json_text(const json::value& value) {
    std::string out;
    append_json(out, value);
    return out;
}

std::string json_text(const json::object& object) {
    std::string out;
    append_json(out, object);
    return out;
}

std::string& JsonObjectWriter::key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    append_json_string(out_, name);
    return out_ += ':';
}

void JsonObjectWriter::text_or_null(std::string_view name, std::string_view value) {
    if (value.empty()) {
        null(name);
    } else {
        text(name, value);
    }
}

}  // namespace wa
