#include "observability/health.h"

#include <algorithm>

namespace wa::observability {

Pulse::Pulse(std::string name, const Clock& clock, Duration limit)
    : name_(std::move(name)), clock_(clock), limit_(limit), last_(clock.now().time_since_epoch().count()) {}

void Pulse::tick() {
    last_.store(clock_.now().time_since_epoch().count(), std::memory_order_relaxed);
}

std::optional<Duration> Pulse::stalled() const {
    const std::int64_t last = last_.load(std::memory_order_relaxed);
    if (last == kRetired) return std::nullopt;
    const Duration silent(clock_.now().time_since_epoch().count() - last);
    if (silent <= limit_) return std::nullopt;
    return silent;
}

Pulse& Health::add_pulse(std::string name, Duration limit) {
    const std::scoped_lock lock(mutex_);
    return pulses_.emplace_back(std::move(name), clock_, limit);
}

void Health::add_liveness(std::string name, Check check) {
    const std::scoped_lock lock(mutex_);
    liveness_.push_back({std::move(name), std::move(check)});
}

void Health::add_readiness(std::string name, Check check) {
    const std::scoped_lock lock(mutex_);
    readiness_.push_back({std::move(name), std::move(check)});
}

std::vector<CheckResult> Health::run(const std::vector<Named>& checks) {
    std::vector<CheckResult> results;
    results.reserve(checks.size());
    for (const Named& named : checks) {
        std::optional<std::string> wrong = named.check();
        results.push_back({named.name, !wrong.has_value(), std::move(wrong).value_or(std::string())});
    }
    return results;
}

std::vector<CheckResult> Health::liveness() const {
    std::vector<Named> checks;
    std::vector<CheckResult> results;
    {
        const std::scoped_lock lock(mutex_);
        checks = liveness_;
        for (const Pulse& pulse : pulses_) {
            const auto silent = pulse.stalled();
            results.push_back(
                {pulse.name(), !silent.has_value(),
                 silent ? "no sign of life for " + std::to_string(to_millis(*silent) / 1000) + " s" : std::string()});
        }
    }
    for (CheckResult& result : run(checks))
        results.push_back(std::move(result));
    return results;
}

std::vector<CheckResult> Health::readiness() const {
    std::vector<Named> checks;
    {
        const std::scoped_lock lock(mutex_);
        checks = readiness_;
    }
    return run(checks);
}

bool Health::all_good(const std::vector<CheckResult>& results) {
    return std::ranges::all_of(results, &CheckResult::good);
}

}  // namespace wa::observability
