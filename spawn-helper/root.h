// The root folder that a task sees: read-only parts of the machine's, a private workspace of bounded size in memory, a
// few devices, its own /proc, and nothing else.
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include "protocol.h"

namespace wa::helper {

struct SandboxPlan;

// Called by a task's init in its new namespaces, with its final ids and all capabilities in them. Afterwards "/" is the
// new root and the old one is gone. `folder`: the private working folder, open, when there is no shared one; else -1.
// An error leaves errno.
Step build_root(const SandboxPlan& plan, int& folder);

// A detached copy of the mount at an open folder, seen with the ids of a user namespace (-1 = as it is). -1 with errno.
int clone_tree(int folder, int mapping);

// No further groups; 0 on success.
int setgroups_none();

// The processes that /proc shows, for range-for.
class ProcessNumbers {
public:
    ProcessNumbers();
    ~ProcessNumbers();
    ProcessNumbers(const ProcessNumbers&) = delete;
    ProcessNumbers& operator=(const ProcessNumbers&) = delete;
    struct End {};
    class Iterator {
    public:
        explicit Iterator(DIR* dir) : dir_(dir) { next(); }
        pid_t operator*() const { return pid_; }
        Iterator& operator++() {
            next();
            return *this;
        }
        bool operator!=(End) const { return pid_ > 0; }

    private:
        void next();
        DIR* dir_;
        pid_t pid_ = 0;
    };
    [[nodiscard]] Iterator begin() const { return Iterator(dir_); }
    [[nodiscard]] End end() const { return {}; }

private:
    DIR* dir_;
};

}  // namespace wa::helper
