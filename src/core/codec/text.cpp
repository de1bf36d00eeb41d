#include "core/codec/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>

#include "core/codec/json_write.h"

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::string_view kEllipsis = "…";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// 2^63 exactly; every double below it (and not below -2^63) converts to int64 without loss of its whole part.
constexpr double kInt64End = 9223372036854775808.0;

std::optional<std::int64_t> whole_double(double number) {
    if (!(number >= -kInt64End && number < kInt64End) || number != std::trunc(number)) return std::nullopt;
    return static_cast<std::int64_t>(number);
}

std::string quoted(std::string_view text) {
    std::string out = "the text ";
    append_json_string(out, text);
    return out;
}

struct Unit {
    std::string_view name;
    std::int64_t millis;
};
// Longest names first: "ms" must be seen before "m".
constexpr std::array kUnits{Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000}, Unit{"h", 3'600'000},
                            Unit{"d", 86'400'000}};
constexpr double kMaxDurationMillis = 10.0 * 365 * 86'400'000;

std::optional<double> take_number(std::string_view& text) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    if (end == 0) return std::nullopt;
    double number = 0;
    const auto [stop, failure] = std::from_chars(text.data(), text.data() + end, number, std::chars_format::fixed);
    if (failure != std::errc() || stop != text.data() + end) return std::nullopt;
    text.remove_prefix(end);
    return number;
}

std::optional<double> take_unit(std::string_view& text) {
    for (const Unit& unit : kUnits) {
        if (!text.starts_with(unit.name)) continue;
        text.remove_prefix(unit.name.size());
        return static_cast<double>(unit.millis);
    }
    return std::nullopt;
}

}  // namespace

std::string_view utf8_prefix(std::string_view text, std::size_t max) {
    if (text.size() <= max) return text;
    std::size_t end = max;
    while (end > 0 && is_continuation(text[end]))
        --end;
    return text.substr(0, end);
}

std::string clip(std::string_view text, std::size_t max) {
    if (text.size() <= max) return std::string(text);
    return std::string(utf8_prefix(text, max)) + std::string(kEllipsis);
}

std::string_view describe_kind(const json::value& value) {
    switch (value.kind()) {
        case json::kind::null: return "null";
        case json::kind::bool_: return "a boolean";
        case json::kind::int64:
        case json::kind::uint64:
        case json::kind::double_: return "a number";
        case json::kind::string: return "a text";
        case json::kind::array: return "a list";
        case json::kind::object: return "an object";
    }
    return "a value";
}

std::string describe_value(const json::value& value) {
    if (const auto* text = value.if_string()) {
        // Serialized, so that line ends and control characters cannot forge a second line in a log.
        return text->empty() ? "an empty text" : quoted(clip({text->data(), text->size()}));
    }
    if (value.is_structured() || value.is_null()) return std::string(describe_kind(value));
    return value_text(value);
}

std::string value_text(const json::value& value) {
    if (const auto* text = value.if_string()) return {text->data(), text->size()};
    return json_text(value);
}

std::optional<std::int64_t> whole_number(const json::value& value) {
    if (const auto* number = value.if_int64()) return *number;
    if (const auto* number = value.if_double()) return whole_double(*number);
    return std::nullopt;  // uint64 is used only for what int64 cannot hold
}

std::optional<double> parse_decimal(std::string_view text) {
    text = trim(text);
    double number = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || failure != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) {
        return std::nullopt;
    }
    return number;
}

std::optional<std::int64_t> parse_whole_number(std::string_view text) {
    text = trim(text);
    std::int64_t number = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (!text.empty() && failure == std::errc() && end == text.data() + text.size()) return number;
    const auto decimal = parse_decimal(text);
    return decimal ? whole_double(*decimal) : std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text, bool bare_seconds) {
    text = trim(text);
    if (text.empty()) return std::nullopt;
    double total = 0;
    while (!text.empty()) {
        const auto number = take_number(text);
        if (!number) return std::nullopt;
        auto unit = take_unit(text);
        if (!unit && bare_seconds && text.empty() && total == 0) unit = 1000.0;
        if (!unit) return std::nullopt;
        total += *number * *unit;
        if (!(total <= kMaxDurationMillis)) return std::nullopt;
        bare_seconds = false;
    }
    return std::chrono::milliseconds(std::llround(total));
}

std::string duration_text(std::chrono::milliseconds duration) {
    std::int64_t rest = duration.count();
    if (rest <= 0) return "0s";
    std::string text;
    for (auto unit = kUnits.rbegin(); unit != kUnits.rend(); ++unit) {
        const std::int64_t count = rest / unit->millis;
        rest %= unit->millis;
        if (count > 0) text += std::to_string(count) + std::string(unit->name);
    }
    return text;
}

