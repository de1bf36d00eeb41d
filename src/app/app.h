// The whole program: command line in, exit code out.
#pragma once

#include <string>
#include <vector>

#include "app/runtime_parts.h"

namespace wa::app {

// `runtimes`: what a worker is built with besides "local" and "simulation".
int run(const std::vector<std::string>& arguments, std::vector<MakeRuntime> runtimes = built_in_runtimes());

}  // namespace wa::app
