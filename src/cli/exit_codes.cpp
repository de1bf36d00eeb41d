#include "cli/exit_codes.h"

namespace wa::cli {

int exit_code(const Error& error) {
    switch (error.code) {
        case ErrorCode::kNotAllowed: return kExitNotAllowed;
        case ErrorCode::kNotFound: return kExitNotFound;
        // 503 comes from a server that was reached.
        case ErrorCode::kUnavailable: return error.origin == "connect" ? kExitNoServer : kExitOther;
        case ErrorCode::kTimeout:
        case ErrorCode::kDeadlineExceeded: return kExitTimeout;
        case ErrorCode::kCancelled: return kExitInterrupted;
        case ErrorCode::kInvalidArgument:
            // Only what the user typed is wrong usage; a value inside a file or a request is not.
            return error.field.starts_with("--") || error.field == "ID" ? kExitUsage : kExitOther;
        case ErrorCode::kExecutionFailed:
        case ErrorCode::kDependencyFailed:
        case ErrorCode::kDependencyTimeout: return kExitWorkFailed;
        case ErrorCode::kMalformed:
        case ErrorCode::kConflict:
        case ErrorCode::kUnsupported:
        case ErrorCode::kLimitExceeded:
        case ErrorCode::kInterrupted:
        case ErrorCode::kDiskFull:
        case ErrorCode::kCorrupt:
        case ErrorCode::kInternal: return kExitOther;
    }
    return kExitOther;
}

}  // namespace wa::cli
