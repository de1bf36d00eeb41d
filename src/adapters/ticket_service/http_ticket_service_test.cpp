#include "adapters/ticket_service/http_ticket_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "adapters/ticket_service/answers.h"
#include "adapters/ticket_service/testing/stand_in.h"
#include "core/trace/testing/noted_calls.h"

namespace wa {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using http::testing::Reaction;
using http::testing::reply;
using http::testing::run_for;
using http::testing::run_until;
using http::testing::Seen;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ticket_service::testing::StandIn;
using ticket_service::testing::StoredTicket;
using Then = Reaction::Then;

struct Notes final : TicketServiceListener {
    void status_delivered(const StatusUpdate& update, Duration) override { delivered.push_back(update.ticket_id); }
    void status_delayed(const StatusUpdate&, const Error& why) override { delayed.push_back(why.describe()); }
    void status_lost(const StatusUpdate& update, const Error& why) override {
        lost.emplace_back(update.ticket_id, why);
    }
    void status_replaced(std::string_view) override { ++replaced; }
    void lookup_ended(bool ok, Duration) override { ++(ok ? lookups_ok : lookups_bad); }
    void token_fetched(bool ok, Duration) override { ++(ok ? tokens_ok : tokens_bad); }
    void lookup_failed(const Error& why) override { lookup_errors.push_back(why.describe()); }
    void breaker_changed(CircuitBreaker::State state) override { breaker.push_back(state); }
    void spill_problem(std::string_view text) override { problems.emplace_back(text); }
    void spill_read(std::size_t updates) override { read = updates; }

    std::vector<std::string> delivered;
    std::vector<std::string> delayed;
    std::vector<std::pair<std::string, Error>> lost;
    std::vector<std::string> lookup_errors;
    std::vector<CircuitBreaker::State> breaker;
    std::vector<std::string> problems;
    int replaced = 0;
    int lookups_ok = 0;
    int lookups_bad = 0;
    int tokens_ok = 0;
    int tokens_bad = 0;
    std::size_t read = 0;
};

// The system's clock, which a test may move on.
struct MovableClock final : Clock {
    [[nodiscard]] MonoTime now() const override { return system.now() + ahead; }
    [[nodiscard]] EpochMillis wall_now() const override { return system.wall_now() + to_millis(ahead); }
    SystemClock system;
    Duration ahead{};
};

class TicketServiceTest : public ::testing::Test {
protected:
    TicketServiceTest() { options.base_url = server.url(); }

    HttpTicketService& start() {
        service.emplace(
            loop, clock, random, client, options,
            [this](DependencyStatuses statuses) {
                for (DependencyStatus& status : statuses.statuses)
                    answers[status.ticket_id] = std::move(status);
            },
            notes);
        return *service;
    }
    bool until(const std::function<bool()>& done, milliseconds limit = std::chrono::seconds(20)) {
        return run_until(loop, done, limit);
    }
    static http::ClientOptions watched_by(CallWatch& watch) {
        http::ClientOptions options;
        options.watch = &watch;
        return options;
    }
    static StatusUpdate update(const std::string& id, TicketStatus status, const std::string& error = {}) {
        return {id, status, error, 17};
    }

    asio::io_context loop;
    MovableClock clock;
    SeededRandom random{1};
    StandIn server{loop};
    wa::testing::NotedCalls watch;
    http::Client client{loop, clock, watched_by(watch)};
    TicketServiceOptions options;
    Notes notes;
    std::map<std::string, DependencyStatus> answers;
    std::optional<HttpTicketService> service;
};

TEST_F(TicketServiceTest, SendsAStatusAsTheServiceWantsIt) {
    start().update_status(update("t-1", TicketStatus::kFailed, "exit code 1"));
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    const Seen& seen = server.server().seen().at(0);
    EXPECT_EQ(seen.method, "PATCH");
    EXPECT_EQ(seen.target, "/api/v1/tickets/t-1/status");
    EXPECT_EQ(seen.body, R"({"status":"FAILED","error_message":"exit code 1","actual_duration_ms":17})");
    EXPECT_EQ(seen.headers.at("content-type"), "application/json");
    EXPECT_EQ(service->stats().queued, 0U);
}

TEST_F(TicketServiceTest, InOrderForEachTicketAndTheLastOneWins) {
    start();
    server.misbehave = [](const Seen&, Reaction&) { return false; };
    for (int i = 0; i < 200; ++i) {
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kRunning));
        if (i % 3 == 0) run_for(loop, milliseconds(1));
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    }
    ASSERT_TRUE(until([&] { return service->stats().queued == 0; }));
    for (const auto& [id, ticket] : server.tickets) {
        EXPECT_EQ(ticket.status, "COMPLETED") << id;
        EXPECT_LE(ticket.history.size(), 2U);
    }
    EXPECT_EQ(server.tickets.size(), 200U);
    EXPECT_GT(notes.replaced, 0);
}

