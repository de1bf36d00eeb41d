// For tests only: a real OpenSSL server on loopback, with threads of its own, and certificates made for the test.
#pragma once

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http_client/testing/raw_server.h"

namespace wa::http::testing {

enum class Http2 : std::uint8_t {
    kAnswer,       // 200 with "hello h2"
    kHold,         // nothing
    kResetStream,  // instead of an answer
    kCutBody,      // a reset in the middle of it
    kEndlessBody,
    kEndlessHeaders,
    kNonsense,  // headers that cannot be decompressed
};

// Made by the openssl program in a folder that goes with it. ok() says whether it could be done.
class Certificates {
public:
    Certificates() : folder_(std::filesystem::temp_directory_path() / ("wa-tls-" + std::to_string(::getpid()))) {
        ::signal(SIGPIPE, SIG_IGN);
        std::filesystem::create_directories(folder_);
        ok_ = make_ca("ca") && make_ca("other") && make_cert("server", "ca") && make_cert("alice", "ca") &&
              make_cert("bob", "ca") && make_cert("stranger", "other");
    }
    ~Certificates() { std::filesystem::remove_all(folder_); }
    Certificates(const Certificates&) = delete;
    Certificates& operator=(const Certificates&) = delete;

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] std::string file(const std::string& name) const { return (folder_ / name).string(); }

private:
    [[nodiscard]] bool openssl(const std::string& arguments) const {
        return std::system(("cd '" + folder_.string() + "' && openssl " + arguments + " 2>>log").c_str()) == 0;
    }
    [[nodiscard]] bool make_ca(const std::string& name) const {
        return openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=" + name +
                       "' -keyout " + name + ".key -out " + name + ".pem");
    }
    [[nodiscard]] bool make_cert(const std::string& name, const std::string& by) const {
        std::ofstream(folder_ / "ext") << "subjectAltName=DNS:localhost,DNS:service.test\n";
        return openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=" + name + "' -keyout " +
                       name + ".key -out " + name + ".csr") &&
               openssl("x509 -req -in " + name + ".csr -CA " + by + ".pem -CAkey " + by +
                       ".key -CAcreateserial -days 2 -extfile ext -out " + name + ".pem");
    }

    std::filesystem::path folder_;
    bool ok_ = false;
};

