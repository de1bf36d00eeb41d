#include "adapters/task_logs/log_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "core/codec/text.h"

namespace wa::task_logs {
namespace {

constexpr std::size_t kMostBytes = 8ULL << 20U;
constexpr std::size_t kMostTailLines = 100'000;
// How many frames from the end a tail may reach back; bounds memory when a task writes byte by byte.
constexpr std::size_t kMostTailFrames = 65'536;
constexpr std::size_t kReadAhead = 256 * 1024;

class OpenFile {
public:
    OpenFile(int fd, FileHeader header, std::uint64_t size) : fd_(fd), header_(header), size_(size) {}
    ~OpenFile() { ::close(fd_); }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    [[nodiscard]] const FileHeader& header() const { return header_; }
    [[nodiscard]] std::uint64_t begin() const { return header_.position; }
    [[nodiscard]] std::uint64_t end() const { return header_.position + size_ - sizeof(FileHeader); }

    // Bytes at a log position of this file; fewer at its end.
    std::string_view bytes(std::uint64_t position, std::size_t size) {
        const std::uint64_t offset = position - header_.position + sizeof(FileHeader);
        if (offset < buffer_at_ || offset + size > buffer_at_ + buffer_.size()) {
            buffer_.resize(std::max(size, kReadAhead));
            const ssize_t got = ::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(offset));
            buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
            buffer_at_ = offset;
        }
        return std::string_view(buffer_).substr(static_cast<std::size_t>(offset - buffer_at_), size);
    }

    // The frame at `position`, if it is all there.
    bool frame(std::uint64_t position, FrameHeader& header) {
        if (position < begin() || position + sizeof header > end()) return false;
        const std::string_view raw = bytes(position, sizeof header);
        if (raw.size() != sizeof header) return false;
        std::memcpy(&header, raw.data(), sizeof header);
        return is_valid(header) && position + sizeof header + header.size <= end();
    }

private:
    int fd_;
    FileHeader header_;
    std::uint64_t size_;
    std::string buffer_;
    std::uint64_t buffer_at_ = 0;
};

using Files = std::vector<std::unique_ptr<OpenFile>>;

std::unique_ptr<OpenFile> open_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return nullptr;
    FileHeader header;
    struct stat facts{};
    const bool good = ::pread(fd, &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header) &&
                      header.magic == kFileMagic && header.version == kVersion && ::fstat(fd, &facts) == 0 &&
                      S_ISREG(facts.st_mode);
    if (!good) {
        ::close(fd);
        return nullptr;
    }
    return std::make_unique<OpenFile>(fd, header, static_cast<std::uint64_t>(facts.st_size));
}

// All files of the attempt that can be opened now, in order. Segments may vanish while we look: they are simply
// missing.
Files open_all(const std::string& folder, const std::string& stem, std::int32_t attempt) {
    std::vector<std::uint32_t> segments;
    if (DIR* dir = ::opendir(folder.c_str()); dir != nullptr) {
        while (const dirent* entry = ::readdir(dir)) {
            const auto name = parse_file_name(stem, entry->d_name);
            if (name && name->attempt == attempt) segments.push_back(name->segment);
        }
        ::closedir(dir);
    }
    std::sort(segments.begin(), segments.end());
    Files files;
    for (const std::uint32_t segment : segments) {
        if (auto file = open_file(folder + "/" + make_file_name(stem, attempt, segment)))
            files.push_back(std::move(file));
    }
    return files;
}

bool wanted(const FrameHeader& header, const TaskLogQuery& query) {
    return header.stream != kClosedFrame &&
           (!query.stream || header.stream == static_cast<std::uint8_t>(*query.stream) ||
            header.stream == static_cast<std::uint8_t>(TaskLogStream::kWorker));
}

// The first frame at or after `position` in this file; positions come from outside and may point anywhere.
std::uint64_t align(OpenFile& file, std::uint64_t position) {
    FrameHeader header;
    if (position <= file.begin()) return file.begin();
    if (position >= file.end() || file.frame(position, header)) return std::min(position, file.end());
    std::uint64_t at = file.begin();
    while (at < position && file.frame(at, header))
        at += sizeof header + header.size;
    return at;
}

std::string text_of(std::string_view bytes) {
    return lossy_utf8(bytes, std::numeric_limits<std::size_t>::max());
}

class PageReader {
public:
    PageReader(Files files, const TaskLogQuery& query)
        : files_(std::move(files)),
          query_(query),
          room_(std::min(std::max<std::size_t>(query.max_bytes, 1), kMostBytes)) {}

