// Servers that mean no good, or nothing at all, met by calls with a policy and by polls: each ends, within its time and
// its bounds, with the right class of error, and leaves nothing behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "http_client/poller.h"
#include "http_client/service_caller.h"
#include "http_client/testing/raw_server.h"
#include "http_client/testing/resident.h"

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
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Case {
    const char* name;
    Reaction reaction;
    ErrorCode code;  // of a call

    [[nodiscard]] bool times_out() const { return code == ErrorCode::kTimeout; }
};

std::vector<Case> cases() {
    const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    return {
        {"endless body",
         {.bytes = "HTTP/1.1 200 OK\r\n\r\n", .then = Then::kFlood, .flood = std::string(65'536, 'x')},
         ErrorCode::kLimitExceeded},
        {"endless chunks",
         {.bytes = chunked, .then = Then::kFlood, .flood = "4000\r\n" + std::string(0x4000, 'x') + "\r\n"},
         ErrorCode::kLimitExceeded},
        {"a chunk without end",
         {.bytes = chunked + "fffffffffffffff\r\n", .then = Then::kFlood, .flood = std::string(65'536, 'x')},
         ErrorCode::kLimitExceeded},
        {"a chunk size that is none",
         {.bytes = chunked + "zz\r\nabc\r\n", .then = Then::kClose},
         ErrorCode::kUnavailable},
        {"endless chunk extension",
         {.bytes = chunked + "1;", .then = Then::kFlood, .flood = std::string(65'536, 'x')},
         ErrorCode::kTimeout},
        {"endless trailers",
         {.bytes = chunked + "1\r\na\r\n0\r\n",
          .then = Then::kFlood,
          .flood = "X-Trailer: " + std::string(900, 'y') + "\r\n"},
         ErrorCode::kLimitExceeded},
        {"header flood",
         {.bytes = "HTTP/1.1 200 OK\r\n", .then = Then::kFlood, .flood = "X-Y: " + std::string(900, 'y') + "\r\n"},
         ErrorCode::kLimitExceeded},
        {"one header without end",
         {.bytes = "HTTP/1.1 200 OK\r\nX: ", .then = Then::kFlood, .flood = std::string(65'536, 'y')},
         ErrorCode::kUnavailable},
        {"a status line without end",
         {.bytes = "HTTP/1.1 200 ", .then = Then::kFlood, .flood = std::string(65'536, 'y')},
         ErrorCode::kUnavailable},
        {"interim answers without end",
         {.bytes = "", .then = Then::kFlood, .flood = "HTTP/1.1 100 Continue\r\n\r\n"},
         ErrorCode::kLimitExceeded},
        {"nothing", {.then = Then::kHold}, ErrorCode::kTimeout},
        {"half a head, then nothing", {.bytes = "HTTP/1.1 200 OK\r\nConte", .then = Then::kHold}, ErrorCode::kTimeout},
        {"half a body, then nothing",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .then = Then::kHold},
         ErrorCode::kTimeout},
        {"reset at once", {.then = Then::kReset}, ErrorCode::kUnavailable},
        {"reset in the head", {.bytes = "HTTP/1.1 200 OK\r\nConte", .then = Then::kReset}, ErrorCode::kUnavailable},
        {"reset in the body",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .then = Then::kReset},
         ErrorCode::kUnavailable},
        {"half closed at once", {.then = Then::kShut}, ErrorCode::kUnavailable},
        {"half closed in the body",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .then = Then::kShut},
         ErrorCode::kUnavailable},
        {"closed in a chunk", {.bytes = chunked + "10\r\nabc", .then = Then::kClose}, ErrorCode::kUnavailable},
        {"a drop now and then",
         {.bytes = reply_text(200, std::string(1000, 'x')), .byte_pause = milliseconds(20)},
         ErrorCode::kTimeout},
        {"no HTTP", {.bytes = std::string(1000, '\xff') + "\r\n\r\n", .then = Then::kClose}, ErrorCode::kMalformed},
        {"two lengths",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 99\r\n\r\na", .then = Then::kClose},
         ErrorCode::kUnavailable},
        {"a negative length",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", .then = Then::kClose},
         ErrorCode::kMalformed},
        {"a length beyond numbers",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc", .then = Then::kHold},
         ErrorCode::kTimeout},
    };
}

class HostileTest : public ::testing::Test {
protected:
    HostileTest() : caller(loop, clock, random, client, policy()), poller(loop, clock, random, caller) {}
    static ServicePolicy policy() {
        ServicePolicy made;
        made.name = "hostile";
        made.attempts = 2;
        made.backoff = {milliseconds(1), milliseconds(5)};
        made.breaker_failures = 100'000;
        made.budget.most = 1000;
        return made;
    }
    // Only a call that is meant to time out has little time: the machine may stand still for a while.
    static Request request(const RawServer& server, bool times_out = false) {
        return {.url = server.url(),
                .connect_timeout = seconds(20),
                .timeout = times_out ? milliseconds(400) : milliseconds(20'000),
                .max_response_bytes = 100'000,
                .max_redirects = 3,
                .decompress = true};
    }
    void nothing_is_left(const RawServer& server, const char* about) {
        EXPECT_EQ(caller.stats().out + caller.stats().waiting, 0U) << about;
        EXPECT_EQ(client.stats().in_flight, 0U) << about;
        EXPECT_TRUE(run_until(loop, [&] { return server.open_connections() <= 1; })) << about << ": connections stay";
    }

    SystemClock clock;
    SeededRandom random{1};
    asio::io_context loop;
    Client client{loop, clock, {}};
    ServiceCaller caller;
    Poller poller;
};

TEST_F(HostileTest, CallsEndWithTheRightWord) {
    const std::size_t before = testing::resident_kib();
    for (const Case& one : cases()) {
        RawServer server(loop, [&](const Seen&) { return one.reaction; });
        std::optional<ServiceAnswer> answer;
        const MonoTime begun = clock.now();
        const ServiceHandle handle =
            caller.call({.request = request(server, one.times_out()), .deadline = begun + seconds(30)},
                        [&](ServiceAnswer got) { answer = std::move(got); });
        ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); })) << one.name;
        ASSERT_FALSE(answer->result) << one.name << answer->result->status << answer->result->body;
        EXPECT_EQ(answer->result.error().code, one.code) << one.name << ": " << answer->result.error().describe();
        EXPECT_TRUE(answer->outcome_unknown) << one.name << ": it was sent, and nobody said what became of it";
        nothing_is_left(server, one.name);
    }
#ifndef WA_SANITIZED
    EXPECT_LT(testing::resident_kib(), before + 64 * 1024) << "nothing of it stays in memory";
#else
    static_cast<void>(before);
#endif
}

TEST_F(HostileTest, WhatMustNotBeDoneTwiceIsNotWhateverTheServerDoes) {
    for (const Case& one : cases()) {
        RawServer server(loop, [&](const Seen&) { return one.reaction; });
        Request post = request(server, one.times_out());
        post.method = "POST";
        std::optional<ServiceAnswer> answer;
        const ServiceHandle handle =
            caller.call({.request = std::move(post)}, [&](ServiceAnswer got) { answer = std::move(got); });
        ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); })) << one.name;
        EXPECT_FALSE(answer->result) << one.name;
        EXPECT_TRUE(answer->outcome_unknown) << one.name;
        EXPECT_FALSE(answer->result.error().retryable()) << one.name;
        EXPECT_EQ(server.seen().size(), 1U) << one.name;
    }
}

