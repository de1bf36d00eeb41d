#include "core/plan/document.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace wa {
namespace {

TEST(JsonDocument, KnowsWhereEverythingStands) {
    const std::string text = "{\n  \"a\": [1, {\"ä\\\"{\": true}],\n  \"b\": \"x\\\\\" }";
    const auto document = read_json_document(text);
    ASSERT_TRUE(document) << document.error().message;
    const auto& root = document->root.get_object();
    const auto& list = root.at("a").get_array();
    const auto marks = locate(*document, {{&document->root, false},
                                          {&root.at("a"), true},
                                          {&root.at("a"), false},
                                          {&list[0], false},
                                          {&list[1].get_object().at("ä\"{"), true},
                                          {&list[1].get_object().at("ä\"{"), false},
                                          {&root.at("b"), true},
                                          {&root.at("b"), false},
                                          {nullptr, false},
                                          {&list[0], true}});
    EXPECT_EQ(marks[0], (TextMark{1, 1}));
    EXPECT_EQ(marks[1], (TextMark{2, 3}));
    EXPECT_EQ(marks[2], (TextMark{2, 8}));
    EXPECT_EQ(marks[3], (TextMark{2, 9}));
    EXPECT_EQ(marks[4], (TextMark{2, 13}));
    EXPECT_EQ(marks[5], (TextMark{2, 21}));
    EXPECT_EQ(marks[6], (TextMark{3, 3}));
    EXPECT_EQ(marks[7], (TextMark{3, 8}));
    EXPECT_EQ(marks[8], (TextMark{0, 0}));
    EXPECT_EQ(marks[9], (TextMark{0, 0}));
}

TEST(JsonDocument, RefusesRepeatedKeysAnywhere) {
    TextMark where;
    const auto document = read_json_document("{\"a\":\n {\"b\":1,\"b\":2}}", {}, &where);
    ASSERT_FALSE(document);
    EXPECT_EQ(document.error().code, ErrorCode::kMalformed);
    EXPECT_EQ(where.line, 2U);
}

TEST(JsonDocument, IsBounded) {
    EXPECT_EQ(read_json_document("[1,2,3]", {.max_values = 3}).error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(read_json_document("[1,2,3]", {.max_bytes = 3}).error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(read_json_document("[[1]]", {.max_depth = 1}).error().code, ErrorCode::kMalformed);
}

}  // namespace
}  // namespace wa
