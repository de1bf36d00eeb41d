#include "http_client/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <optional>

#include "base/random.h"
#include "core/trace/testing/noted_calls.h"
#include "http_client/testing/raw_server.h"
#include "http_client/testing/table_lookup.h"
#include "http_client/url.h"

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
using testing::TableLookup;
using Then = Reaction::Then;
using std::chrono::milliseconds;

class HttpClientTest : public ::testing::Test {
protected:
    void SetUp() override { make_client({}); }
    void make_client(ClientOptions options) {
        auto lookup = std::make_unique<TableLookup>(loop);
        names = lookup.get();
        client.emplace(loop, clock, std::move(options), std::move(lookup));
    }
    Result<Response> ask(Request request) {
        std::optional<Result<Response>> answer;
        const Call call = client->send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
        EXPECT_FALSE(answer.has_value()) << "never from inside send()";
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer came");
    }
    Result<Response> get(const std::string& url) { return ask({.url = url}); }

    SystemClock clock;
    asio::io_context loop;
    TableLookup* names = nullptr;
    std::optional<Client> client;
};

TEST_F(HttpClientTest, SendsAndReceives) {
    RawServer server(loop, [](const Seen&) { return reply(201, "hello", "X-Thing: A\r\nx-thing: B\r\n"); });
    const auto answer = ask({.method = "POST",
                             .url = server.url("/a%20b?c=d#fragment"),
                             .headers = {{"X-One", "1"}, {"X-Empty", ""}},
                             .body = std::string("a\0b", 3)});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->status, 201);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(answer->header("x-thing"), "A");
    const Seen& seen = server.seen().at(0);
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.target, "/a%20b?c=d");
    EXPECT_EQ(seen.body, std::string("a\0b", 3));
    EXPECT_EQ(seen.headers.at("x-one"), "1");
    EXPECT_EQ(seen.headers.at("x-empty"), "");
    EXPECT_EQ(seen.headers.at("user-agent"), "worker-agents");
    EXPECT_FALSE(seen.headers.contains("content-type"));
    EXPECT_FALSE(seen.headers.contains("expect"));
}

TEST_F(HttpClientTest, EveryMethodGoesOutAsItIs) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    for (const char* method : {"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"}) {
        ASSERT_TRUE(ask({.method = method, .url = server.url(), .body = "x"})) << method;
        EXPECT_EQ(server.seen().back().method, method);
        EXPECT_EQ(server.seen().back().body, "x");
    }
    const auto head = ask({.method = "HEAD", .url = server.url()});
    ASSERT_TRUE(head);
    EXPECT_EQ(server.seen().back().method, "HEAD");
    ASSERT_TRUE(ask({.method = "POST", .url = server.url()}));
    EXPECT_EQ(server.seen().back().headers.at("content-length"), "0");
}

TEST_F(HttpClientTest, HeadHasALengthButNoBody) {
    RawServer server(
        loop, [](const Seen&) { return Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"}; });
    const auto answer = ask({.method = "HEAD", .url = server.url()});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "");
}

TEST_F(HttpClientTest, KeepsConnections) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    for (int i = 0; i < 20; ++i)
        ASSERT_TRUE(get(server.url()));
    EXPECT_EQ(server.connections(), 1U);
    EXPECT_EQ(client->stats().connections, 1U);
    EXPECT_EQ(client->stats().calls, 20U);
    EXPECT_EQ(client->stats().in_flight, 0U);
}

TEST_F(HttpClientTest, AFreshConnectionOnRequest) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    ASSERT_TRUE(get(server.url()));
    ASSERT_TRUE(ask({.url = server.url(), .fresh_connection = true}));
    EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpClientTest, ADeadKeptConnectionIsReplaced) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    ASSERT_TRUE(get(server.url()));
    server.drop_connections();
    const auto answer = get(server.url());
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpClientTest, KeptConnectionsAreBounded) {
    make_client({.idle_connections = 4});
    RawServer server(loop,
                     [](const Seen&) { return Reaction{.bytes = reply_text(200, "x"), .delay = milliseconds(100)}; });
    int answers = 0;
    std::vector<Call> calls;
    for (int i = 0; i < 40; ++i)
        calls.push_back(
            client->send({.url = server.url()}, [&](const Result<Response>& got) { answers += got ? 1 : 0; }));
    ASSERT_TRUE(run_until(loop, [&] { return answers == 40; }));
    EXPECT_GT(server.most_at_once(), 20U);
    EXPECT_TRUE(run_until(loop, [&] { return server.open_connections() <= 4; }));
}

TEST_F(HttpClientTest, NoMoreConnectionsThanAllowed) {
    make_client({.connections = 8});
    RawServer server(loop,
                     [](const Seen&) { return Reaction{.bytes = reply_text(200, "x"), .delay = milliseconds(20)}; });
    int answers = 0;
    std::vector<Call> calls;
    for (int i = 0; i < 64; ++i)
        calls.push_back(
            client->send({.url = server.url()}, [&](const Result<Response>& got) { answers += got ? 1 : 0; }));
    ASSERT_TRUE(run_until(loop, [&] { return answers == 64; }));
    EXPECT_LE(server.most_at_once(), 8U);
}

