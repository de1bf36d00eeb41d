#include "config/values.h"

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "core/codec/quantity.h"

namespace wa::config {
namespace {

using std::chrono::milliseconds;

Failure wrong(std::string message) {
    return invalid("", std::move(message));
}

char lower(char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

std::string lower_text(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), lower);
    return out;
}

// Reads a decimal number from the front of `text`; gives what follows. No sign, no exponent.
struct Leading {
    double number = 0;
    std::string_view rest;
};
std::optional<Leading> leading_number(std::string_view text) {
    std::size_t end = 0;
    bool digit = false;
    bool point = false;
    for (; end < text.size(); ++end) {
        const char c = text[end];
        if (c >= '0' && c <= '9') {
            digit = true;
        } else if (c == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    if (!digit) return std::nullopt;
    Leading out;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + end, out.number, std::chars_format::fixed);
    if (error != std::errc() || stop != text.data() + end || !std::isfinite(out.number)) return std::nullopt;
    out.rest = text.substr(end);
    return out;
}

constexpr double kMsPerDay = 86'400'000;
constexpr double kLongest = 36'500 * kMsPerDay;  // a hundred years: keeps every sum inside 64 bits

std::optional<double> unit_in_ms(std::string_view unit) {
    if (unit == "ms") return 1;
    if (unit == "s" || unit == "sec") return 1000;
    if (unit == "m" || unit == "min") return 60'000;
    if (unit == "h") return 3'600'000;
    if (unit == "d") return kMsPerDay;
    if (unit == "w") return 7 * kMsPerDay;
    return std::nullopt;
}

double bare_unit_in_ms(Unit unit) {
    switch (unit) {
        case Unit::kMilliseconds: return 1;
        case Unit::kDays: return kMsPerDay;
        case Unit::kNone:
        case Unit::kSeconds: return 1000;
    }
    return 1000;
}

std::vector<std::string_view> split_choices(std::string_view choices) {
    std::vector<std::string_view> out;
    while (!choices.empty()) {
        const std::size_t bar = choices.find('|');
        out.push_back(choices.substr(0, bar));
        choices = bar == std::string_view::npos ? std::string_view{} : choices.substr(bar + 1);
    }
    return out;
}

std::string one_of(std::string_view choices) {
    std::string text = "must be one of ";
    bool first = true;
    for (const std::string_view choice : split_choices(choices)) {
        if (!first) text += ", ";
        text += choice;
        first = false;
    }
    return text;
}

std::optional<std::string> choose(std::string_view choices, std::string_view text) {
    for (const std::string_view choice : split_choices(choices)) {
        if (equal_ignoring_case(choice, text)) return std::string(choice);
    }
    return std::nullopt;
}

std::string range_text(const SettingSpec& spec) {
    const auto bound = [&spec](double number) {
        if (spec.type == Type::kSize) return size_text(static_cast<std::int64_t>(number));
        if (spec.type == Type::kDuration) {
            return duration_text(milliseconds(static_cast<std::int64_t>(number * bare_unit_in_ms(spec.unit))));
        }
        return number_text(number);
    };
    return "must be from " + bound(spec.min) + " to " + bound(spec.max);
}

Result<void> check_range(const SettingSpec& spec, double number) {
    if (spec.max < spec.min) return {};
    if (number < spec.min || number > spec.max) return wrong(range_text(spec));
    return {};
}

struct UrlParts {
    std::string_view scheme;
    std::string_view host;  // without brackets
    std::string_view port;
    std::string_view rest;  // path, query, fragment
};

// Own and strict, because Boost.URL 1.81 reads the host of http://127.0.0.1.example.org as 127.0.0.1: what is decided
// about a host must be decided about the host that will be spoken to.
std::optional<UrlParts> split_url(std::string_view text) {
    constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    constexpr std::string_view kHostChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    constexpr std::string_view kNeverInUrls = " \"<>\\^`{|}";
    const bool plain = std::ranges::all_of(text, [&](char c) {
        return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f &&
               kNeverInUrls.find(c) == std::string_view::npos;
    });
    const std::size_t colon = text.find("://");
    if (!plain || colon == std::string_view::npos || colon == 0) return std::nullopt;
    UrlParts parts;
    parts.scheme = text.substr(0, colon);
    const bool good_scheme =
        kLetters.find(parts.scheme.front()) != std::string_view::npos &&
        parts.scheme.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-") ==
            std::string_view::npos;
    if (!good_scheme) return std::nullopt;
    text.remove_prefix(colon + 3);
    const std::size_t end = std::min(text.find_first_of("/?#"), text.size());
    std::string_view authority = text.substr(0, end);
    parts.rest = text.substr(end);
    if (const std::size_t at = authority.find('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    if (authority.find('@') != std::string_view::npos) return std::nullopt;
    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos || close < 3) return std::nullopt;
        parts.host = authority.substr(1, close - 1);
        if (parts.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) return std::nullopt;
        authority.remove_prefix(close + 1);
    } else {
        parts.host = authority.substr(0, authority.find(':'));
        if (parts.host.find_first_not_of(kHostChars) != std::string_view::npos) return std::nullopt;
        authority.remove_prefix(parts.host.size());
    }
    if (authority.empty()) return parts;
    if (authority.front() != ':' || authority.find_first_not_of("0123456789", 1) != std::string_view::npos)
        return std::nullopt;
    parts.port = authority.substr(1);
    return parts;
}

bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

}  // namespace

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](char a, char b) { return lower(a) == lower(b); });
}