std::string iso_timestamp(std::int64_t epoch_millis) {
    namespace ch = std::chrono;
    const ch::sys_time<ch::milliseconds> time{ch::milliseconds(epoch_millis)};
    const auto day = ch::floor<ch::days>(time);
    const ch::year_month_day date(day);
    const auto rest = (time - day).count();
    std::array<char, 40> text{};
    const int length = std::snprintf(
        text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03d000Z", static_cast<int>(date.year()),
        static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(rest / 3'600'000),
        static_cast<int>(rest / 60'000 % 60), static_cast<int>(rest / 1000 % 60), static_cast<int>(rest % 1000));
    return {text.data(), static_cast<std::size_t>(std::max(0, length))};
}

std::optional<std::int64_t> parse_iso_timestamp(std::string_view text) {
    constexpr std::size_t kLength = 19;
    static constexpr std::string_view kForm = "0000-00-00T00:00:00";
    if (text.size() <= kLength || !text.ends_with('Z')) return std::nullopt;
    for (std::size_t at = 0; at < kLength; ++at) {
        const bool digit = text[at] >= '0' && text[at] <= '9';
        if (kForm[at] == '0' ? !digit : text[at] != kForm[at]) return std::nullopt;
    }
    const std::string_view fraction = text.substr(kLength, text.size() - kLength - 1);
    if (!fraction.empty() && (fraction[0] != '.' || fraction.find_first_not_of("0123456789", 1) != fraction.npos))
        return std::nullopt;
    const auto number = [&](std::size_t from, std::size_t count) {
        int value = 0;
        std::from_chars(text.data() + from, text.data() + from + count, value);
        return value;
    };
    using namespace std::chrono;
    const year_month_day date{year(number(0, 4)), month(static_cast<unsigned>(number(5, 2))),
                              day(static_cast<unsigned>(number(8, 2)))};
    const int hour = number(11, 2);
    const int minute = number(14, 2);
    const int second = number(17, 2);  // 60 is a leap second
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
    const auto time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
    return duration_cast<milliseconds>(time.time_since_epoch()).count();
}

bool names_secret(std::string_view name) {
    constexpr std::array<std::string_view, 8> kWords{"token",      "secret",        "password", "passwd",
                                                     "credential", "authorization", "cookie",   "key"};
    std::string lowered(name);
    std::ranges::transform(lowered, lowered.begin(), lower);
    return std::ranges::any_of(kWords, [&](std::string_view word) { return lowered.find(word) != std::string::npos; });
}

std::size_t utf8_length(std::string_view bytes) {
    if (bytes.empty()) return 0;
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned char lead = at(0);
    if (lead < 0x80) return 1;
    std::size_t length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) length = 2;
    if (lead >= 0xE0 && lead <= 0xEF) length = 3;
    if (lead >= 0xF0 && lead <= 0xF4) length = 4;
    if (lead == 0xE0) low = 0xA0;   // no overlong forms
    if (lead == 0xED) high = 0x9F;  // no surrogates
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;  // nothing above U+10FFFF
    if (length == 0 || bytes.size() < length || at(1) < low || at(1) > high) return 0;
    for (std::size_t i = 2; i < length; ++i) {
        if (!is_continuation(bytes[i])) return 0;
    }
    return length;
}

std::string lossy_utf8(std::string_view bytes, std::size_t max_characters) {
    std::string text;
    text.reserve(std::min(bytes.size(), max_characters));
    for (std::size_t count = 0; !bytes.empty() && count < max_characters; ++count) {
        const std::size_t length = utf8_length(bytes);
        text += length == 0 ? kReplacement : bytes.substr(0, length);
        bytes.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return text;
}

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t length = utf8_length(bytes);
        if (length == 0) return false;
        bytes.remove_prefix(length);
    }
    return true;
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            text += k <= count ? kAlphabet[group >> (18U - 6U * k) & 0x3FU] : '=';
        }
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (text.ends_with('='))
        text.remove_suffix(1);
    if (text.size() % 4 == 1) return std::nullopt;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        const std::size_t value = kLetters.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        bytes += static_cast<char>(bits >> held & 0xFFU);
    }
    return bytes;
}

bool fits_pattern(std::string_view text, std::string_view pattern) {
    // Greedy with one way back: to the last star, which then takes one character more.
    std::size_t at = 0;
    std::size_t in = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    while (at < text.size()) {
        if (in < pattern.size() && pattern[in] == '*') {
            star = in++;
            resume = at;
        } else if (in < pattern.size() && pattern[in] == '?') {
            at += std::max<std::size_t>(1, utf8_length(text.substr(at)));
            ++in;
        } else if (in < pattern.size() && pattern[in] == text[at]) {
            ++at;
            ++in;
        } else if (star != std::string_view::npos) {
            in = star + 1;
            at = ++resume;
        } else {
            return false;
        }
    }
    while (in < pattern.size() && pattern[in] == '*')
        ++in;
    return in == pattern.size();
}

}  // namespace wa
