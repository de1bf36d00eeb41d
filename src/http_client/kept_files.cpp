#include "http_client/kept_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace wa::http {
namespace {

constexpr std::size_t kMaxFiles = 64;

Result<std::string> read_all(int fd, std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t at = 0;
    while (at < size) {
        const ssize_t got = ::read(fd, bytes.data() + at, size - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(ErrorCode::kUnavailable, "http", std::strerror(errno));
        if (got == 0) break;
        at += static_cast<std::size_t>(got);
    }
    bytes.resize(at);
    return bytes;
}

}  // namespace

Failure KeptFiles::cannot_read(const std::string& path, const std::string& why) const {
    Error error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, options_.origin,
                             "cannot read the " + options_.what + " '" + path + "': " + why);
    error.fix = "check the path, and that the worker may read it";
    return tl::unexpected(std::move(error));
}

Result<std::shared_ptr<const std::string>> KeptFiles::read(const std::string& path) {
    struct stat now{};
    if (::stat(path.c_str(), &now) != 0) return cannot_read(path, std::strerror(errno));
    const std::int64_t changed = now.st_ctim.tv_sec * 1'000'000'000 + now.st_ctim.tv_nsec;
    const auto found = kept_.find(path);
    if (found != kept_.end() && found->second.inode == now.st_ino && found->second.device == now.st_dev &&
        found->second.size == now.st_size && found->second.changed_ns == changed)
        return found->second.bytes;
    if (!S_ISREG(now.st_mode)) return cannot_read(path, "it is not a regular file");
    if (now.st_size > options_.max_bytes)
        return cannot_read(path, "it is larger than " + std::to_string(options_.max_bytes) + " bytes");
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return cannot_read(path, std::strerror(errno));
    auto bytes = read_all(fd, static_cast<std::size_t>(now.st_size));
    ::close(fd);
    if (!bytes) return cannot_read(path, bytes.error().message);
    if (kept_.size() >= kMaxFiles) kept_.clear();
    Kept& kept = kept_[path];
    kept = {now.st_dev, now.st_ino, now.st_size, changed, std::make_shared<const std::string>(*std::move(bytes))};
    return kept.bytes;
}

}  // namespace wa::http
