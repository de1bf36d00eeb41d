#include "core/codec/parameters.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "core/codec/json_limits.h"
#include "core/codec/shell_words.h"
#include "core/codec/text.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::size_t kMaxUnknownKeys = 20;
constexpr std::string_view kBlanks = " \t\r\n";

std::string_view view(const json::string& text) {
    return {text.data(), text.size()};
}

// Avro and Python producers write these for "nothing".
bool means_absent(const json::value& value) {
    if (value.is_null()) return true;
    const auto* text = value.if_string();
    return text != nullptr && (text->empty() || view(*text) == "null" || view(*text) == "None");
}

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string lowered(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return result;
}

std::vector<std::string> split_plain(std::string_view text, std::string_view separators) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(separators), text.size());
        if (const auto part = trim(text.substr(0, end)); !part.empty()) parts.emplace_back(part);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

Result<json::value> parse_text(std::string_view text) {
    return parse_json(text, JsonLimits{kMaxParameterObjectBytes, 64, DuplicateKeys::kKeepLast});
}

std::string range_text(const std::string& low, const std::string& high) {
    return " from " + low + " to " + high;
}

std::string number_text(double number) {
    return value_text(json::value(number));
}

std::string integer_wanted(IntegerRange range) {
    const IntegerRange open;
    if (range.min == open.min && range.max == open.max) return "a whole number";
    if (range.max == open.max) return "a whole number of at least " + std::to_string(range.min);
    if (range.min == open.min) return "a whole number of at most " + std::to_string(range.max);
    return "a whole number" + range_text(std::to_string(range.min), std::to_string(range.max));
}

std::string number_wanted(NumberRange range) {
    const NumberRange open;
    const bool low = range.min > open.min;
    const bool high = range.max < open.max;
    if (low && high) return "a number" + range_text(number_text(range.min), number_text(range.max));
    if (low) return "a number of at least " + number_text(range.min);
    if (high) return "a number of at most " + number_text(range.max);
    return "a number";
}

std::optional<std::chrono::milliseconds> duration_of(const json::value& value) {
    if (const auto* text = value.if_string()) return parse_duration(view(*text), true);
    return value.is_number() ? parse_duration(value_text(value), true) : std::nullopt;
}

template <class T>
Result<T> or_fallback(Result<std::optional<T>> found, T fallback) {
    if (!found) return tl::unexpected(std::move(found).error());
    return found->has_value() ? std::move(**found) : std::move(fallback);
}

}  // namespace

ParameterNames::ParameterNames(std::initializer_list<std::string_view> names) : count_(names.size()) {
    WA_CHECK(!std::empty(names) && names.size() <= kMaxParameterNames, "a parameter has one to six names");
    std::ranges::copy(names, names_.begin());
}

Parameters::Parameters(const json::object& object, std::string path) : object_(object), path_(std::move(path)) {}

Parameters::Found Parameters::find(const ParameterNames& names) const {
    for (const std::string_view name : names) {
        const auto* value = object_.if_contains(name);
        if (value != nullptr && !means_absent(*value)) return {name, value};
    }
    return {};
}

const json::value* Parameters::raw(const ParameterNames& names) const {
    return find(names).value;
}

Failure Parameters::refuse(std::string_view key, std::string_view why) const {
    std::string field = path_ + "." + clip(key);
    std::string message = "invalid_parameter: " + field + " " + std::string(why);
    return invalid(std::move(field), std::move(message));
}

Failure Parameters::expected(const Found& found, std::string_view what) const {
    const std::string got =
        names_secret(found.key) ? std::string(describe_kind(*found.value)) : describe_value(*found.value);
    return refuse(found.key, "must be " + std::string(what) + ", found " + got);
}

Failure Parameters::too_large(std::string_view key, std::string_view what) const {
    Failure failure = refuse(key, what);
    failure.value().code = ErrorCode::kLimitExceeded;
    return failure;
}

