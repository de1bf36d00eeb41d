// The one error type of the project, and Result<T>.
//
// An Error answers four questions by type, never by text: what class of thing happened (ErrorCode), may trying again
// help (Retry), whose fault is it (Fault), and who said so (origin). The message is for people and names what to do
// where it can. Errors are values; exceptions do not cross a folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace wa {

enum class ErrorCode : std::uint8_t {
    kInvalidArgument,  // input is well-formed but not acceptable (wrong type, out of range, unknown field)
    kMalformed,        // bytes could not be parsed at all
    kNotFound,
    kConflict,          // exists already, or is in the wrong state for the request
    kNotAllowed,        // refused by policy (allow-list, authentication, Host/Origin check)
    kUnsupported,       // a task type, runtime or format that this build does not serve
    kLimitExceeded,     // over a documented bound
    kUnavailable,       // the other side cannot be reached or refuses to work now
    kTimeout,           // an attempt ran out of its time
    kDeadlineExceeded,  // the ticket ran out of its time
    kCancelled,
    kExecutionFailed,  // the work itself ran and failed (exit code, red tests)
    kDependencyFailed,
    kDependencyTimeout,
    kInterrupted,  // the worker went away in the middle
    kDiskFull,
    kCorrupt,   // stored data is not what it must be
    kInternal,  // a defect of ours
};

enum class Retry : std::uint8_t { kNever, kAfterBackoff, kAfterHint };

enum class Fault : std::uint8_t {
    kTask,     // the user's work: exit code, failed tests
    kLimit,    // timeout, deadline, out of memory, output limit
    kService,  // a back-end or another service
    kWorker,   // this worker: lost, drained, defect
    kInput,    // the ticket itself: schema, parameters
};

std::string_view to_string(ErrorCode code);
std::string_view to_string(Fault fault);

struct Error {
    ErrorCode code = ErrorCode::kInternal;
    Retry retry = Retry::kNever;
    Fault fault = Fault::kWorker;
    std::string origin;   // who said it: "local", "store", "ticket"
    std::string message;  // one sentence for people
    std::string field;    // the input field it is about, empty when none ("sla.timeout_ms")
    std::string fix;      // what the reader can do, empty when unknown
    std::optional<std::chrono::milliseconds> retry_after{};
    std::shared_ptr<const Error> cause{};

    // The whole chain in one line: "submit: store: disk full".
    [[nodiscard]] std::string describe() const;
    // The same error seen one level up: `context` goes in front, this error becomes the cause.
    [[nodiscard]] Error in(std::string_view context) &&;
    [[nodiscard]] bool retryable() const { return retry != Retry::kNever; }
};

template <class T>
using Result = tl::expected<T, Error>;
using Failure = tl::unexpected<Error>;

// Short forms for the common shapes.
[[nodiscard]] Failure fail(ErrorCode code, std::string origin, std::string message);
[[nodiscard]] Failure invalid(std::string field, std::string message);  // kInvalidArgument, Fault::kInput
[[nodiscard]] Error make_error(ErrorCode code, Retry retry, Fault fault, std::string origin, std::string message);

}  // namespace wa

#define WA_CONCAT_INNER(a, b) a##b
#define WA_CONCAT(a, b) WA_CONCAT_INNER(a, b)
// Binds the value of `expr` to `decl`, or returns its error from the enclosing function.
#define WA_TRY(decl, expr)                                                                                             \
    auto WA_CONCAT(wa_result_, __LINE__) = (expr);                                                                     \
    if (!WA_CONCAT(wa_result_, __LINE__)) return ::tl::unexpected(std::move(WA_CONCAT(wa_result_, __LINE__)).error()); \
    decl = std::move(*WA_CONCAT(wa_result_, __LINE__))
// The same for Result<void>.
#define WA_CHECKED(expr)                                                                                   \
    do {                                                                                                   \
        if (auto wa_checked = (expr); !wa_checked) return ::tl::unexpected(std::move(wa_checked).error()); \
    } while (false)
