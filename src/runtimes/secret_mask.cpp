#include "runtimes/secret_mask.h"

#include <algorithm>
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

SecretMask::SecretMask(std::vector<std::string> secrets) : secrets_(std::move(secrets)) {
    const auto too_short = [](const std::string& secret) { return secret.size() < kMinSecretBytes; };
    std::erase_if(secrets_, too_short);
    secrets_ = with_encodings(secrets_);
    std::erase_if(secrets_, too_short);
    // The longest first, so that a secret which begins with another one is masked as a whole.
    std::sort(secrets_.begin(), secrets_.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
    secrets_.erase(std::unique(secrets_.begin(), secrets_.end()), secrets_.end());
    by_first_byte_.resize(256);
    for (std::size_t index = 0; index < secrets_.size(); ++index)
        by_first_byte_[static_cast<unsigned char>(secrets_[index].front())].push_back(index);
}

std::size_t SecretMask::mask_into(std::string_view text, bool last, std::string& out) const {
    std::size_t at = 0;
    while (at < text.size()) {
        // Jump to the next place where any secret may begin.
        std::size_t next = at;
        while (next < text.size() && by_first_byte_[static_cast<unsigned char>(text[next])].empty())
            ++next;
        out.append(text.substr(at, next - at));
        at = next;
        if (at == text.size()) break;
        const std::string_view rest = text.substr(at);
        bool handled = false;
        for (const std::size_t index : by_first_byte_[static_cast<unsigned char>(rest.front())]) {
            const std::string& secret = secrets_[index];
            if (rest.starts_with(secret)) {
                out.append(kMasked);
                at += secret.size();
                handled = true;
                break;
            }
            // It may go on in the next piece; a shorter secret here must wait for that answer.
            if (!last && std::string_view(secret).starts_with(rest)) return rest.size();
        }
        if (!handled) out += text[at++];
    }
    return 0;
}

std::string SecretMask::apply(std::string_view text) const {
    if (secrets_.empty()) return std::string(text);
    std::string out;
    out.reserve(text.size());
    mask_into(text, true, out);
    return out;
}

std::string MaskingStream::feed(std::string_view piece) {
    std::string text = std::exchange(held_, {});
    text += piece;
    std::string out;
    const std::size_t rest = mask_.mask_into(text, false, out);
    held_ = text.substr(text.size() - rest);
    return out;
}

std::string MaskingStream::finish() {
    std::string out;
    mask_.mask_into(std::exchange(held_, {}), true, out);
    return out;
}

}  // namespace wa
