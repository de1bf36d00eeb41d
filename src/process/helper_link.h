// One helper process and the packets to and from it. Knows nothing about what they mean.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "process/fd.h"
#include "process/helper_image.h"

namespace wa {

class HelperLink : public std::enable_shared_from_this<HelperLink> {
public:
    struct Handlers {
        // `fds`: those that came along.
        std::function<void(std::string_view packet, std::vector<Fd> fds)> packet;
        // The helper is gone. Called once, from the loop.
        std::function<void()> gone;
    };

    HelperLink(boost::asio::io_context& loop, HelperProcess process, Handlers handlers);
    ~HelperLink();
    HelperLink(const HelperLink&) = delete;
    HelperLink& operator=(const HelperLink&) = delete;

    void begin();
    // Keeps `fds` open until the packet is on its way.
    void send(std::string packet, std::vector<Fd> fds);
    // Closes the socket, which makes the helper kill everything and leave; waits for that up to `limit_ms`, then kills
    // it. To be called before the last owner lets go: pending handlers are owners, too. No handler is called any more.
    void close_and_wait(int limit_ms);
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
    pid_t pid_;
};

}  // namespace wa