TEST_F(HostileTest, StreamsEndToo) {
    for (const Case& one : cases()) {
        RawServer server(loop, [&](const Seen&) { return one.reaction; });
        std::optional<ServiceAnswer> answer;
        std::size_t got = 0;
        ServiceCall call{.request = request(server, one.times_out())};
        call.reader.emplace();
        call.reader->chunk = [&](std::string_view bytes) {
            got += bytes.size();
            return true;
        };
        const ServiceHandle handle = caller.call(std::move(call), [&](ServiceAnswer end) { answer = std::move(end); });
        ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); })) << one.name;
        EXPECT_FALSE(answer->result) << one.name;
        EXPECT_LE(got, 100'000U) << one.name;
        nothing_is_left(server, one.name);
    }
}

TEST_F(HostileTest, PollsSurviveAMomentOfItAndEndWhenItLasts) {
    for (const Case& one : cases()) {
        int asked = 0;
        const auto is_bad = [&asked] { return asked == 2 || asked > 3; };
        RawServer server(loop, [&](const Seen&) {
            return is_bad() ? one.reaction : reply(200, "running", "Connection: close\r\n");
        });
        PollSpec spec;
        spec.ask = [&] {
            ++asked;
            return ServiceCall{.request = request(server, is_bad() && one.times_out())};
        };
        spec.policy = {.interval = milliseconds(2), .longest = milliseconds(10), .unknown_answers = 2};
        std::optional<PollOutcome<int>> outcome;
        const PollHandle handle = poller.poll<int>(
            std::move(spec), [](const Response&) { return PollReading<int>::running(); },
            [&](PollOutcome<int> got) { outcome = std::move(got); });
        ASSERT_TRUE(run_until(loop, [&] { return outcome.has_value(); })) << one.name;
        EXPECT_EQ(outcome->end, PollEnd::kUnknownTooLong) << one.name << outcome->result.error().describe();
        EXPECT_EQ(outcome->questions, 5) << one.name;
        EXPECT_TRUE(outcome->result.error().cause) << one.name;
    }
}

