// What the runtimes have in common that leave work behind: Docker, Kubernetes.
#pragma once

#include <string>

#include "app/runtime_parts.h"
#include "runtimes/work_keeper.h"

namespace wa::app {

// `runtime` as metrics and the log call it; also the folder of its notes.
[[nodiscard]] KeeperOptions keeper_options(const RuntimeSurroundings& around, const std::string& runtime,
                                           bool remove_ended);

}  // namespace wa::app
