#include "cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace wa::helper {
namespace {

constexpr const char* kControllerNames[] = {"memory", "pids", "cpu"};
constexpr uint32_t kLayerOf[] = {kLayerMemory, kLayerProcesses, kLayerCpu};
constexpr long kPeriodUs = 100'000;
constexpr int64_t kForgivenBytes = 1 << 20;
constexpr int kRemovalRounds = 200;  // of 5 ms: processes that were killed need a moment to go

bool write_file(const char* path, const char* text) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const size_t length = strlen(text);
    const ssize_t written = write(fd, text, length);
    const int error = errno;
    close(fd);
    errno = error;
    return written == static_cast<ssize_t>(length);
}

// The file's first bytes, ended with NUL.
bool read_file(const char* path, char* buffer, size_t capacity) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t got = read(fd, buffer, capacity - 1);
    close(fd);
    if (got < 0) return false;
    buffer[got] = '\0';
    return true;
}

// True when `word` is one of the items of `list`.
bool has_word(const char* list, const char* word, char separator) {
    const size_t length = strlen(word);
    for (const char* at = list; *at != '\0';) {
        const char* end = strchr(at, separator);
        const size_t size = end == nullptr ? strcspn(at, "\n") : static_cast<size_t>(end - at);
        if (size == length && strncmp(at, word, length) == 0) return true;
        if (end == nullptr) return false;
        at = end + 1;
    }
    return false;
}

// Where this process stands in the hierarchy of a controller (version 1), or in that of version 2 (`controller` null).
bool own_path(const char* controller, char* path, size_t capacity) {
    FILE* file = fopen("/proc/self/cgroup", "re");
    if (file == nullptr) return false;
    char line[1024];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != nullptr) {
        char* names = strchr(line, ':');
        char* where = names == nullptr ? nullptr : strchr(names + 1, ':');
        if (where == nullptr) continue;
        *where++ = '\0';
        ++names;
        found = controller == nullptr ? *names == '\0' : has_word(names, controller, ',');
        if (found) {
            where[strcspn(where, "\n")] = '\0';
            snprintf(path, capacity, "%s", where);
        }
    }
    fclose(file);
    return found;
}

// The mount point of that hierarchy, less the part of our own path that the mount hides.
bool mount_of(const char* controller, char* folder, size_t capacity, char* hidden, size_t hidden_capacity) {
    FILE* file = fopen("/proc/self/mountinfo", "re");
    if (file == nullptr) return false;
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != nullptr) {
        const char* tail = strstr(line, " - ");
        char type[32];
        char options[512];
        char root[512];
        char point[512];
        if (tail == nullptr || sscanf(tail + 3, "%31s %*s %511s", type, options) != 2) continue;
        if (sscanf(line, "%*s %*s %*s %511s %511s", root, point) != 2) continue;
        found = controller == nullptr ? strcmp(type, "cgroup2") == 0
                                      : strcmp(type, "cgroup") == 0 && has_word(options, controller, ',');
        if (found) {
            snprintf(folder, capacity, "%s", point);
            snprintf(hidden, hidden_capacity, "%s", strcmp(root, "/") == 0 ? "" : root);
        }
    }
    fclose(file);
    return found;
}

bool own_folder(const char* controller, char* folder, size_t capacity) {
    char point[512];
    char hidden[512];
    char path[1024];
    if (!own_path(controller, path, sizeof path)) return false;
    if (!mount_of(controller, point, sizeof point, hidden, sizeof hidden)) return false;
    const char* rest = path;
    const size_t length = strlen(hidden);
    if (length > 0 && strncmp(path, hidden, length) == 0) rest = path + length;
    const int written = snprintf(folder, capacity, "%s%s", point, strcmp(rest, "/") == 0 ? "" : rest);
    return written > 0 && static_cast<size_t>(written) < capacity;
}

// Version 2: lets the folders below have a controller.
bool pass_on_in(const char* folder, const char* controller) {
    char path[640];
    char order[32];
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", folder);
    snprintf(order, sizeof order, "+%s", controller);
    return write_file(path, order);
}

void pause_briefly() {
    const timespec pause{0, 5'000'000};
    nanosleep(&pause, nullptr);
}

