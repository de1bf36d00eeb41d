// What one answer, or its absence, says: may another try help, was the request acted upon, is the other side there.
// Pure. Rules: contract/executors.md 1.5 (the classes of its last table); RFC 9110 for what a status promises.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "http_client/http_client.h"

namespace wa::http {

enum class ActedUpon : std::uint8_t {
    kNo,        // certainly not: nothing was sent, or it was refused for now (408, 425, 429, 503 with Retry-After)
    kAnswered,  // what became of it is in the answer
    kUnknown,   // it was sent, and there is no answer, or one of somebody in between (502, 503, 504)
};

struct Verdict {
    bool transient = false;    // another try may help
    bool unreachable = false;  // the way there is closed: counts against the place as a whole
    bool timed_out = false;
    bool ours = false;  // it ended on our side and says nothing about the place
    ActedUpon acted_upon = ActedUpon::kAnswered;
    std::optional<Duration> wait{};  // asked for by the other side, of everybody
};

// `sent`: Call::request_sent().
[[nodiscard]] Verdict judge(const Result<Response>& result, bool sent, EpochMillis now);

// GET, HEAD, PUT, DELETE, OPTIONS, TRACE: twice is the same as once.
[[nodiscard]] bool is_idempotent(std::string_view method);

}  // namespace wa::http
