#include "core/report/text_line.h"

#include <algorithm>

#include "core/codec/text.h"

namespace wa {

namespace {

constexpr std::string_view kBlanks = " \t\r\n\f\v";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "…";
constexpr double kMaxSeconds = 1e10;  // three centuries; sums of a million of them are finite

bool is_control_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
}

// C1 controls, line and paragraph separators, and what turns or hides the direction of writing (a name could look like
// another one).
bool is_forbidden(std::string_view character) {
    if (character.size() == 1) return is_control_byte(character[0]);
    if (character.size() == 2) return character[0] == '\xC2' && character[1] <= '\x9F';
    if (character.size() != 3) return false;
    const bool separator = character >= "\xE2\x80\xA8" && character <= "\xE2\x80\xAE";  // U+2028 to U+202E
    const bool isolate = character >= "\xE2\x81\xA6" && character <= "\xE2\x81\xA9";    // U+2066 to U+2069
    const bool mark = character == "\xE2\x80\x8E" || character == "\xE2\x80\x8F" || character == "\xEF\xBB\xBF";
    return separator || isolate || mark;
}

// Length of a terminal sequence ESC [ parameters letter at the beginning of `text`; 0 when there is none.
std::size_t terminal_sequence(std::string_view text) {
    if (!text.starts_with("\x1B[")) return 0;
    const std::size_t end = text.find_first_not_of("0123456789;:<=>?", 2);
    return end == std::string_view::npos ? text.size() : end + 1;
}

std::string_view first_line(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    text.remove_prefix(first);
    return text.substr(0, text.find_first_of("\r\n"));
}

std::string without(std::string_view text, char sign) {
    std::string out(text);
    std::erase(out, sign);
    return out;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string clean_line(std::string_view text, std::size_t max_bytes) {
    std::string_view line = first_line(text);
    std::string out;
    // One character more than fits tells that something was cut; the rest, maybe megabytes, is not looked at.
    while (!line.empty() && out.size() <= max_bytes) {
        if (const std::size_t sequence = terminal_sequence(line); sequence > 0) {
            line.remove_prefix(sequence);
            continue;
        }
        const std::size_t length = utf8_length(line);
        const std::string_view character = line.substr(0, length);
        if (length == 0) {
            out += kReplacement;
        } else if (line[0] == ' ' || line[0] == '\t') {
            if (!out.empty()) out += ' ';  // what stood before it may have been taken out
        } else if (!is_forbidden(character)) {
            out += character;
        }
        line.remove_prefix(std::max<std::size_t>(length, 1));
    }
    if (out.size() > max_bytes) {
        const std::size_t room = max_bytes - std::min(max_bytes, kEllipsis.size());
        out.resize(utf8_prefix(out, room).size());
        if (max_bytes >= kEllipsis.size()) out += kEllipsis;
    }
    out.resize(out.find_last_not_of(' ') + 1);  // npos + 1 is 0: nothing but blanks
    return out;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
    const auto number = parse_whole_number(text);
    if (!number || *number < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

std::optional<double> parse_seconds(std::string_view text) {
    text = trimmed(text);
    constexpr std::size_t kLongest = 64;  // no honest number is longer
    if (text.empty() || text.size() > kLongest) return std::nullopt;
    const auto commas = std::ranges::count(text, ',');
    const auto points = std::ranges::count(text, '.');
    std::string plain(text);
    if (commas > 0) {
        const bool comma_is_decimal = commas == 1 && (points == 0 || text.rfind(',') > text.rfind('.'));
        plain = without(text, comma_is_decimal ? '.' : ',');
        std::ranges::replace(plain, ',', '.');
    }
    const auto seconds = parse_decimal(plain);
    if (!seconds || *seconds < 0 || *seconds > kMaxSeconds) return std::nullopt;
    return *seconds + 0.0;  // -0 becomes 0
}

std::optional<double> parse_rate(std::string_view text) {
    const auto rate = parse_decimal(text);
    if (!rate || *rate < 0 || *rate > 1) return std::nullopt;
    return rate;
}

}  // namespace wa