// True when there were any.
bool kill_members(const char* folder) {
    char path[640];
    snprintf(path, sizeof path, "%s/cgroup.procs", folder);
    FILE* file = fopen(path, "re");
    if (file == nullptr) return false;
    char kill_file[640];
    snprintf(kill_file, sizeof kill_file, "%s/cgroup.kill", folder);
    bool any = false;
    bool at_once = false;
    long pid = 0;
    while (!at_once && fscanf(file, "%ld", &pid) == 1) {
        if (!any) at_once = write_file(kill_file, "1");  // version 2: all of them, also those just being forked
        any = true;
        if (!at_once && pid > 1) kill(static_cast<pid_t>(pid), SIGKILL);
    }
    fclose(file);
    return any;
}

void remove_folder(const char* folder) {
    for (int round = 0; round < kRemovalRounds; ++round) {
        if (rmdir(folder) == 0 || errno != EBUSY) return;
        kill_members(folder);
        pause_briefly();
    }
}

}  // namespace

bool Cgroups::same_folder(Which one, Which other) const {
    return strcmp(controllers_[one].base, controllers_[other].base) == 0;
}

// Everything below a folder of ours: an earlier helper may have been killed before it could tidy up.
void Cgroups::sweep(const char* base) {
    DIR* dir = opendir(base);
    if (dir == nullptr) return;
    while (const dirent* entry = readdir(dir)) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        char path[kPathSize + 260];
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        kill_members(path);
        remove_folder(path);
    }
    closedir(dir);
    rmdir(base);
}

// The folders of helpers that had this name and are no more.
void Cgroups::sweep_dead(const char* parent, const char* name) {
    char prefix[kMarkerSize + 48];
    const int length = snprintf(prefix, sizeof prefix, "worker-agents-%s-", name);
    DIR* dir = opendir(parent);
    if (dir == nullptr) return;
    while (const dirent* entry = readdir(dir)) {
        if (strncmp(entry->d_name, prefix, static_cast<size_t>(length)) != 0) continue;
        const long pid = atol(entry->d_name + length);
        if (pid <= 0 || kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH) continue;
        char path[kPathSize + 260];
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        sweep(path);
    }
    closedir(dir);
}

bool Cgroups::prepare(Controller& controller, const char* parent, const char* name, bool version2) {
    const int written =
        snprintf(controller.base, sizeof controller.base, "%s/worker-agents-%s-%d", parent, name, getpid());
    if (written <= 0 || static_cast<size_t>(written) + 32 >= sizeof controller.base) {
        errno = ENAMETOOLONG;
        return false;
    }
    sweep_dead(parent, name);
    if (mkdir(controller.base, 0755) != 0 && errno != EEXIST) return false;
    controller.version = version2 ? 2 : 1;
    return true;
}

bool Cgroups::find(const char* name_of_controller, const char* name, Controller& found) {
    char parent[kPathSize];
    char path[kPathSize + 64];
    char text[512];
    if (own_folder(nullptr, parent, sizeof parent)) {
        snprintf(path, sizeof path, "%s/cgroup.controllers", parent);
        if (read_file(path, text, sizeof text) && has_word(text, name_of_controller, ' ')) {
            // Refused while processes stand beside the new folder; then another folder must be delegated to us.
            if (!pass_on_in(parent, name_of_controller) || !prepare(found, parent, name, true)) return false;
            if (pass_on_in(found.base, name_of_controller)) return true;
            found.version = 0;
            return false;
        }
    }
    if (own_folder(name_of_controller, parent, sizeof parent)) return prepare(found, parent, name, false);
    errno = ENOENT;
    return false;
}

uint32_t Cgroups::discover(const char* name, Obstacle& obstacle) {
    uint32_t layers = 0;
    for (int which = 0; which < kCount; ++which) {
        if (find(kControllerNames[which], name, controllers_[which])) {
            layers |= kLayerOf[which];
        } else {
            obstacle = Obstacle{Step::kCgroup, errno};
            controllers_[which].version = 0;
        }
    }
    return layers;
}

bool Cgroups::write_value(Which which, size_t slot, const char* file, const char* text) const {
    char path[kPathSize + 96];
    snprintf(path, sizeof path, "%s/%zu/%s", controllers_[which].base, slot, file);
    return write_file(path, text);
}

