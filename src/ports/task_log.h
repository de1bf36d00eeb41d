// What an attempt's processes print, kept per attempt while it is printed.
//
// Writing never blocks the caller on the disk and never fails the task: what could not be written is counted and said
// in the log itself. Reading works on running attempts and on those of a worker that was killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

enum class TaskLogStream : std::uint8_t {
    kStdout = 1,
    kStderr = 2,
    kWorker = 3,  // lines of ours about the attempt: why it was killed, what is missing
};
std::string_view to_string(TaskLogStream stream);  // "stdout", "stderr", "worker"

// The log of one running attempt. Used on one thread. Destroying it closes it.
class TaskLog {
public:
    virtual ~TaskLog() = default;
    // Copies `bytes`. False when the writer lags behind: the caller should read a little slower for a while. The bytes
    // are taken nevertheless, up to a bound; beyond it they are dropped and counted.
    virtual bool append(TaskLogStream stream, std::string_view bytes) = 0;
    // The last word. `killed_because` not empty: adds the line "[worker-agents] killed: <reason>", even to a log that
    // has nothing else. A second call does nothing.
    virtual void close(std::string_view killed_because) = 0;
};

struct TaskLogQuery {
    std::string ticket_id;
    std::int32_t attempt = 1;
    std::optional<TaskLogStream> stream{};  // nothing = all; lines of the worker itself always come along
    // Where the last answer ended; 0 = from the start. Ignored when tail_lines is set.
    std::uint64_t from = 0;
    std::optional<std::size_t> tail_lines{};  // begin with the last so many lines (at most 100,000)
    std::size_t max_bytes = 1024 * 1024;      // of text in one answer; capped at 8 MiB
};

struct TaskLogChunk {
    TaskLogStream stream = TaskLogStream::kStdout;
    EpochMillis at = 0;
    std::string text;  // well-formed UTF-8
};

struct TaskLogPage {
    std::vector<TaskLogChunk> chunks;
    std::uint64_t next = 0;  // ask from here for what follows
    bool more = false;       // there is more to read right now
    bool closed = false;     // nothing will follow (and more is false)
};

// All of a worker's task logs.
class TaskLogs {
public:
    virtual ~TaskLogs() = default;
    // Never null. Nothing is created before something is written. An attempt that is opened again starts over.
    [[nodiscard]] virtual std::unique_ptr<TaskLog> open(std::string_view ticket_id, std::int32_t attempt) = 0;
    // From any thread; reads files, so not on the engine's loop. kNotFound when the attempt has no output (yet).
    [[nodiscard]] virtual Result<TaskLogPage> read(const TaskLogQuery& query) const = 0;
    // The attempts of a ticket that have a log, in order. From any thread.
    [[nodiscard]] virtual std::vector<std::int32_t> attempts(std::string_view ticket_id) const = 0;
    // Removes all logs of a ticket. From any thread.
    virtual Result<void> remove(std::string_view ticket_id) = 0;
};

}  // namespace wa
