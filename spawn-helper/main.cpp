// worker-agents-spawn-helper: starts, times and ends the local tasks of one worker.
//
// It is started while the worker is small, so a spawn costs the same whatever the worker grows to. It is the subreaper
// of everything its tasks leave behind, keeps each task's hard deadline itself, and kills all of it when its socket
// closes (the worker died) or when the worker's tick is older than the lease (the worker was stopped). One thread, no
// blocking call but poll; the only memory that grows is one record per task.
//
// Orphans are attributed in this order: process group or session of a task, its environment marker, and for those that
// shed both: the tasks that ran when the orphan was first seen. Such an orphan dies when the last of those tasks has
// ended.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <new>

#include "child.h"
#include "process_table.h"
#include "protocol.h"

namespace wa::helper {
namespace {

constexpr int kSocket = 3;
constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kCleanupPatience = 3 * kSecond;     // until left-over processes are reported as alive
constexpr int64_t kUnkillablePatience = 5 * kSecond;  // from SIGKILL until the main process is reported as alive
constexpr int64_t kHauntedPause = kSecond;
constexpr int64_t kLastPatience = 10 * kSecond;  // after the worker is gone
constexpr int64_t kSweepPatience = 5 * kSecond;
constexpr int64_t kMaxSleep = kSecond;  // poll does not count suspend: never sleep longer while tasks run
constexpr int kMessagesPerRound = 64;
constexpr size_t kMaxOrphans = 4096;

enum class State { kRunning, kCleaning };

struct Task {
    uint64_t id = 0;
    uint64_t sequence = 0;
    pid_t pid = -1;
    State state = State::kRunning;
    bool main_gone = false;
    bool reported = false;  // the worker was told that something could not be killed; go on quietly
    bool term_sent = false;
    bool kill_sent = false;
    Cause cause = Cause::kNone;
    int64_t deadline = 0;  // boot time; 0 = none
    int64_t grace = 0;
    int64_t kill_at = 0;  // hard kill; 0 = none
    int64_t killed_at = 0;
    int64_t cleaning_since = 0;
    int64_t retry_at = 0;
    int64_t retry_pause = 0;
    int wait_status = 0;
    rusage usage{};
    int64_t ended_at = 0;
    uint32_t left_behind = 0;
    uint32_t alive = 0;
    char* marker = nullptr;  // value of kAttemptVariable; owned
};

struct Orphan {
    pid_t pid;
    uint64_t start_time;
    uint64_t sequence;  // the newest task when it was first seen
};

struct Outgoing {
    Outgoing* next;
    int fd;  // -1 = none; owned
    size_t size;
    AnyAnswer answer;
};

class Helper {
public:
    int run();

private:
    bool prepare();
    void receive();
    void handle(const AnyRequest& request, size_t size, const char* body, size_t body_size, const int* fds,
                size_t fd_count);
    void on_hello(const Hello& hello);
    void on_spawn(const Spawn& spawn, const char* inline_body, size_t inline_size, const int* fds, size_t fd_count);
    void on_kill(const Kill& kill);
    void fail(uint64_t id, Step step, int error);
    void soft_kill(Task& task, Cause cause, int64_t grace);
    void hard_kill(Task& task, Cause cause);
    void hard_kill_all(Cause cause);
    void reap();
    void main_ended(Task& task, pid_t pid);
    void clean(Task& task);
    uint32_t kill_orphans_of(Task& task);
    bool belongs_to(const Task& task, pid_t pid, const ProcessFacts& facts);
    uint64_t first_seen(pid_t pid, uint64_t start_time);
    void forget_orphan(pid_t pid);
    void report(Task& task);
    void drop(size_t index);
    void run_timers();
    int next_timeout() const;
    void send(const AnyAnswer& answer, size_t size, int fd);
    void flush();
    bool nothing_left();
    Task* by_id(uint64_t id);
    Task* by_pid(pid_t pid);
    template <class Message>
    Message message(Type type, uint64_t id) const {
        Message m;
        memset(&m, 0, sizeof m);
        const Header header{kMagic, static_cast<uint16_t>(type), 0, id};
        memcpy(&m, &header, sizeof header);  // every message begins with it
        return m;
    }
    template <class Message>
    void send_message(const Message& m, int fd = -1) {
        AnyAnswer answer;
        memset(&answer, 0, sizeof answer);
        memcpy(&answer, &m, sizeof m);
        send(answer, sizeof m, fd);
    }

