// What the client does only when it is asked to: redirects, decompression, proxies, guards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <optional>

#include "http_client/http_client.h"
#include "http_client/testing/proxy_server.h"
#include "http_client/testing/raw_server.h"
#include "http_client/testing/resident.h"
#include "http_client/testing/table_lookup.h"
#include "http_client/testing/tls_server.h"

namespace wa::http {
namespace {

namespace asio = boost::asio;
using testing::ProxyServer;
using testing::RawServer;
using testing::Reaction;
using testing::reply;
using testing::reply_text;
using testing::run_until;
using testing::Seen;
using Then = Reaction::Then;

class AskedForTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { certificates.emplace(); }
    static void TearDownTestSuite() { certificates.reset(); }
    void SetUp() override { make_client({}); }
    void make_client(ClientOptions options) {
        auto lookup = std::make_unique<testing::TableLookup>(loop);
        names = lookup.get();
        for (const char* name : {"service.test", "other.test", "proxy.test"})
            names->table[name] = {"127.0.0.1"};
        client.emplace(loop, clock, std::move(options), std::move(lookup));
    }
    Result<Response> ask(Request request) {
        std::optional<Result<Response>> answer;
        const Call call = client->send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        sent = call.request_sent();
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer came");
    }
    static std::string url(const std::string& host, std::uint16_t port, const std::string& path = "/") {
        return "http://" + host + ":" + std::to_string(port) + path;
    }
    static std::string file(const std::string& name) { return certificates->file(name); }

    static inline std::optional<testing::Certificates> certificates;
    SystemClock clock;
    asio::io_context loop;
    testing::TableLookup* names = nullptr;
    std::optional<Client> client;
    bool sent = false;
};

// ------------------------------------------------------------ redirects

Reaction to(int status, const std::string& place) {
    return reply(status, "moved", "Location: " + place + "\r\n");
}

TEST_F(AskedForTest, RedirectsAreFollowedWithTheirHeaders) {
    RawServer server(loop, [](const Seen& seen) {
        if (seen.target == "/a/b") return to(302, "../c?d=1#e");
        if (seen.target == "/c?d=1") return to(307, "/d");
        return reply(200, "there");
    });
    const auto answer = ask({.url = url("user:word@service.test", server.port(), "/a/b"),
                             .headers = {{"X-Mine", "1"}, {"Cookie", "c"}},
                             .max_redirects = 2});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "there") << "and nothing of the bodies before";
    ASSERT_EQ(server.seen().size(), 3U);
    for (const Seen& seen : server.seen()) {
        EXPECT_EQ(seen.headers.at("authorization"), "Basic dXNlcjp3b3Jk");
        EXPECT_EQ(seen.headers.at("x-mine"), "1");
        EXPECT_EQ(seen.headers.at("cookie"), "c");
    }
    EXPECT_EQ(server.connections(), 1U);
}

TEST_F(AskedForTest, CredentialsStayWithTheirHost) {
    RawServer other(loop, [](const Seen&) { return reply(200, "there"); });
    RawServer server(loop, [&](const Seen&) {
        return to(302, "http://sneaky:pair@other.test:" + std::to_string(other.port()) + "/x");
    });
    const auto answer =
        ask({.url = url("user:word@service.test", server.port()),
             .headers = {{"PRIVATE-TOKEN", "t"}, {"X-Registry-Auth", "a"}, {"Cookie", "c"}, {"Accept", "text/plain"}},
             .max_redirects = 1});
    ASSERT_TRUE(answer) << answer.error().describe();
    const auto& headers = other.seen().at(0).headers;
    EXPECT_EQ(headers.at("accept"), "text/plain");
    for (const char* name : {"authorization", "private-token", "x-registry-auth", "cookie"})
        EXPECT_FALSE(headers.contains(name)) << name;
    RawServer same_host_other_port(loop, [](const Seen&) { return reply(200, ""); });
    server.set_serve([&](const Seen&) { return to(302, url("service.test", same_host_other_port.port())); });
    ASSERT_TRUE(ask({.url = url("user:word@service.test", server.port()), .max_redirects = 1}));
    EXPECT_FALSE(same_host_other_port.seen().at(0).headers.contains("authorization"));
}

