// Ctrl-C as something that can be waited for, so that a command can say something before it ends.
#pragma once

#include <chrono>
#include <csignal>

namespace wa::cli {

// While one exists, SIGINT and SIGTERM do not end the process; they make fd() readable. For the main thread of a client
// command; one at a time.
class InterruptWatch {
public:
    InterruptWatch();
    ~InterruptWatch();
    InterruptWatch(const InterruptWatch&) = delete;
    InterruptWatch& operator=(const InterruptWatch&) = delete;

    [[nodiscard]] int fd() const { return fd_; }  // -1 when it could not be made; signals then end the process
    [[nodiscard]] bool triggered();
    // Waits at most so long; true = triggered.
    [[nodiscard]] bool wait(std::chrono::milliseconds time);

private:
    int fd_ = -1;
    sigset_t before_{};
    bool triggered_ = false;
};

}  // namespace wa::cli
