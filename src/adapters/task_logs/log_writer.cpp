#include "adapters/task_logs/log_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace wa::task_logs {
namespace {

// Every folder on the way that is missing, for us alone. Whether it worked, opening the file will show.
void make_folders(const std::string& path) {
    for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
        ::mkdir(path.substr(0, at).c_str(), 0700);
    }
    ::mkdir(path.c_str(), 0700);
}

}  // namespace

LogWriter::LogWriter(std::string folder, std::string stem, std::int32_t attempt, SizeLimits limits)
    : folder_(std::move(folder)), stem_(std::move(stem)), attempt_(attempt), limits_(limits) {}

LogWriter::~LogWriter() {
    if (fd_ >= 0) ::close(fd_);
}

void LogWriter::write(TaskLogStream stream, EpochMillis at, std::string_view bytes) {
    while (!bytes.empty()) {
        const std::string_view part = bytes.substr(0, kMaxFrameBytes);
        bytes.remove_prefix(part.size());
        say_what_was_lost(at);
        if (write_frame(static_cast<std::uint8_t>(stream), at, part)) {
            payload_ += part.size();
        } else {
            lost_ += part.size();
        }
    }
}

void LogWriter::note_lost(std::uint64_t lost, EpochMillis at, std::string_view why) {
    if (lost == 0) return;
    lost_ += lost;
    lost_because_ = why;
    say_what_was_lost(at);
}

void LogWriter::close(std::string_view killed_because, EpochMillis at) {
    say_what_was_lost(at);
    if (!killed_because.empty()) say("killed: " + std::string(killed_because), at);
    if (fd_ < 0) return;  // no output: no file
    write_frame(kClosedFrame, at, {});
    ::close(fd_);
    fd_ = -1;
}

void LogWriter::say(std::string_view line, EpochMillis at) {
    write_frame(static_cast<std::uint8_t>(TaskLogStream::kWorker), at, "[worker-agents] " + std::string(line) + "\n");
}

void LogWriter::say_what_was_lost(EpochMillis at) {
    if (lost_ == 0) return;
    const std::string line =
        "[worker-agents] " + std::to_string(lost_) + " bytes of output lost: " + lost_because_ + "\n";
    if (write_frame(static_cast<std::uint8_t>(TaskLogStream::kWorker), at, line)) lost_ = 0;
}

bool LogWriter::ensure_open() {
    if (fd_ >= 0) return true;
    if (!started_) remove_old_files();
    started_ = true;
    return open_file(segment_);
}

// An attempt that is opened again starts over: what a first life of it wrote must not mix with the second.
void LogWriter::remove_old_files() {
    DIR* dir = ::opendir(folder_.c_str());
    if (dir == nullptr) return;
    std::vector<std::uint32_t> segments;
    while (const dirent* entry = ::readdir(dir)) {
        const auto name = parse_file_name(stem_, entry->d_name);
        if (name && name->attempt == attempt_) segments.push_back(name->segment);
    }
    ::closedir(dir);
    for (const std::uint32_t segment : segments)
        ::unlink((folder_ + "/" + make_file_name(stem_, attempt_, segment)).c_str());
}

bool LogWriter::open_file(std::uint32_t segment) {
    const std::string path = folder_ + "/" + make_file_name(stem_, attempt_, segment);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
    int fd = ::open(path.c_str(), kFlags, 0600);
    if (fd < 0 && errno == ENOENT) {
        make_folders(folder_);
        fd = ::open(path.c_str(), kFlags, 0600);
    }
    if (fd < 0) {
        lost_because_ = std::strerror(errno);
        return false;
    }
    FileHeader header;
    header.segment = segment;
    header.position = position_;
    header.payload_before = payload_;
    header.payload_in_head = payload_in_head_;
    const ssize_t written = ::write(fd, &header, sizeof header);
    if (written != static_cast<ssize_t>(sizeof header)) {
        lost_because_ = written < 0 ? std::strerror(errno) : "disk full";
        ::close(fd);
        ::unlink(path.c_str());
        return false;
    }
    fd_ = fd;
    segment_ = segment;
    file_size_ = sizeof header;
    return true;
}

void LogWriter::next_segment() {
    if (segment_ == 0) payload_in_head_ = payload_;
    const int old = fd_;
    fd_ = -1;
    if (!open_file(segment_ + 1)) {
        fd_ = old;  // rather a file that is too long than none
        return;
    }
    ::close(old);
    if (segment_ > 2) ::unlink((folder_ + "/" + make_file_name(stem_, attempt_, segment_ - 2)).c_str());
}

bool LogWriter::write_frame(std::uint8_t stream, EpochMillis at, std::string_view bytes) {
    if (!ensure_open()) return false;
    const std::uint64_t room = segment_ == 0 ? limits_.head : limits_.segment;
    if (file_size_ > sizeof(FileHeader) && file_size_ + sizeof(FrameHeader) + bytes.size() > room) next_segment();
    FrameHeader header;
    header.stream = stream;
    header.size = static_cast<std::uint32_t>(bytes.size());
    header.at = at;
    std::string frame(sizeof header, '\0');
    std::memcpy(frame.data(), &header, sizeof header);
    frame += bytes;
    std::size_t done = 0;
    while (done < frame.size()) {
        const ssize_t written = ::write(fd_, frame.data() + done, frame.size() - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            lost_because_ = written < 0 ? std::strerror(errno) : "disk full";
            // No half frame in the middle. If even this fails, readers stop there, as after a crash.
            [[maybe_unused]] const int cut = ::ftruncate(fd_, static_cast<off_t>(file_size_));
            return false;
        }
        done += static_cast<std::size_t>(written);
    }
    file_size_ += frame.size();
    position_ += frame.size();
    return true;
}

}  // namespace wa::task_logs
