#include "core/report/source_text.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/report/text_line.h"

namespace wa {

namespace {

constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";
constexpr std::size_t kMaxDeclarationBytes = 512;

unsigned byte_at(std::string_view bytes, std::size_t at) {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0x100U;  // past the end: no byte
}

void append_utf8(std::string& out, std::uint32_t c) {
    const auto tail = [](std::uint32_t bits) { return static_cast<char>(0x80U | (bits & 0x3FU)); };
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xC0U | c >> 6U);
        out += tail(c);
    } else if (c < 0x10000) {
        out += static_cast<char>(0xE0U | c >> 12U);
        out += tail(c >> 6U);
        out += tail(c);
    } else {
        out += static_cast<char>(0xF0U | c >> 18U);
        out += tail(c >> 12U);
        out += tail(c >> 6U);
        out += tail(c);
    }
}

enum class Utf16 : std::uint8_t { kNone, kLittle, kBig };

Utf16 utf16_of(std::string_view bytes) {
    const unsigned first = byte_at(bytes, 0);
    const unsigned second = byte_at(bytes, 1);
    if ((first == 0xFF && second == 0xFE) || (first == '<' && second == 0)) return Utf16::kLittle;
    if ((first == 0xFE && second == 0xFF) || (first == 0 && second == '<')) return Utf16::kBig;
    return Utf16::kNone;
}

bool is_utf32(std::string_view bytes) {
    const unsigned a = byte_at(bytes, 0);
    const unsigned b = byte_at(bytes, 1);
    const unsigned c = byte_at(bytes, 2);
    const unsigned d = byte_at(bytes, 3);
    const bool little = c == 0 && d == 0 && ((a == 0xFF && b == 0xFE) || (a == '<' && b == 0));
    const bool big = a == 0 && b == 0 && ((c == 0xFE && d == 0xFF) || (c == 0 && d == '<'));
    return little || big;
}

std::string from_utf16(std::string_view bytes, Utf16 order) {
    const auto unit = [&](std::size_t i) -> std::uint32_t {
        const unsigned first = byte_at(bytes, i);
        const unsigned second = byte_at(bytes, i + 1);
        return order == Utf16::kLittle ? first | second << 8U : first << 8U | second;
    };
    const auto is_high = [](std::uint32_t u) { return u >= 0xD800 && u < 0xDC00; };
    const auto is_low = [](std::uint32_t u) { return u >= 0xDC00 && u < 0xE000; };
    std::string out;
    out.reserve(bytes.size() / 2 + bytes.size() / 16);
    for (std::size_t i = unit(0) == 0xFEFF ? 2 : 0; i + 1 < bytes.size(); i += 2) {
        std::uint32_t c = unit(i);
        if (is_high(c) && i + 3 < bytes.size() && is_low(unit(i + 2))) {
            c = 0x10000U + ((c - 0xD800U) << 10U) + (unit(i + 2) - 0xDC00U);
            i += 2;
        } else if (is_high(c) || is_low(c)) {
            c = 0xFFFD;
        }
        append_utf8(out, c);
    }
    return out;
}

std::string from_latin1(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size() + bytes.size() / 8);
    for (const char c : bytes)
        append_utf8(out, static_cast<unsigned char>(c));
    return out;
}

// What <?xml … encoding="…"?> says, in lower case; empty when it says nothing.
std::string declared_encoding(std::string_view text) {
    text = trimmed(text.substr(0, kMaxDeclarationBytes));
    if (!text.starts_with("<?xml")) return {};
    text = text.substr(0, text.find("?>"));
    const std::size_t key = text.find("encoding");
    if (key == std::string_view::npos) return {};
    const std::size_t open = text.find_first_of("\"'", key);
    if (open == std::string_view::npos) return {};
    const std::size_t close = text.find(text[open], open + 1);
    if (close == std::string_view::npos) return {};
    std::string name(text.substr(open + 1, close - open - 1));
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    return name;
}

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
}

Result<std::string> from_declared(std::string bytes) {
    const std::string encoding = declared_encoding(bytes);
    // These bytes are no UTF-16, whatever the declaration says: .NET writes it into files that it saves as UTF-8.
    if (one_of(encoding, {"", "utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be"})) return bytes;
    if (one_of(encoding, {"iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1"})) return from_latin1(bytes);
    return bad_report(ErrorCode::kUnsupported,
                      "the encoding \"" + clean_line(encoding, 64) + "\" is not read; write the report as UTF-8");
}

}  // namespace

Failure bad_report(ErrorCode code, std::string message) {
    return Failure(make_error(code, Retry::kNever, Fault::kTask, "report", std::move(message)));
}

Failure bad_report_at(ErrorCode code, std::string message, std::string_view text, std::size_t offset) {
    offset = std::min(offset, text.size());
    const auto line = 1 + std::ranges::count(text.substr(0, offset), '\n');
    return bad_report(
        code, std::move(message) + ", in line " + std::to_string(line) + " (byte " + std::to_string(offset) + ")");
}

Failure over_limit(std::string_view what, std::size_t limit, std::string_view unit) {
    return bad_report(ErrorCode::kLimitExceeded,
                      std::string(what) + ": over the limit of " + std::to_string(limit) + " " + std::string(unit));
}

Result<std::string> source_text(std::string bytes, const ReportLimits& limits) {
    if (bytes.size() > limits.bytes) return over_limit("the report is too large", limits.bytes, "bytes");
    if (is_utf32(bytes)) {
        return bad_report(ErrorCode::kUnsupported, "the encoding UTF-32 is not read; write the report as UTF-8");
    }
    if (const Utf16 order = utf16_of(bytes); order != Utf16::kNone) {
        if (bytes.size() % 2 != 0) {
            return bad_report(ErrorCode::kMalformed, "the file ends inside a UTF-16 character: it is cut off");
        }
        bytes = from_utf16(bytes, order);
    } else {
        // Blanks instead of the mark: nothing has to be moved, and offsets stay those of the file.
        if (bytes.starts_with(kUtf8Mark)) bytes.replace(0, kUtf8Mark.size(), "   ");
        WA_TRY(bytes, from_declared(std::move(bytes)));
    }
    if (const std::size_t nul = bytes.find('\0'); nul != std::string::npos) {
        return bad_report_at(ErrorCode::kMalformed, "a NUL character, which text does not hold", bytes, nul);
    }
    if (trimmed(bytes).empty()) return bad_report(ErrorCode::kMalformed, "the file is empty");
    return bytes;
}

}  // namespace wa
