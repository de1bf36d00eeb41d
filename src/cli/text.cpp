#include "cli/text.h"

#include <array>
#include <chrono>
#include <cstdio>

#include "core/codec/text.h"

namespace wa::cli {
namespace {

char32_t decode(std::string_view bytes) {
    const auto byte = [&bytes](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(bytes[i])); };
    switch (bytes.size()) {
        case 1: return byte(0);
        case 2: return ((byte(0) & 0x1fU) << 6U) | (byte(1) & 0x3fU);
        case 3: return ((byte(0) & 0x0fU) << 12U) | ((byte(1) & 0x3fU) << 6U) | (byte(2) & 0x3fU);
        default:
            return ((byte(0) & 0x07U) << 18U) | ((byte(1) & 0x3fU) << 12U) | ((byte(2) & 0x3fU) << 6U) |
                   (byte(3) & 0x3fU);
    }
}

// Characters that change how the text around them is shown.
bool reorders(char32_t c) {
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x061c ||
           c == 0x2028 || c == 0x2029 || c == 0xfeff;
}

std::string escape(char32_t c) {
    if (c == '\n') return "\\n";
    if (c == '\t') return "\\t";
    if (c == '\r') return "\\r";
    std::array<char, 16> buffer{};
    const char* form = c <= 0xff ? "\\x%02x" : "\\u%04x";
    const int length = std::snprintf(buffer.data(), buffer.size(), form, static_cast<unsigned>(c));
    return {buffer.data(), static_cast<std::size_t>(length)};
}

std::string clean(std::string_view text, bool block) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) {
            out += "\xef\xbf\xbd";
            text.remove_prefix(1);
            continue;
        }
        const char32_t c = decode(text.substr(0, length));
        const bool control = c < 0x20 || (c >= 0x7f && c <= 0x9f);
        if (block && (c == '\n' || c == '\t')) {
            out += static_cast<char>(c);
        } else if (control || reorders(c)) {
            out += escape(c);
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
    return out;
}

struct Range {
    char32_t first;
    char32_t last;
};
// Not the whole of Unicode's tables: what people put into task names.
constexpr std::array kWide{Range{0x1100, 0x115f},   Range{0x2e80, 0x303e},   Range{0x3041, 0xa4cf},
                           Range{0xac00, 0xd7a3},   Range{0xf900, 0xfaff},   Range{0xfe30, 0xfe6f},
                           Range{0xff00, 0xff60},   Range{0xffe0, 0xffe6},   Range{0x1f300, 0x1f64f},
                           Range{0x1f680, 0x1f6ff}, Range{0x1f900, 0x1f9ff}, Range{0x20000, 0x3fffd}};
constexpr std::array kNone{Range{0x0300, 0x036f}, Range{0x200b, 0x200d}, Range{0x20d0, 0x20ff}, Range{0xfe00, 0xfe0f}};

template <std::size_t N>
bool in(const std::array<Range, N>& ranges, char32_t c) {
    for (const Range& range : ranges) {
        if (c >= range.first && c <= range.last) return true;
    }
    return false;
}

std::size_t width_of(char32_t c) {
    if (in(kNone, c)) return 0;
    return in(kWide, c) ? 2 : 1;
}

template <class... Args>
std::string format(const char* form, Args... args) {
    std::array<char, 64> buffer{};
    const int length = std::snprintf(buffer.data(), buffer.size(), form, args...);
    return length > 0 ? std::string(buffer.data(), static_cast<std::size_t>(length)) : std::string();
}

struct Moment {
    int year = 1970;
    unsigned month = 1;
    unsigned day = 1;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int milli = 0;
};
Moment moment(std::int64_t epoch_ms) {
    // The years 0 to 9999: outside them the calendar type is not defined for printing.
    constexpr std::int64_t kFirst = -62'135'596'800'000;
    constexpr std::int64_t kLast = 253'402'300'799'999;
    if (epoch_ms < kFirst) epoch_ms = kFirst;
    if (epoch_ms > kLast) epoch_ms = kLast;
    namespace ch = std::chrono;
    const ch::sys_time<ch::milliseconds> time{ch::milliseconds(epoch_ms)};
    const auto days = ch::floor<ch::days>(time);
    const ch::year_month_day date(days);
    const auto rest = static_cast<int>((time - days).count());
    return {static_cast<int>(date.year()),
            static_cast<unsigned>(date.month()),
            static_cast<unsigned>(date.day()),
            rest / 3'600'000,
            rest / 60'000 % 60,
            rest / 1000 % 60,
            rest % 1000};
}

}  // namespace

std::string printable(std::string_view text) {
    return clean(text, false);
}
std::string printable_block(std::string_view text) {
    return clean(text, true);
}

std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    while (!text.empty()) {
        std::size_t length = utf8_length(text);
        width += length == 0 ? 1 : width_of(decode(text.substr(0, length)));
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return width;
}

std::string fit(std::string_view text, std::size_t width) {
    if (display_width(text) <= width) return std::string(text);
    if (width == 0) return {};
    std::size_t used = 0;
    std::size_t end = 0;
    while (end < text.size()) {
        std::size_t length = utf8_length(text.substr(end));
        const std::size_t step = length == 0 ? 1 : width_of(decode(text.substr(end, length)));
        if (used + step > width - 1) break;
        used += step;
        end += length == 0 ? 1 : length;
    }
    return std::string(text.substr(0, end)) + "…";
}

std::string pad(std::string_view text, std::size_t width) {
    std::string out(text);
    const std::size_t used = display_width(text);
    if (used < width) out.append(width - used, ' ');
    return out;
}

std::string age_text(std::int64_t ms) {
    const std::int64_t seconds = ms > 0 ? ms / 1000 : 0;
    if (seconds < 120) return std::to_string(seconds) + "s";
    if (seconds < 120 * 60) return std::to_string(seconds / 60) + "m";
    if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + "h";
    return std::to_string(seconds / 86'400) + "d";
}

std::string run_text(std::int64_t ms) {
    if (ms < 0) ms = 0;
    if (ms < 60'000)
        return format("%lld.%llds", static_cast<long long>(ms / 1000), static_cast<long long>(ms / 100 % 10));
    const auto seconds = static_cast<long long>(ms / 1000);
    if (seconds < 3600) return format("%lldm%02llds", seconds / 60, seconds % 60);
    return format("%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
}

std::string rfc3339(std::int64_t epoch_ms) {
    const Moment m = moment(epoch_ms);
    return format("%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", m.year, m.month, m.day, m.hour, m.minute, m.second, m.milli);
}

std::string clock_text(std::int64_t epoch_ms) {
    const Moment m = moment(epoch_ms);
    return format("%02d:%02d:%02d.%03dZ", m.hour, m.minute, m.second, m.milli);
}

std::string_view short_id(std::string_view id) {
    return id.substr(0, 8);
}

}  // namespace wa::cli