    bool greeted_ = false;
    bool dying_ = false;
    bool connected_ = true;
    int64_t dying_since_ = 0;
    int64_t now_ = 0;
    int64_t lease_ = 0;
    int64_t last_tick_ = 0;
    bool lease_over_ = false;
    int oom_score_adj_ = 0;
    uint32_t features_ = 0;
    size_t max_tasks_ = 0;
    size_t task_count_ = 0;
    Task** tasks_ = nullptr;
    uint64_t sequence_ = 0;
    size_t orphan_count_ = 0;
    Orphan orphans_[kMaxOrphans];
    Outgoing* out_first_ = nullptr;
    Outgoing* out_last_ = nullptr;
    int signals_ = -1;
    int null_ = -1;
    PidList children_;
    PidList below_;
    alignas(16) char packet_[sizeof(Spawn) + kInlineBodyLimit];
};

// --- start

bool Helper::prepare() {
    prctl(PR_SET_NAME, "wa-spawn-helper", 0, 0, 0);
    // Tasks run as the same user: keep them from tracing us or reading our memory.
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setsid();  // Ctrl-C in the worker's terminal is the worker's business
    umask(077);
    if (chdir("/") != 0) return false;  // hold no one's mount busy
    // The socket is number 3 by agreement, /dev/null becomes 0 to 2 and 4, all else is closed.
    if (fcntl(kSocket, F_SETFD, FD_CLOEXEC) != 0) return false;  // there is no worker
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return false;
    for (int fd = 0; fd < 3; ++fd) {
        if (dup2(null, fd) < 0) return false;
    }
    null_ = kSocket + 1;
    if (null != null_ && dup3(null, null_, O_CLOEXEC) < 0) return false;
    if (syscall(SYS_close_range, 5U, ~0U, 0U) == 0) features_ |= kFeatureCloseRange;
    // Dispositions are inherited by the tasks: all default. All signals are blocked here and unblocked in each child.
    // By the bare system call, since libc keeps two signals to itself.
    const unsigned long default_action[4] = {0, 0, 0, 0};
    for (int signal = 1; signal < 65; ++signal)
        syscall(SYS_rt_sigaction, signal, default_action, nullptr, size_t{8});
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signals_ = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) return false;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0) features_ |= kFeatureSubreaper;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) features_ |= kFeatureNoNewPrivileges;
    if (const long fd = syscall(SYS_pidfd_open, getpid(), 0U); fd >= 0) {
        features_ |= kFeaturePidfd;
        close(static_cast<int>(fd));
    }
    if (have_children_file()) features_ |= kFeatureChildrenFile;
    return true;
}

