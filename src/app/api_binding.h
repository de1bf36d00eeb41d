// Joins the API's routes with the parts that they talk to, and answers what only the application knows (configuration,
// doctor, executors).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "adapters/embedded_store/store.h"
#include "admin/api.h"
#include "app/runtime_parts.h"
#include "base/clock.h"
#include "base/random.h"
#include "config/settings.h"
#include "observability/event_hub.h"
#include "observability/health.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "observability/registry.h"
#include "ports/dead_letters.h"
#include "ports/engine_control.h"
#include "ports/executor.h"
#include "ports/task_log.h"
#include "process/spawner.h"
#include "runtimes/local_process.h"

namespace wa::app {

// All outlive the server.
struct ApiParts {
    EmbeddedStore* store;  // null in cluster mode
    DeadLetters& dead_letters;
    EngineControl& engine;
    TaskLogs& task_logs;
    observability::Log& log;
    observability::Registry& registry;
    observability::Metrics& metrics;
    observability::EventHub& hub;
    observability::Health& health;
    const Clock& clock;
    Random& random;
    const config::Settings& settings;  // of the start
    // Those in force now. Any thread.
    std::function<std::shared_ptr<const config::Settings>()> settings_in_force;
    std::string agent_id;
    std::vector<TaskType> task_types;
    // What the local runtime reached, as it was last seen on the loop. Any thread.
    std::function<IsolationReport()> isolation;
    // The other runtimes that are built. Any thread.
    std::function<std::vector<RuntimeState>()> runtimes;
    std::string state_dir;
    std::function<bool()> draining;
    // {name, status, detail, fix?} of what surrounds the engine. Background thread.
    std::function<std::vector<std::vector<std::string>>()> platform_checks;
    std::function<admin::Registration()> registration;  // HTTP thread
    // As in admin::ApiContext.
    std::function<void(const TicketSummary&, const Settlement&)> ended_in_queue;
    std::function<std::shared_ptr<void>()> ending_under_way;
};

[[nodiscard]] admin::Routers bind_api(const ApiParts& parts);

}  // namespace wa::app
