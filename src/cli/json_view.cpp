#include "cli/json_view.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::cli {
namespace {

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}
std::string_view view(json::string_view text) {
    return {text.data(), text.size()};
}

bool is_plain_yaml(std::string_view text) {
    if (text.empty() || text.size() > 200) return false;
    constexpr std::string_view kSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@+-";
    const char first = text.front();
    const bool letter = (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
    if (!letter || text.find_first_not_of(kSafe) != std::string_view::npos) return false;
    for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
        const bool same = std::ranges::equal(text, word, [](char a, char b) { return (a | 0x20) == b; });
        if (same) return false;
    }
    return true;
}

// JSON strings are YAML strings.
void append_yaml_text(std::string& out, std::string_view text) {
    if (is_plain_yaml(text)) {
        out += text;
    } else {
        append_json_string(out, text);
    }
}

// The depth is that of the parsed answer, which the JSON reader bounds.
void append_yaml(std::string& out, const json::value& value, std::size_t indent, bool in_list) {
    const std::string margin(indent, ' ');
    if (value.is_object() && !value.get_object().empty()) {
        bool first = true;
        for (const auto& [key, inner] : value.get_object()) {
            if (!(first && in_list)) out += margin;
            first = false;
            append_yaml_text(out, view(key));
            const bool nested =
                (inner.is_object() && !inner.get_object().empty()) || (inner.is_array() && !inner.get_array().empty());
            out += nested ? ":\n" : ": ";
            append_yaml(out, inner, indent + 2, false);
        }
        return;
    }
    if (value.is_array() && !value.get_array().empty()) {
        bool first = true;
        for (const auto& inner : value.get_array()) {
            if (!(first && in_list)) out += margin;
            first = false;
            out += "- ";
            append_yaml(out, inner, indent + 2, true);
        }
        return;
    }
    if (value.is_string()) {
        append_yaml_text(out, view(value.get_string()));
    } else {
        append_json(out, value);
    }
    out += '\n';
}

}  // namespace

const json::value* member(const json::object& object, std::string_view name) {
    return object.if_contains(json::string_view(name.data(), name.size()));
}

std::string scalar_text(const json::value& value) {
    if (value.is_null()) return {};
    if (value.is_string()) return std::string(view(value.get_string()));
    return json_text(value);
}

std::string text_of(const json::object& object, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
        const json::value* value = member(object, name);
        if (value == nullptr || value->is_structured()) continue;
        std::string text = scalar_text(*value);
        if (!text.empty()) return text;
    }
    return {};
}
std::string text_of(const json::object& object, std::string_view name) {
    return text_of(object, {name});
}

std::optional<std::int64_t> number_of(const json::object& object, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
        const json::value* value = member(object, name);
        if (value == nullptr) continue;
        if (const auto number = whole_number(*value)) return number;
        if (value->is_double()) {
            const double real = value->get_double();
            if (real > -9e15 && real < 9e15) return static_cast<std::int64_t>(real);
        }
    }
    return std::nullopt;
}
std::optional<std::int64_t> number_of(const json::object& object, std::string_view name) {
    return number_of(object, {name});
}

bool flag_of(const json::object& object, std::string_view name) {
    const json::value* value = member(object, name);
    if (value == nullptr) return false;
    if (value->is_bool()) return value->get_bool();
    return value->is_string() && view(value->get_string()) == "true";
}

const json::object& object_of(const json::object& object, std::string_view name) {
    static const json::object kEmpty;
    const json::value* value = member(object, name);
    return value != nullptr && value->is_object() ? value->get_object() : kEmpty;
}

const json::array& array_of(const json::object& object, std::string_view name) {
    static const json::array kEmpty;
    const json::value* value = member(object, name);
    return value != nullptr && value->is_array() ? value->get_array() : kEmpty;
}

std::vector<std::string> texts_of(const json::object& object, std::string_view name) {
    std::vector<std::string> out;
    for (const json::value& value : array_of(object, name))
        out.push_back(scalar_text(value));
    return out;
}

std::string yaml_text(const json::value& value) {
    std::string out;
    append_yaml(out, value, 0, false);
    return out;
}

}  // namespace wa::cli
