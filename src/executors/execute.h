// The executor for EXECUTE: chooses a runtime for the ticket's command and goes on to another one only where
// executors/fallback.h allows it. Everything that was not as the ticket asked is said in the result:
//
//   metadata.requested_runtime  what the ticket named, when it ran elsewhere
//   metadata.fallback_reason    why, for people: "docker: not built into this worker"
//   metadata.fallback_code      why, as a label: disabled, unavailable, timeout, error
//   metadata.fallback_from      the first runtime that was passed over
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/codec/parameters.h"
#include "executors/fallback.h"
#include "ports/executor.h"
#include "ports/runtime.h"

namespace wa {

struct ExecuteOptions {
    RuntimePreferences runtimes;
    FallbackOn fallback_on = FallbackOn::kUnavailable;  // RUNTIME_FALLBACK_ON
};

class ExecuteExecutor final : public Executor {
public:
    // The runtimes that are built, in any order; they must outlive this object. Simulation takes part only if it is
    // among them and available (SIMULATION_POLICY).
    ExecuteExecutor(const Clock& clock, ExecuteOptions options, std::vector<Runtime*> runtimes);

    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& ticket) const override;
    [[nodiscard]] bool can_detach(const Ticket& ticket) const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override;

private:
    class Attempt;
    struct Wish;
    // One runtime that was passed over, and why.
    struct PassedOver {
        std::string runtime;
        std::string code;
        std::string detail;
        bool may_come_back = false;
    };
    struct Choice {
        Runtime* runtime = nullptr;  // null: none is left
        std::vector<PassedOver> passed_over;
    };
    [[nodiscard]] Result<std::string> asked_for(const Parameters& parameters) const;
    [[nodiscard]] Result<Wish> read_wish(const Ticket& ticket) const;
    [[nodiscard]] Choice choose(const std::vector<std::string>& order, const Wish& wish, const Ticket& ticket) const;
    [[nodiscard]] Runtime* find(std::string_view name) const;
    [[nodiscard]] Runtime* holder(const Ticket& ticket) const;

    const Clock& clock_;
    ExecuteOptions options_;
    std::vector<Runtime*> runtimes_;
    std::map<std::string, const Attempt*, std::less<>> running_;  // by ticket id
};

}  // namespace wa
