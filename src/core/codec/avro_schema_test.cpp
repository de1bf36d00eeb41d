#include "core/codec/avro_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "core/codec/avro_schemas.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"

namespace wa {
namespace {

using testing::HasSubstr;

std::string file_text(const std::string& path) {
    std::ifstream in(std::string(WA_SOURCE_DIR) + "/" + path);
    return {std::istreambuf_iterator<char>(in), {}};
}

AvroSchema good(std::string_view text) {
    auto schema = AvroSchema::parse(text);
    if (!schema) {
        ADD_FAILURE() << schema.error().message << "\n" << text;
        return *AvroSchema::parse("\"null\"");
    }
    return *schema;
}
void expect_refused(std::string_view text, std::string_view part, ErrorCode code = ErrorCode::kInvalidArgument) {
    const auto schema = AvroSchema::parse(text);
    ASSERT_FALSE(schema) << text;
    EXPECT_EQ(schema.error().code, code) << text;
    EXPECT_EQ(schema.error().retry, Retry::kNever);
    EXPECT_EQ(schema.error().fault, Fault::kInput);
    EXPECT_THAT(schema.error().describe(), HasSubstr(part)) << text;
}

TEST(AvroSchema, OurSchemasHaveTheContractsFingerprints) {
    EXPECT_EQ(fingerprint_text(good(ticket_schema_text()).fingerprint()), "a754342886ab3e49");
    EXPECT_EQ(fingerprint_text(good(result_schema_text()).fingerprint()), "0ed75a6fedb2ed21");
}

TEST(AvroSchema, TheTextsInTheBinaryAreTheFiles) {
    EXPECT_EQ(ticket_schema_text(), file_text("schemas/execution-ticket/execution-ticket.avsc"));
    EXPECT_EQ(result_schema_text(), file_text("schemas/execution-result/execution-result.avsc"));
}

TEST(AvroSchema, CanonicalFormsAndFingerprintsAreThoseOfFastavro) {
    const auto vectors = parse_json(file_text("tests/avro/vectors.json"), JsonLimits{8'000'000, 64, {}});
    ASSERT_TRUE(vectors);
    const auto& cases = vectors->at("fingerprints").as_array();
    ASSERT_GE(cases.size(), 10U);
    for (const auto& one : cases) {
        const AvroSchema schema = good(json_text(one.at("schema")));
        EXPECT_EQ(schema.canonical_form(), one.at("canonical").as_string());
        EXPECT_EQ(fingerprint_text(schema.fingerprint()), one.at("fingerprint").as_string());
        // The form of the form is the form.
        EXPECT_EQ(good(schema.canonical_form()).canonical_form(), schema.canonical_form());
    }
}

TEST(AvroSchema, NamesAreFoundInTheirNamespace) {
    const AvroSchema schema = good(R"({"type": "record", "name": "a.b.R", "fields": [
        {"name": "one", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "two", "type": "F"}, {"name": "three", "type": "a.b.F"},
        {"name": "bare", "type": {"type": "fixed", "name": "F", "namespace": "", "size": 3}}]})");
    const auto& fields = schema.type(schema.root()).fields;
    EXPECT_EQ(fields[0].type, fields[1].type);
    EXPECT_EQ(fields[0].type, fields[2].type);
    EXPECT_EQ(schema.type(fields[0].type).name, "a.b.F");
    EXPECT_EQ(schema.type(fields[3].type).name, "F");
}

TEST(AvroSchema, LogicalTypesAreIgnored) {
    EXPECT_EQ(good(R"({"type": "long", "logicalType": "timestamp-millis"})").fingerprint(),
              good("\"long\"").fingerprint());
    EXPECT_EQ(good(R"({"type": {"type": "bytes", "logicalType": "decimal", "precision": -4}})").fingerprint(),
              good("\"bytes\"").fingerprint());
}