TEST_F(TicketServiceTest, OneAtATimeForATicket) {
    start();
    server.next.push_back({.bytes = http::testing::reply_text(503, ""), .delay = milliseconds(100)});
    service->update_status(update("t", TicketStatus::kRunning));
    ASSERT_TRUE(until([&] { return server.asked("PATCH") == 1; }));
    service->update_status(update("t", TicketStatus::kCompleted));
    run_for(loop, milliseconds(50));
    EXPECT_EQ(server.asked("PATCH"), 1U);
    ASSERT_TRUE(until([&] { return service->stats().queued == 0; }));
    EXPECT_THAT(server.tickets.at("t").history, ElementsAre("COMPLETED")) << "the one that failed was overtaken";
}

TEST_F(TicketServiceTest, ManyAtOnceButNotTooMany) {
    options.requests = 16;
    start();
    for (int i = 0; i < 300; ++i)
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 300; }));
    EXPECT_LE(server.server().most_at_once(), 16U);
    EXPECT_GT(server.server().most_at_once(), 4U);
}

TEST_F(TicketServiceTest, A404IsWaitedOut) {
    server.creates = false;
    start().update_status(update("t", TicketStatus::kRunning));
    ASSERT_TRUE(until([&] { return !notes.delayed.empty(); }));
    EXPECT_TRUE(notes.lost.empty());
    server.tickets["t"];
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    EXPECT_EQ(server.tickets["t"].status, "RUNNING");
    EXPECT_TRUE(notes.breaker.empty()) << "a 404 is an answer";
}

TEST_F(TicketServiceTest, A404IsNotWaitedOutForEver) {
    server.creates = false;
    options.not_found_patience = milliseconds(1);
    start().update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.lost.empty(); }));
    EXPECT_EQ(notes.lost[0].second.code, ErrorCode::kNotFound);
    EXPECT_EQ(service->stats().queued, 0U);
}

TEST_F(TicketServiceTest, WhatIsRefusedIsNotSentAgain) {
    start();
    for (const int status : {400, 401, 403, 409, 422, 500, 301, 307}) {
        notes.lost.clear();
        server.next.push_back(reply(status, R"({"detail":[{"msg":"Input should be 'PENDING'","input":"secret"}]})",
                                    status < 400 ? "Location: /api/v1/tickets/t/status\r\n" : ""));
        service->update_status(update("t", TicketStatus::kCompleted));
        ASSERT_TRUE(until([&] { return !notes.lost.empty(); })) << status;
        EXPECT_THAT(notes.lost[0].second.message, HasSubstr(std::to_string(status)));
        EXPECT_EQ(notes.lost[0].second.message.find("secret"), std::string::npos);
    }
    EXPECT_EQ(server.asked("PATCH"), 8U);
    EXPECT_TRUE(notes.breaker.empty());
}

TEST_F(TicketServiceTest, WhatMayPassIsSentAgain) {
    options.retry_base = milliseconds(1);
    options.breaker_failures = 100;
    start();
    server.next.push_back(reply(429, ""));
    server.next.push_back(reply(502, "<html>"));
    server.next.push_back(reply(503, ""));
    server.next.push_back(reply(504, ""));
    // (A reset of a kept connection without any byte would be retried by the HTTP client itself.)
    server.next.push_back({.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", .then = Then::kReset});
    server.next.push_back({.bytes = "garbage\r\n\r\n", .then = Then::kClose});
    service->update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    EXPECT_EQ(notes.delayed.size(), 6U);
    EXPECT_EQ(server.tickets.at("t").status, "COMPLETED");
}

TEST_F(TicketServiceTest, ARetryAfterHoldsEverythingBack) {
    start();
    server.next.push_back(reply(503, "", "Retry-After: 1\r\n"));
    service->update_status(update("a", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delayed.empty(); }));
    const MonoTime before = clock.now();
    service->update_status(update("b", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 2; }));
    EXPECT_GE(clock.now() - before, milliseconds(900));
}