int Helper::run() {
    if (!prepare()) return 2;
    now_ = last_tick_ = boot_now_ns();
    for (;;) {
        pollfd polled[2] = {{signals_, POLLIN, 0}, {kSocket, POLLIN, 0}};
        if (out_first_ != nullptr) polled[1].events |= POLLOUT;
        if (!connected_) polled[1].fd = -1;
        poll(polled, 2, next_timeout());
        now_ = boot_now_ns();
        // Hang-up first: requests of a worker that is gone are not carried out any more.
        if (connected_ && (polled[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
            connected_ = false;
            dying_ = true;
        } else if (connected_ && !dying_ && (polled[1].revents & POLLIN) != 0) {
            receive();
        }
        if ((polled[0].revents & POLLIN) != 0) {
            signalfd_siginfo info[16];
            while (read(signals_, info, sizeof info) > 0) {
            }
            reap();
        }
        run_timers();
        if (dying_) {
            if (dying_since_ == 0) {
                dying_since_ = now_;
                hard_kill_all(Cause::kShutdown);
            }
            if (nothing_left() || now_ - dying_since_ > kLastPatience) {
                flush();
                return 0;
            }
        }
        flush();
    }
}

// --- requests

void Helper::receive() {
    for (int round = 0; round < kMessagesPerRound && !dying_; ++round) {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * (kMaxFds + 3))];
        iovec part{packet_, sizeof packet_};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        const ssize_t got = recvmsg(kSocket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) dying_ = true;
            return;
        }
        int fds[kMaxFds + 3];
        size_t fd_count = 0;
        for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
            if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
            const size_t count = (entry->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t index = 0; index < count && fd_count < kMaxFds + 3; ++index) {
                memcpy(&fds[fd_count++], CMSG_DATA(entry) + index * sizeof(int), sizeof(int));
            }
        }
        AnyRequest request;
        memset(&request, 0, sizeof request);
        const size_t size = static_cast<size_t>(got);
        memcpy(&request, packet_, size < sizeof request ? size : sizeof request);
        const bool cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
        if (cut || size < sizeof(Header) || request.header.magic != kMagic) {
            if (size != 0) send_message(message<Header>(Type::kRefused, 0));
        } else {
            const size_t fixed = size < sizeof(Spawn) ? size : sizeof(Spawn);
            handle(request, size, packet_ + fixed, size - fixed, fds, fd_count);
        }
        for (size_t index = 0; index < fd_count; ++index)
            close(fds[index]);
        // An empty packet and the end of the socket look the same; poll tells them apart.
        if (size == 0) return;
    }
}

void Helper::handle(const AnyRequest& request, size_t size, const char* body, size_t body_size, const int* fds,
                    size_t fd_count) {
    last_tick_ = now_;  // whoever asks, lives
    switch (static_cast<Type>(request.header.type)) {
        case Type::kHello:
            if (size == sizeof(Hello) && !greeted_) return on_hello(request.hello);
            break;
        case Type::kSpawn:
            if (size >= sizeof(Spawn) && greeted_) return on_spawn(request.spawn, body, body_size, fds, fd_count);
            break;
        case Type::kKill:
            if (size == sizeof(Kill)) return on_kill(request.kill);
            break;
        case Type::kTick:
            if (size == sizeof(Header)) {
                lease_over_ = false;
                send_message(message<Header>(Type::kTock, request.header.id));
                return;
            }
            break;
        case Type::kShutdown:
            if (size == sizeof(Header)) {
                dying_ = true;
                return;
            }
            break;
        default: break;
    }
    if (static_cast<Type>(request.header.type) == Type::kSpawn) {
        fail(request.header.id, Step::kProtocol, EBADMSG);
    } else {
        send_message(message<Header>(Type::kRefused, request.header.id));
    }
}

void Helper::on_hello(const Hello& hello) {
    char marker[kMarkerSize];
    memcpy(marker, hello.marker, sizeof marker);
    marker[kMarkerSize - 1] = '\0';
    max_tasks_ = hello.max_tasks == 0 || hello.max_tasks > kTaskLimit ? kTaskLimit : hello.max_tasks;
    tasks_ = static_cast<Task**>(calloc(max_tasks_, sizeof(Task*)));
    if (tasks_ == nullptr) max_tasks_ = 0;
    lease_ = hello.lease_ns > static_cast<uint64_t>(INT64_MAX) ? 0 : static_cast<int64_t>(hello.lease_ns);
    oom_score_adj_ = hello.oom_score_adj < -1000 || hello.oom_score_adj > 1000 ? 0 : hello.oom_score_adj;
    greeted_ = true;
    auto ready = message<Ready>(Type::kReady, hello.header.id);
    if (marker[0] != '\0') ready.swept = sweep_marker(marker, kSweepPatience, ready.swept_alive);
    ready.features = features_;
    now_ = last_tick_ = boot_now_ns();
    send_message(ready);
}

void Helper::fail(uint64_t id, Step step, int error) {
    auto failed = message<Failed>(Type::kFailed, id);
    failed.step = step;
    failed.error = error;
    send_message(failed);
}

