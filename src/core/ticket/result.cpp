#include "core/ticket/result.h"

namespace wa {

std::string_view to_string(Outcome outcome) {
    switch (outcome) {
        case Outcome::kCompleted: return "completed";
        case Outcome::kExecutionFailed: return "execution_failed";
        case Outcome::kTimeout: return "timeout";
        case Outcome::kDeadlineExceeded: return "deadline_exceeded";
        case Outcome::kDependencyFailed: return "dependency_failed";
        case Outcome::kDependencyTimeout: return "dependency_timeout";
        case Outcome::kCancelled: return "cancelled";
        case Outcome::kPreempted: return "preempted";
        case Outcome::kInvalid: return "invalid";
    }
    return "invalid";
}

}  // namespace wa
