#include "adapters/task_logs/file_task_logs.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "adapters/task_logs/log_reader.h"

namespace wa {
namespace {

using task_logs::LogWriter;

// Output that comes in drops is written in one frame when it arrives within this time.
constexpr EpochMillis kJoinMillis = 50;

// Length of `bytes` without an unfinished UTF-8 character at its end.
std::size_t complete_prefix(std::string_view bytes) {
    for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
        const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
        if ((byte & 0xC0U) == 0x80U) continue;
        const std::size_t size = byte > 0xF4U ? 1 : byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC2U ? 2 : 1;
        return size > back ? bytes.size() - back : bytes.size();
    }
    return bytes.size();
}

}  // namespace

class FileTaskLogs::Queue {
public:
    Queue(std::size_t soft, std::size_t hard) : soft_(soft), hard_(hard), thread_([this] { run(); }) {}

    ~Queue() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        work_.notify_all();
        thread_.join();
    }
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    struct Job {
        std::shared_ptr<LogWriter> writer;
        TaskLogStream stream = TaskLogStream::kWorker;
        EpochMillis at = 0;
        std::string bytes;
        std::uint64_t lost = 0;
        bool close = false;  // bytes = why it was killed
    };

    // What became of a piece of output.
    enum class Taken : std::uint8_t { kYes, kLagging, kDropped };

    Taken add(Job job) {
        const std::lock_guard lock(mutex_);
        if (!job.close && waiting_ + job.bytes.size() > hard_) return Taken::kDropped;
        waiting_ += job.bytes.size();
        if (!joined(job)) jobs_.push_back(std::move(job));
        work_.notify_one();
        return waiting_ > soft_ ? Taken::kLagging : Taken::kYes;
    }

    void flush() {
        std::unique_lock lock(mutex_);
        idle_.wait(lock, [this] { return jobs_.empty() && !writing_; });
    }

private:
    bool joined(const Job& job) {
        if (jobs_.empty() || job.close || job.lost > 0) return false;
        Job& last = jobs_.back();
        const bool fits = last.writer == job.writer && last.stream == job.stream && !last.close &&
                          last.bytes.size() + job.bytes.size() <= task_logs::kMaxFrameBytes &&
                          job.at - last.at < kJoinMillis;
        if (fits) last.bytes += job.bytes;
        return fits;
    }

    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            Job job = std::move(jobs_.front());
            jobs_.pop_front();
            writing_ = true;
            lock.unlock();
            const std::size_t size = job.bytes.size();
            write(std::move(job));
            lock.lock();
            writing_ = false;
            waiting_ -= size;
            if (jobs_.empty()) idle_.notify_all();
        }
    }

    static void write(Job job) {
        job.writer->note_lost(job.lost, job.at, "the disk was too slow");
        if (job.close) {
            job.writer->close(job.bytes, job.at);
        } else {
            job.writer->write(job.stream, job.at, job.bytes);
        }
    }

    std::size_t soft_;
    std::size_t hard_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::condition_variable idle_;
    std::deque<Job> jobs_;
    std::size_t waiting_ = 0;  // bytes in jobs_ and in the one being written
    bool writing_ = false;
    bool stopping_ = false;
    std::thread thread_;  // last: it uses all of the above
};

class FileTaskLogs::Log final : public TaskLog {
public:
    Log(std::shared_ptr<Queue> queue, std::shared_ptr<LogWriter> writer, const Clock& clock)
        : queue_(std::move(queue)), writer_(std::move(writer)), clock_(clock) {}
    ~Log() override { close({}); }
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    bool append(TaskLogStream stream, std::string_view bytes) override {
        if (closed_ || bytes.empty()) return true;
        // Frames hold whole characters, so that each can be shown by itself.
        std::string& rest = rests_[static_cast<std::size_t>(stream)];
        std::string piece = std::exchange(rest, {});
        piece += bytes;
        const std::size_t whole = complete_prefix(piece);
        rest = piece.substr(whole);
        piece.resize(whole);
        return piece.empty() || queue(stream, std::move(piece));
    }

    void close(std::string_view killed_because) override {
        if (closed_) return;
        for (const TaskLogStream stream : {TaskLogStream::kStdout, TaskLogStream::kStderr}) {
            std::string& rest = rests_[static_cast<std::size_t>(stream)];
            if (!rest.empty()) queue(stream, std::exchange(rest, {}));
        }
        closed_ = true;
        Queue::Job job;
        job.writer = writer_;
        job.at = clock_.wall_now();
        job.bytes = killed_because;
        job.lost = std::exchange(dropped_, 0);
        job.close = true;
        queue_->add(std::move(job));
    }

private:
    bool queue(TaskLogStream stream, std::string bytes) {
        const std::size_t size = bytes.size();
        Queue::Job job;
        job.writer = writer_;
        job.stream = stream;
        job.at = clock_.wall_now();
        job.bytes = std::move(bytes);
        job.lost = dropped_;
        const Queue::Taken taken = queue_->add(std::move(job));
        dropped_ = taken == Queue::Taken::kDropped ? dropped_ + size : 0;
        return taken == Queue::Taken::kYes;
    }

    std::shared_ptr<Queue> queue_;
    std::shared_ptr<LogWriter> writer_;
    const Clock& clock_;
    std::array<std::string, 4> rests_;  // by stream: the first bytes of a character
    std::uint64_t dropped_ = 0;
    bool closed_ = false;
};

FileTaskLogs::FileTaskLogs(FileTaskLogsOptions options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      queue_(std::make_shared<Queue>(options_.queue_soft, options_.queue_hard)) {}

FileTaskLogs::~FileTaskLogs() = default;

std::string FileTaskLogs::folder(std::string_view ticket_id) const {
    return options_.root + "/" + task_logs::folder_of(ticket_id);
}

std::unique_ptr<TaskLog> FileTaskLogs::open(std::string_view ticket_id, std::int32_t attempt) {
    auto writer =
        std::make_shared<LogWriter>(folder(ticket_id), task_logs::file_stem(ticket_id), attempt, options_.sizes);
    return std::make_unique<Log>(queue_, std::move(writer), clock_);
}

Result<TaskLogPage> FileTaskLogs::read(const TaskLogQuery& query) const {
    return task_logs::read_log(folder(query.ticket_id), task_logs::file_stem(query.ticket_id), query);
}

std::vector<std::int32_t> FileTaskLogs::attempts(std::string_view ticket_id) const {
    const std::string stem = task_logs::file_stem(ticket_id);
    std::vector<std::int32_t> found;
    DIR* dir = ::opendir(folder(ticket_id).c_str());
    if (dir == nullptr) return found;
    while (const dirent* entry = ::readdir(dir)) {
        if (const auto name = task_logs::parse_file_name(stem, entry->d_name)) found.push_back(name->attempt);
    }
    ::closedir(dir);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

Result<void> FileTaskLogs::remove(std::string_view ticket_id) {
    const std::string where = folder(ticket_id);
    const std::string stem = task_logs::file_stem(ticket_id);
    DIR* dir = ::opendir(where.c_str());
    if (dir == nullptr) return {};
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir)) {
        if (task_logs::parse_file_name(stem, entry->d_name)) names.emplace_back(entry->d_name);
    }
    ::closedir(dir);
    for (const std::string& name : names) {
        if (::unlink((where + "/" + name).c_str()) != 0 && errno != ENOENT) {
            return fail(ErrorCode::kUnavailable, "logs", "cannot remove " + name + ": " + std::strerror(errno));
        }
    }
    return {};
}

void FileTaskLogs::flush() {
    queue_->flush();
}

}  // namespace wa
