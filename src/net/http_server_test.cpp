// The server against real sockets: what callers may do wrong, and what they get for it.
#include "net/http_server.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "net/testing/raw_client.h"

namespace wa::net {
namespace {

using testing::ask;
using testing::RawClient;
using testing::Reply;
using namespace std::chrono_literals;

constexpr const char* kToken = "test-token-0123456789";

class Server {
public:
    explicit Server(std::function<void(ServerOptions&)> change = {}) {
        ServerOptions options;
        options.port = 0;
        options.token = kToken;
        options.on_notice = [this](const Notice& notice) {
            const std::scoped_lock lock(mutex_);
            notices_.emplace_back(notice.event);
        };
        if (change) change(options);
        Router router;
        router.add({.method = "GET", .pattern = "/echo/{what}", .handle = [](Request request, Responder responder) {
                        std::string text(request.param("what"));
                        for (const auto& [name, value] : request.query)
                            text += "|" + name + "=" + value;
                        responder.send({.content_type = "text/plain", .body = text});
                    }});
        router.add(
            {.method = "GET", .pattern = "/open", .access = Access::kOpen, .handle = [](Request, Responder responder) {
                 responder.send({.content_type = "text/plain", .body = "open"});
             }});
        router.add({.method = "POST",
                    .pattern = "/things",
                    .access = Access::kWrite,
                    .body_limit = 1024 * 1024,
                    .content_types = {"application/json", "application/yaml"},
                    .handle = [this](Request request, Responder responder) {
                        ++posts;
                        responder.send({.status = 201, .body = std::to_string(request.body.size())});
                    }});
        router.add({.method = "GET", .pattern = "/later", .handle = [this](Request, Responder responder) {
                        const std::scoped_lock lock(mutex_);
                        threads_.emplace_back([kept = std::move(responder)]() mutable {
                            std::this_thread::sleep_for(20ms);
                            kept.send({.content_type = "text/plain", .body = "late"});
                        });
                    }});
        router.add({.method = "GET", .pattern = "/never", .handle = [this](Request, Responder responder) {
                        const std::scoped_lock lock(mutex_);
                        kept_.push_back(std::move(responder));
                    }});
        router.add({.method = "GET", .pattern = "/dropped", .handle = [](Request, Responder) {}});
        router.add({.method = "GET", .pattern = "/throws", .handle = [](Request, Responder) -> void {
                        throw std::runtime_error("a defect");
                    }});
        router.add({.method = "GET", .pattern = "/big", .handle = [](Request, Responder responder) {
                        responder.send({.content_type = "text/plain", .body = std::string(8UL * 1024 * 1024, 'x')});
                    }});
        router.add({.method = "GET", .pattern = "/stream", .handle = [this](Request, Responder responder) {
                        auto opened = responder.stream({.content_type = "text/event-stream"});
                        opened->on_close([this] { ++closed_streams; });
                        opened->on_drained([this] { ++drained; });
                        opened->write("hello\n");
                        const std::scoped_lock lock(mutex_);
                        stream_ = opened;
                    }});
        Router metrics;
        metrics.add({.method = "GET",
                     .pattern = "/metrics",
                     .access = Access::kOpen,
                     .handle = [](Request, Responder responder) {
                         responder.send({.content_type = "text/plain", .body = "m 1.0\n"});
                     }});
        auto started = HttpServer::start(std::move(options), std::move(router), std::move(metrics));
        if (!started) {
            ADD_FAILURE() << started.error().describe();
            return;
        }
        server_ = std::move(*started);
    }
    ~Server() {
        server_.reset();
        for (std::thread& thread : threads_)
            thread.join();
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] std::uint16_t port() const { return server_->endpoints().port; }
    [[nodiscard]] HttpServer& operator*() { return *server_; }
    HttpServer* operator->() { return server_.get(); }
    std::shared_ptr<Stream> stream() {
        for (int i = 0; i < 500; ++i) {
            {
                const std::scoped_lock lock(mutex_);
                if (stream_) return stream_;
            }
            std::this_thread::sleep_for(2ms);
        }
        return nullptr;
    }
    bool noticed(std::string_view event) {
        const std::scoped_lock lock(mutex_);
        return std::ranges::find(notices_, event) != notices_.end();
    }
    Responder take_kept() {
        const std::scoped_lock lock(mutex_);
        Responder responder = std::move(kept_.front());
        kept_.pop_front();
        return responder;
    }
    std::size_t kept() {
        const std::scoped_lock lock(mutex_);
        return kept_.size();
    }