TEST_F(TicketServiceTest, ASlowServiceTimesOutAndIsTriedAgain) {
    options.timeout = milliseconds(200);
    options.retry_base = milliseconds(1);
    start();
    server.next.push_back({.then = Then::kHold});
    service->update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    EXPECT_EQ(notes.delayed.size(), 1U);
}

TEST_F(TicketServiceTest, SomethingThatAnswers200ToEverythingIsNotTheService) {
    start();
    for (const char* body : {"<html>login</html>", "{}", R"({"ticket_id":"other","status":"COMPLETED"})", ""}) {
        notes.lost.clear();
        server.next.push_back(reply(200, body));
        service->update_status(update("t", TicketStatus::kCompleted));
        ASSERT_TRUE(until([&] { return !notes.lost.empty(); }));
        EXPECT_EQ(notes.lost[0].second.code, ErrorCode::kMalformed) << body;
    }
}

TEST_F(TicketServiceTest, TheBreakerKeepsAwayAndTriesOnce) {
    options.retry_base = milliseconds(1);
    const std::uint16_t port = server.port();
    start();
    server.stop();
    for (int i = 0; i < 20; ++i)
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return service->stats().breaker == CircuitBreaker::State::kOpen; }));
    ASSERT_TRUE(until([&] { return service->stats().in_flight == 0; }));
    const std::uint64_t calls = client.stats().calls;
    service->update_status(update("later", TicketStatus::kCompleted));
    service->lookup({"x"});
    run_for(loop, milliseconds(50));
    EXPECT_EQ(client.stats().calls, calls) << "nothing is sent while it is open, and nothing looked up";
    EXPECT_EQ(service->stats().awaited, 0U) << "the engine asks again";

    clock.ahead += std::chrono::seconds(61);
    service->update_status(update("later-still", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return client.stats().calls > calls; }));
    run_for(loop, milliseconds(50));
    EXPECT_EQ(client.stats().calls, calls + 1) << "one trial, which fails";
    StandIn back(loop, port);
    clock.ahead += std::chrono::seconds(61);
    service->update_status(update("last", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 23; }));
    using State = CircuitBreaker::State;
    EXPECT_THAT(notes.breaker,
                ElementsAre(State::kOpen, State::kHalfOpen, State::kOpen, State::kHalfOpen, State::kClosed));
    EXPECT_EQ(back.tickets.size(), 23U);
    EXPECT_TRUE(notes.lost.empty());
}

TEST_F(TicketServiceTest, TheQueueIsBoundedAndEndingsGoFirst) {
    options.queue = 10;
    server.stop();
    start();
    for (int i = 0; i < 10; ++i)
        service->update_status(update("r-" + std::to_string(i), TicketStatus::kRunning));
    service->update_status(update("r-new", TicketStatus::kRunning));
    ASSERT_EQ(notes.lost.size(), 1U);
    EXPECT_EQ(notes.lost[0].first, "r-new");
    for (int i = 0; i < 10; ++i)
        service->update_status(update("e-" + std::to_string(i), TicketStatus::kCompleted));
    ASSERT_EQ(notes.lost.size(), 11U);
    EXPECT_EQ(notes.lost[1].first, "r-0") << "a RUNNING goes for an ending";
    service->update_status(update("e-new", TicketStatus::kCompleted));
    EXPECT_EQ(notes.lost.back().first, "e-new");
    EXPECT_EQ(notes.lost.back().second.code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(service->stats().queued, 10U);
}

TEST_F(TicketServiceTest, SaysWhenTheServiceIsBehind) {
    options.queue = 20;
    options.requests = 1;
    server.misbehave = [&](const Seen& seen, Reaction& reaction) {
        reaction = reply(200, R"({"status":"COMPLETED","ticket_id":")" + seen.target.substr(16, 4) + "\"}");
        reaction.delay = milliseconds(10);
        return true;
    };
    start();
    const auto end = [&](int i) { service->update_status(update("e-" + std::to_string(i), TicketStatus::kCompleted)); };
    for (int i = 10; i < 20; ++i)
        end(i);
    ASSERT_TRUE(until([&] { return server.asked("PATCH") == 1; }));
    EXPECT_FALSE(service->behind()) << "nine wait for their turn";
    end(20);
    EXPECT_TRUE(service->behind());
    clock.ahead += options.wait_for_service;
    EXPECT_FALSE(service->behind()) << "one that crawls is not waited for";
    clock.ahead = {};

    std::size_t waiting = 0;
    ASSERT_TRUE(until([&] {
        waiting = service->stats().queued - service->stats().in_flight;
        EXPECT_EQ(service->behind(), waiting > 5) << waiting;
        return waiting <= 5;
    }));
    while (waiting++ < 9)
        end(20 + static_cast<int>(waiting));
    EXPECT_FALSE(service->behind()) << "until half of the queue waits again";
    ASSERT_TRUE(until([&] { return service->stats().queued == 0; }));
    EXPECT_TRUE(notes.lost.empty());
}

