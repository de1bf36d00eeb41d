#include "runtimes/run_limit.h"

#include <gtest/gtest.h>

namespace wa {
namespace {

using namespace std::chrono_literals;  // NOLINT: tests

constexpr EpochMillis kNow = 1'790'000'000'000;

class FixedClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return MonoTime(1h); }
    [[nodiscard]] EpochMillis wall_now() const override { return kNow; }
};

RunLimit limit_of(Duration own, std::int64_t timeout_ms, std::optional<EarlierRun> earlier = std::nullopt) {
    AttemptContext context;
    context.timeout_ms = timeout_ms;
    context.deadline = FixedClock().now() + std::chrono::milliseconds(timeout_ms);
    return run_limit(own, context, earlier, FixedClock());
}

TEST(RunLimit, OfNewWorkIsTheShorterOfBoth) {
    RunLimit limit = limit_of(10s, 60'000);
    EXPECT_EQ(limit.total, 10s);
    EXPECT_EQ(limit.left, 10s);
    EXPECT_TRUE(limit.before_engine);
    limit = limit_of(100s, 60'000);
    EXPECT_EQ(limit.left, 60s);
    EXPECT_FALSE(limit.before_engine) << "the engine stops it then";
}

TEST(RunLimit, OfAdoptedWorkCountsFromItsStart) {
    // Begun 15 s ago by an attempt that had 20 s; this one would have 30.
    const RunLimit limit = limit_of(100s, 30'000, EarlierRun{kNow + 5'000, kNow - 15'000});
    EXPECT_EQ(limit.total, 20s);
    EXPECT_EQ(limit.left, 5s);
    EXPECT_TRUE(limit.before_engine);
    // The runtime's own limit counts from the process's start too.
    EXPECT_EQ(limit_of(18s, 30'000, EarlierRun{kNow + 5'000, kNow - 15'000}).left, 3s);
    // No longer than this attempt may.
    EXPECT_EQ(limit_of(100s, 2'000, EarlierRun{kNow + 5'000, kNow - 15'000}).left, 2s);
}

TEST(RunLimit, OfAdoptedWorkMayBeOver) {
    const RunLimit limit = limit_of(100s, 30'000, EarlierRun{kNow - 40'000, kNow - 60'000});
    EXPECT_EQ(limit.left, 0s);
    EXPECT_EQ(limit.total, 60s) << "so long it has run";
    EXPECT_TRUE(limit.before_engine);
}

TEST(RunLimit, ClocksThatDifferAreNoReasonToEndItAtOnceOrNever) {
    EXPECT_EQ(limit_of(10s, 30'000, EarlierRun{std::nullopt, kNow + 3'600'000}).left, 10s);
    EXPECT_EQ(limit_of(10s, 30'000, EarlierRun{}).left, 10s);
    EXPECT_EQ(limit_of(10s, 30'000, EarlierRun{kNow * 1000, 1}).left, 0s);
}

TEST(EarlierRunText, OnlyTimesAreTaken) {
    EarlierRun earlier = earlier_run("1790000000000", "2026-01-01T00:00:00.5Z");
    EXPECT_EQ(earlier.until, 1'790'000'000'000);
    EXPECT_EQ(earlier.started, 1'767'225'600'000);
    for (const char* bad : {"", "soon", "-5", "0", "9223372036854775807"})
        EXPECT_FALSE(earlier_run(bad, "").until) << bad;
    EXPECT_FALSE(earlier_run("", "0001-01-01T00:00:00Z").started) << "never started";
    EXPECT_FALSE(earlier_run("", "").started);
}

}  // namespace
}  // namespace wa
