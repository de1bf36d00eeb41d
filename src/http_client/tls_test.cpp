// TLS against a real OpenSSL server on loopback.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "http_client/http_client.h"
#include "http_client/testing/raw_server.h"
#include "http_client/testing/tls_server.h"

namespace wa::http {
namespace {

namespace fs = std::filesystem;
using testing::Http2;
using testing::run_until;
using testing::TlsServer;

class TlsTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { certificates.emplace(); }
    static void TearDownTestSuite() { certificates.reset(); }
    void SetUp() override { ASSERT_TRUE(certificates->ok()) << "the openssl program could not make certificates"; }

    static std::string file(const std::string& name) { return certificates->file(name); }
    static std::string text(const std::string& name) {
        std::ifstream stream(file(name));
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    Result<Response> get(const std::string& url, const TlsOptions& tls) { return get(client, url, tls); }
    Result<Response> get(Client& by, const std::string& url, const TlsOptions& tls) {
        std::optional<Result<Response>> answer;
        const Call call = by.send({.url = url, .connect_timeout = std::chrono::seconds(2), .tls = tls},
                                  [&](Result<Response> got) { answer = std::move(got); });
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer came");
    }

    static inline std::optional<testing::Certificates> certificates;
    SystemClock clock;
    boost::asio::io_context loop;
    Client client{loop, clock, {}};
};

TEST_F(TlsTest, TheRightCaIsTrustedAndNoOther) {
    const TlsServer server(file("server.pem"), file("server.key"), "");
    const auto right = get(server.url(), {.ca_file = file("ca.pem")});
    ASSERT_TRUE(right) << right.error().describe();
    EXPECT_EQ(right->body, "hello nobody");
    for (const TlsOptions& tls : {TlsOptions{.ca_file = file("other.pem")}, TlsOptions{}}) {
        const auto wrong = get(server.url(), tls);
        ASSERT_FALSE(wrong);
        EXPECT_EQ(wrong.error().code, ErrorCode::kNotAllowed);
        EXPECT_FALSE(wrong.error().retryable());
    }
}

TEST_F(TlsTest, NotVerifiedOnlyWhenAsked) {
    const TlsServer server(file("server.pem"), file("server.key"), "");
    EXPECT_TRUE(get(server.url(), {.verify = false}));
    EXPECT_FALSE(get(server.url(), {})) << "a connection that was not checked is not used for a call that checks";
}

TEST_F(TlsTest, TheHostNameIsChecked) {
    const TlsServer server(file("server.pem"), file("server.key"), "");
    std::string url = server.url();
    url.replace(url.find("localhost"), 9, "127.0.0.1");
    const auto answer = get(url, {.ca_file = file("ca.pem")});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kNotAllowed);
}

TEST_F(TlsTest, ClientCertificate) {
    const TlsServer server(file("server.pem"), file("server.key"), file("ca.pem"));
    const TlsOptions alice{
        .ca_file = file("ca.pem"), .client_cert = file("alice.pem"), .client_key = file("alice.key")};
    const auto answer = get(server.url(), alice);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "hello alice");
    EXPECT_FALSE(get(server.url(), {.ca_file = file("ca.pem")})) << "without one";
    EXPECT_FALSE(
        get(server.url(),
            {.ca_file = file("ca.pem"), .client_cert = file("stranger.pem"), .client_key = file("stranger.key")}))
        << "with one that the server does not trust";
    Client fresh(loop, clock, {});  // a kept connection of alice would do
    const auto mixed =
        get(fresh, server.url(),
            {.ca_file = file("ca.pem"), .client_cert = file("alice.pem"), .client_key = file("bob.key")});
    ASSERT_FALSE(mixed) << mixed->body;
    EXPECT_EQ(mixed.error().code, ErrorCode::kNotAllowed) << "the key does not belong to it";
}