Result<std::optional<std::string>> Parameters::text(const ParameterNames& names, std::size_t max_bytes) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<std::string>();
    if (found.value->is_structured()) return expected(found, "a text");
    std::string text = value_text(*found.value);
    if (text.size() > max_bytes) {
        return too_large(found.key, "is " + std::to_string(text.size()) + " bytes long; at most " +
                                        std::to_string(max_bytes) + " are allowed");
    }
    if (text.find('\0') != std::string::npos) return refuse(found.key, "must not contain a NUL character");
    return std::optional<std::string>(std::move(text));
}

Result<std::string> Parameters::text_or(const ParameterNames& names, std::string_view fallback) const {
    return or_fallback<std::string>(text(names), std::string(fallback));
}

Result<std::string> Parameters::required_text(const ParameterNames& names) const {
    WA_TRY(auto found, text(names));
    if (!found) return refuse(names.preferred(), "is missing");
    return std::move(*found);
}

Result<std::optional<std::string>> Parameters::word(const ParameterNames& names,
                                                    std::initializer_list<std::string_view> words) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<std::string>();
    WA_TRY(const auto given, text(names));
    std::string chosen = lowered(trim(*given));
    if (std::ranges::find(words, chosen) != words.end()) return std::optional<std::string>(std::move(chosen));
    std::string list;
    for (const std::string_view word : words)
        list += (list.empty() ? "" : ", ") + std::string(word);
    return expected(found, "one of " + list);
}

Result<std::optional<std::int64_t>> Parameters::integer(const ParameterNames& names, IntegerRange range) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<std::int64_t>();
    const auto* text = found.value->if_string();
    const auto number = text != nullptr ? parse_whole_number(view(*text)) : whole_number(*found.value);
    if (!number || *number < range.min || *number > range.max) return expected(found, integer_wanted(range));
    return number;
}

Result<std::int64_t> Parameters::integer_or(const ParameterNames& names, std::int64_t fallback,
                                            IntegerRange range) const {
    return or_fallback<std::int64_t>(integer(names, range), fallback);
}

Result<std::optional<double>> Parameters::number(const ParameterNames& names, NumberRange range) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<double>();
    const auto* text = found.value->if_string();
    std::optional<double> number;
    if (text != nullptr) {
        number = parse_decimal(view(*text));
    } else if (found.value->is_number()) {
        number = found.value->to_number<double>();
    }
    if (!number || !std::isfinite(*number) || *number < range.min || *number > range.max) {
        return expected(found, number_wanted(range));
    }
    return number;
}

Result<double> Parameters::number_or(const ParameterNames& names, double fallback, NumberRange range) const {
    return or_fallback<double>(number(names, range), fallback);
}

Result<std::optional<bool>> Parameters::boolean(const ParameterNames& names) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<bool>();
    if (const auto* truth = found.value->if_bool()) return std::optional<bool>(*truth);
    if (!found.value->is_structured()) {
        const std::string word = lowered(trim(value_text(*found.value)));
        for (const std::string_view yes : {"true", "1", "yes", "on"}) {
            if (word == yes) return std::optional<bool>(true);
        }
        for (const std::string_view no : {"false", "0", "no", "off"}) {
            if (word == no) return std::optional<bool>(false);
        }
    }
    return expected(found, "true or false");
}

Result<bool> Parameters::boolean_or(const ParameterNames& names, bool fallback) const {
    return or_fallback<bool>(boolean(names), fallback);
}

Result<std::optional<std::chrono::milliseconds>> Parameters::duration(const ParameterNames& names,
                                                                      DurationRange range) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<std::chrono::milliseconds>();
    const auto duration = duration_of(*found.value);
    if (!duration) return expected(found, "a duration such as 90, \"90s\", \"5m\" or \"1h30m\"");
    if (*duration < range.min || *duration > range.max) {
        return expected(found, "a duration" + range_text(duration_text(range.min), duration_text(range.max)));
    }
    return duration;
}

Result<std::chrono::milliseconds> Parameters::duration_or(const ParameterNames& names,
                                                          std::chrono::milliseconds fallback,
                                                          DurationRange range) const {
    return or_fallback<std::chrono::milliseconds>(duration(names, range), fallback);
}

