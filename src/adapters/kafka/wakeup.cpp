#include "adapters/kafka/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace wa::kafka {

Result<std::unique_ptr<Wakeup>> Wakeup::make(boost::asio::io_context& loop, std::function<void()> woken) {
    const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (descriptor < 0) {
        return Failure(make_error(ErrorCode::kLimitExceeded, Retry::kAfterBackoff, Fault::kWorker, "kafka",
                                  "no descriptor is left for the Kafka client"));
    }
    return std::unique_ptr<Wakeup>(new Wakeup(loop, descriptor, std::move(woken)));
}

Wakeup::Wakeup(boost::asio::io_context& loop, int descriptor, std::function<void()> woken)
    : descriptor_(loop, descriptor), woken_(std::move(woken)) {
    wait();
}

Wakeup::~Wakeup() {
    boost::system::error_code ignored;
    descriptor_.close(ignored);
}

void Wakeup::watch(rd_kafka_queue_t* queue) const {
    static constexpr std::uint64_t kOne = 1;
    // The descriptor is the same for the life of the queue's owner, who ends the queue before this.
    rd_kafka_queue_io_event_enable(
        queue, const_cast<boost::asio::posix::stream_descriptor&>(descriptor_).native_handle(), &kOne, sizeof(kOne));
}

void Wakeup::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
                               if (error || alive.expired()) return;
                               std::uint64_t count = 0;
                               // Read before serving: what comes meanwhile wakes again.
                               [[maybe_unused]] const auto bytes =
                                   ::read(descriptor_.native_handle(), &count, sizeof(count));
                               woken_();
                               if (!alive.expired()) wait();
                           });
}

}  // namespace wa::kafka
