// Starting one task: clone with the memory shared and the parent waiting until exec (so its cost does not depend on any
// size), everything between clone and exec by plain system calls.
#pragma once

#include <sys/types.h>

#include "cgroups.h"
#include "confinement.h"
#include "protocol.h"

namespace wa::helper {

struct ChildPlan {
    const char* executable = nullptr;
    char* const* arguments = nullptr;
    char* const* environment = nullptr;
    int input = -1;  // descriptors of the caller, all above 2
    int output = -1;
    int errors = -1;
    int directory = -1;
    Limits limits{};
    // What the task puts around itself; each may be absent.
    bool drop_capabilities = false;
    int landlock = -1;
    const SystemCallFilter* filter = nullptr;
    const Cgroups* cgroups = nullptr;  // joined by the task itself, so that nothing it starts can be outside
    size_t slot = 0;
    uint32_t cgroup_layers = 0;
    // The file that was checked; inode 0 = whatever is there now.
    uint64_t program_device = 0;
    uint64_t program_inode = 0;
    int64_t program_changed_ns = 0;
};

struct ChildResult {
    pid_t pid = -1;
    int pidfd = -1;
    Step step = Step::kNone;  // kNone: the program runs
    int error = 0;
};

ChildResult start_child(const ChildPlan& plan);

}  // namespace wa::helper