TEST_F(TlsTest, TextsInPlaceOfFiles) {
    const TlsServer server(file("server.pem"), file("server.key"), file("ca.pem"));
    const TlsOptions alice{.client_cert = file("absent.pem"),
                           .client_key = file("absent.key"),
                           .ca_pem = text("ca.pem"),
                           .client_cert_pem = text("alice.pem"),
                           .client_key_pem = text("alice.key")};
    const auto answer = get(server.url(), alice);
    ASSERT_TRUE(answer) << answer.error().describe() << ": a text wins over its file";
    EXPECT_EQ(answer->body, "hello alice");
    ASSERT_TRUE(get(server.url(), alice));
    EXPECT_EQ(server.handshakes(), 1) << "the same texts, the same connection";
    const auto bob =
        get(server.url(),
            {.ca_pem = text("ca.pem"), .client_cert_pem = text("bob.pem"), .client_key_pem = text("bob.key")});
    ASSERT_TRUE(bob) << bob.error().describe();
    EXPECT_EQ(bob->body, "hello bob") << "not over alice's connection";
    const TlsOptions in_one{.ca_pem = text("ca.pem"), .client_cert_pem = text("bob.pem") + text("bob.key")};
    const auto together = get(server.url(), in_one);
    ASSERT_TRUE(together) << together.error().describe();
    EXPECT_EQ(together->body, "hello bob");
    TlsOptions half = alice;
    half.client_key_pem.clear();
    half.client_key = file("alice.key");
    const TlsServer other(file("server.pem"), file("server.key"), file("ca.pem"));
    const auto mixed = get(other.url(), half);
    ASSERT_TRUE(mixed) << mixed.error().describe() << ": a text and a file";
    EXPECT_EQ(mixed->body, "hello alice");
}

TEST_F(TlsTest, TextsThatDoNotFit) {
    const TlsServer server(file("server.pem"), file("server.key"), file("ca.pem"));
    const TlsOptions alice{
        .ca_pem = text("ca.pem"), .client_cert_pem = text("alice.pem"), .client_key_pem = text("alice.key")};
    ASSERT_TRUE(get(server.url(), alice));
    TlsOptions wrong_ca = alice;
    wrong_ca.ca_pem = text("other.pem");
    TlsOptions no_ca = alice;
    no_ca.ca_pem = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n";
    TlsOptions no_certificate = alice;
    no_certificate.client_cert_pem = "nonsense";
    for (const TlsOptions& tls : {wrong_ca, no_ca, no_certificate}) {
        const auto answer = get(server.url(), tls);
        ASSERT_FALSE(answer) << answer->body;
        EXPECT_EQ(answer.error().code, ErrorCode::kNotAllowed) << answer.error().describe();
        EXPECT_EQ(answer.error().message.find("nonsense"), std::string::npos);
    }
    EXPECT_NE(alice, wrong_ca);
}

TEST_F(TlsTest, ARedirectElsewhereTakesNoCertificateAlong) {
    const TlsServer elsewhere(file("server.pem"), file("server.key"), file("ca.pem"));
    const TlsServer server(file("server.pem"), file("server.key"), file("ca.pem"), std::nullopt,
                           testing::reply_text(302, "", "Location: " + elsewhere.url() + "\r\n"));
    const TlsOptions by_files{
        .ca_file = file("ca.pem"), .client_cert = file("alice.pem"), .client_key = file("alice.key")};
    const TlsOptions by_texts{
        .ca_pem = text("ca.pem"), .client_cert_pem = text("alice.pem"), .client_key_pem = text("alice.key")};
    for (const TlsOptions& tls : {by_files, by_texts}) {
        ASSERT_TRUE(get(elsewhere.url(), tls)) << "it would be let in";
        Client fresh(loop, clock, {});
        Request request{.url = server.url(), .tls = tls, .max_redirects = 1};
        std::optional<Result<Response>> answer;
        const Call call = fresh.send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
        ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        EXPECT_FALSE(*answer) << (*answer)->body;
    }
}

TEST_F(TlsTest, FilesAreReadAgainWhenTheyChange) {
    const TlsServer server(file("server.pem"), file("server.key"), file("ca.pem"));
    const TlsOptions tls{
        .ca_file = file("mine-ca.pem"), .client_cert = file("mine.pem"), .client_key = file("mine.key")};
    const auto put = [&](const std::string& from, const std::string& ca) {
        for (const auto& [source, target] : {std::pair{from + ".pem", "mine.pem"}, std::pair{from + ".key", "mine.key"},
                                             std::pair{ca + ".pem", "mine-ca.pem"}}) {
            fs::copy_file(file(source), file("new"), fs::copy_options::overwrite_existing);
            fs::rename(file("new"), file(target));  // as secrets are replaced
        }
    };
    put("alice", "ca");
    ASSERT_EQ(get(server.url(), tls)->body, "hello alice");
    ASSERT_EQ(get(server.url(), tls)->body, "hello alice");
    EXPECT_EQ(server.handshakes(), 1);
    put("bob", "ca");
    const auto bob = get(server.url(), tls);
    ASSERT_TRUE(bob) << bob.error().describe();
    EXPECT_EQ(bob->body, "hello bob");
    put("bob", "other");
    EXPECT_FALSE(get(server.url(), tls));
    put("bob", "ca");
    EXPECT_TRUE(get(server.url(), tls));
}

