// Against a real redis-server.
#include "adapters/redis/redis_leases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "adapters/redis/lease_value.h"
#include "adapters/redis/testing/redis_server.h"
#include "core/trace/testing/noted_calls.h"

namespace wa {
namespace {

namespace asio = boost::asio;
using redis::testing::RedisServer;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

struct Notes final : RedisListener {
    void redis_changed(bool up, std::string_view why) override {
        changes.push_back(up);
        if (!up) reasons.emplace_back(why);
    }
    void lease_lost(const std::string& id, const LeaseNote& holder) override { lost[id] = holder; }
    void redis_refused(const Error& why) override { refused.push_back(why.describe()); }
    void note_dropped(const std::string&) override { ++dropped; }
    std::vector<bool> changes;
    std::vector<std::string> reasons;
    std::vector<std::string> refused;
    std::map<std::string, LeaseNote> lost;
    int dropped = 0;
};

class RedisLeasesTest : public ::testing::Test {
protected:
    void SetUp() override {
        ::signal(SIGPIPE, SIG_IGN);
        if (!RedisServer::installed()) GTEST_SKIP() << "no " << redis::testing::kProgram << " on this machine";
    }
    bool until(const std::function<bool()>& done, milliseconds limit = std::chrono::seconds(20)) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!done()) {
            if (std::chrono::steady_clock::now() >= end) return false;
            loop.restart();
            loop.run_one_for(milliseconds(10));
        }
        return true;
    }
    void run_for(milliseconds time) {
        static_cast<void>(until([] { return false; }, time));
    }
    RedisServer& server(std::vector<std::string> arguments = {}) {
        if (!server_) server_ = std::make_unique<RedisServer>(std::move(arguments));
        return *server_;
    }
    RedisAddress address() {
        RedisAddress there;
        there.host = "127.0.0.1";
        there.port = server().port();
        return there;
    }
    std::unique_ptr<RedisTicketLeases> make(const std::string& worker, Notes& told) {
        options.worker = worker;
        return std::make_unique<RedisTicketLeases>(loop, clock, random, address(), options, told);
    }
    RedisTicketLeases& start() {
        leases = make("worker-1", notes);
        EXPECT_TRUE(until([&] { return leases->up(); }));
        return *leases;
    }
    LeaseAnswer acquire(RedisTicketLeases& by, const std::string& id, const LeasePosition& at = kHere) {
        std::optional<LeaseAnswer> got;
        by.acquire(id, at, [&](const LeaseAnswer& answer) { got = answer; });
        EXPECT_FALSE(got.has_value()) << "never from inside acquire()";
        EXPECT_TRUE(until([&] { return got.has_value(); }));
        return got.value_or(LeaseAnswer{});
    }
    LeaseState state(RedisTicketLeases& by, const std::string& id, const LeasePosition& at = kHere) {
        return acquire(by, id, at).state;
    }
    bool settle(RedisTicketLeases& by) {
        return until([&] { return by.idle(); });
    }
    std::string get(const std::string& key) { return server().ask({"GET", key}); }
    int ttl(const std::string& key) { return std::stoi(server().ask({"TTL", key})); }

    static inline const LeasePosition kHere{"execution.tickets", 3, 42};
    static inline const LeasePosition kElsewhere{"execution.tickets", 5, 7};

    asio::io_context loop;
    SystemClock clock;
    SeededRandom random{1};
    std::unique_ptr<RedisServer> server_;
    RedisLeasesOptions options;
    Notes notes;
    wa::testing::NotedCalls watch;
    std::unique_ptr<RedisTicketLeases> leases;
};

TEST_F(RedisLeasesTest, TakesAndGivesBack) {
    start();
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    const LeaseNote note = redis::read_note(get("ticket:processing:t"));
    EXPECT_EQ(note.worker, "worker-1");
    EXPECT_EQ(note.position, kHere);
    EXPECT_GT(ttl("ticket:processing:t"), 590);
    EXPECT_LE(ttl("ticket:processing:t"), 600);
    const LeaseAnswer again = acquire(*leases, "t", kElsewhere);
    EXPECT_EQ(again.state, LeaseState::kHeldHere);
    EXPECT_EQ(again.note.position, kHere);
    leases->release("t");
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(get("ticket:processing:t"), "(nil)");
    EXPECT_EQ(get("ticket:processed:t"), "(nil)");
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
}

