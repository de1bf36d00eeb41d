// Chance as a value that is handed in: the same seed gives the same run.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace wa {

class Random {
public:
    virtual ~Random() = default;
    [[nodiscard]] virtual std::uint64_t next() = 0;

    // Uniform in [0, bound); bound > 0.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound);
    // Uniform in [low, high], both included.
    [[nodiscard]] std::int64_t between(std::int64_t low, std::int64_t high);
    // Uniform in [0, 1).
    [[nodiscard]] double unit();
    [[nodiscard]] bool chance(double probability) { return unit() < probability; }
};

// xoshiro256**, seeded by splitmix64. Deterministic; not for secrets.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(std::uint64_t seed);
    [[nodiscard]] std::uint64_t next() override;

private:
    std::array<std::uint64_t, 4> state_{};
};

// From the kernel; good for secrets (tokens) and seeds.
class SystemRandom final : public Random {
public:
    [[nodiscard]] std::uint64_t next() override;
};

// RFC 4122 text forms. uuid5 is deterministic: the same name gives the same id.
[[nodiscard]] std::string uuid4(Random& random);
[[nodiscard]] std::string uuid5(std::string_view name);

}  // namespace wa
