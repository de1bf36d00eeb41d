#include "core/codec/avro_decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

#include "core/codec/avro_write.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"

namespace wa {
namespace {

using testing::HasSubstr;

std::string file_text(const std::string& path) {
    std::ifstream in(std::string(WA_SOURCE_DIR) + "/" + path);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string from_hex(std::string_view hex) {
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(digit(hex[i]) << 4U | digit(hex[i + 1]));
    return bytes;
}

Result<AvroResolver> resolver(std::string_view writer, std::string_view reader) {
    WA_TRY(const AvroSchema from, AvroSchema::parse(writer));
    WA_TRY(const AvroSchema to, AvroSchema::parse(reader));
    return AvroResolver::make(from, to);
}
Result<boost::json::value> decode(std::string_view schema, std::string_view bytes, const AvroLimits& limits = {}) {
    WA_TRY(const AvroResolver plan, resolver(schema, schema));
    return plan.decode(bytes, limits);
}
void expect_refused(std::string_view schema, std::string_view bytes, std::string_view part) {
    const auto value = decode(schema, bytes);
    ASSERT_FALSE(value) << schema << " gave " << boost::json::serialize(*value);
    EXPECT_EQ(value.error().code, ErrorCode::kMalformed);
    EXPECT_EQ(value.error().retry, Retry::kNever);
    EXPECT_EQ(value.error().fault, Fault::kInput);
    EXPECT_THAT(value.error().message, HasSubstr(part)) << schema;
}
std::string long_bytes(std::int64_t number) {
    std::string out;
    AvroWriter(out).integer(number);
    return out;
}

// fastavro writes whole doubles as "5.0" in JSON and we give doubles: equal means the same number of the same kind, but
// a double from JSON text may be an integer.
bool same(const boost::json::value& a, const boost::json::value& b) {
    if (a.is_number() && b.is_number())
        return a.to_number<double>() == b.to_number<double>() && a.is_double() == b.is_double();
    if (a.is_array() && b.is_array()) {
        return std::ranges::equal(a.get_array(), b.get_array(), same);
    }
    if (a.is_object() && b.is_object()) {
        if (a.get_object().size() != b.get_object().size()) return false;
        return std::ranges::all_of(a.get_object(), [&](const auto& member) {
            const auto* other = b.get_object().if_contains(member.key());
            return other != nullptr && same(member.value(), *other);
        });
    }
    return a == b;
}

const boost::json::value& vectors() {
    static const auto kVectors =
        parse_json(file_text("tests/avro/vectors.json"), JsonLimits{8'000'000, 64, {}}).value();
    return kVectors;
}

TEST(AvroDecode, ReadsWhatFastavroWroteAsFastavroDoes) {
    std::size_t count = 0;
    for (const auto& pair : vectors().at("resolutions").as_array()) {
        const std::string writer = json_text(pair.at("writer"));
        const std::string reader = json_text(pair.at("reader"));
        const auto plan = resolver(writer, reader);
        ASSERT_TRUE(plan) << plan.error().describe() << "\n" << writer << "\n" << reader;
        for (const auto& one : pair.at("cases").as_array()) {
            const auto value = plan->decode(from_hex(one.at("hex").as_string()));
            ASSERT_TRUE(value) << value.error().message << "\n" << writer << "\n" << reader;
            EXPECT_TRUE(same(*value, one.at("value"))) << boost::json::serialize(*value) << "\n"
                                                       << boost::json::serialize(one.at("value")) << "\n"
                                                       << writer;
            ++count;
        }
    }
    EXPECT_GE(count, 80U);
}

TEST(AvroDecode, NoPrefixOfAValueIsAValue) {
    for (const auto& pair : vectors().at("resolutions").as_array()) {
        const auto plan = resolver(json_text(pair.at("writer")), json_text(pair.at("reader")));
        ASSERT_TRUE(plan);
        for (const auto& one : pair.at("cases").as_array()) {
            const std::string bytes = from_hex(one.at("hex").as_string());
            for (std::size_t length = 0; length < bytes.size(); ++length)
                EXPECT_FALSE(plan->decode(std::string_view(bytes).substr(0, length)));
            EXPECT_FALSE(plan->decode(bytes + '\0')) << "something follows";
        }
    }
}

TEST(AvroDecode, BlocksWithASizeInBytesAreRead) {
    const std::string array =
        long_bytes(-2) + long_bytes(2) + long_bytes(7) + long_bytes(8) + long_bytes(1) + long_bytes(9) + long_bytes(0);
    const auto value = decode(R"({"type": "array", "items": "int"})", array);
    ASSERT_TRUE(value) << value.error().message;
    EXPECT_EQ(*value, boost::json::value({7, 8, 9}));

    const std::string map = long_bytes(-1) + long_bytes(4) +
                            "\x02"
                            "a"
                            "\x02"
                            "b" +
                            long_bytes(0);
    const auto table = decode(R"({"type": "map", "values": "string"})", map);
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->at("a"), "b");

    expect_refused(R"({"type": "array", "items": "int"})", long_bytes(-1) + long_bytes(-1) + long_bytes(1) + '\0',
                   "block");
    expect_refused(R"({"type": "array", "items": "int"})", long_bytes(-1) + long_bytes(1000) + long_bytes(1) + '\0',
                   "block");
    expect_refused(R"({"type": "array", "items": "int"})",
                   long_bytes(std::numeric_limits<std::int64_t>::min()) + long_bytes(1) + long_bytes(1), "items");
}

TEST(AvroDecode, ARepeatedKeyKeepsItsLastValue) {
    const auto value = decode(R"({"type": "map", "values": ["null", "int"]})",
                              long_bytes(2) + "\x02k" + long_bytes(1) + long_bytes(5) + "\x02k" + long_bytes(0) + '\0');
    ASSERT_TRUE(value);
    EXPECT_EQ(value->as_object().size(), 1U);
    EXPECT_TRUE(value->at("k").is_null());
}

TEST(AvroDecode, LengthsBeyondTheDataAreRefused) {
    expect_refused("\"string\"", long_bytes(1LL << 30) + "x", "larger than what is left");
    expect_refused("\"bytes\"", long_bytes(std::numeric_limits<std::int64_t>::max()) + "x", "larger than what is left");
    expect_refused("\"string\"", long_bytes(-1), "negative");
    expect_refused("\"bytes\"", std::string("\x07"), "negative");  // the byte that avro-c allocates 2^64 for
    expect_refused(R"({"type": "array", "items": "string"})", long_bytes(1LL << 30) + "x", "items");
    expect_refused(R"({"type": "map", "values": "string"})", long_bytes(1LL << 62) + "x", "items");
    expect_refused(R"({"type": "fixed", "name": "F", "size": 1000000})", "abc", "ends too early");
}

TEST(AvroDecode, NumbersMustFitTheirType) {
    expect_refused("\"int\"", long_bytes(1LL << 31), "32 bits");
    expect_refused("\"int\"", long_bytes(-(1LL << 31) - 1), "32 bits");
    expect_refused("\"long\"", std::string(10, '\xFF') + '\1', "ten bytes");
    expect_refused("\"long\"", std::string(9, '\xFF') + '\2', "64 bits");
    expect_refused("\"long\"", std::string(3, '\xFF'), "too early");
    expect_refused("\"boolean\"", "\2", "boolean");
    const auto padded = decode("\"long\"", std::string("\x84\x80\x00", 3));  // 2, with zeros in front
    ASSERT_TRUE(padded);
    EXPECT_EQ(*padded, 2);
}

TEST(AvroDecode, FloatsMayBeInfinite) {
    const auto value = decode("\"float\"", std::string("\0\0\x80\x7f", 4));
    ASSERT_TRUE(value);
    EXPECT_TRUE(std::isinf(value->as_double()));
}

TEST(AvroDecode, IndexesMustBeInRange) {
    expect_refused(R"(["null", "int"])", long_bytes(2), "union");
    expect_refused(R"(["null", "int"])", long_bytes(-1), "union");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["A"]})", long_bytes(1), "symbol");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["A"]})", long_bytes(-1), "symbol");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["A"]})", long_bytes(1LL << 40), "symbol");
}

