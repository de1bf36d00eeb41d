#include "process_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

namespace wa::helper {
namespace {

constexpr size_t kPathSize = 64;

int open_proc(pid_t pid, const char* name) {
    char path[kPathSize];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

// Reads up to capacity - 1 bytes and ends them with NUL; -1 on error.
ssize_t read_all(int fd, char* buffer, size_t capacity) {
    size_t used = 0;
    while (used + 1 < capacity) {
        const ssize_t got = read(fd, buffer + used, capacity - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        used += static_cast<size_t>(got);
    }
    buffer[used] = '\0';
    return static_cast<ssize_t>(used);
}

pid_t parse_pid(const char* name) {
    if (*name < '1' || *name > '9') return 0;
    char* end = nullptr;
    const long value = strtol(name, &end, 10);
    return *end == '\0' && value > 0 && value <= INT32_MAX ? static_cast<pid_t>(value) : 0;
}

// Calls visit(pid) for every numbered entry of a directory in /proc.
template <class Visit>
bool each_number(const char* path, Visit visit) {
    DIR* dir = opendir(path);
    if (dir == nullptr) return false;
    while (const dirent* entry = readdir(dir)) {
        if (const pid_t pid = parse_pid(entry->d_name); pid > 0) visit(pid);
    }
    closedir(dir);
    return true;
}

void read_children_file(pid_t pid, pid_t thread, PidList& out) {
    char name[kPathSize];
    snprintf(name, sizeof name, "task/%d/children", thread);
    const int fd = open_proc(pid, name);
    if (fd < 0) return;
    char buffer[4096];
    uint32_t value = 0;
    bool in_number = false;
    for (;;) {
        const ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        for (ssize_t index = 0; index < got; ++index) {
            const char c = buffer[index];
            if (c >= '0' && c <= '9') {
                value = value * 10 + static_cast<uint32_t>(c - '0');
                in_number = true;
            } else if (in_number) {
                out.add(static_cast<pid_t>(value));
                value = 0;
                in_number = false;
            }
        }
    }
    if (in_number) out.add(static_cast<pid_t>(value));
    close(fd);
}

void list_children_slowly(pid_t parent, PidList& out) {
    each_number("/proc", [&](pid_t pid) {
        ProcessFacts facts{};
        if (read_facts(pid, facts) && facts.parent == parent) out.add(pid);
    });
}

// One read of /proc/PID/environ, of which each piece keeps enough of the one before it to see entries across the seam.
class EnvironReader {
public:
    explicit EnvironReader(pid_t pid) : fd_(open_proc(pid, "environ")) {}
    ~EnvironReader() {
        if (fd_ >= 0) close(fd_);
    }
    EnvironReader(const EnvironReader&) = delete;
    EnvironReader& operator=(const EnvironReader&) = delete;

    // Finds the first entry that starts with `name`.
    bool find(const char* name, char* value, size_t capacity) {
        if (fd_ < 0) return false;
        const size_t length = strlen(name);
        size_t matched = 0;     // bytes of name seen at the start of this entry
        bool skipping = false;  // this entry is not the one
        size_t used = 0;
        char buffer[8192];
        for (;;) {
            const ssize_t got = read(fd_, buffer, sizeof buffer);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) break;
            for (ssize_t index = 0; index < got; ++index) {
                const char c = buffer[index];
                if (c == '\0') {
                    if (!skipping && matched == length) {
                        value[used] = '\0';
                        return true;
                    }
                    matched = used = 0;
                    skipping = false;
                } else if (skipping) {
                    continue;
                } else if (matched < length) {
                    if (c == name[matched]) {
                        ++matched;
                    } else {
                        skipping = true;
                    }
                } else if (used + 1 < capacity) {
                    value[used++] = c;
                } else {
                    skipping = true;  // longer than anything of ours
                }
            }
        }
        return false;
    }

private:
    int fd_;
};

}  // namespace

bool PidList::add(pid_t pid) {
    if (size_ >= kCapacity) return false;
    pids_[size_++] = pid;
    return true;
}

bool PidList::contains(pid_t pid) const {
    for (size_t index = 0; index < size_; ++index) {
        if (pids_[index] == pid) return true;
    }
    return false;
}

bool read_facts(pid_t pid, ProcessFacts& facts) {
    const int fd = open_proc(pid, "stat");
    if (fd < 0) return false;
    char buffer[1024];
    const ssize_t got = read_all(fd, buffer, sizeof buffer);
    close(fd);
    if (got <= 0) return false;
    // The name may hold blanks and brackets: the fields begin after the last ')'.
    const char* fields = strrchr(buffer, ')');
    if (fields == nullptr) return false;
    long long start = 0;
    char state = 0;
    int parent = 0;
    int group = 0;
    int session = 0;
    const int found =
        sscanf(fields + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld", &state,
               &parent, &group, &session, &start);
    if (found != 5) return false;
    facts = ProcessFacts{parent, group, session, state, static_cast<uint64_t>(start)};
    return true;
}

bool have_children_file() {
    char name[kPathSize];
    snprintf(name, sizeof name, "task/%d/children", getpid());
    const int fd = open_proc(getpid(), name);
    if (fd < 0) return false;
    close(fd);
    return true;
}

void list_children(pid_t pid, PidList& out) {
    static const bool fast = have_children_file();
    if (!fast) {
        list_children_slowly(pid, out);
        return;
    }
    if (pid == getpid()) {  // one thread
        read_children_file(pid, pid, out);
        return;
    }
    char path[kPathSize];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    each_number(path, [&](pid_t thread) { read_children_file(pid, thread, out); });
}

void list_descendants(pid_t pid, PidList& out) {
    size_t next = out.size();
    list_children(pid, out);
    while (next < out.size())
        list_children(out[next++], out);
}

bool read_variable(pid_t pid, const char* name, char* value, size_t capacity) {
    EnvironReader reader(pid);
    return reader.find(name, value, capacity);
}

bool kill_exactly(pid_t pid, uint64_t start_time) {
    const long fd = syscall(SYS_pidfd_open, pid, 0U);
    if (fd < 0) return false;
    // The descriptor names whoever has the number now; the start time says whether that is still the one we looked at.
    ProcessFacts facts{};
    bool sent = false;
    if (read_facts(pid, facts) && facts.start_time == start_time && facts.state != 'Z') {
        sent = syscall(SYS_pidfd_send_signal, static_cast<int>(fd), SIGKILL, nullptr, 0U) == 0;
    }
    close(static_cast<int>(fd));
    return sent;
}

void set_oom_score(pid_t pid, int score) {
    char path[kPathSize];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    char text[16];
    const int length = snprintf(text, sizeof text, "%d", score);
    [[maybe_unused]] const ssize_t written = write(fd, text, static_cast<size_t>(length));
    close(fd);
}

int64_t boot_now_ns() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

uint32_t sweep_marker(const char* marker, int64_t limit_ns, uint32_t& alive) {
    static PidList spared;
    static PidList below;
    spared.clear();
    for (pid_t pid = getpid(); pid > 0;) {
        spared.add(pid);
        ProcessFacts facts{};
        if (!read_facts(pid, facts)) break;
        pid = facts.parent;
    }
    const int64_t end = boot_now_ns() + limit_ns;
    uint32_t killed = 0;
    for (int round = 0;; ++round) {
        uint32_t found = 0;
        each_number("/proc", [&](pid_t pid) {
            if (spared.contains(pid)) return;
            ProcessFacts before{};
            if (!read_facts(pid, before) || before.state == 'Z') return;
            char value[kMarkerSize];
            if (!read_variable(pid, kStateVariable, value, sizeof value) || strcmp(value, marker) != 0) return;
            ++found;
            below.clear();
            list_descendants(pid, below);
            if (kill_exactly(pid, before.start_time) && round == 0) ++killed;
            for (size_t index = 0; index < below.size(); ++index) {
                ProcessFacts facts{};
                if (spared.contains(below[index]) || !read_facts(below[index], facts)) continue;
                if (kill_exactly(below[index], facts.start_time)) ++killed;
            }
        });
        alive = found;
        if (found == 0 || boot_now_ns() >= end) return killed;
        const timespec pause{0, 2'000'000L * (round < 10 ? round + 1 : 10)};
        nanosleep(&pause, nullptr);
    }
}

}  // namespace wa::helper
