// Starts and ends processes through the spawn helper.
//
// Threading: everything on the io_context's one thread. Listeners are called from the loop, never from inside a call
// made here. The helper is started by start(), while the worker is small; when it dies, all that ran under it is
// reported as interrupted and a new one is started with growing pauses, after everything with our mark has been killed.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "process/fd.h"
#include "process/isolation.h"
#include "process/kept_output.h"

namespace wa {

// Nothing set = leave as the worker has it. Wishes above the worker's own hard limits are cut to them.
struct ProcessLimits {
    std::optional<std::uint64_t> cpu_seconds;    // SIGXCPU then, SIGKILL 5 s later
    std::optional<std::uint64_t> address_space;  // bytes
    std::optional<std::uint64_t> data;           // bytes that one process may write to, less its stack and shared ones
    std::optional<std::uint64_t> open_files;
    std::optional<std::uint64_t> file_size;  // bytes
    std::optional<std::uint64_t> processes;  // of the user, in its user namespace: of the task only if it has its own
    std::uint64_t core = 0;                  // bytes
};

enum class OutputStream : std::uint8_t { kStdout, kStderr };

// Sees output as it comes. Returns false to ask for slower reading for a moment.
using OutputSink = std::function<bool(OutputStream, std::string_view)>;

// Changes output before it is kept or passed to the sink (masking). May hold bytes back; called with no bytes once a
// stream has ended, to give up what it holds.
using OutputFilter = std::function<std::string(OutputStream, std::string_view)>;

// The file that was looked at before a decision about it: what is executed must be the same one.
struct ProgramIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t changed_ns = 0;  // its status change time
};

// A value that a task may read from a file, and that stands nowhere else.
struct SecretFile {
    std::string name;  // of the file in the task's folder of secrets; no '/', does not begin with '.'
    std::string value;
};

// What to put around a task. Layers that the helper did not report must not be asked for.
struct SandboxRequest {
    Layers layers = 0;
    // With own-root: shown read-only (what does not exist is left out; links stay links). With Landlock alone:
    // readable.
    std::vector<std::string> read_only;
    std::vector<std::string> writable;  // with Landlock alone: folders besides the working directory
    std::vector<std::string> hidden;    // with own-root: paths below those that are shown empty
    // Where the working directory appears; absolute, without "..". With own-root and an empty path the task works in
    // its private workspace, and SpawnRequest::directory stays closed.
    std::string directory_path;
    std::uint64_t memory = 0;  // bytes; 0 = no limit, here and below
    std::uint64_t processes = 0;
    std::uint64_t cpu_millis = 0;  // 1000 = one processor
    std::uint64_t workspace_bytes = 1ULL << 30U;
    std::uint64_t workspace_entries = 1'000'000;
    std::vector<SecretFile> secrets;  // with own-root only; at most 16
    std::optional<ProgramIdentity> program;
};

struct SpawnRequest {
    std::string name;                      // of the attempt; becomes WORKER_AGENTS_ATTEMPT. At most 512 bytes
    std::string executable;                // absolute path
    std::vector<std::string> arguments;    // the whole argv, [0] included
    std::vector<std::string> environment;  // "NAME=value", complete but for our two marks
    Fd directory;                          // where it starts: an open directory (O_PATH is enough)
    std::optional<std::string> input;      // standard input; /dev/null when absent
    Duration time_limit{};                 // then soft kill; 0 = none. Counted by the helper in boot time
    Duration grace{};                      // from the soft kill at time_limit to the hard one
    ProcessLimits limits;
    SandboxRequest sandbox;
    OutputFilter filter;  // may be empty
    OutputSink sink;      // may be empty
};

// Who ended a process.
enum class EndCause : std::uint8_t {
    kItself,  // it exited, or somebody else's signal hit it
    kTimeLimit,
    kRequested,  // stop() or kill()
    kLease,      // this worker stood still for longer than its lease
    kShutdown,
};