    std::atomic<int> posts{0};
    std::atomic<int> closed_streams{0};
    std::atomic<int> drained{0};

private:
    std::mutex mutex_;
    std::vector<std::string> notices_;
    std::vector<std::thread> threads_;
    std::deque<Responder> kept_;
    std::shared_ptr<Stream> stream_;
    std::unique_ptr<HttpServer> server_;
};

template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds within = 5s) {
    const auto until = std::chrono::steady_clock::now() + within;
    while (std::chrono::steady_clock::now() < until) {
        if (condition()) return true;
        std::this_thread::sleep_for(2ms);
    }
    return condition();
}

Reply raw(std::uint16_t port, std::string_view bytes) {
    RawClient client = RawClient::tcp(port);
    client.send(bytes);
    return client.read_reply();
}

std::string post_head(std::string_view extra) {
    return "POST /things HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + std::string(kToken) + "\r\n" +
           std::string(extra) + "\r\n";
}

TEST(HttpServer, AnswersWithTheStandardHeaders) {
    Server server;
    const Reply reply = ask(server.port(), "GET", "/echo/a%20b?x=1&y=%C3%A9");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "a b|x=1|y=\xC3\xA9");
    EXPECT_EQ(reply.headers.at("x-content-type-options"), "nosniff");
    EXPECT_EQ(reply.headers.at("cache-control"), "no-store");
    EXPECT_TRUE(reply.headers.contains("date"));
}

TEST(HttpServer, StatusesOfOrdinaryMistakes) {
    Server server;
    EXPECT_EQ(ask(server.port(), "GET", "/nothing").status, 404);
    const Reply wrong = ask(server.port(), "DELETE", "/things");
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
    EXPECT_EQ(ask(server.port(), "GET", "/echo/x/").status, 200);
    EXPECT_EQ(ask(server.port(), "BREW", "/echo/x").status, 405);
    EXPECT_EQ(ask(server.port(), "OPTIONS", "/things").status, 204);
    EXPECT_EQ(ask(server.port(), "GET", "/echo/%zz").status, 400);
    EXPECT_EQ(ask(server.port(), "GET", "/dropped").status, 500);
    EXPECT_EQ(ask(server.port(), "GET", "/throws").status, 500);
    EXPECT_TRUE(eventually([&] { return server.noticed("http_handler_exception"); }));
    EXPECT_EQ(ask(server.port(), "GET", "/later").body, "late");
}

TEST(HttpServer, HeadHasTheLengthButNoBody) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    client.send("HEAD /echo/abc HTTP/1.1\r\nHost: localhost\r\n\r\nGET /echo/next HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const Reply head = client.read_reply(true);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.headers.at("content-length"), "3");
    EXPECT_EQ(client.read_reply().body, "next");
}

TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    std::string many;
    for (int i = 0; i < 200; ++i) {
        many += (i % 10 == 3 ? std::string("GET /later") : "GET /echo/" + std::to_string(i)) +
                " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    }
    client.send(many);
    for (int i = 0; i < 200; ++i) {
        ASSERT_EQ(client.read_reply().body, i % 10 == 3 ? "late" : std::to_string(i));
    }
}

TEST(HttpServer, BytesOneByOneAreOneRequest) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    const std::string request =
        post_head("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n") +
        "3;x=y\r\nabc\r\n5\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\nGET /echo/z HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (const char c : request)
        ASSERT_TRUE(client.send(std::string_view(&c, 1)));
    EXPECT_EQ(client.read_reply().body, "8");
    EXPECT_EQ(client.read_reply().body, "z");
}

