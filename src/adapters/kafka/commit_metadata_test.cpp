#include "adapters/kafka/commit_metadata.h"

#include <gtest/gtest.h>

namespace wa::kafka {
namespace {

TEST(CommitMetadata, SaysOfWhichTopicItIs) {
    const MarkedMetadata read = read_mark(mark_topic("1rAAAA", "uXr5/Q+wSv6a1jZQ0zJ0wA"));
    EXPECT_EQ(read.text, "1rAAAA");
    EXPECT_EQ(read.topic_id, "uXr5/Q+wSv6a1jZQ0zJ0wA");
    EXPECT_EQ(read_mark(mark_topic("", "id")).topic_id, "id");
    EXPECT_EQ(read_mark(mark_topic("", "id")).text, "");
}

TEST(CommitMetadata, WithoutAMarkItIsAsItWas) {
    EXPECT_EQ(mark_topic("1rAAAA", ""), "1rAAAA");
    EXPECT_EQ(mark_topic("1rAAAA", std::string(kTopicMarkBytes, 'x')), "1rAAAA");
    EXPECT_EQ(read_mark("1rAAAA").text, "1rAAAA");
    EXPECT_EQ(read_mark("1rAAAA").topic_id, "");
}

TEST(CommitMetadata, WhatOthersWroteIsLeftToTheEngine) {
    const std::string foreign = "written by somebody@example.org, who says " + std::string(100, 'x');
    EXPECT_EQ(read_mark(foreign).text, foreign);
    EXPECT_EQ(read_mark("@").text, "");
    EXPECT_EQ(read_mark("@").topic_id, "");
}

TEST(CommitMetadata, AMarkFitsWhatIsReservedForIt) {
    const std::string id(kTopicMarkBytes - 1, 'x');
    EXPECT_EQ(mark_topic("", id).size(), kTopicMarkBytes);
    EXPECT_EQ(read_mark(mark_topic("text", id)).topic_id, id);
}

}  // namespace
}  // namespace wa::kafka
