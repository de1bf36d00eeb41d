// The helper's state and what it does with each message; main.cpp has the loop, spawning.cpp the way into a task,
// ending.cpp the way out.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "child.h"
#include "confinement.h"
#include "process_table.h"
#include "protocol.h"
#include "sandboxes.h"

namespace wa::helper {

inline constexpr int kSocket = 3;
inline constexpr int64_t kMillisecond = 1'000'000;
inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr int64_t kCleanupPatience = 3 * kSecond;     // until left-over processes are reported as alive
inline constexpr int64_t kUnkillablePatience = 5 * kSecond;  // from SIGKILL until the main process is reported as alive
inline constexpr int64_t kHauntedPause = kSecond;
inline constexpr int64_t kLastPatience = 10 * kSecond;  // after the worker is gone
inline constexpr int64_t kSweepPatience = 5 * kSecond;
inline constexpr int64_t kMaxSleep = kSecond;  // poll does not count suspend: never sleep longer while tasks run
inline constexpr int kMessagesPerRound = 64;
inline constexpr size_t kMaxOrphans = 4096;

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
    size_t slot = 0;
    uint32_t layers = 0;  // in force
    // With namespaces `pid` is the task's init, not its main process.
    bool has_init = false;
    bool started = true;  // the worker was told
    bool failed = false;  // the worker was told that it could not be started
    bool ending = false;  // the main process has ended, init is on its way
    int control = -1;     // to init; owned
    int pidfd = -1;       // until it is sent; owned
};

struct Orphan {
    pid_t pid;
    uint64_t start_time;
    uint64_t sequence;  // the newest task when it was first seen
};

struct Outgoing {
    Outgoing* next;
    int fds[2];  // -1 = none; owned
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
    void start_plain(Task& task, ChildPlan& plan, const Spawn& spawn, char* const* paths);
    void start_with_init(Task& task, SandboxPlan& plan, const Spawn& spawn, char* const* paths);
    void tell_started(Task& task, int pidfd, int folder);
    void hear_init(Task& task);
    bool init_ended(Task& task);
    size_t free_slot();
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
    void send(const AnyAnswer& answer, size_t size, int fd, int second_fd);
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
    void send_message(const Message& m, int fd = -1, int second_fd = -1) {
        AnyAnswer answer;
        memset(&answer, 0, sizeof answer);
        memcpy(&answer, &m, sizeof m);
        send(answer, sizeof m, fd, second_fd);
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
    pollfd* polled_ = nullptr;
    Sandboxes sandboxes_;
    PidList children_;
    PidList below_;
    alignas(16) char packet_[sizeof(Spawn) + kInlineBodyLimit];
};

}  // namespace wa::helper
