#include "adapters/embedded_store/bytes.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/random.h"

namespace wa::store {
namespace {

TEST(Bytes, ChecksumMatchesTheKnownVector) {
    EXPECT_EQ(crc32("123456789"), 0xcbf43926U);
    EXPECT_EQ(crc32(""), 0U);
}

TEST(Bytes, HashMatchesTheKnownVector) {
    // From the authors of SipHash: key 00..0f, message 00..0e.
    const HashKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    std::string message;
    for (char c = 0; c < 15; ++c)
        message.push_back(c);
    EXPECT_EQ(siphash(key, message), 0xa129ca6149be45e5ULL);
}

TEST(Bytes, WhatWasWrittenIsRead) {
    SeededRandom random(1);
    for (int round = 0; round < 2000; ++round) {
        const std::uint64_t wide = random.next() >> random.below(64);
        const auto narrow = static_cast<std::int64_t>(random.next() >> 16U);
        const auto any = static_cast<std::int64_t>(random.next());
        const std::string text(random.below(300), 'x');
        std::string out;
        ByteWriter writer(out);
        writer.varint(wide);
        writer.u48(narrow);
        writer.signed_varint(any);
        writer.text(text);
        writer.u8(7);
        ByteReader reader(out);
        EXPECT_EQ(reader.varint(), wide);
        EXPECT_EQ(reader.u48(), narrow);
        EXPECT_EQ(reader.signed_varint(), any);
        EXPECT_EQ(reader.text(), text);
        EXPECT_EQ(reader.u8(), 7);
        EXPECT_TRUE(reader.ok());
        EXPECT_TRUE(reader.at_end());
    }
}

TEST(Bytes, OutOfRangeValuesAreCutNotWrapped) {
    std::string out;
    ByteWriter writer(out);
    writer.u48(-5);
    writer.u48(std::numeric_limits<std::int64_t>::max());
    ByteReader reader(out);
    EXPECT_EQ(reader.u48(), 0);
    EXPECT_EQ(reader.u48(), (std::int64_t{1} << 48) - 1);
}

TEST(Bytes, ReadingGarbageEndsAndStaysInside) {
    SeededRandom random(2);
    for (int round = 0; round < 5000; ++round) {
        std::string bytes(random.below(40), '\0');
        for (auto& byte : bytes)
            byte = static_cast<char>(random.below(256));
        ByteReader reader(bytes);
        for (int step = 0; step < 20; ++step) {
            switch (random.below(5)) {
                case 0: (void)reader.text(); break;
                case 1: (void)reader.varint(); break;
                case 2: (void)reader.u48(); break;
                case 3: (void)reader.signed_varint(); break;
                default: (void)reader.u32(); break;
            }
        }
        EXPECT_LE(reader.left(), bytes.size());
    }
}

}  // namespace
}  // namespace wa::store