TEST(AvroDecode, TextsMustBeUtf8) {
    for (const std::string_view bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "12345678\xE2\x82"}) {
        std::string bytes;
        AvroWriter(bytes).bytes(bad);
        expect_refused("\"string\"", bytes, "UTF-8");
        std::string key = long_bytes(1) + bytes + long_bytes(0) + long_bytes(0);
        expect_refused(R"({"type": "map", "values": "int"})", key, "UTF-8");
    }
}

TEST(AvroDecode, ErrorsNameThePlace) {
    expect_refused(R"({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type":
        {"type": "record", "name": "S", "fields": [{"name": "c", "type": "boolean"}]}}]})",
                   long_bytes(1) + "\5", "at byte 2 in b.c: ");
}

TEST(AvroDecode, ItemsOfNoBytesCannotMultiply) {
    constexpr std::string_view kNulls = R"({"type": "array", "items": "null"})";
    EXPECT_TRUE(decode(kNulls, long_bytes(500) + '\0'));
    expect_refused(kNulls, long_bytes(1LL << 40) + '\0', "items");
    expect_refused(kNulls, long_bytes(100'000) + '\0', "items");
    constexpr std::string_view kEmpty = R"({"type": "array", "items": {"type": "record", "name": "E", "fields": []}})";
    expect_refused(kEmpty, long_bytes(1'000'000) + '\0', "items");
    // Blocks, one after the other, share the allowance.
    std::string many;
    for (int i = 0; i < 1000; ++i)
        many += long_bytes(1000);
    expect_refused(kNulls, many + '\0', "items");
}

TEST(AvroDecode, ManyNullFieldsAreBoundedToo) {
    std::string schema = R"({"type": "array", "items": {"type": "record", "name": "R", "fields": [)";
    for (int i = 0; i < 1000; ++i)
        schema += (i > 0 ? "," : "") + std::string(R"({"name": "n)") + std::to_string(i) + R"(", "type": "null"})";
    expect_refused(schema + "]}}", long_bytes(1000) + '\0', "items");
}

TEST(AvroDecode, DepthIsBounded) {
    constexpr std::string_view kTree =
        R"({"type": "record", "name": "T", "fields": [{"name": "kids", "type": {"type": "array", "items": "T"}}]})";
    const auto nested = [](int levels) {  // each level is a record and an array
        std::string bytes;
        for (int i = 1; i < levels; ++i)
            bytes += '\2';
        return bytes + std::string(static_cast<std::size_t>(levels), '\0');
    };
    EXPECT_TRUE(decode(kTree, nested(32)));
    expect_refused(kTree, nested(33), "deep");
    expect_refused(kTree, std::string(1'000'000, '\2'), "deep");
    // A record that holds itself has no end.
    expect_refused(R"({"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]})", "", "deep");
    // Also where nobody wants the values.
    const auto skipping =
        resolver(R"({"type": "record", "name": "O", "fields": [{"name": "t", "type": )" + std::string(kTree) + "}]}",
                 R"({"type": "record", "name": "O", "fields": []})");
    ASSERT_TRUE(skipping);
    EXPECT_FALSE(skipping->decode(std::string(1'000'000, '\2')));
    EXPECT_TRUE(skipping->decode(nested(10)));
}

TEST(AvroDecode, MessagesAreBounded) {
    AvroLimits limits;
    limits.max_bytes = 3;
    const auto value = decode("\"string\"",
                              "\x06"
                              "abc",
                              limits);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().code, ErrorCode::kLimitExceeded);
}

