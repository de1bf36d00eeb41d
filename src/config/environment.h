// The one place where the process reads its environment.
#pragma once

#include "config/settings.h"

namespace wa::config {

// A copy of the process's environment as it is now. Call it once, in main, before threads exist.
[[nodiscard]] Environment process_environment();

// Reads a small text file (secret, env file, configuration). Errors: kNotFound, kNotAllowed, kLimitExceeded,
// kUnavailable.
[[nodiscard]] Result<std::string> read_small_file(const std::string& path, std::size_t limit = 1024 * 1024);

}  // namespace wa::config
