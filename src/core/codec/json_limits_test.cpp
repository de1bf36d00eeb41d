#include "core/codec/json_limits.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <cstdlib>
#include <limits>
#include <string>

namespace wa {
namespace {

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

Error error_of(std::string_view text, const JsonLimits& limits = {}) {
    auto parsed = parse_json(text, limits);
    if (parsed) {
        ADD_FAILURE() << "was accepted: " << text.substr(0, 100);
        return {};
    }
    return parsed.error();
}

TEST(ParseJson, ReadsOneValueWithBlanksAndByteOrderMark) {
    const auto value = parse_json("\xEF\xBB\xBF \n {\"a\": [1, 2.5, \"x\", null, true]} \n");
    ASSERT_TRUE(value) << value.error().message;
    EXPECT_EQ(value->at("a").at(1).as_double(), 2.5);
}

TEST(ParseJson, RefusesNumbersThatOverflow) {
    EXPECT_EQ(error_of("[1e400]").code, ErrorCode::kMalformed);
    EXPECT_NE(error_of("[-1e400]").message.find("out of range"), std::string::npos);
    EXPECT_TRUE(parse_json("[1e-400, 1e308]"));
}

TEST(ParseJson, NumbersAreExact) {
    for (const char* text : {"18446744076744073709551615", "2.2250738585072011e-308", "5e-324",
                             "1.7976931348623157e308", "0.1", "123456789012345678901234567890.5e-10", "-0.0"}) {
        const auto value = parse_json(text);
        ASSERT_TRUE(value) << text;
        EXPECT_EQ(value->as_double(), std::strtod(text, nullptr)) << text;
    }
    const std::string long_number = "0." + std::string(20'000, '3');
    EXPECT_EQ(parse_json(long_number)->as_double(), std::strtod(long_number.c_str(), nullptr));
    EXPECT_EQ(parse_json("1e-400")->as_double(), 0.0);
    EXPECT_EQ(parse_json("9223372036854775807")->as_int64(), std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(parse_json("18446744073709551615")->as_uint64(), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(error_of("1.7976931348623159e308").code, ErrorCode::kMalformed);
    EXPECT_EQ(error_of(std::string(400, '9')).code, ErrorCode::kMalformed);
}

TEST(ParseJson, RefusesWhatIsNotJson) {
    for (const std::string_view text :
         {"", " ", "{", "[1,]", "{\"a\":}", "NaN", "Infinity", "nul", "'x'", "// c\n1", "{a:1}", "01"}) {
        EXPECT_EQ(error_of(text).code, ErrorCode::kMalformed) << text;
    }
}

TEST(ParseJson, RefusesTextAfterTheValue) {
    EXPECT_NE(error_of("{} x").message.find("follows the end"), std::string::npos);
    EXPECT_EQ(error_of("1 2").code, ErrorCode::kMalformed);
}

TEST(ParseJson, RefusesInvalidUtf8AndLoneSurrogates) {
    for (const std::string_view text :
         {"\"\xFF\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800x\""}) {
        EXPECT_EQ(error_of(text).code, ErrorCode::kMalformed) << text;
    }
    EXPECT_TRUE(parse_json("\"\\ud83d\\ude00\""));
}

TEST(ParseJson, NestingIsBounded) {
    EXPECT_TRUE(parse_json(nested(64)));
    EXPECT_NE(error_of(nested(65)).message.find("deeper than 64"), std::string::npos);
    EXPECT_EQ(error_of(nested(1'000'000), JsonLimits{4'000'000, 64, {}}).code, ErrorCode::kMalformed);
}

TEST(ParseJson, BytesAreBounded) {
    EXPECT_TRUE(parse_json("[1,2]", JsonLimits{5, 64, {}}));
    EXPECT_EQ(error_of("[1,23]", JsonLimits{5, 64, {}}).code, ErrorCode::kLimitExceeded);
}

TEST(ParseJson, ValuesAreBounded) {
    JsonLimits limits;
    limits.max_values = 4;
    EXPECT_TRUE(parse_json("[1,{\"a\":2}]", limits));
    EXPECT_EQ(error_of("[1,{\"a\":2},3]", limits).code, ErrorCode::kLimitExceeded);
}

TEST(ParseJson, RepeatedKeysByRule) {
    const std::string top = R"({"a":1,"b":{"c":1,"c":2},"a":2})";
    const std::string inner = R"({"a":1,"b":{"c":1,"c":2}})";
    JsonLimits limits;
    EXPECT_EQ(parse_json(top, limits)->at("a").as_int64(), 2);
    limits.duplicates = DuplicateKeys::kRejectTop;
    EXPECT_NE(error_of(top, limits).message.find("\"a\" appears twice"), std::string::npos);
    EXPECT_TRUE(parse_json(inner, limits));
    limits.duplicates = DuplicateKeys::kRejectAll;
    EXPECT_NE(error_of(inner, limits).message.find("\"c\" appears twice"), std::string::npos);
    EXPECT_NE(error_of(R"([{"\u0061":1,"a":2}])", limits).message.find("\"a\" appears twice"), std::string::npos);
    EXPECT_TRUE(parse_json(R"([{"a":1},{"a":1,"b":{"a":2}}])", limits));
}

TEST(ParseJson, ErrorsTellLineAndColumn) {
    TextMark where;
    const auto parsed = parse_json("{\n  \"ä\": 1,\n  \"b\": x\n}", {}, {}, &where);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(where.line, 3U);
    EXPECT_EQ(where.column, 8U);
    EXPECT_NE(parsed.error().message.find("line 3, column 8"), std::string::npos) << parsed.error().message;
}

TEST(MarkAt, CountsCharactersNotBytes) {
    EXPECT_EQ(mark_at("äöü x", 7), (TextMark{1, 5}));
    EXPECT_EQ(mark_at("a\nbc", 4), (TextMark{2, 3}));
    EXPECT_EQ(mark_at("a", 99), (TextMark{1, 2}));
}

}  // namespace
}  // namespace wa