TEST_F(TicketServiceTest, IsNotBehindWhatIsAway) {
    options.queue = 20;
    options.requests = 1;
    server.stop();
    start();
    for (int i = 0; i < 20; ++i)
        service->update_status(update("e-" + std::to_string(i), TicketStatus::kCompleted));
    EXPECT_TRUE(service->behind()) << "nobody knows better yet";
    ASSERT_TRUE(until([&] { return service->stats().breaker == CircuitBreaker::State::kOpen; }));
    EXPECT_FALSE(service->behind());
}

TEST_F(TicketServiceTest, IsNotBehindBecauseOfTicketsThatAreNotKnownThere) {
    options.queue = 20;
    server.creates = false;
    start();
    for (int i = 0; i < 20; ++i)
        service->update_status(update("e-" + std::to_string(i), TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return notes.delayed.size() >= 20; }));
    EXPECT_EQ(service->stats().queued, 20U);
    EXPECT_FALSE(service->behind());
}

TEST_F(TicketServiceTest, GivenUpInTheEnd) {
    options.keep_trying = milliseconds(50);
    options.retry_base = milliseconds(10);
    options.breaker_failures = 1000;
    server.stop();
    start().update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.lost.empty(); }));
    EXPECT_EQ(notes.lost[0].second.code, ErrorCode::kUnavailable);
}

TEST_F(TicketServiceTest, AnImpossibleIdIsRefused) {
    start();
    for (const std::string& id : {std::string(), std::string("."), std::string(".."), std::string(600, 'x')})
        service->update_status(update(id, TicketStatus::kCompleted));
    EXPECT_EQ(notes.lost.size(), 4U);
    service->update_status(update("a/../b c", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return server.asked("PATCH") == 1; }));
    EXPECT_EQ(server.server().seen().at(0).target, "/api/v1/tickets/a%2F..%2Fb%20c/status");
}

TEST_F(TicketServiceTest, CredentialsOfTheAddressAreSentAndNotSaid) {
    options.base_url = "http://me:pass-word@127.0.0.1:" + std::to_string(server.port()) + "/base/";
    start();
    server.next.push_back({.then = Then::kReset});
    service->update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delayed.empty(); }));
    EXPECT_EQ(notes.delayed[0].find("pass-word"), std::string::npos);
    EXPECT_EQ(server.server().seen().at(0).target, "/base/api/v1/tickets/t/status");
    EXPECT_TRUE(server.server().seen().at(0).headers.contains("authorization"));
    options.base_url = "not a url";
    const auto checked = HttpTicketService::check(options);
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().field, "EXECUTION_TICKET_SERVICE_URL");
}

TEST_F(TicketServiceTest, FlushWaitsForWhatIsUnderWay) {
    start();
    server.misbehave = [](const Seen&, Reaction& reaction) {
        reaction = reply(200, R"({"ticket_id":"t","status":"COMPLETED"})");
        reaction.delay = milliseconds(50);
        return true;
    };
    service->update_status(update("t", TicketStatus::kCompleted));
    std::optional<std::size_t> left;
    service->flush(std::chrono::seconds(10), [&](std::size_t count) { left = count; });
    EXPECT_FALSE(left.has_value());
    ASSERT_TRUE(until([&] { return left.has_value(); }));
    EXPECT_EQ(*left, 0U);
    EXPECT_EQ(notes.delivered.size(), 1U);
}

TEST_F(TicketServiceTest, FlushEndsInTime) {
    start();
    server.misbehave = [](const Seen&, Reaction& reaction) {
        reaction = {.then = Then::kHold};
        return true;
    };
    service->update_status(update("t", TicketStatus::kCompleted));
    std::optional<std::size_t> left;
    service->flush(milliseconds(100), [&](std::size_t count) { left = count; });
    ASSERT_TRUE(until([&] { return left.has_value(); }, std::chrono::seconds(5)));
    EXPECT_EQ(*left, 1U);
}