// A number from a file: all of it, or the line that begins with `key`.
int64_t Cgroups::read_value(Which which, size_t slot, const char* file, const char* key) {
    char path[kPathSize + 96];
    char text[2048];
    snprintf(path, sizeof path, "%s/%zu/%s", controllers_[which].base, slot, file);
    if (!read_file(path, text, sizeof text)) return -1;
    const char* at = text;
    if (key != nullptr) {
        const size_t length = strlen(key);
        for (;;) {
            if (strncmp(at, key, length) == 0 && at[length] == ' ') break;
            at = strchr(at, '\n');
            if (at == nullptr) return -1;
            ++at;
        }
        at += length + 1;
    }
    char* end = nullptr;
    const long long value = strtoll(at, &end, 10);
    return end == at ? -1 : value;
}

bool Cgroups::is_there(size_t slot, uint32_t layers) const {
    for (int which = 0; which < kCount; ++which) {
        if ((layers & kLayerOf[which]) == 0) continue;
        char path[kPathSize + 32];
        snprintf(path, sizeof path, "%s/%zu", controllers_[which].base, slot);
        if (access(path, F_OK) != 0) return false;
    }
    return true;
}

bool Cgroups::make_slot(size_t slot, uint32_t layers) {
    for (int which = 0; which < kCount; ++which) {
        if ((layers & kLayerOf[which]) == 0) continue;
        char path[kPathSize + 32];
        // Somebody may have removed that one as well.
        mkdir(controllers_[which].base, 0755);
        if (controllers_[which].version == 2 && !pass_on_in(controllers_[which].base, kControllerNames[which]))
            return false;
        snprintf(path, sizeof path, "%s/%zu", controllers_[which].base, slot);
        if (mkdir(path, 0755) != 0 && errno != EEXIST) return false;
    }
    return true;
}

bool Cgroups::set_limits(Slot& at, size_t slot, uint32_t layers, const Sandbox& limits) {
    char text[48];
    const auto number = [&text](uint64_t value, const char* none) -> const char* {
        if (value == 0) return none;
        snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(value));
        return text;
    };
    if ((layers & kLayerMemory) != 0 && (!at.made || at.memory != limits.memory_bytes)) {
        if (controllers_[kMemory].version == 2) {
            if (!write_value(kMemory, slot, "memory.max", number(limits.memory_bytes, "max"))) return false;
            write_value(kMemory, slot, "memory.swap.max", limits.memory_bytes == 0 ? "max" : "0");
            write_value(kMemory, slot, "memory.oom.group", "1");
        } else {
            at.memory = UINT64_MAX;  // until it is known again
            // The two limits may not cross at any moment, and the second one is there with swap accounting only.
            write_value(kMemory, slot, "memory.memsw.limit_in_bytes", "-1");
            if (!write_value(kMemory, slot, "memory.limit_in_bytes", number(limits.memory_bytes, "-1"))) return false;
            write_value(kMemory, slot, "memory.memsw.limit_in_bytes", number(limits.memory_bytes, "-1"));
        }
        at.memory = limits.memory_bytes;
    }
    if ((layers & kLayerProcesses) != 0 && (!at.made || at.processes != limits.processes)) {
        if (!write_value(kProcesses, slot, "pids.max", number(limits.processes, "max"))) return false;
        at.processes = limits.processes;
    }
    if ((layers & kLayerCpu) != 0 && (!at.made || at.cpu != limits.cpu_millis)) {
        const bool limited = limits.cpu_millis != 0;
        const long quota = limited ? static_cast<long>(limits.cpu_millis) * kPeriodUs / 1000 : -1;
        if (controllers_[kCpu].version == 2) {
            if (limited) {
                snprintf(text, sizeof text, "%ld %ld", quota, kPeriodUs);
            } else {
                snprintf(text, sizeof text, "max %ld", kPeriodUs);
            }
            if (!write_value(kCpu, slot, "cpu.max", text)) return false;
        } else {
            snprintf(text, sizeof text, "%ld", quota);
            if (!write_value(kCpu, slot, "cpu.cfs_quota_us", text)) return false;
        }
        at.cpu = limits.cpu_millis;
    }
    return true;
}

