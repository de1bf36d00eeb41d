#include "core/codec/text.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "core/codec/json_write.h"
#include "core/codec/suggest.h"

namespace wa {
namespace {

using std::chrono::milliseconds;

TEST(Clip, CutsBetweenCharacters) {
    EXPECT_EQ(clip("abc", 3), "abc");
    EXPECT_EQ(clip("abcd", 3), "abc…");
    EXPECT_EQ(clip("aää", 2), "a…");
    EXPECT_EQ(utf8_prefix("aää", 4), "aä");
}

TEST(DescribeValue, NeverWholeAndNeverTwoLines) {
    EXPECT_EQ(describe_value(boost::json::value("a\nb")), "the text \"a\\nb\"");
    EXPECT_EQ(describe_value(boost::json::value("")), "an empty text");
    EXPECT_EQ(describe_value(boost::json::value(5.5)), "5.5");
    EXPECT_EQ(describe_value(nullptr), "null");
    EXPECT_EQ(describe_value(boost::json::array{1}), "a list");
    EXPECT_LT(describe_value(boost::json::value(std::string(1000, 'x'))).size(), 90U);
}

TEST(WholeNumber, AcceptsWholeDoublesOnly) {
    EXPECT_EQ(whole_number(boost::json::value(5)), 5);
    EXPECT_EQ(whole_number(boost::json::value(5.0)), 5);
    EXPECT_EQ(whole_number(boost::json::value(5.5)), std::nullopt);
    EXPECT_EQ(whole_number(boost::json::value(9.3e18)), std::nullopt);
    EXPECT_EQ(whole_number(boost::json::value(-9223372036854775808.0)), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(whole_number(boost::json::value(std::uint64_t{18446744073709551615U})), std::nullopt);
    EXPECT_EQ(whole_number(boost::json::value("5")), std::nullopt);
    EXPECT_EQ(parse_whole_number(" 5 "), 5);
    EXPECT_EQ(parse_whole_number("5.0"), 5);
    EXPECT_EQ(parse_whole_number("1e3"), 1000);
    for (const std::string_view text : {"", " ", "5x", "0x10", "inf", "nan", "5 5", "1e400"}) {
        EXPECT_EQ(parse_whole_number(text), std::nullopt) << text;
    }
}

TEST(ParseDuration, ReadsUnitsAndSums) {
    EXPECT_EQ(parse_duration("30s", false), milliseconds(30'000));
    EXPECT_EQ(parse_duration("5m", false), milliseconds(300'000));
    EXPECT_EQ(parse_duration("1h30m", false), milliseconds(5'400'000));
    EXPECT_EQ(parse_duration("1.5h", false), milliseconds(5'400'000));
    EXPECT_EQ(parse_duration("500ms", false), milliseconds(500));
    EXPECT_EQ(parse_duration("2d", false), milliseconds(172'800'000));
    EXPECT_EQ(parse_duration(" 7 ", true), milliseconds(7000));
    EXPECT_EQ(parse_duration("0.25", true), milliseconds(250));
}

TEST(ParseDuration, RefusesTheRest) {
    for (const std::string_view text :
         {"", "5", "m", "5 m", "-5m", "5y", "1h30", "1e3s", "99999d", "5m x", "..s", "inf s"}) {
        EXPECT_EQ(parse_duration(text, false), std::nullopt) << text;
    }
    EXPECT_EQ(parse_duration("1h30", true), std::nullopt);
    EXPECT_EQ(parse_duration("1 000", true), std::nullopt);
}

TEST(DurationText, IsReadBackExactly) {
    for (const std::int64_t count : {0LL, 1LL, 999LL, 1000LL, 61'000LL, 90'061'001LL}) {
        EXPECT_EQ(parse_duration(duration_text(milliseconds(count)), false), milliseconds(count));
    }
    EXPECT_EQ(duration_text(milliseconds(5'400'000)), "1h30m");
}

TEST(Utf8, KnowsWellFormedSequences) {
    EXPECT_TRUE(is_utf8("aä€😀"));
    for (const std::string_view bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80",
                                       "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xE2\x82"}) {
        EXPECT_FALSE(is_utf8(bad));
    }
    EXPECT_EQ(lossy_utf8("a\xFF\xC3\xA4z", 3), "a\xEF\xBF\xBDä");
}

TEST(Base64, MatchesTheVectorsOfTheStandard) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foo"), "Zm9v");
    EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
    EXPECT_EQ(base64(std::string_view("\x00\xFF", 2)), "AP8=");
}

TEST(Base64, IsUndone) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) {
        EXPECT_EQ(from_base64(base64(bytes)), bytes);
        bytes += static_cast<char>(i);
    }
    EXPECT_EQ(from_base64("Zm8"), "fo") << "nothing fills it up";
    EXPECT_EQ(from_base64("Zm8="), "fo");
    for (const char* wrong : {"Z", "Zm9vY", "Zm 8=", "Zm-_", "=Zm8", "Zm\n8="})
        EXPECT_EQ(from_base64(wrong), std::nullopt) << wrong;
}

TEST(JsonText, WritesWhatReadsBackAsTheSameValue) {
    const std::string text = R"({"a":[1,-1,18446744073709551615,0.1,5.0,1e+300,true,null],"b\n\"":"\u0001ä😀","c":{}})";
    const auto value = boost::json::parse(text);
    EXPECT_EQ(json_text(value), text);
    EXPECT_EQ(boost::json::parse(json_text(value)), value);
}

TEST(JsonText, ReplacesBytesThatAreNotUtf8) {
    std::string out;
    append_json_string(out, "a\xFF\xED\xA0\x80z");
    EXPECT_EQ(out, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
    EXPECT_EQ(boost::json::parse(out).kind(), boost::json::kind::string);
}

TEST(NamesSecret, ByPartOfTheName) {
    EXPECT_TRUE(names_secret("API_TOKEN"));
    EXPECT_TRUE(names_secret("ssh_key"));
    EXPECT_FALSE(names_secret("timeout_seconds"));
}

TEST(EditDistance, CountsSwapsAsOne) {
    EXPECT_EQ(edit_distance("dependecies", "dependencies", 3), 1U);
    EXPECT_EQ(edit_distance("deplyo", "deploy", 3), 1U);
    EXPECT_EQ(edit_distance("EXECUTE", "execute", 3), 0U);
    EXPECT_EQ(edit_distance("abc", "xyz", 2), 3U);
    EXPECT_EQ(edit_distance(std::string(65, 'a'), "a", 3), 4U);
}

TEST(Closest, SuggestsOnlyWhatIsNear) {
    const std::array<std::string_view, 3> words{"deploy", "build", "dependencies"};
    EXPECT_EQ(closest("deplyo", words), "deploy");
    EXPECT_EQ(closest("bild", words), "build");
    EXPECT_EQ(closest("zzz", words), "");
    EXPECT_EQ(closest("", words), "");
}

TEST(Text, PatternsFitInBoundedTime) {
    EXPECT_TRUE(fits_pattern("", ""));
    EXPECT_TRUE(fits_pattern("", "*"));
    EXPECT_TRUE(fits_pattern("abc", "a?c"));
    EXPECT_TRUE(fits_pattern("abc", "*"));
    EXPECT_TRUE(fits_pattern("aXbXc", "a*b*c"));
    EXPECT_FALSE(fits_pattern("abc", "a?"));
    EXPECT_FALSE(fits_pattern("abc", "b*"));
    EXPECT_FALSE(fits_pattern(std::string(20'000, 'a'), std::string(20, '*') + "a*a*a*a*a*a*b"));
}

TEST(Text, TimesInUtc) {
    EXPECT_EQ(iso_timestamp(0), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(iso_timestamp(1'767'225'600'123), "2026-01-01T00:00:00.123000Z");
    EXPECT_EQ(iso_timestamp(951'868'799'999), "2000-02-29T23:59:59.999000Z");
}

TEST(IsoTimestamp, IsReadAsOthersWriteIt) {
    EXPECT_EQ(parse_iso_timestamp("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(parse_iso_timestamp("2026-01-01T00:00:00.123456789Z"), 1'767'225'600'000);
    EXPECT_EQ(parse_iso_timestamp("2000-02-29T23:59:59Z"), 951'868'799'000);
    for (const char* bad :
         {"", "Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z",
          "2026-01-01T00:00:0xZ", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00+01:00Z", "2026-01-01T00:00:00+01:00"})
        EXPECT_FALSE(parse_iso_timestamp(bad)) << bad;
}

}  // namespace
}  // namespace wa