// Whatever the service does in between: each ticket ends with the last status that was told, in order, and nothing is
// lost that the service did not refuse.
TEST_F(TicketServiceTest, AnythingInBetween) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        SeededRandom chance(seed);
        notes = {};
        server.tickets.clear();
        options.retry_base = milliseconds(2);
        options.retry_cap = milliseconds(20);
        options.not_found_base = milliseconds(2);
        options.breaker_pause = milliseconds(30);
        options.timeout = milliseconds(300);
        options.requests = 8;
        start();
        bool wild = true;
        server.misbehave = [&](const Seen& seen, Reaction& reaction) {
            if (!wild || chance.chance(0.4)) return false;
            switch (chance.below(6)) {
                case 0: reaction = reply(503, ""); break;
                case 1: reaction = reply(429, "", "Retry-After: 0\r\n"); break;
                case 2: reaction = {.then = Then::kReset}; break;
                case 3: reaction = {.then = Then::kHold}; break;
                case 4:
                    reaction = {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", .then = Then::kClose};
                    break;
                default: reaction = reply(404, R"({"detail":"Ticket not found"})"); break;
            }
            EXPECT_EQ(seen.method, "PATCH");
            return true;
        };
        const TicketStatus order[] = {TicketStatus::kRunning, TicketStatus::kFailed, TicketStatus::kCompensating,
                                      TicketStatus::kCompensated};
        std::map<std::string, std::size_t> told;
        for (int step = 0; step < 300; ++step) {
            const std::string id = "t-" + std::to_string(chance.below(60));
            std::size_t& next = told[id];
            if (next < 4) service->update_status(update(id, order[next++]));
            if (chance.chance(0.5)) run_for(loop, milliseconds(chance.below(4)));
        }
        run_for(loop, milliseconds(300));
        wild = false;
        ASSERT_TRUE(until([&] { return service->stats().queued == 0; })) << "seed " << seed;
        EXPECT_TRUE(notes.lost.empty()) << notes.lost[0].second.describe();
        for (const auto& [id, count] : told) {
            const StoredTicket& ticket = server.tickets[id];
            EXPECT_EQ(ticket.status, to_string(order[count - 1])) << id << " seed " << seed;
            EXPECT_TRUE(std::ranges::is_sorted(ticket.history, {}, [&](const std::string& status) {
                return std::ranges::find(order, status, [](TicketStatus one) { return to_string(one); }) - order;
            })) << id;
        }
    }
}

// ---------------------------------------------------------------- the file

class SpillTest : public TicketServiceTest {
protected:
    SpillTest() {
        fs::create_directories(folder);
        options.spill_file = (folder / "updates.json").string();
    }
    void TearDown() override {
        service.reset();
        fs::remove_all(folder);
    }
    static std::string text_of(const fs::path& path) {
        std::ifstream in(path);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    fs::path folder = fs::temp_directory_path() / ("wa-spill-" + std::to_string(::getpid()));
};

TEST_F(SpillTest, EndingsOutliveTheWorker) {
    server.next.assign(3, Reaction{.then = Then::kReset});
    options.retry_base = std::chrono::seconds(30);
    start();
    service->update_status(update("done", TicketStatus::kCompleted));
    service->update_status(update("failed", TicketStatus::kFailed, "why \"so\""));
    service->update_status(update("running", TicketStatus::kRunning));
    ASSERT_TRUE(until([&] { return notes.delayed.size() == 3; }));
    ASSERT_TRUE(until([&] { return fs::exists(options.spill_file); })) << "also when the worker is killed";
    service.reset();
    EXPECT_EQ(text_of(options.spill_file).find("running"), std::string::npos);

    start();
    EXPECT_EQ(notes.read, 2U);
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 2; }));
    EXPECT_EQ(server.tickets.at("done").status, "COMPLETED");
    EXPECT_EQ(server.tickets.at("failed").error_message, "why \"so\"");
    EXPECT_TRUE(until([&] { return !fs::exists(options.spill_file); })) << "it is removed when all is delivered";
}

TEST_F(SpillTest, WhatIsNewerWins) {
    std::ofstream(options.spill_file) << ticket_service::spill_text({update("t", TicketStatus::kFailed)});
    start().update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    EXPECT_THAT(server.tickets.at("t").history, ElementsAre("COMPLETED"));
}