struct ProcessEnd {
    // Set when it could not be started (began = false) or was lost with the helper (began = true, kInterrupted).
    std::optional<Error> error;
    bool began = true;
    EndCause cause = EndCause::kItself;
    std::optional<int> exit_code;
    std::optional<int> signal;
    bool core_dumped = false;
    bool term_sent = false;
    bool kill_sent = false;
    std::uint32_t left_behind = 0;  // processes it left, now killed
    std::uint32_t still_alive = 0;  // processes that could not be killed
    Duration took{};                // from the start to the end of the main process
    Duration user{};
    Duration system{};
    std::int64_t max_rss_kb = 0;  // of its largest process
    Layers layers = 0;            // that were in force
    Fd workspace;                 // the private working folder of a task with its own root; gone once this is closed
    std::int64_t read_bytes = 0;  // from and to storage
    std::int64_t written_bytes = 0;
    // By the kernel's count, where the limits of a cgroup were in force.
    std::optional<std::int64_t> memory_peak_bytes;  // all its processes together
    std::optional<std::int64_t> out_of_memory;      // processes killed because memory ran out
    std::optional<std::int64_t> processes_refused;
    std::optional<std::int64_t> throttled_us;
    KeptOutput out;
    KeptOutput err;
};

class ProcessListener {
public:
    virtual ~ProcessListener() = default;
    virtual void process_started(pid_t pid) = 0;
    // Once, when the process, all it left and its output are done with (or given up). Nothing follows.
    virtual void process_ended(ProcessEnd end) = 0;
};

// A process under way. Destroying it before its end kills it and all below it; the listener is not called any more.
class Process {
public:
    virtual ~Process() = default;
    // SIGTERM to its group now, SIGKILL to everything after `grace`; 0 = SIGKILL now. Another call may shorten the
    // grace.
    virtual void stop(Duration grace) = 0;
};

struct SpawnerOptions {
    // Value of WORKER_AGENTS_STATE in every task: names this worker across restarts (a hash of its state folder), so
    // that a later worker finds what an earlier one left. [A-Za-z0-9._-], at most 95 characters; empty = no sweep.
    std::string marker;
    // Everything is killed when the worker's loop gave no sign of life for so long (session timeout); 0 = never.
    Duration lease{};
    std::uint32_t max_processes = 1024;
    int oom_score_adj = 500;   // of the tasks: they die before the worker; 0 = as the worker
    std::string helper_file;   // empty = the embedded one
    bool require_all = false;  // a helper that lacks one of the measures in HelperStatus counts as failed (fail closed)
    Layers try_layers = 0;     // that the helper tries out when it starts; only these can be asked for
    std::uint32_t uid_base = 0;  // first id of own-uid, one for each task at a time; 0 = choose
    Duration drain_limit = std::chrono::milliseconds(200);  // wait for output once the process tree is gone
    Duration helper_patience = std::chrono::seconds(20);    // silence of the helper after which it is replaced
    Duration tick_interval = std::chrono::seconds(1);       // at most a fifth of the lease is used
};

// What the helper can do on this machine, for doctor and for results.
struct HelperStatus {
    bool ready = false;
    bool failed = false;  // cannot be started (never yet, or not any more); tried again every few seconds
    std::string error;    // why, when not ready
    pid_t pid = -1;
    bool subreaper = false;
    bool pidfd = false;
    bool no_new_privileges = false;
    bool children_file = false;
    bool close_range = false;
    bool probed = false;               // a helper was ready once: the layers are known
    Layers layers = 0;                 // that can be had here
    std::vector<std::string> missing;  // those that cannot, each with the reason
    std::uint64_t starts = 0;          // helpers started
    std::uint32_t swept = 0;           // processes that earlier helpers or workers left, killed at the last start
    std::uint32_t swept_alive = 0;     // and those that would not die
    std::uint64_t spawned = 0;
    std::size_t running = 0;
};

// A marker for the worker whose state lives in this existing folder: the same after a restart, and another one for
// every other folder on this machine, also when containers see theirs under the same path. Empty when there is no such
// folder.
[[nodiscard]] std::string state_marker(const std::string& state_folder);

class Spawner {
public:
    Spawner(boost::asio::io_context& loop, const Clock& clock, SpawnerOptions options);
    // Kills everything, waits for the helper to confirm it (bounded), without calling any listener.
    ~Spawner();
    Spawner(const Spawner&) = delete;
    Spawner& operator=(const Spawner&) = delete;

    // Starts the helper. `ready` is called once, when left-overs of an earlier worker have been killed and spawning is
    // possible (the status says how many there were), or with the error. May be empty.
    void start(std::function<void(Result<HelperStatus>)> ready);
    // Never null. Waits for the helper when it is just being (re)started. The error of a failed start is typed: what
    // the command itself is to blame for is kExecutionFailed and permanent, a shortage or an absent helper
    // kUnavailable.
    [[nodiscard]] std::unique_ptr<Process> spawn(SpawnRequest request, ProcessListener& listener);
    [[nodiscard]] HelperStatus status() const;

private:
    class Core;
    std::shared_ptr<Core> core_;
};

}  // namespace wa
