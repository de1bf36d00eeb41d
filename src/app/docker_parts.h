// The Docker runtime's options from the settings, and what it tells the rest of the worker.
#pragma once

#include <string>

#include "app/platform.h"
#include "config/settings.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "runtimes/docker.h"

namespace wa::app {

struct DockerSurroundings {
    const config::Settings& settings;
    Platform& platform;
    observability::Metrics& metrics;
    observability::Log& log;
    std::string own_id;      // of this state folder: the same at each start, different for every other
    std::string state_path;  // for notes
    bool scratch = false;    // the state folder is not kept: nothing may outlive this worker
    std::function<bool(std::string_view ticket_id)> in_hand;
};

// Never fails: what cannot be used is in `misconfigured`, and shown where runtimes are shown.
[[nodiscard]] DockerOptions docker_options(const DockerSurroundings& around);

// What to do about a Docker runtime that cannot be used; for doctor.
[[nodiscard]] std::string docker_fix(const config::Settings& settings, const Availability& now);

}  // namespace wa::app
