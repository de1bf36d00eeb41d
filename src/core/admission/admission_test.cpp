// Goal: the pure parts of admission hold their rules for every input that matters. Method: exhaustive where small,
// against a naive model where not.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/random.h"
#include "core/admission/backpressure.h"
#include "core/admission/offset_tracker.h"
#include "core/admission/slot_queue.h"
#include "core/dependencies/wait_list.h"

namespace wa {
namespace {

using std::chrono::seconds;

TEST(Backpressure, ClosesAndOpensAtItsMarksForEveryCapacity) {
    for (std::size_t limit = 1; limit <= 64; ++limit) {
        Backpressure gate(limit, 0.8, 0.5);
        ASSERT_GE(gate.close_at(), 1U);
        ASSERT_LE(gate.close_at(), limit);
        ASSERT_LT(gate.open_at(), gate.close_at());
        for (std::size_t n = 0; n < gate.close_at(); ++n)
            EXPECT_TRUE(gate.update(n));
        EXPECT_FALSE(gate.update(gate.close_at()));
        for (std::size_t n = gate.close_at(); n > gate.open_at(); --n)
            EXPECT_FALSE(gate.update(n)) << "hysteresis at " << n << " of " << limit;
        EXPECT_TRUE(gate.update(gate.open_at()));
    }
}

TEST(Backpressure, NewMarksCountFromTheNextUpdate) {
    Backpressure gate(10, 0.8, 0.5);
    ASSERT_FALSE(gate.update(8));
    gate.change(20, 0.8, 0.5);
    EXPECT_FALSE(gate.open());
    EXPECT_TRUE(gate.update(8));  // 10 is the opening mark now
    gate.change(5, 0.8, 0.5);
    EXPECT_FALSE(gate.update(8));
    EXPECT_FALSE(gate.update(3));
    EXPECT_TRUE(gate.update(2));
}

TEST(Backpressure, TheDocumentedMarksOfTenAndFive) {
    const Backpressure ten(10, 0.8, 0.5);
    EXPECT_EQ(ten.close_at(), 8U);
    EXPECT_EQ(ten.open_at(), 5U);
    const Backpressure five(5, 0.8, 0.5);
    EXPECT_EQ(five.close_at(), 4U);
    EXPECT_EQ(five.open_at(), 2U);
}

SlotQueue::Entry entry(SlotQueue::Item item, Priority priority, int queued_s, int deadline_s = -1) {
    return SlotQueue::Entry{item, priority, MonoTime(seconds(queued_s)),
                            deadline_s < 0 ? MonoTime::max() : MonoTime(seconds(deadline_s))};
}

TEST(SlotQueue, HigherPriorityFirstThenNearestDeadline) {
    SlotQueue queue(seconds(60));
    queue.push(entry(1, Priority::kLow, 0));
    queue.push(entry(2, Priority::kNormal, 0, 500));
    queue.push(entry(3, Priority::kNormal, 0, 100));
    queue.push(entry(4, Priority::kCritical, 10));
    const MonoTime now(seconds(10));
    EXPECT_EQ(queue.pop(now)->item, 4U);
    EXPECT_EQ(queue.pop(now)->item, 3U);
    EXPECT_EQ(queue.pop(now)->item, 2U);
    EXPECT_EQ(queue.pop(now)->item, 1U);
    EXPECT_FALSE(queue.pop(now).has_value());
}

TEST(SlotQueue, WaitingLiftsSoThatNothingStarves) {
    SlotQueue queue(seconds(60));
    queue.push(entry(1, Priority::kLow, 0));
    // Critical tickets keep coming; the low one must get its turn within four steps of aging.
    int served_before_low = 0;
    for (int second = 0; second < 600; ++second) {
        queue.push(entry(static_cast<SlotQueue::Item>(second + 10), Priority::kCritical, second));
        const auto next = queue.pop(MonoTime(seconds(second)));
        if (next->item == 1U) break;
        ++served_before_low;
    }
    EXPECT_LT(served_before_low, 60 * 4);
}

TEST(SlotQueue, RemoveTakesExactlyThatEntry) {
    SlotQueue queue(seconds(60));
    queue.push(entry(1, Priority::kHigh, 0));
    queue.push(entry(2, Priority::kHigh, 0));
    EXPECT_TRUE(queue.remove(entry(1, Priority::kHigh, 0)));
    EXPECT_FALSE(queue.remove(entry(1, Priority::kHigh, 0)));
    EXPECT_EQ(queue.size(), 1U);
    EXPECT_EQ(queue.pop(MonoTime(seconds(1)))->item, 2U);
}

TEST(OffsetTracker, NeverCommitsPastAnOpenOffsetInAnyOrder) {
    for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
        SeededRandom random(seed);
        const auto start = static_cast<std::int64_t>(random.below(1000));
        OffsetTracker tracker(start);
        std::set<std::int64_t> open;
        std::int64_t next = start;
        std::int64_t last_committable = start;
        for (int step = 0; step < 200; ++step) {
            if (random.chance(0.5)) {
                next += static_cast<std::int64_t>(random.below(3));  // markers and compaction leave gaps
                ASSERT_TRUE(tracker.read(next));
                open.insert(next++);
            } else if (!open.empty()) {
                auto victim = open.begin();
                std::advance(victim, static_cast<std::ptrdiff_t>(random.below(open.size())));
                tracker.finish(*victim);
                open.erase(victim);
            }
            const std::int64_t committable = tracker.committable();
            ASSERT_EQ(committable, open.empty() ? tracker.position() : *open.begin());
            ASSERT_GE(committable, last_committable) << "moved back";
            last_committable = committable;
        }
        // What is committed now tells the next owner exactly what is open.
        const auto [offset, text] = tracker.commit_with({}, false);
        const auto metadata = decode_offset_metadata(offset, text);
        ASSERT_TRUE(metadata.has_value());
        OffsetTracker heir(offset);
        heir.restore(*metadata);
        for (std::int64_t o = offset; o < next; ++o)
            EXPECT_EQ(heir.is_finished(o), !open.contains(o)) << o << " seed " << seed;
    }
}

TEST(OffsetTracker, ANewOwnerWhoReadsHalfWayForgetsNothing) {
    for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
        SeededRandom random(seed);
        std::map<std::int64_t, bool> finished;
        OffsetTracker tracker(0);
        for (std::int64_t o = 0; o < 60; ++o) {
            tracker.read(o);
            finished[o] = false;
        }
        for (int owner = 0; owner < 5; ++owner) {
            for (auto& [offset, done] : finished) {
                if (!done && tracker.is_open(offset) && random.chance(0.2)) {
                    tracker.finish(offset);
                    done = true;
                }
            }
            const auto [committed, text] = tracker.commit_with({}, random.chance(0.5));
            const auto metadata = decode_offset_metadata(committed, text);
            ASSERT_TRUE(metadata);
            tracker = OffsetTracker(committed);
            tracker.restore(*metadata);
            const auto stop = committed + static_cast<std::int64_t>(random.below(60));
            for (std::int64_t o = committed; o < std::min<std::int64_t>(stop, 60); ++o) {
                EXPECT_EQ(tracker.read(o), !finished[o]) << "offset " << o << " seed " << seed << " owner " << owner;
            }
        }
    }
}