// Cuts the body into its strings. The pointers lead into `body`, which must end with NUL.
bool cut_body(char* body, size_t size, const Spawn& spawn, char** strings) {
    if (size == 0 || body[size - 1] != '\0') return false;
    const size_t wanted = size_t{1} + spawn.argument_count + spawn.environment_count;
    size_t found = 0;
    for (size_t at = 0; at < size;) {
        if (found == wanted) return false;
        strings[found++] = body + at;
        at += strlen(body + at) + 1;
    }
    return found == wanted;
}

void Helper::on_spawn(const Spawn& spawn, const char* inline_body, size_t inline_size, const int* fds,
                      size_t fd_count) {
    const uint64_t id = spawn.header.id;
    const bool has_stdin = (spawn.header.flags & kHasStdin) != 0;
    const bool in_memfd = (spawn.header.flags & kBodyInMemfd) != 0;
    const size_t expected_fds = size_t{3} + (has_stdin ? 1 : 0) + (in_memfd ? 1 : 0);
    if (fd_count != expected_fds || spawn.argument_count == 0 || spawn.argument_count > kMaxArguments ||
        spawn.environment_count > kMaxEnvironment || spawn.body_size > kBodyLimit || spawn.deadline_boot_ns < 0 ||
        (in_memfd ? inline_size != 0 : inline_size != spawn.body_size)) {
        return fail(id, Step::kProtocol, EBADMSG);
    }
    if (by_id(id) != nullptr) return fail(id, Step::kProtocol, EEXIST);
    if (task_count_ >= max_tasks_) return fail(id, Step::kTaskLimit, EAGAIN);
    char* body = static_cast<char*>(malloc(size_t{spawn.body_size} + 1));
    // One slot for the end of each vector.
    const size_t slots = size_t{spawn.argument_count} + spawn.environment_count + 3;
    char** strings = static_cast<char**>(calloc(slots + 1, sizeof(char*)));
    Task* task = static_cast<Task*>(malloc(sizeof(Task)));
    auto release = [&] {
        free(body);
        free(strings);
        free(task);
    };
    if (body == nullptr || strings == nullptr || task == nullptr) {
        release();
        return fail(id, Step::kClone, ENOMEM);
    }
    *task = Task{};
    if (in_memfd) {
        const int fd = fds[fd_count - 1];
        struct stat facts{};
        // Nothing but a plain file of the right size is read: a pipe could keep us waiting.
        bool good =
            fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size == static_cast<off_t>(spawn.body_size);
        size_t at = 0;
        while (good && at < spawn.body_size) {
            const ssize_t got = pread(fd, body + at, spawn.body_size - at, static_cast<off_t>(at));
            if (got < 0 && errno == EINTR) continue;
            good = got > 0;
            if (good) at += static_cast<size_t>(got);
        }
        if (!good) {
            release();
            return fail(id, Step::kBody, EBADMSG);
        }
    } else {
        memcpy(body, inline_body, inline_size);
    }
    char** cut = strings;
    if (!cut_body(body, spawn.body_size, spawn, cut) || cut[0][0] != '/') {
        release();
        return fail(id, Step::kProtocol, EBADMSG);
    }
    // [exe, args…, env…] becomes exe, [args…, null], [env…, null]: move the environment one slot to the right.
    const char* executable = cut[0];
    char** arguments = cut + 1;
    char** environment = cut + 2 + spawn.argument_count;
    memmove(environment, environment - 1, spawn.environment_count * sizeof(char*));
    arguments[spawn.argument_count] = nullptr;
    environment[spawn.environment_count] = nullptr;
    for (uint32_t index = 0; index < spawn.environment_count; ++index) {
        const size_t length = sizeof kAttemptVariable - 1;
        if (strncmp(environment[index], kAttemptVariable, length) == 0)
            task->marker = strdup(environment[index] + length);
    }
    const ChildPlan plan{executable, arguments, environment, has_stdin ? fds[3] : null_,
                         fds[0],     fds[1],    fds[2],      spawn.limits};
    const ChildResult child = start_child(plan);
    free(body);
    free(strings);
    if (child.step != Step::kNone) {
        free(task->marker);
        free(task);
        return fail(id, child.step, child.error);
    }
    task->id = id;
    task->pid = child.pid;
    task->sequence = ++sequence_;
    task->deadline = spawn.deadline_boot_ns;
    task->grace = static_cast<int64_t>(spawn.grace_ms) * kMillisecond;
    tasks_[task_count_++] = task;
    // A task dies before the worker when memory runs out. Not in the child: until exec it shares our memory, and with
    // it the protection that keeps others (and so itself) from writing there.
    if (oom_score_adj_ != 0) set_oom_score(child.pid, oom_score_adj_);
    lease_over_ = false;
    auto started = message<Started>(Type::kStarted, id);
    started.pid = child.pid;
    send_message(started, child.pidfd);
    now_ = boot_now_ns();
}

