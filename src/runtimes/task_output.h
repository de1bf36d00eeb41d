// What a task of a remote back-end prints, on its way into the result and the task's log: secrets masked, bounded, and
// nothing twice when a stream is read again from its beginning. Threading: the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/executor.h"
#include "ports/task_log.h"
#include "process/kept_output.h"
#include "runtimes/secret_mask.h"

namespace wa {

class TaskOutput {
public:
    TaskOutput();
    TaskOutput(const TaskOutput&) = delete;
    TaskOutput& operator=(const TaskOutput&) = delete;

    // Once, before the first byte. `log` may be null.
    void begin(const std::vector<std::string>& secrets, std::unique_ptr<TaskLog> log);

    // The streams are read from their beginning again: what was seen of them is skipped.
    void read_again();
    // Other streams follow, after what was seen so far.
    void begin_another();
    // False: the log of the task lags behind; what comes next should wait a moment.
    [[nodiscard]] bool take(TaskLogStream stream, std::string_view bytes);
    // Nothing more comes: what the masks have held back is let go.
    void finish();
    // `why` it ends in the middle; empty = it does not.
    void close(std::string_view why);

    [[nodiscard]] std::uint64_t seen() const { return out_.seen + err_.seen; }
    [[nodiscard]] std::string masked(std::string_view text) const { return mask_.apply(text); }
    // The last line of stderr, or of stdout where nothing came on that.
    [[nodiscard]] std::string last_line(std::size_t max_bytes) const;
    // output.stdout and stderr, metadata.stdout_bytes, stderr_bytes and truncated.
    void describe(AttemptReport& attempt, std::size_t room, std::size_t lines) const;

private:
    struct Stream {
        explicit Stream(const SecretMask& mask) : masked(mask) {}
        MaskingStream masked;
        KeptOutput kept{};
        std::uint64_t seen = 0;
        std::uint64_t before = 0;  // of that, of streams before this one
        std::uint64_t skip = 0;
    };
    [[nodiscard]] bool keep(Stream& stream, TaskLogStream name, const std::string& text);

    SecretMask mask_;
    Stream out_;
    Stream err_;
    std::unique_ptr<TaskLog> log_;
};

}  // namespace wa
