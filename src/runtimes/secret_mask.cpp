#include "runtimes/secret_mask.h"

#include <algorithm>
#include <utility>

namespace wa {

SecretMask::SecretMask(std::vector<std::string> secrets) : secrets_(std::move(secrets)) {
    std::erase_if(secrets_, [](const std::string& secret) { return secret.size() < kMinSecretBytes; });
    // The longest first, so that a secret which begins with another one is masked as a whole.
    std::sort(secrets_.begin(), secrets_.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
    secrets_.erase(std::unique(secrets_.begin(), secrets_.end()), secrets_.end());
    for (const std::string& secret : secrets_) {
        if (first_bytes_.find(secret.front()) == std::string::npos) first_bytes_ += secret.front();
    }
}

std::size_t SecretMask::mask_into(std::string_view text, bool last, std::string& out) const {
    std::size_t at = 0;
    while (at < text.size()) {
        // Jump to the next place where any secret may begin.
        std::size_t next = text.size();
        for (const std::string& secret : secrets_)
            next = std::min(next, text.find(secret.front(), at));
        out.append(text.substr(at, next - at));
        at = next;
        if (at == text.size()) break;
        const std::string_view rest = text.substr(at);
        bool handled = false;
        for (const std::string& secret : secrets_) {
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
