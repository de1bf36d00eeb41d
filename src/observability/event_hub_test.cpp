#include "observability/event_hub.h"

#include <gtest/gtest.h>

#include <thread>

#include "observability/testing/manual_clock.h"

namespace wa::observability {
namespace {

StreamEvent ticket_event(std::string id, std::string plan = {}) {
    StreamEvent event;
    event.ticket_id = std::move(id);
    event.plan_id = std::move(plan);
    event.phase = "running";
    return event;
}

StreamEvent stats_event(std::string text) {
    StreamEvent event;
    event.kind = EventKind::kStats;
    event.text = std::move(text);
    return event;
}

class EventHubTest : public ::testing::Test {
protected:
    std::unique_ptr<EventHub::Listener> listen(std::string_view topics,
                                               std::optional<std::uint64_t> last = std::nullopt) {
        return hub_.listen(*parse_topics(topics), last, [this] { ++wakes_; });
    }
    testing::ManualClock clock_;
    EventHub hub_{clock_, 10};
    int wakes_ = 0;
};

TEST(Topics, AreReadStrictly) {
    const auto topics = parse_topics("ticket,plan:hello-7Q2M,stats,log:a:b:2,worker-log,");
    ASSERT_TRUE(topics);
    EXPECT_TRUE(topics->ticket && topics->stats && topics->worker_log);
    EXPECT_TRUE(topics->plans.contains("hello-7Q2M"));
    ASSERT_EQ(topics->logs.size(), 1U);
    EXPECT_EQ(topics->logs[0], (std::pair<std::string, std::int32_t>{"a:b", 2}));
    for (const char* bad :
         {"", ",", "everything", "plan:", "log:x", "log:x:0", "log:x:-1", "log::1", "log:x:1y", "Ticket"}) {
        EXPECT_FALSE(parse_topics(bad)) << bad;
    }
    std::string many;
    for (int i = 0; i < 65; ++i)
        many += "plan:p" + std::to_string(i) + ",";
    EXPECT_FALSE(parse_topics(many));
    EXPECT_FALSE(parse_topics("plan:" + std::string(1000, 'x')));
}

TEST_F(EventHubTest, ListenersGetTheirTopicsFromNowOn) {
    hub_.publish(ticket_event("before"));
    const auto all = listen("ticket");
    const auto plan = listen("plan:p1");
    const auto stats = listen("stats");
    hub_.publish(ticket_event("a", "p1"));
    hub_.publish(ticket_event("b", "p2"));
    hub_.publish(stats_event("{}"));
    EXPECT_EQ(hub_.take(*all, 100).events.size(), 2U);
    const auto of_plan = hub_.take(*plan, 100);
    ASSERT_EQ(of_plan.events.size(), 1U);
    EXPECT_EQ(of_plan.events[0].ticket_id, "a");
    EXPECT_EQ(hub_.take(*stats, 100).events.size(), 1U);
    EXPECT_TRUE(hub_.take(*all, 100).events.empty());
}

TEST_F(EventHubTest, WakesOncePerArmAndOnlyForItsTopics) {
    const auto listener = listen("plan:p1");
    ASSERT_TRUE(hub_.arm(*listener));
    hub_.publish(ticket_event("x", "p2"));
    EXPECT_EQ(wakes_, 0);
    hub_.publish(ticket_event("a", "p1"));
    hub_.publish(ticket_event("b", "p1"));
    EXPECT_EQ(wakes_, 1);
    EXPECT_FALSE(hub_.arm(*listener));  // there is something to take
    (void)hub_.take(*listener, 100);
    EXPECT_TRUE(hub_.arm(*listener));
}

TEST_F(EventHubTest, ResumesAfterTheLastIdSeen) {
    std::uint64_t seen = 0;
    {
        const auto listener = listen("ticket");
        hub_.publish(ticket_event("a"));
        seen = hub_.take(*listener, 100).newest;
    }
    hub_.publish(ticket_event("b"));
    const auto again = listen("ticket", seen);
    const auto batch = hub_.take(*again, 100);
    EXPECT_FALSE(batch.reset);
    ASSERT_EQ(batch.events.size(), 1U);
    EXPECT_EQ(batch.events[0].ticket_id, "b");
}

TEST_F(EventHubTest, AnIdThatFellOutOrWasNeverGivenIsReset) {
    const std::uint64_t start = hub_.newest();
    for (int i = 0; i < 25; ++i)
        hub_.publish(ticket_event(std::to_string(i)));
    EXPECT_TRUE(hub_.take(*listen("ticket", start), 100).reset);
    EXPECT_TRUE(hub_.take(*listen("ticket", 5), 100).reset);
    EXPECT_TRUE(hub_.take(*listen("ticket", hub_.newest() + 1), 100).reset);  // of a future process
    EXPECT_TRUE(hub_.take(*listen("ticket", UINT64_MAX), 100).reset);
    const auto edge = listen("ticket", hub_.newest() - 10);
    const auto batch = hub_.take(*edge, 100);
    EXPECT_FALSE(batch.reset);
    EXPECT_EQ(batch.events.size(), 10U);
    const auto current = listen("ticket", hub_.newest());
    EXPECT_FALSE(hub_.take(*current, 100).reset);
}

TEST_F(EventHubTest, LaggingListenerIsResetOnceThenGoesOn) {
    const auto listener = listen("ticket");
    for (int i = 0; i < 11; ++i)
        hub_.publish(ticket_event(std::to_string(i)));
    auto batch = hub_.take(*listener, 100);
    EXPECT_TRUE(batch.reset);
    EXPECT_TRUE(batch.events.empty());
    EXPECT_EQ(batch.newest, hub_.newest());
    hub_.publish(ticket_event("after"));
    batch = hub_.take(*listener, 100);
    EXPECT_FALSE(batch.reset);
    EXPECT_EQ(batch.events.size(), 1U);
}

TEST_F(EventHubTest, StatsAreMergedTicketsAreNot) {
    const auto listener = listen("ticket,stats");
    hub_.publish(stats_event("1"));
    hub_.publish(ticket_event("a"));
    hub_.publish(stats_event("2"));
    hub_.publish(ticket_event("b"));
    const auto batch = hub_.take(*listener, 100);
    ASSERT_EQ(batch.events.size(), 3U);
    EXPECT_EQ(batch.events[0].ticket_id, "a");
    EXPECT_EQ(batch.events[1].text, "2");
    EXPECT_EQ(batch.events[2].ticket_id, "b");
}

TEST_F(EventHubTest, BatchesAreBounded) {
    const auto listener = listen("ticket");
    for (int i = 0; i < 5; ++i)
        hub_.publish(ticket_event(std::to_string(i)));
    const auto batch = hub_.take(*listener, 2);
    EXPECT_EQ(batch.events.size(), 2U);
    EXPECT_TRUE(batch.more);
    EXPECT_EQ(hub_.take(*listener, 100).events.front().ticket_id, "2");
}

TEST_F(EventHubTest, IdsOfANextProcessAreHigher) {
    const std::uint64_t before = hub_.newest();
    clock_.advance(std::chrono::seconds(1));
    EXPECT_GT(EventHub(clock_).newest(), before);
    EXPECT_LT(before, 1ULL << 53U);
}

TEST_F(EventHubTest, KnowsWhatIsWanted) {
    EXPECT_FALSE(hub_.wanted(EventKind::kStats));
    {
        const auto listener = listen("stats");
        EXPECT_TRUE(hub_.wanted(EventKind::kStats));
        EXPECT_FALSE(hub_.wanted(EventKind::kTicket));
    }
    EXPECT_FALSE(hub_.wanted(EventKind::kStats));
}

TEST(StreamEventText, IsOneSseBlock) {
    StreamEvent event = ticket_event("t\n1", "p");
    event.id = 7;
    event.at = 5;
    event.text = "needs \"b\"\r\ndata: forged";
    std::string out;
    append_sse(out, event);
    EXPECT_EQ(out,
              "id: 7\nevent: ticket\ndata: "
              "{\"ticket_id\":\"t\\n1\",\"plan_id\":\"p\",\"task_id\":\"\",\"task_type\":\"EXECUTE\","
              "\"status\":\"PENDING\",\"phase\":\"running\",\"attempt\":0,\"reason\":\"needs \\\"b\\\"\\r\\ndata: "
              "forged\",\"at\":5}\n\n");
}

TEST_F(EventHubTest, FeedTellsTheWholeLife) {
    EventFeed feed(hub_);
    const auto listener = listen("ticket,stats");
    TicketView view;
    view.ticket_id = "t";
    view.plan_id = "p";
    feed.ticket_consumed(view);
    feed.ticket_moved(view, State::kReceived, Event::kDependenciesOpen, State::kParked, "needs b");
    feed.ticket_moved(view, State::kReporting, Event::kCommitted, State::kSettled, "");
    Settlement settlement;
    settlement.outcome = Outcome::kExecutionFailed;
    settlement.result.error_message = "exit code 1";
    feed.ticket_settled(view, settlement);
    feed.intake_changed(false, "intake-paused", Duration{});
    feed.drain_changed("draining");
    const auto batch = hub_.take(*listener, 100);
    ASSERT_EQ(batch.events.size(), 5U);
    EXPECT_EQ(batch.events[1].phase, "waiting");
    EXPECT_EQ(batch.events[1].text, "needs b");
    EXPECT_EQ(batch.events[2].status, TicketStatus::kFailed);
    EXPECT_EQ(batch.events[2].text, "exit code 1");
    EXPECT_EQ(batch.events[3].text, "{\"open\":false,\"why\":\"intake-paused\"}");
    EXPECT_EQ(batch.events[4].text, "{\"drain\":\"draining\"}");
}

TEST(EventHubThreads, WriterAndReaders) {
    testing::ManualClock clock;
    EventHub hub(clock, 1000);
    std::atomic<bool> done{false};
    std::vector<std::thread> readers;
    for (int t = 0; t < 3; ++t) {
        readers.emplace_back([&] {
            std::atomic<int> wakes{0};
            const auto listener = hub.listen(*parse_topics("ticket"), std::nullopt, [&] { ++wakes; });
            std::uint64_t last = 0;
            while (!done) {
                const auto batch = hub.take(*listener, 50);
                for (const StreamEvent& event : batch.events) {
                    EXPECT_GT(event.id, last);
                    last = event.id;
                }
                (void)hub.arm(*listener);
            }
        });
    }
    for (int i = 0; i < 20000; ++i)
        hub.publish(ticket_event(std::to_string(i)));
    done = true;
    for (std::thread& reader : readers)
        reader.join();
}

}  // namespace
}  // namespace wa::observability
