#include "adapters/kafka/letter_index.h"

#include <gtest/gtest.h>

namespace wa::kafka {
namespace {

DeadLetterEntry letter(std::string ticket_id, EpochMillis at) {
    DeadLetterEntry entry;
    entry.ticket_id = std::move(ticket_id);
    entry.at = at;
    return entry;
}

TEST(LetterKey, GoesThereAndBack) {
    EXPECT_EQ(letter_key({3, 17}), "3-17");
    EXPECT_EQ(parse_letter_key("3-17"), (LetterPlace{3, 17}));
    for (const char* text :
         {"", "3", "-", "3-", "-3", "3-x", "3-1-1", "+3-1", " 3-1", "3--1", "99999999999-1", "1-99999999999999999999"})
        EXPECT_FALSE(parse_letter_key(text)) << text;
}

TEST(LetterIndex, ShowsTheNewestFirstByPages) {
    LetterIndex index;
    for (Offset offset = 0; offset < 5; ++offset)
        index.add({offset % 2 == 0 ? 0 : 1, offset}, letter("t" + std::to_string(offset), 100 + offset));
    const DeadLetterList page = index.page(1, 2);
    EXPECT_EQ(page.total, 5);
    EXPECT_TRUE(page.complete);
    ASSERT_EQ(page.letters.size(), 2U);
    EXPECT_EQ(page.letters[0].ticket_id, "t3");
    EXPECT_EQ(page.letters[0].key, "1-3");
    EXPECT_EQ(page.letters[1].ticket_id, "t2");
    EXPECT_TRUE(index.page(5, 2).letters.empty());
}

TEST(LetterIndex, KeepsTheNewestOnly) {
    LetterIndex index(3);
    for (Offset offset = 0; offset < 10; ++offset)
        index.add({0, offset}, letter("t", offset));
    const DeadLetterList all = index.page(0, 100);
    EXPECT_EQ(all.total, 3);
    EXPECT_FALSE(all.complete);
    EXPECT_EQ(all.letters.back().key, "0-7");
    EXPECT_EQ(index.find({0, 6}), nullptr);
}

TEST(LetterIndex, TheFirstWordAboutALetterCounts) {
    LetterIndex index;
    index.add({0, 1}, letter("t", 1));
    index.settle({0, 1}, LetterState::kReplayed, 5, "cli@a");
    index.settle({0, 1}, LetterState::kDiscarded, 6, "cli@b");
    index.settle({0, 9}, LetterState::kDiscarded, 6, "cli@b");
    ASSERT_NE(index.find({0, 1}), nullptr);
    EXPECT_EQ(index.find({0, 1})->state, LetterState::kReplayed);
    EXPECT_EQ(index.find({0, 1})->settled_by, "cli@a");
    EXPECT_EQ(index.page(0, 9).total, 1);
}

TEST(LetterIndex, CountsTheReplaysOfATicketThatDiedAgain) {
    LetterIndex index;
    index.add({0, 1}, letter("t", 1));
    index.settle({0, 1}, LetterState::kReplayed, 5, "");
    index.add({1, 4}, letter("t", 9));
    EXPECT_EQ(index.page(0, 1).letters[0].replays, 1);
    EXPECT_EQ(index.page(0, 1).letters[0].state, LetterState::kOpen);
    index.forget_below(0, 2);  // its story is gone from the topic
    EXPECT_EQ(index.page(0, 1).letters[0].replays, 0);
    EXPECT_EQ(index.page(0, 9).total, 1);
}

TEST(LetterIndex, ReadingALetterAgainChangesNothing) {
    LetterIndex index;
    index.add({0, 1}, letter("t", 1));
    index.settle({0, 1}, LetterState::kDiscarded, 5, "");
    index.add({0, 1}, letter("t", 1));
    EXPECT_EQ(index.find({0, 1})->state, LetterState::kDiscarded);
    EXPECT_EQ(index.page(0, 9).total, 1);
}

}  // namespace
}  // namespace wa::kafka
