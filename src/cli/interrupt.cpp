#include "cli/interrupt.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace wa::cli {
namespace {

sigset_t watched() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::sigaddset(&set, SIGTERM);
    return set;
}

}  // namespace

InterruptWatch::InterruptWatch() {
    const sigset_t set = watched();
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ >= 0) ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

InterruptWatch::~InterruptWatch() {
    if (fd_ < 0) return;
    // Taken off the queue first: unblocking must not deliver what was answered already.
    static_cast<void>(triggered());
    ::close(fd_);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool InterruptWatch::triggered() {
    signalfd_siginfo info{};
    while (fd_ >= 0 && ::read(fd_, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
        triggered_ = true;
    return triggered_;
}

bool InterruptWatch::wait(std::chrono::milliseconds time) {
    if (triggered()) return true;
    pollfd ready{fd_, POLLIN, 0};
    ::poll(&ready, fd_ < 0 ? 0 : 1, static_cast<int>(time.count()));
    return triggered();
}

}  // namespace wa::cli
