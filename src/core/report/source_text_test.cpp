#include "core/report/source_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace wa {
namespace {

using testing::HasSubstr;

std::string decoded(std::string bytes) {
    auto text = source_text(std::move(bytes), {});
    EXPECT_TRUE(text) << text.error().describe();
    return text.value_or("");
}

ErrorCode refused(std::string bytes) {
    const auto text = source_text(std::move(bytes), {});
    EXPECT_FALSE(text);
    return text ? ErrorCode::kInternal : text.error().code;
}

TEST(SourceText, Utf8StaysAsItIs) {
    EXPECT_EQ(decoded("<a>é\xFF</a>"), "<a>é\xFF</a>");
    EXPECT_EQ(decoded("\xEF\xBB\xBF<a/>"), "   <a/>");
    for (const char* name : {"UTF-8", "utf8", "US-ASCII", "utf-16"}) {
        const std::string text = "<?xml version='1.0' encoding='" + std::string(name) + "'?><a>é</a>";
        EXPECT_EQ(decoded(text), text);
    }
}

TEST(SourceText, Utf16) {
    EXPECT_EQ(decoded(std::string("\xFF\xFE<\0\xE9\0\xAC\x20", 8)), "<é€");
    EXPECT_EQ(decoded(std::string("\xFE\xFF\0<\xD8\x34\xDD\x1E", 8)), "<𝄞");
    EXPECT_EQ(decoded(std::string("<\0a\0", 4)), "<a");
    EXPECT_EQ(decoded(std::string("\0<\0a", 4)), "<a");
    // Halves of pairs.
    EXPECT_EQ(decoded(std::string("\xFF\xFE<\0\x34\xD8", 6)), "<\xEF\xBF\xBD");
    EXPECT_EQ(decoded(std::string("\xFF\xFE<\0\x1E\xDD<\0", 8)), "<\xEF\xBF\xBD<");
    EXPECT_EQ(refused(std::string("\xFF\xFE<\0a", 5)), ErrorCode::kMalformed);
}

TEST(SourceText, Latin1WhenItSaysSo) {
    EXPECT_THAT(decoded("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xE9</a>"), HasSubstr("<a>é</a>"));
}

TEST(SourceText, OtherEncodingsAreRefused) {
    EXPECT_EQ(refused("<?xml version='1.0' encoding='windows-1252'?><a/>"), ErrorCode::kUnsupported);
    EXPECT_EQ(refused("<?xml version='1.0' encoding='\xFF\x01'?><a/>"), ErrorCode::kUnsupported);
    EXPECT_EQ(refused(std::string("\xFF\xFE\0\0<\0\0\0", 8)), ErrorCode::kUnsupported);
    EXPECT_EQ(refused(std::string("\0\0\0<", 4)), ErrorCode::kUnsupported);
}

TEST(SourceText, EmptyOrBinaryIsMalformed) {
    EXPECT_EQ(refused(""), ErrorCode::kMalformed);
    EXPECT_EQ(refused("\xEF\xBB\xBF \n"), ErrorCode::kMalformed);
    EXPECT_EQ(refused("\xFF\xFE"), ErrorCode::kMalformed);
    EXPECT_EQ(refused(std::string("<a>\0</a>", 8)), ErrorCode::kMalformed);
    EXPECT_EQ(refused(std::string("\xFF\xFE<\0\0\0", 6)), ErrorCode::kMalformed);
}

}  // namespace
}  // namespace wa
