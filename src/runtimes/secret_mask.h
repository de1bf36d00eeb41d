// Keeps values that are known to be secret out of what a task prints.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace wa {

inline constexpr std::size_t kMinSecretBytes = 6;          // shorter values would mask half of every text
inline constexpr std::size_t kMaxSecretBytes = 32 * 1024;  // of all secrets of one ticket; its size bounds ours
inline constexpr std::string_view kMasked = "***";

// A secret is also recognised as Base64 (plain or for URLs, wherever in the encoded bytes it begins) and
// percent-encoded. All of them are looked for at once, in time that depends on the text's length only.
class SecretMask {
public:
    explicit SecretMask(const std::vector<std::string>& secrets = {});
    [[nodiscard]] bool empty() const { return nodes_.size() <= 1; }
    // Every byte that belongs to an occurrence is replaced; what overlaps becomes one "***".
    [[nodiscard]] std::string apply(std::string_view text) const;

private:
    friend class MaskingStream;
    // A node of the automaton of Aho and Corasick: a prefix of some secret.
    struct Node {
        std::uint32_t first_child = 0;  // 0 = none
        std::uint32_t next_sibling = 0;
        std::uint32_t shorter = 0;  // the longest other prefix that this one ends with
        std::uint32_t depth = 0;
        std::uint32_t ends = 0;  // length of the longest secret that ends here; 0 = none
        char byte = 0;
    };
    void add(std::string_view secret);
    void link();
    [[nodiscard]] std::uint32_t child(std::uint32_t node, char byte) const;
    [[nodiscard]] std::uint32_t step(std::uint32_t node, char byte) const;

    std::vector<Node> nodes_{Node{}};
    std::vector<std::uint32_t> roots_;  // children of the first node by their byte
};

// The same over pieces that may cut a secret in two. Holds back at most the longest secret less one byte, and what
// overlaps with it.
class MaskingStream {
public:
    explicit MaskingStream(const SecretMask& mask) : mask_(mask) {}
    [[nodiscard]] std::string feed(std::string_view piece);
    [[nodiscard]] std::string finish();

private:
    struct Hit {
        std::uint64_t begin;
        std::uint64_t end;
    };
    void note(std::uint64_t begin, std::uint64_t end);
    [[nodiscard]] std::string give_up(std::uint64_t until);

    const SecretMask& mask_;
    std::uint32_t node_ = 0;
    std::uint64_t at_ = 0;       // bytes seen
    std::uint64_t held_at_ = 0;  // place of the first held byte
    std::string held_;
    std::deque<Hit> hits_;  // in order, apart from each other
};

}  // namespace wa
