// One endpoint, its policy, and a server that does as it is told.
#include "http_client/service_caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "core/trace/testing/noted_calls.h"
#include "http_client/testing/raw_server.h"
#include "http_client/verdict.h"

namespace wa::http {
namespace {

namespace asio = boost::asio;
using testing::RawServer;
using testing::Reaction;
using testing::reply;
using testing::reply_text;
using testing::run_for;
using testing::run_until;
using testing::Seen;
using Then = Reaction::Then;
using State = CircuitBreaker::State;
using std::chrono::milliseconds;
using std::chrono::seconds;

// ------------------------------------------------------------ verdicts

Verdict of(int status, std::vector<Header> headers = {}) {
    Response response;
    response.status = status;
    response.headers = std::move(headers);
    return judge(response, true, 1'000'000'000'000);
}

TEST(Verdicts, TheClassesOfTheContract) {
    for (const int status : {408, 425, 429, 500, 502, 503, 504})
        EXPECT_TRUE(of(status).transient) << status;
    for (const int status : {200, 201, 204, 301, 304, 400, 401, 403, 404, 409, 410, 412, 422, 426, 501, 505})
        EXPECT_FALSE(of(status).transient) << status;
    for (const int status : {502, 503, 504})
        EXPECT_TRUE(of(status).unreachable) << status;
    for (const int status : {200, 404, 429, 500})
        EXPECT_FALSE(of(status).unreachable) << status;
}

TEST(Verdicts, WasItActedUpon) {
    for (const int status : {408, 425, 429})
        EXPECT_EQ(of(status).acted_upon, ActedUpon::kNo) << status;
    for (const int status : {200, 400, 404, 500})
        EXPECT_EQ(of(status).acted_upon, ActedUpon::kAnswered) << status;
    for (const int status : {502, 503, 504})
        EXPECT_EQ(of(status).acted_upon, ActedUpon::kUnknown) << status;
    EXPECT_EQ(of(503, {{"retry-after", "1"}}).acted_upon, ActedUpon::kNo);
    const Result<Response> lost = tl::unexpected(
        make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "http", "connection reset"));
    EXPECT_EQ(judge(lost, false, 0).acted_upon, ActedUpon::kNo);
    EXPECT_EQ(judge(lost, true, 0).acted_upon, ActedUpon::kUnknown);
}

TEST(Verdicts, WhatIsAskedFor) {
    EXPECT_EQ(of(429, {{"retry-after", "7"}}).wait, Duration(seconds(7)));
    EXPECT_EQ(of(503, {{"retry-after", "7"}}).wait, Duration(seconds(7)));
    EXPECT_EQ(of(301, {{"retry-after", "7"}}).wait, std::nullopt);
    const std::vector<Header> used_up{{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "1000000042"}};
    EXPECT_EQ(of(403, used_up).wait, Duration(seconds(42)));
    EXPECT_TRUE(of(403, used_up).transient);
    EXPECT_EQ(of(403, used_up).acted_upon, ActedUpon::kNo);
    EXPECT_EQ(of(200, used_up).wait, std::nullopt);
    EXPECT_FALSE(of(403, {{"x-ratelimit-remaining", "3"}, {"x-ratelimit-reset", "1000000042"}}).transient);
    EXPECT_EQ(of(429, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "5"}}).wait, Duration(0)) << "past";
    EXPECT_EQ(of(429, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "9223372036854775807"}}).wait,
              std::nullopt);
    EXPECT_EQ(of(429, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "9999999999"}}).wait,
              Duration(std::chrono::hours(1)));
}

// ------------------------------------------------------------ calls

struct Noted final : ServiceListener {
    void tried(const ServiceTry& over) override {
        statuses.push_back(over.status);
        tries.push_back(std::string(over.service) + " " + std::string(over.method) + " " + std::string(over.name) +
                        (over.stream ? " stream" : ""));
    }
    void retried(const std::string&, std::string_view reason) override { reasons.emplace_back(reason); }
    void breaker_changed(const std::string&, State state) override { states.push_back(state); }
    std::vector<int> statuses;
    std::vector<std::string> tries;
    std::vector<std::string> reasons;
    std::vector<State> states;
};

