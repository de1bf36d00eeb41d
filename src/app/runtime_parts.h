// The runtimes whose back-end is elsewhere: what each is built from, and what the rest of the worker asks of it.
//
// built_in_runtimes() is the one place where a runtime is added to the product
// (docs/tutorials/3-writing-an-executor.md). "local" and "simulation" are not among them: they have no back-end, and
// other executors use them too (app/worker.cpp).
//
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "app/platform.h"
#include "base/clock.h"
#include "base/random.h"
#include "config/settings.h"
#include "http_client/http_client.h"
#include "http_client/service_caller.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "ports/runtime.h"
#include "ports/task_log.h"

namespace wa::app {

// What a runtime may be built from. All that is referred to outlives it.
struct RuntimeSurroundings {
    boost::asio::io_context& loop;
    const Clock& clock;
    Random& random;
    http::Client& http;               // for what is in the cluster or on this machine
    http::Client& outside;            // for what is on the internet: by a proxy, where there is one
    http::ServiceListener& listener;  // counts calls
    TaskLogs* logs = nullptr;
    const config::Settings& settings;
    Platform& platform;
    observability::Metrics& metrics;
    observability::Log& log;
    std::string own_id;      // of this state folder: the same at each start, different for every other
    std::string state_path;  // for notes
    bool scratch = false;    // the state folder is not kept: nothing may outlive this worker
    std::function<bool(std::string_view ticket_id)> in_hand;  // the engine has this ticket
};

// How a runtime stands, for `executors ls`, /ready and doctor.
struct RuntimeState {
    std::string name;
    bool available = false;
    std::string detail;   // what it is, or why it cannot be used
    std::string fix;      // when it cannot, or not all of it: what to do about it
    bool wanted = false;  // switched on: then that it is away is worth a word
};

struct RuntimePart {
    std::unique_ptr<Runtime> runtime;
    // Once, before any ticket: looks whether the back-end is there, sees to what an earlier worker left. `ready` comes
    // once, also when the back-end is away, and may come from inside; no ticket is taken before. Empty: nothing to do.
    std::function<void(std::function<void()> ready)> begin{};
    // Once, after the drain: what is to be done before the process ends. `done` comes within the limit. Empty: nothing.
    std::function<void(Duration limit, std::function<void()> done)> leave{};
    std::function<RuntimeState()> state;
};

// Never fails: a runtime that cannot be used is one that is not available, and says why.
using MakeRuntime = std::function<RuntimePart(const RuntimeSurroundings&)>;

// Of the product, in the order in which they are shown.
[[nodiscard]] std::vector<MakeRuntime> built_in_runtimes();

// State of a runtime that is at `place` when it is available, and needs `fix` when it is not.
[[nodiscard]] RuntimeState state_of(const Runtime& runtime, std::string place, std::string fix, bool wanted);

}  // namespace wa::app
