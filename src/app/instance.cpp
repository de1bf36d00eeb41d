#include "app/instance.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/random.h"

namespace wa::app {

Result<InstanceSlot> InstanceSlot::take(std::string_view group) {
    constexpr int kMost = 1000;
    // A digest: a group's name may be longer than a socket's.
    const std::string stem = "worker-agents-" + uuid5("group:" + std::string(group)) + "-";
    for (int number = 0; number < kMost; ++number) {
        Fd hold(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!hold) break;
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string name = stem + std::to_string(number);
        // The first byte stays zero: a name of the kernel's, without a file, gone with the process.
        std::copy(name.begin(), name.end(), address.sun_path + 1);
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
        if (::bind(hold.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0)  // NOLINT: the socket API
            return InstanceSlot(number, std::move(hold));
        if (errno != EADDRINUSE) break;
    }
    return fail(ErrorCode::kLimitExceeded, "instance", "no free place for another worker of this group here");
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    return name.data();
}

}  // namespace wa::app
