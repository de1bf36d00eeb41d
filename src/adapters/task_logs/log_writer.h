// Writes the files of one attempt's log. Used on the writer thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/task_logs/log_format.h"

namespace wa::task_logs {

struct SizeLimits {
    std::uint64_t head = 32ULL << 20U;     // of the head file; then segments begin
    std::uint64_t segment = 16ULL << 20U;  // of one segment; two are kept: 64 MiB in all
};

class LogWriter {
public:
    LogWriter(std::string folder, std::string stem, std::int32_t attempt, SizeLimits limits);
    ~LogWriter();
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    void write(TaskLogStream stream, EpochMillis at, std::string_view bytes);
    // `lost` bytes never reached the writer: `why` is said in the log.
    void note_lost(std::uint64_t lost, EpochMillis at, std::string_view why);
    void close(std::string_view killed_because, EpochMillis at);

private:
    bool ensure_open();
    bool open_file(std::uint32_t segment);
    void next_segment();
    bool write_frame(std::uint8_t stream, EpochMillis at, std::string_view bytes);
    void say(std::string_view line, EpochMillis at);
    void say_what_was_lost(EpochMillis at);
    void remove_old_files();

    std::string folder_;
    std::string stem_;
    std::int32_t attempt_;
    SizeLimits limits_;
    int fd_ = -1;
    bool started_ = false;
    std::uint32_t segment_ = 0;
    std::uint64_t file_size_ = 0;  // of the file that is open
    std::uint64_t position_ = 0;   // of the next frame
    std::uint64_t payload_ = 0;
    std::uint64_t payload_in_head_ = 0;
    std::uint64_t lost_ = 0;
    std::string lost_because_;
};

}  // namespace wa::task_logs
