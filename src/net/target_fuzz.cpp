// Any bytes as a request target: never crashes, and what is accepted is decoded text without control characters.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/codec/text.h"
#include "net/access.h"
#include "net/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto target = wa::net::parse_target(text)) {
        if (target->segments.size() > wa::net::kMaxSegments) std::abort();
        for (const auto& piece : target->segments) {
            if (piece.empty() || piece == "." || piece == ".." || !wa::is_utf8(piece)) std::abort();
            for (const char c : piece) {
                if (static_cast<unsigned char>(c) < 0x20) std::abort();
            }
        }
    }
    const wa::net::Authority authority = wa::net::parse_authority(text);
    if (authority.valid && authority.host.empty()) std::abort();
    (void)wa::net::bearer_token(text);
    (void)wa::net::json_quote(text);
    return 0;
}