Result<std::optional<json::object>> Parameters::object(const ParameterNames& names) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<json::object>();
    if (const auto* object = found.value->if_object()) return std::optional<json::object>(*object);
    if (const auto* text = found.value->if_string()) {
        if (text->size() > kMaxParameterObjectBytes) return too_large(found.key, "is longer than an object may be");
        auto parsed = parse_text(view(*text));
        if (parsed && parsed->is_object()) return std::optional<json::object>(std::move(parsed->get_object()));
    }
    return expected(found, "an object, or text that holds a JSON object");
}

Result<std::optional<json::array>> Parameters::array(const ParameterNames& names) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<json::array>();
    if (const auto* array = found.value->if_array()) return std::optional<json::array>(*array);
    if (const auto* text = found.value->if_string()) {
        if (text->size() > kMaxParameterObjectBytes) return too_large(found.key, "is longer than a list may be");
        auto parsed = parse_text(view(*text));
        if (parsed && parsed->is_array()) return std::optional<json::array>(std::move(parsed->get_array()));
    }
    return expected(found, "a list, or text that holds a JSON list");
}

// List items and map values are never quoted in an error: which of them are secret cannot be known here.
Result<std::string> Parameters::item_text(const Found& found, const json::value& item, std::string_view place) const {
    const std::string key = std::string(found.key) + std::string(place);
    if (item.is_null()) return refuse(key, "must be a text, found null");
    std::string text = value_text(item);
    if (text.size() > kMaxParameterBytes) {
        return too_large(key, "is " + std::to_string(text.size()) + " bytes long; at most " +
                                  std::to_string(kMaxParameterBytes) + " are allowed");
    }
    if (text.find('\0') != std::string::npos) return refuse(key, "must not contain a NUL character");
    return text;
}

Result<std::vector<std::string>> Parameters::items(const Found& found, const json::array& array) const {
    if (array.size() > kMaxParameterListItems) {
        return too_large(found.key, "has " + std::to_string(array.size()) + " items; at most " +
                                        std::to_string(kMaxParameterListItems) + " are allowed");
    }
    std::vector<std::string> texts;
    texts.reserve(array.size());
    for (std::size_t i = 0; i < array.size(); ++i) {
        WA_TRY(auto text, item_text(found, array[i], "[" + std::to_string(i) + "]"));
        texts.push_back(std::move(text));
    }
    return texts;
}

Result<void> Parameters::check_words(const Found& found, const std::vector<std::string>& words) const {
    if (words.size() > kMaxParameterListItems) {
        return too_large(found.key, "has " + std::to_string(words.size()) + " items; at most " +
                                        std::to_string(kMaxParameterListItems) + " are allowed");
    }
    for (const std::string& word : words) {
        if (word.size() > kMaxParameterBytes) return too_large(found.key, "has an item longer than 64 KiB");
        if (word.find('\0') != std::string::npos) return refuse(found.key, "must not contain a NUL character");
    }
    return {};
}

Result<std::optional<std::vector<std::string>>> Parameters::command(const ParameterNames& names) const {
    using Words = std::optional<std::vector<std::string>>;
    const Found found = find(names);
    if (found.value == nullptr) return Words();
    if (const auto* array = found.value->if_array()) {
        WA_TRY(auto words, items(found, *array));
        return Words(std::move(words));
    }
    if (found.value->is_object()) return expected(found, "a command: text or a list of words");
    const std::string text = value_text(*found.value);
    if (text.size() > kMaxParameterObjectBytes) return too_large(found.key, "is longer than a command may be");
    if (trim(text).starts_with('[')) {
        // What does not parse is a command after all: `[ -f x ]` is one.
        if (const auto parsed = parse_text(text); parsed && parsed->is_array()) {
            WA_TRY(auto words, items(found, parsed->get_array()));
            return Words(std::move(words));
        }
    }
    auto words = split_shell_words(text);
    if (!words) return refuse(found.key, "cannot be split into words: " + words.error().message);
    WA_CHECKED(check_words(found, *words));
    return Words(std::move(*words));
}