TEST_F(SpillTest, ADamagedFileIsPutAside) {
    const std::string good = ticket_service::spill_text({update("t", TicketStatus::kFailed)});
    for (const std::string& text : {good.substr(0, good.size() - 3), std::string("{}"), std::string("\0\0", 2),
                                    std::string(R"({"version":2,"updates":[]})"),
                                    std::string(R"({"version":1,"updates":[{"ticket_id":"t"}]})")}) {
        notes.problems.clear();
        std::ofstream(options.spill_file) << text;
        start();
        ASSERT_EQ(notes.problems.size(), 1U) << text;
        EXPECT_THAT(notes.problems[0], HasSubstr("damaged"));
        EXPECT_FALSE(fs::exists(options.spill_file));
        EXPECT_EQ(text_of(options.spill_file + ".damaged"), text);
    }
    service->update_status(update("t", TicketStatus::kCompleted));
    EXPECT_TRUE(until([&] { return !notes.delivered.empty(); })) << "and it works on";
}

TEST_F(SpillTest, AFolderThatIsNotThereIsSaidAndChangesNothing) {
    options.spill_file = (folder / "absent" / "updates.json").string();
    options.retry_base = milliseconds(1);
    server.next.assign(2, Reaction{.then = Then::kReset});
    start().update_status(update("t", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    server.next.assign(1, reply(503, "", "Retry-After: 3\r\n"));
    service->update_status(update("u", TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return !notes.problems.empty(); }));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 2; }));
}

TEST_F(SpillTest, FlushLeavesTheRestInTheFile) {
    server.stop();
    options.breaker_failures = 1;
    start();
    for (int i = 0; i < 5; ++i)
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    std::optional<std::size_t> left;
    service->flush(std::chrono::seconds(5), [&](std::size_t count) { left = count; });
    ASSERT_TRUE(until([&] { return left.has_value(); }, milliseconds(4000))) << "not worth the whole wait";
    EXPECT_EQ(*left, 5U);
    const auto updates = ticket_service::parse_spill(text_of(options.spill_file));
    ASSERT_TRUE(updates);
    EXPECT_EQ(updates->size(), 5U);
}

// ------------------------------------------------------------ look-ups

TEST_F(TicketServiceTest, StatusesOfDependencies) {
    const std::map<std::string, DependencyState> words{
        {"COMPLETED", DependencyState::kCompleted}, {"FAILED", DependencyState::kFailed},
        {"COMPENSATING", DependencyState::kFailed}, {"COMPENSATED", DependencyState::kFailed},
        {"CANCELLED", DependencyState::kFailed},    {"PREEMPTED", DependencyState::kFailed},
        {"REJECTED", DependencyState::kFailed},     {"PENDING", DependencyState::kOpen},
        {"RUNNING", DependencyState::kOpen},        {"SOMETHING", DependencyState::kOpen}};
    std::vector<std::string> ids{"nobody", ".."};
    for (const auto& [word, state] : words) {
        server.tickets["t-" + word] = {"", word, "bad\nline", {}};
        ids.push_back("t-" + word);
    }
    start().lookup(ids);
    EXPECT_TRUE(answers.empty()) << "never from inside lookup()";
    ASSERT_TRUE(until([&] { return answers.size() == ids.size(); }));
    for (const auto& [word, state] : words) {
        EXPECT_EQ(answers.at("t-" + word).state, state) << word;
        EXPECT_FALSE(answers.at("t-" + word).last_word);
    }
    EXPECT_EQ(answers.at("nobody").state, DependencyState::kUnknown);
    EXPECT_EQ(answers.at("..").state, DependencyState::kUnknown);
    EXPECT_EQ(answers.at("t-FAILED").detail, "FAILED: bad line");
    EXPECT_EQ(service->stats().awaited, 0U);
}

TEST_F(TicketServiceTest, OneListAnswersForAPlan) {
    std::vector<std::string> ids;
    for (int i = 0; i < 300; ++i) {
        ids.push_back("t-" + std::to_string(i));
        server.tickets[ids.back()] = {"plan-1", i % 2 == 0 ? "COMPLETED" : "RUNNING", "", {}};
    }
    start().lookup(ids);
    ASSERT_TRUE(until([&] { return answers.size() == 300; }));
    EXPECT_EQ(server.asked("GET", "/api/v1/tickets/?plan_id=plan-1&limit=1000"), 1U);
    EXPECT_LE(server.asked("GET"), 20U) << "a few to learn the plan, one list";

    // Asked again: what has ended is known, the rest costs one more list.
    clock.ahead += std::chrono::seconds(6);
    const std::size_t before = server.asked("GET");
    answers.clear();
    service->lookup(ids);
    ASSERT_TRUE(until([&] { return answers.size() == 300; }));
    EXPECT_EQ(server.asked("GET"), before + 1);
}