class ServiceCallerTest : public ::testing::Test {
protected:
    void SetUp() override { make({}); }
    static ServicePolicy quick() {
        ServicePolicy policy;
        policy.name = "thing";
        policy.backoff = {milliseconds(5), milliseconds(20)};
        policy.breaker_pause = milliseconds(150);
        return policy;
    }
    void make(ClientOptions options, std::optional<ServicePolicy> policy = std::nullopt) {
        caller.reset();
        options.watch = &watch;
        client.emplace(loop, clock, std::move(options));
        caller.emplace(loop, clock, random, *client, policy.value_or(quick()), &noted);
    }
    void policy(const ServicePolicy& policy) { caller.emplace(loop, clock, random, *client, policy, &noted); }
    MonoTime in(milliseconds time) const { return clock.now() + time; }
    ServiceAnswer ask(ServiceCall call) {
        std::optional<ServiceAnswer> answer;
        const ServiceHandle handle = caller->call(std::move(call), [&](ServiceAnswer got) { answer = std::move(got); });
        EXPECT_FALSE(answer.has_value()) << "never from inside";
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        return answer ? *std::move(answer) : ServiceAnswer{};
    }
    ServiceAnswer send(const std::string& method, const std::string& url, Repeat repeat = Repeat::kByMethod) {
        return ask({.request = {.method = method, .url = url}, .repeat = repeat});
    }

    SystemClock clock;
    SeededRandom random{1};
    asio::io_context loop;
    wa::testing::NotedCalls watch;
    Noted noted;
    std::optional<Client> client;
    std::optional<ServiceCaller> caller;
};

// A server that answers with what stands next, the last again and again.
std::function<Reaction(const Seen&)> in_turn(std::deque<Reaction> reactions) {
    return [reactions = std::move(reactions)](const Seen&) mutable {
        Reaction next = reactions.front();
        if (reactions.size() > 1) reactions.pop_front();
        return next;
    };
}

TEST_F(ServiceCallerTest, TriesAgainWhatMayPass) {
    RawServer server(loop, in_turn({reply(503, "", "Connection: close\r\n"), {.then = Then::kReset}, reply(200, "x")}));
    const ServiceAnswer answer = send("GET", server.url());
    ASSERT_TRUE(answer.result) << answer.result.error().describe();
    EXPECT_EQ(answer.result->body, "x");
    EXPECT_EQ(answer.attempts, 3);
    EXPECT_FALSE(answer.outcome_unknown);
    EXPECT_THAT(noted.statuses, ::testing::ElementsAre(503, 0, 200));
    EXPECT_THAT(noted.reasons, ::testing::ElementsAre("503", "unreachable"));
    ASSERT_EQ(watch.calls.size(), 3U);
    EXPECT_EQ(watch.calls[2]->purpose.retry, 2);
}

TEST_F(ServiceCallerTest, WhoCountsIsToldWhichCallItWas) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    ServiceCall named{.request = {.method = "PUT", .url = server.url()}};
    named.request.purpose.name = "thing.put";
    ASSERT_TRUE(ask(std::move(named)).result);
    ServiceCall stream{.request = {.url = server.url()}};
    stream.reader.emplace();
    ASSERT_TRUE(ask(std::move(stream)).result);
    EXPECT_THAT(noted.tries, ::testing::ElementsAre("thing PUT thing.put", "thing GET  stream"));
}

