#include "runtimes/stop_error.h"

#include <array>
#include <cstdio>

namespace wa {

Error stop_error(StopReason reason, std::string origin) {
    const auto error = [&](ErrorCode code, Retry retry, Fault fault, const char* message) {
        return make_error(code, retry, fault, std::move(origin), message);
    };
    switch (reason) {
        case StopReason::kTimeout:
            return error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit, "the attempt's time was over");
        case StopReason::kDeadline:
            return error(ErrorCode::kDeadlineExceeded, Retry::kNever, Fault::kLimit, "the ticket's deadline passed");
        case StopReason::kCancelled: return error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "cancelled");
        case StopReason::kPreempted: return error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "preempted");
        case StopReason::kShutdown:
            return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker, "the worker is shutting down");
        case StopReason::kPartitionRevoked:
            return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker,
                         "the partition went to another worker");
        case StopReason::kSuperseded:
            return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker,
                         "superseded by another attempt");
    }
    return error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "cancelled");
}

std::string seconds_text(Duration duration) {
    std::array<char, 32> text{};
    const int length = std::snprintf(text.data(), text.size(), "%.3f", to_seconds(duration));
    return std::string(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
}

}  // namespace wa
