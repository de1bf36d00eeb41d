// How long to wait before the next attempt: exponential with full jitter, the other side's hint obeyed. Pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/random.h"

namespace wa {

struct BackoffPolicy {
    Duration base = std::chrono::seconds(2);  // RETRY_BACKOFF_BASE_SECONDS
    Duration cap = std::chrono::seconds(60);  // RETRY_BACKOFF_MAX_SECONDS
};

// `failures` counts the failed attempts so far, from 1. Uniform in [0, min(cap, base * 2^(failures-1))]; never less
// than `hint` (Retry-After).
inline Duration next_backoff(const BackoffPolicy& policy, std::int32_t failures, std::optional<Duration> hint,
                             Random& random) {
    Duration ceiling = policy.base;
    for (std::int32_t i = 1; i < failures && ceiling < policy.cap; ++i)
        ceiling *= 2;
    ceiling = std::min(ceiling, policy.cap);
    const Duration wait{random.between(0, std::max<std::int64_t>(0, ceiling.count()))};
    return hint ? std::max(wait, *hint) : wait;
}

}  // namespace wa
