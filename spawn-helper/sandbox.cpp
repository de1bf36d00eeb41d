#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "process_table.h"
#include "root.h"

namespace wa::helper {
namespace {

// The kernel's structure, of a size that Linux 5.3 knows already.
struct CloneArguments {
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
};

constexpr uint64_t kCloneFlags[][2] = {
    {kLayerUser, CLONE_NEWUSER}, {kLayerPid, CLONE_NEWPID}, {kLayerMount, CLONE_NEWNS},
    {kLayerIpc, CLONE_NEWIPC},   {kLayerUts, CLONE_NEWUTS}, {kLayerCgroupNs, CLONE_NEWCGROUP},
};

uint64_t clone_flags(const SandboxPlan& plan) {
    uint64_t flags = CLONE_PIDFD;
    for (const auto& [layer, flag] : kCloneFlags) {
        if ((plan.layers & layer) != 0) flags |= flag;
    }
    if ((plan.layers & kLayerNetwork) != 0 && plan.network < 0) flags |= CLONE_NEWNET;
    return flags;
}

bool write_text(const char* path, const char* text) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t written = write(fd, text, strlen(text));
    const int error = errno;
    close(fd);
    errno = error;
    return written == static_cast<ssize_t>(strlen(text));
}

bool write_map(const char* process, const char* file, unsigned inside, unsigned outside) {
    char path[64];
    char text[48];
    snprintf(path, sizeof path, "/proc/%s/%s", process, file);
    snprintf(text, sizeof text, "%u %u 1\n", inside, outside);
    return write_text(path, text);
}

void send_word(int control, const InitWord& word, int fd = -1) {
    InitWord copy = word;
    iovec part{&copy, sizeof copy};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof(int))]{};
    if (fd >= 0) {
        header.msg_control = rights;
        header.msg_controllen = sizeof rights;
        cmsghdr* entry = CMSG_FIRSTHDR(&header);
        entry->cmsg_level = SOL_SOCKET;
        entry->cmsg_type = SCM_RIGHTS;
        entry->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(entry), &fd, sizeof fd);
    }
    while (sendmsg(control, &header, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

[[noreturn]] void fail(int control, Step step, int error) {
    send_word(control, InitWord{InitWord::Kind::kFailed, step, error, 0, 0});
    _exit(1);
}

// Keeps the descriptors that init needs (all above 2) and closes the rest of the helper's.
void close_others(const SandboxPlan& plan, int control) {
    int keep[10 + kMaxSecrets];
    size_t count = 0;
    const auto add = [&](int fd) {
        if (fd < 3) return;
        size_t at = count++;
        for (; at > 0 && keep[at - 1] > fd; --at)
            keep[at] = keep[at - 1];
        keep[at] = fd;
    };
    for (const int fd :
         {control, plan.child.input, plan.child.output, plan.child.errors, plan.directory, plan.directory_tree})
        add(fd);
    for (uint32_t index = 0; index < plan.wish->secret_count; ++index)
        add(plan.secrets[index]);
    unsigned from = 3;
    for (size_t index = 0; index < count; ++index) {
        const auto fd = static_cast<unsigned>(keep[index]);
        if (fd > from) syscall(SYS_close_range, from, fd - 1, 0U);
        from = fd + 1;
    }
    syscall(SYS_close_range, from, ~0U, 0U);
}

bool map_own_ids(const SandboxPlan& plan) {
    // The files belong to us only while we may be traced; nobody else is in here yet.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    const bool mapped = write_text("/proc/self/setgroups", "deny") &&
                        write_map("self", "uid_map", plan.inside_uid, plan.outside_uid) &&
                        write_map("self", "gid_map", plan.inside_gid, plan.outside_gid);
    const int error = errno;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    errno = error;
    return mapped;
}

bool take_ids(const SandboxPlan& plan) {
    if (plan.ids_by_helper) {
        // Where groups may not be set at all (EPERM), there are none but the ones we have.
        if (setgroups_none() != 0 && errno != EPERM) return false;
    } else if (!map_own_ids(plan)) {
        return false;
    }
    return syscall(SYS_setresgid, plan.inside_gid, plan.inside_gid, plan.inside_gid) == 0 &&
           syscall(SYS_setresuid, plan.inside_uid, plan.inside_uid, plan.inside_uid) == 0;
}

bool start_loopback() {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno == EAFNOSUPPORT;  // a kernel without it has nothing to start
    ifreq request{};
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    const bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    const int error = errno;
    close(fd);
    errno = error;
    return up;
}

int landlock_rules(const SandboxPlan& plan) {
    LandlockRules rules;
    if (!rules.begin(plan.landlock_abi, false) || !rules.allow_reading("/")) return -1;
    for (const char* path : {"/task", "/tmp", "/dev", "/proc"}) {
        if (!rules.allow_writing(path)) return -1;
    }
    if (plan.directory_path[0] != '\0' && !rules.allow_writing(plan.directory_path)) return -1;
    return rules.take();
}

// How many processes are left beside init; each is about to be killed by the kernel.
uint32_t count_others() {
    uint32_t count = 0;
    for (const pid_t pid : ProcessNumbers()) {
        ProcessFacts facts{};
        if (pid != 1 && read_facts(pid, facts) && facts.state != 'Z' && facts.state != 'X') ++count;
    }
    return count;
}

// Waits for the task's main process; every other one that ends here is an orphan that init inherited.
[[noreturn]] void look_after(pid_t main, int control) {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    for (;;) {
        int status = 0;
        pid_t pid = 0;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            if (pid != main) continue;
            send_word(control, InitWord{InitWord::Kind::kEnded, Step::kNone, 0, status, count_others()});
            _exit(0);
        }
        siginfo_t signal{};
        if (sigwaitinfo(&wanted, &signal) == SIGTERM) {
            kill(-main, SIGTERM);
            kill(-main, SIGCONT);  // one that stopped itself must see it too
        }
    }
}

[[noreturn]] void be_init(const SandboxPlan& plan, int control) {
    close_others(plan, control);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail(control, Step::kDeathSignal, errno);
    // A helper that died before that line cannot answer any more.
    char go = 0;
    ssize_t got = 0;
    while ((got = recv(control, &go, 1, 0)) < 0 && errno == EINTR) {
    }
    if (got != 1) _exit(1);
    Parts parts;
    if (const Step step = take_parts(plan, parts); step != Step::kNone) fail(control, step, errno);
    if (!take_ids(plan)) fail(control, Step::kIds, errno);
    // Another user id may open us to those who have it …
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) fail(control, Step::kIds, errno);
    // … and cancels the death signal; whoever waits for us may have gone in between.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail(control, Step::kDeathSignal, errno);
    if (recv(control, &go, 1, MSG_DONTWAIT | MSG_PEEK) == 0) _exit(1);
    if ((plan.layers & kLayerUts) != 0) {
        constexpr char kName[] = "task";
        if (sethostname(kName, sizeof kName - 1) != 0) fail(control, Step::kRoot, errno);
    }
    if ((plan.layers & kLayerNetwork) != 0 && plan.network < 0 && !start_loopback()) {
        fail(control, Step::kNetwork, errno);
    }
    int folder = -1;
    if (const Step step = build_root(plan, parts, folder); step != Step::kNone) fail(control, step, errno);
    SandboxPlan final = plan;
    if ((plan.layers & kLayerLandlock) != 0) {
        final.child.landlock = landlock_rules(plan);
        if (final.child.landlock < 0) fail(control, Step::kLandlock, errno);
    }
    final.child.directory =
        open(plan.directory_path[0] != '\0' ? plan.directory_path : kTaskWork, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (final.child.directory < 0) fail(control, Step::kDirectory, errno);
    if (!drop_capabilities()) fail(control, Step::kCapabilities, errno);
    final.child.drop_capabilities = false;  // init holds none to pass on
    prctl(PR_SET_NAME, "wa-task-init", 0, 0, 0);
    if (plan.probe) {
        send_word(control, InitWord{InitWord::Kind::kStarted, Step::kNone, 0, 0, 0});
        _exit(0);
    }
    const ChildResult child = start_child(final.child);
    if (child.step != Step::kNone) fail(control, child.step, child.error);
    send_word(control, InitWord{InitWord::Kind::kStarted, Step::kNone, 0, 0, 0}, folder);
    // Whoever holds the task's output or input open delays its end.
    syscall(SYS_close_range, 3U, static_cast<unsigned>(control) - 1, 0U);
    syscall(SYS_close_range, static_cast<unsigned>(control) + 1, ~0U, 0U);
    look_after(child.pid, control);
}

}  // namespace

