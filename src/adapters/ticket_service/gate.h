// Whether anything may go to the service now, and what an answer says about it. Loop thread only.
// Rules: contract/services.md 2.7: retried are connection errors, timeouts, 429, 502, 503 and 504; a Retry-After is
// obeyed; five failures in a row keep everything back for a minute.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/ticket_service/listener.h"
#include "base/clock.h"
#include "core/retry/circuit_breaker.h"
#include "http_client/http_client.h"

namespace wa::ticket_service {

enum class Fate : std::uint8_t {
    kOk,           // 2xx
    kNotFound,     // 404
    kRefused,      // trying again cannot help
    kBusy,         // it answers, and wants to be left alone for a while
    kUnreachable,  // it does not answer, or something in front of it does
    kNotSent,      // for a reason on our side that will pass
};

struct Verdict {
    Fate fate = Fate::kOk;
    Error error;  // but for kOk
    std::optional<Duration> retry_after;
};

[[nodiscard]] Verdict judge(const Result<http::Response>& answer, EpochMillis now);

class Gate {
public:
    Gate(const Clock& clock, TicketServiceListener& listener, std::int32_t threshold, Duration cool_down)
        : clock_(clock), listener_(listener), breaker_(threshold, cool_down) {}

    // True: exactly one request goes out now, and its verdict is told to passed().
    [[nodiscard]] bool try_pass();
    void passed(const Verdict& verdict);
    // The request was given up before its end.
    void abandoned();
    // When it is worth to ask again; meaningful after try_pass() said no.
    [[nodiscard]] MonoTime opens_at() const;
    // Nothing is kept back.
    [[nodiscard]] bool open() const {
        return breaker_.state() == CircuitBreaker::State::kClosed && clock_.now() >= held_until_;
    }
    [[nodiscard]] CircuitBreaker::State state() const { return breaker_.state(); }

private:
    void tell();

    const Clock& clock_;
    TicketServiceListener& listener_;
    CircuitBreaker breaker_;
    CircuitBreaker::State told_ = CircuitBreaker::State::kClosed;
    MonoTime held_until_{};
};

}  // namespace wa::ticket_service
