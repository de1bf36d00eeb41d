// What surrounds the engine in one mode: where tickets come from, where endings go, who is told. `dev` has the embedded
// store (embedded_platform.h), `run` has Kafka and the platform's services (cluster_platform.h). Chosen once; the rest
// of the worker cannot tell them apart.
//
// Threading: the loop, except where something else is said.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/embedded_store/store.h"
#include "admin/api.h"
#include "app/state_dir.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "config/settings.h"
#include "core/trace/call_watch.h"
#include "flow/engine.h"
#include "observability/health.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "observability/registry.h"
#include "ports/dead_letters.h"
#include "ports/ticket_service.h"

namespace wa::app {

// What every platform is built from; all of it outlives the platform.
struct PlatformParts {
    boost::asio::io_context& loop;
    const Clock& clock;
    Random& random;
    const config::Settings& settings;
    observability::Log& log;
    observability::Registry& registry;
    observability::Metrics& metrics;
    observability::Health& health;
    const StateDir& state;
    std::string agent_id;
    // To the engine; only after begin().
    std::function<void(EngineInput)> feed;
    std::function<EngineSnapshot()> snapshot;
};

class Platform {
public:
    virtual ~Platform() = default;
    // Opens what must be there for the worker to start. Once, first.
    virtual Result<void> open() = 0;
    // The ports exist between connect() and disconnect(); the engine lives within.
    virtual Result<void> connect() = 0;
    [[nodiscard]] virtual TicketSource& source() = 0;
    [[nodiscard]] virtual ResultSink& sink() = 0;
    [[nodiscard]] virtual TicketService& tickets() = 0;
    [[nodiscard]] virtual std::function<Result<Ticket>(std::string_view)> decoder() = 0;
    // Who works on which ticket, across workers; null = nobody can say.
    [[nodiscard]] virtual TicketLeases* leases() { return nullptr; }
    [[nodiscard]] virtual std::string source_name() const { return {}; }
    // Observers of its own, beside the worker's.
    [[nodiscard]] virtual std::vector<FlowObserver*> observers() { return {}; }
    // The name of the group of workers that share their tickets, and this worker's own within it, the same at each
    // start; empty = there is only this one.
    [[nodiscard]] virtual std::string pool() const { return {}; }
    [[nodiscard]] virtual std::string instance() const { return {}; }
    // What is known here about a ticket that the engine does not have in hand.
    [[nodiscard]] virtual DependencyState standing(std::string_view /*ticket_id*/) { return DependencyState::kUnknown; }
    // Told of calls to other services; null = nobody.
    [[nodiscard]] virtual CallWatch* calls() { return nullptr; }
    // What differs for the engine.
    virtual void adapt(EngineOptions& options) const = 0;
    // Which types are served, where the HTTP API listens: told to those who ask for workers. Before begin().
    virtual void introduce(const std::vector<TaskType>& /*types*/, const std::string& /*endpoint*/) {}
    // The runtimes of EXECUTE that can be reached have changed.
    virtual void offer(const std::vector<std::string>& /*runtimes*/) {}
    // From here tickets come.
    virtual Result<void> begin() = 0;
    virtual void draining(bool /*yes*/) {}
    // After the drain: say good-bye to those who know this worker, bounded in time; then `done`.
    virtual void leave(std::function<void()> done) = 0;
    virtual void disconnect() = 0;
    virtual void close(bool drained) = 0;
    // After disconnect(): threads of a library that did not come back go on. Exit handlers would pull the ground from
    // under them, so the process ends without any.
    [[nodiscard]] virtual bool leaves_threads() const { return false; }

    // Null where there is none.
    [[nodiscard]] virtual EmbeddedStore* store() { return nullptr; }
    // The dead letters to look at; lives until close().
    [[nodiscard]] virtual DeadLetters& dead_letters() = 0;
    // Every ticket that is known here has ended. Any thread.
    [[nodiscard]] virtual bool all_ended() const { return true; }
    [[nodiscard]] virtual admin::Registration registration() const { return {}; }  // HTTP thread
    // {name, status, detail, fix?} rows for doctor. Background thread; may block for some seconds.
    [[nodiscard]] virtual std::vector<std::vector<std::string>> checks() { return {}; }
    // One line about where this worker is, for people.
    [[nodiscard]] virtual std::string where() const = 0;
};

}  // namespace wa::app
