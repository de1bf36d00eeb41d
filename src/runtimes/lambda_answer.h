// What comes back from Lambda: what a function answers, the end of its log, why a call is refused
// (contract/executors.md 6.5). Pure; everything in it is the function's or the service's word and not trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http_client/http_client.h"

namespace wa::lambda {

// The answer of a function: an object with exit_code (or exitCode), stdout (or output), stderr, error (or
// errorMessage); anything else is what it printed.
struct FunctionAnswer {
    std::optional<std::int32_t> exit_code;
    bool bad_exit_code = false;  // it says one that is no number
    std::string out;
    std::string err;
    std::string error;       // in words
    std::string error_type;  // "ValueError", "Sandbox.Timedout"
    std::vector<std::string> trace;
};
[[nodiscard]] FunctionAnswer read_answer(std::string_view body);

// The last 4 KiB of the log, and what its REPORT line says.
struct LogTail {
    std::vector<std::string> lines;
    std::optional<std::uint64_t> billed_ms;
    std::optional<std::uint64_t> memory_mb;
    std::optional<std::uint64_t> memory_used_mb;
};
// Of the header X-Amz-Log-Result. What is no Base64 is no log.
[[nodiscard]] LogTail read_log_tail(std::string_view header);

enum class RefusalKind : std::uint8_t {
    kThrottled,    // not run; later it may
    kCredentials,  // not run: keys that are wrong, or not good any more
    kExpired,      // the same, and new ones may do
    kForbidden,    // not run
    kNotFound,     // not run
    kInvalid,      // not run
    kService,      // of the service: whether it was run is not known
};
struct Refusal {
    RefusalKind kind = RefusalKind::kService;
    std::string type;     // "ResourceNotFoundException"; may be empty
    std::string message;  // AWS's words; they may quote what was sent
};
// Of an answer whose status is not 2xx.
[[nodiscard]] Refusal read_refusal(const http::Response& response);

}  // namespace wa::lambda
