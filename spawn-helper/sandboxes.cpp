#include "sandboxes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "process_table.h"

namespace wa::helper {
namespace {

constexpr int kProbePatienceMs = 5000;
constexpr uint32_t kPreferredBase = 1'900'000'000;  // far from what distributions hand out
constexpr uint32_t kInsideId = 1000;
constexpr uint64_t kProbeBytes = 1 << 20;
constexpr uint64_t kProbeEntries = 64;

// The first of kTaskLimit ids that exist in our own user namespace and that nobody is likely to have; 0 = none.
// Workers of other names on this machine get others, as far as there are enough.
uint32_t choose_uid_base(const char* name) {
    uint32_t hash = 2166136261U;  // FNV-1a
    for (const char* at = name; *at != '\0'; ++at)
        hash = (hash ^ static_cast<unsigned char>(*at)) * 16777619U;
    constexpr uint32_t kWorkers = 4096;
    FILE* file = fopen("/proc/self/uid_map", "re");
    if (file == nullptr) return 0;
    unsigned inside = 0;
    unsigned outside = 0;
    unsigned count = 0;
    uint32_t base = 0;
    while (fscanf(file, "%u %u %u", &inside, &outside, &count) == 3) {
        const uint64_t end = uint64_t{inside} + count;
        if (inside <= kPreferredBase && end >= uint64_t{kPreferredBase} + uint64_t{kWorkers} * kTaskLimit) {
            base = kPreferredBase + hash % kWorkers * kTaskLimit;
        } else if (base == 0 && count > 2 * kTaskLimit) {
            // The upper end of a container's range, less the ids of nobody.
            base = static_cast<uint32_t>(end - kTaskLimit - 16);
        }
    }
    fclose(file);
    return base;
}

// The files that only the machine's root may change belong to us: we are it, whatever our number is here.
bool is_root_of_the_machine() {
    struct stat facts{};
    return stat("/proc/sys", &facts) != 0 || facts.st_uid == geteuid();
}

bool wait_for_word(int control, InitWord& word) {
    pollfd polled{control, POLLIN, 0};
    int folder = -1;
    if (poll(&polled, 1, kProbePatienceMs) != 1 || read_word(control, word, folder) != Heard::kWord) return false;
    if (folder >= 0) close(folder);
    return true;
}

}  // namespace

void Sandboxes::set_ids(SandboxPlan& plan, size_t slot, bool own_ids) const {
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    plan.ids_by_helper = maps_ids_;
    if (own_ids) {
        plan.outside_uid = plan.outside_gid = uid_base_ + static_cast<uint32_t>(slot);
        plan.inside_uid = plan.inside_gid = kInsideId;
        return;
    }
    plan.outside_uid = uid;
    plan.outside_gid = gid;
    // Never root, not even in name: many programs behave otherwise for it.
    plan.inside_uid = uid == 0 ? kInsideId : uid;
    plan.inside_gid = gid == 0 ? kInsideId : gid;
}

Obstacle Sandboxes::start_probe(SandboxPlan& plan, bool own_ids) {
    set_ids(plan, kTaskLimit - 1, own_ids);
    const InitResult init = start_init(plan);
    if (init.step != Step::kNone) return Obstacle{init.step, init.error};
    Obstacle found{Step::kInit, ECHILD};
    InitWord word{};
    if (plan.ids_by_helper &&
        !write_id_maps(init.pid, plan.inside_uid, plan.outside_uid, plan.inside_gid, plan.outside_gid)) {
        found = Obstacle{Step::kIds, errno};
    } else if (let_go(init.control) && wait_for_word(init.control, word)) {
        found = word.kind == InitWord::Kind::kStarted ? Obstacle{Step::kNone, 0} : Obstacle{word.step, word.error};
    }
    kill(init.pid, SIGKILL);
    while (waitpid(init.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    close(init.pidfd);
    close(init.control);
    return found;
}

Obstacle Sandboxes::try_once(uint32_t layers, bool own_ids) {
    char usr[] = "/usr";
    char etc[] = "/etc";
    char* read_only[] = {usr, etc};
    Sandbox wish{};
    wish.layers = layers;
    wish.read_only_count = 2;
    wish.workspace_bytes = kProbeBytes;
    wish.workspace_entries = kProbeEntries;
    SandboxPlan plan;
    plan.wish = &wish;
    plan.layers = layers;
    plan.probe = true;
    plan.read_only = read_only;
    plan.landlock_abi = landlock_abi_;
    if ((layers & kLayerNetwork) != 0) {
        plan.network = make_network();
        // Where the helper cannot come back out of one, each task's init makes its own.
        makes_networks_ = plan.network >= 0;
    }
    const Obstacle found = start_probe(plan, own_ids);
    if (plan.network >= 0) close(plan.network);
    return found;
}

void Sandboxes::probe(const Hello& hello, const char* name, Ready& ready) {
    const uint32_t ask = hello.ask_layers;
    if ((ask & kLayerSeccomp) != 0) {
        if (const int error = probe_seccomp(); error == 0) {
            layers_ |= kLayerSeccomp | kLayerNoSockets;
        } else {
            ready.seccomp = Obstacle{Step::kSeccomp, error};
        }
    }
    if ((ask & kLayerLandlock) != 0) {
        landlock_abi_ = landlock_abi();
        if (landlock_abi_ > 0) {
            layers_ |= kLayerLandlock;
        } else {
            ready.landlock = Obstacle{Step::kLandlock, errno};
        }
    }
    if ((ask & kLayerCapabilities) != 0) layers_ |= kLayerCapabilities;
    if ((ask & kCgroupLayers) != 0) layers_ |= cgroups_.discover(name, ready.cgroup) & ask;
    if ((ask & kNamespaceLayers) == kNamespaceLayers) {
        const uint32_t base = kNamespaceLayers | kLayerCapabilities | (layers_ & kLayerLandlock);
        maps_ids_ = geteuid() == 0;
        uid_base_ = hello.uid_base != 0 ? hello.uid_base : choose_uid_base(name);
        if (!maps_ids_) {
            ready.own_uid = Obstacle{Step::kIds, EPERM};
        } else if ((ask & kLayerOwnUid) != 0) {
            ready.own_uid = uid_base_ == 0 ? Obstacle{Step::kIds, ERANGE} : try_once(base, true);
            if (ready.own_uid.step == Step::kNone) layers_ |= kLayerOwnUid;
        }
        const bool own = (layers_ & kLayerOwnUid) != 0;
        if (own) {
            ready.namespaces = Obstacle{Step::kNone, 0};
        } else if (is_root_of_the_machine()) {
            // With the machine's root behind it a task could write what only that id protects, /proc/sys above all.
            ready.namespaces = ready.own_uid;
        } else {
            ready.namespaces = try_once(base, false);
        }
        if (ready.namespaces.step == Step::kNone) {
            layers_ |= kNamespaceLayers;
            if ((ask & kLayerNetwork) != 0) {
                ready.network = try_once(base | kLayerNetwork, own);
                if (ready.network.step == Step::kNone) layers_ |= kLayerNetwork;
            }
        }
    }
    // Root needs no capability to change what is root's. Without an id of its own only Landlock keeps such a task off.
    if (is_root_of_the_machine() && (layers_ & (kLayerOwnUid | kLayerLandlock)) == 0 &&
        (ask & kLayerCapabilities) != 0) {
        layers_ &= ~kLayerCapabilities;
    }
    ready.layers = layers_;
}

Filters::Filters()
    : by_root_network_modes{{{{false, false, 0}, {false, false, S_ISUID}, {false, false, S_ISUID | S_ISGID}},
                             {{false, true, 0}, {false, true, S_ISUID}, {false, true, S_ISUID | S_ISGID}}},
                            {{{true, false, 0}, {true, false, S_ISUID}, {true, false, S_ISUID | S_ISGID}},
                             {{true, true, 0}, {true, true, S_ISUID}, {true, true, S_ISUID | S_ISGID}}}} {}

const SystemCallFilter* Sandboxes::filter(uint32_t layers, int directory) const {
    if ((layers & kLayerSeccomp) == 0) return nullptr;
    const bool own_root = (layers & kLayerMount) != 0;
    const bool network = (layers & kLayerNoSockets) == 0;
    // In a folder that hands its group on, as teams have them, every folder below has the bit: there it must be
    // allowed.
    struct stat facts{};
    const bool team = directory >= 0 && fstat(directory, &facts) == 0 && (facts.st_mode & S_ISGID) != 0;
    const size_t modes = directory < 0 ? 0 : team ? 1 : 2;
    return &filters_.by_root_network_modes[own_root ? 1 : 0][network ? 1 : 0][modes];
}

// The files of the folder's owner become the task's own, so that it can work there whoever it is. Another owner's files
// stay somebody else's.
bool Sandboxes::map_directory(SandboxPlan& plan, size_t slot) const {
    struct stat facts{};
    if (fstat(plan.directory, &facts) != 0) return false;
    const uint32_t task = uid_base_ + static_cast<uint32_t>(slot);
    plan.directory_tree = map_folder(plan.directory, facts.st_uid, task, facts.st_gid, task);
    return plan.directory_tree >= 0;
}

InitResult Sandboxes::start(size_t slot, SandboxPlan& plan, uint32_t layers, int oom_score_adj) {
    InitResult failed;
    const auto refuse = [&failed](Step step) {
        failed.step = step;
        failed.error = errno;
        return failed;
    };
    // Not every file system can show its files with other ids.
    if ((layers & kLayerOwnUid) != 0 && plan.directory >= 0 && !map_directory(plan, slot)) return refuse(Step::kMap);
    set_ids(plan, slot, (layers & kLayerOwnUid) != 0);
    plan.layers = layers;
    plan.landlock_abi = landlock_abi_;
    plan.child.filter = filter(layers, plan.directory);
    if ((layers & kLayerNetwork) != 0 && makes_networks_) {
        // Never one that was used: a port that lingers there would be this task's trouble.
        wants_networks_ = true;
        plan.network = spare_network_ >= 0 ? spare_network_ : make_network();
        spare_network_ = -1;
        if (plan.network < 0) return refuse(Step::kNetwork);
    }
    const InitResult init = start_init(plan);
    if (plan.network >= 0) close(plan.network);
    if (plan.directory_tree >= 0) close(plan.directory_tree);
    if (init.step != Step::kNone) return init;
    Step step = Step::kNone;
    if (plan.ids_by_helper &&
        !write_id_maps(init.pid, plan.inside_uid, plan.outside_uid, plan.inside_gid, plan.outside_gid)) {
        step = Step::kIds;
    } else if ((layers & kCgroupLayers) != 0 &&
               !(cgroups_.prepare_slot(slot, layers, *plan.wish) && cgroups_.join(slot, layers, init.pid))) {
        step = Step::kCgroup;
    }
    if (step == Step::kNone) {
        // A task dies before the worker when memory runs out.
        if (oom_score_adj != 0) set_oom_score(init.pid, oom_score_adj);
        if (let_go(init.control)) return init;
        step = Step::kInit;
    }
    refuse(step);
    kill(init.pid, SIGKILL);
    while (waitpid(init.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    close(init.pidfd);
    close(init.control);
    return failed;
}

void Sandboxes::use_idle_time() {
    if (wants_networks_ && spare_network_ < 0) spare_network_ = make_network();
    // One that failed is tried again by the task that needs it, which can say why.
    if (spare_network_ < 0) wants_networks_ = false;
}

bool Sandboxes::confine(ChildPlan& plan, uint32_t layers, const char* const* readable, size_t readable_count,
                        const char* const* writable, size_t writable_count) const {
    plan.drop_capabilities = (layers & kLayerCapabilities) != 0;
    plan.filter = filter(layers, plan.directory);
    if ((layers & kLayerLandlock) == 0) return true;
    LandlockRules rules;
    if (!rules.begin(landlock_abi_, (layers & kLayerNoSockets) != 0)) return false;
    for (size_t index = 0; index < readable_count; ++index) {
        if (!rules.allow_reading(readable[index])) return false;
    }
    for (size_t index = 0; index < writable_count; ++index) {
        if (!rules.allow_writing(writable[index])) return false;
    }
    if (!rules.allow_reading("/proc")) return false;
    for (const char* device : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}) {
        if (!rules.allow_writing(device)) return false;
    }
    char directory[32];
    snprintf(directory, sizeof directory, "/proc/self/fd/%d", plan.directory);
    if (!rules.allow_writing(directory)) return false;
    plan.landlock = rules.take();
    return true;
}

}  // namespace wa::helper
