// Reading answers of a server that may be newer, older or broken: every getter is total.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wa::cli {

namespace json = boost::json;

[[nodiscard]] const json::value* member(const json::object& object, std::string_view name);
// The text of the first of these members that is there and not empty; numbers and booleans as text; else "".
[[nodiscard]] std::string text_of(const json::object& object, std::initializer_list<std::string_view> names);
[[nodiscard]] std::string text_of(const json::object& object, std::string_view name);
// The first of these members that is a whole number.
[[nodiscard]] std::optional<std::int64_t> number_of(const json::object& object,
                                                    std::initializer_list<std::string_view> names);
[[nodiscard]] std::optional<std::int64_t> number_of(const json::object& object, std::string_view name);
[[nodiscard]] bool flag_of(const json::object& object, std::string_view name);
[[nodiscard]] const json::object& object_of(const json::object& object, std::string_view name);  // {} when it is none
[[nodiscard]] const json::array& array_of(const json::object& object, std::string_view name);    // [] when it is none
[[nodiscard]] std::vector<std::string> texts_of(const json::object& object, std::string_view name);

// Any scalar as text; lists and objects as compact JSON.
[[nodiscard]] std::string scalar_text(const json::value& value);

// Block YAML that reads back as the same JSON.
[[nodiscard]] std::string yaml_text(const json::value& value);

}  // namespace wa::cli