TEST_F(HttpClientTest, AThousandAtOnce) {
    RawServer server(loop, [](const Seen& seen) {
        return Reaction{.bytes = reply_text(200, seen.target), .delay = milliseconds(200)};
    });
    int right = 0;
    int answers = 0;
    std::vector<Call> calls;
    for (int i = 0; i < 1000; ++i) {
        const std::string path = "/" + std::to_string(i);
        calls.push_back(client->send({.url = server.url(path), .timeout = std::chrono::seconds(60)},
                                     [&, path](const Result<Response>& got) {
                                         ++answers;
                                         right += got && got->body == path ? 1 : 0;
                                     }));
    }
    EXPECT_EQ(client->stats().in_flight, 1000U);
    ASSERT_TRUE(run_until(loop, [&] { return answers == 1000; }, std::chrono::seconds(60)));
    EXPECT_EQ(right, 1000);
}

TEST_F(HttpClientTest, TooManyCallsAreRefused) {
    make_client({.calls = 3});
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    std::vector<Call> calls;
    for (int i = 0; i < 3; ++i)
        calls.push_back(client->send({.url = server.url()}, [](const Result<Response>&) {}));
    const auto refused = get(server.url());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
    EXPECT_TRUE(refused.error().retryable());
    calls.clear();
    server.set_serve([](const Seen&) { return reply(200, ""); });
    EXPECT_TRUE(get(server.url()));
}

TEST_F(HttpClientTest, AnsweredSlowlyByteForByte) {
    RawServer server(
        loop, [](const Seen&) { return Reaction{.bytes = reply_text(200, "slow"), .byte_pause = milliseconds(1)}; });
    const auto answer = get(server.url());
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "slow");
}

TEST_F(HttpClientTest, HeadersThatTakeTooLong) {
    RawServer server(
        loop, [](const Seen&) { return Reaction{.bytes = reply_text(200, "slow"), .byte_pause = milliseconds(100)}; });
    const auto answer = ask({.url = server.url("/slow"), .timeout = milliseconds(300)});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(answer.error().retryable());
    EXPECT_NE(answer.error().message.find("/slow"), std::string::npos);
}

TEST_F(HttpClientTest, NoAnswerAtAll) {
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    const auto answer = ask({.url = server.url(), .timeout = milliseconds(200)});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(run_until(loop, [&] { return server.open_connections() == 0; })) << "the connection is given up";
}

TEST_F(HttpClientTest, EachCallHasItsOwnTime) {
    RawServer server(
        loop, [](const Seen& seen) { return seen.target == "/fast" ? reply(200, "") : Reaction{.then = Then::kHold}; });
    std::vector<std::string> ended;
    std::vector<Call> calls;
    const auto begin = [&](const std::string& name, milliseconds timeout) {
        calls.push_back(client->send({.url = server.url("/" + name), .timeout = timeout},
                                     [&ended, name](const Result<Response>& got) {
                                         ended.push_back(name + (got ? "" : std::string(to_string(got.error().code))));
                                     }));
        run_for(loop, milliseconds(20));
    };
    begin("fast", milliseconds(600));  // it ends long before its time: then the timer comes for nobody
    begin("slow", std::chrono::seconds(100));
    begin("second", milliseconds(1500));
    begin("first", milliseconds(800));
    ASSERT_TRUE(run_until(loop, [&] { return ended.size() == 3; }));
    const std::string timeout(to_string(ErrorCode::kTimeout));
    EXPECT_THAT(ended, ::testing::ElementsAre("fast", "first" + timeout, "second" + timeout));
    EXPECT_TRUE(calls[1].active());
}

TEST_F(HttpClientTest, WhatHasEndedKeepsNoLoopRunning) {
    std::optional<RawServer> server(std::in_place, loop, [](const Seen&) { return reply(200, ""); });
    for (int i = 0; i < 2; ++i)  // on a new connection and on a kept one
        ASSERT_TRUE(get(server->url()));
    server.reset();
    loop.restart();
    loop.run_for(std::chrono::seconds(2));
    EXPECT_TRUE(loop.stopped()) << "there is nothing left to wait for";
}

TEST_F(HttpClientTest, SilenceInTheMiddle) {
    RawServer server(loop, [](const Seen&) {
        return Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .then = Then::kHold};
    });
    const auto answer =
        ask({.url = server.url(), .timeout = Duration::zero(), .silence_timeout = std::chrono::seconds(1)});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
}

TEST_F(HttpClientTest, BrokenOff) {
    for (const Then then : {Then::kReset, Then::kClose}) {
        RawServer server(loop, [&](const Seen&) {
            return Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", .then = then};
        });
        const auto answer = get(server.url());
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
        EXPECT_TRUE(answer.error().retryable());
        EXPECT_EQ(answer.error().fault, Fault::kService);
    }
}

