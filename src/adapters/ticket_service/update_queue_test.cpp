#include "adapters/ticket_service/update_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"

namespace wa::ticket_service {
namespace {

using std::chrono::milliseconds;
constexpr MonoTime kStart{};

StatusUpdate update(const std::string& id, TicketStatus status, std::int64_t number = 0) {
    return {id, status, {}, number};
}

TEST(UpdateQueue, WaitsForItsTime) {
    UpdateQueue queue(10);
    std::optional<StatusUpdate> lost;
    queue.add(update("a", TicketStatus::kRunning), kStart, lost);
    ASSERT_TRUE(queue.take(kStart));
    EXPECT_FALSE(queue.take(kStart)) << "one at a time";
    queue.put_back("a", kStart + milliseconds(100), true);
    EXPECT_FALSE(queue.take(kStart + milliseconds(99)));
    EXPECT_EQ(queue.next_due(kStart), kStart + milliseconds(100));
    const auto again = queue.take(kStart + milliseconds(100));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->failures, 1);
    EXPECT_EQ(again->since, kStart);
    queue.done("a", kStart);
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(queue.in_flight(), 0U);
    EXPECT_FALSE(queue.next_due(kStart));
}

TEST(UpdateQueue, StaysBoundedUnderAnything) {
    // Whatever happens in whatever order: bounded, one at a time, never backwards within a ticket, the last one
    // arrives.
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        SeededRandom random(seed);
        UpdateQueue queue(8);
        std::map<std::string, std::int64_t> last_added;
        std::map<std::string, std::int64_t> last_sent;
        std::set<std::string> under_way;
        MonoTime now = kStart;
        std::int64_t number = 0;
        for (int step = 0; step < 400; ++step) {
            now += milliseconds(random.below(5));
            const std::string id = "t" + std::to_string(random.below(12));
            switch (random.below(4)) {
                case 0: {
                    std::optional<StatusUpdate> lost;
                    const auto status = random.chance(0.5) ? TicketStatus::kRunning : TicketStatus::kFailed;
                    queue.add(update(id, status, ++number), now, lost);
                    last_added[id] = number;
                    if (lost) last_added.erase(lost->ticket_id);
                    break;
                }
                case 1:
                    if (const auto next = queue.take(now)) {
                        ASSERT_TRUE(under_way.insert(next->update->ticket_id).second);
                        ASSERT_GE(next->update->actual_duration_ms, last_sent[next->update->ticket_id]);
                        last_sent[next->update->ticket_id] = next->update->actual_duration_ms;
                    }
                    break;
                case 2:
                    queue.done(id, now);
                    under_way.erase(id);
                    break;
                default: queue.put_back(id, now + milliseconds(random.below(20)), true); under_way.erase(id);
            }
            ASSERT_LE(queue.size(), 8U);
            ASSERT_EQ(queue.in_flight(), under_way.size());
        }
        for (const std::string& id : std::set<std::string>(under_way))
            queue.done(id, now);
        while (const auto next = queue.take(now += milliseconds(100))) {
            last_sent[next->update->ticket_id] = next->update->actual_duration_ms;
            queue.done(std::string(next->update->ticket_id), now);
        }
        EXPECT_EQ(queue.size(), 0U);
        for (const auto& [id, value] : last_added)
            EXPECT_EQ(last_sent[id], value) << "seed " << seed;
    }
}

}  // namespace
}  // namespace wa::ticket_service
