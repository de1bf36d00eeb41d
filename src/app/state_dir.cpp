#include "app/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace wa::app {
namespace {

Failure io_error(const std::string& what, int code) {
    ErrorCode kind = ErrorCode::kUnavailable;
    if (code == ENOSPC || code == EDQUOT) kind = ErrorCode::kDiskFull;
    if (code == EACCES || code == EPERM || code == EROFS) kind = ErrorCode::kNotAllowed;
    // No later start will find another answer.
    if (code == ENOTDIR || code == EEXIST || code == ELOOP || code == ENAMETOOLONG) kind = ErrorCode::kInvalidArgument;
    return fail(kind, "state", what + ": " + std::strerror(code));
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 512> buffer{};
    for (ssize_t got = ::pread(fd, buffer.data(), buffer.size(), 0); got > 0 && text.empty();)
        text.assign(buffer.data(), static_cast<std::size_t>(got));
    return text;
}

Result<void> write_whole(const std::filesystem::path& path, const std::string& text) {
    const std::filesystem::path fresh = path.string() + ".new";
    const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return io_error("cannot write " + fresh.string(), errno);
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::fsync(file.get()) != 0) {
        return io_error("cannot write " + fresh.string(), errno);
    }
    if (::rename(fresh.c_str(), path.c_str()) != 0) return io_error("cannot replace " + path.string(), errno);
    return {};
}

}  // namespace

Result<StateDir> StateDir::open(const std::filesystem::path& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return io_error("cannot make the state folder " + path.string(), error.value());
    ::chmod(path.c_str(), 0700);
    const std::filesystem::path lock_path = path / "lock";
    Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock) return io_error("cannot open " + lock_path.string(), errno);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        std::string holder = read_all(lock.get());
        if (holder.empty()) holder = "unknown";
        return fail(ErrorCode::kConflict, "state",
                    "the state folder " + path.string() + " is in use by process " + holder);
    }
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(lock.get(), 0) != 0 ||
        ::pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
        return io_error("cannot write " + lock_path.string(), errno);
    }
    return StateDir(std::filesystem::weakly_canonical(path, error), std::move(lock));
}

Result<StateDir> StateDir::open_scratch(const std::filesystem::path& base) {
    const std::filesystem::path own = base / ("worker-agents-" + std::to_string(::getuid()));
    if (::mkdir(own.c_str(), 0700) != 0 && errno != EEXIST) return io_error("cannot make " + own.string(), errno);
    // In a folder that others may write to, this one may have been made by somebody else.
    struct stat facts{};
    if (::lstat(own.c_str(), &facts) != 0) return io_error("cannot look at " + own.string(), errno);
    if (!S_ISDIR(facts.st_mode) || facts.st_uid != ::getuid() || (facts.st_mode & 0077) != 0) {
        Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "state",
                                 own.string() + " is not a private folder of this user");
        error.fix = "remove it, or name a folder with --state-dir";
        return Failure(std::move(error));
    }
    constexpr int kMost = 1000;
    for (int number = 0; number < kMost; ++number) {
        Result<StateDir> opened = open(own / ("run-" + std::to_string(number)));
        if (opened || opened.error().code != ErrorCode::kConflict) return opened;
    }
    return fail(ErrorCode::kConflict, "state", "every folder below " + own.string() + " is in use");
}

std::string StateDir::marker() const {
    return uuid5("state:" + path_.string());
}

Result<std::string> StateDir::token(Random& random) const {
    const std::filesystem::path path = path_ / "token";
    const Fd existing(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (existing) {
        std::string text = read_all(existing.get());
        while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
            text.pop_back();
        if (text.size() >= 32) return text;
    } else if (errno != ENOENT) {
        return io_error("cannot read " + path.string(), errno);
    }
    std::string token;
    for (int i = 0; i < 4; ++i) {
        std::array<char, 17> part{};
        std::snprintf(part.data(), part.size(), "%016llx", static_cast<unsigned long long>(random.next()));
        token += part.data();
    }
    WA_CHECKED(write_whole(path, token + "\n"));
    return token;
}

Result<void> StateDir::write_endpoints(const std::string& json) const {
    return write_whole(path_ / "endpoints", json);
}

void StateDir::remove_endpoints() const {
    std::error_code ignored;
    std::filesystem::remove(path_ / "endpoints", ignored);
}

}  // namespace wa::app
