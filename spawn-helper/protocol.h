// What the worker and its spawn helper say to each other: one SOCK_SEQPACKET packet per message, native byte order,
// since both ends are built together and run on one machine. File descriptors travel as SCM_RIGHTS beside the packet.
//
// The helper trusts nothing in a packet: sizes, counts and terminators are checked before use. The worker does the
// same.
#pragma once

#include <stdint.h>

namespace wa::helper {

inline constexpr uint32_t kMagic = 0x31484157;  // "WAH1"
// Bodies up to this size travel inside the packet, larger ones in a memfd.
inline constexpr uint32_t kInlineBodyLimit = 32 * 1024;
inline constexpr uint32_t kBodyLimit = 4 * 1024 * 1024;
inline constexpr uint32_t kMaxArguments = 4096;
inline constexpr uint32_t kMaxEnvironment = 4096;
inline constexpr uint32_t kMarkerSize = 96;
inline constexpr uint32_t kMaxFds = 5;
inline constexpr uint32_t kTaskLimit = 4096;  // upper bound of Hello::max_tasks
inline constexpr uint64_t kNoLimit = UINT64_MAX;

// Environment entries that mark what belongs to us. Processes that are left over are found by them.
inline constexpr char kAttemptVariable[] = "WORKER_AGENTS_ATTEMPT=";
inline constexpr char kStateVariable[] = "WORKER_AGENTS_STATE=";

enum class Type : uint16_t {
    // worker -> helper
    kHello = 1,  // first; answered by kReady once everything with the marker is gone
    kSpawn = 2,
    kKill = 3,
    kTick = 4,      // the worker lives; answered by kTock
    kShutdown = 5,  // kill all, then leave
    // helper -> worker
    kReady = 100,
    kStarted = 101,  // with a pidfd
    kFailed = 102,
    kExited = 103,  // last word about an id, sent when nothing is left of it, or when the helper gave up
    kTock = 104,
    kRefused = 105,  // a packet that could not be understood
};

struct Header {
    uint32_t magic;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
};

struct Hello {
    Header header;
    uint64_t lease_ns;         // boot time without a tick after which everything is killed; 0 = never
    uint32_t max_tasks;        // 1 .. kTaskLimit
    int32_t oom_score_adj;     // of the tasks; 0 = leave as it is
    char marker[kMarkerSize];  // value of kStateVariable whose left-over processes are killed first; empty = none
};

// Flags of kSpawn: which descriptors follow, in this order.
inline constexpr uint16_t kHasStdin = 1;  // else /dev/null
inline constexpr uint16_t kBodyInMemfd = 2;

struct Limits {
    uint64_t cpu_seconds;
    uint64_t address_space;
    uint64_t open_files;
    uint64_t file_size;
    uint64_t processes;
    uint64_t core;
};

// Descriptors: stdout, stderr, working directory, [stdin], [memfd of the body].
// Body: NUL-terminated strings: executable, argument_count arguments, environment_count "NAME=value" entries. One of
// the entries is kAttemptVariable.
struct Spawn {
    Header header;
    int64_t deadline_boot_ns;  // CLOCK_BOOTTIME; 0 = none. Then: soft kill
    uint32_t grace_ms;         // from that soft kill to the hard one
    uint32_t argument_count;
    uint32_t environment_count;
    uint32_t body_size;
    Limits limits;
};

struct Kill {
    Header header;
    uint32_t hard;  // 1 = SIGKILL now; 0 = SIGTERM now, SIGKILL after grace
    uint32_t grace_ms;
};

// Bits of Ready::features.
inline constexpr uint32_t kFeatureSubreaper = 1;
inline constexpr uint32_t kFeaturePidfd = 2;
inline constexpr uint32_t kFeatureNoNewPrivileges = 4;
inline constexpr uint32_t kFeatureChildrenFile = 8;  // without it, /proc is walked
inline constexpr uint32_t kFeatureCloseRange = 16;

struct Ready {
    Header header;
    uint32_t features;
    uint32_t swept;        // left-over processes that were killed
    uint32_t swept_alive;  // and those that would not die
};

struct Started {
    Header header;
    int32_t pid;
};

enum class Step : uint32_t {
    kNone = 0,
    kProtocol,  // the request itself was wrong
    kTaskLimit,
    kBody,  // memfd could not be read
    kClone,
    kParentGone,
    kSession,
    kDeathSignal,
    kSignalMask,
    kLimits,
    kStdio,
    kDirectory,
    kExec,
};

struct Failed {
    Header header;
    int32_t error;  // errno
    Step step;
};

// Why the helper itself ended a task. The first reason stays.
enum class Cause : uint32_t { kNone = 0, kDeadline, kRequest, kLease, kShutdown };

struct Exited {
    Header header;
    int32_t wait_status;  // as from wait(2); meaningless when main_alive
    Cause cause;
    uint32_t term_sent;    // SIGTERM was sent before the end
    uint32_t kill_sent;    // SIGKILL was sent before the end
    uint32_t left_behind;  // processes that the main one left and that were killed
    uint32_t alive;        // processes that could not be killed
    uint32_t main_alive;   // 1 = the main process itself could not be killed
    uint32_t reserved;
    int64_t user_us;
    int64_t system_us;
    int64_t max_rss_kb;
    int64_t ended_boot_ns;
};

union AnyRequest {
    Header header;
    Hello hello;
    Spawn spawn;
    Kill kill;
};

union AnyAnswer {
    Header header;
    Ready ready;
    Started started;
    Failed failed;
    Exited exited;
};

}  // namespace wa::helper
