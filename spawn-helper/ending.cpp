#include <sys/wait.h>

#include "helper.h"

namespace wa::helper {

inline constexpr int64_t kBlockBytes = 512;  // getrusage counts storage in these

// Whatever init has to say so far.
void Helper::hear_init(Task& task) {
    InitWord word{};
    int folder = -1;
    while (task.control >= 0) {
        const Heard heard = read_word(task.control, word, folder);
        if (heard == Heard::kNothing) return;
        if (heard == Heard::kEnd) {
            close(task.control);
            task.control = -1;
            return;
        }
        switch (word.kind) {
            case InitWord::Kind::kStarted: {
                const int pidfd = task.pidfd;
                task.pidfd = -1;
                tell_started(task, pidfd, folder);
                folder = -1;
                break;
            }
            case InitWord::Kind::kFailed:
                task.failed = true;
                fail(task.id, word.step, word.error);
                break;
            case InitWord::Kind::kEnded:
                task.ending = true;
                task.wait_status = word.wait_status;
                task.left_behind = word.left;
                task.killed_at = now_;
                break;
        }
        if (folder >= 0) close(folder);
    }
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

void Helper::soft_kill(Task& task, Cause cause, int64_t grace) {
    if (task.main_gone || task.kill_sent) return;
    if (grace <= 0) return hard_kill(task, cause);
    const int64_t kill_at = now_ + grace;
    if (task.kill_at == 0 || kill_at < task.kill_at) task.kill_at = kill_at;
    if (task.term_sent) return;
    if (task.cause == Cause::kNone) task.cause = cause;
    task.term_sent = true;
    if (task.has_init) {
        kill(task.pid, SIGTERM);  // it passes it on
        return;
    }
    kill(-task.pid, SIGTERM);
    kill(-task.pid, SIGCONT);  // one that stopped itself must see it too
}

void Helper::hard_kill(Task& task, Cause cause) {
    if (task.main_gone) return;
    if (task.cause == Cause::kNone) task.cause = cause;
    if (!task.kill_sent) task.killed_at = now_;
    task.kill_sent = true;
    task.kill_at = 0;
    if (task.has_init) {
        kill(task.pid, SIGKILL);  // and with it everything in its namespace
        return;
    }
    if ((task.layers & kCgroupLayers) != 0) sandboxes_.cgroups().kill_all(task.slot);
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
    if (task.has_init) {
        hear_init(task);
        int status = 0;
        wait4(pid, &status, 0, &task.usage);
        if (!task.ending) task.wait_status = status;
    } else {
        kill_orphans_of(task);  // first: it counts them while they live
        if ((task.layers & kCgroupLayers) != 0) sandboxes_.cgroups().kill_all(task.slot);
        kill(-pid, SIGKILL);
        wait4(pid, &task.wait_status, 0, &task.usage);
    }
    task.main_gone = true;
    task.ended_at = now_;
    task.state = State::kCleaning;
    task.cleaning_since = now_;
    task.retry_pause = kMillisecond;
}

// One round of killing what the task left. Reports when nothing is left, or when patience is over.
void Helper::clean(Task& task) {
    task.alive = task.has_init ? 0 : kill_orphans_of(task);
    // Those that fork faster than they are listed are in its cgroup all the same.
    if (!task.has_init && (task.layers & kCgroupLayers) != 0 && sandboxes_.cgroups().kill_all(task.slot)) ++task.alive;
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
    if (task.failed) return;
    const CgroupUsage used = sandboxes_.cgroups().usage(task.slot, task.layers & kCgroupLayers);
    if (!task.started && !task.kill_sent) {
        return fail(task.id, used.out_of_memory > 0 ? Step::kMemory : Step::kInit, ECHILD);
    }
    auto exited = message<Exited>(Type::kExited, task.id);
    exited.wait_status = task.wait_status;
    exited.cause = task.cause;
    exited.term_sent = task.term_sent ? 1 : 0;
    exited.kill_sent = task.kill_sent ? 1 : 0;
    exited.left_behind = task.left_behind;
    exited.alive = task.alive;
    exited.main_alive = task.main_gone || task.ending ? 0 : 1;
    exited.layers = task.layers;
    exited.read_bytes = task.usage.ru_inblock * kBlockBytes;
    exited.written_bytes = task.usage.ru_oublock * kBlockBytes;
    exited.memory_peak_bytes = used.memory_peak_bytes;
    exited.out_of_memory = used.out_of_memory;
    exited.processes_refused = used.processes_refused;
    exited.throttled_us = used.throttled_us;
    exited.user_us = task.usage.ru_utime.tv_sec * 1'000'000L + task.usage.ru_utime.tv_usec;
    exited.system_us = task.usage.ru_stime.tv_sec * 1'000'000L + task.usage.ru_stime.tv_usec;
    exited.max_rss_kb = task.usage.ru_maxrss;
    exited.ended_boot_ns = task.main_gone ? task.ended_at : now_;
    send_message(exited);
}

void Helper::drop(size_t index) {
    Task* task = tasks_[index];
    tasks_[index] = tasks_[--task_count_];
    if (task->control >= 0) close(task->control);
    if (task->pidfd >= 0) close(task->pidfd);
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
        if ((task.kill_sent || task.ending) && !task.reported && now_ - task.killed_at > kUnkillablePatience) {
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
            if ((task.kill_sent || task.ending) && !task.reported) consider(task.killed_at + kUnkillablePatience + 1);
        }
    }
    const int64_t wait = next - boot_now_ns();
    return wait <= 0 ? 0 : static_cast<int>((wait + kMillisecond - 1) / kMillisecond);
}

}  // namespace wa::helper
