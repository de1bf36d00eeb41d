#include "core/report/text_line.h"

#include <gtest/gtest.h>

#include <string>

#include "core/codec/text.h"

namespace wa {
namespace {

TEST(CleanLine, TakesTheFirstLineThatSaysSomething) {
    EXPECT_EQ(clean_line("\n \r\n  a b \r\nc", 100), "a b");
    EXPECT_EQ(clean_line("", 100), "");
    EXPECT_EQ(clean_line(" \n\t", 100), "");
}

TEST(CleanLine, IsValidTextWithoutControls) {
    EXPECT_EQ(clean_line("a\tb\x01\x7F\xC2\x85z", 100), "a bz");
    EXPECT_EQ(clean_line("\x1B[1;31mred\x1B[0m", 100), "red");
    EXPECT_EQ(clean_line("open\x1B[1;3", 100), "open");
    EXPECT_EQ(clean_line("a\x1Bz", 100), "az");
    EXPECT_EQ(clean_line("a\xE2\x80\xAE\xE2\x81\xA6\xE2\x80\xA8z", 100), "az");
    EXPECT_EQ(clean_line("\xFF\xED\xA0\x80", 100).size(), 12U);
    EXPECT_EQ(clean_line("naïve €", 100), "naïve €");
    EXPECT_EQ(clean_line("\x01 a\x02 \x03", 100), "a");
}

TEST(CleanLine, IsCutBetweenCharacters) {
    EXPECT_EQ(clean_line("abcdef", 6), "abcdef");
    EXPECT_EQ(clean_line("abcdefg", 6), "abc…");
    EXPECT_EQ(clean_line("ééééé", 9), "ééé…");
    for (std::size_t max = 0; max < 20; ++max) {
        const std::string line = clean_line("a€é\xFF𝄞bcdefgh", max);
        EXPECT_LE(line.size(), max);
        EXPECT_TRUE(is_utf8(line));
    }
}

TEST(ParseCount, TakesWholeNumbersOnly) {
    EXPECT_EQ(parse_count("12"), 12U);
    EXPECT_EQ(parse_count(" 3.0 "), 3U);
    for (const char* text : {"", " ", "-1", "1.5", "1,000", "x", "1x", "NaN", "inf", "1e30", "99999999999999999999"})
        EXPECT_FALSE(parse_count(text)) << text;
}

TEST(ParseSeconds, ToleratesTwoKindsOfComma) {
    EXPECT_DOUBLE_EQ(parse_seconds("1.5").value(), 1.5);
    EXPECT_DOUBLE_EQ(parse_seconds(" 0.001 ").value(), 0.001);
    EXPECT_DOUBLE_EQ(parse_seconds("1,234.567").value(), 1234.567);
    EXPECT_DOUBLE_EQ(parse_seconds("1,234,567.5").value(), 1234567.5);
    EXPECT_DOUBLE_EQ(parse_seconds("1.234,5").value(), 1234.5);
    EXPECT_DOUBLE_EQ(parse_seconds("0,123").value(), 0.123);
    EXPECT_DOUBLE_EQ(parse_seconds("1,234,567").value(), 1234567);
    EXPECT_DOUBLE_EQ(parse_seconds("1e-05").value(), 1e-05);
    EXPECT_DOUBLE_EQ(parse_seconds("-0").value(), 0);
    for (const char* text : {"", ",", ".", "-1", "x", "1s", "NaN", "inf", "1e300", "1.2.3"})
        EXPECT_FALSE(parse_seconds(text)) << text;
    EXPECT_FALSE(parse_seconds(std::string(100, '1')));
}

TEST(ParseRate, IsZeroToOne) {
    EXPECT_DOUBLE_EQ(parse_rate("0.5").value(), 0.5);
    EXPECT_DOUBLE_EQ(parse_rate("1").value(), 1);
    for (const char* text : {"", "x", "-0.1", "1.1", "NaN", "85"})
        EXPECT_FALSE(parse_rate(text)) << text;
}

}  // namespace
}  // namespace wa