bool write_id_maps(pid_t pid, uid_t inside_uid, uid_t outside_uid, gid_t inside_gid, gid_t outside_gid) {
    char process[16];
    snprintf(process, sizeof process, "%d", pid);
    return write_map(process, "uid_map", inside_uid, outside_uid) &&
           write_map(process, "gid_map", inside_gid, outside_gid);
}

bool let_go(int control) {
    const char go = 1;
    return send(control, &go, 1, MSG_NOSIGNAL) == 1;
}

Heard read_word(int control, InitWord& word, int& folder) {
    folder = -1;
    iovec part{&word, sizeof word};
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = rights;
    header.msg_controllen = sizeof rights;
    ssize_t got = 0;
    while ((got = recvmsg(control, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    const cmsghdr* entry = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
    if (entry != nullptr && entry->cmsg_type == SCM_RIGHTS) memcpy(&folder, CMSG_DATA(entry), sizeof folder);
    if (got == static_cast<ssize_t>(sizeof word)) return Heard::kWord;
    if (folder >= 0) close(folder);
    folder = -1;
    return got < 0 && errno == EAGAIN ? Heard::kNothing : Heard::kEnd;
}

InitResult start_init(const SandboxPlan& plan) {
    InitResult result;
    const auto failed = [&result](Step step) {
        result.step = step;
        result.error = errno;
        return result;
    };
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return failed(Step::kClone);
    int own_network = -1;
    if (plan.network >= 0) {
        own_network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (own_network < 0 || setns(plan.network, CLONE_NEWNET) != 0) {
            failed(Step::kNetwork);
            close(ends[0]);
            close(ends[1]);
            if (own_network >= 0) close(own_network);
            return result;
        }
    }
    CloneArguments arguments{};
    arguments.flags = clone_flags(plan);
    int pidfd = -1;
    arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
    arguments.exit_signal = SIGCHLD;
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) be_init(plan, ends[1]);
    failed(Step::kClone);
    close(ends[1]);
    if (own_network >= 0) {
        // In a network that is not ours nothing may go on.
        if (setns(own_network, CLONE_NEWNET) != 0) _exit(3);
        close(own_network);
    }
    if (pid < 0) {
        close(ends[0]);
        return result;
    }
    result.step = Step::kNone;
    result.error = 0;
    result.pid = static_cast<pid_t>(pid);
    result.pidfd = pidfd;
    result.control = ends[0];
    return result;
}

int make_network() {
    const int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0) return -1;
    int made = -1;
    int error = 0;
    // Where the way back is barred, the way in must not be taken.
    if (setns(own, CLONE_NEWNET) == 0 && unshare(CLONE_NEWNET) == 0) {
        if (start_loopback()) made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        error = errno;
        if (setns(own, CLONE_NEWNET) != 0) _exit(3);
    } else {
        error = errno;
    }
    close(own);
    errno = error;
    return made;
}

// A user namespace that stands for a mapping of ids; nothing runs in it.
static int make_mapping(uid_t inside_uid, uid_t outside_uid, gid_t inside_gid, gid_t outside_gid) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) != 0) return -1;
    CloneArguments arguments{};
    arguments.flags = CLONE_NEWUSER;
    arguments.exit_signal = SIGCHLD;
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        close(gate[1]);
        char ignored = 0;
        while (read(gate[0], &ignored, 1) < 0 && errno == EINTR) {
        }
        _exit(0);
    }
    int fd = -1;
    int error = errno;
    close(gate[0]);
    if (pid > 0) {
        if (write_id_maps(static_cast<pid_t>(pid), inside_uid, outside_uid, inside_gid, outside_gid)) {
            char path[48];
            snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
            fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        error = errno;
    }
    close(gate[1]);
    if (pid > 0) {
        while (waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    errno = error;
    return fd;
}

int map_folder(int folder, uid_t owner_uid, uid_t task_uid, gid_t owner_gid, gid_t task_gid) {
    const int mapping = make_mapping(owner_uid, task_uid, owner_gid, task_gid);
    if (mapping < 0) return -1;
    const int tree = clone_tree(folder, mapping);
    const int error = errno;
    close(mapping);
    errno = error;
    return tree;
}

}  // namespace wa::helper