void expect_apart(std::string_view writer, std::string_view reader, std::string_view part) {
    const auto plan = resolver(writer, reader);
    ASSERT_FALSE(plan) << writer << " as " << reader;
    EXPECT_EQ(plan.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(plan.error().message, HasSubstr(part));
}

TEST(AvroResolution, SchemasThatDoNotFitAreRefusedAtOnce) {
    expect_apart("\"long\"", "\"int\"", "long is no int");
    expect_apart("\"double\"", "\"float\"", "double is no float");
    expect_apart("\"string\"", "\"int\"", "string is no int");
    expect_apart("\"int\"", R"(["null", "string"])", "no branch");
    expect_apart(R"(["null", "string"])", "\"int\"", "no branch");
    expect_apart(R"({"type": "fixed", "name": "F", "size": 1})", R"({"type": "fixed", "name": "F", "size": 2})",
                 "another size");
    expect_apart(R"({"type": "fixed", "name": "F", "size": 1})", R"({"type": "fixed", "name": "G", "size": 1})",
                 "F is no G");
    expect_apart(R"({"type": "array", "items": "string"})", R"({"type": "array", "items": "int"})", "items: ");
    expect_apart(R"({"type": "record", "name": "R", "fields": []})",
                 R"({"type": "record", "name": "R", "fields": [{"name": "needed", "type": "int"}]})",
                 "needed is missing and has no default");
    expect_apart(R"({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})",
                 R"({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})", "a: string is no int");
}

TEST(AvroResolution, ABranchThatDoesNotFitIsAnErrorOfItsValues) {
    const auto plan = resolver(R"(["null", "int", "string"])", R"(["null", "long"])");
    ASSERT_TRUE(plan);
    EXPECT_EQ(*plan->decode(long_bytes(1) + long_bytes(5)), 5);
    const auto value = plan->decode(long_bytes(2) + "\2x");
    ASSERT_FALSE(value);
    EXPECT_THAT(value.error().message, HasSubstr("string fits no branch"));
}

TEST(AvroResolution, ASymbolThatTheReaderLacksIsAnErrorOfItsValues) {
    const auto plan = resolver(R"({"type": "enum", "name": "E", "symbols": ["A", "B"]})",
                               R"({"type": "enum", "name": "E", "symbols": ["A"]})");
    ASSERT_TRUE(plan);
    EXPECT_EQ(*plan->decode(long_bytes(0)), "A");
    const auto value = plan->decode(long_bytes(1));
    ASSERT_FALSE(value);
    EXPECT_THAT(value.error().message, HasSubstr("symbol B"));
}

TEST(AvroResolution, FieldsThatNobodyWantsAreCheckedAllTheSame) {
    const auto plan = resolver(R"({"type": "record", "name": "R", "fields": [{"name": "gone", "type": "string"},
                                   {"name": "kept", "type": "int"}]})",
                               R"({"type": "record", "name": "R", "fields": [{"name": "kept", "type": "int"}]})");
    ASSERT_TRUE(plan);
    const auto value = plan->decode("\2x" + long_bytes(4));
    ASSERT_TRUE(value);
    EXPECT_EQ(boost::json::serialize(*value), R"({"kept":4})");
    EXPECT_FALSE(plan->decode(long_bytes(1LL << 33) + "x" + long_bytes(4)));
    EXPECT_FALSE(plan->decode("\2\xFF" + long_bytes(4)));
}

