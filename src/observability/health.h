// Health that means progress: every loop of the process ticks, and one that has not ticked for its limit is named.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace wa::observability {

inline constexpr Duration kStallLimit = std::chrono::seconds(10);

// One loop's sign of life. tick() from the loop, a few times within the limit, also when idle.
class Pulse {
public:
    Pulse(std::string name, const Clock& clock, Duration limit);
    void tick();
    // A loop that has ended on purpose is not missed.
    void retire() { last_ = kRetired; }
    [[nodiscard]] const std::string& name() const { return name_; }
    // How long it has been silent, when that is longer than allowed.
    [[nodiscard]] std::optional<Duration> stalled() const;

private:
    static constexpr std::int64_t kRetired = -1;
    std::string name_;
    const Clock& clock_;
    Duration limit_;
    std::atomic<std::int64_t> last_;
};

struct CheckResult {
    std::string name;
    bool good = true;
    std::string detail;  // why not; empty when good
};

// Any thread. Pulses and checks stay for the life of this object.
class Health {
public:
    explicit Health(const Clock& clock) : clock_(clock) {}
    Health(const Health&) = delete;
    Health& operator=(const Health&) = delete;

    // Counts as ticked now. The reference stays valid.
    Pulse& add_pulse(std::string name, Duration limit = kStallLimit);
    // Something that must be right for the process to be alive (the store) or to be ready (drain, disk). Nothing =
    // good; else the reason. Called on the HTTP thread; must not block.
    using Check = std::function<std::optional<std::string>()>;
    void add_liveness(std::string name, Check check);
    void add_readiness(std::string name, Check check);

    // Pulses and liveness checks, those that are good too.
    [[nodiscard]] std::vector<CheckResult> liveness() const;
    [[nodiscard]] std::vector<CheckResult> readiness() const;
    [[nodiscard]] static bool all_good(const std::vector<CheckResult>& results);

private:
    struct Named {
        std::string name;
        Check check;
    };
    [[nodiscard]] static std::vector<CheckResult> run(const std::vector<Named>& checks);

    const Clock& clock_;
    mutable std::mutex mutex_;
    std::deque<Pulse> pulses_;
    std::vector<Named> liveness_;
    std::vector<Named> readiness_;
};

}  // namespace wa::observability
