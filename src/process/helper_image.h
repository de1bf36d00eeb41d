// The spawn helper's executable and how it is started.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "process/fd.h"

namespace wa {

struct HelperProcess {
    pid_t pid = -1;
    Fd pidfd;
    Fd socket;  // our end: SOCK_SEQPACKET, non-blocking
};

class HelperImage {
public:
    // `file` not empty: that executable is used. Otherwise the copy inside this binary from a memfd, or, where memfds
    // may not be executed, the file worker-agents-spawn-helper beside this executable.
    explicit HelperImage(std::string file = {});

    // Starts one helper without copying this process. It gets no environment and no descriptor but its socket.
    // Errors: kUnavailable, retryable.
    [[nodiscard]] Result<HelperProcess> start();

private:
    [[nodiscard]] Result<std::string> path();

    std::string file_;
    Fd memfd_;
    bool memfd_refused_ = false;
};

}  // namespace wa