Result<bool> parse_bool(std::string_view text) {
    const std::string word = lower_text(trim(text));
    for (const std::string_view yes : {"true", "1", "yes", "on", "t", "y"}) {
        if (word == yes) return true;
    }
    for (const std::string_view no : {"false", "0", "no", "off", "f", "n"}) {
        if (word == no) return false;
    }
    return wrong("must be true or false (also 1/0, yes/no, on/off, t/f, y/n)");
}

Result<std::int64_t> parse_int(std::string_view text) {
    text = trim(text);
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    const std::size_t point = text.find('.');
    if (point != std::string_view::npos && point > 0) {
        const std::string_view fraction = text.substr(point + 1);
        if (fraction.find_first_not_of('0') != std::string_view::npos) return wrong("must be a whole number");
        text = text.substr(0, point);
    }
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc::result_out_of_range) return wrong("is too large a number");
    if (error != std::errc() || stop != text.data() + text.size()) return wrong("must be a whole number");
    return number;
}

Result<double> parse_float(std::string_view text) {
    text = trim(text);
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    double number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(number)) {
        return wrong("must be a number");
    }
    return number;
}

Result<double> parse_ratio(std::string_view text) {
    text = trim(text);
    const bool percent = text.ends_with('%');
    if (percent) text.remove_suffix(1);
    auto number = parse_float(text);
    if (!number) return wrong("must be a ratio such as 0.8 or 80%");
    return percent ? *number / 100 : *number;
}

Result<milliseconds> parse_duration(std::string_view text, Unit bare) {
    text = trim(text);
    const auto first = leading_number(text);
    if (!first) return wrong("must be a duration such as 30s, 10m or 1h30m");
    if (first->rest.empty()) {
        const double total = first->number * bare_unit_in_ms(bare);
        if (total > kLongest) return wrong("is too long a duration");
        return milliseconds(std::llround(total));
    }
    double total = 0;
    while (!text.empty()) {
        const auto number = leading_number(text);
        if (!number) return wrong("must be a duration such as 30s, 10m or 1h30m");
        std::size_t end = 0;
        while (end < number->rest.size() && std::isalpha(static_cast<unsigned char>(number->rest[end])) != 0)
            ++end;
        const auto factor = unit_in_ms(number->rest.substr(0, end));
        if (!factor) return wrong("must be a duration with a unit of ms, s, m, h, d or w, such as 10m");
        total += number->number * *factor;
        if (total > kLongest) return wrong("is too long a duration");
        text = trim(number->rest.substr(end));
    }
    return milliseconds(std::llround(total));
}

