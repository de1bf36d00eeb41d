// Reading /proc with plain system calls: who is whose child, who carries which marker.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

namespace wa::helper {

struct ProcessFacts {
    pid_t parent;
    pid_t group;
    pid_t session;
    char state;  // as in /proc/PID/stat: 'R', 'S', 'Z', …
    uint64_t start_time;
};

// A bounded list of process ids; what does not fit is dropped, and the next round finds it.
class PidList {
public:
    static constexpr size_t kCapacity = 16384;
    bool add(pid_t pid);
    [[nodiscard]] bool contains(pid_t pid) const;
    void clear() { size_ = 0; }
    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] pid_t operator[](size_t index) const { return pids_[index]; }

private:
    size_t size_ = 0;
    pid_t pids_[kCapacity];
};

bool read_facts(pid_t pid, ProcessFacts& facts);
// True when /proc has the children files (CONFIG_PROC_CHILDREN).
bool have_children_file();
// The children of every thread of `pid`.
void list_children(pid_t pid, PidList& out);
// Everything below `pid`, without itself, nearest first.
void list_descendants(pid_t pid, PidList& out);
// Copies the value of the environment entry that starts with `name` (with its '='); false when there is none.
bool read_variable(pid_t pid, const char* name, char* value, size_t capacity);
// SIGKILL by pidfd, only if the process still is what `start_time` says. True when a signal was sent.
bool kill_exactly(pid_t pid, uint64_t start_time);
// Kills all processes with kStateVariable=`marker` and all below them, sparing this process and its ancestors. Repeats
// until a round finds none, at most `limit_ns`. Returns how many were killed; `alive` is how many were left in the last
// round.
uint32_t sweep_marker(const char* marker, int64_t limit_ns, uint32_t& alive);

// Best effort: some containers forbid it.
void set_oom_score(pid_t pid, int score);

int64_t boot_now_ns();

}  // namespace wa::helper