TEST_F(HostileTest, ResetBeforeAnythingWasRead) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    server.reset_connections(true);
    for (const char* scheme : {"http", "https"}) {
        const auto before = server.connections();
        Request post{.method = "POST", .url = std::string(scheme) + server.url().substr(4)};
        std::optional<ServiceAnswer> answer;
        const ServiceHandle handle =
            caller.call({.request = std::move(post)}, [&](ServiceAnswer got) { answer = std::move(got); });
        ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); })) << scheme;
        EXPECT_FALSE(answer->result);
        if (std::string_view(scheme) == "https") {
            EXPECT_FALSE(answer->outcome_unknown) << "the handshake never ended: nothing was sent";
            EXPECT_EQ(server.connections() - before, 2U) << "so it may be sent again";
        } else {
            EXPECT_EQ(server.connections() - before, answer->outcome_unknown ? 1U : 2U);
        }
        nothing_is_left(server, scheme);
    }
}

TEST_F(HostileTest, RedirectLoopsAndLadders) {
    RawServer server(loop, [](const Seen& seen) { return reply(302, "", "Location: " + seen.target + "x\r\n"); });
    std::optional<ServiceAnswer> answer;
    const ServiceHandle handle =
        caller.call({.request = request(server)}, [&](ServiceAnswer got) { answer = std::move(got); });
    ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
    EXPECT_EQ(answer->result.error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(answer->attempts, 1);
    EXPECT_EQ(server.seen().size(), 4U);
}

// Whatever is cut out of, or put into, a good answer: an answer or an error, never a hang.
TEST_F(HostileTest, AnyBytes) {
    const std::string whole =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nT: "
        "r\r\n\r\n";
    for (int round = 0; round < 300; ++round) {
        std::string bytes = whole;
        for (std::uint64_t i = random.below(4) + 1; i > 0; --i) {
            const std::size_t at = random.below(bytes.size());
            switch (random.below(3)) {
                case 0: bytes[at] = static_cast<char>(random.below(256)); break;
                case 1: bytes.erase(at, random.below(9)); break;
                default: bytes.insert(at, std::string(random.below(9), static_cast<char>(random.below(256))));
            }
            if (bytes.empty()) bytes = "x";
        }
        RawServer server(loop, [&](const Seen&) { return Reaction{.bytes = bytes, .then = Then::kClose}; });
        bool ended = false;
        const Call call = client.send(request(server, true), [&](const Result<Response>&) { ended = true; });
        ASSERT_TRUE(run_until(loop, [&] { return ended; })) << bytes;
    }
}

}  // namespace
}  // namespace wa::http