TEST_F(RedisLeasesTest, WhoWatchesHearsOfEachOperation) {
    options.watch = &watch;
    start();
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    leases->mark_processed("t", TicketStatus::kCompleted, kHere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(watch.names_of("t"),
              (std::vector<std::string>{"redis.acquire_lease", "redis.mark_processed", "redis.give_lease_back"}));
    for (const auto& call : watch.calls) {
        EXPECT_EQ(call->protocol, OutgoingCall::Protocol::kRedis);
        EXPECT_EQ(call->host, "127.0.0.1");
        EXPECT_EQ(call->port, server().port());
        EXPECT_EQ(call->ended, 1);
        EXPECT_FALSE(call->error);
    }
    EXPECT_EQ(watch.calls.at(0)->method, "SET");
    // Something that is no text where a lease should be.
    server().ask({"RPUSH", "ticket:processing:u", "x"});
    EXPECT_EQ(state(*leases, "u"), LeaseState::kUnavailable);
    EXPECT_EQ(watch.calls.back()->ended, 1);
    EXPECT_TRUE(watch.calls.back()->error);
    // What is under way when Redis goes.
    server().freeze();
    leases->acquire("v", kHere, [](const LeaseAnswer&) {});
    run_for(milliseconds(20));
    EXPECT_EQ(watch.calls.back()->purpose.ticket_id, "v");
    EXPECT_EQ(watch.calls.back()->ended, 0);
    leases.reset();
    server().thaw();
    run_for(milliseconds(20));
    EXPECT_TRUE(watch.calls.back()->given_up);
}

TEST_F(RedisLeasesTest, AnotherWorkersLeaseIsRespected) {
    start();
    Notes other_notes;
    const auto other = make("worker-2", other_notes);
    ASSERT_TRUE(until([&] { return other->up(); }));
    ASSERT_EQ(state(*other, "t", kElsewhere), LeaseState::kAcquired);
    const LeaseAnswer answer = acquire(*leases, "t");
    EXPECT_EQ(answer.state, LeaseState::kHeld);
    EXPECT_EQ(answer.note.worker, "worker-2");
    EXPECT_EQ(answer.note.position, kElsewhere);
    leases->release("t");
    run_for(milliseconds(20));
    EXPECT_NE(get("ticket:processing:t"), "(nil)") << "nobody gives back what is another's";
    other->mark_processed("t", TicketStatus::kCompleted, kElsewhere);
    ASSERT_TRUE(settle(*other));
    const LeaseAnswer done = acquire(*leases, "t");
    EXPECT_EQ(done.state, LeaseState::kProcessed);
    EXPECT_EQ(done.note.status, "COMPLETED");
    EXPECT_EQ(done.note.worker, "worker-2");
    EXPECT_EQ(get("ticket:processing:t"), "(nil)") << "looking leaves nothing behind";
}

TEST_F(RedisLeasesTest, ALeaseOfAnotherImplementation) {
    start();
    server().ask({"SET", "ticket:processing:t", "1", "EX", "600"});
    const LeaseAnswer held = acquire(*leases, "t");
    EXPECT_EQ(held.state, LeaseState::kHeld);
    EXPECT_EQ(held.note, LeaseNote{});
    server().ask({"SET", "ticket:processed:t", "1"});
    EXPECT_EQ(state(*leases, "t"), LeaseState::kProcessed);
    EXPECT_EQ(get("ticket:processing:t"), "1");
    leases->mark_processed("t", TicketStatus::kFailed, kHere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(get("ticket:processed:t"), "1") << "its endings are completions";
}

TEST_F(RedisLeasesTest, WhatAnEndingSuppresses) {
    start();
    leases->mark_processed("failed", TicketStatus::kFailed, kHere);
    leases->mark_processed("done", TicketStatus::kCompleted, kHere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_GT(ttl("ticket:processed:failed"), 604'700);
    EXPECT_EQ(state(*leases, "failed", kHere), LeaseState::kProcessed) << "a redelivery";
    EXPECT_EQ(state(*leases, "failed", kElsewhere), LeaseState::kAcquired) << "sent again on purpose";
    EXPECT_EQ(state(*leases, "done", kHere), LeaseState::kProcessed);
    EXPECT_EQ(state(*leases, "done", kElsewhere), LeaseState::kProcessed);
    leases->mark_processed("done", TicketStatus::kFailed, kElsewhere);
    leases->mark_processed("failed", TicketStatus::kCompleted, kElsewhere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_THAT(get("ticket:processed:done"), HasSubstr("COMPLETED"));
    EXPECT_THAT(get("ticket:processed:failed"), HasSubstr("COMPLETED"));
    EXPECT_EQ(leases->held(), 0U);
}

TEST_F(RedisLeasesTest, AnEarlierProcessOfTheSameNameIsSucceeded) {
    start();
    ASSERT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    leases.reset();
    EXPECT_NE(get("ticket:processing:t"), "(nil)");
    start();
    EXPECT_EQ(state(*leases, "t", kElsewhere), LeaseState::kAcquired);
    EXPECT_EQ(redis::read_note(get("ticket:processing:t")).position, kElsewhere);
}

TEST_F(RedisLeasesTest, TheLastOwnerOfTheSameRecordIsSucceeded) {
    start();
    Notes other_notes;
    auto other = make("worker-2", other_notes);
    ASSERT_TRUE(until([&] { return other->up(); }));
    ASSERT_EQ(state(*other, "t"), LeaseState::kAcquired);
    other.reset();  // killed: its lease stays
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    EXPECT_EQ(redis::read_note(get("ticket:processing:t")).worker, "worker-1");
}

TEST_F(RedisLeasesTest, RenewsWhileItIsHeld) {
    options.lease_life = std::chrono::seconds(2);
    options.renew_interval = milliseconds(300);
    start();
    ASSERT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    ASSERT_EQ(state(*leases, "u"), LeaseState::kAcquired);
    leases->release("u");
    run_for(milliseconds(3500));
    EXPECT_NE(get("ticket:processing:t"), "(nil)");
    EXPECT_EQ(get("ticket:processing:u"), "(nil)");
    server().ask({"SET", "ticket:processing:t", R"({"worker":"thief"})"});
    ASSERT_TRUE(until([&] { return !notes.lost.empty(); }));
    EXPECT_EQ(notes.lost.at("t").worker, "thief");
    EXPECT_EQ(leases->held(), 0U);
}

TEST_F(RedisLeasesTest, DownMeansGoOnWithout) {
    start();
    ASSERT_EQ(state(*leases, "held"), LeaseState::kAcquired);
    server().stop();
    ASSERT_TRUE(until([&] { return !leases->up(); }));
    EXPECT_EQ(state(*leases, "t"), LeaseState::kUnavailable);
    EXPECT_EQ(state(*leases, "done"), LeaseState::kUnavailable);
    leases->mark_processed("done", TicketStatus::kCompleted, kHere);
    EXPECT_EQ(state(*leases, "done"), LeaseState::kProcessed) << "what is not written yet counts too";
    leases->release("nothing");
    server().start();  // empty
    ASSERT_TRUE(until([&] { return leases->up(); }));
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(redis::read_note(get("ticket:processing:held")).worker, "worker-1") << "taken again";
    EXPECT_EQ(redis::read_note(get("ticket:processing:t")).worker, "worker-1") << "taken late";
    EXPECT_THAT(get("ticket:processed:done"), HasSubstr("COMPLETED"));
    EXPECT_EQ(get("ticket:processing:done"), "(nil)");
    EXPECT_EQ(notes.changes, (std::vector<bool>{true, false, true}));
}

TEST_F(RedisLeasesTest, AwayAtTheStart) {
    const RedisAddress there = address();
    server().stop();
    options.worker = "worker-1";
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, notes);
    ASSERT_TRUE(until([&] { return !notes.changes.empty(); }));
    run_for(milliseconds(500));
    EXPECT_EQ(notes.changes, std::vector<bool>{false}) << "said once";
    EXPECT_EQ(state(*leases, "t"), LeaseState::kUnavailable);
    server().start();
    EXPECT_TRUE(until([&] { return leases->up(); }));
}

TEST_F(RedisLeasesTest, WhatWaitsIsBounded) {
    options.waiting = 10;
    start();
    server().stop();
    ASSERT_TRUE(until([&] { return !leases->up(); }));
    for (int i = 0; i < 15; ++i)
        leases->mark_processed("t-" + std::to_string(i), TicketStatus::kCompleted, kHere);
    EXPECT_EQ(notes.dropped, 5);
}

TEST_F(RedisLeasesTest, AFrozenServerIsGivenUpInTime) {
    options.limits.command = milliseconds(600);
    options.limits.connect = milliseconds(600);
    start();
    server().freeze();
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(state(*leases, "t"), LeaseState::kUnavailable);
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
    EXPECT_FALSE(leases->up());
    ASSERT_FALSE(notes.reasons.empty());
    EXPECT_THAT(notes.reasons.back(), HasSubstr("in time"));
    run_for(milliseconds(1300));
    EXPECT_FALSE(leases->up()) << "a connection that nobody answers on is not one";
    server().thaw();
    ASSERT_TRUE(until([&] { return leases->up(); }));
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(redis::read_note(get("ticket:processing:t")).worker, "worker-1");
}

TEST_F(RedisLeasesTest, Passwords) {
    server({"--requirepass", "se-cret"});
    RedisAddress there = address();
    options.worker = "w";
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, notes);
    ASSERT_TRUE(until([&] { return !notes.changes.empty(); }));
    EXPECT_FALSE(notes.changes[0]);
    EXPECT_THAT(notes.reasons[0], HasSubstr("NOAUTH"));
    there.password = "wrong-one";
    Notes wrong;
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, wrong);
    ASSERT_TRUE(until([&] { return !wrong.changes.empty(); }));
    EXPECT_THAT(wrong.reasons[0], HasSubstr("WRONGPASS"));
    EXPECT_EQ(wrong.reasons[0].find("wrong-one"), std::string::npos);
    there.password = "se-cret";
    there.database = 3;
    Notes right;
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, right);
    ASSERT_TRUE(until([&] { return leases->up(); }));
    ASSERT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    EXPECT_EQ(server().ask({"EXISTS", "ticket:processing:t"}, "se-cret"), "0") << "another database";
    there.username = "default";
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, right);
    EXPECT_TRUE(until([&] { return leases->up(); }));
}