bool Cgroups::prepare_slot(size_t slot, uint32_t layers, const Sandbox& limits) {
    if (slot >= kSlots) {
        errno = ERANGE;
        return false;
    }
    Slot& at = slots_[slot];
    // Somebody may have removed the folders of an idle slot.
    if (at.made && !is_there(slot, layers)) at = Slot{};
    if (!at.made && !make_slot(slot, kCgroupLayers & layers)) return false;
    if (!set_limits(at, slot, layers, limits)) return false;
    at.made = true;
    const bool version1 = controllers_[kMemory].version == 1;
    if ((layers & kLayerMemory) != 0 && version1) write_value(kMemory, slot, "memory.max_usage_in_bytes", "0");
    at.out_of_memory = at.processes_refused = at.throttled_us = 0;
    const CgroupUsage before = usage(slot, layers);
    at.out_of_memory = before.out_of_memory > 0 ? before.out_of_memory : 0;
    at.processes_refused = before.processes_refused > 0 ? before.processes_refused : 0;
    at.throttled_us = before.throttled_us > 0 ? before.throttled_us : 0;
    return true;
}

bool Cgroups::join(size_t slot, uint32_t layers, pid_t pid) const {
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    for (int which = 0; which < kCount; ++which) {
        if ((layers & kLayerOf[which]) == 0) continue;
        bool entered = false;
        for (int before_it = 0; before_it < which; ++before_it) {
            entered = entered || ((layers & kLayerOf[before_it]) != 0 &&
                                  same_folder(static_cast<Which>(which), static_cast<Which>(before_it)));
        }
        if (!entered && !write_value(static_cast<Which>(which), slot, "cgroup.procs", text)) return false;
    }
    return true;
}

CgroupUsage Cgroups::usage(size_t slot, uint32_t layers) {
    CgroupUsage found;
    const Slot& at = slots_[slot];
    const auto since = [](int64_t now, int64_t before) { return now < 0 ? -1 : now > before ? now - before : 0; };
    if ((layers & kLayerMemory) != 0) {
        const bool version2 = controllers_[kMemory].version == 2;
        found.out_of_memory = since(
            read_value(kMemory, slot, version2 ? "memory.events" : "memory.oom_control", "oom_kill"), at.out_of_memory);
        // Version 2 cannot begin anew within one folder: its peak is that of all tasks in it, so it is not told.
        if (!version2) found.memory_peak_bytes = read_value(kMemory, slot, "memory.max_usage_in_bytes", nullptr);
    }
    if ((layers & kLayerProcesses) != 0)
        found.processes_refused = since(read_value(kProcesses, slot, "pids.events", "max"), at.processes_refused);
    if ((layers & kLayerCpu) != 0) {
        int64_t throttled = 0;
        if (controllers_[kCpu].version == 2) {
            throttled = read_value(kCpu, slot, "cpu.stat", "throttled_usec");
        } else {
            throttled = read_value(kCpu, slot, "cpu.stat", "throttled_time");
            if (throttled > 0) throttled /= 1000;
        }
        found.throttled_us = since(throttled, at.throttled_us);
    }
    return found;
}

bool Cgroups::kill_all(size_t slot) {
    if (slot >= kSlots || !slots_[slot].made) return false;
    for (const Controller& controller : controllers_) {
        if (controller.version == 0) continue;
        char path[kPathSize + 32];
        snprintf(path, sizeof path, "%s/%zu", controller.base, slot);
        return kill_members(path);  // a task is in all of them or in none
    }
    return false;
}

void Cgroups::unburden(size_t slot) {
    if (slot >= kSlots || !slots_[slot].made || controllers_[kMemory].version == 0) return;
    if (read_value(kMemory, slot, "memory.stat", "shmem") <= kForgivenBytes) return;
    // A new folder starts at nothing; what is charged to the old one stays with its parent.
    for (const Controller& controller : controllers_) {
        if (controller.version == 0) continue;
        char path[kPathSize + 32];
        snprintf(path, sizeof path, "%s/%zu", controller.base, slot);
        rmdir(path);
    }
    slots_[slot] = Slot{};
}

void Cgroups::remove_all() {
    for (const Controller& controller : controllers_) {
        if (controller.version != 0) sweep(controller.base);
    }
}

}  // namespace wa::helper
