// The Kubernetes runtime from the settings, and what it tells the rest of the worker.
#pragma once

#include "app/runtime_parts.h"

namespace wa::app {

[[nodiscard]] RuntimePart make_kubernetes(const RuntimeSurroundings& around);

}  // namespace wa::app
