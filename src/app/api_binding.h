// Joins the API's routes with the parts that they talk to.
#pragma once

#include <string>

#include "adapters/embedded_store/store.h"
#include "base/clock.h"
#include "base/random.h"
#include "config/settings.h"
#include "flow/engine.h"
#include "net/router.h"
#include "observability/event_hub.h"
#include "observability/health.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "observability/registry.h"
#include "ports/engine_control.h"
#include "ports/task_log.h"
#include "process/spawner.h"
#include "runtimes/local_process.h"

namespace wa::app {

// All outlive the server.
struct ApiParts {
    EmbeddedStore& store;
    EngineControl& engine;
    TaskLogs& task_logs;
    observability::Log& log;
    observability::Registry& registry;
    observability::Metrics& metrics;
    observability::EventHub& hub;
    observability::Health& health;
    const Clock& clock;
    Random& random;
    const config::Settings& settings;
    std::string agent_id;
    const LocalRuntime& local;
    const Spawner& spawner;
    std::string state_dir;
    EngineOptions engine_options;
};

struct Routers {
    net::Router api;
    net::Router metrics;
};
[[nodiscard]] Routers bind_api(const ApiParts& parts);

}  // namespace wa::app