TEST_F(HttpClientTest, AnEndWithoutAnAnswer) {
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kClose}; });
    const auto answer = get(server.url());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().retryable());
}

TEST_F(HttpClientTest, ACutAnswerIsNoAnswer) {
    const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (const std::string& whole : {reply_text(200, "abc", "X-Thing: y\r\n"), chunked}) {
        // (Of the empty line after the last chunk libcurl does not insist on the line feed.)
        for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
            RawServer server(
                loop, [&](const Seen&) { return Reaction{.bytes = whole.substr(0, size), .then = Then::kClose}; });
            EXPECT_FALSE(get(server.url())) << size << " bytes of " << whole;
        }
    }
}

TEST_F(HttpClientTest, ALargeBodyGoesOut) {
    RawServer server(loop, [](const Seen& seen) { return reply(200, std::to_string(seen.body.size())); });
    const auto answer = ask({.method = "PUT", .url = server.url(), .body = std::string(5'000'000, 'x')});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "5000000");
}

TEST_F(HttpClientTest, AnEndlessBodyIsCut) {
    RawServer server(loop, [](const Seen& seen) {
        const bool chunked = seen.target == "/chunked";
        return Reaction{
            .bytes = chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n",
            .then = Then::kFlood,
            .flood = (chunked ? "1000\r\n" : "") + std::string(4096, 'x') + (chunked ? "\r\n" : "")};
    });
    for (const char* path : {"/chunked", "/until-end"}) {
        const auto answer = ask({.url = server.url(path), .max_response_bytes = 100'000});
        ASSERT_FALSE(answer) << path;
        EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded) << path;
        EXPECT_FALSE(answer.error().retryable()) << path;
    }
}

TEST_F(HttpClientTest, ADeclaredLengthIsBelievedAtOnce) {
    RawServer server(loop, [](const Seen&) {
        return Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", .then = Then::kHold};
    });
    const auto answer = ask({.url = server.url(), .max_response_bytes = 100});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded);
}

TEST_F(HttpClientTest, ABodyOfExactlyTheLimit) {
    RawServer server(loop, [](const Seen&) { return reply(200, std::string(100, 'x')); });
    EXPECT_TRUE(ask({.url = server.url(), .max_response_bytes = 100}));
    EXPECT_FALSE(ask({.url = server.url(), .max_response_bytes = 99}));
}

TEST_F(HttpClientTest, AFloodOfHeadersIsCut) {
    RawServer server(loop, [](const Seen& seen) {
        if (seen.target == "/many") {
            std::string lines = "HTTP/1.1 200 OK\r\n";
            for (int i = 0; i < 1000; ++i)
                lines += "X: y\r\n";
            return Reaction{.bytes = lines, .then = Then::kHold};
        }
        if (seen.target == "/interim")
            return Reaction{.bytes = "HTTP/1.1 103 Early Hints\r\nX: " + std::string(1000, 'x') + "\r\n\r\n",
                            .then = Then::kFlood,
                            .flood = "HTTP/1.1 103 Early Hints\r\nX: " + std::string(1000, 'x') + "\r\n\r\n"};
        return Reaction{.bytes = "HTTP/1.1 200 OK\r\nX: " + std::string(90'000, 'x') + "\r\n", .then = Then::kHold};
    });
    for (const char* path : {"/many", "/long", "/interim"}) {
        const auto answer = get(server.url(path));
        ASSERT_FALSE(answer) << path;
        EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded) << path << answer.error().describe();
    }
}

TEST_F(HttpClientTest, InterimAnswersAreSkipped) {
    RawServer server(loop, [](const Seen&) {
        return Reaction{.bytes = "HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\n" + reply_text(200, "x", "X-Late: 1\r\n")};
    });
    const auto answer = get(server.url());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->header("x-early"), "");
    EXPECT_EQ(answer->header("x-late"), "1");
}

TEST_F(HttpClientTest, NotHttp) {
    RawServer server(loop, [](const Seen&) { return Reaction{.bytes = "SSH-2.0-x\r\n", .then = Then::kClose}; });
    const auto answer = get(server.url());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kMalformed);
    EXPECT_FALSE(answer.error().retryable());
}

TEST_F(HttpClientTest, RedirectsAreNotFollowed) {
    RawServer server(loop, [](const Seen&) { return reply(302, "", "Location: /elsewhere\r\n"); });
    const auto answer = get(server.url());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 302);
    EXPECT_EQ(answer->header("location"), "/elsewhere");
    EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(HttpClientTest, NobodyListens) {
    std::string url;
    {
        const RawServer server(loop, [](const Seen&) { return reply(200, ""); });
        url = server.url("/path");
    }
    const auto answer = get(url);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().retryable());
}

