#include "adapters/ticket_service/gate.h"

#include <utility>

#include "adapters/ticket_service/answers.h"

namespace wa::ticket_service {
namespace {

constexpr Duration kTrialPatience = std::chrono::milliseconds(200);

Error refusal(const http::Response& response, ErrorCode code, Retry retry) {
    std::string text = "the ticket service answered " + std::to_string(response.status);
    if (response.status >= 300 && response.status < 400) {
        text += ", a redirect, which is not followed";
    } else if (const std::string detail = error_detail(response.body); !detail.empty()) {
        text += ": " + detail;
    }
    return make_error(code, retry, Fault::kService, "ticket_service", std::move(text));
}

Verdict judge_failure(const Error& error) {
    const bool ours = error.code == ErrorCode::kInvalidArgument ||
                      (error.code == ErrorCode::kLimitExceeded && error.retry == Retry::kNever);
    if (ours) return {Fate::kRefused, error, std::nullopt};
    if (error.code == ErrorCode::kLimitExceeded || error.code == ErrorCode::kInternal)
        return {Fate::kNotSent, error, std::nullopt};
    // Also a certificate that does not fit: it is the way to the service that is closed, not this request.
    return {Fate::kUnreachable, error, std::nullopt};
}

}  // namespace

Verdict judge(const Result<http::Response>& answer, EpochMillis now) {
    if (!answer) return judge_failure(answer.error());
    const http::Response& response = *answer;
    if (response.status >= 200 && response.status < 300) return {};
    if (response.status == 404) return {Fate::kNotFound, refusal(response, ErrorCode::kNotFound, Retry::kNever), {}};
    const bool down = response.status == 502 || response.status == 503 || response.status == 504;
    if (!down && response.status != 429)
        return {Fate::kRefused, refusal(response, ErrorCode::kUnavailable, Retry::kNever), {}};
    Verdict verdict{
        down ? Fate::kUnreachable : Fate::kBusy, refusal(response, ErrorCode::kUnavailable, Retry::kAfterBackoff), {}};
    if (const auto wait = http::retry_after(response, now)) {
        verdict.retry_after = *wait;
        verdict.error.retry = Retry::kAfterHint;
        verdict.error.retry_after = *wait;
    }
    return verdict;
}

bool Gate::try_pass() {
    const MonoTime now = clock_.now();
    const bool open = now >= held_until_ && breaker_.try_acquire(now);
    tell();
    return open;
}

void Gate::passed(const Verdict& verdict) {
    const MonoTime now = clock_.now();
    if (verdict.retry_after) held_until_ = std::max(held_until_, now + *verdict.retry_after);
    switch (verdict.fate) {
        case Fate::kUnreachable: breaker_.failure(now); break;
        case Fate::kNotSent: breaker_.abandoned(); break;
        default: breaker_.success(); break;
    }
    tell();
}

void Gate::abandoned() {
    breaker_.abandoned();
}

MonoTime Gate::opens_at() const {
    MonoTime at = held_until_;
    if (breaker_.state() == CircuitBreaker::State::kOpen) at = std::max(at, breaker_.retry_at());
    // Half-open: the trial's answer will come; whoever waits looks again soon.
    if (breaker_.state() == CircuitBreaker::State::kHalfOpen) at = std::max(at, clock_.now() + kTrialPatience);
    return at;
}

void Gate::tell() {
    if (std::exchange(told_, breaker_.state()) != breaker_.state()) listener_.breaker_changed(breaker_.state());
}

}  // namespace wa::ticket_service
