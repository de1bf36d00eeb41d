// Wakes the loop when a queue of the Kafka client has something: the client writes to a descriptor, the loop reads it.
//
// Threading: made, used and destroyed on the loop.
#pragma once

#include <librdkafka/rdkafka.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"

namespace wa::kafka {

class Wakeup {
public:
    // Refused only when the machine has no descriptors left.
    static Result<std::unique_ptr<Wakeup>> make(boost::asio::io_context& loop, std::function<void()> woken);
    ~Wakeup();
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;

    // From now on an element that comes into the empty queue wakes the loop.
    void watch(rd_kafka_queue_t* queue) const;
    static void ignore(rd_kafka_queue_t* queue) { rd_kafka_queue_io_event_enable(queue, -1, nullptr, 0); }

private:
    Wakeup(boost::asio::io_context& loop, int descriptor, std::function<void()> woken);
    void wait();

    boost::asio::posix::stream_descriptor descriptor_;
    std::function<void()> woken_;
    // What is still posted after destruction finds this gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::kafka
