// Compact binary forms for the store's blobs: little-endian, bounded, checked. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace wa::store {

// CRC-32 (IEEE); finds every single flipped byte.
[[nodiscard]] std::uint32_t crc32(std::string_view bytes, std::uint32_t seed = 0);
// SipHash-2-4: an index key that a sender of ids cannot make collide.
using HashKey = std::array<std::uint64_t, 2>;
[[nodiscard]] std::uint64_t siphash(const HashKey& key, std::string_view bytes);

class ByteWriter {
public:
    explicit ByteWriter(std::string& out) : out_(out) {}
    void u8(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
    void u16(std::uint16_t value) { fixed(value, 2); }
    void u32(std::uint32_t value) { fixed(value, 4); }
    // Six bytes: milliseconds of the epoch and row numbers. Negative or larger values are cut to the range.
    void u48(std::int64_t value);
    void varint(std::uint64_t value);
    void signed_varint(std::int64_t value);
    void text(std::string_view value);

private:
    void fixed(std::uint64_t value, int bytes);
    std::string& out_;
};

// Reading past the end makes ok() false and every later read empty; nothing is ever read outside the view.
class ByteReader {
public:
    explicit ByteReader(std::string_view in) : in_(in) {}
    [[nodiscard]] std::uint8_t u8() { return static_cast<std::uint8_t>(fixed(1)); }
    [[nodiscard]] std::uint16_t u16() { return static_cast<std::uint16_t>(fixed(2)); }
    [[nodiscard]] std::uint32_t u32() { return static_cast<std::uint32_t>(fixed(4)); }
    [[nodiscard]] std::int64_t u48() { return static_cast<std::int64_t>(fixed(6)); }
    [[nodiscard]] std::uint64_t varint();
    [[nodiscard]] std::int64_t signed_varint();
    [[nodiscard]] std::string_view text();
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return in_.empty(); }
    [[nodiscard]] std::size_t left() const { return in_.size(); }

private:
    std::uint64_t fixed(std::size_t bytes);
    std::string_view in_;
    bool ok_ = true;
};

}  // namespace wa::store
