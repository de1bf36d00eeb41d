// What the runtimes have in common that leave work behind: Docker, Kubernetes.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "app/platform.h"
#include "config/settings.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "runtimes/work_keeper.h"

namespace wa::app {

struct ContainerSurroundings {
    const config::Settings& settings;
    Platform& platform;
    observability::Metrics& metrics;
    observability::Log& log;
    std::string own_id;      // of this state folder: the same at each start, different for every other
    std::string state_path;  // for notes
    bool scratch = false;    // the state folder is not kept: nothing may outlive this worker
    std::function<bool(std::string_view ticket_id)> in_hand;
};

// `runtime` as metrics and the log call it; also the folder of its notes.
[[nodiscard]] KeeperOptions keeper_options(const ContainerSurroundings& around, const std::string& runtime,
                                           bool remove_ended);

}  // namespace wa::app
