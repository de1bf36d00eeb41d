#include "adapters/ticket_service/spill_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "adapters/ticket_service/answers.h"

namespace wa::ticket_service {
namespace {

// Owns a descriptor.
class File {
public:
    File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t done = ::write(fd, bytes.data(), bytes.size());
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(done));
    }
    return true;
}

}  // namespace

SpillFile::SpillFile(std::string path) : path_(std::move(path)), thread_([this] { run(); }) {}

SpillFile::~SpillFile() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

Result<std::vector<StatusUpdate>> SpillFile::read() const {
    const File file(path_, O_RDONLY | O_NONBLOCK);
    if (file.fd() < 0) {
        if (errno == ENOENT) return std::vector<StatusUpdate>{};
        return fail(ErrorCode::kUnavailable, "ticket_service", "cannot open '" + path_ + "': " + std::strerror(errno));
    }
    std::string text;
    char bytes[65536];
    ssize_t got = 0;
    while ((got = ::read(file.fd(), bytes, sizeof bytes)) > 0) {
        text.append(bytes, static_cast<std::size_t>(got));
        if (text.size() > kMaxSpillBytes) break;
    }
    if (got < 0)
        return fail(ErrorCode::kUnavailable, "ticket_service", "cannot read '" + path_ + "': " + std::strerror(errno));
    auto updates = parse_spill(text);
    if (!updates) {
        static_cast<void>(::rename(path_.c_str(), (path_ + ".damaged").c_str()));
        updates.error().message += "; it was moved to '" + path_ + ".damaged' and is not used";
    }
    return updates;
}

void SpillFile::write(std::vector<StatusUpdate> updates) {
    {
        const std::lock_guard lock(mutex_);
        next_ = std::move(updates);
    }
    changed_.notify_all();
}

void SpillFile::wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !next_ && !busy_; });
}

std::optional<std::string> SpillFile::take_problem() {
    const std::lock_guard lock(mutex_);
    return std::exchange(problem_, std::nullopt);
}

void SpillFile::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return next_ || stop_; });
        if (!next_) return;
        const std::vector<StatusUpdate> updates = *std::exchange(next_, std::nullopt);
        busy_ = true;
        lock.unlock();
        auto problem = put(updates);
        lock.lock();
        busy_ = false;
        if (problem) problem_ = std::move(problem);
        changed_.notify_all();
    }
}

// Why it failed, if it did.
std::optional<std::string> SpillFile::put(const std::vector<StatusUpdate>& updates) const {
    const auto failed = [this](const char* what) {
        return "cannot " + std::string(what) + " '" + path_ + "': " + std::strerror(errno);
    };
    if (updates.empty()) {
        if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return failed("remove");
        return std::nullopt;
    }
    const std::string temporary = path_ + ".new";
    {
        static_cast<void>(::unlink(temporary.c_str()));
        const File file(temporary, O_WRONLY | O_CREAT | O_EXCL);
        if (file.fd() < 0) return failed("create a new version of");
        if (!write_all(file.fd(), spill_text(updates)) || ::fsync(file.fd()) != 0) {
            auto why = failed("write");
            static_cast<void>(::unlink(temporary.c_str()));
            return why;
        }
    }
    if (::rename(temporary.c_str(), path_.c_str()) != 0) return failed("replace");
    return std::nullopt;
}

}  // namespace wa::ticket_service
