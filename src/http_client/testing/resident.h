// For tests only: how much memory this process has now.
#pragma once

#include <cstddef>
#include <fstream>
#include <string>

namespace wa::http::testing {

inline std::size_t resident_kib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmRSS:")) return static_cast<std::size_t>(std::stoul(line.substr(6)));
    return 0;
}

}  // namespace wa::http::testing
