// What the worker and its spawn helper say to each other: one SOCK_SEQPACKET packet per message, native byte order,
// since both ends are built together and run on one machine. File descriptors travel as SCM_RIGHTS beside the packet.
//
// The helper trusts nothing in a packet: sizes, counts and terminators are checked before use. The worker does the
// same.
#pragma once

#include <stdint.h>

namespace wa::helper {

inline constexpr uint32_t kMagic = 0x32484157;  // "WAH2"
// Bodies up to this size travel inside the packet, larger ones in a memfd.
inline constexpr uint32_t kInlineBodyLimit = 32 * 1024;
inline constexpr uint32_t kBodyLimit = 4 * 1024 * 1024;
inline constexpr uint32_t kMaxArguments = 4096;
inline constexpr uint32_t kMaxEnvironment = 4096;
inline constexpr uint32_t kMarkerSize = 96;
inline constexpr uint32_t kMaxSecrets = 16;
inline constexpr uint32_t kMaxPaths = 128;  // read-only and hidden ones together
inline constexpr uint32_t kMaxFds = 5 + kMaxSecrets;
inline constexpr uint32_t kTaskLimit = 4096;  // upper bound of Hello::max_tasks
inline constexpr uint64_t kNoLimit = UINT64_MAX;

// Environment entries that mark what belongs to us. Processes that are left over are found by them.
inline constexpr char kAttemptVariable[] = "WORKER_AGENTS_ATTEMPT=";
inline constexpr char kStateVariable[] = "WORKER_AGENTS_STATE=";

// Where a task with a root of its own (kLayerMount) finds its private places.
inline constexpr char kTaskHome[] = "/task/home";
inline constexpr char kTaskWork[] = "/task/work";
inline constexpr char kTaskTmp[] = "/tmp";
inline constexpr char kTaskSecrets[] = "/run/secrets";

// What stands between a task and the machine. Each is asked for and reported by itself.
inline constexpr uint32_t kLayerUser = 1U << 0U;   // user namespace; the seven namespaces below need it
inline constexpr uint32_t kLayerPid = 1U << 1U;    // sees and can signal only itself; ends as a whole
inline constexpr uint32_t kLayerMount = 1U << 2U;  // a root of its own: read-only system, private workspace
inline constexpr uint32_t kLayerIpc = 1U << 3U;
inline constexpr uint32_t kLayerUts = 1U << 4U;
inline constexpr uint32_t kLayerCgroupNs = 1U << 5U;
inline constexpr uint32_t kLayerNetwork = 1U << 6U;       // a network of its own that holds a loopback and nothing else
inline constexpr uint32_t kLayerOwnUid = 1U << 7U;        // a user id that nothing else on this machine has
inline constexpr uint32_t kLayerCapabilities = 1U << 8U;  // none, and none to be had
inline constexpr uint32_t kLayerSeccomp = 1U << 9U;
inline constexpr uint32_t kLayerLandlock = 1U << 10U;
inline constexpr uint32_t kLayerMemory = 1U << 11U;     // cgroup limits
inline constexpr uint32_t kLayerProcesses = 1U << 12U;  // …
inline constexpr uint32_t kLayerCpu = 1U << 13U;
inline constexpr uint32_t kLayerNoSockets = 1U << 14U;  // the filter refuses sockets of the network
inline constexpr uint32_t kNamespaceLayers =
    kLayerUser | kLayerPid | kLayerMount | kLayerIpc | kLayerUts | kLayerCgroupNs;
inline constexpr uint32_t kCgroupLayers = kLayerMemory | kLayerProcesses | kLayerCpu;

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
    uint32_t ask_layers;       // which of them to try at all; 0 = none is probed
    uint32_t uid_base;         // first id of kLayerOwnUid, one for each task at a time; 0 = choose
};

// Flags of kSpawn: which descriptors follow, in this order.
inline constexpr uint16_t kHasStdin = 1;  // else /dev/null
inline constexpr uint16_t kBodyInMemfd = 2;
inline constexpr uint16_t kNoDirectory = 4;  // the private working folder (kLayerMount only)

struct Limits {
    uint64_t cpu_seconds;
    uint64_t address_space;
    uint64_t data;  // private writable memory of one process
    uint64_t open_files;
    uint64_t file_size;
    uint64_t processes;
    uint64_t core;
};

struct Sandbox {
    uint32_t layers;  // to be put around this task; one that cannot be had fails the spawn
    uint32_t reserved;
    uint32_t read_only_count;  // paths shown read-only (kLayerMount), or readable (kLayerLandlock)
    uint32_t writable_count;   // further paths that may be written (kLayerLandlock without kLayerMount)
    uint32_t hidden_count;     // paths below those that stay empty
    uint32_t secret_count;     // files in kTaskSecrets; their bytes come as descriptors, never as text
    uint64_t memory_bytes;     // 0 = no limit, also below
    uint64_t processes;
    uint64_t cpu_millis;  // 1000 = one processor
    uint64_t workspace_bytes;
    uint64_t workspace_entries;
    uint64_t program_device;  // the file that was checked; program_inode 0 = any will do
    uint64_t program_inode;
    int64_t program_changed_ns;
};

// Descriptors: stdout, stderr, [working directory], [stdin], [memfd of the body], [secrets…].
// Body: NUL-terminated strings: executable, argument_count arguments, environment_count "NAME=value" entries (one of
// them is kAttemptVariable), the path under which the working directory appears (empty = not at all), then the
// read-only, writable and hidden paths and the names of the secrets.
struct Spawn {
    Header header;
    int64_t deadline_boot_ns;  // CLOCK_BOOTTIME; 0 = none. Then: soft kill
    uint32_t grace_ms;         // from that soft kill to the hard one
    uint32_t argument_count;
    uint32_t environment_count;
    uint32_t body_size;
    Limits limits;
    Sandbox sandbox;
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
    kProgram,  // not the file that was checked
    kIds,      // user and group ids
    kNetwork,
    kRoot,  // the task's own root: a mount failed
    kProc,
    kWorkspace,
    kBind,    // the working directory could not be shown
    kMap,     // … with its owner\'s files as the task\'s own
    kSecret,  // a secret's file could not be written
    kCapabilities,
    kLandlock,
    kSeccomp,
    kCgroup,
    kInit,    // the task's first process ended before it could say why
    kMemory,  // … because its memory ran out
};

// Why a group of layers is missing.
struct Obstacle {
    Step step;  // kNone = nothing is missing, or it was not asked for
    int32_t error;
};

struct Ready {
    Header header;
    uint32_t features;
    uint32_t swept;        // left-over processes that were killed
    uint32_t swept_alive;  // and those that would not die
    uint32_t layers;       // that can be had here
    Obstacle namespaces;
    Obstacle network;
    Obstacle own_uid;
    Obstacle landlock;
    Obstacle seccomp;
    Obstacle cgroup;
};

// With a pidfd and, with kLayerMount and kNoDirectory, the task's working folder.
struct Started {
    Header header;
    int32_t pid;
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
    uint32_t layers;       // that were in force
    int64_t user_us;       // of everything that was waited for below it
    int64_t system_us;
    int64_t max_rss_kb;  // of its largest process
    int64_t ended_boot_ns;
    int64_t read_bytes;     // from and to storage
    int64_t written_bytes;  // …
    // From the cgroup; -1 = not known.
    int64_t memory_peak_bytes;  // of all of it together
    int64_t out_of_memory;      // processes that the kernel killed for it
    int64_t processes_refused;  // forks above the limit
    int64_t throttled_us;
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