TEST(HttpServer, Http10ClosesUnlessAsked) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    client.send("GET /echo/x HTTP/1.0\r\n\r\n");
    EXPECT_EQ(client.read_reply().body, "x");
    EXPECT_TRUE(client.ends_within(2s));
    RawClient kept = RawClient::tcp(server.port());
    kept.send("GET /echo/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.read_reply().headers.at("connection"), "keep-alive");
    kept.send("GET /echo/y HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.read_reply().body, "y");
}

TEST(HttpServer, ExpectContinueIsAnsweredOnlyWhenTheBodyIsWanted) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    client.send(post_head("Content-Length: 2\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"));
    EXPECT_EQ(client.read_reply().status, 100);
    client.send("{}");
    EXPECT_EQ(client.read_reply().status, 201);
    RawClient refused = RawClient::tcp(server.port());
    refused.send(post_head("Content-Length: 99999999\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"));
    EXPECT_EQ(refused.read_reply().status, 413);
    EXPECT_EQ(raw(server.port(), post_head("Content-Length: 2\r\nExpect: magic\r\n")).status, 417);
}

TEST(HttpServer, BodiesOverTheLimitAreNotKept) {
    Server server;
    // 100 MB announced and really sent: the caller still reads its answer.
    RawClient client = RawClient::tcp(server.port());
    client.send(post_head("Content-Type: application/json\r\nContent-Length: 104857600\r\n"));
    const std::string piece(1024 * 1024, 'x');
    for (int i = 0; i < 100 && client.send(piece); ++i) {
    }
    EXPECT_EQ(client.read_reply().status, 413);
    // The same without saying how much it will be.
    RawClient chunked = RawClient::tcp(server.port());
    chunked.send(post_head("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"));
    for (int i = 0; i < 100 && chunked.send("100000\r\n" + piece + "\r\n"); ++i) {
    }
    EXPECT_EQ(chunked.read_reply().status, 413);
    EXPECT_EQ(server.posts, 0);
    EXPECT_TRUE(eventually([&] { return server->stats().body_bytes == 0; }));
    // Exactly the limit passes.
    const Reply reply = ask(server.port(), "POST", "/things", std::string(1024 * 1024, 'x'),
                            "Content-Type: application/json\r\nAuthorization: Bearer " + std::string(kToken) + "\r\n");
    EXPECT_EQ(reply.body, "1048576");
}

TEST(HttpServer, AllBodiesTogetherAreBounded) {
    Server server([](ServerOptions& options) { options.max_body_memory = 1024 * 1024; });
    RawClient first = RawClient::tcp(server.port());
    first.send(post_head("Content-Length: 1000000\r\n") + std::string(900000, 'x'));
    ASSERT_TRUE(eventually([&] { return server->stats().body_bytes >= 900000; }));
    const Reply second = raw(server.port(), post_head("Content-Length: 1000000\r\n") + std::string(1000000, 'x'));
    EXPECT_EQ(second.status, 503);
    EXPECT_EQ(second.headers.at("retry-after"), "1");
    first.send(std::string(100000, 'x'));
    EXPECT_EQ(first.read_reply().status, 201);
    EXPECT_TRUE(eventually([&] { return server->stats().body_bytes == 0; }));
}

