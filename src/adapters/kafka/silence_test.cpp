#include "adapters/kafka/silence.h"

#include <gtest/gtest.h>

namespace wa::kafka {
namespace {

using std::chrono::seconds;

MonoTime at(int second) {
    return MonoTime(seconds(second));
}

TEST(Silence, ToleratesFailuresForAWhile) {
    Silence silence;
    EXPECT_FALSE(silence.failed(at(100), at(110)));
    EXPECT_FALSE(silence.failed(at(110), at(114)));
    EXPECT_TRUE(silence.failed(at(114), at(115)));
}

TEST(Silence, AnAnswerInBetweenBeginsAnew) {
    Silence silence;
    EXPECT_FALSE(silence.failed(at(100), at(110)));
    silence.answered();
    EXPECT_FALSE(silence.failed(at(111), at(121)));
    EXPECT_TRUE(silence.failed(at(121), at(131)));
}

TEST(Silence, GivesEachNewClientTwiceTheTimeUpToFiveMinutes) {
    Silence silence;
    int now = 0;
    std::vector<int> waits;
    for (int made = 0; made < 7; ++made) {
        const int before = now;
        do
            ++now;
        while (!silence.failed(at(now - 1), at(now)));
        waits.push_back(now - before);
    }
    EXPECT_EQ(waits, (std::vector<int>{15, 30, 60, 120, 240, 300, 300}));
    silence.answered();
    EXPECT_FALSE(silence.failed(at(now), at(now + 14)));
    EXPECT_TRUE(silence.failed(at(now + 14), at(now + 15)));
}

}  // namespace
}  // namespace wa::kafka
