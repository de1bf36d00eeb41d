#include "base/error.h"

namespace wa {

std::string_view to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument: return "invalid_argument";
        case ErrorCode::kMalformed: return "malformed";
        case ErrorCode::kNotFound: return "not_found";
        case ErrorCode::kConflict: return "conflict";
        case ErrorCode::kNotAllowed: return "not_allowed";
        case ErrorCode::kUnsupported: return "unsupported";
        case ErrorCode::kLimitExceeded: return "limit_exceeded";
        case ErrorCode::kUnavailable: return "unavailable";
        case ErrorCode::kTimeout: return "timeout";
        case ErrorCode::kDeadlineExceeded: return "deadline_exceeded";
        case ErrorCode::kCancelled: return "cancelled";
        case ErrorCode::kExecutionFailed: return "execution_failed";
        case ErrorCode::kDependencyFailed: return "dependency_failed";
        case ErrorCode::kDependencyTimeout: return "dependency_timeout";
        case ErrorCode::kInterrupted: return "interrupted";
        case ErrorCode::kDiskFull: return "disk_full";
        case ErrorCode::kCorrupt: return "corrupt";
        case ErrorCode::kInternal: return "internal";
    }
    return "internal";
}

std::string_view to_string(Fault fault) {
    switch (fault) {
        case Fault::kTask: return "user";
        case Fault::kLimit: return "limit";
        case Fault::kService: return "service";
        case Fault::kWorker: return "worker";
        case Fault::kInput: return "input";
    }
    return "worker";
}

std::string Error::describe() const {
    std::string text = message;
    for (const Error* inner = cause.get(); inner != nullptr; inner = inner->cause.get()) {
        text += ": ";
        text += inner->message;
    }
    return text;
}

Error Error::in(std::string_view context) && {
    Error outer{code, retry, fault, origin, std::string(context), field, fix, retry_after, nullptr};
    outer.cause = std::make_shared<const Error>(std::move(*this));
    return outer;
}

Error make_error(ErrorCode code, Retry retry, Fault fault, std::string origin, std::string message) {
    return Error{code, retry, fault, std::move(origin), std::move(message), {}, {}, {}, {}};
}

Failure fail(ErrorCode code, std::string origin, std::string message) {
    return Failure(make_error(code, Retry::kNever, Fault::kWorker, std::move(origin), std::move(message)));
}

Failure invalid(std::string field, std::string message) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "input", std::move(message));
    error.field = std::move(field);
    return Failure(std::move(error));
}

}  // namespace wa
