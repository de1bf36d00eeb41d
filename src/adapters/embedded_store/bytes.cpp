#include "adapters/embedded_store/bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace wa::store {

namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t n = 0; n < 256; ++n) {
        std::uint32_t value = n;
        for (int bit = 0; bit < 8; ++bit)
            value = (value & 1U) != 0U ? 0xedb88320U ^ (value >> 1U) : value >> 1U;
        tables[0][n] = value;
    }
    for (std::size_t slice = 1; slice < 8; ++slice) {
        for (std::size_t n = 0; n < 256; ++n) {
            const std::uint32_t before = tables[slice - 1][n];
            tables[slice][n] = tables[0][before & 0xffU] ^ (before >> 8U);
        }
    }
    return tables;
}
constexpr Tables kCrc = make_tables();

std::uint64_t load(const char* from, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t n = 0; n < bytes; ++n) {
        value |= std::uint64_t{static_cast<unsigned char>(from[n])} << (8 * n);
    }
    return value;
}

std::uint64_t load8(const char* from) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
}

struct Sip {
    std::uint64_t v0, v1, v2, v3;
    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void absorb(std::uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
};

constexpr std::uint64_t kMax48 = (std::uint64_t{1} << 48U) - 1;

}  // namespace

std::uint32_t crc32(std::string_view bytes, std::uint32_t seed) {
    std::uint32_t crc = ~seed;
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8) {
        const std::uint64_t word = load8(at) ^ crc;
        crc = kCrc[7][word & 0xffU] ^ kCrc[6][(word >> 8U) & 0xffU] ^ kCrc[5][(word >> 16U) & 0xffU] ^
              kCrc[4][(word >> 24U) & 0xffU] ^ kCrc[3][(word >> 32U) & 0xffU] ^ kCrc[2][(word >> 40U) & 0xffU] ^
              kCrc[1][(word >> 48U) & 0xffU] ^ kCrc[0][word >> 56U];
    }
    for (; left > 0; --left, ++at)
        crc = kCrc[0][(crc ^ static_cast<unsigned char>(*at)) & 0xffU] ^ (crc >> 8U);
    return ~crc;
}

std::uint64_t siphash(const HashKey& key, std::string_view bytes) {
    Sip sip{key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL, key[0] ^ 0x6c7967656e657261ULL,
            key[1] ^ 0x7465646279746573ULL};
    std::size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8)
        sip.absorb(load8(bytes.data() + at));
    sip.absorb(load(bytes.data() + at, bytes.size() - at) | (std::uint64_t{bytes.size() & 0xffU} << 56U));
    sip.v2 ^= 0xffU;
    for (int n = 0; n < 4; ++n)
        sip.round();
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

void ByteWriter::fixed(std::uint64_t value, int bytes) {
    char buffer[8];
    for (int n = 0; n < bytes; ++n)
        buffer[n] = static_cast<char>((value >> (8 * n)) & 0xffU);
    out_.append(buffer, static_cast<std::size_t>(bytes));
}
void ByteWriter::u48(std::int64_t value) {
    const std::uint64_t positive = value < 0 ? 0 : static_cast<std::uint64_t>(value);
    fixed(std::min(positive, kMax48), 6);
}
void ByteWriter::varint(std::uint64_t value) {
    while (value >= 0x80U) {
        u8(static_cast<std::uint8_t>(value | 0x80U));
        value >>= 7U;
    }
    u8(static_cast<std::uint8_t>(value));
}
void ByteWriter::signed_varint(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    varint((bits << 1U) ^ (value < 0 ? ~std::uint64_t{0} : 0));
}
void ByteWriter::text(std::string_view value) {
    varint(value.size());
    out_.append(value);
}

std::uint64_t ByteReader::fixed(std::size_t bytes) {
    if (in_.size() < bytes) {
        ok_ = false;
        in_ = {};
        return 0;
    }
    const std::uint64_t value = load(in_.data(), bytes);
    in_.remove_prefix(bytes);
    return value;
}
std::uint64_t ByteReader::varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const std::uint64_t byte = fixed(1);
        if (!ok_) return 0;
        value |= (byte & 0x7fU) << shift;
        if ((byte & 0x80U) == 0U) return value;
    }
    ok_ = false;
    in_ = {};
    return 0;
}
std::int64_t ByteReader::signed_varint() {
    const std::uint64_t bits = varint();
    return static_cast<std::int64_t>((bits >> 1U) ^ ((bits & 1U) != 0U ? ~std::uint64_t{0} : 0));
}
std::string_view ByteReader::text() {
    const std::uint64_t size = varint();
    if (!ok_ || size > in_.size()) {
        ok_ = false;
        in_ = {};
        return {};
    }
    const std::string_view value = in_.substr(0, size);
    in_.remove_prefix(size);
    return value;
}

}  // namespace wa::store