void Helper::on_kill(const Kill& kill) {
    Task* task = by_id(kill.header.id);
    if (task == nullptr || task->main_gone) return;  // its end is on the way
    if (kill.hard != 0) {
        hard_kill(*task, Cause::kRequest);
    } else {
        soft_kill(*task, Cause::kRequest, static_cast<int64_t>(kill.grace_ms) * kMillisecond);
    }
}

// --- ending tasks

void Helper::soft_kill(Task& task, Cause cause, int64_t grace) {
    if (task.main_gone || task.kill_sent) return;
    if (grace <= 0) return hard_kill(task, cause);
    const int64_t kill_at = now_ + grace;
    if (task.kill_at == 0 || kill_at < task.kill_at) task.kill_at = kill_at;
    if (task.term_sent) return;
    if (task.cause == Cause::kNone) task.cause = cause;
    task.term_sent = true;
    kill(-task.pid, SIGTERM);
    kill(-task.pid, SIGCONT);  // one that stopped itself must see it too
}

void Helper::hard_kill(Task& task, Cause cause) {
    if (task.main_gone) return;
    if (task.cause == Cause::kNone) task.cause = cause;
    if (!task.kill_sent) task.killed_at = now_;
    task.kill_sent = true;
    task.kill_at = 0;
    // The pid is ours until we reap it, so the group is the right one.
    below_.clear();
    list_descendants(task.pid, below_);
    kill(-task.pid, SIGKILL);
    for (size_t index = 0; index < below_.size(); ++index) {
        ProcessFacts facts{};
        if (read_facts(below_[index], facts)) kill_exactly(below_[index], facts.start_time);
    }
}

void Helper::hard_kill_all(Cause cause) {
    for (size_t index = 0; index < task_count_; ++index)
        hard_kill(*tasks_[index], cause);
}

void Helper::reap() {
    for (;;) {
        siginfo_t info{};
        // Look first: the group must be killed while the dead leader still holds its number.
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
        const pid_t pid = info.si_pid;
        if (Task* task = by_pid(pid); task != nullptr) {
            main_ended(*task, pid);
        } else {
            waitpid(pid, nullptr, 0);
            forget_orphan(pid);
        }
    }
    for (size_t index = task_count_; index > 0; --index) {
        Task& task = *tasks_[index - 1];
        if (task.state == State::kCleaning) clean(task);
        if (task.state == State::kCleaning && task.alive == 0) drop(index - 1);
    }
}

void Helper::main_ended(Task& task, pid_t pid) {
    kill_orphans_of(task);
    kill(-pid, SIGKILL);
    wait4(pid, &task.wait_status, 0, &task.usage);
    task.main_gone = true;
    task.ended_at = now_;
    task.state = State::kCleaning;
    task.cleaning_since = now_;
    task.retry_pause = kMillisecond;
}

// One round of killing what the task left. Reports when nothing is left, or when patience is over.
void Helper::clean(Task& task) {
    task.alive = kill_orphans_of(task);
    task.retry_at = now_ + task.retry_pause;
    if (task.retry_pause < 20 * kMillisecond) task.retry_pause *= 2;
    if (task.alive == 0) {
        report(task);
    } else if (now_ - task.cleaning_since > kCleanupPatience) {
        report(task);
        task.retry_pause = kHauntedPause;
    }
}

