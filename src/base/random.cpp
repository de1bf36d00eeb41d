#include "base/random.h"

#include <sys/random.h>

#include <bit>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "base/check.h"

namespace wa {

std::uint64_t Random::below(std::uint64_t bound) {
    WA_CHECK(bound > 0, "below() needs a positive bound");
    // Lemire's multiply-shift; the bias is below 2^-64 * bound, which no caller can observe.
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64U);
}

std::int64_t Random::between(std::int64_t low, std::int64_t high) {
    WA_CHECK(low <= high, "between() needs low <= high");
    const std::uint64_t span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + (span == 0 ? next() : below(span)));
}

double Random::unit() {
    return static_cast<double>(next() >> 11U) * 0x1.0p-53;
}

SeededRandom::SeededRandom(std::uint64_t seed) {
    for (auto& word : state_) {
        seed += 0x9e3779b97f4a7c15ULL;
        std::uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
        word = mixed ^ (mixed >> 31U);
    }
}

std::uint64_t SeededRandom::next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

std::uint64_t SystemRandom::next() {
    std::uint64_t value = 0;
    const ssize_t got = ::getrandom(&value, sizeof value, 0);
    WA_CHECK(got == static_cast<ssize_t>(sizeof value), "the kernel gives random bytes");
    return value;
}

std::string uuid4(Random& random) {
    boost::uuids::uuid id{};
    for (std::size_t half = 0; half < 2; ++half) {
        std::uint64_t bits = random.next();
        for (std::size_t i = 0; i < 8; ++i, bits >>= 8U)
            id.data[half * 8 + i] = static_cast<std::uint8_t>(bits);
    }
    id.data[6] = static_cast<std::uint8_t>((id.data[6] & 0x0fU) | 0x40U);
    id.data[8] = static_cast<std::uint8_t>((id.data[8] & 0x3fU) | 0x80U);
    return boost::uuids::to_string(id);
}

std::string uuid5(std::string_view name) {
    // A namespace of our own, so that our ids never collide with another program's for the same name.
    static constexpr boost::uuids::uuid kNamespace{
        {0x5d, 0x1c, 0x0b, 0x0e, 0x7b, 0x52, 0x4f, 0x0a, 0x9c, 0x41, 0x36, 0x1f, 0x2a, 0x77, 0x90, 0xd8}};
    const boost::uuids::name_generator_sha1 generator(kNamespace);
    return boost::uuids::to_string(generator(name.data(), name.size()));
}

}  // namespace wa