TEST_F(TlsTest, FilesThatAreNotThere) {
    const TlsServer server(file("server.pem"), file("server.key"), "");
    const auto answer = get(server.url(), {.ca_file = file("absent.pem")});
    ASSERT_FALSE(answer);
    EXPECT_TRUE(answer.error().retryable()) << "it may be in the middle of being replaced";
    EXPECT_NE(answer.error().message.find("absent.pem"), std::string::npos);
    std::ofstream(file("empty.pem")).close();
    const auto empty = get(server.url(), {.ca_file = file("empty.pem")});
    ASSERT_FALSE(empty) << "nothing is trusted";
}

class Http2Test : public TlsTest {
protected:
    Result<Response> ask(const TlsServer& server, Request request = {}) {
        request.url = server.url();
        request.http2 = true;
        request.tls = TlsOptions{.ca_file = file("ca.pem")};
        std::optional<Result<Response>> answer;
        const Call call = client.send(std::move(request), [&](Result<Response> got) { answer = std::move(got); });
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        sent = call.request_sent();
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer came");
    }
    bool sent = false;
};

TEST_F(Http2Test, OnlyWhenAskedForAndOffered) {
    const TlsServer offers(file("server.pem"), file("server.key"), "", Http2::kAnswer);
    const auto answer = ask(offers);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->body, "hello h2");
    EXPECT_EQ(answer->http_version, 20);
    EXPECT_EQ(answer->header("x"), "y");
    ASSERT_TRUE(ask(offers));
    EXPECT_EQ(offers.handshakes(), 1) << "the connection is kept";
    EXPECT_EQ(offers.h2_requests(), 2);
    const auto plain = get(offers.url(), {.ca_file = file("ca.pem")});
    ASSERT_TRUE(plain) << plain.error().describe();
    EXPECT_EQ(plain->http_version, 11) << "not asked for";
    const TlsServer old(file("server.pem"), file("server.key"), "");
    const auto fallen_back = ask(old);
    ASSERT_TRUE(fallen_back) << fallen_back.error().describe();
    EXPECT_EQ(fallen_back->http_version, 11) << "not offered";
}

TEST_F(Http2Test, HostileServers) {
    for (const auto& [how, code] :
         {std::pair{Http2::kResetStream, ErrorCode::kUnavailable}, std::pair{Http2::kCutBody, ErrorCode::kUnavailable},
          std::pair{Http2::kEndlessBody, ErrorCode::kLimitExceeded}, std::pair{Http2::kHold, ErrorCode::kTimeout}}) {
        const TlsServer server(file("server.pem"), file("server.key"), "", how);
        const auto answer = ask(server, {.timeout = std::chrono::seconds(code == ErrorCode::kTimeout ? 1 : 20),
                                         .max_response_bytes = 100'000});
        ASSERT_FALSE(answer) << static_cast<int>(how);
        EXPECT_EQ(answer.error().code, code) << answer.error().describe();
        EXPECT_TRUE(sent);
    }
    for (const Http2 how : {Http2::kEndlessHeaders, Http2::kNonsense}) {
        const TlsServer server(file("server.pem"), file("server.key"), "", how);
        EXPECT_FALSE(ask(server, {.timeout = std::chrono::seconds(5)})) << static_cast<int>(how);
        EXPECT_LT(server.sent_bytes(), 4U << 20U);
    }
}

TEST_F(Http2Test, AStreamThatIsNotReadHoldsTheServerUp) {
    const TlsServer server(file("server.pem"), file("server.key"), "", Http2::kEndlessBody);
    std::size_t got = 0;
    StreamReader reader;
    reader.chunk = [&](std::string_view bytes) {
        got += bytes.size();
        return false;
    };
    Request request{.url = server.url(), .max_response_bytes = 1ULL << 30U, .http2 = true};
    request.tls = TlsOptions{.ca_file = file("ca.pem")};
    const Call call = client.stream(std::move(request), std::move(reader), [](const Result<Response>&) {});
    ASSERT_TRUE(run_until(loop, [&] { return got > 0; }));
    testing::run_for(loop, std::chrono::milliseconds(500));
    EXPECT_LT(got, 200'000U);
    EXPECT_LT(server.sent_bytes(), 20U << 20U) << "what is under way lies in the kernel's buffers";
}

TEST_F(TlsTest, PlainTextWhereTlsIsMeant) {
    testing::RawServer server(loop, [](const testing::Seen&) { return testing::reply(200, ""); });
    const auto answer = get("https://127.0.0.1:" + std::to_string(server.port()) + "/", {});
    ASSERT_FALSE(answer);
}

}  // namespace
}  // namespace wa::http
