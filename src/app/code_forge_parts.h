// The Code Forge runtime from the settings, and what it tells the rest of the worker. On one machine an address that
// nobody has set is none: the default is a name of the cluster.
#pragma once

#include "app/runtime_parts.h"

namespace wa::app {

[[nodiscard]] RuntimePart make_code_forge(const RuntimeSurroundings& around);

}  // namespace wa::app
