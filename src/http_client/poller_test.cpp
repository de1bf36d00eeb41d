// The pace of asking (without time), and the loop around it (against a server).
#include "http_client/poller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <deque>
#include <optional>

#include "http_client/testing/raw_server.h"

namespace wa::http {
namespace {

namespace asio = boost::asio;
using testing::RawServer;
using testing::Reaction;
using testing::reply;
using testing::run_for;
using testing::run_until;
using testing::Seen;
using Then = Reaction::Then;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// ------------------------------------------------------------ the course

class PollCourseTest : public ::testing::Test {
protected:
    PollCourse course(const PollPolicy& policy, Duration time = Duration::zero()) {
        return {policy, now, time == Duration::zero() ? MonoTime{} : now + time, random};
    }
    static PollPolicy steady() { return {.interval = seconds(10), .growth = 1.0, .longest = seconds(60), .jitter = 0}; }

    SeededRandom random{1};
    MonoTime now{seconds(1000)};
};

TEST_F(PollCourseTest, GrowsToItsLongest) {
    PollCourse it = course({.interval = seconds(2), .growth = 2, .longest = seconds(10), .jitter = 0});
    std::vector<Duration> waits;
    for (int i = 0; i < 5; ++i)
        waits.push_back(it.running(now, {}).wait);
    EXPECT_THAT(waits, ::testing::ElementsAre(seconds(2), seconds(4), seconds(8), seconds(10), seconds(10)));
}

TEST_F(PollCourseTest, JitterSpreadsBothWays) {
    PollCourse it = course({.interval = seconds(10), .growth = 1, .longest = seconds(10), .jitter = 0.2});
    Duration least = seconds(100);
    Duration most{};
    for (int i = 0; i < 1000; ++i) {
        const Duration wait = it.running(now, {}).wait;
        least = std::min(least, wait);
        most = std::max(most, wait);
    }
    EXPECT_GE(least, seconds(8));
    EXPECT_LE(most, seconds(12));
    EXPECT_LT(least, milliseconds(8200));
    EXPECT_GT(most, milliseconds(11'800));
}

TEST_F(PollCourseTest, AHintIsALowerBound) {
    PollCourse it = course(steady());
    EXPECT_EQ(it.running(now, Duration(seconds(45))).wait, seconds(45));
    EXPECT_EQ(it.running(now, Duration(seconds(3))).wait, seconds(10));
    EXPECT_EQ(it.unknown(now, Duration(seconds(90)), true).wait, seconds(90));
}

TEST_F(PollCourseTest, NotYetAndNotAnyMore) {
    PollCourse late = course(steady());
    EXPECT_FALSE(late.not_there(now, {}).end);
    EXPECT_FALSE(late.not_there(now + seconds(29), {}).end);
    EXPECT_EQ(late.not_there(now + seconds(30), {}).end, PollEnd::kNeverAppeared);
    EXPECT_EQ(late.gone(), PollEnd::kNeverAppeared);
    PollCourse gone = course(steady());
    static_cast<void>(gone.not_there(now, {}));
    static_cast<void>(gone.running(now, {}));
    EXPECT_FALSE(gone.not_there(now + minutes(9), {}).end) << "one part that answers may lag behind";
    static_cast<void>(gone.running(now + minutes(9), {}));
    EXPECT_FALSE(gone.not_there(now + minutes(9), {}).end) << "in a row";
    EXPECT_EQ(gone.not_there(now + minutes(9), {}).end, PollEnd::kVanished);
    EXPECT_EQ(gone.gone(), PollEnd::kVanished);
}

TEST_F(PollCourseTest, UnknownTooOften) {
    PollCourse it = course(steady());
    for (int i = 0; i < 9; ++i)
        EXPECT_FALSE(it.unknown(now, {}, false).end);
    static_cast<void>(it.running(now, {}));
    for (int i = 0; i < 9; ++i)
        EXPECT_FALSE(it.unknown(now, {}, false).end) << "in a row";
    for (int i = 0; i < 99; ++i)
        EXPECT_FALSE(it.unknown(now, {}, true).end) << "busy is not counted";
    EXPECT_EQ(it.unknown(now, {}, false).end, PollEnd::kUnknownTooLong);
}

TEST_F(PollCourseTest, UnknownForTooLong) {
    PollCourse it = course(steady());
    EXPECT_FALSE(it.unknown(now + seconds(299), {}, true).end);
    EXPECT_EQ(it.unknown(now + seconds(300), {}, true).end, PollEnd::kUnknownTooLong);
    PollPolicy patient = steady();
    patient.unknown_for = Duration::zero();
    patient.unknown_answers = 0;
    PollCourse forever = course(patient);
    for (int i = 0; i < 1000; ++i)
        EXPECT_FALSE(forever.unknown(now + minutes(i), {}, false).end);
}

TEST_F(PollCourseTest, FailedQuestionsDoubleTheWait) {
    PollCourse it = course(steady());
    EXPECT_EQ(it.unknown(now, {}, false).wait, seconds(10));
    EXPECT_EQ(it.unknown(now, {}, false).wait, seconds(20));
    EXPECT_EQ(it.unknown(now, {}, false).wait, seconds(40));
    EXPECT_EQ(it.unknown(now, {}, false).wait, seconds(60));
}

TEST_F(PollCourseTest, OneLastQuestionBeforeTheDeadline) {
    PollCourse it = course(steady(), seconds(38));
    EXPECT_EQ(it.running(now, {}).wait, seconds(10));
    EXPECT_EQ(it.running(now + seconds(20), {}).wait, seconds(10));
    EXPECT_EQ(it.running(now + seconds(30), {}).wait, seconds(7)) << "a second before the end";
    EXPECT_EQ(it.running(now + seconds(37), {}).wait, seconds(1)) << "the end itself";
    EXPECT_EQ(it.running(now + seconds(38), {}).end, PollEnd::kOutOfTime);
    EXPECT_EQ(it.running(now + seconds(10), Duration(minutes(10))).wait, seconds(28)) << "not against its wish";
}

TEST_F(PollCourseTest, OddPoliciesDoNoHarm) {
    for (const PollPolicy& policy :
         {PollPolicy{.interval = Duration::zero(), .longest = Duration::zero()}, PollPolicy{.growth = 0, .jitter = 5},
          PollPolicy{.interval = minutes(5), .longest = seconds(1)}, PollPolicy{.growth = 1e300}}) {
        PollCourse it = course(policy);
        for (int i = 0; i < 50; ++i) {
            EXPECT_GE(it.running(now, {}).wait, Duration::zero());
            EXPECT_LE(it.running(now, {}).wait, minutes(60));
        }
    }
}

// ------------------------------------------------------------ the loop

class PollerTest : public ::testing::Test {
protected:
    void SetUp() override {
        policy.name = "forge";
        policy.breaker_failures = 1000;
        caller.emplace(loop, clock, random, client, policy);
        poller.emplace(loop, clock, random, *caller);
        quick = {.interval = milliseconds(5), .growth = 1.2, .longest = milliseconds(20)};
        quick.appear_within = milliseconds(500);
        quick.unknown_answers = 4;
    }
    PollSpec spec(const RawServer& server) {
        PollSpec made;
        made.what = "the pipeline 17";
        made.ask = [url = server.url("/17")] { return ServiceCall{.request = {.url = url, .timeout = seconds(5)}}; };
        made.policy = quick;
        return made;
    }
    // {"status": "running" | "completed", "exit": 3}
    static PollReading<int> read(const Response& response) {
        using Reading = PollReading<int>;
        boost::system::error_code failed;
        const auto value = boost::json::parse(response.body, failed);
        const auto* const object = failed ? nullptr : value.if_object();
        const auto* const status = object == nullptr ? nullptr : object->if_contains("status");
        if (status == nullptr || !status->is_string())
            return Reading::unknown(make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService, "forge",
                                               "the answer has no status"));
        const std::string word(status->get_string());
        if (word == "running") return Reading::running("step " + std::to_string(object->size()));
        if (word == "nowhere") return Reading::not_there();
        if (word == "completed") return Reading::ended(static_cast<int>(object->at("exit").as_int64()));
        return Reading::unknown(make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService, "forge",
                                           "the status is a word that nobody knows"));
    }
    PollOutcome<int> poll(PollSpec spec) {
        std::optional<PollOutcome<int>> outcome;
        const PollHandle handle = poller->poll<int>(std::move(spec), &PollerTest::read,
                                                    [&](PollOutcome<int> got) { outcome = std::move(got); });
        EXPECT_FALSE(outcome.has_value()) << "never from inside";
        EXPECT_TRUE(run_until(loop, [&] { return outcome.has_value(); }));
        EXPECT_FALSE(handle.active());
        return outcome ? *std::move(outcome) : PollOutcome<int>{PollEnd::kRefused, {}, 0};
    }
    static std::function<Reaction(const Seen&)> in_turn(std::deque<Reaction> reactions) {
        return [reactions = std::move(reactions)](const Seen&) mutable {
            Reaction next = reactions.front();
            if (reactions.size() > 1) reactions.pop_front();
            return next;
        };
    }
    static inline const Reaction kRunning = reply(200, R"({"status":"running"})");
    static inline const Reaction kDone = reply(200, R"({"status":"completed","exit":3})");

    SystemClock clock;
    SeededRandom random{1};
    asio::io_context loop;
    Client client{loop, clock, {}};
    ServicePolicy policy;
    std::optional<ServiceCaller> caller;
    std::optional<Poller> poller;
    PollPolicy quick;
};

TEST_F(PollerTest, AsksUntilItHasEnded) {
    RawServer server(loop, in_turn({kRunning, kRunning, kDone}));
    const auto outcome = poll(spec(server));
    EXPECT_EQ(outcome.end, PollEnd::kEnded);
    ASSERT_TRUE(outcome.result);
    EXPECT_EQ(*outcome.result, 3);
    EXPECT_EQ(outcome.questions, 3);
    EXPECT_EQ(server.connections(), 1U);
}

TEST_F(PollerTest, NotThereAtFirst) {
    RawServer server(loop,
                     in_turn({reply(404, ""), reply(404, ""), reply(200, R"({"status":"nowhere"})"), kRunning, kDone}));
    EXPECT_EQ(poll(spec(server)).end, PollEnd::kEnded);
    RawServer never(loop, in_turn({reply(404, "")}));
    const auto outcome = poll(spec(never));
    EXPECT_EQ(outcome.end, PollEnd::kNeverAppeared);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kNotFound);
    EXPECT_GT(outcome.questions, 3);
}

TEST_F(PollerTest, NotThereAnyMore) {
    RawServer server(loop, in_turn({kRunning, reply(404, "")}));
    const auto outcome = poll(spec(server));
    EXPECT_EQ(outcome.end, PollEnd::kVanished);
    EXPECT_EQ(outcome.questions, 3);
    EXPECT_FALSE(outcome.result.error().retryable());
    RawServer gone(loop, in_turn({kRunning, reply(410, "")}));
    EXPECT_EQ(poll(spec(gone)).end, PollEnd::kVanished);
}

TEST_F(PollerTest, UnknownForTooLongHasACause) {
    for (const Reaction& nothing :
         {reply(502, ""), reply(200, "not json"), reply(200, R"({"status":"None"})"), reply(200, "[]"),
          Reaction{.then = Then::kReset}, Reaction{.bytes = "SSH\r\n", .then = Then::kClose}}) {
        RawServer server(loop, in_turn({kRunning, nothing}));
        const auto outcome = poll(spec(server));
        EXPECT_EQ(outcome.end, PollEnd::kUnknownTooLong) << nothing.bytes;
        ASSERT_FALSE(outcome.result);
        EXPECT_TRUE(outcome.result.error().cause) << outcome.result.error().describe();
        EXPECT_EQ(outcome.questions, 5) << nothing.bytes;
        EXPECT_NE(outcome.result.error().message.find("the pipeline 17"), std::string::npos);
    }
}

TEST_F(PollerTest, ABreakIsSurvived) {
    RawServer server(loop, in_turn({kRunning,
                                    reply(502, "", "Connection: close\r\n"),
                                    {.then = Then::kReset},
                                    reply(200, "<html>"),
                                    kRunning,
                                    kDone}));
    EXPECT_EQ(poll(spec(server)).end, PollEnd::kEnded);
}

TEST_F(PollerTest, ARefusalEndsItAtOnce) {
    for (const int status : {301, 400, 401, 403, 422}) {
        RawServer server(loop, in_turn({kRunning, reply(status, "")}));
        const auto outcome = poll(spec(server));
        EXPECT_EQ(outcome.end, PollEnd::kRefused) << status;
        EXPECT_FALSE(outcome.result.error().retryable());
        EXPECT_EQ(outcome.questions, 2) << status;
    }
    PollSpec bad;
    bad.ask = [] { return ServiceCall{.request = {.url = "ftp://x"}}; };
    EXPECT_EQ(poll(std::move(bad)).end, PollEnd::kRefused);
}

TEST_F(PollerTest, RetryAfterIsObeyed) {
    RawServer server(loop, in_turn({kRunning, reply(429, "", "Retry-After: 1\r\n"), kDone}));
    const MonoTime before = clock.now();
    EXPECT_EQ(poll(spec(server)).end, PollEnd::kEnded);
    EXPECT_GE(clock.now() - before, seconds(1));
    EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(PollerTest, AStormOf429EndsByTimeNotByCount) {
    RawServer server(loop, in_turn({kRunning, reply(429, "")}));
    PollSpec stormy = spec(server);
    stormy.policy.unknown_for = seconds(1);
    const auto outcome = poll(std::move(stormy));
    EXPECT_EQ(outcome.end, PollEnd::kUnknownTooLong);
    EXPECT_GT(outcome.questions, 6);
}

TEST_F(PollerTest, TheDeadline) {
    RawServer server(loop, in_turn({kRunning}));
    PollSpec short_one = spec(server);
    short_one.deadline = clock.now() + milliseconds(150);
    const auto outcome = poll(std::move(short_one));
    EXPECT_EQ(outcome.end, PollEnd::kOutOfTime);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kTimeout);
    RawServer silent(loop, in_turn({kRunning, {.then = Then::kHold}}));
    PollSpec held = spec(silent);
    held.deadline = clock.now() + milliseconds(150);
    EXPECT_EQ(poll(std::move(held)).end, PollEnd::kOutOfTime) << "also while it waits for an answer";
}

TEST_F(PollerTest, ATokenThatWasRotated) {
    std::string token = "old";
    RawServer server(loop, [&, asked = 0](const Seen& seen) mutable {
        if (++asked == 2) token = "new";
        const bool right = seen.headers.at("authorization") == (asked < 2 ? "old" : "new");
        return right ? (asked > 3 ? kDone : kRunning) : reply(401, "");
    });
    PollSpec rotating = spec(server);
    rotating.ask = [&, url = server.url()] {
        return ServiceCall{.request = {.url = url}, .prepare = [&](Request& request) -> Result<void> {
                               request.headers.push_back({"Authorization", token});
                               return {};
                           }};
    };
    EXPECT_EQ(poll(std::move(rotating)).end, PollEnd::kEnded);
}

TEST_F(PollerTest, SaysHowFarItIsOnlyWhenThatChanges) {
    RawServer server(loop, in_turn({kRunning, kRunning, reply(200, R"({"status":"running","x":1})"), kDone}));
    std::vector<std::string> said;
    PollSpec telling = spec(server);
    telling.progress = [&](const std::string& text) { said.push_back(text); };
    EXPECT_EQ(poll(std::move(telling)).end, PollEnd::kEnded);
    EXPECT_THAT(said, ::testing::ElementsAre("step 1", "step 2"));
}

TEST_F(PollerTest, Hurry) {
    RawServer server(loop, in_turn({kRunning, kDone}));
    PollSpec slow = spec(server);
    slow.policy.interval = slow.policy.longest = minutes(10);
    std::optional<PollOutcome<int>> outcome;
    PollHandle handle =
        poller->poll<int>(std::move(slow), &PollerTest::read, [&](PollOutcome<int> got) { outcome = std::move(got); });
    ASSERT_TRUE(run_until(loop, [&] { return server.seen().size() == 1; }));
    run_for(loop, milliseconds(50));
    EXPECT_FALSE(outcome);
    handle.hurry();
    ASSERT_TRUE(run_until(loop, [&] { return outcome.has_value(); }));
    EXPECT_EQ(outcome->end, PollEnd::kEnded);
}

TEST_F(PollerTest, GivenUpAtAnyMoment) {
    RawServer server(loop, in_turn({{.bytes = kRunning.bytes, .delay = milliseconds(2)}}));
    for (int round = 0; round < 40; ++round) {
        bool called = false;
        {
            const PollHandle handle =
                poller->poll<int>(spec(server), &PollerTest::read, [&](const PollOutcome<int>&) { called = true; });
            run_for(loop, milliseconds(round % 15));
            EXPECT_TRUE(handle.active());
        }
        run_for(loop, milliseconds(10));
        EXPECT_FALSE(called);
        EXPECT_EQ(caller->stats().out + caller->stats().waiting, 0U);
    }
}

TEST_F(PollerTest, GivenUpFromInside) {
    RawServer server(loop, in_turn({kRunning}));
    struct Owner {
        PollHandle handle;
        int readings = 0;
    };
    auto owner = std::make_shared<Owner>();
    Owner* const seen = owner.get();
    owner->handle = poller->poll<int>(
        spec(server),
        [seen](const Response&) {
            ++seen->readings;
            seen->handle.cancel();
            return PollReading<int>::running("x");
        },
        [owner](const PollOutcome<int>&) { FAIL(); });
    ASSERT_TRUE(run_until(loop, [&] { return seen->readings == 1; }));
    const std::weak_ptr<Owner> weak = owner;
    owner.reset();
    run_for(loop, milliseconds(30));
    EXPECT_TRUE(weak.expired());
}

}  // namespace
}  // namespace wa::http
