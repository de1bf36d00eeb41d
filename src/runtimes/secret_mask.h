// Keeps values that are known to be secret out of what a task prints.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wa {

inline constexpr std::size_t kMinSecretBytes = 6;  // shorter values would mask half of every text
inline constexpr std::string_view kMasked = "***";

// A secret is also recognised as Base64 (plain or for URLs, wherever in the encoded bytes it begins) and
// percent-encoded.
class SecretMask {
public:
    explicit SecretMask(std::vector<std::string> secrets = {});
    [[nodiscard]] bool empty() const { return secrets_.empty(); }
    [[nodiscard]] std::string apply(std::string_view text) const;

private:
    friend class MaskingStream;
    // Masks all of `text` but a rest at its end that may be the beginning of a secret; returns the rest's length.
    std::size_t mask_into(std::string_view text, bool last, std::string& out) const;

    std::vector<std::string> secrets_;                     // longest first
    std::vector<std::vector<std::size_t>> by_first_byte_;  // which of them begin with it, in their order
};

// The same over pieces that may cut a secret in two. Holds back at most the longest secret less one byte.
class MaskingStream {
public:
    explicit MaskingStream(const SecretMask& mask) : mask_(mask) {}
    [[nodiscard]] std::string feed(std::string_view piece);
    [[nodiscard]] std::string finish();

private:
    const SecretMask& mask_;
    std::string held_;
};

}  // namespace wa
