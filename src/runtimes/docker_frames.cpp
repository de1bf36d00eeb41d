#include "runtimes/docker_frames.h"

#include <algorithm>

namespace wa::docker {

Result<void> LogFrames::begin_frame() {
    header_size_ = 0;
    const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(header_.at(at)); };
    switch (byte(0)) {
        case 0:  // the engine's own demultiplexer takes it for standard output too
        case 1: stream_ = TaskLogStream::kStdout; break;
        case 2: stream_ = TaskLogStream::kStderr; break;
        case 3: stream_ = TaskLogStream::kWorker; break;
        default: broken_ = true;
    }
    if (broken_ || byte(1) != 0 || byte(2) != 0 || byte(3) != 0) {
        broken_ = true;
        return fail(ErrorCode::kMalformed, "docker", "the log stream is not made of frames");
    }
    left_ = 0;
    for (std::size_t at = 4; at < kHeader; ++at)
        left_ = (left_ << 8U) | byte(at);
    return {};
}

Result<void> LogFrames::feed(std::string_view bytes, const Take& take) {
    while (!bytes.empty()) {
        if (broken_) return fail(ErrorCode::kMalformed, "docker", "the log stream is not made of frames");
        if (left_ > 0) {
            const std::string_view payload = bytes.substr(0, left_);
            bytes.remove_prefix(payload.size());
            left_ -= static_cast<std::uint32_t>(payload.size());
            take(stream_, payload);
            continue;
        }
        const std::size_t taken = std::min(bytes.size(), kHeader - header_size_);
        std::copy_n(bytes.data(), taken, header_.begin() + static_cast<std::ptrdiff_t>(header_size_));
        header_size_ += taken;
        bytes.remove_prefix(taken);
        if (header_size_ == kHeader) WA_CHECKED(begin_frame());
    }
    return {};
}

}  // namespace wa::docker
