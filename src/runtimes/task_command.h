// What the commands of tickets have in common, wherever they run.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/codec/parameters.h"
#include "core/ticket/result.h"

namespace wa {

// parameters.retry_on_exit_codes: "any", or codes from 1 to 255.
struct RetryCodes {
    bool any = false;
    std::set<int> codes;

    [[nodiscard]] bool includes(int exit_code) const { return exit_code != 0 && (any || codes.contains(exit_code)); }
};
[[nodiscard]] Result<RetryCodes> read_retry_codes(const Parameters& parameters);

// "exit code 3", "exit code 137 (signal 9)": shells and engines add 128 to the signal that ended a process.
[[nodiscard]] std::string exit_text(int exit_code);

// Values that the ticket itself calls secret: all of `secret`, those of `variables` with such names, and those of such
// options in `words` (argv). Refused when they are more than a mask can look for.
[[nodiscard]] Result<std::vector<std::string>> find_secrets(const Parameters& parameters,
                                                            const std::vector<std::string>& words,
                                                            std::initializer_list<const StringMap*> secret,
                                                            std::initializer_list<const StringMap*> variables);

// The command as one line for people, secrets masked.
[[nodiscard]] std::string shown_command(const std::vector<std::string>& words, const std::vector<std::string>& secrets);

}  // namespace wa
