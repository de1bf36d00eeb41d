#include "adapters/ticket_service/running_told.h"

#include <gtest/gtest.h>

namespace wa::ticket_service {
namespace {

using std::chrono::seconds;

StatusUpdate update(std::string id, TicketStatus status) {
    return {std::move(id), status, {}, 0};
}
EndingSeen ending(std::string id, EpochMillis at, bool completed = true) {
    return {std::move(id), completed, at, {}};
}
MonoTime at(int second) {
    return MonoTime(seconds(second));
}

TEST(RunningTold, AnEndingOfSomebodyElseIsSaidOnceMore) {
    RunningTold told;
    told.told(update("a", TicketStatus::kRunning), 1000);
    told.seen(ending("a", 5000), at(10));
    EXPECT_TRUE(told.due(at(11)).empty());
    const auto wrong = told.due(at(12));
    ASSERT_EQ(wrong.size(), 1U);
    EXPECT_EQ(wrong[0].ticket_id, "a");
    EXPECT_TRUE(wrong[0].completed);
    EXPECT_TRUE(told.due(at(20)).empty()) << "once";
    EXPECT_EQ(told.size(), 0U);
}

TEST(RunningTold, AnOwnEndingIsNotSaidTwice) {
    RunningTold told;
    told.told(update("a", TicketStatus::kRunning), 1000);
    told.seen(ending("a", 2000), at(10));
    told.told(update("a", TicketStatus::kCompleted), 2001);
    EXPECT_TRUE(told.due(at(60)).empty());
}

TEST(RunningTold, WhatNobodyCalledRunningIsLeftAlone) {
    RunningTold told;
    told.seen(ending("a", 2000), at(10));
    EXPECT_TRUE(told.due(at(60)).empty());
}

TEST(RunningTold, AnEndingFromBeforeIsOfAnEarlierRecord) {
    RunningTold told;
    told.told(update("a", TicketStatus::kRunning), 3000);
    told.seen(ending("a", 2000, false), at(10));
    EXPECT_TRUE(told.due(at(60)).empty());
    EXPECT_EQ(told.size(), 1U);
}

TEST(RunningTold, OneThatRunsAnewMeanwhileIsLeftAlone) {
    RunningTold told;
    told.told(update("a", TicketStatus::kRunning), 1000);
    told.seen(ending("a", 2000, false), at(10));
    told.told(update("a", TicketStatus::kRunning), 3000);
    EXPECT_TRUE(told.due(at(60)).empty());
    EXPECT_EQ(told.size(), 1U);
}

TEST(RunningTold, ForgetsTheOldest) {
    RunningTold told(3);
    for (int i = 0; i < 1000; ++i)
        told.told(update("again", TicketStatus::kRunning), i);
    for (int i = 0; i < 5; ++i)
        told.told(update(std::to_string(i), TicketStatus::kRunning), 2000 + i);
    EXPECT_EQ(told.size(), 3U);
    told.seen(ending("0", 9000), at(1));
    told.seen(ending("4", 9000), at(1));
    const auto wrong = told.due(at(10));
    ASSERT_EQ(wrong.size(), 1U);
    EXPECT_EQ(wrong[0].ticket_id, "4");
}

}  // namespace
}  // namespace wa::ticket_service
