// Starting one task: clone with the memory shared and the parent waiting until exec (so its cost does not depend on any
// size), everything between clone and exec by plain system calls.
#pragma once

#include <sys/types.h>

#include "protocol.h"

namespace wa::helper {

struct ChildPlan {
    const char* executable;
    char* const* arguments;
    char* const* environment;
    int input;  // descriptors of the helper, all above 2
    int output;
    int errors;
    int directory;
    Limits limits;
};

struct ChildResult {
    pid_t pid = -1;
    int pidfd = -1;
    Step step = Step::kNone;  // kNone: the program runs
    int error = 0;
};

ChildResult start_child(const ChildPlan& plan);

}  // namespace wa::helper
