// Server-sent events over real sockets: resume, lag, reset, merging, many listeners, hostile ones.
#include <gtest/gtest.h>

#include <thread>

#include "admin/testing/world.h"

namespace wa::admin {
namespace {

using testing::RawClient;
using testing::Reply;
using testing::World;
using namespace std::chrono_literals;

observability::StreamEvent ticket_event(std::string id, std::string plan = {}) {
    observability::StreamEvent event;
    event.ticket_id = std::move(id);
    event.plan_id = std::move(plan);
    event.phase = "running";
    return event;
}

// One listener; understands chunks and SSE blocks.
class Listener {
public:
    Listener(World& world, std::string_view topics, std::string_view headers = {}, int receive_buffer = 0)
        : client_(connect(world, receive_buffer)) {
        client_.send("GET /api/v1/events?topics=" + std::string(topics) + " HTTP/1.1\r\nHost: localhost\r\n" +
                     std::string(headers) + "\r\n");
        head = client_.read_head();
    }
    // The next block that is not a comment or the retry line, or "".
    std::string next(std::chrono::milliseconds wait = 5s) {
        for (;;) {
            const std::size_t end = text_.find("\n\n");
            if (end == std::string::npos) {
                const auto chunk = client_.read_chunk(wait);
                if (!chunk || chunk->empty()) return {};
                text_ += *chunk;
                continue;
            }
            std::string block = text_.substr(0, end);
            text_.erase(0, end + 2);
            if (block.starts_with(":") || block.starts_with("retry:")) continue;
            return block;
        }
    }
    static std::string field(const std::string& block, std::string_view name) {
        const std::size_t at = block.find(std::string(name) + ": ");
        if (at == std::string::npos) return {};
        const std::size_t start = at + name.size() + 2;
        return block.substr(start, block.find('\n', start) - start);
    }
    RawClient& client() { return client_; }