TEST_F(AskedForTest, RedirectLoopsEnd) {
    RawServer server(loop, [](const Seen&) { return to(301, "/again"); });
    const auto answer = ask({.url = server.url(), .max_redirects = 5});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded);
    EXPECT_FALSE(answer.error().retryable());
    EXPECT_EQ(server.seen().size(), 6U);
    EXPECT_EQ(client->stats().in_flight, 0U);
}

TEST_F(AskedForTest, RedirectsShareOneTime) {
    RawServer server(loop, [](const Seen&) {
        Reaction slow = to(301, "/again");
        slow.delay = std::chrono::milliseconds(100);
        return slow;
    });
    const auto answer = ask({.url = server.url(), .timeout = std::chrono::milliseconds(450), .max_redirects = 1000});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
    EXPECT_LE(server.seen().size(), 6U);
}

TEST_F(AskedForTest, WhatIsWrittenIsNotSentElsewhere) {
    RawServer server(loop, [](const Seen& seen) {
        return seen.target == "/done" ? reply(200, seen.method) : to(seen.target == "/303" ? 303 : 307, "/done");
    });
    const auto kept = ask({.method = "POST", .url = server.url("/307"), .body = "b", .max_redirects = 5});
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->status, 307) << "an answer like others";
    EXPECT_EQ(kept->body, "moved");
    const auto seen = ask({.method = "POST",
                           .url = server.url("/303"),
                           .headers = {{"Content-Type", "text/plain"}},
                           .body = "b",
                           .max_redirects = 5});
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->body, "GET");
    EXPECT_EQ(server.seen().back().body, "");
    EXPECT_FALSE(server.seen().back().headers.contains("content-type"));
}

TEST_F(AskedForTest, OddRedirects) {
    RawServer server(loop, [](const Seen& seen) { return to(302, seen.target.substr(1)); });
    for (const auto& [place, code] :
         {std::pair{"ftp://x/", ErrorCode::kMalformed}, std::pair{"file:///etc/passwd", ErrorCode::kMalformed},
          std::pair{"http://", ErrorCode::kMalformed}, std::pair{"//nowhere.test/", ErrorCode::kUnavailable}}) {
        const auto answer = ask({.url = server.url("/" + std::string(place)), .max_redirects = 3});
        ASSERT_FALSE(answer) << place;
        EXPECT_EQ(answer.error().code, code) << place << answer.error().describe();
    }
    RawServer silent(loop, [](const Seen&) { return reply(302, ""); });
    EXPECT_EQ(ask({.url = silent.url(), .max_redirects = 3})->status, 302) << "to nowhere in particular";
}

TEST_F(AskedForTest, AStreamSeesOnlyTheLastPlace) {
    RawServer server(loop,
                     [](const Seen& seen) { return seen.target == "/" ? to(302, "/there") : reply(200, "there"); });
    std::string text;
    std::vector<int> heads;
    std::optional<Result<Response>> done;
    const Call call = client->stream({.url = server.url(), .max_redirects = 1},
                                     {.head = [&](const Response& head) { heads.push_back(head.status); },
                                      .chunk =
                                          [&](std::string_view bytes) {
                                              text += bytes;
                                              return true;
                                          }},
                                     [&](Result<Response> got) { done = std::move(got); });
    ASSERT_TRUE(run_until(loop, [&] { return done.has_value(); }));
    EXPECT_TRUE(*done);
    EXPECT_EQ(text, "there");
    EXPECT_THAT(heads, ::testing::ElementsAre(200));
}

