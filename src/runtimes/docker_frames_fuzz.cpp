// However a log stream is cut into pieces, the same comes out of it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "runtimes/docker_frames.h"

namespace {

struct Taken {
    std::string out;
    std::string err;
    std::string engine;
    bool good = true;
    bool complete = false;

    friend bool operator==(const Taken&, const Taken&) = default;
};

Taken take(std::string_view bytes, std::size_t piece) {
    Taken taken;
    wa::docker::LogFrames frames;
    for (std::size_t at = 0; at < bytes.size() && taken.good; at += piece) {
        taken.good = frames
                         .feed(bytes.substr(at, piece),
                               [&](wa::TaskLogStream stream, std::string_view payload) {
                                   if (stream == wa::TaskLogStream::kStdout) taken.out += payload;
                                   if (stream == wa::TaskLogStream::kStderr) taken.err += payload;
                                   if (stream == wa::TaskLogStream::kWorker) taken.engine += payload;
                               })
                         .has_value();
    }
    taken.complete = frames.complete();
    return taken;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.empty()) return 0;
    const std::size_t piece = 1 + static_cast<unsigned char>(text.front()) % 32;
    const std::string_view bytes = text.substr(1);
    WA_CHECK(take(bytes, piece) == take(bytes, bytes.size() + 1), "pieces and the whole are read alike");
    return 0;
}
