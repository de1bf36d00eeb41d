#include "http_client/multi.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace wa::http {
namespace asio = boost::asio;
using boost::system::error_code;

Multi::Multi(asio::io_context& loop, const Clock& clock, Limits limits, Finished finished)
    : loop_(loop), clock_(clock), finished_(std::move(finished)), multi_(curl_multi_init()), timer_(loop) {
    WA_CHECK(multi_ != nullptr, "libcurl could not be set up: out of memory");
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Multi::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Multi::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, limits.idle_connections);
    curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, limits.connections);
    curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, limits.connections_per_host);
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

Multi::~Multi() {
    alive_.reset();
    curl_multi_cleanup(multi_);
    // libcurl owns the descriptors and has closed, or will close, them.
    for (auto& [fd, watch] : watches_) {
        watch->gone = true;
        watch->descriptor.release();
    }
}

bool Multi::add(CURL* easy) {
    return curl_multi_add_handle(multi_, easy) == CURLM_OK;
}

void Multi::remove(CURL* easy) {
    curl_multi_remove_handle(multi_, easy);
}

int Multi::on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* self, void* /*unused*/) {
    static_cast<Multi*>(self)->watch(fd, what);
    return 0;
}

int Multi::on_timer(CURLM* /*multi*/, long milliseconds, void* self) {
    auto& multi = *static_cast<Multi*>(self);
    multi.set_due(milliseconds < 0 ? std::nullopt
                                   : std::optional(multi.clock_.now() + std::chrono::milliseconds(milliseconds)));
    return 0;
}

// libcurl moves its time with every call: to now, then to some time that hardly ever comes. Setting a timer costs more
// than all the rest that a call does here, so it is set only for what comes earlier than it would.
void Multi::set_due(std::optional<MonoTime> due) {
    due_ = due;
    if (!due) {
        armed_.reset();
        timer_.cancel();
    } else if (*due <= clock_.now()) {
        if (std::exchange(posted_, true)) return;
        asio::post(loop_, [this, alive = std::weak_ptr<bool>(alive_)] {
            if (alive.expired()) return;
            posted_ = false;
            come_back();
        });
    } else if (!armed_ || *due < *armed_) {
        armed_ = due;
        timer_.expires_after(*due - clock_.now());
        timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
            if (error || alive.expired()) return;
            armed_.reset();
            come_back();
        });
    }
}

void Multi::come_back() {
    if (!due_) return;
    if (*due_ > clock_.now()) return set_due(due_);
    due_.reset();
    act(CURL_SOCKET_TIMEOUT, 0);
}

void Multi::watch(curl_socket_t fd, int what) {
    const auto found = watches_.find(fd);
    if (what == CURL_POLL_REMOVE) {
        if (found == watches_.end()) return;
        found->second->gone = true;
        found->second->descriptor.release();  // libcurl keeps or closes it
        watches_.erase(found);
        return;
    }
    std::shared_ptr<Watch> watch;
    if (found != watches_.end()) {
        watch = found->second;
    } else {
        watch = std::make_shared<Watch>(loop_, fd);
        error_code error;
        watch->descriptor.assign(fd, error);
        if (error) {
            // Nothing will ever tell about this socket: let its transfer fail.
            asio::post(loop_, [this, alive = std::weak_ptr<bool>(alive_), fd] {
                if (!alive.expired()) act(fd, CURL_CSELECT_ERR);
            });
            return;
        }
        watches_.emplace(fd, watch);
    }
    watch->wanted = what;
    arm(watch);
}

void Multi::arm(const std::shared_ptr<Watch>& watch) {
    if ((watch->wanted & CURL_POLL_IN) != 0 && !watch->reading) wait(watch, false);
    if (!watch->gone && (watch->wanted & CURL_POLL_OUT) != 0 && !watch->writing) wait(watch, true);
}

void Multi::wait(const std::shared_ptr<Watch>& watch, bool write) {
    using Wait = asio::posix::stream_descriptor;
    (write ? watch->writing : watch->reading) = true;
    watch->descriptor.async_wait(write ? Wait::wait_write : Wait::wait_read, [this, alive = std::weak_ptr<bool>(alive_),
                                                                              watch, write](const error_code& error) {
        (write ? watch->writing : watch->reading) = false;
        if (alive.expired() || watch->gone || error == asio::error::operation_aborted) return;
        if ((watch->wanted & (write ? CURL_POLL_OUT : CURL_POLL_IN)) != 0)
            act(watch->fd, error ? CURL_CSELECT_ERR : (write ? CURL_CSELECT_OUT : CURL_CSELECT_IN));
        if (!alive.expired() && !watch->gone && !error) arm(watch);
    });
}

void Multi::act(curl_socket_t fd, int events) {
    int running = 0;
    curl_multi_socket_action(multi_, fd, events, &running);
    collect();
}

void Multi::collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* const easy = message->easy_handle;
        const CURLcode code = message->data.result;
        curl_multi_remove_handle(multi_, easy);  // `message` is gone now
        finished_(easy, code);
    }
}

}  // namespace wa::http
