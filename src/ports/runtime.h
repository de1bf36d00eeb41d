// A place where an EXECUTE ticket can run: this machine, a container engine, a cluster, … or nowhere (simulation).
//
// A runtime runs one attempt and says how it ended; whether another runtime is tried then is decided in
// executors/fallback.h and nowhere else. Threading: all calls on the engine's loop; runtime_ended() never comes from
// inside start() or stop().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ports/executor.h"

namespace wa {

// Stable words; they label the fallback counter (contract/metrics.md).
enum class Unavailable : std::uint8_t {
    kDisabled,     // switched off or not built into this worker
    kUnreachable,  // its back-end cannot be used at present
};
std::string_view to_string(Unavailable reason);  // "disabled", "unavailable"

struct Availability {
    bool available = true;
    Unavailable reason = Unavailable::kUnreachable;
    std::string detail;  // for people, when not available
};

struct RuntimeReport {
    AttemptReport attempt;
    // False when nothing of the work can have happened. Only then may another runtime be tried by default.
    bool work_began = true;
    // The back-end itself is away or switched off (with work_began = false): the fallback rule applies. A passing
    // shortage (no process could be made just now) is not that: it is retried here.
    std::optional<Unavailable> unavailable;
};

class RuntimeListener {
public:
    virtual ~RuntimeListener() = default;
    // Exactly once for each start(), unless the RunningAttempt was destroyed first.
    virtual void runtime_ended(AttemptKey key, RuntimeReport report) = 0;
};

class Runtime {
public:
    virtual ~Runtime() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;  // "local", "docker", "k8s", "lambda", "simulation"
    [[nodiscard]] virtual Availability availability() const = 0;
    // Permanent errors only: parameters that can never work here. No side effects.
    [[nodiscard]] virtual Result<void> validate(const Ticket& ticket) const = 0;
    // Whether starting the work changes anything outside this process, or it lasts so long that people may look at it:
    // then its start is made durable, and shown, before it begins.
    [[nodiscard]] virtual bool has_effects(const Ticket& ticket) const = 0;
    // Work that was started here runs on when this worker goes away, and is found again by start().
    [[nodiscard]] virtual bool can_detach() const { return false; }
    // Something of an earlier attempt at this ticket may still be here, even if the back-end cannot be asked now: then
    // no other runtime may take the ticket, and start() begins with a look.
    [[nodiscard]] virtual bool may_hold(const Ticket&) const { return false; }
    // The ticket's result is committed: what was kept for it may go. `untried`: it was ended (cancelled, out of time)
    // before this process began an attempt; what another worker may have begun for it has to go, too.
    virtual void ticket_settled(std::string_view /*ticket_id*/, bool /*untried*/) {}
    // Never null, never throws.
    [[nodiscard]] virtual std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                                RuntimeListener& listener) = 0;
};

}  // namespace wa
