#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace wa::helper {
namespace {

constexpr size_t kStackSize = 128 * 1024;

// Shared with the child: it runs in our memory while we wait, so it can simply write down what went wrong.
struct Shared {
    const ChildPlan* plan;
    pid_t helper;
    Step step;
    int error;
};

[[noreturn]] void give_up(Shared& shared, Step step) {
    shared.error = errno;
    shared.step = step;
    _exit(127);
}

// The wish is cut to what the helper itself may have: asking for more would fail without need.
bool limit(int resource, uint64_t value, uint64_t room) {
    if (value == kNoLimit) return true;
    rlimit current{};
    const auto which = static_cast<__rlimit_resource>(resource);
    if (getrlimit(which, &current) != 0) return false;
    rlimit wanted{};
    wanted.rlim_cur = value < current.rlim_max ? value : current.rlim_max;
    const rlim_t hard = value + room;
    wanted.rlim_max = hard < current.rlim_max ? hard : current.rlim_max;
    return setrlimit(which, &wanted) == 0;
}

bool set_limits(const Limits& limits) {
    // SIGXCPU at the soft limit, SIGKILL 5 s later.
    return limit(RLIMIT_CPU, limits.cpu_seconds, 5) && limit(RLIMIT_AS, limits.address_space, 0) &&
           limit(RLIMIT_DATA, limits.data, 0) && limit(RLIMIT_NOFILE, limits.open_files, 0) &&
           limit(RLIMIT_FSIZE, limits.file_size, 0) && limit(RLIMIT_NPROC, limits.processes, 0) &&
           limit(RLIMIT_CORE, limits.core, 0);
}

// The file that was checked must be the file that runs: it is opened, compared, and started by that descriptor.
int open_program(const ChildPlan& plan) {
    const int fd = open(plan.executable, O_PATH | O_CLOEXEC);
    struct stat facts{};
    if (fd < 0 || fstat(fd, &facts) != 0) return -1;
    const int64_t changed = facts.st_ctim.tv_sec * int64_t{1'000'000'000} + facts.st_ctim.tv_nsec;
    if (facts.st_dev == plan.program_device && facts.st_ino == plan.program_inode && changed == plan.program_changed_ns)
        return fd;
    errno = ESTALE;
    return -1;
}

// A script cannot be started by a descriptor that closes on exec (its interpreter could not read it): it is started by
// its name, which was compared a moment ago.
void execute(const ChildPlan& plan, int program) {
    if (program >= 0) {
        syscall(SYS_execveat, program, "", plan.arguments, plan.environment, AT_EMPTY_PATH);
        if (errno != ENOENT) return;
    }
    execve(plan.executable, plan.arguments, plan.environment);
}

int child_main(void* argument) {
    Shared& shared = *static_cast<Shared*>(argument);
    const ChildPlan& plan = *shared.plan;
    // The helper's signal dispositions are all default (main.cpp sees to it), so only the mask is to be reset, last.
    if (setsid() < 0) give_up(shared, Step::kSession);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) give_up(shared, Step::kDeathSignal);
    if (getppid() != shared.helper) {
        errno = ESRCH;
        give_up(shared, Step::kParentGone);
    }
    if (dup2(plan.input, 0) < 0 || dup2(plan.output, 1) < 0 || dup2(plan.errors, 2) < 0) give_up(shared, Step::kStdio);
    if (fchdir(plan.directory) != 0) give_up(shared, Step::kDirectory);
    // Everything the helper has is close-on-exec; this also takes what may have been inherited from the worker. The
    // table is our own copy (no CLONE_FILES).
    constexpr unsigned kCloseOnExec = 4;
    if (syscall(SYS_close_range, 3U, ~0U, kCloseOnExec) != 0 && plan.landlock < 0)
        syscall(SYS_close_range, 3U, ~0U, 0U);
    if (plan.cgroups != nullptr && !plan.cgroups->join(plan.slot, plan.cgroup_layers, 0))
        give_up(shared, Step::kCgroup);
    if (!set_limits(plan.limits)) give_up(shared, Step::kLimits);
    const int program = plan.program_inode != 0 ? open_program(plan) : -1;
    if (plan.program_inode != 0 && program < 0) give_up(shared, errno == ESTALE ? Step::kProgram : Step::kExec);
    if (plan.drop_capabilities && !drop_capabilities()) give_up(shared, Step::kCapabilities);
    if (plan.landlock >= 0 && !landlock_apply(plan.landlock)) give_up(shared, Step::kLandlock);
    if (plan.filter != nullptr && !plan.filter->apply()) give_up(shared, Step::kSeccomp);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, nullptr) != 0) give_up(shared, Step::kSignalMask);
    execute(plan, program);
    give_up(shared, Step::kExec);
}

char* stack_top() {
    static char* top = nullptr;
    if (top == nullptr) {
        void* memory =
            mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) return nullptr;
        top = static_cast<char*>(memory) + kStackSize;
    }
    return top;
}

}  // namespace

ChildResult start_child(const ChildPlan& plan) {
    ChildResult result;
    Shared shared{&plan, getpid(), Step::kNone, 0};
    char* const stack = stack_top();
    if (stack == nullptr) {
        result.step = Step::kClone;
        result.error = ENOMEM;
        return result;
    }
    int pidfd = -1;
    const pid_t pid = clone(child_main, stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &shared, &pidfd);
    if (pid < 0) {
        result.step = Step::kClone;
        result.error = errno;
        return result;
    }
    if (shared.step != Step::kNone) {
        while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        if (pidfd >= 0) close(pidfd);
        result.step = shared.step;
        result.error = shared.error;
        return result;
    }
    result.pid = pid;
    result.pidfd = pidfd;
    return result;
}

}  // namespace wa::helper