// Kills the orphans of a task that has ended, with all below them. Returns how many of them are not dead yet.
uint32_t Helper::kill_orphans_of(Task& task) {
    children_.clear();
    list_children(getpid(), children_);
    uint32_t alive = 0;
    for (size_t index = 0; index < children_.size(); ++index) {
        const pid_t pid = children_[index];
        if (by_pid(pid) != nullptr) continue;
        ProcessFacts facts{};
        if (!read_facts(pid, facts) || facts.state == 'Z' || facts.state == 'X') continue;
        if (!belongs_to(task, pid, facts)) continue;
        below_.clear();
        list_descendants(pid, below_);
        kill(pid, SIGKILL);  // our child: the number cannot be taken by another
        ++alive;
        for (size_t inner = 0; inner < below_.size(); ++inner) {
            ProcessFacts of_inner{};
            if (read_facts(below_[inner], of_inner) && kill_exactly(below_[inner], of_inner.start_time)) ++alive;
        }
    }
    if (alive > task.left_behind) task.left_behind = alive;
    return alive;
}

bool Helper::belongs_to(const Task& task, pid_t pid, const ProcessFacts& facts) {
    if (facts.group == task.pid || facts.session == task.pid) return true;
    for (size_t index = 0; index < task_count_; ++index) {
        const Task& other = *tasks_[index];
        if (&other != &task && (facts.group == other.pid || facts.session == other.pid)) return other.main_gone;
    }
    char value[1024];
    if (task.marker != nullptr && read_variable(pid, kAttemptVariable, value, sizeof value)) {
        if (strcmp(value, task.marker) == 0) return true;
        for (size_t index = 0; index < task_count_; ++index) {
            const Task& other = *tasks_[index];
            if (other.marker != nullptr && strcmp(value, other.marker) == 0) return other.main_gone;
        }
    }
    // It shed session and environment: it may belong to any task that ran when it was first seen.
    const uint64_t seen = first_seen(pid, facts.start_time);
    for (size_t index = 0; index < task_count_; ++index) {
        const Task& other = *tasks_[index];
        if (&other != &task && !other.main_gone && other.sequence <= seen) return false;
    }
    return true;
}

uint64_t Helper::first_seen(pid_t pid, uint64_t start_time) {
    for (size_t index = 0; index < orphan_count_; ++index) {
        if (orphans_[index].pid == pid && orphans_[index].start_time == start_time) return orphans_[index].sequence;
    }
    if (orphan_count_ < kMaxOrphans) orphans_[orphan_count_++] = Orphan{pid, start_time, sequence_};
    return sequence_;
}

void Helper::forget_orphan(pid_t pid) {
    for (size_t index = 0; index < orphan_count_; ++index) {
        if (orphans_[index].pid == pid) {
            orphans_[index] = orphans_[--orphan_count_];
            return;
        }
    }
}

void Helper::report(Task& task) {
    if (task.reported) return;
    task.reported = true;
    auto exited = message<Exited>(Type::kExited, task.id);
    exited.wait_status = task.wait_status;
    exited.cause = task.cause;
    exited.term_sent = task.term_sent ? 1 : 0;
    exited.kill_sent = task.kill_sent ? 1 : 0;
    exited.left_behind = task.left_behind;
    exited.alive = task.alive;
    exited.main_alive = task.main_gone ? 0 : 1;
    exited.user_us = task.usage.ru_utime.tv_sec * 1'000'000L + task.usage.ru_utime.tv_usec;
    exited.system_us = task.usage.ru_stime.tv_sec * 1'000'000L + task.usage.ru_stime.tv_usec;
    exited.max_rss_kb = task.usage.ru_maxrss;
    exited.ended_boot_ns = task.main_gone ? task.ended_at : now_;
    send_message(exited);
}

void Helper::drop(size_t index) {
    Task* task = tasks_[index];
    tasks_[index] = tasks_[--task_count_];
    free(task->marker);
    free(task);
}

