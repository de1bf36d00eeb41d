#include "runtimes/secret_mask.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace wa {

namespace {

// The letters of Base64 that depend on nothing but the secret, when `shift` bytes stand before it in the same group of
// three. At both ends a letter may hold bits of a neighbour: those are left out.
std::string base64_core(std::string_view secret, std::size_t shift, std::string_view alphabet) {
    std::string letters;
    const std::size_t bits = secret.size() * 8;
    // The first letter that begins inside the secret.
    for (std::size_t at = (6 - shift * 8 % 6) % 6; at + 6 <= bits; at += 6) {
        unsigned value = 0;
        for (std::size_t bit = at; bit < at + 6; ++bit) {
            const auto byte = static_cast<unsigned char>(secret[bit / 8]);
            value = value << 1U | (byte >> (7 - bit % 8) & 1U);
        }
        letters += alphabet[value];
    }
    return letters;
}

std::string percent_encoded(std::string_view secret, bool lower_case) {
    const std::string_view hex = lower_case ? "0123456789abcdef" : "0123456789ABCDEF";
    std::string text;
    for (const char c : secret) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '_' || c == '.' || c == '~';
        if (plain) {
            text += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        text += '%';
        text += hex[byte >> 4U];
        text += hex[byte & 15U];
    }
    return text;
}

std::vector<std::string> with_encodings(const std::vector<std::string>& secrets) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    constexpr std::string_view kForUrls = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::vector<std::string> all = secrets;
    for (const std::string& secret : secrets) {
        for (std::size_t shift = 0; shift < 3; ++shift) {
            for (const std::string_view alphabet : {kPlain, kForUrls})
                all.push_back(base64_core(secret, shift, alphabet));
        }
        all.push_back(percent_encoded(secret, false));
        all.push_back(percent_encoded(secret, true));
    }
    return all;
}

}  // namespace

SecretMask::SecretMask(const std::vector<std::string>& secrets) {
    std::vector<std::string> long_enough;
    for (const std::string& secret : secrets) {
        if (secret.size() >= kMinSecretBytes) long_enough.push_back(secret);
    }
    if (long_enough.empty()) return;
    roots_.resize(256);
    for (const std::string& each : with_encodings(long_enough)) {
        if (each.size() >= kMinSecretBytes) add(each);
    }
    link();
}

std::uint32_t SecretMask::child(std::uint32_t node, char byte) const {
    if (node == 0) return roots_[static_cast<unsigned char>(byte)];
    std::uint32_t next = nodes_[node].first_child;
    while (next != 0 && nodes_[next].byte != byte)
        next = nodes_[next].next_sibling;
    return next;
}

void SecretMask::add(std::string_view secret) {
    std::uint32_t node = 0;
    for (const char byte : secret) {
        std::uint32_t next = child(node, byte);
        if (next == 0) {
            next = static_cast<std::uint32_t>(nodes_.size());
            Node made;
            made.byte = byte;
            made.depth = nodes_[node].depth + 1;
            made.next_sibling = nodes_[node].first_child;
            nodes_.push_back(made);
            nodes_[node].first_child = next;
            if (node == 0) roots_[static_cast<unsigned char>(byte)] = next;
        }
        node = next;
    }
    nodes_[node].ends = nodes_[node].depth;
}

// By depth, so that what a node refers to is known.
void SecretMask::link() {
    std::deque<std::uint32_t> open{0};
    while (!open.empty()) {
        const std::uint32_t node = open.front();
        open.pop_front();
        for (std::uint32_t next = nodes_[node].first_child; next != 0; next = nodes_[next].next_sibling) {
            const std::uint32_t shorter = node == 0 ? 0 : step(nodes_[node].shorter, nodes_[next].byte);
            nodes_[next].shorter = shorter;
            nodes_[next].ends = std::max(nodes_[next].ends, nodes_[shorter].ends);
            open.push_back(next);
        }
    }
}

std::uint32_t SecretMask::step(std::uint32_t node, char byte) const {
    for (;;) {
        const std::uint32_t next = child(node, byte);
        if (next != 0 || node == 0) return next;
        node = nodes_[node].shorter;
    }
}

std::string SecretMask::apply(std::string_view text) const {
    if (empty()) return std::string(text);
    MaskingStream stream(*this);
    std::string out = stream.feed(text);
    out += stream.finish();
    return out;
}

// A longer one may begin before the last ones.
void MaskingStream::note(std::uint64_t begin, std::uint64_t end) {
    while (!hits_.empty() && hits_.back().end > begin) {
        begin = std::min(begin, hits_.back().begin);
        hits_.pop_back();
    }
    hits_.push_back(Hit{begin, end});
}

// Everything before `until`, masked. A hit that reaches beyond it waits, for more may overlap with it.
std::string MaskingStream::give_up(std::uint64_t until) {
    for (const Hit& hit : hits_) {
        if (hit.end > until) {
            until = std::min(until, hit.begin);
            break;
        }
    }
    std::string out;
    std::uint64_t from = held_at_;
    while (!hits_.empty() && hits_.front().end <= until) {
        out.append(held_, from - held_at_, hits_.front().begin - from);
        out.append(kMasked);
        from = hits_.front().end;
        hits_.pop_front();
    }
    out.append(held_, from - held_at_, until - from);
    held_.erase(0, until - held_at_);
    held_at_ = until;
    return out;
}

std::string MaskingStream::feed(std::string_view piece) {
    if (mask_.empty()) return std::string(piece);
    held_ += piece;
    for (const char byte : piece) {
        node_ = mask_.step(node_, byte);
        ++at_;
        if (const std::uint32_t length = mask_.nodes_[node_].ends; length > 0) note(at_ - length, at_);
    }
    // What may still be the beginning of a secret is held back.
    return give_up(at_ - mask_.nodes_[node_].depth);
}

std::string MaskingStream::finish() {
    std::string out = give_up(at_);
    node_ = 0;
    return out;
}

}  // namespace wa
