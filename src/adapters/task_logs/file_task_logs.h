// Task logs as files below one folder (ports/task_log.h). One writer thread; readers work on the files alone, so they
// may be on any thread and in any process.
#pragma once

#include <memory>
#include <string>

#include "adapters/task_logs/log_writer.h"
#include "base/clock.h"
#include "ports/task_log.h"

namespace wa {

struct FileTaskLogsOptions {
    std::string root;  // created when needed, 0700
    task_logs::SizeLimits sizes;
    std::size_t queue_soft = 8ULL << 20U;   // bytes waiting for the disk; above it append() says false
    std::size_t queue_hard = 32ULL << 20U;  // above it bytes are dropped and counted
};

class FileTaskLogs final : public TaskLogs {
public:
    // `clock` must outlive this object and is used from the threads that append.
    FileTaskLogs(FileTaskLogsOptions options, const Clock& clock);
    // Writes what is waiting. Logs that are still open must be destroyed first.
    ~FileTaskLogs() override;
    FileTaskLogs(const FileTaskLogs&) = delete;
    FileTaskLogs& operator=(const FileTaskLogs&) = delete;

    [[nodiscard]] std::unique_ptr<TaskLog> open(std::string_view ticket_id, std::int32_t attempt) override;
    [[nodiscard]] Result<TaskLogPage> read(const TaskLogQuery& query) const override;
    [[nodiscard]] std::vector<std::int32_t> attempts(std::string_view ticket_id) const override;
    Result<void> remove(std::string_view ticket_id) override;

    // Waits until everything appended so far is in its file. For tests and for an orderly end.
    void flush();

private:
    class Queue;
    class Log;
    [[nodiscard]] std::string folder(std::string_view ticket_id) const;

    FileTaskLogsOptions options_;
    const Clock& clock_;
    std::shared_ptr<Queue> queue_;
};

}  // namespace wa