TEST(AvroResolution, ADefaultOfARecordIsFilledUp) {
    const auto plan = resolver(R"({"type": "record", "name": "R", "fields": []})",
                               R"({"type": "record", "name": "R", "fields": [{"name": "deep", "default": {"x": 9},
                                   "type": {"type": "record", "name": "D", "fields": [{"name": "x", "type": "int"},
                                   {"name": "y", "type": "string", "default": "own"}]}}]})");
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(boost::json::serialize(*plan->decode("")), R"({"deep":{"x":9,"y":"own"}})");
}

TEST(AvroResolution, NamespacesAndAliasesDoNotKeepRecordsApart) {
    EXPECT_TRUE(resolver(R"({"type": "record", "name": "a.R", "fields": []})",
                         R"({"type": "record", "name": "b.R", "fields": []})"));
    EXPECT_TRUE(resolver(R"({"type": "record", "name": "a.Old", "fields": []})",
                         R"({"type": "record", "name": "b.New", "aliases": ["a.Old"], "fields": []})"));
    EXPECT_FALSE(resolver(R"({"type": "record", "name": "a.Old", "fields": []})",
                          R"({"type": "record", "name": "b.New", "fields": []})"));
}

TEST(AvroResolution, TwoRecursiveSchemasThatDifferDeepInsideEnd) {
    const auto node = [](std::string_view value) {
        return R"({"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]},
                   {"name": "v", "type": )" +
               std::string(value) + "}]}";
    };
    EXPECT_TRUE(resolver(node("\"int\""), node("\"long\"")));
    const auto apart = resolver(node("\"string\""), node("\"long\""));
    EXPECT_FALSE(apart);
}

TEST(AvroResolution, SchemasThatMultiplyAreRefusedOrEnd) {
    // Unions of unions' worth of records: the product of both sides is bounded.
    std::string text = "[";
    for (int i = 0; i < 600; ++i) {
        text += (i > 0 ? "," : "") + std::string(R"({"type":"record","name":"n)") + std::to_string(i) +
                R"(.R","fields":[{"name":"f","type":"int","default":0}]})";
    }
    text += "]";
    const auto plan = resolver(text, text);
    ASSERT_TRUE(plan) << plan.error().message;  // exact names first, so no product is needed
    EXPECT_EQ(boost::json::serialize(*plan->decode(long_bytes(599) + long_bytes(3))), R"({"f":3})");
}

}  // namespace
}  // namespace wa
