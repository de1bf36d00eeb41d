#include "process/helper_link.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "protocol.h"

namespace wa {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr int kPacketsPerTurn = 64;
constexpr int kDeathLimitMs = 500;  // from SIGKILL; on the loop, but only when a helper is lost
constexpr std::size_t kControlSize = CMSG_SPACE(sizeof(int) * helper::kMaxFds);

// The descriptors that came with a packet.
std::vector<Fd> take_descriptors(msghdr& header) {
    std::vector<Fd> fds;
    for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
        if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (entry->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t index = 0; index < count; ++index) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(entry) + index * sizeof(int), sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return fds;
}

}  // namespace

class HelperLink::Impl {
public:
    Impl(asio::io_context& loop, HelperProcess process, Handlers handlers)
        : socket_(loop, process.socket.release()), pidfd_(std::move(process.pidfd)), handlers_(std::move(handlers)) {}

    void wait_readable(const std::shared_ptr<HelperLink>& owner) {
        socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this, owner](error_code error) {
            if (closed_) return;
            if (error || !receive()) return lost();
            if (!closed_) wait_readable(owner);
        });
    }

    // False when the helper is gone.
    bool receive() {
        for (int turn = 0; turn < kPacketsPerTurn && !closed_; ++turn) {
            alignas(helper::AnyAnswer) std::array<char, sizeof(helper::AnyAnswer)> packet{};
            alignas(cmsghdr) std::array<char, kControlSize> control{};
            iovec part{packet.data(), packet.size()};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            const ssize_t got = ::recvmsg(socket_.native_handle(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 && errno == EAGAIN) return true;
            if (got <= 0) return false;
            std::vector<Fd> fds = take_descriptors(header);
            if ((header.msg_flags & MSG_TRUNC) != 0) continue;
            handlers_.packet(std::string_view(packet.data(), static_cast<std::size_t>(got)), std::move(fds));
        }
        return true;
    }

    void send(const std::shared_ptr<HelperLink>& owner, std::string packet, std::vector<Fd> fds) {
        if (closed_) return;
        outgoing_.push_back(Outgoing{std::move(packet), std::move(fds)});
        if (!writing_) flush(owner);
    }

    void flush(const std::shared_ptr<HelperLink>& owner) {
        while (!outgoing_.empty()) {
            const int error = send_one(outgoing_.front());
            if (error == EAGAIN || error == ENOBUFS) {
                writing_ = true;
                socket_.async_wait(asio::posix::stream_descriptor::wait_write, [this, owner](error_code failed) {
                    writing_ = false;
                    if (!failed && !closed_) flush(owner);
                });
                return;
            }
            // Anything else means that the helper is gone, which the reading side sees.
            outgoing_.pop_front();
        }
    }

    void kill() { ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0U); }

    void close() {
        closed_ = true;
        outgoing_.clear();
        error_code ignored;
        socket_.close(ignored);
    }

    // It has left or is about to. Bounded: one that hangs in the kernel cannot be waited for, and stays a zombie later
    // on.
    void reap(pid_t pid, int limit_ms) {
        if (reaped_) return;
        if (!ends_within(limit_ms)) {
            kill();
            if (!ends_within(kDeathLimitMs)) {
                reaped_ = true;
                return;
            }
        }
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        reaped_ = true;
    }

    [[nodiscard]] bool ends_within(int limit_ms) {
        pollfd polled{pidfd_.get(), POLLIN, 0};
        int ready = 0;
        do {
            ready = ::poll(&polled, 1, limit_ms);
        } while (ready < 0 && errno == EINTR);
        return ready > 0;
    }

    void lost() {
        if (closed_) return;
        close();
        handlers_.gone();
    }

    [[nodiscard]] bool reaped() const { return reaped_; }

private:
    struct Outgoing {
        std::string packet;
        std::vector<Fd> fds;
    };

    int send_one(Outgoing& out) {
        iovec part{out.packet.data(), out.packet.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        alignas(cmsghdr) std::array<char, kControlSize> control{};
        if (!out.fds.empty()) {
            const std::size_t count = std::min<std::size_t>(out.fds.size(), helper::kMaxFds);
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
            cmsghdr* rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
            for (std::size_t index = 0; index < count; ++index) {
                const int fd = out.fds[index].get();
                std::memcpy(CMSG_DATA(rights) + index * sizeof(int), &fd, sizeof fd);
            }
        }
        for (;;) {
            if (::sendmsg(socket_.native_handle(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
            if (errno != EINTR) return errno;
        }
    }

    asio::posix::stream_descriptor socket_;
    Fd pidfd_;
    Handlers handlers_;
    std::deque<Outgoing> outgoing_;
    bool writing_ = false;
    bool closed_ = false;
    bool reaped_ = false;
};

HelperLink::HelperLink(asio::io_context& loop, HelperProcess process, Handlers handlers)
    : impl_(nullptr), pid_(process.pid) {
    impl_ = std::make_unique<Impl>(loop, std::move(process), std::move(handlers));
}

HelperLink::~HelperLink() {
    if (impl_->reaped()) return;
    impl_->close();
    impl_->kill();
    impl_->reap(pid_, 0);
}

void HelperLink::begin() {
    impl_->wait_readable(shared_from_this());
}
void HelperLink::send(std::string packet, std::vector<Fd> fds) {
    impl_->send(shared_from_this(), std::move(packet), std::move(fds));
}
void HelperLink::close_and_wait(int limit_ms) {
    impl_->close();  // from here on no handler is called
    impl_->reap(pid_, limit_ms);
}

}  // namespace wa