Result<std::optional<std::vector<std::string>>> Parameters::list(const ParameterNames& names) const {
    using Items = std::optional<std::vector<std::string>>;
    const Found found = find(names);
    if (found.value == nullptr) return Items();
    if (const auto* array = found.value->if_array()) {
        WA_TRY(auto texts, items(found, *array));
        return Items(std::move(texts));
    }
    if (found.value->is_object()) return expected(found, "a list, or text with commas between the items");
    const std::string text = value_text(*found.value);
    if (text.size() > kMaxParameterObjectBytes) return too_large(found.key, "is longer than a list may be");
    if (trim(text).starts_with('[')) {
        const auto parsed = parse_text(text);
        if (!parsed || !parsed->is_array()) return refuse(found.key, "begins like a JSON list but is not one");
        WA_TRY(auto texts, items(found, parsed->get_array()));
        return Items(std::move(texts));
    }
    auto texts = split_plain(text, ",");
    WA_CHECKED(check_words(found, texts));
    return Items(std::move(texts));
}

Result<StringMap> Parameters::entries(const Found& found, const json::object& object) const {
    StringMap map;
    for (const auto& member : object) {
        if (member.value().is_null()) continue;
        const std::string_view name{member.key().data(), member.key().size()};
        if (name.find('\0') != std::string_view::npos) return refuse(found.key, "has a name with a NUL character");
        WA_TRY(auto text, item_text(found, member.value(), "." + clip(name)));
        map.insert_or_assign(std::string(name), std::move(text));
    }
    return map;
}

Result<StringMap> Parameters::pairs(const Found& found, const std::vector<std::string>& texts) const {
    StringMap map;
    for (const std::string& text : texts) {
        const std::size_t equals = text.find('=');
        const std::string name(trim(std::string_view(text).substr(0, std::min(equals, text.size()))));
        if (equals == std::string::npos || name.empty()) {
            return refuse(found.key, "must be an object or a list of NAME=VALUE; one item is not of that form");
        }
        map.insert_or_assign(name, text.substr(equals + 1));
    }
    return map;
}

Result<std::optional<StringMap>> Parameters::map(const ParameterNames& names) const {
    const Found found = find(names);
    if (found.value == nullptr) return std::optional<StringMap>();
    Result<StringMap> map = StringMap();
    const auto* text = found.value->if_string();
    if (text != nullptr && text->size() > kMaxParameterObjectBytes)
        return too_large(found.key, "is longer than a map may be");
    const bool holds_json =
        text != nullptr && (trim(view(*text)).starts_with('{') || trim(view(*text)).starts_with('['));
    const auto parsed = holds_json ? parse_text(view(*text)) : Result<json::value>(*found.value);
    if (parsed && parsed->is_object()) {
        map = entries(found, parsed->get_object());
    } else if (parsed && parsed->is_array()) {
        WA_TRY(const auto texts, items(found, parsed->get_array()));
        map = pairs(found, texts);
    } else if (text != nullptr && !holds_json) {
        const auto texts = split_plain(view(*text), ",\n");
        WA_CHECKED(check_words(found, texts));
        map = pairs(found, texts);
    } else {
        return refuse(found.key, "must be an object, text that holds one, or a list of NAME=VALUE");
    }
    if (!map) return tl::unexpected(std::move(map).error());
    if (map->size() > kMaxParameterMapEntries) {
        return too_large(found.key, "has " + std::to_string(map->size()) + " entries; at most " +
                                        std::to_string(kMaxParameterMapEntries) + " are allowed");
    }
    return std::optional<StringMap>(std::move(*map));
}

std::vector<std::string> Parameters::unknown_keys(std::initializer_list<std::string_view> known) const {
    std::vector<std::string> unknown;
    for (const auto& member : object_) {
        const std::string_view key{member.key().data(), member.key().size()};
        if (std::ranges::find(known, key) != known.end()) continue;
        if (unknown.size() == kMaxUnknownKeys) break;
        unknown.push_back(clip(key));
    }
    return unknown;
}

}  // namespace wa
