// The environment of a task: a fixed base and what the ticket may add to it. Nothing of the worker's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"

namespace wa {

inline constexpr std::size_t kMaxVariableBytes = 32 * 1024;

struct EnvironmentBase {
    std::string path;
    std::string home;
    std::string tmp;
};

// Checks the names and values that a ticket asks for. `allowed`: patterns, of which a name must fit one. `denied`:
// further names that belong to the worker. The error is permanent and names the variable, never its value.
[[nodiscard]] Result<void> check_variables(const StringMap& variables, const std::vector<std::string>& allowed,
                                           const std::vector<std::string>& denied);
// "NAME=value" entries, sorted by name.
[[nodiscard]] std::vector<std::string> make_environment(const EnvironmentBase& base, const StringMap& variables);

}  // namespace wa
