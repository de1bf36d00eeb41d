#include "config/environment.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

extern char** environ;  // NOLINT: POSIX gives no header for it in C++

namespace wa::config {

namespace {
constexpr int kPipeWaitMs = 5000;  // the longest wait for the other end of a pipe
}

Environment process_environment() {
    Environment out;
    if (environ == nullptr) return out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        const std::size_t equals = text.find('=', 1);
        if (equals == std::string_view::npos) continue;
        out.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return out;
}

Result<std::string> read_small_file(const std::string& path, std::size_t limit) {
    const auto failed = [&path](int number) {
        const ErrorCode code = number == ENOENT                      ? ErrorCode::kNotFound
                               : number == EACCES || number == EPERM ? ErrorCode::kNotAllowed
                                                                     : ErrorCode::kUnavailable;
        return fail(code, "files", "cannot read " + path + ": " + std::system_category().message(number));
    };
    // Non-blocking: a FIFO in place of a file must not hold the start up for ever.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return failed(errno);
    struct Closer {
        int file;
        ~Closer() { ::close(file); }
    } const closer{file};
    struct stat info{};
    if (::fstat(file, &info) != 0) return failed(errno);
    if (S_ISDIR(info.st_mode)) return failed(EISDIR);
    std::string text;
    std::array<char, 16384> buffer{};
    while (true) {
        const ssize_t got = ::read(file, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) {
            pollfd ready{file, POLLIN, 0};
            if (::poll(&ready, 1, kPipeWaitMs) > 0) continue;
            return failed(ETIMEDOUT);
        }
        if (got < 0) return failed(errno);
        if (got == 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
        if (text.size() > limit) {
            return fail(ErrorCode::kLimitExceeded, "files",
                        path + " is larger than " + std::to_string(limit) + " bytes");
        }
    }
}

}  // namespace wa::config
