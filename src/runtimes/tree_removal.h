// Removing a folder that a task could fill as it liked: without following links, without leaving the file system it is
// on, with a bound on work, and whatever the depth.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"

namespace wa {

struct RemovalLimits {
    std::uint64_t entries = 5'000'000;
    Duration time = std::chrono::minutes(2);
    const std::atomic<bool>* cancelled = nullptr;  // looked at now and then; may be null
};

struct Removal {
    bool complete = true;
    std::uint64_t removed = 0;
    std::string problem;  // the first thing that could not be removed, and why
};

// Removes `name` in the folder `parent` and everything below it. Missing is fine.
[[nodiscard]] Removal remove_tree(int parent, const std::string& name, const RemovalLimits& limits);

}  // namespace wa
