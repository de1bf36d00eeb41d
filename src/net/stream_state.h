// Inside net/: the shared half of a streaming answer, between the writer (any thread) and the connection (loop's
// thread).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "net/core.h"
#include "net/router.h"

namespace wa::net {

class Connection;

class StreamState final : public Stream, public std::enable_shared_from_this<StreamState> {
public:
    StreamState(std::shared_ptr<Core> core, std::weak_ptr<Connection> connection, bool chunked);

    bool write(std::string bytes) override;
    void finish() override;
    [[nodiscard]] bool closed() const override;
    [[nodiscard]] std::size_t queued() const override;
    void on_close(std::function<void()> work) override;
    void on_drained(std::function<void()> work) override;

    // Called by the connection, on the loop.
    struct Next {
        std::string bytes;  // with the end of the body when `last`
        bool last = false;
    };
    [[nodiscard]] Next take();
    void sent();
    void end();

private:
    void wake();

    std::shared_ptr<Core> core_;
    std::weak_ptr<Connection> connection_;
    bool chunked_;
    mutable std::mutex mutex_;
    std::string pending_;
    std::size_t in_flight_ = 0;
    bool closed_ = false;
    bool finishing_ = false;
    bool last_taken_ = false;
    bool wake_posted_ = false;
    std::function<void()> on_close_;
    std::function<void()> on_drained_;
};

}  // namespace wa::net
