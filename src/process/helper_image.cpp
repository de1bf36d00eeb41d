#include "process/helper_image.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

extern "C" {
extern const char wa_spawn_helper_begin[];  // NOLINT: assembler symbols, see embedded_helper.S
extern const char wa_spawn_helper_end[];    // NOLINT
}

namespace wa {
namespace {

constexpr int kHelperSocket = 3;          // where the helper expects it
constexpr int kFirstFreeNumber = 10;      // keeps our descriptors out of the way of that number
constexpr unsigned kMemfdExec = 0x0010U;  // MFD_EXEC, newer than our headers

Failure cannot(const char* what, int error) {
    return Failure(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "spawn-helper",
                              std::string(what) + ": " + std::strerror(error)));
}

int make_memfd() {
    const auto make = [](unsigned flags) {
        return static_cast<int>(::syscall(SYS_memfd_create, "worker-agents-spawn-helper", MFD_CLOEXEC | flags));
    };
    const int fd = make(kMemfdExec | MFD_ALLOW_SEALING);
    return fd >= 0 || errno != EINVAL ? fd : make(MFD_ALLOW_SEALING);
}

Result<Fd> embedded_executable() {
    const Fd low(make_memfd());
    if (!low) return cannot("memfd_create", errno);
    Fd fd(::fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFreeNumber));
    if (!fd) return cannot("dup", errno);
    const auto size = static_cast<std::size_t>(wa_spawn_helper_end - wa_spawn_helper_begin);
    for (std::size_t at = 0; at < size;) {
        const ssize_t written = ::write(fd.get(), wa_spawn_helper_begin + at, size - at);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return cannot("write memfd", errno);
        at += static_cast<std::size_t>(written);
    }
    ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

std::string beside_this_executable() {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t length = ::readlink("/proc/self/exe", buffer.data(), buffer.size() - 1);
    if (length <= 0) return {};
    const std::string_view self(buffer.data(), static_cast<std::size_t>(length));
    return std::string(self.substr(0, self.rfind('/') + 1)) + "worker-agents-spawn-helper";
}

class Actions {
public:
    Actions() { ::posix_spawn_file_actions_init(&actions_); }
    ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
    Actions(const Actions&) = delete;
    Actions& operator=(const Actions&) = delete;
    [[nodiscard]] ::posix_spawn_file_actions_t* get() { return &actions_; }

private:
    ::posix_spawn_file_actions_t actions_{};
};

int spawn_helper(const std::string& path, int socket, pid_t& pid) {
    Actions actions;
    if (const int error = ::posix_spawn_file_actions_adddup2(actions.get(), socket, kHelperSocket); error != 0)
        return error;
    std::array<char, 32> name{"worker-agents-spawn-helper"};
    std::array<char*, 2> arguments{name.data(), nullptr};
    std::array<char*, 1> environment{nullptr};
    return ::posix_spawn(&pid, path.c_str(), actions.get(), nullptr, arguments.data(), environment.data());
}

}  // namespace

HelperImage::HelperImage(std::string file) : file_(std::move(file)) {}

Result<std::string> HelperImage::path() {
    if (!file_.empty()) return file_;
    if (memfd_refused_) return beside_this_executable();
    if (!memfd_) {
        WA_TRY(memfd_, embedded_executable());
    }
    return "/proc/self/fd/" + std::to_string(memfd_.get());
}

Result<HelperProcess> HelperImage::start() {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) return cannot("socketpair", errno);
    HelperProcess helper;
    helper.socket = Fd(pair[0]);
    const Fd low(pair[1]);
    const Fd theirs(::fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFreeNumber));
    if (!theirs) return cannot("dup", errno);
    if (::fcntl(helper.socket.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("fcntl", errno);
    WA_TRY(const std::string executable, path());
    int error = spawn_helper(executable, theirs.get(), helper.pid);
    if (file_.empty() && !memfd_refused_ && (error == EACCES || error == EPERM || error == ENOENT)) {
        memfd_refused_ = true;  // vm.memfd_noexec, or no /proc: the file beside us is what is left
        WA_TRY(const std::string sibling, path());
        error = spawn_helper(sibling, theirs.get(), helper.pid);
    }
    if (error != 0) return cannot("cannot start the spawn helper", error);
    helper.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, helper.pid, 0U)));
    if (!helper.pidfd) {
        const int why = errno;
        helper.socket.reset();  // it leaves when its socket closes
        ::waitpid(helper.pid, nullptr, 0);
        return cannot("pidfd_open", why);
    }
    return helper;
}

}  // namespace wa
