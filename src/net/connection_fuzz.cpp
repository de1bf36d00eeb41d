// Any bytes as what a caller sends: the connection never crashes, hands out only what keeps the limits, and answers in
// HTTP.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "core/codec/text.h"
#include "net/connection.h"
#include "net/core.h"

namespace wa::net {
namespace {

constexpr std::size_t kBodyLimit = 1000;
constexpr std::size_t kMaxInput = 60'000;  // fits the socket's buffer

void must(bool holds) {
    if (!holds) std::abort();
}

void handle(Request request, Responder responder) {
    must(request.body.size() <= kBodyLimit);
    must(request.path.starts_with('/'));
    for (const std::string& piece : request.segments)
        must(!piece.empty() && is_utf8(piece));
    std::size_t header_bytes = 0;
    for (const auto& [name, value] : request.headers) {
        header_bytes += name.size() + value.size();
        must(value.find('\n') == std::string::npos);
    }
    must(header_bytes <= kMaxHeaderBytes);
    Response response;
    response.body = json_quote(request.path);
    responder.send(std::move(response));
}

Router make_router() {
    Router router;
    for (const char* method : {"GET", "POST"}) {
        for (const char* pattern : {"/", "/a", "/a/{b}"}) {
            Route route;
            route.method = method;
            route.pattern = pattern;
            route.access = Access::kOpen;
            route.body_limit = kBodyLimit;
            route.handle = handle;
            router.add(std::move(route));
        }
    }
    return router;
}

}  // namespace
}  // namespace wa::net

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::net;
    if (size > kMaxInput) return 0;
    static const Router router = make_router();
    std::array<int, 2> ends{};
    must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    must(::write(ends[0], data, size) == static_cast<ssize_t>(size));
    ::shutdown(ends[0], SHUT_WR);
    must(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    const auto core = std::make_shared<Core>(ServerOptions{});
    boost::asio::local::stream_protocol::socket socket(core->context, boost::asio::local::stream_protocol(), ends[1]);
    bool closed = false;
    PeerFacts facts;
    facts.loopback = true;
    facts.local_address = "127.0.0.1";
    const auto connection = std::make_shared<Connection>(Connection::Socket(std::move(socket)), core, router, facts,
                                                         [&](Connection&) { closed = true; });
    connection->start();
    std::string answers;
    for (int round = 0; round < 1000 && !closed; ++round) {
        core->context.restart();
        core->context.poll();
        std::array<char, 65536> bytes{};
        const ssize_t got = ::read(ends[0], bytes.data(), bytes.size());
        if (got > 0) answers.append(bytes.data(), static_cast<std::size_t>(got));
    }
    must(answers.empty() || answers.starts_with("HTTP/1.1 "));
    connection->close();
    core->shut_down();
    core->context.restart();
    core->context.poll();
    must(core->body_bytes.load() == 0);
    ::close(ends[0]);
    return 0;
}
