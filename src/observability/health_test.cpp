#include "observability/health.h"

#include <gtest/gtest.h>

#include "observability/testing/manual_clock.h"

namespace wa::observability {
namespace {

using namespace std::chrono_literals;

TEST(Health, NamesTheLoopThatStandsStill) {
    testing::ManualClock clock;
    Health health(clock);
    Pulse& engine = health.add_pulse("engine");
    Pulse& store = health.add_pulse("store", 30s);
    EXPECT_TRUE(Health::all_good(health.liveness()));
    clock.advance(10s);
    EXPECT_TRUE(Health::all_good(health.liveness()));
    clock.advance(1s);
    auto results = health.liveness();
    EXPECT_FALSE(Health::all_good(results));
    ASSERT_EQ(results.size(), 2U);
    EXPECT_EQ(results[0].name, "engine");
    EXPECT_FALSE(results[0].good);
    EXPECT_EQ(results[0].detail, "no sign of life for 11 s");
    EXPECT_TRUE(results[1].good);
    engine.tick();
    EXPECT_TRUE(Health::all_good(health.liveness()));
    clock.advance(25s);
    EXPECT_FALSE(Health::all_good(health.liveness()));
    engine.retire();
    store.tick();
    EXPECT_TRUE(Health::all_good(health.liveness()));
}

TEST(Health, ChecksSayWhy) {
    testing::ManualClock clock;
    Health health(clock);
    bool full = false;
    health.add_readiness("disk", [&]() -> std::optional<std::string> {
        if (full) return "disk full";
        return std::nullopt;
    });
    health.add_liveness("store", [] { return std::optional<std::string>(); });
    EXPECT_TRUE(Health::all_good(health.readiness()));
    full = true;
    const auto results = health.readiness();
    EXPECT_FALSE(Health::all_good(results));
    EXPECT_EQ(results[0].detail, "disk full");
    EXPECT_TRUE(Health::all_good(health.liveness()));
}

}  // namespace
}  // namespace wa::observability
