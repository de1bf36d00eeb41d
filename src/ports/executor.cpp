#include "ports/executor.h"

namespace wa {

std::string_view to_string(StopReason reason) {
    switch (reason) {
        case StopReason::kTimeout: return "timeout";
        case StopReason::kDeadline: return "deadline";
        case StopReason::kCancelled: return "cancelled";
        case StopReason::kPreempted: return "preempted";
        case StopReason::kShutdown: return "shutdown";
        case StopReason::kPartitionRevoked: return "partition_revoked";
        case StopReason::kSuperseded: return "superseded";
    }
    return "cancelled";
}

}  // namespace wa