TEST_F(HttpClientTest, CredentialsBecomeAHeaderAndAreNeverSaid) {
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kReset}; });
    const std::string place = "127.0.0.1:" + std::to_string(server.port());
    const auto answer = get("http://user:s%40cret@" + place + "/x?token=hidden");
    ASSERT_FALSE(answer);
    const std::string said = answer.error().describe();
    EXPECT_EQ(said.find("cret"), std::string::npos) << said;
    EXPECT_EQ(said.find("user"), std::string::npos) << said;
    EXPECT_EQ(said.find("hidden"), std::string::npos) << said;
    EXPECT_NE(said.find(place), std::string::npos) << said;
    EXPECT_EQ(server.seen().at(0).headers.at("authorization"), "Basic dXNlcjpzQGNyZXQ=");
    EXPECT_EQ(server.seen().at(0).target, "/x?token=hidden");
    server.set_serve([](const Seen&) { return reply(200, ""); });
    ASSERT_TRUE(ask({.url = "http://a:b@" + place, .headers = {{"Authorization", "Bearer t"}}}));
    EXPECT_EQ(server.seen().back().headers.at("authorization"), "Bearer t");
}

TEST_F(HttpClientTest, BadRequestsAreRefusedHere) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    const auto refused = [&](Request request) {
        const auto answer = ask(std::move(request));
        return !answer && answer.error().code == ErrorCode::kInvalidArgument && !answer.error().retryable();
    };
    for (const char* url : {"", "ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1:80", "http://", "http://a b/",
                            "http://h:99999/", "http://h:0/", "http://h\xC3\xA4/", "gopher://x", "http://%31/"})
        EXPECT_TRUE(refused({.url = url})) << url;
    EXPECT_TRUE(refused({.method = "GET /x HTTP/1.1\r\nX: ", .url = server.url()}));
    EXPECT_TRUE(refused({.method = "", .url = server.url()}));
    EXPECT_TRUE(refused({.url = server.url(), .headers = {{"X", "a\r\nY: b"}}}));
    EXPECT_TRUE(refused({.url = server.url(), .headers = {{"X: a\r\nY", "b"}}}));
    EXPECT_TRUE(refused({.url = server.url(), .unix_socket = std::string(200, 'x')}));
    EXPECT_EQ(server.connections(), 0U);
}

TEST_F(HttpClientTest, NamesAreLookedUpOnceAndKept) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    names->table["service.test"] = {"127.0.0.1"};
    names->delay = milliseconds(50);
    const std::string url = "http://service.test:" + std::to_string(server.port()) + "/";
    int answers = 0;
    std::vector<Call> calls;
    for (int i = 0; i < 100; ++i)
        calls.push_back(client->send({.url = url}, [&](const Result<Response>& got) { answers += got ? 1 : 0; }));
    ASSERT_TRUE(run_until(loop, [&] { return answers == 100; }));
    ASSERT_TRUE(get(url));
    EXPECT_EQ(names->asked, 1);
    EXPECT_EQ(server.seen().at(0).headers.at("host"), "service.test:" + std::to_string(server.port()));
}

// A name that nobody but our table knows: libcurl's own resolver, and its threads, would find nothing.
TEST_F(HttpClientTest, LibcurlStartsNoThreadForAName) {
    RawServer server(loop,
                     [](const Seen&) { return Reaction{.bytes = reply_text(200, ""), .delay = milliseconds(20)}; });
    const auto threads = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                             std::filesystem::directory_iterator());
    };
    const auto before = threads();
    auto most = before;
    int answers = 0;
    std::vector<Call> calls;
    for (const char* name :
         {"service.test", "service.test.", "SERVICE.test", "localhost", "a.localhost", "[::ffff:127.0.0.1]"}) {
        names->table[name] = {"127.0.0.1"};
        for (int i = 0; i < 20; ++i)
            calls.push_back(
                client->send({.url = "http://" + std::string(name) + ":" + std::to_string(server.port()) + "/"},
                             [&](const Result<Response>& got) {
                                 EXPECT_TRUE(got) << got.error().describe();
                                 ++answers;
                             }));
    }
    ASSERT_TRUE(run_until(loop, [&] {
        most = std::max(most, threads());
        return answers == 120;
    }));
    EXPECT_EQ(most, before);
}

TEST_F(HttpClientTest, AddressesThatDoNotAnswerAreAskedAnew) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    names->table["service.test"] = {"127.0.0.9"};  // nobody listens there
    const std::string url = "http://service.test:" + std::to_string(server.port()) + "/";
    EXPECT_FALSE(get(url));
    names->table["service.test"] = {"127.0.0.1"};
    const auto answer = get(url);
    EXPECT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(names->asked, 2);
}

