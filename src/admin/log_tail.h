// Inside admin/: follows one attempt's output, a bounded piece at a time. HTTP thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/task_log.h"

namespace wa::admin {

class LogTail {
public:
    LogTail(const TaskLogs& logs, std::string ticket_id, std::int32_t attempt, std::optional<TaskLogStream> stream,
            std::optional<std::size_t> tail_lines);

    struct Piece {
        std::vector<TaskLogChunk> chunks;
        bool more = false;    // at once
        bool ended = false;   // nothing will follow
        bool absent = false;  // there is no such log (yet)
    };
    [[nodiscard]] Result<Piece> next(std::size_t max_bytes);
    [[nodiscard]] std::uint64_t position() const { return query_.from; }
    [[nodiscard]] const std::string& ticket_id() const { return query_.ticket_id; }
    [[nodiscard]] std::int32_t attempt() const { return query_.attempt; }

private:
    const TaskLogs& logs_;
    TaskLogQuery query_;
};

// At most `most` lines of the chunks, the newest ones; `skipped` counts those left out.
struct LogLine {
    TaskLogStream stream = TaskLogStream::kStdout;
    EpochMillis at = 0;
    std::string text;  // without its line end
};
[[nodiscard]] std::vector<LogLine> newest_lines(const std::vector<TaskLogChunk>& chunks, std::size_t most,
                                                std::size_t& skipped);

}  // namespace wa::admin