// Serves "hello <subject of the client's certificate>" to every request, one connection after the other.
class TlsServer {
public:
    // `h2`: HTTP/2 is offered, and done in this way. `answer`: in place of the usual one of HTTP/1.1.
    TlsServer(const std::string& cert, const std::string& key, const std::string& client_ca,
              std::optional<Http2> h2 = std::nullopt, std::string answer = {})
        : context_(SSL_CTX_new(TLS_server_method())), h2_(h2), answer_(std::move(answer)) {
        if (h2_) SSL_CTX_set_alpn_select_cb(context_, &TlsServer::choose, nullptr);
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
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int handshakes() const { return handshakes_; }
    [[nodiscard]] int h2_requests() const { return requests_; }
    [[nodiscard]] std::size_t sent_bytes() const { return sent_bytes_; }

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
        // Who does not read does not hold this thread up for ever.
        const timeval patience{2, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        SSL* const ssl = SSL_new(context_);
        SSL_set_fd(ssl, fd);
        if (readable(fd) && SSL_accept(ssl) == 1) {
            ++handshakes_;
            const unsigned char* chosen = nullptr;
            unsigned size = 0;
            SSL_get0_alpn_selected(ssl, &chosen, &size);
            if (size == 2) {
                serve_h2(ssl, fd);
            } else {
                while (answer(ssl, fd)) {
                }
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
        const std::string reply = answer_.empty() ? reply_text(200, "hello " + who) : answer_;
        return SSL_write(ssl, reply.data(), static_cast<int>(reply.size())) > 0;
    }

    static int choose(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size,
                      void*) {
        static constexpr unsigned char kH2[] = {2, 'h', '2'};
        unsigned char* chosen = nullptr;
        if (SSL_select_next_proto(&chosen, size, kH2, sizeof kH2, in, in_size) != OPENSSL_NPN_NEGOTIATED)
            return SSL_TLSEXT_ERR_NOACK;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
    }

    // As much of RFC 9113 as one client needs who sends no body; what it asks for is not even read.
    bool read_exactly(SSL* ssl, int fd, std::size_t size, std::string& out) const {
        out.resize(size);
        std::size_t at = 0;
        while (at < size) {
            if (SSL_pending(ssl) == 0 && !readable(fd)) return false;
            const int got = SSL_read(ssl, out.data() + at, static_cast<int>(size - at));
            if (got <= 0) return false;
            at += static_cast<std::size_t>(got);
        }
        return true;
    }
    static std::string frame(unsigned char type, unsigned char flags, std::uint32_t stream, std::string_view payload) {
        std::string out;
        for (const unsigned shift : {16U, 8U, 0U})
            out += static_cast<char>(payload.size() >> shift);
        out += static_cast<char>(type);
        out += static_cast<char>(flags);
        for (const unsigned shift : {24U, 16U, 8U, 0U})
            out += static_cast<char>(stream >> shift);
        return out.append(payload);
    }
    bool send(SSL* ssl, const std::string& bytes) const {
        return SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())) > 0;
    }
    void serve_h2(SSL* ssl, int fd) {
        std::string bytes;
        if (!read_exactly(ssl, fd, 24, bytes) || !send(ssl, frame(4, 0, 0, ""))) return;  // preface, SETTINGS
        while (read_exactly(ssl, fd, 9, bytes)) {
            const auto at = [&](std::size_t i) { return std::uint32_t{static_cast<unsigned char>(bytes[i])}; };
            const std::size_t size = at(0) << 16U | at(1) << 8U | at(2);
            const std::uint32_t type = at(3);
            const std::uint32_t flags = at(4);
            const std::uint32_t stream = at(5) << 24U | at(6) << 16U | at(7) << 8U | at(8);
            if (!read_exactly(ssl, fd, size, bytes)) return;
            bool going = true;
            if (type == 4 && (flags & 1U) == 0) going = send(ssl, frame(4, 1, 0, ""));
            if (type == 1) going = answer_h2(ssl, stream);
            if (!going) return;
        }
    }
    bool answer_h2(SSL* ssl, std::uint32_t stream) {
        ++requests_;
        const std::string status_200 = "\x88";                 // from the static table
        const std::string field = std::string("\0\1x\1y", 5);  // x: y, literal
        switch (*h2_) {
            case Http2::kAnswer:
                return send(ssl, frame(1, 4, stream, status_200 + field) + frame(0, 1, stream, "hello h2"));
            case Http2::kHold: return true;
            case Http2::kResetStream: return send(ssl, frame(3, 0, stream, std::string("\0\0\0\2", 4)));
            case Http2::kCutBody:
                return send(ssl, frame(1, 4, stream, status_200) + frame(0, 0, stream, "hel") +
                                     frame(3, 0, stream, std::string("\0\0\0\2", 4)));
            case Http2::kEndlessBody: {
                if (!send(ssl, frame(1, 4, stream, status_200))) return false;
                while (!stop_ && send(ssl, frame(0, 0, stream, std::string(16'000, 'x')))) {
                    sent_bytes_ += 16'000;
                }
                return false;
            }
            case Http2::kEndlessHeaders: {
                if (!send(ssl, frame(1, 0, stream, status_200))) return false;
                std::string fields;
                for (int i = 0; i < 1000; ++i)
                    fields += field;
                while (!stop_ && send(ssl, frame(9, 0, stream, fields))) {
                    sent_bytes_ += fields.size();
                }
                return false;
            }
            case Http2::kNonsense: return send(ssl, frame(1, 4, stream, "\xff\xff\xff\xff\xff\xff\xff"));
        }
        return false;
    }

    SSL_CTX* context_;
    std::optional<Http2> h2_;
    std::string answer_;
    std::atomic<int> requests_ = 0;
    std::atomic<std::size_t> sent_bytes_ = 0;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::atomic<bool> stop_ = false;
    std::atomic<int> handshakes_ = 0;
    std::thread thread_;
};

}  // namespace wa::http::testing
