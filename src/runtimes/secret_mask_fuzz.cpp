// However output is cut into pieces, what is shown is the same, and no secret is in it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "runtimes/secret_mask.h"

namespace {

// The input: how long pieces are, two secrets behind their lengths, then the output.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
    std::size_t number() { return rest_.empty() ? 0 : static_cast<unsigned char>(take(1).front()); }
    std::string_view take(std::size_t size) {
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(taken.size());
        return taken;
    }
    [[nodiscard]] std::string_view rest() const { return rest_; }

private:
    std::string_view rest_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::size_t piece = 1 + input.number() % 16;
    std::vector<std::string> secrets;
    for (int index = 0; index < 2; ++index)
        secrets.emplace_back(input.take(input.number() % 64));
    const wa::SecretMask mask(secrets);
    const std::string_view text = input.rest();
    const std::string whole = mask.apply(text);
    wa::MaskingStream stream(mask);
    std::string pieces;
    for (std::size_t at = 0; at < text.size(); at += piece)
        pieces += stream.feed(text.substr(at, piece));
    pieces += stream.finish();
    WA_CHECK(pieces == whole, "pieces and the whole are masked alike");
    for (const std::string& secret : secrets) {
        // What stands for a secret may itself be one, or complete one.
        if (secret.size() >= wa::kMinSecretBytes && secret.find('*') == std::string::npos)
            WA_CHECK(whole.find(secret) == std::string::npos, "no secret is shown");
    }
    return 0;
}