    Reply head;

private:
    static RawClient connect(World& world, int receive_buffer) {
        RawClient client = RawClient::tcp(world.port());
        if (receive_buffer > 0)
            ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        return client;
    }
    RawClient client_;
    std::string text_;
};

TEST(Events, HeadersAndFirstWords) {
    World world;
    Listener listener(world, "ticket");
    EXPECT_EQ(listener.head.status, 200);
    EXPECT_EQ(listener.head.headers.at("content-type"), "text/event-stream");
    EXPECT_EQ(listener.head.headers.at("cache-control"), "no-cache, no-transform");
    EXPECT_EQ(listener.head.headers.at("x-accel-buffering"), "no");
    EXPECT_EQ(listener.client().read_chunk()->substr(0, 12), "retry: 2000\n");
}

TEST(Events, ArriveByTopicWithRisingIds) {
    World world;
    Listener all(world, "ticket");
    Listener plan(world, "plan:p1");
    ASSERT_EQ(Listener::field(all.next(), "event"), "hello");
    ASSERT_EQ(Listener::field(plan.next(), "event"), "hello");
    world.hub.publish(ticket_event("a", "p1"));
    world.hub.publish(ticket_event("b", "p2"));
    const std::string first = all.next();
    const std::string second = all.next();
    EXPECT_EQ(Listener::field(first, "event"), "ticket");
    EXPECT_NE(first.find("\"ticket_id\":\"a\""), std::string::npos);
    EXPECT_LT(std::stoull(Listener::field(first, "id")), std::stoull(Listener::field(second, "id")));
    EXPECT_NE(plan.next().find("\"ticket_id\":\"a\""), std::string::npos);
    EXPECT_EQ(plan.next(100ms), "");
}

TEST(Events, ResumeMissesNothing) {
    World world;
    std::string seen;
    {
        Listener listener(world, "ticket");
        (void)listener.next();
        world.hub.publish(ticket_event("a"));
        seen = Listener::field(listener.next(), "id");
    }
    for (int i = 0; i < 1000; ++i)
        world.hub.publish(ticket_event("n" + std::to_string(i)));
    Listener again(world, "ticket", "Last-Event-ID: " + seen + "\r\n");
    for (int i = 0; i < 1000; ++i) {
        ASSERT_NE(again.next().find("\"ticket_id\":\"n" + std::to_string(i) + "\""), std::string::npos) << i;
    }
}

TEST(Events, UnknownIdsAreReset) {
    World world;
    const std::string old = std::to_string(world.hub.newest());
    for (int i = 0; i < 10'050; ++i)
        world.hub.publish(ticket_event("x"));
    for (const std::string& id :
         {old, std::string("0"), std::string("99999999999999999999999"), std::string("abc"), std::string("-1")}) {
        Listener listener(world, "ticket", "Last-Event-ID: " + id + "\r\n");
        const std::string block = listener.next();
        EXPECT_EQ(Listener::field(block, "event"), "reset") << id;
        EXPECT_EQ(Listener::field(block, "id"), std::to_string(world.hub.newest()));
        world.hub.publish(ticket_event("after"));
        EXPECT_NE(listener.next().find("after"), std::string::npos);
    }
}

TEST(Events, ALaggingReaderIsResetAndSlowsNobody) {
    World world;
    Listener lagging(world, "ticket", {}, 65'536);
    Listener brisk(world, "ticket");
    (void)lagging.next();
    (void)brisk.next();
    observability::StreamEvent event = ticket_event("x");
    event.text = std::string(400, 'y');
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < 60'000; ++i)
        world.hub.publish(event);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
    world.hub.publish(ticket_event("last"));
    bool reset = false;
    bool last = false;
    for (int i = 0; i < 70'000 && !last; ++i) {
        const std::string block = lagging.next();
        ASSERT_FALSE(block.empty());
        reset = reset || Listener::field(block, "event") == "reset";
        last = block.find("\"ticket_id\":\"last\"") != std::string::npos ||
               (reset && Listener::field(block, "id") == std::to_string(world.hub.newest()));
    }
    EXPECT_TRUE(reset);
    EXPECT_TRUE(last);
}

TEST(Events, StatsComeWhileSomebodyListens) {
    World world;
    world.engine.change([](auto& engine) { engine.state.gauges.in_flight = 3; });
    Listener listener(world, "stats");
    (void)listener.next();
    const std::string block = listener.next();
    EXPECT_EQ(Listener::field(block, "event"), "stats");
    EXPECT_NE(block.find("\"in_flight\":3"), std::string::npos);
    EXPECT_NE(listener.next().find("\"slots\""), std::string::npos);
}

TEST(Events, LogTopicFollowsAnAttempt) {
    World world;
    const auto log = world.task_logs->open("t-1", 1);
    log->append(TaskLogStream::kStdout, "one\n");
    world.task_logs->flush();
    Listener listener(world, "log:t-1:1");
    (void)listener.next();
    EXPECT_NE(listener.next().find("\"reset\":true"), std::string::npos);
    EXPECT_NE(listener.next().find("\"text\":\"one\""), std::string::npos);
    std::string flood;
    for (int i = 0; i < 1000; ++i)
        flood += "line " + std::to_string(i) + "\n";
    log->append(TaskLogStream::kStdout, flood);
    world.task_logs->flush();
    EXPECT_NE(listener.next().find("\"skipped\":800"), std::string::npos);
    EXPECT_NE(listener.next().find("\"text\":\"line 800\""), std::string::npos);
}

TEST(Events, WorkerLogTopic) {
    World world;
    world.log.info("early_event");
    Listener fresh(world, "worker-log");
    (void)fresh.next();
    Listener from_start(world, "worker-log&level=info", "Last-Event-ID: 0\r\n");
    std::string block = from_start.next();
    while (Listener::field(block, "event") == "reset")
        block = from_start.next();
    EXPECT_EQ(Listener::field(block, "event"), "worker-log");
    EXPECT_NE(block.find("early_event"), std::string::npos);
    world.log.warning("later_event");
    EXPECT_NE(fresh.next().find("later_event"), std::string::npos);
    EXPECT_NE(from_start.next().find("later_event"), std::string::npos);
}

TEST(Events, BadTopicsAreRefusedAndStreamsAreBounded) {
    World world;
    EXPECT_EQ(world.get("/api/v1/events").status, 400);
    EXPECT_EQ(world.get("/api/v1/events?topics=").status, 400);
    EXPECT_EQ(world.get("/api/v1/events?topics=all").status, 400);
    EXPECT_EQ(world.get("/api/v1/events?topics=worker-log&level=loud").status, 400);
    std::vector<Listener> many;
    for (int i = 0; i < 256; ++i) {
        many.emplace_back(world, "ticket");
        ASSERT_EQ(many.back().head.status, 200);
    }
    EXPECT_EQ(world.get("/api/v1/events?topics=ticket").status, 503);
    many.clear();
    for (int i = 0; i < 200; ++i) {
        if (Listener(world, "ticket").head.status == 200) return;
        std::this_thread::sleep_for(10ms);
    }
    FAIL() << "closed streams still count";
}

TEST(Events, StopEndsTheStreams) {
    World world;
    Listener listener(world, "ticket,stats,worker-log");
    (void)listener.next();
    const auto began = std::chrono::steady_clock::now();
    world.server->stop(2s);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
    EXPECT_TRUE(listener.client().ends_within(1s));
    world.hub.publish(ticket_event("nobody"));
}

}  // namespace
}  // namespace wa::admin
