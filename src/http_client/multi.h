// libcurl's multi handle on an io_context: its sockets and its one timer wait in Asio. Loop thread only.
#pragma once

#include <curl/curl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/clock.h"

namespace wa::http {

class Multi {
public:
    // Called when a transfer has ended and its handle was taken out; never from inside a callback of libcurl. Must not
    // destroy the Multi.
    using Finished = std::function<void(CURL*, CURLcode)>;

    struct Limits {
        long idle_connections = 64;
        long connections = 1024;
        long connections_per_host = 0;
    };

    Multi(boost::asio::io_context& loop, const Clock& clock, Limits limits, Finished finished);
    // All handles must have been removed.
    ~Multi();
    Multi(const Multi&) = delete;
    Multi& operator=(const Multi&) = delete;

    // False when libcurl refuses it (no memory).
    [[nodiscard]] bool add(CURL* easy);
    void remove(CURL* easy);

private:
    struct Watch {
        Watch(boost::asio::io_context& loop, curl_socket_t socket) : descriptor(loop), fd(socket) {}
        boost::asio::posix::stream_descriptor descriptor;
        curl_socket_t fd;
        int wanted = 0;  // CURL_POLL_IN, CURL_POLL_OUT
        bool reading = false;
        bool writing = false;
        bool gone = false;
    };

    static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* unused);
    static int on_timer(CURLM* multi, long milliseconds, void* self);
    void set_due(std::optional<MonoTime> due);
    void come_back();
    void watch(curl_socket_t fd, int what);
    void arm(const std::shared_ptr<Watch>& watch);
    void wait(const std::shared_ptr<Watch>& watch, bool write);
    void act(curl_socket_t fd, int events);
    void collect();

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Finished finished_;
    CURLM* multi_;
    boost::asio::steady_timer timer_;
    std::optional<MonoTime> due_;    // when libcurl wants to be called
    std::optional<MonoTime> armed_;  // when the timer comes: not after due_, while that is set
    bool posted_ = false;
    std::unordered_map<curl_socket_t, std::shared_ptr<Watch>> watches_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::http
