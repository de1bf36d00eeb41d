// The root folder that a task sees: read-only parts of the machine's, a private workspace of bounded size in memory, a
// few devices, its own /proc, and nothing else.
#pragma once

#include <dirent.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol.h"

namespace wa::helper {

struct SandboxPlan;

// A part of the machine's own tree, taken while the old root is still there.
struct Part {
    const char* path;  // relative to the root
    int tree = -1;     // detached mount; -1 = a link, or nothing
    bool folder = false;
    char target[256];  // of the link
};

constexpr size_t kDeviceCount = 6;

// All that the new root takes from the old one.
struct Parts {
    Part parts[kMaxPaths];
    uint32_t count = 0;
    int devices[kDeviceCount];
    int directory = -1;
};

// Both are called by a task's init in its new namespaces, with all capabilities in them. The first one while it still
// is who the worker is, since what an operator shows may lie below a folder that only the worker may enter; the second
// one with its final ids. Afterwards "/" is the new root and the old one is gone. `folder`: the private working folder,
// open, when there is no shared one; else -1. An error leaves errno.
Step take_parts(const SandboxPlan& plan, Parts& parts);
Step build_root(const SandboxPlan& plan, const Parts& parts, int& folder);

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