TEST_F(TicketServiceTest, AnswersAreKeptForAMoment) {
    server.tickets["open"] = {"", "RUNNING", "", {}};
    server.tickets["done"] = {"", "COMPLETED", "", {}};
    start();
    const auto look = [&] {
        answers.clear();
        service->lookup({"open", "done"});
        ASSERT_TRUE(until([&] { return answers.size() == 2; }));
    };
    look();
    look();
    EXPECT_EQ(server.asked("GET"), 2U);
    clock.ahead += std::chrono::seconds(6);
    look();
    EXPECT_EQ(server.asked("GET"), 3U);
    clock.ahead += std::chrono::minutes(11);
    look();
    EXPECT_EQ(server.asked("GET"), 5U);
}

TEST_F(TicketServiceTest, IdsThatTheListDoesNotNameAreAskedForAlone) {
    std::vector<std::string> ids;
    for (int i = 0; i < 40; ++i) {
        ids.push_back("t-" + std::to_string(i));
        server.tickets[ids.back()] = {"plan", "COMPLETED", "", {}};
    }
    for (int i = 0; i < 10; ++i)
        ids.push_back("absent-" + std::to_string(i));
    start().lookup(ids);
    ASSERT_TRUE(until([&] { return answers.size() == 50; }));
    EXPECT_EQ(answers.at("absent-3").state, DependencyState::kUnknown);
    EXPECT_EQ(server.asked("GET", "/api/v1/tickets/?"), 1U);
}

TEST_F(TicketServiceTest, ManyPlans) {
    std::vector<std::string> ids;
    for (int i = 0; i < 400; ++i) {
        ids.push_back("t-" + std::to_string(i));
        server.tickets[ids.back()] = {"plan/" + std::to_string(i % 7), "COMPLETED", "", {}};
    }
    server.misbehave = [](const Seen& seen, Reaction&) {
        EXPECT_EQ(seen.target.find("plan/"), std::string::npos) << "encoded";
        return false;
    };
    start().lookup(ids);
    ASSERT_TRUE(until([&] { return answers.size() == 400; }));
}

TEST_F(TicketServiceTest, TheCacheIsBounded) {
    options.cache = 10;
    start();
    for (int i = 0; i < 50; ++i) {
        const std::string id = "t-" + std::to_string(i);
        server.tickets[id] = {"", "COMPLETED", "", {}};
        service->lookup({id});
    }
    ASSERT_TRUE(until([&] { return answers.size() == 50; }));
    answers.clear();
    service->lookup({"t-0", "t-49"});
    ASSERT_TRUE(until([&] { return answers.size() == 2; }));
    EXPECT_EQ(server.asked("GET"), 51U);
}

TEST_F(TicketServiceTest, LookUpsThatFailAreSaidAndCanBeAskedAgain) {
    start();
    server.tickets["t"] = {"", "COMPLETED", "", {}};
    for (const Reaction& bad :
         {reply(500, ""), reply(200, "not json"), reply(200, R"({"ticket_id":"x","status":"y"})"),
          Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", .then = Then::kClose},
          reply(307, "", "Location: /\r\n"), reply(401, "")}) {
        notes.lookup_errors.clear();
        server.next.push_back(bad);
        service->lookup({"t"});
        ASSERT_TRUE(until([&] { return !notes.lookup_errors.empty(); }));
        EXPECT_EQ(service->stats().awaited, 0U);
        EXPECT_TRUE(answers.empty());
    }
    service->lookup({"t"});
    EXPECT_TRUE(until([&] { return answers.size() == 1; }));
}

// ------------------------------------------------------------ tokens

