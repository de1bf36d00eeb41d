#include "adapters/embedded_store/file_check.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "adapters/embedded_store/rows.h"
#include "adapters/embedded_store/schema.h"

namespace wa::store {

namespace {

constexpr std::size_t kHeaderBytes = 100;
constexpr std::size_t kWalHeader = 32;
constexpr std::size_t kFrameHeader = 24;

struct Fd {
    int value = -1;
    explicit Fd(int fd) : value(fd) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (value >= 0) ::close(value);
    }
};

Failure system_failure(int code, const std::string& what) {
    return tl::unexpected(sqlite::error_of(SQLITE_CANTOPEN, code, std::system_category().message(code), what));
}

std::uint32_t big_endian(const char* at) {
    std::uint32_t value = 0;
    for (int n = 0; n < 4; ++n)
        value = (value << 8U) | static_cast<unsigned char>(at[n]);
    return value;
}

// Reads up to `size` bytes from `offset`; the number read, or -1.
ssize_t read_at(int fd, char* into, std::size_t size, std::int64_t offset) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n = ::pread(fd, into + done, size - done, offset + static_cast<std::int64_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += static_cast<std::size_t>(n);
    }
    return static_cast<ssize_t>(done);
}

Result<std::int64_t> size_of(const std::filesystem::path& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) == 0) {
        if (!S_ISREG(info.st_mode)) return corrupt(path.string() + " is not a regular file");
        return static_cast<std::int64_t>(info.st_size);
    }
    if (errno == ENOENT) return std::int64_t{-1};
    return system_failure(errno, "look at " + path.string());
}

std::filesystem::path log_of(const std::filesystem::path& path) {
    std::filesystem::path out = path;
    out += "-wal";
    return out;
}

// A store never is an empty file: it is made under another name and renamed when it is whole.
Result<FileState> inspect_missing(const std::filesystem::path& path, std::int64_t size) {
    if (size == 0) return corrupt(path.string() + " is an empty file; what was in it is gone");
    WA_TRY(const std::int64_t log_size, size_of(log_of(path)));
    if (log_size <= 0) return FileState::kMissing;
    return corrupt(path.string() + " is missing, but its log is there: it would be lost by starting anew");
}

Failure foreign(const std::filesystem::path& path, const std::string& why) {
    Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kWorker, "store", path.string() + why);
    error.fix = "use the worker that wrote this file, or another state folder";
    return tl::unexpected(std::move(error));
}

Result<FileState> inspect_header(const std::filesystem::path& path, std::string_view header, std::int64_t size,
                                 std::int32_t newest) {
    constexpr std::string_view kMagic("SQLite format 3\0", 16);
    if (header.size() < kHeaderBytes || header.substr(0, kMagic.size()) != kMagic) {
        return corrupt(path.string() + " is not a store of this program (no database header)");
    }
    if (std::bit_cast<std::int32_t>(big_endian(header.data() + 68)) != kApplicationId) {
        return foreign(path, " is a database of another program");
    }
    const auto version = std::bit_cast<std::int32_t>(big_endian(header.data() + 60));
    if (version > newest) {
        return foreign(path, " has version " + std::to_string(version) + "; this build reads up to version " +
                                 std::to_string(newest));
    }
    if (version < 1) return corrupt(path.string() + " has no version");
    const std::uint32_t raw_page = big_endian(header.data() + 16) >> 16U;
    const std::int64_t page = raw_page == 1 ? 65536 : raw_page;
    const std::int64_t pages = big_endian(header.data() + 28);
    // Bytes that are the same in every store: SQLite reads a strange one as "read-only" or as another text encoding.
    const auto byte = [header](std::size_t at) { return static_cast<unsigned char>(header[at]); };
    const bool format = (byte(18) == 1 || byte(18) == 2) && (byte(19) == 1 || byte(19) == 2) && byte(20) == 0 &&
                        byte(21) == 64 && byte(22) == 32 && byte(23) == 32 && big_endian(header.data() + 56) == 1;
    if (!format || page < 512 || std::popcount(static_cast<std::uint64_t>(page)) != 1) {
        return corrupt(path.string() + " has a damaged header");
    }
    // A checkpoint that was cut off leaves a short file, and the log still has what is missing.
    WA_TRY(const std::int64_t log_size, size_of(log_of(path)));
    if (log_size <= 0 && (size < page * pages || size % page != 0)) {
        return corrupt(path.string() + " is cut short: " + std::to_string(size) + " bytes, the header says " +
                       std::to_string(page * pages));
    }
    return FileState::kOurs;
}

// ----------------------------------------------------------------------- log

struct Sums {
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    friend bool operator==(const Sums&, const Sums&) = default;
};

Sums add(Sums sums, std::string_view bytes, bool big) {
    for (std::size_t n = 0; n + 8 <= bytes.size(); n += 8) {
        std::uint32_t a = big_endian(bytes.data() + n);
        std::uint32_t b = big_endian(bytes.data() + n + 4);
        if (!big) {
            std::memcpy(&a, bytes.data() + n, 4);
            std::memcpy(&b, bytes.data() + n + 4, 4);
        }
        sums.first += a + sums.second;
        sums.second += b + sums.first;
    }
    return sums;
}

struct Frame {
    bool commit = false;
    Sums stored;
};

class Log {
public:
    Log(int fd, std::int64_t size, std::string_view header)
        : fd_(fd),
          size_(size),
          big_((big_endian(header.data()) & 1U) != 0U),
          page_(big_endian(header.data() + 8)),
          salts_(header.substr(16, 8)),
          buffer_(kFrameHeader + page_, '\0') {}