TEST_F(RedisLeasesTest, UnixSocket) {
    const std::string path = "/tmp/wa-redis-" + std::to_string(::getpid()) + ".sock";
    server({"--unixsocket", path});
    RedisAddress there;
    there.unix_socket = path;
    options.worker = "w";
    leases = std::make_unique<RedisTicketLeases>(loop, clock, random, there, options, notes);
    ASSERT_TRUE(until([&] { return leases->up(); }));
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    ::unlink(path.c_str());
}

TEST_F(RedisLeasesTest, RefusalsAreSaidAndDoNotStopAnything) {
    start();
    server().ask({"LPUSH", "ticket:processed:t", "x"});
    EXPECT_EQ(state(*leases, "t"), LeaseState::kUnavailable);
    ASSERT_FALSE(notes.refused.empty());
    EXPECT_THAT(notes.refused[0], HasSubstr("WRONGTYPE"));
    EXPECT_TRUE(leases->up());
    leases->mark_processed("t", TicketStatus::kCompleted, kHere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(state(*leases, "u"), LeaseState::kAcquired);
}

TEST_F(RedisLeasesTest, HugeAndStrangeValues) {
    start();
    server().ask({"SET", "ticket:processing:huge", std::string(5'000'000, '{')});
    EXPECT_EQ(acquire(*leases, "huge").note, LeaseNote{});
    server().ask({"SET", "ticket:processing:odd", R"({"worker":5,"partition":"x","offset":1e400})"});
    EXPECT_EQ(state(*leases, "odd"), LeaseState::kHeld);
    const std::string id("a b:\r\n\0*\xFF", 8);
    EXPECT_EQ(state(*leases, id), LeaseState::kAcquired) << "ids are no part of the protocol";
    EXPECT_EQ(state(*leases, ""), LeaseState::kUnavailable);
    EXPECT_EQ(state(*leases, std::string(2000, 'x')), LeaseState::kUnavailable);
}

TEST_F(RedisLeasesTest, GivenBackBeforeItIsTaken) {
    start();
    std::optional<LeaseAnswer> got;
    leases->acquire("t", kHere, [&](const LeaseAnswer& answer) { got = answer; });
    leases->release("t");
    ASSERT_TRUE(until([&] { return got.has_value(); }));
    EXPECT_EQ(got->state, LeaseState::kUnavailable);
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(get("ticket:processing:t"), "(nil)");
    // And taken again at once.
    leases->acquire("t", kHere, [](const LeaseAnswer&) {});
    leases->release("t");
    EXPECT_EQ(state(*leases, "t"), LeaseState::kAcquired);
    ASSERT_TRUE(settle(*leases));
    EXPECT_NE(get("ticket:processing:t"), "(nil)");
}

TEST_F(RedisLeasesTest, ManyAtOnce) {
    start();
    int acquired = 0;
    constexpr int kCount = 5000;
    for (int i = 0; i < kCount; ++i)
        leases->acquire("t-" + std::to_string(i), kHere,
                        [&](const LeaseAnswer& answer) { acquired += answer.state == LeaseState::kAcquired ? 1 : 0; });
    ASSERT_TRUE(until([&] { return acquired == kCount; }));
    for (int i = 0; i < kCount; ++i)
        leases->mark_processed("t-" + std::to_string(i), TicketStatus::kCompleted, kHere);
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(server().ask({"DBSIZE"}), std::to_string(kCount)) << "all endings, no lease";
    EXPECT_TRUE(notes.refused.empty());
    EXPECT_EQ(notes.dropped, 0);
}

TEST_F(RedisLeasesTest, RestartsUnderLoad) {
    start();
    int answers = 0;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 300; ++i)
            leases->acquire("t-" + std::to_string(round) + "-" + std::to_string(i), kHere,
                            [&](const LeaseAnswer&) { ++answers; });
        run_for(milliseconds(2));
        server().stop();
        ASSERT_TRUE(until([&] { return answers == 300 * (round + 1); })) << "everybody is answered";
        server().start();
        ASSERT_TRUE(until([&] { return leases->up(); }));
    }
    ASSERT_TRUE(settle(*leases));
    EXPECT_EQ(leases->held(), 900U);
    EXPECT_TRUE(until([&] { return server().ask({"DBSIZE"}) == "900"; })) << "and taken when it is back";
}

