// The Code Forge runtime's options from the settings, and what it tells the rest of the worker.
#pragma once

#include <string>

#include "app/platform.h"
#include "config/settings.h"
#include "observability/metrics.h"
#include "runtimes/code_forge.h"

namespace wa::app {

struct CodeForgeSurroundings {
    const config::Settings& settings;
    Platform& platform;
    observability::Metrics& metrics;
    http::ServiceListener& listener;  // told of calls; outlives the runtime
    std::string state_path;           // for notes
    bool scratch = false;             // the state folder is not kept
};

// Never fails: what cannot be used is in `misconfigured`, and shown where runtimes are shown. On one machine an address
// that nobody has set is none: the default is a name of the cluster.
[[nodiscard]] CodeForgeOptions code_forge_options(const CodeForgeSurroundings& around);

// Switched on, and its address set: then that it is away is worth a word.
[[nodiscard]] bool code_forge_wanted(const config::Settings& settings);

// Where it is, for people.
[[nodiscard]] std::string code_forge_place(const config::Settings& settings);

// What to do about a Code Forge that cannot be used; for doctor.
[[nodiscard]] std::string code_forge_fix(const config::Settings& settings, const Availability& now);

}  // namespace wa::app
