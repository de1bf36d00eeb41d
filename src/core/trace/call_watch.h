// How those who call other services tell of their calls: the clients (HTTP, gRPC, Redis) know this, and no tracer; who
// makes spans of it knows this, and no client.
//
//   who makes a call   says why, with the request: CallPurpose
//   the client         tells that it goes out (begin), sends along what it is given, tells how it ended (ended)
//
// Threading: that of the client; the loop. Nothing here holds credentials, queries, headers or bodies.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "core/trace/trace_context.h"

namespace wa {

struct CallPurpose {
    std::string name{};       // of a short list: "ticket_service.get_ticket"; empty = by the client's own words
    std::string ticket_id{};  // the one ticket that it is about; empty = none, or many
    // What it is done for, noted when it was decided: the ticket may be settled when the call goes out. Nothing = the
    // work for ticket_id, while that is in hand.
    std::optional<TraceContext> cause{};
    std::int32_t retry = 0;  // as many tries came before this one
};

// A call that goes out now. Views into the client, valid during begin().
struct OutgoingCall {
    enum class Protocol : std::uint8_t { kHttp, kGrpc, kRedis };
    Protocol protocol = Protocol::kHttp;
    std::string_view method{};   // "PATCH"; "Heartbeat"; "SET"
    std::string_view subject{};  // HTTP: the path of the URL; gRPC: the full name of the service; Redis: nothing
    std::string_view host{};     // name, address, or path of a Unix socket
    std::uint16_t port = 0;      // 0 = a Unix socket, or not known
};

struct CallEnd {
    std::optional<int> status{};   // that it was answered with: of HTTP, of gRPC
    const Error* error = nullptr;  // why there is no answer, or none that is one
};

// A call under way. Destroyed without ended(): it was given up. May outlive the watch; then nothing is told any more.
class WatchedCall {
public:
    WatchedCall() = default;
    virtual ~WatchedCall() = default;
    WatchedCall(const WatchedCall&) = delete;
    WatchedCall& operator=(const WatchedCall&) = delete;
    virtual void ended(const CallEnd& end) = 0;  // once
};

// Headers of HTTP or metadata of gRPC, names in lower case.
using CarriedHeaders = std::vector<std::pair<std::string, std::string>>;

class CallWatch {
public:
    virtual ~CallWatch() = default;
    // Puts what the call is to carry into `carry` (traceparent, tracestate). Null: how it ends does not matter.
    virtual std::unique_ptr<WatchedCall> begin(const CallPurpose& purpose, const OutgoingCall& call,
                                               CarriedHeaders& carry) = 0;
};

}  // namespace wa
