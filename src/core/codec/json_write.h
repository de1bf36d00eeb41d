// Compact JSON text. Always valid UTF-8 (bytes that are not become U+FFFD, as Avro and executors may hand over any
// bytes), numbers in their shortest exact form, and a floating-point number stays one ("5.0", not "5").
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace wa {

// `text` with quotes around it, appended to `out`.
void append_json_string(std::string& out, std::string_view text);
void append_json(std::string& out, const boost::json::value& value);
void append_json(std::string& out, const boost::json::object& object);
[[nodiscard]] std::string json_text(const boost::json::value& value);
[[nodiscard]] std::string json_text(const boost::json::object& object);

// Writes one object member by member; the caller keeps to one level: `{` … members … `}`.
class JsonObjectWriter {
public:
    explicit JsonObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
    void close() { out_ += '}'; }

    // Everything up to and including the colon; the caller appends the value.
    std::string& key(std::string_view name);
    void text(std::string_view name, std::string_view value) { append_json_string(key(name), value); }
    void text_or_null(std::string_view name, std::string_view value);  // empty = null
    void integer(std::string_view name, std::int64_t value) { key(name) += std::to_string(value); }
    void boolean(std::string_view name, bool value) { key(name) += value ? "true" : "false"; }
    void null(std::string_view name) { key(name) += "null"; }
    void value(std::string_view name, const boost::json::value& value) { append_json(key(name), value); }

private:
    std::string& out_;
    bool first_ = true;
};

}  // namespace wa
