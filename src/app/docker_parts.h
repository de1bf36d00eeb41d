// The Docker runtime's options from the settings, and what it tells the rest of the worker.
#pragma once

#include <string>

#include "app/container_parts.h"
#include "runtimes/docker.h"

namespace wa::app {

// Never fails: what cannot be used is in `misconfigured`, and shown where runtimes are shown.
[[nodiscard]] DockerOptions docker_options(const ContainerSurroundings& around);

// What to do about a Docker runtime that cannot be used; for doctor.
[[nodiscard]] std::string docker_fix(const config::Settings& settings, const Availability& now);

}  // namespace wa::app
