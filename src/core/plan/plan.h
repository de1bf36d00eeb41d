// Plans: a file that names tickets and what each of them needs, expanded into tickets with ids.
//
//   plan: hello
//   defaults: { sla: { timeout: 5m, deadline: 30m, max_retries: 3 } }
//   tickets:
//     fetch: { type: EXECUTE, run: ["curl", "-fsS", "http://127.0.0.1:9/x"], runtime: local }
//     build: { type: BUILD, needs: [fetch], parameters: { artifact_id: app } }
//     tests: { type: TEST, needs: [build], run: "pytest -q", junit: "out/*.xml" }
//     undo:  { type: COMPENSATE, compensates: build }
//
// Keys of the file (schemas/plan.schema.json describes the same ones; a test keeps both alike):
//
//   plan            name of the plan; default: the caller's (a file's name)
//   plan_id         id of the plan; default: the name and eight characters, random ones or, when every ticket brings
//   its
//                   own id, made from those ids: the same plan sent again is then the same
//   description     for people
//   intent_id, decision_id, correlation_id   copied to every ticket; a correlation id is made up when absent
//   metadata        text by key, copied to every ticket
//   defaults        settings for every ticket (the keys marked * below)
//   tickets         by name, or a list
//   $schema, x-…    ignored: for editors, and for pieces that YAML anchors point to
//
// Keys of a ticket:
//
//   name            only in a list
//   ticket_id       default: a new UUID
//   type            task type, any case; default EXECUTE when `run` is given
//   description     for people
//   needs           names (or ids) of the tickets that must be COMPLETED first; `dependencies` says the same
//   run             command: a list of words, or text split like a shell does, without a shell. EXECUTE and TEST:
//                   parameters.command (a TEST then runs locally unless a provider is named); with `compensates`: the
//                   rollback script
//   junit           TEST: where the JUnit reports are (parameters.junit_xml_path)
//   compensates     COMPENSATE: the ticket that this one undoes when it fails. It is not submitted as a ticket of its
//   own:
//                   the failed ticket brings it forth (core/compensation)
//   runtime *       EXECUTE: local, docker, k8s, lambda, simulation (parameters.runtime)
//   image *         EXECUTE, DEPLOY: parameters.image
//   working_dir *   EXECUTE, TEST, VALIDATE: parameters.working_dir
//   env *           EXECUTE, TEST, BUILD: variables by name (parameters.env_vars)
//   parameters *    everything else that the executor understands
//   sla *           timeout ("5m"), timeout_ms, deadline ("30m" from now, or epoch milliseconds), max_retries
//   qos *           delivery_mode, consistency, durability
//   priority *      LOW, NORMAL, HIGH, CRITICAL
//   risk_band *     low, medium, high, critical
//   security_level *  PUBLIC, INTERNAL, CONFIDENTIAL, RESTRICTED
//   required_capabilities *  list of words
//   metadata *      text by key
//
// What a ticket says wins over `defaults`; sla, qos, env, parameters and metadata are merged key by key (one level).
// Defaults that a task type has no use for are left out silently; on the ticket itself they are a warning.
//
// A list may also hold wire tickets (entries with `task_type`): checked by core/codec/ticket_json.h, unknown keys
// ignored; their name is `task_id` (their ticket_id where a task_id repeats); they may leave out ticket_id.
//
// A dependency is a name or an id of the plan; an id in UUID form that the plan does not know is taken as a ticket
// submitted earlier and listed in Plan::external_dependencies: whoever has a store checks that it exists.
//
// Pure. Time grows with n log n of the document, whatever the names; no recursion on its depth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "core/codec/ticket_json.h"
#include "core/plan/document.h"
#include "core/plan/problems.h"
#include "core/ticket/ticket.h"

namespace wa {

inline constexpr std::size_t kMaxPlanTickets = 100'000;
inline constexpr std::size_t kMaxPlanBytes = 64 * 1024 * 1024;
// What `defaults` and the plan's own metadata may add to all tickets together.
inline constexpr std::size_t kMaxPlanSharedBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kMaxPlanNameBytes = 128;

struct PlanTicket {
    std::string name;
    Ticket ticket;
    // What differs each time that the same file is read; not part of what the sender said.
    bool made_up_correlation = false;
    bool relative_deadline = false;
};

// A ticket that comes into being only if tickets[of] fails; its id is known beforehand.
struct PlanCompensation {
    std::string name;
    std::size_t of = 0;
    std::string ticket_id;
};

struct Plan {
    std::string name;
    std::string plan_id;
    std::string description;
    std::vector<PlanTicket> tickets;  // in the order of the file
    std::vector<PlanCompensation> compensations;
    std::vector<std::string> external_dependencies;  // ids, each once, in order of appearance
};

struct PlanContext {
    Random& random;
    EpochMillis now = 0;  // relative deadlines and created_at
    std::string file{};   // for problems; may be empty
    std::string default_name = "plan";
    std::size_t max_tickets = kMaxPlanTickets;
    TicketLimits ticket_limits{};
    std::size_t max_shared_bytes = kMaxPlanSharedBytes;
};

struct PlanReading {
    std::optional<Plan> plan;  // set exactly when no problem is an error
    std::vector<Problem> problems;
};

[[nodiscard]] PlanReading read_plan(const Document& document, const PlanContext& context);

// One wire ticket in a file of its own.
[[nodiscard]] std::vector<Problem> check_ticket_document(const Document& document, const std::string& file,
                                                         const TicketLimits& limits = {});

// The keys that are understood, by place.
enum class PlanSection : std::uint8_t { kPlan, kDefaults, kTicket, kSla, kQos };
[[nodiscard]] std::span<const std::string_view> plan_keys(PlanSection section);

}  // namespace wa