TEST_F(HttpClientTest, OldAddressesAreBetterThanNone) {
    make_client(
        {.names = {.keep = milliseconds(20), .keep_stale = std::chrono::minutes(1), .keep_failure = milliseconds(20)}});
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    names->table["service.test"] = {"127.0.0.1"};
    const std::string url = "http://service.test:" + std::to_string(server.port()) + "/";
    ASSERT_TRUE(get(url));
    names->table.clear();
    for (int i = 0; i < 5; ++i) {
        run_for(loop, milliseconds(30));
        const auto answer = get(url);
        EXPECT_TRUE(answer) << answer.error().describe();
    }
    EXPECT_GT(names->asked, 2) << "and asked again behind the scenes";
    names->table["service.test"] = {"127.0.0.9"};
    run_for(loop, milliseconds(30));
    EXPECT_TRUE(get(url)) << "with what is known";
    run_for(loop, milliseconds(10));
    EXPECT_FALSE(ask({.url = url, .fresh_connection = true})) << "with what was learnt meanwhile";
}

TEST_F(HttpClientTest, TheSecondAddressIsTried) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    names->table["service.test"] = {"127.0.0.9", "127.0.0.1"};
    EXPECT_TRUE(get("http://service.test:" + std::to_string(server.port()) + "/"));
}

TEST_F(HttpClientTest, AnUnknownName) {
    const auto answer = get("http://nowhere.test/");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().retryable());
    EXPECT_FALSE(get("http://nowhere.test/"));
    EXPECT_EQ(names->asked, 1) << "the failure is kept for a moment";
}

TEST_F(HttpClientTest, TheSystemsResolver) {
    const auto lookup = system_name_lookup(loop);
    const auto resolve = [&](const std::string& name) {
        std::optional<Result<Addresses>> answer;
        lookup->lookup(name, [&](Result<Addresses> got) { answer = std::move(got); });
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer");
    };
    const auto found = resolve("localhost");
    ASSERT_TRUE(found) << found.error().describe();
    EXPECT_THAT(*found, ::testing::Contains(::testing::AnyOf("127.0.0.1", "::1")));
    const auto not_found = resolve(std::string(80, 'x') + ".invalid");  // longer than a label may be: nobody is asked
    ASSERT_FALSE(not_found);
    EXPECT_TRUE(not_found.error().retryable());
}

TEST_F(HttpClientTest, ALookUpThatTakesTooLong) {
    names->delay = std::chrono::seconds(30);
    const auto answer = ask({.url = "http://slow.test/", .connect_timeout = milliseconds(50)});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
}

TEST_F(HttpClientTest, ForgottenNamesLeaveLibcurlToo) {
    make_client({.names = {.names = 2}});
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    for (int i = 0; i < 10; ++i) {
        const std::string name = "h" + std::to_string(i) + ".test";
        names->table[name] = {"127.0.0.1"};
        ASSERT_TRUE(get("http://" + name + ":" + std::to_string(server.port()) + "/"));
    }
    ASSERT_TRUE(get("http://h0.test:" + std::to_string(server.port()) + "/"));
    EXPECT_EQ(names->asked, 11);
}

TEST_F(HttpClientTest, UnixSocket) {
    const std::string path = "/tmp/wa-http-" + std::to_string(::getpid()) + ".sock";
    std::filesystem::remove(path);
    testing::RawUnixServer server(loop, path, [](const Seen& seen) { return reply(200, seen.target); });
    const auto answer = ask({.url = "http://docker/v1.41/info", .unix_socket = path});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "/v1.41/info");
    EXPECT_EQ(server.seen().at(0).headers.at("host"), "docker");
    EXPECT_EQ(names->asked, 0);
    std::filesystem::remove(path);
    const auto gone = ask({.url = "http://docker/", .unix_socket = path + "x"});
    ASSERT_FALSE(gone);
    EXPECT_TRUE(gone.error().retryable());
}

TEST_F(HttpClientTest, CancelledAtEachStage) {
    names->table["service.test"] = {"127.0.0.1"};
    names->delay = milliseconds(30);
    RawServer server(loop, [](const Seen&) {
        return Reaction{.bytes = reply_text(200, std::string(40, 'x')), .byte_pause = milliseconds(1)};
    });
    const std::string url = "http://service.test:" + std::to_string(server.port()) + "/";
    for (int stage = 0; stage < 120; stage += 7) {
        make_client({});
        names->table["service.test"] = {"127.0.0.1"};
        names->delay = milliseconds(30);
        bool called = false;
        {
            Call call = client->send({.url = url}, [&](const Result<Response>&) { called = true; });
            run_for(loop, milliseconds(stage));
            if (called) break;
            EXPECT_TRUE(call.active());
            call.cancel();
            EXPECT_FALSE(call.active());
        }
        run_for(loop, milliseconds(5));
        EXPECT_FALSE(called);
        EXPECT_EQ(client->stats().in_flight, 0U);
    }
}

TEST_F(HttpClientTest, CancelledBetweenTheEndAndItsCallback) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    bool called = false;
    Call call = client->send({.url = "ftp://x"}, [&](const Result<Response>&) { called = true; });
    call.cancel();
    run_for(loop, milliseconds(10));
    EXPECT_FALSE(called);
}

