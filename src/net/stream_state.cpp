#include "net/stream_state.h"

#include <array>
#include <charconv>

#include "net/connection.h"

namespace wa::net {

StreamState::StreamState(std::shared_ptr<Core> core, std::weak_ptr<Connection> connection, bool chunked)
    : core_(std::move(core)), connection_(std::move(connection)), chunked_(chunked) {}

bool StreamState::write(std::string bytes) {
    bool overrun = false;
    bool wake_now = false;
    {
        const std::scoped_lock lock(mutex_);
        if (closed_ || finishing_) return false;
        if (bytes.empty()) return true;
        if (pending_.size() + in_flight_ + bytes.size() > core_->options.max_stream_queue) {
            closed_ = overrun = true;
        } else {
            if (chunked_) {
                std::array<char, 16> size{};
                const auto [end, error] = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16);
                (void)error;  // 16 hex digits hold any size
                pending_.append(size.data(), end);
                pending_ += "\r\n";
                pending_ += bytes;
                pending_ += "\r\n";
            } else {
                pending_ += bytes;
            }
        }
        wake_now = !std::exchange(wake_posted_, true);
    }
    if (overrun) {
        core_->post([connection = connection_] {
            if (const auto open = connection.lock()) open->close();
        });
        return false;
    }
    if (wake_now) wake();
    return true;
}

void StreamState::finish() {
    {
        const std::scoped_lock lock(mutex_);
        if (closed_ || finishing_) return;
        finishing_ = true;
        if (std::exchange(wake_posted_, true)) return;
    }
    wake();
}

void StreamState::wake() {
    core_->post([connection = connection_] {
        if (const auto open = connection.lock()) open->flush_stream();
    });
}

bool StreamState::closed() const {
    const std::scoped_lock lock(mutex_);
    return closed_ || finishing_;
}

std::size_t StreamState::queued() const {
    const std::scoped_lock lock(mutex_);
    return pending_.size() + in_flight_;
}

void StreamState::on_close(std::function<void()> work) {
    {
        const std::scoped_lock lock(mutex_);
        if (!closed_) {
            on_close_ = std::move(work);
            return;
        }
    }
    core_->post(std::move(work));
}

void StreamState::on_drained(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    if (!closed_) on_drained_ = std::move(work);
}

StreamState::Next StreamState::take() {
    const std::scoped_lock lock(mutex_);
    wake_posted_ = false;
    Next next;
    next.bytes.swap(pending_);
    if (finishing_ && !last_taken_) {
        last_taken_ = next.last = true;
        if (chunked_) next.bytes += "0\r\n\r\n";
    }
    in_flight_ = next.bytes.size();
    return next;
}

void StreamState::sent() {
    std::function<void()> drained;
    {
        const std::scoped_lock lock(mutex_);
        in_flight_ = 0;
        if (pending_.empty() && !closed_ && !finishing_) drained = on_drained_;
    }
    if (drained) drained();
}

void StreamState::end() {
    std::function<void()> closing;
    std::function<void()> dropped;
    {
        const std::scoped_lock lock(mutex_);
        closed_ = true;
        pending_.clear();
        closing.swap(on_close_);
        dropped.swap(on_drained_);
    }
    if (closing) closing();
}

}  // namespace wa::net