// Three workers, a handful of tickets, as long as Redis answers: nobody holds what another holds, and nothing that was
// completed is taken again.
TEST_F(RedisLeasesTest, NeverTwoAtATime) {
    std::vector<std::unique_ptr<Notes>> told;
    std::vector<std::unique_ptr<RedisTicketLeases>> workers;
    for (int i = 0; i < 3; ++i) {
        told.push_back(std::make_unique<Notes>());
        workers.push_back(make("worker-" + std::to_string(i), *told.back()));
    }
    ASSERT_TRUE(until([&] { return std::ranges::all_of(workers, [](const auto& one) { return one->up(); }); }));
    std::map<std::string, std::size_t> holder;
    std::set<std::string> completed;
    int acquired = 0;
    int suppressed = 0;
    for (int step = 0; step < 2000; ++step) {
        const std::size_t who = random.below(3);
        const std::string id = "t-" + std::to_string(random.below(40));
        const LeasePosition position{"t", static_cast<std::int32_t>(who), static_cast<std::int64_t>(random.below(3))};
        const auto held = holder.find(id);
        if (held != holder.end() && held->second == who) {
            holder.erase(held);
            if (random.chance(0.2)) {
                completed.insert(id);
                workers[who]->mark_processed(id, TicketStatus::kCompleted, position);
            } else if (random.chance(0.5)) {
                workers[who]->mark_processed(id, TicketStatus::kFailed, position);
            } else {
                workers[who]->release(id);
            }
        } else {
            workers[who]->acquire(id, position, [&, who, id](const LeaseAnswer& answer) {
                ASSERT_NE(answer.state, LeaseState::kUnavailable) << answer.detail;
                suppressed += answer.state == LeaseState::kProcessed ? 1 : 0;
                if (answer.state != LeaseState::kAcquired) return;
                ++acquired;
                EXPECT_FALSE(holder.contains(id)) << id;
                EXPECT_FALSE(completed.contains(id)) << id;
                holder[id] = who;
            });
        }
        if (random.chance(0.2)) run_for(milliseconds(1));
    }
    ASSERT_TRUE(until([&] { return std::ranges::all_of(workers, [](const auto& one) { return one->idle(); }); }));
    EXPECT_GT(acquired, 100);
    EXPECT_GT(suppressed, 10);
}