TEST_F(ServiceCallerTest, TheLastAnswerIsTheAnswer) {
    RawServer server(loop, [](const Seen&) { return reply(500, "why"); });
    const ServiceAnswer answer = send("GET", server.url());
    ASSERT_TRUE(answer.result);
    EXPECT_EQ(answer.result->status, 500);
    EXPECT_EQ(answer.result->body, "why");
    EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(ServiceCallerTest, WhatIsRefusedIsNotTriedAgain) {
    for (const int status : {400, 401, 403, 404, 409, 422}) {
        RawServer server(loop, [&](const Seen&) { return reply(status, ""); });
        EXPECT_EQ(send("GET", server.url()).result->status, status);
        EXPECT_EQ(server.seen().size(), 1U) << status;
    }
    RawServer nonsense(loop, [](const Seen&) { return Reaction{.bytes = "SSH\r\n", .then = Then::kClose}; });
    const ServiceAnswer answer = send("GET", nonsense.url());
    ASSERT_FALSE(answer.result);
    EXPECT_EQ(answer.result.error().code, ErrorCode::kMalformed);
    EXPECT_EQ(nonsense.seen().size(), 1U);
}

TEST_F(ServiceCallerTest, WhatMayHaveBeenDoneIsNotDoneTwice) {
    const Reaction lost[] = {{.then = Then::kReset},
                             {.then = Then::kClose},
                             {.bytes = "HTTP/1.1 201 OK\r\nContent-Le", .then = Then::kReset},
                             {.bytes = "HTTP/1.1 201 OK\r\nContent-Length: 9\r\n\r\nabc", .then = Then::kReset},
                             reply(502, ""),
                             reply(503, ""),
                             reply(504, "")};
    for (const Reaction& reaction : lost) {
        make({});
        RawServer server(loop, [&](const Seen&) { return reaction; });
        const ServiceAnswer answer = send("POST", server.url());
        EXPECT_EQ(server.seen().size(), 1U) << reaction.bytes;
        EXPECT_TRUE(answer.outcome_unknown) << reaction.bytes;
        EXPECT_EQ(answer.attempts, 1);
        if (!answer.result) {
            EXPECT_FALSE(answer.result.error().retryable()) << answer.result.error().describe();
        }
    }
    RawServer silent(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    const ServiceAnswer late = ask({.request = {.method = "POST", .url = silent.url(), .timeout = milliseconds(800)}});
    EXPECT_TRUE(late.outcome_unknown);
    EXPECT_EQ(silent.seen().size(), 1U);
}

TEST_F(ServiceCallerTest, WhatWasCertainlyNotDoneIsDoneAgain) {
    for (const Reaction& refusal :
         {reply(429, ""), reply(408, ""), reply(425, ""), reply(503, "", "Retry-After: 0\r\n")}) {
        make({});
        RawServer server(loop, in_turn({refusal, reply(201, "")}));
        const ServiceAnswer answer = send("POST", server.url());
        ASSERT_TRUE(answer.result);
        EXPECT_EQ(answer.result->status, 201);
        EXPECT_FALSE(answer.outcome_unknown);
    }
    std::string nobody;
    {
        const RawServer gone(loop, [](const Seen&) { return reply(200, ""); });
        nobody = gone.url();
    }
    const ServiceAnswer answer = send("POST", nobody);
    ASSERT_FALSE(answer.result);
    EXPECT_EQ(answer.attempts, 3) << "nothing was sent";
    EXPECT_FALSE(answer.outcome_unknown);
    EXPECT_TRUE(answer.result.error().retryable());
}

TEST_F(ServiceCallerTest, TheCallersWordCounts) {
    RawServer server(loop, in_turn({reply(502, ""), reply(200, ""), reply(502, "")}));
    EXPECT_EQ(send("POST", server.url(), Repeat::kAlways).result->status, 200);
    const ServiceAnswer answer = send("GET", server.url(), Repeat::kNever);
    EXPECT_EQ(answer.result->status, 502);
    EXPECT_TRUE(answer.outcome_unknown);
    EXPECT_EQ(server.seen().size(), 3U);
}

// A connection that was kept may be dead; libcurl would send the request again by itself.
TEST_F(ServiceCallerTest, ADeadConnectionRepeatsNothing) {
    RawServer server(loop, in_turn({reply(200, ""), {.then = Then::kReset}}));
    EXPECT_TRUE(send("GET", server.url()).result);
    const ServiceAnswer answer = send("POST", server.url());
    EXPECT_TRUE(answer.outcome_unknown);
    EXPECT_EQ(server.seen().size(), 2U);
    EXPECT_EQ(server.connections(), 2U);
}

TEST_F(ServiceCallerTest, AnUnknownOutcomeStaysUnknownWhenNobodyAnswersLater) {
    std::optional<RawServer> server(std::in_place, loop, [&](const Seen&) { return Reaction{.then = Then::kReset}; });
    std::optional<ServiceAnswer> answer;
    const ServiceHandle handle = caller->call({.request = {.method = "DELETE", .url = server->url()}},
                                              [&](ServiceAnswer got) { answer = std::move(got); });
    ASSERT_TRUE(run_until(loop, [&] { return !server->seen().empty(); }));
    server.reset();
    ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
    EXPECT_FALSE(answer->result);
    EXPECT_TRUE(answer->outcome_unknown) << "the first try may have done it";
}

TEST_F(ServiceCallerTest, WaitsAsLongAsItIsAskedTo) {
    RawServer server(loop, in_turn({reply(429, "", "Retry-After: 1\r\n"), reply(200, "")}));
    const MonoTime before = clock.now();
    const ServiceAnswer answer = send("POST", server.url());
    EXPECT_EQ(answer.result->status, 200);
    EXPECT_GE(clock.now() - before, seconds(1));
    EXPECT_GE(answer.waited, milliseconds(990));
}

TEST_F(ServiceCallerTest, AWaitThatIsTooLongIsNotBegun) {
    RawServer server(loop, [](const Seen&) { return reply(429, "later", "Retry-After: 60\r\n"); });
    const MonoTime before = clock.now();
    const ServiceAnswer answer = ask({.request = {.url = server.url()}, .deadline = in(seconds(10))});
    ASSERT_TRUE(answer.result);
    EXPECT_EQ(answer.result->status, 429);
    EXPECT_LT(clock.now() - before, seconds(5));
    const ServiceAnswer next = ask({.request = {.url = server.url()}, .deadline = in(seconds(10))});
    ASSERT_FALSE(next.result) << "it asked everybody";
    EXPECT_EQ(next.result.error().retry, Retry::kAfterHint);
    EXPECT_GT(next.result.error().retry_after.value_or(milliseconds(0)), seconds(50));
    EXPECT_EQ(next.attempts, 0);
    EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(ServiceCallerTest, AStormOfRefusalsIsNotAnsweredByOne) {
    RawServer server(loop, [](const Seen&) { return reply(429, ""); });
    int ended = 0;
    std::vector<ServiceHandle> handles;
    for (int i = 0; i < 200; ++i)
        handles.push_back(caller->call({.request = {.url = server.url()}}, [&](const ServiceAnswer& answer) {
            EXPECT_EQ(answer.result->status, 429);
            ++ended;
        }));
    ASSERT_TRUE(run_until(loop, [&] { return ended == 200; }));
    EXPECT_LE(server.seen().size(), 200 + 10 + 40 + 5U) << "the budget bounds the repeats";
    EXPECT_EQ(caller->breaker(), State::kClosed) << "it is there";
}

TEST_F(ServiceCallerTest, AStormThatNamesATimeIsObeyedByAll) {
    RawServer server(loop, [&, first = true](const Seen&) mutable {
        return std::exchange(first, false) ? reply(429, "", "Retry-After: 1\r\n") : reply(200, "");
    });
    ServicePolicy one = quick();
    one.calls = 1;
    policy(one);
    std::vector<MonoTime> ended;
    std::vector<ServiceHandle> handles;
    const MonoTime before = clock.now();
    for (int i = 0; i < 5; ++i)
        handles.push_back(caller->call({.request = {.url = server.url()}}, [&](const ServiceAnswer& answer) {
            EXPECT_TRUE(answer.result);
            ended.push_back(clock.now());
        }));
    ASSERT_TRUE(run_until(loop, [&] { return ended.size() == 5; }));
    EXPECT_GE(ended.front() - before, seconds(1)) << "those behind it wait too";
    EXPECT_EQ(server.seen().size(), 6U);
}

TEST_F(ServiceCallerTest, TheDeadlineIsOfAll) {
    ServicePolicy patient = quick();
    patient.breaker_failures = 1000;
    policy(patient);
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    const MonoTime before = clock.now();
    const ServiceAnswer answer = ask({.request = {.url = server.url(), .timeout = milliseconds(150)},
                                      .deadline = in(milliseconds(1000)),
                                      .attempts = 100});
    ASSERT_FALSE(answer.result);
    EXPECT_EQ(answer.result.error().code, ErrorCode::kTimeout);
    EXPECT_LT(clock.now() - before, seconds(3));
    EXPECT_GE(answer.attempts, 2);
    const ServiceAnswer late = ask({.request = {.url = server.url()}, .deadline = clock.now() - seconds(1)});
    ASSERT_FALSE(late.result);
    EXPECT_EQ(late.result.error().code, ErrorCode::kTimeout);
    EXPECT_EQ(late.attempts, 0) << "refused before it is sent";
}

TEST_F(ServiceCallerTest, TheBreakerOpensAndOneTries) {
    RawServer server(loop, [](const Seen&) { return reply(503, ""); });
    ServicePolicy few = quick();
    few.breaker_failures = 3;
    policy(few);
    EXPECT_EQ(send("GET", server.url()).result->status, 503);
    EXPECT_EQ(caller->breaker(), State::kOpen);
    const ServiceAnswer refused = send("GET", server.url());
    ASSERT_FALSE(refused.result);
    EXPECT_EQ(refused.result.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(refused.result.error().retry_after.has_value());
    EXPECT_NE(refused.result.error().message.find("answered 503"), std::string::npos) << refused.result.error().message;
    EXPECT_EQ(refused.attempts, 0);
    EXPECT_EQ(server.seen().size(), 3U);
    server.set_serve([](const Seen&) { return Reaction{.bytes = reply_text(200, ""), .delay = milliseconds(50)}; });
    run_for(loop, milliseconds(200));
    int good = 0;
    std::vector<ServiceHandle> handles;
    for (int i = 0; i < 5; ++i)
        handles.push_back(caller->call({.request = {.url = server.url()}},
                                       [&](const ServiceAnswer& answer) { good += answer.result ? 1 : 0; }));
    ASSERT_TRUE(run_until(loop, [&] { return server.seen().size() == 4; }));
    EXPECT_EQ(caller->stats().out, 1U) << "one tries, the others wait for it";
    EXPECT_EQ(caller->stats().waiting, 4U);
    ASSERT_TRUE(run_until(loop, [&] { return good == 5; }));
    EXPECT_THAT(noted.states, ::testing::ElementsAre(State::kOpen, State::kHalfOpen, State::kClosed));
}

TEST_F(ServiceCallerTest, ATrialThatIsGivenUpLetsTheNextOneTry) {
    ServicePolicy few = quick();
    few.breaker_failures = 1;
    few.attempts = 1;
    policy(few);
    RawServer server(loop, in_turn({reply(503, ""), {.then = Then::kHold}, reply(200, "")}));
    EXPECT_EQ(send("GET", server.url()).result->status, 503);
    run_for(loop, milliseconds(200));
    {
        const ServiceHandle trial = caller->call({.request = {.url = server.url()}}, [](const ServiceAnswer&) {});
        ASSERT_TRUE(run_until(loop, [&] { return server.seen().size() == 2; }));
    }
    EXPECT_EQ(send("GET", server.url()).result->status, 200);
    EXPECT_EQ(caller->breaker(), State::kClosed);
}

TEST_F(ServiceCallerTest, OurOwnMistakesSayNothingAboutTheService) {
    ServicePolicy few = quick();
    few.breaker_failures = 1;
    policy(few);
    EXPECT_FALSE(send("GET", "ftp://x").result);
    EXPECT_FALSE(ask({.request = {.url = "http://127.0.0.1:1/", .guard = *EgressGuard::make({})}}).result);
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    EXPECT_FALSE(ask({.request = {.url = server.url()}, .deadline = in(milliseconds(50))}).result);
    EXPECT_EQ(caller->breaker(), State::kClosed) << "nor does a deadline that leaves no time";
    EXPECT_FALSE(send("GET", "http://127.0.0.1:1/").result);
    EXPECT_EQ(caller->breaker(), State::kOpen);
}

TEST_F(ServiceCallerTest, OnlySoManyAtATime) {
    ServicePolicy narrow = quick();
    narrow.calls = 3;
    narrow.queue = 5;
    policy(narrow);
    RawServer server(loop,
                     [](const Seen&) { return Reaction{.bytes = reply_text(200, ""), .delay = milliseconds(30)}; });
    int good = 0;
    int refused = 0;
    std::vector<ServiceHandle> handles;
    for (int i = 0; i < 10; ++i)
        handles.push_back(caller->call({.request = {.url = server.url()}}, [&](const ServiceAnswer& answer) {
            ++(answer.result ? good : refused);
            if (!answer.result) {
                EXPECT_EQ(answer.result.error().code, ErrorCode::kLimitExceeded);
                EXPECT_TRUE(answer.result.error().retryable());
            }
        }));
    ASSERT_TRUE(run_until(loop, [&] { return good + refused == 10; }));
    EXPECT_EQ(refused, 5) << "the queue holds five, and none has gone out yet";
    EXPECT_LE(server.most_at_once(), 3U);
    EXPECT_EQ(caller->stats().out, 0U);
    EXPECT_EQ(caller->stats().waiting, 0U);
}

TEST_F(ServiceCallerTest, ThoseBetweenTwoTriesWaitToo) {
    ServicePolicy narrow = quick();
    narrow.queue = 4;
    narrow.backoff = {seconds(100), seconds(100)};
    narrow.breaker_failures = 100;
    policy(narrow);
    RawServer server(loop, [](const Seen&) { return reply(500, ""); });
    std::vector<ServiceHandle> handles;
    int refused = 0;
    for (int i = 0; i < 6; ++i) {
        const auto before = server.seen().size();
        handles.push_back(caller->call({.request = {.url = server.url()}},
                                       [&](const ServiceAnswer& answer) { refused += answer.result ? 0 : 1; }));
        ASSERT_TRUE(run_until(loop, [&] { return server.seen().size() > before || refused > 0; }));
        run_for(loop, milliseconds(10));
    }
    EXPECT_EQ(refused, 2);
    EXPECT_EQ(caller->stats().waiting, 4U);
    handles.clear();
    EXPECT_EQ(caller->stats().waiting, 0U);
    server.set_serve([](const Seen&) { return reply(200, ""); });
    EXPECT_TRUE(send("GET", server.url()).result) << "there is room again";
}

TEST_F(ServiceCallerTest, WhoWaitsForATurnEndsByItsDeadline) {
    ServicePolicy narrow = quick();
    narrow.calls = 1;
    policy(narrow);
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    const ServiceHandle first = caller->call({.request = {.url = server.url()}}, [](const ServiceAnswer&) {});
    const ServiceAnswer answer = ask({.request = {.url = server.url()}, .deadline = in(milliseconds(100))});
    ASSERT_FALSE(answer.result);
    EXPECT_EQ(answer.result.error().code, ErrorCode::kTimeout);
    EXPECT_EQ(answer.attempts, 0);
    EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(ServiceCallerTest, StreamsDoNotStandInTheWayOfCalls) {
    ServicePolicy narrow = quick();
    narrow.calls = 1;
    narrow.streams = 2;
    policy(narrow);
    RawServer server(loop, [](const Seen& seen) {
        if (seen.target == "/call") return reply(200, "");
        return Reaction{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                        .then = Then::kHold};
    });
    std::vector<ServiceHandle> streams;
    std::string got;
    for (int i = 0; i < 3; ++i) {
        ServiceCall call{.request = {.url = server.url("/stream"), .timeout = Duration::zero()}};
        call.reader.emplace();
        call.reader->chunk = [&](std::string_view bytes) {
            got += bytes;
            return true;
        };
        streams.push_back(caller->call(std::move(call), [](const ServiceAnswer&) {}));
    }
    ASSERT_TRUE(run_until(loop, [&] { return got.size() == 6; }));
    EXPECT_TRUE(send("GET", server.url("/call")).result);
    streams.erase(streams.begin());
    ASSERT_TRUE(run_until(loop, [&] { return got.size() == 9; })) << "the third has its turn";
}

TEST_F(ServiceCallerTest, AStreamIsTriedAgainBeforeItBeginsAndNeverAfter) {
    RawServer server(loop,
                     in_turn({reply(503, "busy", "Connection: close\r\n"),
                              {.then = Then::kReset},
                              {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .then = Then::kReset}}));
    std::string got;
    std::vector<int> heads;
    ServiceCall call{.request = {.url = server.url()}};
    call.reader.emplace();
    call.reader->head = [&](const Response& head) { heads.push_back(head.status); };
    call.reader->chunk = [&](std::string_view bytes) {
        got += bytes;
        return true;
    };
    const ServiceAnswer answer = ask(std::move(call));
    ASSERT_FALSE(answer.result);
    EXPECT_EQ(answer.attempts, 3);
    EXPECT_EQ(got, "abc");
    EXPECT_THAT(heads, ::testing::ElementsAre(200));
    EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(ServiceCallerTest, ARotatedCredentialIsTriedOnce) {
    std::string token = "old";
    std::string good = "new";
    RawServer server(loop, [&](const Seen& seen) {
        const bool right = seen.headers.at("authorization") == good;
        token = "new";  // somebody replaces the file
        return reply(right ? 200 : 401, "");
    });
    const auto prepare = [&](Request& request) -> Result<void> {
        request.headers.push_back({"Authorization", token});
        return {};
    };
    const ServiceAnswer answer = ask({.request = {.method = "POST", .url = server.url()}, .prepare = prepare});
    EXPECT_EQ(answer.result->status, 200);
    EXPECT_EQ(server.seen().size(), 2U);
    EXPECT_THAT(noted.reasons, ::testing::ElementsAre("401"));
    good = "none";
    EXPECT_EQ(ask({.request = {.url = server.url()}, .prepare = prepare}).result->status, 401);
    EXPECT_EQ(server.seen().size(), 3U) << "there is no other token to try";
}

TEST_F(ServiceCallerTest, EachTryIsPreparedAnew) {
    RawServer server(loop, in_turn({reply(503, ""), reply(503, ""), reply(200, "")}));
    int prepared = 0;
    const ServiceAnswer answer =
        ask({.request = {.url = server.url()}, .prepare = [&](Request& request) -> Result<void> {
                 request.headers.push_back({"X-Date", std::to_string(++prepared)});
                 return {};
             }});
    EXPECT_TRUE(answer.result);
    EXPECT_EQ(server.seen().at(0).headers.at("x-date"), "1");
    EXPECT_EQ(server.seen().at(2).headers.at("x-date"), "3");
    const ServiceAnswer refused = ask(
        {.request = {.url = server.url()}, .prepare = [](Request&) -> Result<void> { return invalid("x", "no key"); }});
    ASSERT_FALSE(refused.result);
    EXPECT_EQ(refused.attempts, 0);
    EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(ServiceCallerTest, GivenUpAtAnyMoment) {
    ServicePolicy narrow = quick();
    narrow.calls = 2;
    narrow.attempts = 50;
    narrow.budget.most = 10'000;
    narrow.breaker_failures = 10'000;
    RawServer server(loop, in_turn({{.bytes = reply_text(500, "x"), .delay = milliseconds(3)}}));
    for (int round = 0; round < 60; ++round) {
        policy(narrow);
        bool called = false;
        std::vector<ServiceHandle> handles;
        for (int i = 0; i < 6; ++i)  // out, in the queue, and before long between two tries
            handles.push_back(caller->call({.request = {.url = server.url()}, .deadline = in(seconds(30))},
                                           [&](const ServiceAnswer&) { called = true; }));
        run_for(loop, milliseconds(round % 20));
        EXPECT_TRUE(handles.front().active());
        if (round % 3 == 0) {
            caller.reset();
            EXPECT_FALSE(handles.front().active());
            policy(narrow);
        } else {
            while (!handles.empty())
                handles.erase(handles.begin() + static_cast<std::ptrdiff_t>(random.below(handles.size())));
            EXPECT_EQ(caller->stats().out, 0U);
            EXPECT_EQ(caller->stats().waiting, 0U);
        }
        run_for(loop, milliseconds(3));
        EXPECT_FALSE(called);
        EXPECT_EQ(client->stats().in_flight, 0U);
    }
}

TEST_F(ServiceCallerTest, GivenUpFromItsOwnCallback) {
    RawServer server(loop, [](const Seen&) { return reply(200, std::string(1000, 'x')); });
    struct Owner {
        ServiceHandle handle;
    };
    auto owner = std::make_shared<Owner>();
    bool called = false;
    // The callback owns the handle: a circle that the end opens.
    owner->handle = caller->call({.request = {.url = server.url()}}, [owner, &called](const ServiceAnswer&) {
        called = true;
        owner->handle.cancel();
    });
    const std::weak_ptr<Owner> weak = owner;
    owner.reset();
    ASSERT_TRUE(run_until(loop, [&] { return called; }));
    run_for(loop, milliseconds(5));
    EXPECT_TRUE(weak.expired());

    std::optional<ServiceHandle> stream;
    ServiceCall call{.request = {.url = server.url()}};
    call.reader.emplace();
    int chunks = 0;
    call.reader->chunk = [&](std::string_view) {
        ++chunks;
        stream.reset();
        caller.reset();
        return true;
    };
    stream.emplace(caller->call(std::move(call), [](const ServiceAnswer&) { FAIL(); }));
    ASSERT_TRUE(run_until(loop, [&] { return chunks > 0; }));
    run_for(loop, milliseconds(10));
    EXPECT_EQ(chunks, 1);
}

TEST_F(ServiceCallerTest, AnythingAtAnyTime) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        SeededRandom chance(seed);
        ServicePolicy some = quick();
        some.calls = 8;
        some.streams = 4;
        some.breaker_pause = milliseconds(20);
        policy(some);
        RawServer server(loop, [&](const Seen&) {
            const std::string whole = reply_text(chance.chance(0.6) ? 200 : 503, std::string(chance.below(5000), 'x'));
            Reaction reaction{.bytes = whole, .delay = milliseconds(chance.below(10))};
            if (chance.chance(0.3)) {
                reaction.bytes.resize(chance.below(whole.size()));
                const Then ends[] = {Then::kClose, Then::kReset, Then::kHold};
                reaction.then = ends[chance.below(3)];
            }
            return reaction;
        });
        struct One {
            ServiceHandle handle;
            int ends = 0;
            bool given_up = false;
        };
        std::vector<std::unique_ptr<One>> all;
        for (int i = 0; i < 150; ++i) {
            all.push_back(std::make_unique<One>());
            One& mine = *all.back();
            ServiceCall call{.request = {.method = chance.chance(0.5) ? "GET" : "POST",
                                         .url = server.url(),
                                         .timeout = milliseconds(50)},
                             .deadline = in(milliseconds(50 + static_cast<int>(chance.below(300))))};
            if (chance.chance(0.3)) {
                call.reader.emplace();
                call.reader->chunk = [&](std::string_view) {
                    if (chance.chance(0.1)) {
                        mine.given_up = true;
                        mine.handle.cancel();
                    }
                    return true;
                };
            }
            mine.handle = caller->call(std::move(call), [&mine](const ServiceAnswer&) { ++mine.ends; });
            if (chance.chance(0.3)) run_for(loop, milliseconds(chance.below(5)));
            if (chance.chance(0.2)) {
                One& other = *all[chance.below(all.size())];
                other.given_up = other.given_up || other.handle.active();
                other.handle.cancel();
            }
        }
        ASSERT_TRUE(run_until(
            loop,
            [&] { return std::ranges::all_of(all, [](const auto& one) { return one->given_up || one->ends > 0; }); }))
            << "seed " << seed;
        run_for(loop, milliseconds(20));
        for (const auto& one : all)
            EXPECT_EQ(one->ends, one->given_up ? 0 : 1) << "seed " << seed;
        EXPECT_EQ(caller->stats().out + caller->stats().waiting, 0U);
        EXPECT_EQ(client->stats().in_flight, 0U);
    }
}

}  // namespace
}  // namespace wa::http
