// Brings together what load() needs: reads the configuration file and the env file that are named.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/settings.h"

namespace wa::config {

struct GatherRequest {
    Mode mode = Mode::kDev;
    Environment environment;                                 // from process_environment()
    std::vector<std::pair<std::string, std::string>> flags;  // NAME and text
    std::string config_path;                                 // --config; else WORKER_AGENTS_CONFIG is looked at
    std::vector<std::pair<std::string, std::string>> preset;
    std::string preset_name;
};

// Errors: the file that was named cannot be read (field = the setting that names it).
[[nodiscard]] Result<Sources> gather(GatherRequest request);

}  // namespace wa::config