TEST_F(RedisLeasesTest, DestroyedInTheMiddle) {
    start();
    bool called = false;
    for (int i = 0; i < 100; ++i)
        leases->acquire("t-" + std::to_string(i), kHere, [&](const LeaseAnswer&) { called = true; });
    leases.reset();
    run_for(milliseconds(50));
    EXPECT_FALSE(called);
}

TEST(RedisAddress, Urls) {
    const auto full = parse_redis_url("redis://us%40er:pa%2Fss%3A@Cache.Example:7000/5");
    ASSERT_TRUE(full);
    EXPECT_EQ(full->username, "us@er");
    EXPECT_EQ(full->password, "pa/ss:");
    EXPECT_EQ(full->host, "Cache.Example");
    EXPECT_EQ(full->port, 7000);
    EXPECT_EQ(full->database, 5);
    EXPECT_EQ(full->shown(), "Cache.Example:7000");
    EXPECT_EQ(parse_redis_url("redis://:secret@h")->password, "secret");
    EXPECT_EQ(parse_redis_url("redis://:secret@h")->username, "");
    EXPECT_EQ(parse_redis_url("redis://h")->port, 6379);
    EXPECT_EQ(parse_redis_url("redis://h/")->database, 0);
    EXPECT_EQ(parse_redis_url("redis://h?db=2")->database, 2);
    EXPECT_EQ(parse_redis_url("redis://[::1]:6380/1")->host, "::1");
    EXPECT_EQ(parse_redis_url("redis://[::1]:6380/1")->shown(), "[::1]:6380");
    EXPECT_EQ(parse_redis_url("unix:///run/redis.sock?db=1")->unix_socket, "/run/redis.sock");
    EXPECT_EQ(parse_redis_url("unix://:pw@/run/redis.sock")->password, "pw");
    for (const char* text :
         {"", "redis", "redis://", "redis://:6379", "http://h", "redis://h:0", "redis://h:99999",
          "redis://h:", "redis://h:x", "redis://h/x", "redis://a b", "redis://u:p%zz@h", "redis://u:p%4@h",
          "redis://[::1", "redis://h?ssl=true", "unix://relative", "redis://h/1/2"}) {
        const auto address = parse_redis_url(text);
        ASSERT_FALSE(address) << text;
        EXPECT_EQ(address.error().field, "REDIS_URL");
    }
    const auto tls = parse_redis_url("rediss://:se-cret@h:6379");
    ASSERT_FALSE(tls);
    EXPECT_EQ(tls.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(tls.error().describe(), HasSubstr("TLS"));
    EXPECT_EQ(tls.error().describe().find("se-cret"), std::string::npos);
}

}  // namespace
}  // namespace wa
