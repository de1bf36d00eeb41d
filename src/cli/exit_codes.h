// Exit codes of client commands (experience.md 2.3).
#pragma once

#include "base/error.h"

namespace wa::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitOther = 1;
inline constexpr int kExitUsage = 2;       // also: validate found errors
inline constexpr int kExitWorkFailed = 3;  // only with --wait, watch, --exit-code
inline constexpr int kExitNotAllowed = 4;
inline constexpr int kExitNotFound = 5;  // also: ambiguous
inline constexpr int kExitTimeout = 6;
inline constexpr int kExitNoServer = 7;
inline constexpr int kExitBadConfig = 78;
inline constexpr int kExitInterrupted = 130;

[[nodiscard]] int exit_code(const Error& error);

}  // namespace wa::cli