TEST(OffsetTracker, AnOffsetReadTwiceIsOneTicket) {
    OffsetTracker tracker(5);
    EXPECT_TRUE(tracker.read(5));
    EXPECT_FALSE(tracker.read(5));
    tracker.finish(5);
    tracker.finish(5);
    EXPECT_FALSE(tracker.read(5));
    EXPECT_EQ(tracker.committable(), 6);
}

TEST(OffsetMetadata, RoundTripsAndStaysSmall) {
    OffsetMetadata metadata;
    metadata.clean = true;
    for (std::int64_t i = 0; i < 300; ++i)
        metadata.finished.push_back({1000 + i * 2 + 1, 1000 + i * 2 + 2});
    metadata.deliveries = {{1000, 2}, {1004, 3}};
    const std::string text = encode_offset_metadata(1000, metadata);
    EXPECT_EQ(text[1], 'b') << "alternating offsets are a bitmap";
    EXPECT_LT(text.size(), 200U);
    EXPECT_EQ(decode_offset_metadata(1000, text), metadata);
    const OffsetMetadata far{false, {{2'000'000, 2'000'001}}, {}};
    const std::string runs = encode_offset_metadata(1000, far);
    EXPECT_EQ(runs[1], 'r') << "a lonely offset far away is a run";
    EXPECT_EQ(decode_offset_metadata(1000, runs), far);
}

