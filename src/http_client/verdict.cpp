#include "http_client/verdict.h"

#include <algorithm>
#include <array>

namespace wa::http {
namespace {

Verdict judge_answer(const Response& response, EpochMillis now) {
    Verdict verdict;
    const int status = response.status;
    verdict.wait = retry_after(response, now);
    // GitHub says "too many" with 403 too: with the time when it is over, and with Retry-After.
    const bool limited = status == 429 || (status == 403 && verdict.wait);
    if (!limited && status != 503) verdict.wait.reset();
    verdict.transient =
        limited || status == 408 || status == 425 || status == 500 || status == 502 || status == 503 || status == 504;
    verdict.unreachable = status == 502 || status == 503 || status == 504;
    if (limited || status == 408 || status == 425 || (status == 503 && verdict.wait)) {
        verdict.acted_upon = ActedUpon::kNo;
    } else if (verdict.unreachable) {
        verdict.acted_upon = ActedUpon::kUnknown;
    }
    return verdict;
}

}  // namespace

Verdict judge(const Result<Response>& result, bool sent, EpochMillis now) {
    if (result) return judge_answer(*result, now);
    const Error& error = result.error();
    Verdict verdict;
    verdict.transient = error.retryable();
    verdict.timed_out = error.code == ErrorCode::kTimeout;
    verdict.acted_upon = sent ? ActedUpon::kUnknown : ActedUpon::kNo;
    switch (error.code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kInternal: verdict.ours = true; break;
        case ErrorCode::kNotAllowed:  // by a guard; or by TLS or a proxy, which closes the way
        case ErrorCode::kUnavailable: verdict.ours = error.fault != Fault::kService; break;
        case ErrorCode::kLimitExceeded:  // too many calls of ours; or an answer that is too large, which is one
            verdict.ours = error.fault != Fault::kService;
            return verdict;
        default: break;
    }
    verdict.unreachable = !verdict.ours;
    return verdict;
}

bool is_idempotent(std::string_view method) {
    static constexpr std::array<std::string_view, 6> kMethods{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    return std::ranges::find(kMethods, method) != kMethods.end();
}

}  // namespace wa::http
