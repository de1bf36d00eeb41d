#include "core/codec/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr double kMostBytes = 9.0e18;  // fits into 63 bits
constexpr double kMostCpus = 1e6;

// The number at the start; the rest is the unit.
std::optional<double> take_number(std::string_view& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || !std::isfinite(value) || value < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return lower;
}

}  // namespace

std::optional<double> memory_unit_bytes(std::string_view unit) {
    const std::string lower = lower_case(unit);
    constexpr double kKi = 1024;
    using Unit = std::pair<std::string_view, double>;
    static constexpr std::array kUnits{Unit{"", 1},
                                       Unit{"b", 1},
                                       Unit{"k", kKi},
                                       Unit{"ki", kKi},
                                       Unit{"kib", kKi},
                                       Unit{"kb", 1e3},
                                       Unit{"m", kKi * kKi},
                                       Unit{"mi", kKi * kKi},
                                       Unit{"mib", kKi * kKi},
                                       Unit{"mb", 1e6},
                                       Unit{"g", kKi * kKi * kKi},
                                       Unit{"gi", kKi * kKi * kKi},
                                       Unit{"gib", kKi * kKi * kKi},
                                       Unit{"gb", 1e9},
                                       Unit{"t", kKi * kKi * kKi * kKi},
                                       Unit{"ti", kKi * kKi * kKi * kKi},
                                       Unit{"tib", kKi * kKi * kKi * kKi},
                                       Unit{"tb", 1e12}};
    for (const auto& [name, factor] : kUnits) {
        if (name == lower) return factor;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> parse_memory_quantity(std::string_view text) {
    const auto number = take_number(text);
    const auto factor = memory_unit_bytes(text);
    if (!number || !factor) return std::nullopt;
    const double bytes = *number * *factor;
    if (bytes < 1 || bytes > kMostBytes) return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
}

std::optional<std::uint64_t> parse_cpu_quantity(std::string_view text) {
    const auto number = take_number(text);
    if (!number || (!text.empty() && text != "m")) return std::nullopt;
    const double millis = std::round(text.empty() ? *number * 1000 : *number);
    if (millis < 1 || millis > kMostCpus * 1000) return std::nullopt;
    return static_cast<std::uint64_t>(millis);
}

}  // namespace wa
