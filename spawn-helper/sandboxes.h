// What this machine offers to put around a task, found out once by trying it; and the parts that belong to a task slot
// (user id, cgroup).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cgroups.h"
#include "confinement.h"
#include "protocol.h"
#include "sandbox.h"

namespace wa::helper {

// One for each way to be: all are made once, since init and child only copy them.
struct Filters {
    static constexpr size_t kModes = 3;  // no bit refused, setuid, setuid and setgid
    Filters();
    SystemCallFilter by_root_network_modes[2][2][kModes];
};

class Sandboxes {
public:
    // Tries what the worker asks for and writes down what there is, and why the rest is not.
    void probe(const Hello& hello, const char* name, Ready& ready);

    // Layers that are wanted and not there.
    [[nodiscard]] uint32_t missing(const Sandbox& wish) const { return wish.layers & ~layers_; }

    // A task with namespaces. Init is running when it succeeds.
    InitResult start(size_t slot, SandboxPlan& plan, uint32_t layers, int oom_score_adj);
    // For a task without them: what it puts around itself. The ruleset is the caller's to close. False with errno.
    bool confine(ChildPlan& plan, uint32_t layers, const char* const* readable, size_t readable_count,
                 const char* const* writable, size_t writable_count) const;
    // `directory`: where the task works; -1 = in a workspace that goes with it.
    [[nodiscard]] const SystemCallFilter* filter(uint32_t layers, int directory) const;

    // To be called when there is nothing else to do: makes the network of the next task ahead of time.
    void use_idle_time();

    Cgroups& cgroups() { return cgroups_; }

private:
    Obstacle try_once(uint32_t layers, bool own_ids);
    Obstacle start_probe(SandboxPlan& plan, bool own_ids);
    void set_ids(SandboxPlan& plan, size_t slot, bool own_ids) const;
    bool map_directory(SandboxPlan& plan, size_t slot) const;

    uint32_t layers_ = 0;
    int landlock_abi_ = 0;
    bool maps_ids_ = false;        // the helper may map ids of others
    bool makes_networks_ = false;  // … and make networks without staying in them
    uint32_t uid_base_ = 0;
    bool wants_networks_ = false;  // some task had one
    int spare_network_ = -1;
    const Filters filters_;
    Cgroups cgroups_;
};

}  // namespace wa::helper
