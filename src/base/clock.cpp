#include "base/clock.h"

namespace wa {

MonoTime SystemClock::now() const {
    return std::chrono::steady_clock::now();
}

EpochMillis SystemClock::wall_now() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace wa
