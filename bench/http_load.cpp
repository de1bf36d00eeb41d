#include "http_load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace wa::bench {

double now_ms() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t wall_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

void give_up(const std::string& message) {
    std::fprintf(stderr, "benchmark failed: %s\n", message.c_str());
    std::exit(1);
}

HttpLoad::HttpLoad(std::uint16_t port, std::string token, std::size_t connections)
    : port_(port), token_(std::move(token)), poll_(::epoll_create1(EPOLL_CLOEXEC)), connections_(connections) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (std::size_t n = 0; n < connections_.size(); ++n) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr generic{};
        std::memcpy(&generic, &address, sizeof generic);
        if (fd < 0 || ::connect(fd, &generic, sizeof generic) != 0) give_up(std::string("connect: ") + strerror(errno));
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = n;
        ::epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event);
        connections_[n].fd = fd;
    }
}

HttpLoad::~HttpLoad() {
    for (const Connection& connection : connections_)
        ::close(connection.fd);
    ::close(poll_);
}

std::string HttpLoad::request(std::string_view method, std::string_view path, std::string_view body) const {
    std::string out;
    out.reserve(body.size() + 256);
    out.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: 127.0.0.1:").append(std::to_string(port_));
    out.append("\r\nAuthorization: Bearer ").append(token_);
    if (!body.empty()) {
        out.append("\r\nContent-Type: application/json\r\nContent-Length: ").append(std::to_string(body.size()));
    }
    out.append("\r\n\r\n").append(body);
    return out;
}

void HttpLoad::send_rest(Connection& connection, const std::string& request) {
    while (connection.sent < request.size()) {
        const ssize_t put =
            ::send(connection.fd, request.data() + connection.sent, request.size() - connection.sent, MSG_NOSIGNAL);
        if (put < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (put < 0) give_up(std::string("send: ") + strerror(errno));
        connection.sent += static_cast<std::size_t>(put);
    }
    epoll_event event{};
    event.events = EPOLLIN | (connection.sent < request.size() ? static_cast<unsigned>(EPOLLOUT) : 0U);
    event.data.u64 = static_cast<std::uint64_t>(&connection - connections_.data());
    ::epoll_ctl(poll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void HttpLoad::begin(Connection& connection, const std::vector<std::string>& requests, std::size_t index) {
    connection.index = index;
    connection.sent = 0;
    connection.received.clear();
    connection.busy = true;
    connection.sent_ns = wall_ns();
    connection.began = now_ms();
    send_rest(connection, requests[index]);
}

bool HttpLoad::parse(std::string_view received, Reply& reply) {
    const std::size_t head_end = received.find("\r\n\r\n");
    if (head_end == std::string_view::npos) return false;
    const std::string_view head = received.substr(0, head_end);
    constexpr std::size_t kStatusAt = 9;  // after "HTTP/1.1 "
    std::from_chars(head.data() + kStatusAt, head.data() + kStatusAt + 3, reply.status);
    std::size_t length = 0;
    for (const std::string_view name : {"\r\nContent-Length: ", "\r\ncontent-length: "}) {
        const std::size_t at = head.find(name);
        if (at == std::string_view::npos) continue;
        std::from_chars(head.data() + at + name.size(), head.data() + head.size(), length);
    }
    const std::size_t body_at = head_end + 4;
    if (received.size() < body_at + length) return false;
    reply.body.assign(received.substr(body_at, length));
    return true;
}

void HttpLoad::run(const std::vector<std::string>& requests, const std::function<void(std::size_t, Reply&)>& answered) {
    std::size_t next = 0;
    std::size_t open = 0;
    for (Connection& connection : connections_) {
        if (next == requests.size()) break;
        ++open;
        begin(connection, requests, next++);
    }
    std::array<epoll_event, 64> events{};
    std::array<char, 65536> buffer{};
    while (open > 0) {
        const int ready = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 30'000);
        if (ready == 0) give_up("no answer for 30 s");
        for (int n = 0; n < ready; ++n) {
            const epoll_event& event = events.at(static_cast<std::size_t>(n));
            Connection& connection = connections_[event.data.u64];
            if (!connection.busy) give_up("a connection was closed");
            if ((event.events & EPOLLOUT) != 0U) send_rest(connection, requests[connection.index]);
            if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0U) continue;
            const ssize_t got = ::recv(connection.fd, buffer.data(), buffer.size(), 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0) give_up("a connection was closed");
            connection.received.append(buffer.data(), static_cast<std::size_t>(got));
            Reply reply;
            if (!parse(connection.received, reply)) continue;
            reply.took_ms = now_ms() - connection.began;
            reply.sent_ns = connection.sent_ns;
            connection.busy = false;
            const std::size_t index = connection.index;
            --open;
            if (next < requests.size()) {
                ++open;
                begin(connection, requests, next++);
            }
            answered(index, reply);
        }
    }
}

Reply HttpLoad::one(const std::string& request) {
    Reply out;
    run({request}, [&](std::size_t, Reply& reply) { out = std::move(reply); });
    return out;
}

}  // namespace wa::bench