TEST_F(AskedForTest, CancelledBetweenRedirects) {
    RawServer server(loop, [](const Seen&) {
        Reaction slow = to(301, "/again");
        slow.delay = std::chrono::milliseconds(3);
        return slow;
    });
    for (int i = 0; i < 30; ++i) {
        bool called = false;
        {
            const Call call = client->send({.url = server.url(), .max_redirects = 1000},
                                           [&](const Result<Response>&) { called = true; });
            testing::run_for(loop, std::chrono::milliseconds(i));
        }
        EXPECT_FALSE(called);
        EXPECT_EQ(client->stats().in_flight, 0U);
    }
}

TEST_F(AskedForTest, NoRedirectFromHttpsToHttp) {
    ASSERT_TRUE(certificates->ok());
    RawServer plain(loop, [](const Seen&) { return reply(200, "plain"); });
    const testing::TlsServer server(file("server.pem"), file("server.key"), "", std::nullopt,
                                    reply_text(302, "", "Location: " + plain.url() + "\r\n"));
    Request request{.url = server.url(), .max_redirects = 3};
    request.tls = TlsOptions{.ca_file = file("ca.pem")};
    const auto answer = ask(std::move(request));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kNotAllowed) << answer.error().describe();
    EXPECT_EQ(plain.connections(), 0U);
}

// ------------------------------------------------------------ decompression

