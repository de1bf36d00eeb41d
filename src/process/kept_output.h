// What is kept in memory of one output stream: its beginning and its end. What lies between is counted, not kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wa {

// Per stream; the two streams of an attempt together keep head 256 KiB and tail 768 KiB (interface.md "Limits").
inline constexpr std::size_t kKeptHeadBytes = 128 * 1024;
inline constexpr std::size_t kKeptTailBytes = 384 * 1024;

class KeptOutput {
public:
    explicit KeptOutput(std::size_t head_limit = kKeptHeadBytes, std::size_t tail_limit = kKeptTailBytes);

    void append(std::string_view bytes);

    // Everything that ever came, in bytes.
    [[nodiscard]] std::uint64_t total() const { return total_; }
    // True when the middle is missing.
    [[nodiscard]] bool truncated() const { return total_ > head_.size() + tail_.size(); }
    // Memory held, for tests of the bound.
    [[nodiscard]] std::size_t held() const { return head_.capacity() + tail_.capacity(); }

    // As UTF-8 of at most `max_bytes` and `max_lines` (not counting the line about the gap). When something is missing,
    // a quarter of the room goes to the beginning, the rest to the end, with a line between them that counts the bytes
    // left out. Invalid bytes become U+FFFD.
    [[nodiscard]] std::string text(std::size_t max_bytes, std::size_t max_lines) const;
    // The last line that is not blank, as UTF-8, at most `max_bytes`; empty when there is none.
    [[nodiscard]] std::string last_line(std::size_t max_bytes) const;

private:
    // The kept bytes at the end of the stream, in order.
    [[nodiscard]] std::string tail() const;

    std::size_t head_limit_;
    std::size_t tail_limit_;
    std::string head_;
    std::string tail_;            // a ring once it is full
    std::size_t tail_start_ = 0;  // of the oldest byte in a full ring
    std::uint64_t total_ = 0;
};

// Well-formed UTF-8 whatever the bytes are: each byte that cannot belong to a character becomes U+FFFD. NUL stays.
[[nodiscard]] std::string safe_utf8(std::string_view bytes);
// Length of `bytes` without an unfinished character at its end (0 to 3 bytes shorter).
[[nodiscard]] std::size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace wa