TEST(AvroSchema, WhatIsNoSchemaIsRefused) {
    expect_refused("", "JSON", ErrorCode::kMalformed);
    expect_refused("{", "JSON", ErrorCode::kMalformed);
    expect_refused("5", "found 5");
    expect_refused("{}", "without \"type\"");
    expect_refused("\"strin\"", "unknown type \"strin\"");
    expect_refused("[]", "at least one branch");
    expect_refused(R"(["int", "int"])", "twice");
    expect_refused(R"([["int"]])", "may not hold a union");
    expect_refused(R"({"type": "array"})", "items");
    expect_refused(R"({"type": "map"})", "values");
    expect_refused(R"({"type": "record", "name": "R"})", "fields");
    expect_refused(R"({"type": "record", "fields": []})", "without a name");
    expect_refused(R"({"type": "record", "name": "9", "fields": []})", "not a name");
    expect_refused(R"({"type": "record", "name": "a..b", "fields": []})", "not a name");
    expect_refused(R"({"type": "record", "name": "int", "fields": []})", "primitive");
    expect_refused(R"({"type": "record", "name": "R", "fields": [{"name": "a"}]})", "no type");
    expect_refused(R"({"type": "record", "name": "R", "fields": [{"name": "a b", "type": "int"}]})", "proper name");
    expect_refused(R"({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"},
                       {"name": "a", "type": "int"}]})",
                   "there twice");
    expect_refused(R"([{"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 1}])",
                   "defined twice");
    expect_refused(R"({"type": "fixed", "name": "F"})", "size");
    expect_refused(R"({"type": "fixed", "name": "F", "size": -1})", "size");
    expect_refused(R"({"type": "fixed", "name": "F", "size": 99999999999})", "size");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": []})", "symbols");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["A", "A"]})", "there twice");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["a-b"]})", "must be a name");
    expect_refused(R"({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"})", "default");
}

TEST(AvroSchema, DefaultsMustFitTheirTypes) {
    const auto with = [](std::string_view type, std::string_view value) {
        return R"({"type": "record", "name": "R", "fields": [{"name": "a", "type": )" + std::string(type) +
               R"(, "default": )" + std::string(value) + "}]}";
    };
    for (const auto& [type, value] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"\"int\"", "2147483648"},
             {"\"int\"", "\"1\""},
             {"\"null\"", "0"},
             {"\"string\"", "null"},
             {"\"bytes\"", "\"€\""},
             {R"({"type": "fixed", "name": "F", "size": 2})", "\"abc\""},
             {R"({"type": "array", "items": "int"})", "[1, null]"},
             {R"({"type": "enum", "name": "E", "symbols": ["A"]})", "\"B\""},
             {R"(["null", "int"])", "\"x\""},
             {R"({"type": "record", "name": "S", "fields": [{"name": "x", "type": "int"}]})", "{}"},
         }) {
        expect_refused(with(type, value), "default");
    }
    good(with(R"(["null", "int"])", "null"));
    good(with(R"(["null", "int"])", "5"));
    good(with("\"bytes\"", R"("\u00ff")"));
}

TEST(AvroSchema, SizesAreBounded) {
    std::string deep = "\"int\"";
    for (int i = 0; i < 100; ++i)
        deep.insert(0, R"({"type": "array", "items": )").append("}");
    expect_refused(deep, "64", ErrorCode::kMalformed);

    std::string wide = "[";
    for (int i = 0; i < 5000; ++i) {
        wide += (i > 0 ? "," : "") + std::string(R"({"type":"fixed","name":"F)") + std::to_string(i) + R"(","size":1})";
    }
    expect_refused(wide + "]", "4096", ErrorCode::kLimitExceeded);
    expect_refused("\"" + std::string(300'000, 'x') + "\"", "bytes", ErrorCode::kLimitExceeded);
}

TEST(AvroSchema, ADefaultThatGrowsWithoutEndIsRefused) {
    // Each record's default holds two of the next: 2^30 values.
    std::string inner = R"({"type": "record", "name": "R30", "fields": [{"name": "v", "type": "int", "default": 1}]})";
    for (int i = 29; i >= 0; --i) {
        const std::string next = "R" + std::to_string(i + 1);
        inner = R"({"type": "record", "name": "R)" + std::to_string(i) + R"(", "fields": [{"name": "a", "type": )" +
                inner + R"(, "default": {}}, {"name": "b", "type": ")" + next + R"(", "default": {}}]})";
    }
    AvroSchemaLimits limits;
    limits.max_depth = 200;
    const auto schema = AvroSchema::parse(inner, limits);
    ASSERT_FALSE(schema);
    EXPECT_THAT(schema.error().message, HasSubstr("too large"));
}

TEST(AvroSchema, BytesAndTheirTextAreOneToOne) {
    std::string all;
    for (int i = 0; i < 256; ++i)
        all += static_cast<char>(i);
    EXPECT_EQ(text_as_bytes(bytes_as_text(all)), all);
    EXPECT_EQ(text_as_bytes("\u0100"), std::nullopt);
    EXPECT_EQ(text_as_bytes("\xFF"), std::nullopt);
    EXPECT_EQ(text_as_bytes(""), "");
}

}  // namespace
}  // namespace wa