TEST_F(TicketServiceTest, TokensAreFetchedOnceAndKeptUntilShortBeforeTheirEnd) {
    server.tickets["t"];
    start();
    server.token_expires_at = clock.wall_now() / 1000 + 100;
    int answered = 0;
    std::string text;
    const auto ask = [&](const std::string& id) {
        service->token(id, [&](const Result<TicketToken>& token) {
            ++answered;
            text = token ? token->text : token.error().describe();
        });
    };
    ask("t");
    ask("t");
    EXPECT_EQ(answered, 0);
    ASSERT_TRUE(until([&] { return answered == 2; }));
    EXPECT_EQ(text, "jwt-of-t");
    ask("t");
    ASSERT_TRUE(until([&] { return answered == 3; }));
    EXPECT_EQ(server.asked("GET", "/api/v1/tickets/t/token"), 1U);
    clock.ahead += std::chrono::seconds(75);
    ask("t");
    ASSERT_TRUE(until([&] { return answered == 4; }));
    EXPECT_EQ(server.asked("GET", "/api/v1/tickets/t/token"), 2U);
    ask("nobody");
    ASSERT_TRUE(until([&] { return answered == 5; }));
    EXPECT_THAT(text, HasSubstr("404"));
    server.next.push_back(reply(200, R"({"access_token":"a b\r\nX: y"})"));
    ask("u");
    ASSERT_TRUE(until([&] { return answered == 6; }));
    EXPECT_THAT(text, HasSubstr("not a token"));
    EXPECT_EQ(notes.tokens_ok, 2) << "what is kept is not fetched";
    EXPECT_EQ(notes.tokens_bad, 2);
}

// ------------------------------------------------------------ what calls are for

TEST_F(TicketServiceTest, CallsSayWhatTheyAreFor) {
    const auto cause = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    start();
    server.next.push_back(reply(503, ""));
    StatusUpdate ending = update("t", TicketStatus::kCompleted);
    ending.cause = cause;
    service->update_status(ending);
    ASSERT_TRUE(until([&] { return !notes.delivered.empty(); }));
    ASSERT_EQ(watch.calls.size(), 2U);
    for (std::int32_t i = 0; i < 2; ++i) {
        const CallPurpose& purpose = watch.calls[static_cast<std::size_t>(i)]->purpose;
        EXPECT_EQ(purpose.name, "ticket_service.update_ticket_status");
        EXPECT_EQ(purpose.ticket_id, "t");
        EXPECT_EQ(purpose.cause, cause);
        EXPECT_EQ(purpose.retry, i);
    }
    service->update_status(update("u", TicketStatus::kRunning));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == 2; }));
    EXPECT_FALSE(watch.calls.back()->purpose.cause);
    EXPECT_EQ(watch.calls.back()->purpose.retry, 0);
}

TEST_F(TicketServiceTest, LookUpsAndTokensSayWhatTheyAreForToo) {
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) {
        ids.push_back("t-" + std::to_string(i));
        server.tickets[ids.back()] = {"plan", "COMPLETED", "", {}};
    }
    start();
    service->lookup(ids);
    ASSERT_TRUE(until([&] { return answers.size() == ids.size(); }));
    bool had = false;
    service->token("t-0", [&](const Result<TicketToken>&) { had = true; });
    ASSERT_TRUE(until([&] { return had; }));
    EXPECT_EQ(watch.names_of("t-0"),
              (std::vector<std::string>{"ticket_service.get_ticket", "ticket_service.get_ticket_token"}));
    EXPECT_THAT(watch.names_of(""), ElementsAre("ticket_service.list_tickets")) << "it is about many";
}

TEST_F(TicketServiceTest, DestroyedInTheMiddleOfEverything) {
    start();
    server.misbehave = [](const Seen&, Reaction& reaction) {
        reaction = {.then = Then::kHold};
        return true;
    };
    bool called = false;
    for (int i = 0; i < 50; ++i)
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    service->lookup({"a", "b", "c"});
    service->token("t", [&](const Result<TicketToken>&) { called = true; });
    service->flush(std::chrono::seconds(60), [&](std::size_t) { called = true; });
    run_for(loop, milliseconds(30));
    service.reset();
    run_for(loop, milliseconds(30));
    EXPECT_FALSE(called);
    EXPECT_TRUE(answers.empty());
}

// The goal is 2,500 a second for client and service together on one thread; the test asks for a tenth, as machines
// differ.
TEST_F(TicketServiceTest, Throughput) {
    start();
    constexpr int kCount = 5000;
    const MonoTime before = clock.now();
    for (int i = 0; i < kCount; ++i)
        service->update_status(update("t-" + std::to_string(i), TicketStatus::kCompleted));
    ASSERT_TRUE(until([&] { return notes.delivered.size() == kCount; }, std::chrono::seconds(60)));
    const double rate = kCount / to_seconds(clock.now() - before);
    RecordProperty("patches_per_second", std::to_string(rate));
    std::cout << "patches per second: " << rate << "\n";
#ifndef WA_SANITIZED
    EXPECT_GT(rate, 250);
#endif
}

}  // namespace
}  // namespace wa
