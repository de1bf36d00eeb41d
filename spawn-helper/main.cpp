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

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <new>

#include "helper.h"

namespace wa::helper {

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
        pollfd two[2];
        pollfd* const polled = polled_ != nullptr ? polled_ : two;
        polled[0] = {signals_, POLLIN, 0};
        polled[1] = {connected_ ? kSocket : -1, POLLIN, 0};
        if (out_first_ != nullptr) polled[1].events |= POLLOUT;
        nfds_t count = 2;
        for (size_t index = 0; index < task_count_; ++index) {
            if (tasks_[index]->control >= 0) polled[count++] = {tasks_[index]->control, POLLIN, 0};
        }
        // What can be prepared is, while nobody waits.
        if (poll(polled, count, 0) == 0) {
            sandboxes_.use_idle_time();
            poll(polled, count, next_timeout());
        }
        now_ = boot_now_ns();
        // Hang-up first: requests of a worker that is gone are not carried out any more.
        if (connected_ && (polled[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
            connected_ = false;
            dying_ = true;
        } else if (connected_ && !dying_ && (polled[1].revents & POLLIN) != 0) {
            receive();
        }
        for (nfds_t at = 2; at < count; ++at) {
            if (polled[at].revents == 0) continue;
            for (size_t index = 0; index < task_count_; ++index) {
                if (tasks_[index]->control == polled[at].fd) hear_init(*tasks_[index]);
            }
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
                sandboxes_.cgroups().remove_all();
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
    polled_ = static_cast<pollfd*>(calloc(max_tasks_ + 2, sizeof(pollfd)));
    if (tasks_ == nullptr || polled_ == nullptr) max_tasks_ = 0;
    lease_ = hello.lease_ns > static_cast<uint64_t>(INT64_MAX) ? 0 : static_cast<int64_t>(hello.lease_ns);
    oom_score_adj_ = hello.oom_score_adj < -1000 || hello.oom_score_adj > 1000 ? 0 : hello.oom_score_adj;
    greeted_ = true;
    auto ready = message<Ready>(Type::kReady, hello.header.id);
    if (marker[0] != '\0') ready.swept = sweep_marker(marker, kSweepPatience, ready.swept_alive);
    ready.features = features_;
    char name[kMarkerSize + 16];
    snprintf(name, sizeof name, marker[0] != '\0' ? "%s" : "%s%d", marker[0] != '\0' ? marker : "process-", getpid());
    sandboxes_.probe(hello, name, ready);
    now_ = last_tick_ = boot_now_ns();
    send_message(ready);
}

void Helper::fail(uint64_t id, Step step, int error) {
    auto failed = message<Failed>(Type::kFailed, id);
    failed.step = step;
    failed.error = error;
    send_message(failed);
}

// --- answers

void Helper::send(const AnyAnswer& answer, size_t size, int fd, int second_fd) {
    Outgoing* entry = static_cast<Outgoing*>(malloc(sizeof(Outgoing)));
    if (entry == nullptr || !connected_) {
        // Without memory for one answer the worker would wait for ever: leave, which it sees at once.
        if (fd >= 0) close(fd);
        if (second_fd >= 0) close(second_fd);
        free(entry);
        if (connected_) dying_ = true;
        return;
    }
    *entry = Outgoing{nullptr, {fd, second_fd}, size, answer};
    (out_last_ != nullptr ? out_last_->next : out_first_) = entry;
    out_last_ = entry;
    flush();
}

void Helper::flush() {
    while (out_first_ != nullptr) {
        Outgoing* entry = out_first_;
        const size_t fd_count = entry->fds[0] < 0 ? 0 : entry->fds[1] < 0 ? 1 : 2;
        if (connected_) {
            iovec part{&entry->answer, entry->size};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof entry->fds)];
            if (fd_count > 0) {
                memset(control, 0, sizeof control);
                header.msg_control = control;
                header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
                cmsghdr* rights = CMSG_FIRSTHDR(&header);
                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
                memcpy(CMSG_DATA(rights), entry->fds, sizeof(int) * fd_count);
            }
            const ssize_t sent = sendmsg(kSocket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)) return;
        }
        out_first_ = entry->next;
        if (out_first_ == nullptr) out_last_ = nullptr;
        for (size_t index = 0; index < fd_count; ++index)
            close(entry->fds[index]);
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

namespace {
// Larger than a stack should be asked for, and zero in the file.
alignas(Helper) char memory[sizeof(Helper)];
}  // namespace

Helper* make_helper() {
    return new (memory) Helper;
}

}  // namespace wa::helper

int main() {
    return wa::helper::make_helper()->run();
}
