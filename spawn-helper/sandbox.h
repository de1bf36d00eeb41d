// Starting one task inside namespaces of its own: a first process ("init") that builds the task's root, starts the task
// as its child, passes SIGTERM on, reaps, and says how it ended. When init ends, the kernel kills whatever is left in
// its process namespace, so nothing can outlive it.
//
// Init is a copy of the helper (no exec): it keeps only the descriptors it needs, holds no capability once the root is
// built, and cannot be traced from inside.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "child.h"
#include "protocol.h"

namespace wa::helper {

struct SandboxPlan {
    ChildPlan child;  // directory is set by init
    const Sandbox* wish = nullptr;
    uint32_t layers = 0;  // to be built; kNamespaceLayers among them
    bool probe = false;   // build everything, start nothing
    int directory = -1;   // working directory in the helper's own mount namespace; -1 = the private one
    const char* directory_path = "";
    char* const* read_only = nullptr;
    char* const* hidden = nullptr;
    char* const* secret_names = nullptr;
    const int* secrets = nullptr;
    int directory_tree = -1;  // detached copy of `directory` with ids mapped; -1 = init makes a plain one
    int network = -1;         // network namespace to be born into; -1 = a new one with kLayerNetwork, else the helper's
    int landlock_abi = 0;
    // Who it is: ids inside, and those of the machine that stand behind them.
    uid_t inside_uid = 1000;
    gid_t inside_gid = 1000;
    uid_t outside_uid = 0;
    gid_t outside_gid = 0;
    bool ids_by_helper = false;  // the helper is privileged and writes the maps; else init maps its own
};

// What init says over its control socket (SOCK_SEQPACKET).
struct InitWord {
    enum class Kind : uint32_t { kStarted = 1, kFailed, kEnded };
    Kind kind;
    Step step;            // kFailed
    int32_t error;        // kFailed
    int32_t wait_status;  // kEnded: of the task's main process
    uint32_t left;        // kEnded: processes that it left, about to be killed
};

struct InitResult {
    pid_t pid = -1;
    int pidfd = -1;
    int control = -1;  // the helper's end
    Step step = Step::kNone;
    int error = 0;
};

// Init waits until let_go(). Both ends of the control socket are close-on-exec.
InitResult start_init(const SandboxPlan& plan);
// The maps, when they are the helper's to write. False with errno.
bool write_id_maps(pid_t pid, uid_t inside_uid, uid_t outside_uid, gid_t inside_gid, gid_t outside_gid);
bool let_go(int control);
enum class Heard { kNothing, kWord, kEnd };
// Non-blocking. `folder`: the private working folder that came along, or -1. kEnd: init closed its end.
Heard read_word(int control, InitWord& word, int& folder);

// A new network namespace that holds a loopback, without changing the caller's own. -1 with errno.
int make_network();
// A detached copy of a folder in which files of `owner` belong to `task` instead. -1 with errno.
int map_folder(int folder, uid_t owner_uid, uid_t task_uid, gid_t owner_gid, gid_t task_gid);

}  // namespace wa::helper