    [[nodiscard]] std::int64_t frames() const {
        return (size_ - static_cast<std::int64_t>(kWalHeader)) / static_cast<std::int64_t>(kFrameHeader + page_);
    }

    // True when the frame continues a log whose sums so far are `before`.
    [[nodiscard]] bool continues(Sums before) const {
        const std::string_view bytes(buffer_);
        if (bytes.substr(8, 8) != salts_) return false;
        return add(add(before, bytes.substr(0, 8), big_), bytes.substr(kFrameHeader), big_) == frame_.stored;
    }
    [[nodiscard]] Result<void> load(std::int64_t index) {
        const std::int64_t at =
            static_cast<std::int64_t>(kWalHeader) + index * static_cast<std::int64_t>(buffer_.size());
        if (read_at(fd_, buffer_.data(), buffer_.size(), at) != static_cast<ssize_t>(buffer_.size())) {
            return system_failure(errno, "read the log of the store");
        }
        frame_.commit = big_endian(buffer_.data() + 4) != 0;
        frame_.stored = {big_endian(buffer_.data() + 16), big_endian(buffer_.data() + 20)};
        return {};
    }
    [[nodiscard]] const Frame& frame() const { return frame_; }
    [[nodiscard]] bool same_generation() const { return std::string_view(buffer_).substr(8, 8) == salts_; }

private:
    int fd_;
    std::int64_t size_;
    bool big_;
    std::size_t page_;
    std::string salts_;
    std::string buffer_;
    Frame frame_;
};

// SQLite believes the log up to the first frame that does not fit, and forgets the rest. That is right for the torn
// last transaction of a power cut. But a transaction is begun only after the one before it was synced: two commits in
// one unbroken run behind the damaged place mean that synced data was damaged.
Result<void> inspect_frames(Log& log, Sums sums) {
    const std::int64_t frames = log.frames();
    std::int64_t index = 0;
    for (; index < frames; ++index) {
        WA_CHECKED(log.load(index));
        if (!log.continues(sums)) break;
        sums = log.frame().stored;
    }
    int commits = 0;
    Sums before{};
    for (std::int64_t n = index; n < frames; ++n) {
        WA_CHECKED(log.load(n));
        const bool unbroken = n == index || log.continues(before);
        if (!unbroken) commits = 0;
        before = log.frame().stored;
        if (!log.same_generation() && n != index) break;
        if (log.frame().commit && (n != index || log.same_generation())) ++commits;
        if (commits >= 2) {
            return corrupt("the log of the store is damaged at frame " + std::to_string(index + 1) +
                           ", and committed writes stand behind it");
        }
    }
    return {};
}

}  // namespace

// ---------------------------------------------------------------------- lock

Result<FileLock> FileLock::take(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return system_failure(errno, "open " + path.string());
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return FileLock(fd);
    const int code = errno;
    ::close(fd);
    if (code != EWOULDBLOCK) return system_failure(code, "lock " + path.string());
    return fail(ErrorCode::kConflict, "store", "another process uses this store (" + path.string() + " is locked)");
}
FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
FileLock& FileLock::operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}
FileLock::~FileLock() {
    if (fd_ >= 0) ::close(fd_);
}

// ------------------------------------------------------------------- inspect

Result<FileState> inspect(const std::filesystem::path& path, std::int32_t newest) {
    WA_TRY(const std::int64_t size, size_of(path));
    if (size <= 0) return inspect_missing(path, size);
    std::string header(kHeaderBytes, '\0');
    {
        const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (fd.value < 0) return system_failure(errno, "open " + path.string());
        const ssize_t got = read_at(fd.value, header.data(), header.size(), 0);
        if (got < 0) return system_failure(errno, "read " + path.string());
        header.resize(static_cast<std::size_t>(got));
    }
    WA_TRY(const FileState state, inspect_header(path, header, size, newest));
    WA_CHECKED(inspect_log(log_of(path)));
    return state;
}

Result<void> inspect_log(const std::filesystem::path& wal) {
    WA_TRY(const std::int64_t size, size_of(wal));
    if (size < static_cast<std::int64_t>(kWalHeader)) return {};
    const Fd fd(::open(wal.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.value < 0) return system_failure(errno, "open " + wal.string());
    std::string header(kWalHeader, '\0');
    if (read_at(fd.value, header.data(), header.size(), 0) != static_cast<ssize_t>(header.size())) {
        return system_failure(errno, "read " + wal.string());
    }
    const std::uint32_t magic = big_endian(header.data());
    const std::uint32_t page = big_endian(header.data() + 8);
    const bool known = (magic & 0xfffffffeU) == 0x377f0682U;
    const bool sane = known && page >= 512 && page <= 65536 && std::popcount(page) == 1;
    const Sums expected{big_endian(header.data() + 24), big_endian(header.data() + 28)};
    const Sums sums = sane ? add({}, std::string_view(header).substr(0, 24), (magic & 1U) != 0U) : Sums{};
    // The header is written, and synced, before the first frame: a bad one with frames behind it was damaged later.
    if (!sane || sums != expected) {
        if (size <= static_cast<std::int64_t>(kWalHeader)) return {};
        return corrupt("the log of the store has a damaged header");
    }
    Log log(fd.value, size, header);
    return inspect_frames(log, sums);
}

}  // namespace wa::store
