// Time as a value that is handed in. Nothing outside base/ and app/ asks the system for the time.
#pragma once

#include <chrono>
#include <cstdint>

namespace wa {

using Duration = std::chrono::nanoseconds;
using MonoTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
// Milliseconds since 1970-01-01 UTC; for people and wire formats only, never for measuring.
using EpochMillis = std::int64_t;

class Clock {
public:
    virtual ~Clock() = default;
    // Never goes back. Stands still while the machine is suspended is not promised either way.
    [[nodiscard]] virtual MonoTime now() const = 0;
    // May jump in both directions.
    [[nodiscard]] virtual EpochMillis wall_now() const = 0;
};

class SystemClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override;
    [[nodiscard]] EpochMillis wall_now() const override;
};

inline std::int64_t to_millis(Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}
inline double to_seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

}  // namespace wa