// `kind`: 31 = gzip, 15 = zlib ("deflate").
std::string packed(std::string_view text, int kind = 31) {
    z_stream stream{};
    EXPECT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, kind, 9, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(::deflateBound(&stream, text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    ::deflateEnd(&stream);
    return out;
}

TEST_F(AskedForTest, GzipIsUndoneWhenAskedFor) {
    std::string text;
    for (int i = 0; i < 50'000; ++i)
        text += std::to_string(i * 7919 % 10'007);
    RawServer server(loop, [&](const Seen& seen) {
        if (!seen.headers.contains("accept-encoding")) return reply(200, packed(text), "Content-Encoding: gzip\r\n");
        if (seen.target == "/deflate") return reply(200, packed(text, 15), "Content-Encoding: deflate\r\n");
        if (seen.target == "/plain") return reply(200, text);
        return reply(200, packed(text), "Content-Encoding: gzip\r\n");
    });
    for (const char* path : {"/gzip", "/deflate", "/plain"}) {
        const auto answer = ask({.url = server.url(path), .decompress = true});
        ASSERT_TRUE(answer) << path << answer.error().describe();
        EXPECT_EQ(answer->body, text) << path;
        EXPECT_EQ(server.seen().back().headers.at("accept-encoding"), "gzip, deflate");
    }
    const auto unasked = ask({.url = server.url("/gzip")});
    ASSERT_TRUE(unasked);
    EXPECT_EQ(unasked->body, packed(text)) << "as it came";
}

TEST_F(AskedForTest, AGzipBombGoesNowhere) {
    const std::string bomb = packed(std::string(64U << 20U, '\0'));
    ASSERT_LT(bomb.size(), 100'000U);
    RawServer server(loop, [&](const Seen&) { return reply(200, bomb, "Content-Encoding: gzip\r\n"); });
    const auto by_size = ask({.url = server.url(), .max_response_bytes = 500'000, .decompress = true});
    ASSERT_FALSE(by_size);
    EXPECT_EQ(by_size.error().code, ErrorCode::kLimitExceeded);
    EXPECT_NE(by_size.error().message.find("larger than 500000"), std::string::npos) << by_size.error().message;
    const auto by_ratio = ask({.url = server.url(), .max_response_bytes = 1ULL << 30U, .decompress = true});
    ASSERT_FALSE(by_ratio);
    EXPECT_EQ(by_ratio.error().code, ErrorCode::kLimitExceeded);
    EXPECT_NE(by_ratio.error().message.find("200 times"), std::string::npos) << by_ratio.error().message;
    EXPECT_TRUE(
        ask({.url = server.url(), .max_response_bytes = 1ULL << 30U, .decompress = true, .max_expansion = 2000}))
        << "when it is meant";
}

TEST_F(AskedForTest, AStreamedBombIsHeldBack) {
    const std::string bomb = packed(std::string(256U << 20U, '\0'));
    RawServer server(loop, [&](const Seen&) { return reply(200, bomb, "Content-Encoding: gzip\r\n"); });
    std::size_t got = 0;
    Call call;
    std::optional<Result<Response>> done;
    StreamReader reader;
    reader.chunk = [&](std::string_view bytes) {
        got += bytes.size();
        return false;
    };
    call = client->stream({.url = server.url(), .max_response_bytes = 1ULL << 30U, .decompress = true},
                          std::move(reader), [&](Result<Response> end) { done = std::move(end); });
    ASSERT_TRUE(run_until(loop, [&] {
        call.resume();
        return done.has_value();
    }));
    EXPECT_FALSE(*done);
    EXPECT_LT(got, 16U << 20U);
}

TEST_F(AskedForTest, WhatIsNotReadIsNotUnpacked) {
    const std::string bomb = packed(std::string(256U << 20U, '\0'));
    RawServer server(loop, [&](const Seen&) { return reply(200, bomb, "Content-Encoding: gzip\r\n"); });
    [[maybe_unused]] const std::size_t before = testing::resident_kib();
    std::size_t got = 0;
    StreamReader reader;
    reader.chunk = [&](std::string_view bytes) {
        got += bytes.size();
        return false;
    };
    const Call call = client->stream(
        {.url = server.url(), .max_response_bytes = 1ULL << 30U, .decompress = true, .max_expansion = 100'000},
        std::move(reader), [](const Result<Response>&) {});
    ASSERT_TRUE(run_until(loop, [&] { return got > 0; }));
    testing::run_for(loop, std::chrono::milliseconds(200));
    EXPECT_LT(got, 1U << 20U);
#ifndef WA_SANITIZED
    EXPECT_LT(testing::resident_kib(), before + 12 * 1024) << "some 4 MiB of the 256";
#endif
}

TEST_F(AskedForTest, OnlyEncodingsThatWereAskedFor) {
    const std::string twice = packed(packed("hello"));
    RawServer server(loop, [&](const Seen& seen) {
        if (seen.target == "/te")
            return Reaction{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + packed("hello"),
                            .then = Then::kClose};
        if (seen.target == "/twice") return reply(200, twice, "Content-Encoding: gzip, gzip\r\n");
        if (seen.target == "/two-lines")
            return reply(200, twice, "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n");
        if (seen.target == "/cut")
            return reply(200, packed(std::string(1000, 'x')).substr(0, 15), "Content-Encoding: gzip\r\n");
        return reply(200, "not packed at all", "Content-Encoding: " + seen.target.substr(1) + "\r\n");
    });
    for (const char* path : {"/te", "/twice", "/two-lines", "/br", "/zstd", "/compress", "/gzip"}) {
        const auto answer = ask({.url = server.url(path), .decompress = true});
        ASSERT_FALSE(answer) << path;
        EXPECT_EQ(answer.error().code, ErrorCode::kMalformed) << path << answer.error().describe();
    }
    const auto unasked = ask({.url = server.url("/te")});
    ASSERT_FALSE(unasked) << "also when nothing was asked for";
    EXPECT_TRUE(ask({.url = server.url("/br")})) << "what is not undone does not matter";
}

// ------------------------------------------------------------ proxies

class ProxyTest : public AskedForTest {
protected:
    void use(const std::string& proxy_url, std::string_view exceptions = "") {
        auto made = make_proxy(proxy_url, exceptions);
        ASSERT_TRUE(made) << made.error().describe();
        ClientOptions options;
        options.proxy = std::make_shared<const Proxy>(*std::move(made));
        make_client(std::move(options));
    }
};

TEST_F(ProxyTest, PlainCallsAreSentToIt) {
    RawServer proxy(loop, [](const Seen& seen) { return reply(200, seen.target); });
    use("http://user:word@proxy.test:" + std::to_string(proxy.port()), "skipped.test");
    const auto answer = ask({.url = "http://a:b@far.test/x?y=1"});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "http://far.test/x?y=1");
    const auto& headers = proxy.seen().at(0).headers;
    EXPECT_EQ(headers.at("proxy-authorization"), "Basic dXNlcjp3b3Jk");
    EXPECT_EQ(headers.at("authorization"), "Basic YTpi");
    EXPECT_EQ(headers.at("host"), "far.test");
    EXPECT_EQ(names->asked, 1) << "the proxy's name, and not the other";
    const auto past = ask({.url = "http://skipped.test/"});
    ASSERT_FALSE(past) << "there is no such name, and the proxy was not asked";
    EXPECT_EQ(proxy.seen().size(), 1U);
}

TEST_F(ProxyTest, TlsGoesThroughATunnel) {
    ASSERT_TRUE(certificates->ok());
    const testing::TlsServer server(file("server.pem"), file("server.key"), "");
    ProxyServer proxy(loop);
    use("http://user:word@" + proxy.url().substr(7));
    Request request{.url = "https://service.test:" + std::to_string(server.port()) + "/secret?token=1",
                    .headers = {{"Authorization", "Bearer mine"}}};
    request.tls = TlsOptions{.ca_file = file("ca.pem")};
    const auto answer = ask(request);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "hello nobody");
    EXPECT_EQ(answer->header("x-proxy"), "") << "that is the tunnel's";
    ASSERT_EQ(proxy.heads().size(), 1U);
    const std::string head = proxy.heads()[0];
    EXPECT_TRUE(head.starts_with("CONNECT service.test:")) << head;
    EXPECT_NE(head.find("Proxy-Authorization: Basic dXNlcjp3b3Jk"), std::string::npos);
    EXPECT_EQ(head.find("mine"), std::string::npos) << head;
    EXPECT_EQ(head.find("secret"), std::string::npos) << head;
}

TEST_F(ProxyTest, ARefusalIsTheProxysOwn) {
    ProxyServer proxy(loop);
    use("http://user:wo-rd@" + proxy.url().substr(7));
    for (const auto& [status, code] :
         {std::pair{"407", ErrorCode::kNotAllowed}, std::pair{"403", ErrorCode::kNotAllowed},
          std::pair{"503", ErrorCode::kUnavailable}}) {
        proxy.refuse_with("HTTP/1.1 " + std::string(status) + " No\r\nContent-Length: 0\r\n\r\n");
        const auto answer = ask({.url = "https://far.test/"});
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, code) << answer.error().describe();
        EXPECT_NE(answer.error().message.find("proxy.test"), std::string::npos);
        EXPECT_EQ(answer.error().describe().find("wo-rd"), std::string::npos);
        EXPECT_FALSE(sent) << "the request itself never went out";
    }
    proxy.refuse_with("SSH-2.0-x\r\n\r\n");
    EXPECT_FALSE(ask({.url = "https://far.test/", .timeout = std::chrono::seconds(2)}));
}

TEST_F(ProxyTest, AnEndlessRefusalEnds) {
    RawServer proxy(loop, [](const Seen&) {
        return Reaction{
            .bytes = "HTTP/1.1 200 OK\r\n", .then = Then::kFlood, .flood = "X: " + std::string(500, 'x') + "\r\n"};
    });
    use("http://proxy.test:" + std::to_string(proxy.port()));
    EXPECT_FALSE(ask({.url = "https://far.test/", .connect_timeout = std::chrono::milliseconds(500)}));
}

TEST_F(ProxyTest, NoProxyThere) {
    use("http://proxy.test:1");
    const auto answer = ask({.url = "https://far.test/"});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().retryable());
}

TEST_F(ProxyTest, TheEnvironmentIsNotAsked) {
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    ::setenv("no_proxy", "far.test", 1);
    RawServer server(loop, [](const Seen&) { return reply(200, "direct"); });
    EXPECT_TRUE(ask({.url = url("service.test", server.port())}));
    use("http://proxy.test:" + std::to_string(server.port()));
    EXPECT_TRUE(ask({.url = "http://far.test/"}));
    ::unsetenv("http_proxy");
    ::unsetenv("no_proxy");
}

// ------------------------------------------------------------ guards

class GuardTest : public AskedForTest {
protected:
    static std::shared_ptr<const EgressGuard> guard(const EgressRules& rules) {
        auto made = EgressGuard::make(rules);
        EXPECT_TRUE(made);
        return made ? *made : nullptr;
    }
    Result<Response> guarded(const std::string& place, const EgressRules& rules, int redirects = 0) {
        return ask({.url = place, .max_redirects = redirects, .guard = guard(rules)});
    }
    void refused(const Result<Response>& answer, const std::string& about) {
        ASSERT_FALSE(answer) << about;
        EXPECT_EQ(answer.error().code, ErrorCode::kNotAllowed) << about << answer.error().describe();
        EXPECT_FALSE(answer.error().retryable());
        EXPECT_FALSE(sent) << about;
    }
    const EgressRules kHere{.hosts = {"service.test"}, .allow_loopback = true};
};

TEST_F(GuardTest, WhatIsListedIsCalled) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    EXPECT_TRUE(guarded(url("service.test", server.port()), kHere));
    refused(guarded(url("other.test", server.port()), kHere), "not listed");
    refused(guarded(url("service.test", server.port()), {.hosts = {"service.test"}}), "loopback");
    EXPECT_TRUE(guarded(server.url(), {.networks = {"127.0.0.0/8"}, .allow_loopback = true}));
    EXPECT_TRUE(guarded(url("localhost", server.port()), {.hosts = {"localhost"}, .allow_loopback = true}));
    EXPECT_EQ(server.connections(), 3U) << "the connection of a name is not used for an address";
}

TEST_F(GuardTest, OddSpellingsDoNotGetBy) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    const EgressRules internet{.hosts = {"*"}};
    for (const char* host : {"127.0.0.1",       "0177.0.0.1",    "0x7f.0.0.1",  "2130706433",      "127.1",
                             "0x7f000001",      "017700000001",  "127.0.1",     "[::1]",           "[::ffff:127.0.0.1]",
                             "[::ffff:7f00:1]", "[::127.0.0.1]", "0",           "0.0.0.0",         "[::]",
                             "localhost",       "LOCALHOST",     "a.localhost", "%31%32%37.0.0.1", "service.test"})
        refused(guarded(url(host, server.port()), internet), host);
    for (const char* host : {"127.0.0.1.", "localhost.", "127%2e0.0.1", "service.test."}) {
        names->table[host] = {"127.0.0.1"};
        EXPECT_FALSE(guarded(url(host, server.port()), internet)) << host;
    }
    EXPECT_EQ(server.connections(), 0U);
    for (const char* host : {"169.254.169.254", "[fe80::1%25lo]", "[fd00:ec2::254]", "0xa9fea9fe"})
        refused(guarded(url(host, 80), {.hosts = {"*"}, .networks = {"::/0"}, .allow_loopback = true}), host);
}

TEST_F(GuardTest, ANameThatLeadsInside) {
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    names->table["sly.test"] = {"127.0.0.1", "::1", "169.254.169.254"};
    refused(guarded(url("sly.test", server.port()), {.hosts = {"*"}}), "sly.test");
    names->table["half.test"] = {"169.254.169.254", "127.0.0.1"};
    EXPECT_TRUE(guarded(url("half.test", server.port()), {.hosts = {"half.test"}, .allow_loopback = true}))
        << "by the address that is allowed";
    EXPECT_EQ(server.connections(), 1U);
}

// A name that changes its mind: another call learns the new address and tells libcurl.
TEST_F(GuardTest, WhatWasCheckedIsWhatIsConnectedTo) {
    ClientOptions options;
    options.names.keep = std::chrono::milliseconds(1);
    options.names.keep_stale = std::chrono::milliseconds(1);
    make_client(std::move(options));
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    const std::string place = url("moving.test", server.port());
    const EgressRules rules{.hosts = {"x.test"}, .networks = {"127.0.0.9"}, .allow_loopback = true};
    names->table["moving.test"] = {"127.0.0.1"};
    ASSERT_TRUE(ask({.url = place})) << "somebody without a guard; the connection is kept";
    testing::run_for(loop, std::chrono::milliseconds(5));
    names->table["moving.test"] = {"127.0.0.9"};
    refused(guarded(place, rules), "not by the connection that was there");
    EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(GuardTest, AnotherCallsAddressesDoNotCount) {
    ClientOptions options;
    options.connections = 1;  // so that a call waits after it was checked
    options.names.keep = std::chrono::milliseconds(1);
    options.names.keep_stale = std::chrono::milliseconds(1);
    make_client(std::move(options));
    RawServer busy(loop, [](const Seen&) {
        return Reaction{.bytes = reply_text(200, "x", "Connection: close\r\n"),
                        .delay = std::chrono::milliseconds(200)};
    });
    RawServer server(loop, [](const Seen&) { return reply(200, "x"); });
    const std::string place = url("moving.test", server.port());
    const EgressRules rules{.hosts = {"x.test"}, .networks = {"127.0.0.9"}, .allow_loopback = true};
    names->table["moving.test"] = {"127.0.0.9"};
    std::vector<Call> calls;
    std::optional<Result<Response>> checked;
    std::optional<Result<Response>> free;
    calls.push_back(client->send({.url = busy.url()}, [](const Result<Response>&) {}));
    calls.push_back(
        client->send({.url = place, .guard = guard(rules)}, [&](Result<Response> got) { checked = std::move(got); }));
    testing::run_for(loop, std::chrono::milliseconds(50));
    names->table["moving.test"] = {"127.0.0.1"};
    calls.push_back(client->send({.url = place}, [&](Result<Response> got) { free = std::move(got); }));
    ASSERT_TRUE(run_until(loop, [&] { return checked && free; }));
    EXPECT_TRUE(*free);
    ASSERT_FALSE(*checked) << "it would have reached 127.0.0.1";
    EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(GuardTest, RedirectsAreCheckedToo) {
    RawServer inside(loop, [](const Seen&) { return reply(200, "secret"); });
    RawServer server(loop, [&](const Seen& seen) {
        return seen.target == "/meta" ? to(302, "http://169.254.169.254/latest") : to(302, inside.url());
    });
    for (const char* path : {"/", "/meta"}) {
        const auto answer = guarded(url("service.test", server.port(), path), kHere, 3);
        ASSERT_FALSE(answer) << path;
        EXPECT_EQ(answer.error().code, ErrorCode::kNotAllowed) << answer.error().describe();
    }
    EXPECT_EQ(inside.connections(), 0U);
}

TEST_F(GuardTest, AProxyIsGivenTheCheckedAddress) {
    ProxyServer proxy(loop);
    RawServer server(loop, [](const Seen& seen) { return reply(200, seen.headers.at("host")); });
    ClientOptions options;
    options.proxy = std::make_shared<const Proxy>(*make_proxy(proxy.url(), ""));
    make_client(std::move(options));
    names->table["public.test"] = {"192.0.2.7"};
    const auto answer = guarded(url("public.test", server.port()), {.hosts = {"*"}});
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_TRUE(answer->body.starts_with("public.test")) << answer->body;
    EXPECT_TRUE(proxy.heads().at(0).starts_with("CONNECT 192.0.2.7:")) << proxy.heads()[0];
    names->table["sly.test"] = {"169.254.169.254"};
    refused(guarded(url("sly.test", 80), {.hosts = {"*"}}), "sly");
    EXPECT_EQ(proxy.heads().size(), 1U);
}

TEST_F(GuardTest, NotWithAUnixSocket) {
    Request request{.url = "http://x/", .unix_socket = "/nowhere", .guard = guard(kHere)};
    const auto answer = ask(std::move(request));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace wa::http
