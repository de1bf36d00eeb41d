// Limits of memory, processes and processor time for whole tasks, by the cgroup of each task slot: version 2 where its
// controllers are delegated to us, else version 1 where it may be written. One folder for the worker below its own, one
// in it for each slot that was used; a slot's folder is used again, since making and removing one costs more than a
// spawn.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

namespace wa::helper {

struct CgroupUsage {
    int64_t memory_peak_bytes = -1;
    int64_t out_of_memory = -1;
    int64_t processes_refused = -1;
    int64_t throttled_us = -1;
};

class Cgroups {
public:
    // Finds what can be used and removes what helpers of this name left that are gone: one that is still leaving takes
    // care of its own. Layers of kCgroupLayers; 0 with `obstacle`.
    uint32_t discover(const char* name, Obstacle& obstacle);
    // Makes the slot's folders and sets its limits. False with errno.
    bool prepare_slot(size_t slot, uint32_t layers, const Sandbox& limits);
    // Puts a process, and all that it will start, under them; 0 = the calling process. Allocates nothing. False with
    // errno.
    bool join(size_t slot, uint32_t layers, pid_t pid) const;
    // What happened since prepare_slot().
    CgroupUsage usage(size_t slot, uint32_t layers);
    // Kills whatever is in a slot's folders. True when there was anything.
    bool kill_all(size_t slot);
    // Files in memory of the task before may still be charged to a slot that nobody has; they must not count against
    // the next one.
    void unburden(size_t slot);
    void remove_all();

private:
    static constexpr size_t kPathSize = 512;
    static constexpr size_t kSlots = kTaskLimit;
    struct Controller {
        int version = 0;         // 0 = not to be had
        char base[kPathSize]{};  // folder of the slots
    };
    struct Slot {
        bool made = false;
        uint64_t memory = 0;
        uint64_t processes = 0;
        uint64_t cpu = 0;
        int64_t out_of_memory = 0;  // counters as they stood at prepare_slot()
        int64_t processes_refused = 0;
        int64_t throttled_us = 0;
    };
    enum Which { kMemory, kProcesses, kCpu, kCount };

    bool find(const char* controller, const char* name, Controller& found);
    bool prepare(Controller& controller, const char* parent, const char* name, bool version2);
    [[nodiscard]] bool is_there(size_t slot, uint32_t layers) const;
    bool make_slot(size_t slot, uint32_t layers);
    bool set_limits(Slot& at, size_t slot, uint32_t layers, const Sandbox& limits);
    bool write_value(Which which, size_t slot, const char* file, const char* text) const;
    int64_t read_value(Which which, size_t slot, const char* file, const char* key);
    [[nodiscard]] bool same_folder(Which one, Which other) const;
    static void sweep(const char* base);
    static void sweep_dead(const char* parent, const char* name);

    Controller controllers_[kCount];
    Slot slots_[kSlots];
};

}  // namespace wa::helper
