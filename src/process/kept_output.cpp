#include "process/kept_output.h"

#include <algorithm>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

// A cut may leave the rest of a character at the start: drop at most three bytes of it.
std::string_view without_leading_rest(std::string_view bytes) {
    std::size_t skip = 0;
    while (skip < 3 && skip < bytes.size() && is_continuation(bytes[skip]))
        ++skip;
    return bytes.substr(skip);
}

std::string_view clip_front(std::string_view text, std::size_t max) {
    if (text.size() <= max) return text;
    text = text.substr(0, max);
    return text.substr(0, complete_utf8_prefix(text));
}

std::string_view clip_back(std::string_view text, std::size_t max) {
    if (text.size() <= max) return text;
    return without_leading_rest(text.substr(text.size() - max));
}

std::string gap_line(std::uint64_t missing) {
    return "\n[worker-agents] " + std::to_string(missing) + " bytes left out\n";
}

std::size_t count_lines(std::string_view text) {
    const auto breaks = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    return breaks + (text.empty() || text.back() == '\n' ? 0 : 1);
}

std::string_view first_lines(std::string_view text, std::size_t lines) {
    std::size_t at = 0;
    for (; lines > 0; --lines) {
        const std::size_t end = text.find('\n', at);
        if (end == std::string_view::npos) return text;
        at = end + 1;
    }
    return text.substr(0, at);
}

std::string_view last_lines(std::string_view text, std::size_t lines) {
    std::size_t at = text.size();
    if (at > 0 && text.back() == '\n') --at;
    for (; lines > 0 && at > 0; --lines) {
        const std::size_t start = text.rfind('\n', at - 1);
        if (start == std::string_view::npos) return text;
        at = start;
    }
    return at == 0 ? text : text.substr(std::min(at + 1, text.size()));
}

}  // namespace

std::string safe_utf8(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    while (!bytes.empty()) {
        // Runs of plain characters are the usual case.
        std::size_t plain = 0;
        while (plain < bytes.size() && static_cast<unsigned char>(bytes[plain]) < 0x80U)
            ++plain;
        text.append(bytes.substr(0, plain));
        bytes.remove_prefix(plain);
        if (bytes.empty()) break;
        if (const std::size_t length = utf8_length(bytes.substr(0, 4)); length > 0) {
            text.append(bytes.substr(0, length));
            bytes.remove_prefix(length);
        } else {
            text.append(kReplacement);
            bytes.remove_prefix(1);
        }
    }
    return text;
}

std::size_t complete_utf8_prefix(std::string_view bytes) {
    // Look back at most three bytes for a lead byte that asks for more than there is.
    for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
        const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
        if ((byte & 0xC0U) == 0x80U) continue;
        const std::size_t wanted = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC2U ? 2 : 1;
        return wanted > back && byte <= 0xF4U ? bytes.size() - back : bytes.size();
    }
    return bytes.size();
}

KeptOutput::KeptOutput(std::size_t head_limit, std::size_t tail_limit)
    : head_limit_(head_limit), tail_limit_(tail_limit) {}

void KeptOutput::append(std::string_view bytes) {
    total_ += bytes.size();
    if (head_.size() < head_limit_) {
        const std::size_t part = std::min(bytes.size(), head_limit_ - head_.size());
        head_.append(bytes.substr(0, part));
        bytes.remove_prefix(part);
    }
    if (bytes.size() > tail_limit_) bytes.remove_prefix(bytes.size() - tail_limit_);
    if (tail_.size() < tail_limit_) {
        const std::size_t part = std::min(bytes.size(), tail_limit_ - tail_.size());
        if (tail_.size() + part > tail_.capacity()) {  // doubling must not go beyond the bound
            tail_.reserve(std::min(tail_limit_, std::max(tail_.size() + part, 2 * tail_.capacity())));
        }
        tail_.append(bytes.substr(0, part));
        bytes.remove_prefix(part);
    }
    while (!bytes.empty()) {
        const std::size_t part = std::min(bytes.size(), tail_limit_ - tail_start_);
        bytes.copy(tail_.data() + tail_start_, part);
        tail_start_ = (tail_start_ + part) % tail_limit_;
        bytes.remove_prefix(part);
    }
}

std::string KeptOutput::tail() const {
    return tail_.substr(tail_start_) + tail_.substr(0, tail_start_);
}

std::string KeptOutput::text(std::size_t max_bytes, std::size_t max_lines) const {
    // Making bytes safe can make them longer, so all cuts come after it.
    std::string head_text;
    std::string tail_text;
    if (truncated()) {
        head_text = safe_utf8(std::string_view(head_).substr(0, complete_utf8_prefix(head_)));
        tail_text = safe_utf8(without_leading_rest(tail()));
    } else {
        head_text = safe_utf8(head_ + tail());
        if (head_text.size() <= max_bytes && count_lines(head_text) <= max_lines) return head_text;
    }
    const std::size_t line = gap_line(UINT64_MAX).size();
    if (max_bytes <= line) return std::string(clip_front(head_text, max_bytes));
    const std::size_t room = max_bytes - line;
    const std::string_view first = first_lines(clip_front(head_text, room / 4), max_lines / 4);
    // Complete text has one half only: what follows the part already taken.
    const std::string_view rest =
        truncated() ? std::string_view(tail_text) : std::string_view(head_text).substr(first.size());
    const std::string_view last = last_lines(clip_back(rest, room - first.size()), max_lines - max_lines / 4);
    const std::uint64_t all = truncated() ? total_ : head_text.size();
    const std::uint64_t shown = first.size() + last.size();
    return std::string(first) + gap_line(all > shown ? all - shown : 0) + std::string(last);
}

std::string KeptOutput::last_line(std::size_t max_bytes) const {
    const std::string end = truncated() ? tail() : head_ + tail();
    std::string_view rest = end;
    while (!rest.empty()) {
        const std::size_t stop = rest.find_last_not_of("\r\n");
        if (stop == std::string_view::npos) break;
        rest = rest.substr(0, stop + 1);
        const std::size_t start = rest.find_last_of("\r\n");
        const std::string_view line = start == std::string_view::npos ? rest : rest.substr(start + 1);
        if (line.find_first_not_of(" \t") != std::string_view::npos)
            return std::string(clip_front(safe_utf8(line), max_bytes));
        if (start == std::string_view::npos) break;
        rest = rest.substr(0, start);
    }
    return {};
}

}  // namespace wa
