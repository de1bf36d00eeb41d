#include "core/codec/avro_frame.h"

#include <gtest/gtest.h>

#include <string>

#include "core/codec/avro_write.h"

namespace wa {
namespace {

using namespace std::string_view_literals;

TEST(AvroFrame, TellsAvroFromJsonFromPoison) {
    EXPECT_EQ(detect_format("\0\0\0\0\7x"sv), ValueFormat::kAvro);
    EXPECT_EQ(detect_format("\0\0\0\0\7"sv), ValueFormat::kAvro);
    EXPECT_EQ(detect_format("\0\0\0\0"sv), ValueFormat::kUnknown);
    EXPECT_EQ(detect_format("{}"), ValueFormat::kJson);
    EXPECT_EQ(detect_format("\xEF\xBB\xBF \t\r\n{\"a\":1}"), ValueFormat::kJson);
    EXPECT_EQ(detect_format(""), ValueFormat::kUnknown);
    EXPECT_EQ(detect_format("   "), ValueFormat::kUnknown);
    EXPECT_EQ(detect_format("[{}]"), ValueFormat::kUnknown);
    EXPECT_EQ(detect_format("\1{}"), ValueFormat::kUnknown);
    EXPECT_EQ(detect_format(" \xEF\xBB\xBF{}"), ValueFormat::kUnknown);
}

TEST(AvroFrame, IdsAreBigEndianAndUnsigned) {
    const auto framed = unframe("\0\xFE\x02\x03\x04rest"sv);
    ASSERT_TRUE(framed);
    EXPECT_EQ(framed->schema_id, 0xFE020304U);
    EXPECT_EQ(framed->body, "rest");
    std::string out;
    AvroWriter(out).header(0xFE020304U);
    EXPECT_EQ(out, "\0\xFE\x02\x03\x04"sv);
}

}  // namespace
}  // namespace wa
