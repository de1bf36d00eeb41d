// process_* of the Prometheus conventions, read from the kernel at each scrape.
#pragma once

#include <string>

#include "observability/registry.h"

namespace wa::observability {

// Registers the process_* metrics; `proc` is where the kernel's process files are ("/proc").
void register_process_metrics(Registry& registry, std::string proc = "/proc");

}  // namespace wa::observability
