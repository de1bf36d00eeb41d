// The whole program: command line in, exit code out.
#pragma once

#include <string>
#include <vector>

namespace wa::app {

int run(const std::vector<std::string>& arguments);

}  // namespace wa::app
