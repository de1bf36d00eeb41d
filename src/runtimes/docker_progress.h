// What the Engine API streams while it pulls an image: JSON objects, one a line, with status 200 even when the pull
// fails; then a line has an "error" (contract/executors.md 6.4). Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa::docker {

class PullProgress {
public:
    static constexpr std::size_t kMaxLine = 64 * 1024;

    // Bytes as they come, cut anywhere. kMalformed, kLimitExceeded (a line that is too long): the stream cannot be
    // trusted any more.
    [[nodiscard]] Result<void> feed(std::string_view bytes);
    // After the last byte.
    [[nodiscard]] Result<void> finish();

    // The engine's words when the pull failed, and the HTTP status that it gives with them, if it does.
    [[nodiscard]] const std::optional<std::string>& failure() const { return failure_; }
    [[nodiscard]] std::optional<int> failure_status() const { return failure_status_; }
    // The last thing that was said: "Downloading", "Status: Downloaded newer image for …".
    [[nodiscard]] const std::string& status() const { return status_; }

private:
    [[nodiscard]] Result<void> take_line(std::string_view line);

    std::string line_;
    std::string status_;
    std::optional<std::string> failure_;
    std::optional<int> failure_status_;
};

}  // namespace wa::docker