TEST(HttpServer, LimitsOfHeaderAndAddress) {
    Server server;
    EXPECT_EQ(raw(server.port(), "GET /echo/" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n").status,
              414);
    EXPECT_EQ(raw(server.port(), "GET /echo/" + std::string(200000, 'a')).status, 414);
    EXPECT_EQ(
        raw(server.port(), "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(70000, 'a') + "\r\n\r\n")
            .status,
        431);
    std::string many = "GET /echo/x HTTP/1.1\r\nHost: localhost\r\n";
    for (int i = 0; i < 20000; ++i)
        many += "X" + std::to_string(i) + ": y\r\n";
    EXPECT_EQ(raw(server.port(), many + "\r\n").status, 431);
    EXPECT_EQ(
        raw(server.port(), "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(60000, 'a') + "\r\n\r\n")
            .status,
        200);
    // Endless chunk extension, endless trailer.
    EXPECT_EQ(raw(server.port(), post_head("Transfer-Encoding: chunked\r\n") + "5;" + std::string(200000, 'x')).status,
              431);
    EXPECT_EQ(
        raw(server.port(), post_head("Transfer-Encoding: chunked\r\n") + "0\r\nX: " + std::string(200000, 'x')).status,
        431);
}

TEST(HttpServer, GarbageIsRefusedAndNothingElseSuffers) {
    Server server;
    for (const std::string& bytes :
         {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), std::string(64, '\0'),
          std::string("GET\r\n\r\n"), std::string("GET  / HTTP/1.1\r\n\r\n"), std::string("\xff\xfe\xfd\xfc\r\n\r\n"),
          std::string("GET /echo/x HTTP/1.1\r\nHost : localhost\r\n\r\n"),
          std::string("GET /echo/x HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"),
          std::string("POST /things HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
          std::string("POST /things HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
          std::string("POST /things HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x10\r\n\r\n"),
          post_head("Transfer-Encoding: chunked\r\n") + "zz\r\n",
          post_head("Transfer-Encoding: chunked\r\n") + "2\r\nabcd\r\n"}) {
        EXPECT_EQ(raw(server.port(), bytes).status, 400) << bytes;
    }
    EXPECT_EQ(raw(server.port(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
    EXPECT_EQ(raw(server.port(), "GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    EXPECT_EQ(server.posts, 0);
}

TEST(HttpServer, DoubtfulFramingEndsTheConnection) {
    Server server;
    for (const char* bad :
         {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
          "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
          "Content-Length: 5, 5\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
          "Host: localhost\r\n"}) {
        RawClient client = RawClient::tcp(server.port());
        client.send(post_head(bad) + "0\r\n\r\nGET /echo/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n");
        const Reply reply = client.read_reply();
        EXPECT_EQ(reply.status, 400) << bad;
        EXPECT_EQ(reply.headers.at("connection"), "close") << bad;
        EXPECT_EQ(client.read_reply(false, 100ms).status, 0) << bad;
    }
    EXPECT_EQ(raw(server.port(), post_head("Transfer-Encoding: gzip, chunked\r\n")).status, 501);
    EXPECT_EQ(raw(server.port(), post_head("Transfer-Encoding: chunked, gzip\r\n")).status, 501);
    EXPECT_EQ(raw(server.port(), "GET /echo/x HTTP/1.1\r\n\r\n").status, 400);
    EXPECT_EQ(server.posts, 0);
}

TEST(HttpServer, ShorterBodyThanAnnouncedIsCutLongerIsTheNextRequest) {
    Server server([](ServerOptions& options) { options.request_time = options.linger_time = 200ms; });
    RawClient lying = RawClient::tcp(server.port());
    lying.send(post_head("Content-Length: 100\r\n") + "only this");
    EXPECT_EQ(lying.read_reply().status, 408);
    EXPECT_TRUE(lying.ends_within(2s));
    RawClient longer = RawClient::tcp(server.port());
    longer.send(post_head("Content-Length: 2\r\n") + "{}garbage\r\n\r\n");
    EXPECT_EQ(longer.read_reply().status, 201);
    EXPECT_EQ(longer.read_reply().status, 400);
    // Left in the middle: nothing happens, and nothing stays.
    {
        RawClient gone = RawClient::tcp(server.port());
        gone.send(post_head("Content-Length: 100\r\n") + "half");
    }
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    EXPECT_EQ(server.posts, 1);
}

// Who ends its half may still read: it is told.
TEST(HttpServer, AnEndWithinARequestIs400) {
    Server server;
    const auto cut = [&](const std::string& bytes) {
        RawClient client = RawClient::tcp(server.port());
        client.send(bytes);
        client.half_close();
        const Reply reply = client.read_reply();
        EXPECT_TRUE(client.ends_within(2s)) << bytes;
        return reply;
    };
    const Reply body = cut(post_head("Content-Length: 100\r\n") + "half");
    EXPECT_EQ(body.status, 400);
    EXPECT_EQ(body.headers.at("connection"), "close");
    EXPECT_NE(body.body.find("4 bytes of it arrived"), std::string::npos) << body.body;
    EXPECT_EQ(cut(post_head("Transfer-Encoding: chunked\r\n") + "5\r\nhalf").status, 400);
    EXPECT_EQ(cut(post_head("Content-Length: 100\r\n")).status, 400);
    EXPECT_EQ(cut("POST /things HTTP/1.1\r\nHost: ").status, 400);
    EXPECT_EQ(cut("").status, 0);  // nothing was asked
    // A whole request before the end is answered as ever.
    EXPECT_EQ(cut(post_head("Content-Length: 2\r\n") + "{}").status, 201);
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    EXPECT_EQ(server->stats().body_bytes, 0U);
    EXPECT_EQ(server.posts, 1);
}

TEST(HttpServer, SlowlorisIsCut) {
    Server server([](ServerOptions& options) {
        options.request_time = 300ms;
        options.idle_time = 300ms;
    });
    RawClient header = RawClient::tcp(server.port());
    RawClient body = RawClient::tcp(server.port());
    RawClient silent = RawClient::tcp(server.port());
    header.send("GET /echo/x HTTP/1.1\r\n");
    body.send(post_head("Content-Length: 1000\r\n"));
    const auto began = std::chrono::steady_clock::now();
    std::atomic<bool> stop{false};
    std::thread drip([&] {
        while (!stop) {
            header.send("X: y\r\n");
            body.send("x");
            std::this_thread::sleep_for(10ms);
        }
    });
    EXPECT_EQ(header.read_reply().status, 408);
    EXPECT_EQ(body.read_reply().status, 408);
    EXPECT_TRUE(silent.ends_within(2s));
    stop = true;
    drip.join();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
    RawClient kept = RawClient::tcp(server.port());
    kept.send("GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(kept.read_reply().status, 200);
    EXPECT_TRUE(kept.ends_within(2s));  // idle keep-alive connections end without a word
}

TEST(HttpServer, ReaderThatDoesNotReadIsCut) {
    Server server([](ServerOptions& options) { options.write_time = 1s; });
    RawClient client = RawClient::tcp(server.port());
    client.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return server->stats().requests == 1; }));
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    // One that reads slowly but steadily gets everything.
    RawClient slow = RawClient::tcp(server.port());
    slow.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 100; ++i) {
        std::this_thread::sleep_for(5ms);
        slow.fill();
    }
    EXPECT_EQ(slow.read_reply().body.size(), 8U * 1024 * 1024);
}

TEST(HttpServer, HandlerThatNeverAnswersIsAnsweredFor) {
    Server server([](ServerOptions& options) { options.answer_time = 100ms; });
    EXPECT_EQ(ask(server.port(), "GET", "/never").status, 504);
    server.take_kept().send({.body = "too late"});  // harmless
    EXPECT_EQ(ask(server.port(), "GET", "/echo/x").status, 200);
}

TEST(HttpServer, CallerThatLeavesBeforeTheAnswerIsHarmless) {
    Server server;
    for (int i = 0; i < 50; ++i) {
        RawClient client = RawClient::tcp(server.port());
        client.send("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(HttpServer, TokenHostAndOriginMatrix) {
    const auto folder = std::filesystem::temp_directory_path() / ("wa-http-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = folder / "api.sock";
    Server server([&](ServerOptions& options) { options.socket_path = path; });
    const std::string good = "Authorization: Bearer " + std::string(kToken) + "\r\n";
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}", good).status, 201);
    const Reply missing = ask(server.port(), "POST", "/things", "{}");
    EXPECT_EQ(missing.status, 401);
    EXPECT_TRUE(missing.headers.contains("www-authenticate"));
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}", "Authorization: Bearer wrong\r\n").status, 401);
    EXPECT_EQ(
        ask(server.port(), "POST", "/things", "{}", "Authorization: Basic " + std::string(kToken) + "\r\n").status,
        401);
    EXPECT_EQ(ask(server.port(), "GET", "/echo/x").status, 200);  // reads on loopback

    const auto with = [&](std::string_view host, std::string_view more) {
        return raw(server.port(),
                   "GET /echo/x HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(more) + "\r\n")
            .status;
    };
    const std::string port = std::to_string(server.port());
    EXPECT_EQ(with("localhost:" + port, ""), 200);
    EXPECT_EQ(with("127.0.0.1:" + port, ""), 200);
    EXPECT_EQ(with("[::1]:1", ""), 200);
    EXPECT_EQ(with("evil.example", ""), 403);
    EXPECT_EQ(with("evil.example:" + port, good), 403);
    EXPECT_EQ(with("not a host", ""), 400);
    EXPECT_EQ(with("localhost:" + port, "Origin: http://localhost:" + port + "\r\n"), 200);
    EXPECT_EQ(with("localhost:" + port, "Origin: http://evil.example\r\n"), 403);
    EXPECT_EQ(with("localhost:" + port, "Origin: null\r\n"), 403);
    EXPECT_EQ(raw(server.port(), "GET http://evil.example/echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 403);
    EXPECT_EQ(raw(server.port(), "GET http://localhost/echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    // On the socket neither token nor names matter, and only the owner can open it.
    RawClient client = RawClient::unix_socket(path);
    ASSERT_TRUE(client.connected());
    client.send("POST /things HTTP/1.1\r\nHost: whatever\r\nContent-Length: 2\r\n\r\n{}");
    EXPECT_EQ(client.read_reply().status, 201);
    struct stat found{};
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600U);
    server->stop(0ms);
    EXPECT_FALSE(std::filesystem::exists(path));
    std::filesystem::remove_all(folder);
}

// An address of this machine that is not loopback; empty when it has none.
std::string outer_address() {
    ifaddrs* all = nullptr;
    std::string found;
    if (::getifaddrs(&all) != 0) return found;
    for (const ifaddrs* each = all; each != nullptr && found.empty(); each = each->ifa_next) {
        if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET || (each->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        char text[INET_ADDRSTRLEN];
        const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
        if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) found = text;
    }
    ::freeifaddrs(all);
    return found;
}

TEST(HttpServer, CallersFromOutsideNeedTheTokenForReadsToo) {
    const std::string address = outer_address();
    if (address.empty()) GTEST_SKIP() << "this machine has no address but loopback";
    Server server([](ServerOptions& options) { options.host = "0.0.0.0"; });
    const auto status = [&](const std::string& target, const std::string& more) {
        RawClient client = RawClient::tcp(server.port(), address.c_str());
        client.send("GET " + target + " HTTP/1.1\r\nHost: " + address + "\r\n" + more + "\r\n");
        return client.read_reply().status;
    };
    EXPECT_EQ(status("/open", ""), 200);  // probes and scrapes
    EXPECT_EQ(status("/echo/x", ""), 401);
    EXPECT_EQ(status("/echo/x", "Authorization: Bearer " + std::string(kToken) + "\r\n"), 200);
    EXPECT_EQ(status("/open", "Origin: http://evil.example\r\n"), 403);
}

TEST(HttpServer, NoTokenConfiguredMeansNobodyWrites) {
    Server server([](ServerOptions& options) { options.token.clear(); });
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}").status, 401);
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}", "Authorization: Bearer \r\n").status, 401);
    Server accepting([](ServerOptions& options) {
        options.accept_bearer = [](const Request&, std::string_view bearer) { return bearer == "a.jwt.token"; };
    });
    EXPECT_EQ(ask(accepting.port(), "POST", "/things", "{}", "Authorization: Bearer a.jwt.token\r\n").status, 201);
}

TEST(HttpServer, WrongContentTypeIsNamed) {
    Server server;
    const std::string good = "Authorization: Bearer " + std::string(kToken) + "\r\n";
    const Reply reply =
        ask(server.port(), "POST", "/things", "a=b", good + "Content-Type: application/x-www-form-urlencoded\r\n");
    EXPECT_EQ(reply.status, 415);
    EXPECT_NE(reply.body.find("application/json"), std::string::npos);
    EXPECT_EQ(
        ask(server.port(), "POST", "/things", "{}", good + "Content-Type: Application/JSON ; charset=utf-8\r\n").status,
        201);
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}", good).status, 201);
    EXPECT_EQ(ask(server.port(), "POST", "/things", "{}", good + "Content-Encoding: gzip\r\n").status, 415);
}

TEST(HttpServer, MetricsHaveTheirOwnDoor) {
    Server server([](ServerOptions& options) {
        options.metrics_listener = true;
        options.metrics_port = 0;
    });
    const std::uint16_t port = server->endpoints().metrics_port;
    ASSERT_NE(port, 0);
    ASSERT_NE(port, server.port());
    EXPECT_EQ(ask(port, "GET", "/metrics").body, "m 1.0\n");
    EXPECT_EQ(ask(port, "GET", "/echo/x").status, 404);
    EXPECT_EQ(ask(server.port(), "GET", "/metrics").status, 404);  // its own router decides
}

TEST(HttpServer, TakenPortNamesItself) {
    Server server;
    for (const bool metrics : {false, true}) {
        ServerOptions options;
        options.port = metrics ? 0 : server.port();
        options.metrics_listener = metrics;
        options.metrics_port = server.port();
        const auto second = HttpServer::start(options, Router{});
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, ErrorCode::kConflict);
        EXPECT_NE(second.error().message.find(std::to_string(server.port())), std::string::npos);
        EXPECT_EQ(second.error().field, metrics ? "PROMETHEUS_PORT" : "HTTP_PORT");
    }
    ServerOptions foreign;
    foreign.host = "203.0.113.7";
    EXPECT_FALSE(HttpServer::start(foreign, Router{}));
}

TEST(HttpServer, SocketFilesOfTheDeadAreReplacedOthersAreNot) {
    const auto folder = std::filesystem::temp_directory_path() / ("wa-sock-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = folder / "api.sock";
    const auto start = [&] {
        ServerOptions options;
        options.host.clear();
        options.socket_path = path;
        return HttpServer::start(options, Router{});
    };
    {  // bound and abandoned, as after kill -9
        const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        ::close(fd);
    }
    auto first = start();
    ASSERT_TRUE(first) << first.error().describe();
    const auto second = start();
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    (*first)->stop(0ms);
    std::filesystem::create_directories(path);
    EXPECT_FALSE(start());
    EXPECT_TRUE(std::filesystem::is_directory(path));
    ServerOptions options;
    options.host.clear();
    options.socket_path = "/tmp/" + std::string(120, 'x');
    EXPECT_EQ(HttpServer::start(options, Router{}).error().code, ErrorCode::kInvalidArgument);
    std::filesystem::remove_all(folder);
}

TEST(HttpServer, OneConnectionTooManyIsTold) {
    Server server([](ServerOptions& options) { options.max_connections = 4; });
    std::vector<RawClient> idle;
    for (int i = 0; i < 4; ++i)
        idle.push_back(RawClient::tcp(server.port()));
    ASSERT_TRUE(eventually([&] { return server->stats().connections == 4; }));
    const Reply reply = ask(server.port(), "GET", "/echo/x");
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.headers.at("retry-after"), "1");
    idle.pop_back();
    EXPECT_TRUE(eventually([&] { return ask(server.port(), "GET", "/echo/x").status == 200; }));
}

TEST(HttpServer, ThousandsOfIdleConnectionsLeaveTheServerUsable) {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    rlimit more = files;
    more.rlim_cur = std::min<rlim_t>(files.rlim_max, 20000);
    ::setrlimit(RLIMIT_NOFILE, &more);
    if (more.rlim_cur < 6000) GTEST_SKIP() << "this process may open only " << more.rlim_cur << " files";
    const auto folder = std::filesystem::temp_directory_path() / ("wa-idle-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = folder / "api.sock";
    Server server([&](ServerOptions& options) {
        options.socket_path = path;
        options.metrics_listener = true;
        options.metrics_port = 0;
    });
    std::vector<RawClient> idle;
    for (int i = 0; i < 2000; ++i) {
        idle.push_back(RawClient::tcp(server.port()));
        ASSERT_TRUE(idle.back().connected());
    }
    EXPECT_TRUE(eventually([&] { return server->stats().refused >= 2000 - 1024; }, 10s));
    EXPECT_EQ(server->stats().connections, 1024U);
    EXPECT_EQ(ask(server.port(), "GET", "/echo/x").status, 503);
    // The other doors are not blocked by it.
    EXPECT_EQ(ask(server->endpoints().metrics_port, "GET", "/metrics").status, 200);
    RawClient through = RawClient::unix_socket(path);
    through.send("GET /echo/x HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(through.read_reply().status, 200);
    idle.clear();
    EXPECT_TRUE(eventually([&] { return ask(server.port(), "GET", "/echo/x").status == 200; }));
    std::filesystem::remove_all(folder);
}

TEST(HttpServer, OutOfFilesIsSurvivedAndSaid) {
    Server server;
    ASSERT_EQ(ask(server.port(), "GET", "/echo/x").status, 200);
    RawClient first = RawClient::tcp(server.port());  // made before the files are gone
    first.send("GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_EQ(first.read_reply().status, 200);
    RawClient waiting(::socket(AF_INET, SOCK_STREAM, 0));
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    rlimit none = files;
    none.rlim_cur = 3;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    ASSERT_EQ(::connect(waiting.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(eventually([&] { return server.noticed("http_accept_failed"); }));
    first.send("GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(first.read_reply().status, 200);  // who is in, is served
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
    EXPECT_TRUE(eventually([&] { return ask(server.port(), "GET", "/echo/x").status == 200; }));
}

TEST(HttpServer, StreamsFlowAndNoticeTheReaderLeaving) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const Reply head = client.read_head();
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.headers.at("transfer-encoding"), "chunked");
    EXPECT_EQ(client.read_chunk(), "hello\n");
    const auto stream = server.stream();
    ASSERT_NE(stream, nullptr);
    EXPECT_TRUE(stream->write("more\n"));
    EXPECT_EQ(client.read_chunk(), "more\n");
    EXPECT_TRUE(eventually([&] { return server.drained >= 1; }));
    client.close();
    EXPECT_TRUE(eventually([&] { return stream->closed(); }));
    EXPECT_TRUE(eventually([&] { return server.closed_streams == 1; }));
    EXPECT_FALSE(stream->write("nobody"));
}

TEST(HttpServer, FinishedStreamEndsTheBodyProperly) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto stream = server.stream();
    ASSERT_NE(stream, nullptr);
    stream->write("last\n");
    stream->finish();
    EXPECT_EQ(client.read_reply().body, "hello\nlast\n");
    EXPECT_TRUE(client.ends_within(2s));
}

TEST(HttpServer, LaggingStreamReaderIsClosedNotBuffered) {
    Server server([](ServerOptions& options) { options.max_stream_queue = 256 * 1024; });
    RawClient client = RawClient::tcp(server.port());
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto stream = server.stream();
    ASSERT_NE(stream, nullptr);
    const std::string line(64 * 1024, 'x');
    bool refused = false;
    for (int i = 0; i < 2000 && !refused; ++i) {
        refused = !stream->write(line);
        EXPECT_LE(stream->queued(), 300U * 1024);
        std::this_thread::sleep_for(200us);
    }
    EXPECT_TRUE(refused);
    EXPECT_TRUE(eventually([&] { return server.closed_streams == 1; }));
    EXPECT_EQ(ask(server.port(), "GET", "/echo/x").status, 200);
}

TEST(HttpServer, StopLetsAnswersFinish) {
    Server server;
    RawClient client = RawClient::tcp(server.port());
    RawClient idle = RawClient::tcp(server.port());
    RawClient listening = RawClient::tcp(server.port());
    listening.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_NE(server.stream(), nullptr);
    client.send("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return server->stats().requests == 2; }));
    const auto began = std::chrono::steady_clock::now();
    server->stop(5s);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 3s);
    EXPECT_EQ(client.read_reply().body, "late");
    EXPECT_EQ(listening.read_reply().body, "hello\n");
    EXPECT_TRUE(idle.ends_within(1s));
    EXPECT_TRUE(server.stream()->closed());
    EXPECT_FALSE(RawClient::tcp(server->endpoints().port).connected());
}

TEST(HttpServer, RespondersMayOutliveTheServer) {
    auto server = std::make_unique<Server>();
    std::thread asking([port = server->port()] { (void)ask(port, "GET", "/never"); });
    ASSERT_TRUE(eventually([&] { return server->kept() == 1; }));
    auto responder = std::make_unique<Responder>(server->take_kept());
    const auto loop = responder->loop();
    server.reset();
    asking.join();
    responder->send({.body = "late"});
    responder.reset();
    loop->post([] { ADD_FAILURE() << "nothing runs after the end"; });
    const auto timer = loop->after(1ms, [] { ADD_FAILURE() << "nothing runs after the end"; });
}

TEST(HttpServer, TimersFireOnceAndCanBeDropped) {
    Server server;
    const auto loop = server->loop();
    std::atomic<int> fired{0};
    std::unique_ptr<Loop::Timer> kept;
    std::unique_ptr<Loop::Timer> dropped;
    loop->post([&] {
        kept = loop->after(10ms, [&] { ++fired; });
        dropped = loop->after(10ms, [&] { fired += 100; });
        dropped.reset();
    });
    EXPECT_TRUE(eventually([&] { return fired == 1; }));
    std::this_thread::sleep_for(30ms);
    EXPECT_EQ(fired, 1);
    server->stop(0ms);
}

TEST(HttpServer, ManyClientsAtOnce) {
    Server server;
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            RawClient client = RawClient::tcp(server.port());
            for (int i = 0; i < 300; ++i) {
                const std::string what = std::to_string(t) + "-" + std::to_string(i);
                client.send("GET /echo/" + what + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
                if (client.read_reply().body == what) ++good;
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(good, 2400);
}

}  // namespace
}  // namespace wa::net