TEST_F(HttpClientTest, DestroyedWithCallsUnderWay) {
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    names->delay = std::chrono::seconds(30);
    bool called = false;
    std::vector<Call> calls;
    for (int i = 0; i < 10; ++i) {
        calls.push_back(client->send({.url = server.url()}, [&](const Result<Response>&) { called = true; }));
        calls.push_back(client->send({.url = "http://x.test/"}, [&](const Result<Response>&) { called = true; }));
    }
    run_for(loop, milliseconds(20));
    client.reset();
    EXPECT_FALSE(calls.front().active());
    run_for(loop, milliseconds(50));
    EXPECT_FALSE(called);
}

TEST_F(HttpClientTest, DestroyedFromItsOwnCallback) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    bool called = false;
    std::optional<Call> call;
    call.emplace(client->send({.url = server.url()}, [&](const Result<Response>&) {
        called = true;
        call.reset();
        client.reset();
    }));
    EXPECT_TRUE(run_until(loop, [&] { return called; }));
    run_for(loop, milliseconds(5));
}

TEST_F(HttpClientTest, ACallbackMaySendTheNext) {
    RawServer server(loop, [](const Seen&) { return reply(200, ""); });
    int count = 0;
    Call call;
    std::function<void()> next = [&] {
        call = client->send({.url = server.url()}, [&](const Result<Response>&) {
            if (++count < 50) next();
        });
    };
    next();
    EXPECT_TRUE(run_until(loop, [&] { return count == 50; }));
    EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpClientTest, StreamsWithBackpressure) {
    std::string body;
    for (int i = 0; i < 400'000; ++i)
        body += static_cast<char>('a' + i % 26);
    RawServer server(loop, [&](const Seen&) { return reply(200, body, "X-Head: 1\r\n"); });
    std::string got;
    std::string head;
    std::optional<Result<Response>> done;
    Call call;
    bool paused = false;
    call = client->stream({.url = server.url(), .max_response_bytes = 1 << 20},
                          {.head = [&](const Response& response) { head = std::string(response.header("x-head")); },
                           .chunk =
                               [&](std::string_view bytes) {
                                   EXPECT_FALSE(paused) << "nothing comes while it is paused";
                                   EXPECT_LE(bytes.size(), 256U * 1024);
                                   got += bytes;
                                   paused = true;
                                   return false;
                               }},
                          [&](Result<Response> response) { done = std::move(response); });
    int pauses = 0;
    while (!done && pauses < 10'000) {
        ASSERT_TRUE(run_until(loop, [&] { return paused || done; }));
        if (!paused) break;
        run_for(loop, milliseconds(2));
        EXPECT_FALSE(done.has_value()) << "the end comes after the last chunk was taken";
        ++pauses;
        paused = false;
        call.resume();
    }
    ASSERT_TRUE(done && *done);
    EXPECT_EQ((**done).status, 200);
    EXPECT_EQ((**done).body, "");
    EXPECT_EQ(head, "1");
    EXPECT_EQ(got, body);
    EXPECT_GT(pauses, 2);
}

TEST_F(HttpClientTest, AStreamIsBoundedToo) {
    for (const bool pausing : {false, true}) {
        RawServer server(loop, [](const Seen&) {
            return Reaction{.bytes = "HTTP/1.1 200 OK\r\n\r\n", .then = Then::kFlood, .flood = std::string(8192, 'x')};
        });
        std::size_t got = 0;
        std::optional<Result<Response>> done;
        Call call;
        call = client->stream({.url = server.url(), .max_response_bytes = 300'000},
                              {.chunk =
                                   [&](std::string_view bytes) {
                                       got += bytes.size();
                                       return !pausing;
                                   }},
                              [&](Result<Response> response) { done = std::move(response); });
        ASSERT_TRUE(run_until(loop, [&] {
            call.resume();
            return done.has_value();
        }));
        ASSERT_FALSE(*done);
        EXPECT_EQ(done->error().code, ErrorCode::kLimitExceeded);
        EXPECT_LE(got, 300'000U);
    }
}

TEST_F(HttpClientTest, AStreamsHeadComesBeforeItsBody) {
    RawServer server(loop, [](const Seen&) {
        return Reaction{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .then = Then::kHold};
    });
    bool head = false;
    const Call call = client->stream({.url = server.url(), .timeout = Duration::zero()},
                                     {.head = [&](const Response& response) { head = response.status == 200; },
                                      .chunk = [](std::string_view) { return true; }},
                                     [](const Result<Response>&) {});
    EXPECT_TRUE(run_until(loop, [&] { return head; }));
}

TEST_F(HttpClientTest, AStreamMayBeCancelledFromItsReader) {
    RawServer server(loop, [](const Seen&) { return reply(200, std::string(100'000, 'x')); });
    int chunks = 0;
    bool done = false;
    Call call;
    call = client->stream({.url = server.url()},
                          {.head = {},
                           .chunk =
                               [&](std::string_view) {
                                   ++chunks;
                                   call.cancel();
                                   return true;
                               }},
                          [&](const Result<Response>&) { done = true; });
    ASSERT_TRUE(run_until(loop, [&] { return chunks > 0; }));
    run_for(loop, milliseconds(20));
    EXPECT_EQ(chunks, 1);
    EXPECT_FALSE(done);
}

// Whatever the server does and whenever a call is given up: each call ends once, or not at all when it was cancelled.
// ------------------------------------------------------------ who watches calls

class WatchedHttpClientTest : public HttpClientTest {
protected:
    void SetUp() override {
        ClientOptions options;
        options.watch = &watch;
        make_client(std::move(options));
    }
    wa::testing::NotedCalls watch;
};

TEST_F(WatchedHttpClientTest, HearsWhatGoesOutAndWhatItWasAnsweredWith) {
    RawServer server(loop, [](const Seen&) { return reply(503, "x"); });
    watch.carry = {{"traceparent", "00-abc"}, {"tracestate", "a=1"}};
    Request request{.method = "PUT", .url = server.url("/a/b?token=se-cret#c")};
    request.purpose.name = "x.put";
    request.purpose.ticket_id = "t";
    request.purpose.retry = 3;
    ASSERT_TRUE(ask(std::move(request)));
    ASSERT_EQ(watch.calls.size(), 1U);
    const auto& call = *watch.calls[0];
    EXPECT_EQ(call.purpose.name, "x.put");
    EXPECT_EQ(call.purpose.ticket_id, "t");
    EXPECT_EQ(call.purpose.retry, 3);
    EXPECT_EQ(call.protocol, OutgoingCall::Protocol::kHttp);
    EXPECT_EQ(call.method, "PUT");
    EXPECT_EQ(call.subject, "/a/b") << "a query may hold secrets";
    EXPECT_EQ(call.host, "127.0.0.1");
    EXPECT_EQ(call.port, server.port());
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.status, 503);
    EXPECT_FALSE(call.error);
    EXPECT_EQ(server.seen().at(0).headers.at("traceparent"), "00-abc");
    EXPECT_EQ(server.seen().at(0).headers.at("tracestate"), "a=1");
}

TEST_F(WatchedHttpClientTest, HearsWhyThereIsNoAnswer) {
    ASSERT_FALSE(get("http://nowhere.test/"));
    ASSERT_FALSE(get("http://127.0.0.1:1/"));
    ASSERT_EQ(watch.calls.size(), 2U);
    for (const auto& call : watch.calls) {
        EXPECT_EQ(call->ended, 1);
        EXPECT_FALSE(call->status);
        ASSERT_TRUE(call->error);
        EXPECT_EQ(call->error->code, ErrorCode::kUnavailable);
    }
    EXPECT_FALSE(ask({.url = "ftp://x/"}));
    EXPECT_EQ(watch.calls.size(), 2U) << "that never went out";
}

TEST_F(WatchedHttpClientTest, HearsThatACallWasGivenUp) {
    RawServer server(loop, [](const Seen&) { return Reaction{.then = Then::kHold}; });
    {
        const Call call = client->send({.url = server.url()}, [](const Result<Response>&) { FAIL(); });
        ASSERT_TRUE(run_until(loop, [&] { return !server.seen().empty(); }));
    }
    ASSERT_EQ(watch.calls.size(), 1U);
    EXPECT_TRUE(watch.calls[0]->given_up);
    const Call last = client->send({.url = server.url()}, [](const Result<Response>&) { FAIL(); });
    client.reset();
    EXPECT_TRUE(watch.calls.at(1)->given_up) << "before the client is gone";
    run_for(loop, milliseconds(20));
    EXPECT_EQ(watch.calls.size(), 2U);
}

TEST_F(WatchedHttpClientTest, AStreamEndsWithItsLastByte) {
    RawServer server(
        loop, [](const Seen&) { return Reaction{.bytes = reply_text(200, "abcdef"), .byte_pause = milliseconds(1)}; });
    std::string body;
    bool done = false;
    StreamReader reader;
    reader.chunk = [&](std::string_view bytes) {
        EXPECT_EQ(watch.calls.at(0)->ended, 0);
        body += bytes;
        return true;
    };
    const Call call =
        client->stream({.url = server.url()}, std::move(reader), [&](const Result<Response>&) { done = true; });
    ASSERT_TRUE(run_until(loop, [&] { return done; }));
    EXPECT_EQ(body, "abcdef");
    EXPECT_EQ(watch.calls.at(0)->status, 200);
}

TEST_F(WatchedHttpClientTest, NeedNotCareForTheEnd) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    watch.cares_for_the_end = false;
    watch.carry = {{"traceparent", "00-abc"}};
    ASSERT_TRUE(get(server.url()));
    EXPECT_EQ(server.seen().at(0).headers.at("traceparent"), "00-abc");
    EXPECT_EQ(watch.calls.at(0)->ended, 0);
}

TEST_F(HttpClientTest, AnythingAtAnyTime) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        SeededRandom random(seed);
        make_client({.connections = 20});
        names->table["service.test"] = {"127.0.0.9", "127.0.0.1"};
        RawServer server(loop, [&](const Seen&) {
            const std::string whole = reply_text(200, std::string(random.below(100'000), 'x'));
            Reaction reaction{.bytes = whole, .delay = milliseconds(random.below(20))};
            if (random.chance(0.4)) {
                reaction.bytes.resize(random.below(whole.size()));
                const Then ends[] = {Then::kClose, Then::kReset, Then::kHold};
                reaction.then = ends[random.below(3)];
            }
            return reaction;
        });
        struct Expected {
            Call call;
            int ends = 0;
            bool cancelled = false;
        };
        std::vector<std::unique_ptr<Expected>> all;
        for (int i = 0; i < 200; ++i) {
            all.push_back(std::make_unique<Expected>());
            Expected& mine = *all.back();
            Request request{.url = (random.chance(0.5) ? "http://service.test:" : "http://127.0.0.1:") +
                                   std::to_string(server.port()) + "/",
                            .connect_timeout = milliseconds(500),
                            .timeout = milliseconds(100 + static_cast<int>(random.below(400))),
                            .max_response_bytes = 90'000};
            const auto done = [&mine](const Result<Response>& got) {
                ++mine.ends;
                if (got) {
                    EXPECT_EQ(got->status, 200);
                }
            };
            if (random.chance(0.5)) {
                mine.call = client->send(std::move(request), done);
            } else {
                mine.call = client->stream(std::move(request),
                                           {.chunk =
                                                [&random, &mine](std::string_view) {
                                                    if (random.chance(0.05)) {
                                                        mine.cancelled = true;
                                                        mine.call.cancel();
                                                    }
                                                    return random.chance(0.7);
                                                }},
                                           done);
            }
            if (random.chance(0.3)) run_for(loop, milliseconds(random.below(5)));
            if (random.chance(0.2)) {
                Expected& other = *all[random.below(all.size())];
                other.cancelled = other.cancelled || other.call.active();
                other.call.cancel();
            }
        }
        ASSERT_TRUE(run_until(loop,
                              [&] {
                                  for (auto& expected : all)
                                      expected->call.resume();
                                  return std::ranges::all_of(
                                      all, [](const auto& one) { return one->cancelled || one->ends > 0; });
                              }))
            << "seed " << seed;
        run_for(loop, milliseconds(20));
        for (const auto& one : all)
            EXPECT_EQ(one->ends, one->cancelled ? 0 : 1) << "seed " << seed;
        EXPECT_EQ(client->stats().in_flight, 0U);
    }
}

TEST(RetryAfter, SecondsOrADate) {
    const auto read = [](const char* text) {
        return retry_after({.headers = {{"retry-after", text}}}, 784'111'777'000);
    };
    EXPECT_EQ(read("5"), milliseconds(5000));
    EXPECT_EQ(read("0"), milliseconds(0));
    EXPECT_EQ(read("99999999999"), std::chrono::hours(1));
    EXPECT_EQ(read("-3"), milliseconds(0));
    EXPECT_EQ(read("Sun, 06 Nov 1994 08:50:00 GMT"), milliseconds(23'000));
    EXPECT_EQ(read("Sun, 06 Nov 1994 08:00:00 GMT"), milliseconds(0));
    EXPECT_EQ(read("soon"), std::nullopt);
    EXPECT_EQ(retry_after({}, 0), std::nullopt);
}

TEST(Urls, Parts) {
    const auto url = parse_url("https://User:pa%2Fss@Example.org:8443/a/../b?q=1#f");
    ASSERT_TRUE(url);
    EXPECT_TRUE(url->tls);
    EXPECT_EQ(url->port, 8443);
    EXPECT_TRUE(url->needs_lookup);
    EXPECT_EQ(url->authorization, "Basic VXNlcjpwYS9zcw==");
    EXPECT_EQ(url->text.find("ss@"), std::string::npos);
    EXPECT_EQ(url->text.find('#'), std::string::npos);
    EXPECT_EQ(parse_url("http://[::1]:80/")->host, "::1");
    EXPECT_FALSE(parse_url("http://[::1]:80/")->needs_lookup);
    EXPECT_FALSE(parse_url("http://localhost/")->needs_lookup);
    EXPECT_EQ(parse_url("http://host")->port, 80);
    EXPECT_FALSE(parse_url("http://%31.2.3.4/")->needs_lookup) << "an address, once it is written down";
    EXPECT_EQ(encode_url_part("a/b c\xC3\xA9~"), "a%2Fb%20c%C3%A9~");
    EXPECT_EQ(join_url("http://h/base//", "/x/"), "http://h/base/x/");
}

}  // namespace
}  // namespace wa::http
