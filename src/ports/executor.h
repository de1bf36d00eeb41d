// What runs the work of one task type. One object owns one attempt.
//
// Threading: all calls in both directions on the engine's loop. attempt_ended() may be called from inside start().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/ticket/result.h"
#include "core/ticket/ticket.h"

namespace wa {

// Names one attempt inside this process; a stale key is recognised and ignored.
struct AttemptKey {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    std::int32_t number = 0;

    friend bool operator==(const AttemptKey&, const AttemptKey&) = default;
};

enum class StopReason : std::uint8_t {
    kTimeout,
    kDeadline,
    kCancelled,
    kPreempted,
    kShutdown,
    kPartitionRevoked,
    kSuperseded
};
std::string_view to_string(StopReason reason);

// Something real that an executor made, with how to undo it.
struct Effect {
    std::string kind;  // "container", "job", "file", …
    std::string name;
    std::string undo;  // compensation action
};

struct AttemptContext {
    AttemptKey key;
    std::string name;                      // "<ticket id>.<number>": deterministic, names remote work
    std::shared_ptr<const Ticket> ticket;  // never null
    std::int32_t number = 1;               // from 1
    MonoTime deadline;                     // the engine stops the attempt then
    std::int64_t timeout_ms = 0;           // the same as a duration from the start
};

// What a test run counted, for metrics (contract/metrics.md 2.7); people find the same in output and metadata.
struct TestFigures {
    struct Parsing {
        std::string format;  // "junit", "cobertura", "lcov", "unknown"
        bool good = false;
    };
    std::string suite;
    std::optional<std::uint64_t> passed;      // absent = nothing said so
    std::optional<std::uint64_t> not_passed;  // failed and errors
    std::optional<double> coverage_percent;   // 0 to 100
    std::vector<Parsing> reports;             // one for each file that was parsed, or could not be
};

// How an attempt ended. `error` is set exactly when not successful, and says whether trying again can help.
struct AttemptReport {
    bool success = false;
    std::optional<Error> error;
    bool simulated = false;
    bool still_alive = false;  // something of it could not be stopped; said in the result, slot quarantined
    std::string runtime;       // back-end that ran it, for metrics and history
    std::optional<std::int32_t> exit_code;
    std::optional<std::int32_t> signal;
    StringMap output;
    StringMap metadata;
    std::vector<std::string> logs;
    std::vector<Effect> effects;
    std::optional<TestFigures> tests;  // TEST only
};

class AttemptListener {
public:
    virtual ~AttemptListener() = default;
    // Exactly once for each started attempt, unless its RunningAttempt was destroyed first.
    virtual void attempt_ended(AttemptKey key, AttemptReport report) = 0;
};

// An attempt under way. Destroying it abandons the attempt: local work is killed, remote work is left to be adopted.
class RunningAttempt {
public:
    virtual ~RunningAttempt() = default;
    // Really stop the work: softly now, hard after `grace`. Ends with attempt_ended(). A second call may shorten the
    // grace.
    virtual void stop(StopReason reason, Duration grace) = 0;
};

class Executor {
public:
    virtual ~Executor() = default;
    [[nodiscard]] virtual TaskType task_type() const = 0;
    // The endpoint whose circuit breaker counts this ticket ("local", "https://argocd…"). Stable and low in number.
    [[nodiscard]] virtual std::string backend(const Ticket& ticket) const = 0;
    // False for work without any effect outside this process that is over at once: its start need not be made durable,
    // and shown, first.
    [[nodiscard]] virtual bool has_effects(const Ticket& ticket) const = 0;
    // True when the work outlives this worker and can be asked later (Job, container, pipeline).
    [[nodiscard]] virtual bool can_detach(const Ticket& ticket) const = 0;
    // Refuses a ticket whose parameters can never work, before anything is started. Permanent errors only.
    [[nodiscard]] virtual Result<void> validate(const Ticket& ticket) const = 0;
    // Never null. Never throws. Work that can be detached is looked for first: what still runs for this ticket is
    // attached to, whatever attempt it was begun as (a source without a per-ticket record counts attempts anew after a
    // take-over), then what was made under this name; only then something new is begun.
    [[nodiscard]] virtual std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                                AttemptListener& listener) = 0;
};

}  // namespace wa
