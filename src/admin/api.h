// The routes of the worker's HTTP API (interface.md "HTTP"; contract/services.md 2 and 4).
//
// Threading: routes run on the HTTP server's thread. The store and the engine are asked there; their answers come on
// their own threads and are posted back. Parsing and reading that may take long goes to one background thread of the
// API.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/embedded_store/store.h"
#include "admin/background.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "core/ticket/ticket.h"
#include "net/http_server.h"
#include "net/router.h"
#include "observability/event_hub.h"
#include "observability/health.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "observability/registry.h"
#include "ports/dead_letters.h"
#include "ports/engine_control.h"
#include "ports/result_sink.h"
#include "ports/task_log.h"

namespace wa::admin {

// What does not change while the worker runs.
struct WorkerFacts {
    std::string agent_id;
    std::string version;
    std::string namespace_name = "default";
    std::string cluster = "local";
    std::vector<TaskType> task_types;  // served: others are refused at submit
    std::size_t max_concurrent_tasks = 5;
    std::int32_t max_retries = 3;  // of a ticket that does not say
    EpochMillis started_at = 0;
    bool vault_enabled = false;
    // Key of ticket tokens (HS256). Empty: one is made for the life of this process.
    std::string token_key;
};

struct Registration {
    bool registered = true;  // embedded mode: there is no registry to be missing from
    std::string registry_agent_id;
};

// All pointers outlive the server. What may be null is said.
struct ApiContext {
    EmbeddedStore* store = nullptr;       // null in cluster mode: the routes that need it do not exist
    DeadLetters* dead_letters = nullptr;  // null: their routes do not exist
    EngineControl* engine = nullptr;
    const TaskLogs* task_logs = nullptr;  // null: only what the results kept is shown
    const Clock* clock = nullptr;
    Random* random = nullptr;  // used from two threads: SystemRandom may, a seeded one may not
    observability::Registry* registry = nullptr;
    observability::Metrics* metrics = nullptr;
    observability::EventHub* hub = nullptr;
    observability::Log* log = nullptr;
    const observability::Health* health = nullptr;
    WorkerFacts facts{};

    // True while submits are refused with 503. Any thread.
    std::function<bool()> draining{};
    // A JSON object: the effective settings with their origin, secrets masked. HTTP thread.
    std::function<std::string()> config_json{};
    // A JSON object {"checks": [{name, status, detail, fix?}]}. Background thread; may block for some seconds.
    std::function<std::string()> doctor_json{};
    // A JSON object {"executors": [...]}; null: made from the served types. HTTP thread.
    std::function<std::string()> executors_json{};
    // Runtimes that are switched on, and "ready" or why they are not: shown with the readiness, of which they are no
    // condition. Null = none. HTTP thread.
    std::function<std::vector<std::pair<std::string, std::string>>()> runtimes{};
    // Null = registered. HTTP thread.
    std::function<Registration()> registration{};
    // Refuses tickets that an executor can never run; null = no such check. Background or HTTP thread.
    std::function<Result<void>(const Ticket&)> check_ticket{};
    // A ticket was ended in the queue, before the engine had it: for those who count and show endings. Null = nobody.
    // Any thread.
    std::function<void(const TicketSummary&, const Settlement&)> ended_in_queue{};
    // What is given is held for as long as such an ending is under way and not yet told; may be null. Any thread.
    std::function<std::shared_ptr<void>()> ending_under_way{};
    // Connections and refusals for /metrics; null = not shown.
    std::function<net::ServerStats()> server_stats{};
};

struct Routers {
    net::Router api;
    net::Router metrics;  // for the second listener: /metrics alone
    // Ended after the server has stopped, and before anything that the context points to.
    std::unique_ptr<BackgroundThread> background;
};
[[nodiscard]] Routers make_routes(ApiContext context);

}  // namespace wa::admin
