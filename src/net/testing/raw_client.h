// For tests only: a client that sends exactly the bytes it is told to, over a real socket.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace wa::net::testing {

struct Reply {
    int status = 0;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    std::string raw_head;
};

class RawClient {
public:
    static RawClient tcp(std::uint16_t port, const char* host = "127.0.0.1") {
        RawClient client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        ::inet_pton(AF_INET, host, &address.sin_addr);
        client.connected_ = ::connect(client.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
        const int on = 1;
        ::setsockopt(client.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return client;
    }
    static RawClient unix_socket(const std::string& path) {
        RawClient client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path));
        client.connected_ = ::connect(client.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
        return client;
    }
    explicit RawClient(int fd) : fd_(fd) {}
    RawClient(RawClient&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), buffer_(std::move(other.buffer_)) {}
    RawClient& operator=(RawClient&& other) noexcept {
        std::swap(fd_, other.fd_);
        std::swap(connected_, other.connected_);
        std::swap(buffer_, other.buffer_);
        return *this;
    }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;
    ~RawClient() { close(); }

    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] int fd() const { return fd_; }

    // False when the other side no longer takes bytes.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }
    void half_close() { ::shutdown(fd_, SHUT_WR); }

    // Waits for more bytes. False at the end of the stream, on error or when nothing came in time.
    bool fill(std::chrono::milliseconds wait = std::chrono::seconds(10)) {
        pollfd item{fd_, POLLIN, 0};
        if (::poll(&item, 1, static_cast<int>(wait.count())) <= 0) {
            timed_out_ = true;
            return false;
        }
        char bytes[65536];
        const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
        if (got <= 0) {
            ended_ = true;
            return false;
        }
        buffer_.append(bytes, static_cast<std::size_t>(got));
        return true;
    }
    // Everything up to and including `mark`; nothing when it does not come.
    std::optional<std::string> read_until(std::string_view mark,
                                          std::chrono::milliseconds wait = std::chrono::seconds(10)) {
        std::size_t at = 0;
        while ((at = buffer_.find(mark)) == std::string::npos) {
            if (!fill(wait)) return std::nullopt;
        }
        std::string part = buffer_.substr(0, at + mark.size());
        buffer_.erase(0, at + mark.size());
        return part;
    }
    // One whole answer. status 0: the connection ended, or nothing came.
    Reply read_reply(bool head_only = false, std::chrono::milliseconds wait = std::chrono::seconds(10)) {
        Reply reply = read_head(wait);
        if (reply.status == 0 || head_only || reply.status == 204 || reply.status == 100) return reply;
        if (const auto found = reply.headers.find("content-length"); found != reply.headers.end()) {
            const auto length = static_cast<std::size_t>(std::strtoull(found->second.c_str(), nullptr, 10));
            while (buffer_.size() < length && fill(wait)) {
            }
            reply.body = buffer_.substr(0, length);
            buffer_.erase(0, std::min(length, buffer_.size()));
        } else if (reply.headers.contains("transfer-encoding")) {
            while (auto chunk = read_chunk(wait)) {
                if (chunk->empty()) break;
                reply.body += *chunk;
            }
        } else {
            while (fill(wait)) {
            }
            reply.body = std::exchange(buffer_, {});
        }
        return reply;
    }
    Reply read_head(std::chrono::milliseconds wait = std::chrono::seconds(10)) {
        Reply reply;
        const auto head = read_until("\r\n\r\n", wait);
        if (!head) return reply;
        reply.raw_head = *head;
        std::string_view rest = *head;
        const std::string_view first = take_line(rest);
        if (first.size() > 12) reply.status = std::atoi(std::string(first.substr(9, 3)).c_str());
        for (std::string_view line = take_line(rest); !line.empty(); line = take_line(rest)) {
            const std::size_t colon = line.find(':');
            std::string name(line.substr(0, colon));
            std::ranges::transform(name, name.begin(),
                                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
            std::string_view value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
            while (value.starts_with(' '))
                value.remove_prefix(1);
            reply.headers[name] = std::string(value);
        }
        return reply;
    }
    // The next chunk of a chunked body; empty string for the last one.
    std::optional<std::string> read_chunk(std::chrono::milliseconds wait = std::chrono::seconds(10)) {
        const auto line = read_until("\r\n", wait);
        if (!line) return std::nullopt;
        const std::size_t size = std::strtoul(line->c_str(), nullptr, 16);
        while (buffer_.size() < size + 2) {
            if (!fill(wait)) return std::nullopt;
        }
        std::string chunk = buffer_.substr(0, size);
        buffer_.erase(0, size + 2);
        return chunk;
    }
    // True once the other side has ended the connection (buffered bytes aside).
    bool ends_within(std::chrono::milliseconds wait) {
        const auto until = std::chrono::steady_clock::now() + wait;
        while (std::chrono::steady_clock::now() < until) {
            ended_ = false;
            if (!fill(std::chrono::milliseconds(20)) && ended_) return true;
        }
        return false;
    }
    [[nodiscard]] const std::string& buffered() const { return buffer_; }

private:
    static std::string_view take_line(std::string_view& rest) {
        const std::size_t end = rest.find("\r\n");
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
        return line;
    }

    int fd_ = -1;
    bool connected_ = false;
    bool timed_out_ = false;
    bool ended_ = false;
    std::string buffer_;
};

// One request on its own connection.
inline Reply ask(std::uint16_t port, std::string_view method, std::string_view target, std::string_view body = {},
                 std::string_view extra_headers = {}) {
    RawClient client = RawClient::tcp(port);
    std::string text(method);
    text += ' ';
    text += target;
    text += " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    text += extra_headers;
    if (!body.empty() || method == "POST" || method == "PATCH") {
        text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    }
    text += "\r\n";
    text += body;
    client.send(text);
    return client.read_reply(method == "HEAD");
}

}  // namespace wa::net::testing