    TaskLogPage read() {
        std::uint64_t from = query_.from;
        if (query_.tail_lines) from = find_tail(std::min(*query_.tail_lines, kMostTailLines));
        page_.next = from;
        std::uint64_t reached = from;
        for (std::size_t index = 0; index < files_.size(); ++index) {
            OpenFile& file = *files_[index];
            if (file.end() <= reached && index + 1 < files_.size()) continue;
            if (file.begin() > reached) say_gap(file, index, reached);
            if (!read_file(file, align(file, std::max(reached, file.begin())))) break;
            reached = page_.next;
        }
        return std::move(page_);
    }

private:
    // False when the page is full or the log ended.
    bool read_file(OpenFile& file, std::uint64_t position) {
        FrameHeader header;
        page_.next = position;
        while (file.frame(position, header)) {
            if (header.stream == kClosedFrame) {
                page_.next = position;
                page_.closed = true;
                return false;
            }
            if (wanted(header, query_)) {
                std::string_view bytes = file.bytes(position + sizeof header, header.size);
                if (position == tail_start_) bytes.remove_prefix(std::min(tail_skip_, bytes.size()));
                if (used_ > 0 && used_ + bytes.size() > room_) {
                    page_.more = true;
                    return false;
                }
                used_ += bytes.size();
                add(static_cast<TaskLogStream>(header.stream), header.at, bytes);
            }
            position += sizeof header + header.size;
            page_.next = position;
        }
        return true;
    }

    void add(TaskLogStream stream, EpochMillis at, std::string_view bytes) {
        if (!bytes.empty()) page_.chunks.push_back(TaskLogChunk{stream, at, text_of(bytes)});
    }

    // What lay between `reached` and this file has been given up to keep the log within its limit.
    void say_gap(const OpenFile& file, std::size_t index, std::uint64_t reached) {
        std::uint64_t missing = file.begin() - reached;
        if (index > 0 && files_[index - 1]->header().segment == 0 && reached == files_[index - 1]->end()) {
            missing = file.header().payload_before - file.header().payload_in_head;
        }
        add(TaskLogStream::kWorker, 0,
            "\n[worker-agents] " + std::to_string(missing) + " bytes of output left out here: the log is full\n");
    }

    struct Place {
        OpenFile* file;
        std::uint64_t position;
        std::uint32_t size;
    };

    // The position of the frame where the last `lines` lines begin; how much of it to skip goes to tail_skip_.
    std::uint64_t find_tail(std::size_t lines) {
        std::deque<Place> frames;
        std::uint64_t end = 0;
        for (const auto& file : files_) {
            FrameHeader header;
            std::uint64_t position = file->begin();
            for (; file->frame(position, header); position += sizeof header + header.size) {
                if (!wanted(header, query_)) continue;
                frames.push_back(Place{file.get(), position, header.size});
                if (frames.size() > kMostTailFrames) frames.pop_front();
            }
            end = position;
        }
        if (lines == 0 || frames.empty()) return end;
        std::size_t found = 0;
        std::size_t bytes = 0;
        bool at_end = true;
        for (auto place = frames.rbegin(); place != frames.rend(); ++place) {
            const std::string_view text = place->file->bytes(place->position + sizeof(FrameHeader), place->size);
            for (std::size_t at = text.size(); at > 0; --at) {
                if (text[at - 1] == '\n' && !at_end && ++found == lines) return begin_at(*place, at);
                at_end = false;  // the very last line break ends a line, it begins none
            }
            bytes += text.size();
            if (bytes >= room_) return begin_at(*place, 0);
        }
        return begin_at(frames.front(), 0);
    }

    std::uint64_t begin_at(const Place& place, std::size_t skip) {
        tail_start_ = place.position;
        tail_skip_ = skip;
        return place.position;
    }

    Files files_;
    const TaskLogQuery& query_;
    std::size_t room_;
    std::size_t used_ = 0;
    std::uint64_t tail_start_ = std::numeric_limits<std::uint64_t>::max();
    std::size_t tail_skip_ = 0;
    TaskLogPage page_;
};

}  // namespace

Result<TaskLogPage> read_log(const std::string& folder, const std::string& stem, const TaskLogQuery& query) {
    Files files = open_all(folder, stem, query.attempt);
    if (files.empty()) {
        return fail(ErrorCode::kNotFound, "logs", "attempt " + std::to_string(query.attempt) + " has no output");
    }
    return PageReader(std::move(files), query).read();
}

}  // namespace wa::task_logs
