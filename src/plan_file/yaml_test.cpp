#include "plan_file/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <chrono>

#include "core/codec/json_write.h"

namespace wa {
namespace {

using testing::HasSubstr;

std::string read(std::string_view text) {
    const auto document = read_yaml_document(text);
    return document ? json_text(document->root) : "refused: " + document.error().message;
}
void expect_refused(std::string_view text, std::string_view part, TextMark at, ErrorCode code = ErrorCode::kMalformed,
                    const DocumentLimits& limits = {}) {
    TextMark where;
    const auto document = read_yaml_document(text, limits, &where);
    ASSERT_FALSE(document) << text.substr(0, 200);
    EXPECT_EQ(document.error().code, code) << document.error().message;
    EXPECT_THAT(document.error().message, HasSubstr(std::string(part)));
    EXPECT_EQ(where, at) << where.line << ":" << where.column << " " << document.error().message;
}

TEST(ReadYaml, GivesTheValueThatJsonWouldGive) {
    EXPECT_EQ(read("a: 1\nb: [x, 'y', {c: 2.5}]\nd:\n  - true\n  - ~\n  -\n"),
              R"({"a":1,"b":["x","y",{"c":2.5}],"d":[true,null,null]})");
    EXPECT_EQ(read(""), "null");
    EXPECT_EQ(read("# only a comment\n"), "null");
    EXPECT_EQ(read("---\na: 1\n...\n"), R"({"a":1})");
    EXPECT_EQ(read("\xEF\xBB\xBF"
                   "a: ä"),
              R"({"a":"ä"})");
    EXPECT_EQ(read("{\"a\": [1, \"b\"]}"), R"({"a":[1,"b"]})");
    EXPECT_EQ(read("a: |\n  x\n  y\nb: >-\n  p\n  q\n"), R"({"a":"x\ny\n","b":"p q"})");
}

TEST(ReadYaml, LosesNoSpelling) {
    for (const std::string_view word : {"1.10",       "0755", "1e3", "yes", "no", "on",    "off",
                                        "2024-01-01", "0x1F", "+5",  "-0",  ".5", "1_000", "12345678901234567890",
                                        "nan",        ".inf", "1.",  "007", "y",  "5m"}) {
        EXPECT_EQ(read("a: " + std::string(word)), "{\"a\":\"" + std::string(word) + "\"}");
    }
    EXPECT_EQ(read("a: [5, -3, 1.5, 9223372036854775807, 0]"), R"({"a":[5,-3,1.5,9223372036854775807,0]})");
    EXPECT_EQ(read("a: ['5', \"true\", !!str 5, ! 6, '']"), R"({"a":["5","true","5","6",""]})");
    EXPECT_EQ(read("1: a\ntrue: b"), R"({"1":"a","true":"b"})");
}

TEST(ReadYaml, KnowsWhereEverythingStands) {
    const auto document = read_yaml_document("plan: ä\ntickets:\n  a: { run: [x, \"y\"] }\n  b:\n    needs: c\n");
    ASSERT_TRUE(document);
    const auto& tickets = document->root.get_object().at("tickets").get_object();
    const auto& run = tickets.at("a").get_object().at("run");
    const auto& needs = tickets.at("b").get_object().at("needs");
    const auto marks = locate(
        *document,
        {{&tickets.at("a"), true}, {&run, false}, {&run.get_array()[1], false}, {&needs, true}, {&needs, false}});
    EXPECT_EQ(marks[0], (TextMark{3, 3}));
    EXPECT_EQ(marks[1], (TextMark{3, 13}));
    EXPECT_EQ(marks[2], (TextMark{3, 17}));
    EXPECT_EQ(marks[3], (TextMark{5, 5}));
    EXPECT_EQ(marks[4], (TextMark{5, 12}));
}

TEST(ReadYaml, MarksAgreeWithJsonMarks) {
    const std::string text = "{\"a\": [1, {\"b\": null}], \"c\": {\"d\": \"e\", \"f\": []},\n \"g\": -1.5}";
    const auto yaml = read_yaml_document(text);
    const auto json = read_json_document(text);
    ASSERT_TRUE(yaml && json);
    EXPECT_EQ(yaml->root, json->root);
    EXPECT_EQ(yaml->all_marks(), json->all_marks());
}

TEST(ReadYaml, CountsColumnsInCharacters) {
    const auto document = read_yaml_document("\xEF\xBB\xBF{ä: [ö, ü],\r\n 'é': x, c: , d: [,]}");
    ASSERT_TRUE(document) << document.error().message;
    EXPECT_EQ(
        document->marks,
        (std::vector<TextMark>{
            {1, 1}, {1, 2}, {1, 5}, {1, 6}, {1, 9}, {2, 2}, {2, 7}, {2, 10}, {2, 13}, {2, 15}, {2, 18}, {2, 19}}));
}

TEST(ReadYaml, RefusesWhatIsAmbiguousOrUnknown) {
    expect_refused("a: 1\nb: 2\na: 3\n", "\"a\" appears twice", {3, 1});
    expect_refused("null: 1", "a key is missing", {1, 1});
    expect_refused("{ä: 1, b: 1, b: 2}", "\"b\" appears twice", {1, 14});
    expect_refused("a: {b: 1, b: 2}", "\"b\" appears twice", {1, 11});
    expect_refused("a: 1\n---\nb: 2\n", "a second document", {2, 1});
    expect_refused("? [x]\n: 1\n", "a key must be a word", {1, 3});
    expect_refused("a: !!binary aGk=\n", "tag", {1, 4});
    expect_refused("a: !secret x\n", "tag", {1, 4});
    expect_refused("a: !!set {x}\n", "tag", {1, 4});
}

TEST(ReadYaml, RefusesBrokenText) {
    expect_refused("a: [1, 2\n", "not valid YAML", {2, 1});
    expect_refused("ä: b: c\n", "not valid YAML", {1, 5});
    for (const std::string_view open :
         {"a: \"x\n", "a: 'x\nb: 1\n", "a: 'it''s\n", "a: \"x\\\"\n", "a: &n !!str \"x\n", "a: \"\n"}) {
        expect_refused(open, "a quote is not closed", {1, 4});
    }
    expect_refused("a: \"x", "not valid YAML", {1, 6});
    expect_refused("\tx: 1\n", "not valid YAML", {1, 3});
    expect_refused("a: *nowhere\n", "not valid YAML", {1, 4});
    expect_refused("a: \xFF", "not UTF-8", {1, 4});
    expect_refused(std::string_view("a: \0", 4), "NUL", {1, 4});
    expect_refused(std::string_view("\xFF\xFE\x61\x00", 4), "not UTF-8", {1, 1});
}

TEST(ReadYaml, AliasesAreCopies) {
    EXPECT_EQ(read("x-e: &e {A: 1}\nb: *e\nc: [*e, *e]"), R"({"x-e":{"A":1},"b":{"A":1},"c":[{"A":1},{"A":1}]})");
    EXPECT_EQ(read("a: &x 5\nb: *x"), R"({"a":5,"b":5})");
    expect_refused("a: &x [*x]", "stands inside of what it names", {1, 8});
    expect_refused("a: &x 5\n? *x\n: 1", "cannot be a key", {2, 3});
}

TEST(ReadYaml, AliasBombEndsAtTheBound) {
    std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 12; ++i) {
        const std::string last = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
        for (int k = 0; k < 9; ++k)
            bomb += "," + last;
        bomb += "]\n";
    }
    const auto document = read_yaml_document(bomb, {.max_values = 100'000});
    ASSERT_FALSE(document);
    EXPECT_EQ(document.error().code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(document.error().message, HasSubstr("more than 100000 values"));
}

TEST(ReadYaml, AliasesOfLongTextsEndAtTheBound) {
    const std::string text(1000, 'x');
    for (const std::string& anchored : {"&a " + text, "&a [" + text + "]", "&a {" + text + ": 1}"}) {
        std::string bomb = "big: " + anchored + "\nlist:\n";
        for (int i = 0; i < 100; ++i)
            bomb += "- *a\n";
        const auto document = read_yaml_document(bomb, {.max_bytes = 50'000});
        ASSERT_FALSE(document);
        EXPECT_EQ(document.error().code, ErrorCode::kLimitExceeded);
        EXPECT_THAT(document.error().message, HasSubstr("larger than 50000 bytes"));
        EXPECT_TRUE(read_yaml_document(bomb, {.max_bytes = 200'000}));
    }
}

TEST(ReadYaml, AliasesCannotPileUpDepth) {
    std::string text = "a0: &a0 " + std::string(30, '[') + std::string(30, ']') + "\n";
    for (int i = 1; i < 200; ++i) {
        text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " " + std::string(30, '[') + "*a" +
                std::to_string(i - 1) + std::string(30, ']') + "\n";
    }
    const auto document = read_yaml_document(text);
    ASSERT_FALSE(document);
    EXPECT_THAT(document.error().message, HasSubstr("deeper than 64"));
}

TEST(ReadYaml, IsBounded) {
    expect_refused("a: 1234567", "at most 5 are allowed", {0, 0}, ErrorCode::kLimitExceeded, {.max_bytes = 5});
    expect_refused("[1, 2, 3]", "more than 3 values", {1, 8}, ErrorCode::kLimitExceeded, {.max_values = 3});
    expect_refused("[[[1]]]", "deeper than 2 levels", {1, 3}, ErrorCode::kMalformed, {.max_depth = 2});
    for (const std::size_t depth : {65U, 499U, 10'000U, 100'000U}) {
        EXPECT_FALSE(read_yaml_document(std::string(depth, '[') + std::string(depth, ']'))) << depth;
        EXPECT_FALSE(read_yaml_document(std::string(depth, '['))) << depth;
        EXPECT_FALSE(read_yaml_document(std::string(depth, '-') + " x: [")) << depth;
    }
    EXPECT_TRUE(read_yaml_document(std::string(64, '[') + std::string(64, ']')));
    std::string steps;
    for (std::size_t i = 0; i < 300; ++i)
        steps += std::string(i, ' ') + "a:\n";
    EXPECT_FALSE(read_yaml_document(steps));
}

TEST(ReadYaml, LargeTextsTakeLinearTime) {
    std::string flow = "[";
    for (int i = 0; i < 40'000; ++i)
        flow += "{ä, b: },";
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(read_yaml_document(flow + "]"));
    std::string block;
    for (int i = 0; i < 40'000; ++i)
        block += "- a:\n  b: &n" + std::to_string(i) + " [*n0, \"x\"]\n";
    block.replace(block.find("*n0"), 3, "zzz");
    EXPECT_TRUE(read_yaml_document(block));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace wa
