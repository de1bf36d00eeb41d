#include "process/kept_output.h"

#include <gtest/gtest.h>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kAnyLines = 1'000'000;

TEST(KeptOutput, KeepsAllOfLittle) {
    KeptOutput kept(8, 8);
    kept.append("hello");
    kept.append(" world");
    EXPECT_FALSE(kept.truncated());
    EXPECT_EQ(kept.text(1000, kAnyLines), "hello world");
    EXPECT_EQ(kept.total(), 11U);
}

TEST(KeptOutput, KeepsBothEndsOfMuch) {
    KeptOutput kept(4, 6);
    for (char c = 'a'; c <= 'z'; ++c)
        kept.append(std::string_view(&c, 1));
    EXPECT_TRUE(kept.truncated());
    EXPECT_EQ(kept.text(1000, kAnyLines), "abcd\n[worker-agents] 16 bytes left out\nuvwxyz");
}

TEST(KeptOutput, OneBigPieceAndManySmallOnesGiveTheSame) {
    std::string all;
    for (int index = 0; index < 5000; ++index)
        all += std::to_string(index) + "\n";
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, all.size()}) {
        KeptOutput kept(100, 333);
        for (std::size_t at = 0; at < all.size(); at += piece)
            kept.append(std::string_view(all).substr(at, piece));
        const std::string text = kept.text(100'000, kAnyLines);
        EXPECT_TRUE(text.starts_with(all.substr(0, 100))) << piece;
        EXPECT_TRUE(text.ends_with(all.substr(all.size() - 333))) << piece;
        EXPECT_EQ(kept.total(), all.size());
    }
}

TEST(KeptOutput, MemoryStaysBounded) {
    KeptOutput kept;
    const std::string block(65536, 'x');
    for (int index = 0; index < 2000; ++index)
        kept.append(block);
    EXPECT_LE(kept.held(), kKeptHeadBytes + kKeptTailBytes + 65536 * 2);
    EXPECT_EQ(kept.total(), 2000U * 65536U);
}

TEST(KeptOutput, TextRespectsItsLimits) {
    KeptOutput kept;
    for (int index = 0; index < 20'000; ++index)
        kept.append("line " + std::to_string(index) + "\n");
    for (const std::size_t limit : {0U, 1U, 10U, 60U, 100U, 1000U, 50'000U}) {
        EXPECT_LE(kept.text(limit, kAnyLines).size(), limit);
    }
    const std::string few = kept.text(1'000'000, 100);
    EXPECT_LE(std::count(few.begin(), few.end(), '\n'), 102);
    EXPECT_TRUE(few.starts_with("line 0\nline 1\n"));
    EXPECT_TRUE(few.ends_with("line 19998\nline 19999\n"));
    EXPECT_NE(few.find("bytes left out"), std::string::npos);
}

TEST(KeptOutput, CutsOfCompleteTextDoNotOverlap) {
    KeptOutput kept;
    kept.append("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    EXPECT_EQ(kept.text(1000, 4), "1\n\n[worker-agents] 12 bytes left out\n8\n9\n10\n");
    EXPECT_EQ(kept.text(1000, 10), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
}

TEST(KeptOutput, BinaryBecomesText) {
    EXPECT_EQ(safe_utf8("a\xFF"
                        "b"),
              "a\xEF\xBF\xBD"
              "b");
    EXPECT_EQ(safe_utf8("\xC3\xA9"), "\xC3\xA9");
    EXPECT_EQ(safe_utf8("\xC3"), "\xEF\xBF\xBD");
    EXPECT_EQ(safe_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a lone surrogate
    std::string all;
    for (int byte = 0; byte < 256; ++byte)
        all += static_cast<char>(byte);
    KeptOutput kept(50, 50);
    for (int round = 0; round < 10; ++round)
        kept.append(all);
    EXPECT_TRUE(is_utf8(kept.text(1000, kAnyLines)));
    EXPECT_TRUE(is_utf8(kept.text(77, kAnyLines)));
}

TEST(KeptOutput, ACutNeverSplitsACharacter) {
    KeptOutput kept(7, 7);  // "é" is two bytes: both cuts fall inside one
    for (int index = 0; index < 100; ++index)
        kept.append("\xC3\xA9");
    const std::string text = kept.text(1000, kAnyLines);
    EXPECT_TRUE(is_utf8(text));
    EXPECT_EQ(text.find("\xEF\xBF\xBD"), std::string::npos);
}

TEST(KeptOutput, LastLine) {
    KeptOutput kept(10, 10);
    EXPECT_EQ(kept.last_line(100), "");
    kept.append("one\ntwo\n  \n\r\n");
    EXPECT_EQ(kept.last_line(100), "two");
    EXPECT_EQ(kept.last_line(2), "tw");
    KeptOutput blank;
    blank.append("\n\n  \n");
    EXPECT_EQ(blank.last_line(100), "");
    KeptOutput single;
    single.append("no end");
    EXPECT_EQ(single.last_line(100), "no end");
}

TEST(CompleteUtf8Prefix, StopsBeforeAnUnfinishedCharacter) {
    EXPECT_EQ(complete_utf8_prefix("abc"), 3U);
    EXPECT_EQ(complete_utf8_prefix("ab\xC3"), 2U);
    EXPECT_EQ(complete_utf8_prefix("ab\xE2\x82"), 2U);
    EXPECT_EQ(complete_utf8_prefix("ab\xF0\x9F\x98"), 2U);
    EXPECT_EQ(complete_utf8_prefix("ab\xE2\x82\xAC"), 5U);
    EXPECT_EQ(complete_utf8_prefix("ab\xFF"), 3U);
    EXPECT_EQ(complete_utf8_prefix("\x80\x80\x80\x80"), 4U);
    EXPECT_EQ(complete_utf8_prefix(""), 0U);
}

}  // namespace
}  // namespace wa
