// Runs one client command: everything on the command line but `dev` and `run`.
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/session.h"

namespace wa::cli {

struct ClientContext {
    Console& console;
    const Clock& clock;
    Random& random;
    config::Environment environment;
    BuildInfo build;
};

// Gives the exit code (exit_codes.h). DevCommand and RunCommand are not for here (WA_CHECK).
[[nodiscard]] int run_client(const Invocation& invocation, const ClientContext& context);

}  // namespace wa::cli