Result<std::int64_t> parse_size(std::string_view text) {
    const auto number = leading_number(trim(text));
    const auto factor = number ? memory_unit_bytes(trim(number->rest)) : std::nullopt;
    if (!factor) return wrong("must be a size such as 512MiB, 1GB or 1048576");
    const double bytes = number->number * *factor;
    if (bytes > 9e18) return wrong("is too large a size");
    return static_cast<std::int64_t>(bytes);
}

Result<std::vector<std::string>> parse_list(std::string_view text) {
    text = trim(text);
    std::vector<std::string> items;
    if (text.starts_with('[')) {
        boost::system::error_code error;
        const boost::json::value json = boost::json::parse(boost::json::string_view(text.data(), text.size()), error);
        if (error || !json.is_array()) return wrong("starts with [ but is not a JSON array");
        for (const auto& item : json.as_array()) {
            if (!item.is_string()) return wrong("must be a JSON array of strings");
            items.emplace_back(trim(std::string_view(item.as_string().data(), item.as_string().size())));
        }
        return items;
    }
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        const std::string_view item = trim(text.substr(0, comma));
        if (!item.empty()) items.emplace_back(item);
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    }
    return items;
}

Result<std::string> parse_url(std::string_view text) {
    text = trim(text);
    const auto url = split_url(text);
    if (!url) return wrong("must be a URL such as https://host:port");
    const bool socket = equal_ignoring_case(url->scheme, "unix");
    if (socket ? url->rest.size() < 2 : url->host.empty()) return wrong("must be a URL with a host");
    if (!url->port.empty()) {
        const auto port = parse_int(url->port);
        if (!port || *port < 1 || *port > 65'535) return wrong("has a port that is out of range");
    }
    return std::string(text);
}

Result<Value> parse_items(const SettingSpec& spec, std::vector<std::string> items) {
    std::vector<std::string> out;
    for (std::string& item : items) {
        if (trim(item).empty()) return wrong("has an empty entry");
        if (has_control(item)) return wrong("has an entry with control characters");
        if (!spec.choices.empty()) {
            auto choice = choose(spec.choices, trim(item));
            if (!choice) return wrong("has an entry that is not known; each " + one_of(spec.choices));
            item = std::move(*choice);
        }
        if (std::ranges::find(out, item) == out.end()) out.push_back(std::move(item));
    }
    if (spec.required && out.empty()) return wrong("must have at least one entry");
    return Value(std::move(out));
}

Result<Value> parse_value(const SettingSpec& spec, std::string_view text) {
    switch (spec.type) {
        case Type::kSecret:
            if (text.find('\0') != std::string_view::npos) return wrong("holds a zero byte");
            return Value(std::string(text));
        case Type::kString:
        case Type::kPath:
            if (has_control(trim(text))) return wrong("holds control characters");
            return Value(std::string(trim(text)));
        case Type::kEnum: {
            auto choice = choose(spec.choices, trim(text));
            if (!choice) return wrong(one_of(spec.choices));
            return Value(std::move(*choice));
        }
        case Type::kInt: {
            WA_TRY(const std::int64_t number, parse_int(text));
            WA_CHECKED(check_range(spec, static_cast<double>(number)));
            return Value(number);
        }
        case Type::kFloat: {
            WA_TRY(const double number, parse_float(text));
            WA_CHECKED(check_range(spec, number));
            return Value(number);
        }
        case Type::kRatio: {
            WA_TRY(const double number, parse_ratio(text));
            WA_CHECKED(check_range(spec, number));
            return Value(number);
        }
        case Type::kBool: {
            WA_TRY(const bool word, parse_bool(text));
            return Value(word);
        }
        case Type::kList: {
            WA_TRY(std::vector<std::string> items, parse_list(text));
            return parse_items(spec, std::move(items));
        }
        case Type::kDuration: {
            WA_TRY(const milliseconds value, parse_duration(text, spec.unit));
            WA_CHECKED(check_range(spec, static_cast<double>(value.count()) / bare_unit_in_ms(spec.unit)));
            return Value(value);
        }
        case Type::kSize: {
            WA_TRY(const std::int64_t bytes, parse_size(text));
            WA_CHECKED(check_range(spec, static_cast<double>(bytes)));
            return Value(bytes);
        }
        case Type::kUrl: {
            WA_TRY(std::string url, parse_url(text));
            return Value(std::move(url));
        }
    }
    return wrong("cannot be read");
}

std::string duration_text(milliseconds value) {
    std::int64_t left = value.count();
    if (left <= 0) return "0s";
    struct Step {
        std::int64_t ms;
        std::string_view name;
    };
    std::string text;
    for (const Step step :
         {Step{86'400'000, "d"}, Step{3'600'000, "h"}, Step{60'000, "m"}, Step{1000, "s"}, Step{1, "ms"}}) {
        if (left < step.ms) continue;
        text += std::to_string(left / step.ms);
        text += step.name;
        left %= step.ms;
    }
    return text;
}

std::string size_text(std::int64_t bytes) {
    struct Step {
        std::int64_t bytes;
        std::string_view name;
    };
    constexpr std::int64_t kKi = 1024;
    for (const Step step :
         {Step{kKi * kKi * kKi * kKi, "TiB"}, Step{kKi * kKi * kKi, "GiB"}, Step{kKi * kKi, "MiB"}, Step{kKi, "KiB"}}) {
        if (bytes >= step.bytes && bytes % step.bytes == 0)
            return std::to_string(bytes / step.bytes) + std::string(step.name);
    }
    return std::to_string(bytes) + "B";
}

std::string number_text(double value) {
    std::array<char, 64> buffer{};
    const auto [end, error] =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
    if (error != std::errc()) return "?";
    return {buffer.data(), end};
}

std::string mask_url(std::string_view url) {
    const std::size_t authority = url.find("://");
    if (authority == std::string_view::npos) return std::string(url);
    const std::size_t start = authority + 3;
    const std::size_t end = std::min(url.find_first_of("/?#", start), url.size());
    const std::size_t at = url.substr(start, end - start).rfind('@');
    if (at == std::string_view::npos) return std::string(url);
    const std::size_t colon = url.substr(start, at).find(':');
    std::string out(url.substr(0, start));
    if (colon != std::string_view::npos) out += std::string(url.substr(start, colon)) + ":";
    out += "***";
    out += url.substr(start + at);
    return out;
}

Host url_host(std::string_view url) {
    const auto parts = split_url(url);
    if (!parts) return {};
    return {lower_text(parts->host), lower_text(parts->scheme)};
}

bool is_internal_host(std::string_view host, const std::vector<std::string>& namespaces) {
    if (host.ends_with('.')) host.remove_suffix(1);
    if (host.empty()) return false;
    if (host.find(':') != std::string_view::npos) return host == "::1";
    const std::size_t dot = host.find('.');
    if (dot == std::string_view::npos) return true;
    if (host.find_first_not_of("0123456789.") == std::string_view::npos) return host.starts_with("127.");
    const std::string name = lower_text(host);
    if (name.ends_with(".svc") || name.ends_with(".cluster.local") || name.ends_with(".localhost")) return true;
    const std::string_view rest = std::string_view(name).substr(dot + 1);
    return std::ranges::any_of(namespaces,
                               [rest](const std::string& known) { return equal_ignoring_case(rest, known); });
}

}  // namespace wa::config
