// Waiting for plans and tickets, with a live view (plans watch, tickets watch, submit --wait and --follow).
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace wa::cli {

struct WatchTargets {
    std::vector<std::string> plans;    // full ids
    std::vector<std::string> tickets;  // full ids, of no plan above
};
struct WatchOptions {
    bool follow = false;  // show the output of the tickets on stdout
    bool allow_simulated = false;
    bool view_on_out = false;  // the view itself is the data (watch); else it is progress and goes to stderr
};

// Until everything has ended, --timeout is over, or Ctrl-C. Gives the exit code: 0, 3, 6, 7, 130. When something
// failed, the last line on stderr names the ticket, its exit code, its last words and the command that runs it again.
[[nodiscard]] int watch(Session& session, const WatchTargets& targets, const WatchOptions& options);

}  // namespace wa::cli
