// Running one command on this machine for an executor that brings the command itself (TEST): the same isolation,
// limits, kept output and truthful endings as EXECUTE tickets get from the runtime "local".
//
// Threading: all calls on the engine's loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/result.h"
#include "ports/runtime.h"

namespace wa {

// Where a command that has ended was run, and what must be known to read there.
struct EndedJob {
    int directory = -1;  // an open folder (O_PATH)
    EpochMillis began = 0;
    std::vector<std::string> secrets;  // values of the ticket that no text may show
};
// Called once when the command has ended by itself or by a limit, while its folders still exist; not when it never
// began or was stopped. The folder is lent until `done` is called, which must happen (any number of loop turns later)
// for the attempt to end. Whoever reads there reads what a task wrote: nothing in it can be trusted, links least of
// all.
using CollectFiles = std::function<void(EndedJob job, std::function<void()> done)>;

struct LocalJob {
    // Whether these words may run is the caller's decision (its own list of allowed commands); the program is found
    // through LOCAL_RUNTIME_PATH, or named by its absolute path.
    std::vector<std::string> argv;
    StringMap variables;                     // checked like those of EXECUTE tickets
    std::optional<std::string> working_dir;  // the rule of LOCAL_RUNTIME_WORKING_DIR and _ALLOWED_DIRS applies
    std::string inside;                      // and it lies in this folder too, where relative ones begin; may be empty
    Duration timeout{};                      // longest run; 0 = LOCAL_RUNTIME_TIMEOUT_SECONDS
    std::size_t max_output_bytes = 256 * 1024;
    CollectFiles collect;  // may be empty
};

class LocalJobs {
public:
    virtual ~LocalJobs() = default;
    [[nodiscard]] virtual Availability availability() const = 0;
    // Permanent errors only, without side effects: a program that is not there, variables that may not be set.
    [[nodiscard]] virtual Result<void> check_job(const Ticket& ticket, const LocalJob& job) const = 0;
    // Never null. The listener hears exactly once, never from inside this call, unless the attempt is destroyed first.
    [[nodiscard]] virtual std::unique_ptr<RunningAttempt> start_job(const AttemptContext& context, LocalJob job,
                                                                    RuntimeListener& listener) = 0;
};

}  // namespace wa
