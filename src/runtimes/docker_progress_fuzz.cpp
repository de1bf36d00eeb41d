// However the progress of a pull is cut into pieces, the same is read from it, in bounded memory.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "runtimes/docker_progress.h"

namespace {

bool read(std::string_view bytes, std::size_t piece, wa::docker::PullProgress& progress) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        if (!progress.feed(bytes.substr(at, piece))) return false;
    }
    return progress.finish().has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.empty()) return 0;
    wa::docker::PullProgress pieces;
    wa::docker::PullProgress whole;
    const bool good = read(text.substr(1), 1 + static_cast<unsigned char>(text.front()) % 64, pieces);
    WA_CHECK(good == read(text.substr(1), size, whole), "pieces and the whole are read alike");
    WA_CHECK(pieces.failure() == whole.failure(), "and say the same");
    WA_CHECK(pieces.status() == whole.status(), "and say the same");
    return 0;
}