TEST(OffsetMetadata, ForeignOrDamagedTextIsIgnoredNeverFatal) {
    for (const char* text : {"", "1", "1r", "2rAAAA", "x", "1r!!!!", "1bAP____________", "NONE", "1rAP8"}) {
        EXPECT_FALSE(decode_offset_metadata(10, text).has_value()) << text;
    }
    SeededRandom random(7);
    for (int i = 0; i < 20'000; ++i) {
        std::string text = random.chance(0.5) ? "1r" : "1b";
        const std::size_t length = random.below(40);
        for (std::size_t c = 0; c < length; ++c)
            text.push_back(static_cast<char>(random.below(256)));
        (void)decode_offset_metadata(static_cast<std::int64_t>(random.below(1'000'000)),
                                     text);  // must not crash or hang
    }
}

TEST(OffsetTracker, DeliveryCountsAreShedBeforeTheFinishedSet) {
    OffsetTracker tracker(0);
    for (std::int64_t o = 0; o < 40; ++o)
        tracker.read(o);
    for (std::int64_t o = 0; o < 40; o += 2)
        tracker.set_deliveries(o, 3);
    for (std::int64_t o = 1; o < 40; o += 2)
        tracker.finish(o);
    const auto whole = decode_offset_metadata(0, tracker.commit_with({}, false).second);
    EXPECT_EQ(whole->deliveries.size(), 20U);
    const auto tight = decode_offset_metadata(0, tracker.commit_with({}, false, false).second);
    EXPECT_TRUE(tight->deliveries.empty());
    EXPECT_EQ(tight->finished, whole->finished);
}

TEST(OpenOffsets, BehaveLikeAnOrderedSet) {
    SeededRandom random(5);
    OpenOffsets offsets;
    std::set<std::int64_t> model;
    std::int64_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
        if (model.empty() || random.chance(0.5)) {
            next += 1 + static_cast<std::int64_t>(random.below(3));
            offsets.add(next);
            model.insert(next);
        } else {
            const std::int64_t about = *model.begin() + static_cast<std::int64_t>(random.below(200));
            offsets.remove(about);
            model.erase(about);
        }
        ASSERT_EQ(offsets.size(), model.size());
        if (!model.empty()) {
            ASSERT_EQ(offsets.lowest(), *model.begin());
        }
        const std::int64_t probe = next - static_cast<std::int64_t>(random.below(300));
        ASSERT_EQ(offsets.contains(probe), model.contains(probe));
    }
    std::vector<std::int64_t> seen;
    offsets.visit([&](std::int64_t offset) { seen.push_back(offset); });
    EXPECT_EQ(seen, std::vector<std::int64_t>(model.begin(), model.end()));
}

TEST(WaitList, TakesOffEachNodeOnceAndKeepsItsPlace) {
    WaitList list;
    for (const WaitList::NodeId node : {7U, 3U, 9U})
        list.add(node);
    list.seal();
    EXPECT_EQ(list.size(), 3U);
    EXPECT_TRUE(list.contains(3));
    EXPECT_TRUE(list.remove(3));
    EXPECT_FALSE(list.remove(3));
    EXPECT_FALSE(list.remove(4));
    EXPECT_FALSE(list.contains(3));
    EXPECT_TRUE(list.contains(9));
    EXPECT_EQ(list.places(), 3U);
    EXPECT_FALSE(list.open_at(0));
    EXPECT_EQ(list.node_at(1), 7U);
    EXPECT_TRUE(list.remove(7));
    EXPECT_TRUE(list.remove(9));
    EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace wa
