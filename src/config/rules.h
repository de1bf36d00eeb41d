// Rules between settings (contract/settings.md "Production and consistency rules").
#pragma once

#include <vector>

#include "config/settings.h"

namespace wa::config {

// Appends what is wrong. Rules about parts that only `run` uses are warnings in `dev`.
void check_rules(const Settings& settings, Mode mode, std::vector<Problem>& problems);

}  // namespace wa::config
