#include <gtest/gtest.h>

#include "core/retry/backoff.h"
#include "core/retry/circuit_breaker.h"
#include "core/retry/retry_budget.h"

namespace wa {
namespace {

using std::chrono::seconds;

TEST(Backoff, FullJitterStaysBelowTheDoubledAndCappedCeiling) {
    SeededRandom random(1);
    const BackoffPolicy policy{seconds(2), seconds(60)};
    const std::int64_t ceilings[] = {2, 4, 8, 16, 32, 60, 60, 60};
    for (std::int32_t failures = 1; failures <= 8; ++failures) {
        Duration longest{};
        for (int i = 0; i < 2000; ++i) {
            const Duration wait = next_backoff(policy, failures, std::nullopt, random);
            ASSERT_GE(wait, Duration::zero());
            ASSERT_LE(wait, seconds(ceilings[failures - 1]));
            longest = std::max(longest, wait);
        }
        EXPECT_GT(longest, seconds(ceilings[failures - 1]) * 9 / 10) << "the whole range is used";
    }
}

TEST(Backoff, AHintIsALowerBound) {
    SeededRandom random(1);
    for (int i = 0; i < 100; ++i)
        EXPECT_GE(next_backoff({seconds(2), seconds(60)}, 1, seconds(30), random), Duration(seconds(30)));
}

TEST(CircuitBreaker, OpensAfterItsThresholdAndTriesOneAtATime) {
    CircuitBreaker breaker(3, seconds(60));
    MonoTime now(seconds(1));
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(breaker.try_acquire(now));
        breaker.failure(now);
    }
    EXPECT_EQ(breaker.state(), CircuitBreaker::State::kOpen);
    EXPECT_FALSE(breaker.try_acquire(now + seconds(59)));
    now += seconds(60);
    EXPECT_TRUE(breaker.try_acquire(now));
    EXPECT_FALSE(breaker.try_acquire(now)) << "one trial at a time";
    breaker.failure(now);
    EXPECT_FALSE(breaker.try_acquire(now + seconds(59)));
    now += seconds(60);
    EXPECT_TRUE(breaker.try_acquire(now));
    breaker.success();
    EXPECT_TRUE(breaker.try_acquire(now));
    EXPECT_TRUE(breaker.try_acquire(now));
}

TEST(CircuitBreaker, AnAbandonedTrialLetsTheNextOneTry) {
    CircuitBreaker breaker(1, seconds(10));
    const MonoTime now(seconds(100));
    breaker.failure(now);
    EXPECT_TRUE(breaker.try_acquire(now + seconds(10)));
    breaker.abandoned();
    EXPECT_TRUE(breaker.try_acquire(now + seconds(10)));
}

TEST(RetryBudget, CallsAndTimeFillItAndRepeatsEmptyIt) {
    RetryBudget budget({.most = 3, .per_call = 0.5, .per_second = 0.1});
    MonoTime now(seconds(100));
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(budget.try_take(now));
    EXPECT_FALSE(budget.try_take(now));
    budget.called(now);
    EXPECT_FALSE(budget.try_take(now)) << "half of one is none";
    budget.called(now);
    EXPECT_TRUE(budget.try_take(now));
    EXPECT_FALSE(budget.try_take(now));
    now += seconds(9);
    EXPECT_FALSE(budget.try_take(now));
    now += seconds(2);
    EXPECT_TRUE(budget.try_take(now));
    for (int i = 0; i < 1000; ++i)
        budget.called(now);
    EXPECT_LE(budget.left(), 3);
    now -= seconds(50);
    EXPECT_TRUE(budget.try_take(now)) << "a clock that goes back takes nothing away";
}

}  // namespace
}  // namespace wa
