#include "adapters/embedded_store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "adapters/embedded_store/sqlite.h"

namespace wa::store {

namespace {

std::filesystem::path beside(const std::filesystem::path& store, const char* suffix) {
    std::filesystem::path out = store;
    out += suffix;
    return out;
}

// A file of `bytes` real blocks. What was made is removed again when it does not fit.
Result<void> allocate(const std::filesystem::path& path, std::size_t bytes) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int code = fd < 0 ? errno : ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (fd >= 0 && code == 0 && ::fsync(fd) != 0) code = errno;
    if (fd >= 0) ::close(fd);
    if (code == 0) return {};
    ::unlink(path.c_str());
    return tl::unexpected(
        sqlite::error_of(SQLITE_IOERR, code, std::system_category().message(code), "reserve room at " + path.string()));
}

}  // namespace

Reserve::Reserve(std::filesystem::path store, std::size_t bytes)
    : path_(beside(store, "-reserve")), probe_path_(beside(store, "-probe")), bytes_(bytes) {
    struct stat info = {};
    whole_ = bytes_ == 0 || (::stat(path_.c_str(), &info) == 0 && static_cast<std::size_t>(info.st_size) >= bytes_ &&
                             static_cast<std::size_t>(info.st_blocks) * 512U >= bytes_);
}

Result<void> Reserve::fill() {
    if (whole_) return {};
    WA_CHECKED(allocate(path_, bytes_));
    whole_ = true;
    return {};
}

bool Reserve::spend() {
    const bool had = whole_ && bytes_ > 0;
    if (bytes_ > 0) {
        whole_ = false;
        ::unlink(path_.c_str());
    }
    return had;
}

Result<void> Reserve::probe(std::size_t bytes) const {
    WA_CHECKED(allocate(probe_path_, bytes));
    ::unlink(probe_path_.c_str());
    return {};
}

}  // namespace wa::store
