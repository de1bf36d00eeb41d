// A tiny HTTP server on plain sockets for tests: answers what it is told to, well-formed or not.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace wa::cli::testing {

struct StubRequest {
    std::string method;
    std::string target;
    std::string head;  // all of it, for looking at headers
    std::string body;
};

class StubServer {
public:
    // Gets the connection to write to; it is closed afterwards. Called on a thread of its own for each connection.
    using Handler = std::function<void(const StubRequest&, int connection)>;

    // Empty path = TCP on 127.0.0.1 and any free port.
    explicit StubServer(Handler handler, const std::string& socket_path = {}) : handler_(std::move(handler)) {
        if (socket_path.empty()) {
            listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            socklen_t size = sizeof(address);
            ::bind(listener_, static_cast<const sockaddr*>(static_cast<const void*>(&address)), size);
            ::getsockname(listener_, static_cast<sockaddr*>(static_cast<void*>(&address)), &size);
            port_ = ntohs(address.sin_port);
        } else {
            listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
            ::bind(listener_, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address));
        }
        ::listen(listener_, 64);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~StubServer() {
        stopping_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        ::close(listener_);
        for (std::thread& one : connections_)
            one.join();
    }
    StubServer(const StubServer&) = delete;
    StubServer& operator=(const StubServer&) = delete;

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] std::vector<StubRequest> requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

    static void write(int connection, std::string_view text) {
        while (!text.empty()) {
            const ssize_t done = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
            if (done <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(done));
        }
    }
    static std::string answer(int status, const std::string& body, const std::string& type = "application/json") {
        return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: " + type +
               "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
    }

private:
    void accept_all() {
        while (!stopping_) {
            const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (connection < 0) return;
            connections_.emplace_back([this, connection] { serve(connection); });
        }
    }

    void serve(int connection) {
        std::string text;
        std::size_t head_end = std::string::npos;
        std::size_t length = 0;
        char buffer[65536];
        while (!stopping_) {
            pollfd ready{connection, POLLIN, 0};
            if (::poll(&ready, 1, 50) == 0) continue;
            const ssize_t got = ::recv(connection, buffer, sizeof(buffer), 0);
            if (got <= 0) break;
            text.append(buffer, static_cast<std::size_t>(got));
            if (head_end == std::string::npos && (head_end = text.find("\r\n\r\n")) != std::string::npos) {
                const std::size_t at = text.find("Content-Length: ");
                if (at != std::string::npos && at < head_end) length = std::stoul(text.substr(at + 16));
            }
            if (head_end != std::string::npos && text.size() >= head_end + 4 + length) {
                StubRequest request;
                request.method = text.substr(0, text.find(' '));
                const std::size_t from = request.method.size() + 1;
                request.target = text.substr(from, text.find(' ', from) - from);
                request.head = text.substr(0, head_end);
                request.body = text.substr(head_end + 4);
                {
                    const std::lock_guard lock(mutex_);
                    requests_.push_back(request);
                }
                handler_(request, connection);
                break;
            }
        }
        ::shutdown(connection, SHUT_RDWR);
        ::close(connection);
    }

    Handler handler_;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<bool> stopping_ = false;
    std::thread acceptor_;
    std::list<std::thread> connections_;
    std::mutex mutex_;
    std::vector<StubRequest> requests_;
};

// Fixed answers by "METHOD target"; everything else is 404 as the worker would say it.
inline StubServer::Handler fixed(std::map<std::string, std::pair<int, std::string>> answers) {
    return [answers = std::move(answers)](const StubRequest& request, int connection) {
        const auto found = answers.find(request.method + " " + request.target);
        if (found == answers.end()) {
            StubServer::write(
                connection,
                StubServer::answer(
                    404, R"({"type":"about:blank","title":"Not Found","status":404,"detail":"no such thing"})",
                    "application/problem+json"));
            return;
        }
        StubServer::write(connection, StubServer::answer(found->second.first, found->second.second));
    };
}

}  // namespace wa::cli::testing