bool Helper::nothing_left() {
    if (task_count_ != 0) return false;
    children_.clear();
    list_children(getpid(), children_);
    for (size_t index = 0; index < children_.size(); ++index)
        kill(children_[index], SIGKILL);
    return children_.size() == 0;
}

// --- time

void Helper::run_timers() {
    if (lease_ > 0 && !lease_over_ && now_ - last_tick_ > lease_) {
        lease_over_ = true;
        hard_kill_all(Cause::kLease);
    }
    for (size_t index = task_count_; index > 0; --index) {
        Task& task = *tasks_[index - 1];
        if (task.state == State::kCleaning) {
            if (now_ >= task.retry_at) clean(task);
            if (task.alive == 0) drop(index - 1);
            continue;
        }
        if (task.deadline != 0 && now_ >= task.deadline) {
            task.deadline = 0;
            soft_kill(task, Cause::kDeadline, task.grace);
        }
        if (task.kill_at != 0 && now_ >= task.kill_at) hard_kill(task, task.cause);
        if (task.kill_sent && !task.reported && now_ - task.killed_at > kUnkillablePatience) {
            task.alive = 1;
            report(task);
        }
    }
}

int Helper::next_timeout() const {
    if (dying_) return 5;
    if (task_count_ == 0) return -1;
    int64_t next = now_ + kMaxSleep;
    auto consider = [&next](int64_t when) {
        if (when != 0 && when < next) next = when;
    };
    if (lease_ > 0 && !lease_over_) consider(last_tick_ + lease_ + 1);
    for (size_t index = 0; index < task_count_; ++index) {
        const Task& task = *tasks_[index];
        if (task.state == State::kCleaning) {
            consider(task.retry_at);
        } else {
            consider(task.deadline);
            consider(task.kill_at);
            if (task.kill_sent && !task.reported) consider(task.killed_at + kUnkillablePatience + 1);
        }
    }
    const int64_t wait = next - boot_now_ns();
    return wait <= 0 ? 0 : static_cast<int>((wait + kMillisecond - 1) / kMillisecond);
}

// --- answers

void Helper::send(const AnyAnswer& answer, size_t size, int fd) {
    Outgoing* entry = static_cast<Outgoing*>(malloc(sizeof(Outgoing)));
    if (entry == nullptr || !connected_) {
        // Without memory for one answer the worker would wait for ever: leave, which it sees at once.
        if (fd >= 0) close(fd);
        free(entry);
        if (connected_) dying_ = true;
        return;
    }
    *entry = Outgoing{nullptr, fd, size, answer};
    (out_last_ != nullptr ? out_last_->next : out_first_) = entry;
    out_last_ = entry;
    flush();
}

void Helper::flush() {
    while (out_first_ != nullptr) {
        Outgoing* entry = out_first_;
        if (connected_) {
            iovec part{&entry->answer, entry->size};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
            if (entry->fd >= 0) {
                memset(control, 0, sizeof control);
                header.msg_control = control;
                header.msg_controllen = sizeof control;
                cmsghdr* rights = CMSG_FIRSTHDR(&header);
                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(rights), &entry->fd, sizeof(int));
            }
            const ssize_t sent = sendmsg(kSocket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)) return;
        }
        out_first_ = entry->next;
        if (out_first_ == nullptr) out_last_ = nullptr;
        if (entry->fd >= 0) close(entry->fd);
        free(entry);
    }
}

Task* Helper::by_id(uint64_t id) {
    for (size_t index = 0; index < task_count_; ++index) {
        if (tasks_[index]->id == id) return tasks_[index];
    }
    return nullptr;
}

Task* Helper::by_pid(pid_t pid) {
    for (size_t index = 0; index < task_count_; ++index) {
        if (tasks_[index]->pid == pid && !tasks_[index]->main_gone) return tasks_[index];
    }
    return nullptr;
}

// Larger than a stack should be asked for, and zero in the file.
alignas(Helper) char memory[sizeof(Helper)];

}  // namespace
}  // namespace wa::helper

int main() {
    using wa::helper::Helper;
    return (new (wa::helper::memory) Helper)->run();
}
