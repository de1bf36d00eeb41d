// The log stream of a container without a terminal, as the Engine API sends it: frames of 8 bytes (stream, three zero
// bytes, length as 32 bits big-endian) and their payload (contract/executors.md 6.4). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ports/task_log.h"

namespace wa::docker {

class LogFrames {
public:
    using Take = std::function<void(TaskLogStream, std::string_view)>;

    // Bytes as they come, cut anywhere; the payload is handed on at once, so that no frame is ever held as a whole.
    // What the engine itself says in the stream (its stream 3) comes as kWorker. kMalformed: these are no frames;
    // nothing is taken any more.
    [[nodiscard]] Result<void> feed(std::string_view bytes, const Take& take);
    // No frame is cut off.
    [[nodiscard]] bool complete() const { return header_size_ == 0 && left_ == 0 && !broken_; }

private:
    static constexpr std::size_t kHeader = 8;
    [[nodiscard]] Result<void> begin_frame();

    std::array<char, kHeader> header_{};
    std::size_t header_size_ = 0;
    std::uint32_t left_ = 0;  // of the payload
    TaskLogStream stream_ = TaskLogStream::kStdout;
    bool broken_ = false;
};

}  // namespace wa::docker
