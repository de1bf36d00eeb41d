#include "adapters/task_logs/log_format.h"

#include <charconv>

namespace wa::task_logs {
namespace {

constexpr std::size_t kMaxStemBytes = 160;
constexpr std::string_view kHexDigits = "0123456789abcdef";

// FNV-1a; spreads and abbreviates, guards nothing.
std::uint64_t hash(std::string_view text, std::uint64_t seed) {
    std::uint64_t value = 0xcbf29ce484222325ULL ^ seed;
    for (const char c : text) {
        value ^= static_cast<unsigned char>(c);
        value *= 0x100000001b3ULL;
    }
    return value;
}

std::string hex(std::uint64_t value, int digits) {
    std::string text;
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
        text += kHexDigits[(value >> static_cast<unsigned>(shift)) & 15U];
    return text;
}

bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

std::string folder_of(std::string_view ticket_id) {
    const std::uint64_t value = hash(ticket_id, 0);
    return hex((value ^ (value >> 32U)) & 0xFFU, 2);
}

std::string file_stem(std::string_view ticket_id) {
    std::string stem;
    for (const char c : ticket_id) {
        if (is_plain(c)) {
            stem += c;
        } else {
            stem += '%' + hex(static_cast<unsigned char>(c), 2);
        }
        if (stem.size() > kMaxStemBytes) {
            stem.resize(kMaxStemBytes - 33);
            return stem + '~' + hex(hash(ticket_id, 0), 16) + hex(hash(ticket_id, 0x9e3779b97f4a7c15ULL), 16);
        }
    }
    return stem;
}

std::optional<LogFileName> parse_file_name(std::string_view stem, std::string_view name) {
    if (!name.starts_with(stem)) return std::nullopt;
    name.remove_prefix(stem.size());
    if (!name.starts_with('.')) return std::nullopt;
    name.remove_prefix(1);
    const std::size_t log = name.find(".log");
    if (log == std::string_view::npos) return std::nullopt;
    const auto attempt = parse_number<std::int32_t>(name.substr(0, log));
    std::string_view rest = name.substr(log + 4);
    if (!attempt) return std::nullopt;
    if (rest.empty()) return LogFileName{*attempt, 0};
    if (rest.front() != '.') return std::nullopt;
    const auto segment = parse_number<std::uint32_t>(rest.substr(1));
    if (!segment || *segment == 0) return std::nullopt;
    return LogFileName{*attempt, *segment};
}

std::string make_file_name(std::string_view stem, std::int32_t attempt, std::uint32_t segment) {
    std::string name = std::string(stem) + '.' + std::to_string(attempt) + ".log";
    if (segment > 0) name += '.' + std::to_string(segment);
    return name;
}

}  // namespace wa::task_logs
