// TLS against a real OpenSSL server on loopback, with certificates made for the test.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "http_client/http_client.h"
#include "http_client/testing/raw_server.h"

namespace wa::http {
namespace {

namespace fs = std::filesystem;
using testing::run_until;

// Serves "hello <subject of the client's certificate>" to every request, one connection after the other.
class TlsServer {
public:
    TlsServer(const std::string& cert, const std::string& key, const std::string& client_ca)
        : context_(SSL_CTX_new(TLS_server_method())) {
        EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, cert.c_str()), 1);
        EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM), 1);
        if (!client_ca.empty()) {
            EXPECT_EQ(SSL_CTX_load_verify_locations(context_, client_ca.c_str(), nullptr), 1);
            SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        }
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(::listen(listener_, 16), 0);
        socklen_t size = sizeof address;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    ~TlsServer() {
        stop_ = true;
        thread_.join();
        ::close(listener_);
        SSL_CTX_free(context_);
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;

    [[nodiscard]] std::string url() const { return "https://localhost:" + std::to_string(port_) + "/"; }
    [[nodiscard]] int handshakes() const { return handshakes_; }

private:
    bool readable(int fd) const {
        while (!stop_) {
            pollfd item{fd, POLLIN, 0};
            if (::poll(&item, 1, 20) > 0) return true;
        }
        return false;
    }
    // Connections are kept, so each has its thread.
    void run() {
        std::vector<std::thread> threads;
        while (readable(listener_)) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd >= 0) threads.emplace_back([this, fd] { serve(fd); });
        }
        for (std::thread& thread : threads)
            thread.join();
    }
    void serve(int fd) {
        SSL* const ssl = SSL_new(context_);
        SSL_set_fd(ssl, fd);
        if (readable(fd) && SSL_accept(ssl) == 1) {
            ++handshakes_;
            while (answer(ssl, fd)) {
            }
        }
        SSL_free(ssl);
        ::close(fd);
    }
    bool answer(SSL* ssl, int fd) const {
        std::string request;
        char bytes[4096];
        while (request.find("\r\n\r\n") == std::string::npos) {
            if (SSL_pending(ssl) == 0 && !readable(fd)) return false;
            const int got = SSL_read(ssl, bytes, sizeof bytes);
            if (got <= 0) return false;
            request.append(bytes, static_cast<std::size_t>(got));
        }
        std::string who = "nobody";
        if (X509* const certificate = SSL_get1_peer_certificate(ssl)) {
            char name[256] = "";
            X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
            who = name;
            X509_free(certificate);
        }
        const std::string reply = testing::reply_text(200, "hello " + who);
        return SSL_write(ssl, reply.data(), static_cast<int>(reply.size())) > 0;
    }

    SSL_CTX* context_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::atomic<bool> stop_ = false;
    std::atomic<int> handshakes_ = 0;
    std::thread thread_;
};

class TlsTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        ::signal(SIGPIPE, SIG_IGN);
        folder = fs::temp_directory_path() / ("wa-tls-" + std::to_string(::getpid()));
        fs::create_directories(folder);
        made = make_ca("ca") && make_ca("other") && make_cert("server", "ca") && make_cert("alice", "ca") &&
               make_cert("bob", "ca") && make_cert("stranger", "other");
    }
    static void TearDownTestSuite() { fs::remove_all(folder); }
    void SetUp() override { ASSERT_TRUE(made) << "the openssl program could not make certificates"; }

    static bool openssl(const std::string& arguments) {
        return std::system(("cd '" + folder.string() + "' && openssl " + arguments + " 2>>log").c_str()) == 0;
    }
    static bool make_ca(const std::string& name) {
        return openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=" + name +
                       "' -keyout " + name + ".key -out " + name + ".pem");
    }
    static bool make_cert(const std::string& name, const std::string& by) {
        std::ofstream(folder / "ext") << "subjectAltName=DNS:localhost\n";
        return openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=" + name + "' -keyout " +
                       name + ".key -out " + name + ".csr") &&
               openssl("x509 -req -in " + name + ".csr -CA " + by + ".pem -CAkey " + by +
                       ".key -CAcreateserial -days 2 -extfile ext -out " + name + ".pem");
    }
    static std::string file(const std::string& name) { return (folder / name).string(); }

    Result<Response> get(const std::string& url, const TlsOptions& tls) { return get(client, url, tls); }
    Result<Response> get(Client& by, const std::string& url, const TlsOptions& tls) {
        std::optional<Result<Response>> answer;
        const Call call = by.send({.url = url, .connect_timeout = std::chrono::seconds(2), .tls = tls},
                                  [&](Result<Response> got) { answer = std::move(got); });
        EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
        return answer ? *answer : fail(ErrorCode::kInternal, "test", "no answer came");
    }

    static inline fs::path folder;
    static inline bool made = false;
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
    std::ofstream(folder / "empty.pem").close();
    const auto empty = get(server.url(), {.ca_file = file("empty.pem")});
    ASSERT_FALSE(empty) << "nothing is trusted";
}

TEST_F(TlsTest, PlainTextWhereTlsIsMeant) {
    testing::RawServer server(loop, [](const testing::Seen&) { return testing::reply(200, ""); });
    const auto answer = get("https://127.0.0.1:" + std::to_string(server.port()) + "/", {});
    ASSERT_FALSE(answer);
}

}  // namespace
}  // namespace wa::http
