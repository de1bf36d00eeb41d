#include "adapters/kafka/sink.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "adapters/kafka/commit_metadata.h"

namespace wa::kafka {
namespace {

constexpr Duration kLookAgain = std::chrono::seconds(1);
constexpr std::size_t kMostGivenUp = 16;  // each keeps its threads and memory

}  // namespace

Sink::Sink(Parts parts) : parts_(std::move(parts)), timer_(parts_.loop) {
    begin_thread();
    every_second();
}

Sink::~Sink() {
    close();
}

std::size_t Sink::close() {
    alive_.reset();
    wanted_.reset();
    timer_.cancel();
    if (thread_ && !thread_->end()) ++given_up_;
    thread_.reset();
    return given_up_;
}

void Sink::begin_thread() {
    wanted_ = std::make_shared<bool>(true);
    thread_ = SinkThread::start(
        parts_, {wanted_, [this](CommitResult result) { settled(std::move(result)); }, [this] { recovered(); }});
}

void Sink::every_second() {
    timer_.expires_after(kLookAgain);
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired()) return;
        if (!thread_->look(given_up_ < kMostGivenUp)) replace_thread();
        every_second();
    });
}

void Sink::replace_thread() {
    ++given_up_;
    begin_thread();
    if (recovering_) thread_->recover();
    if (!under_way_) return;
    CommitResult unknown;
    unknown.number = *under_way_;
    unknown.status = CommitStatus::kFatal;
    unknown.error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "kafka",
                               "the Kafka client did not come back from a call; its producer was given up");
    settled(std::move(unknown));
}

SinkTraits Sink::traits() const {
    SinkTraits traits;
    traits.wants_offsets = true;
    traits.keeps_attempts = false;
    traits.metadata_limit -= kTopicMarkBytes;
    return traits;
}

void Sink::commit(const CommitBatch& batch) {
    SinkOrder order{batch, {}, parts_.topic_id ? parts_.topic_id() : std::string()};
    if (parts_.trace) {
        for (const auto& settlement : batch.settlements)
            order.traces.push_back(parts_.trace(settlement->ticket_id));
    }
    under_way_ = batch.number;
    thread_->give(std::move(order));
}

void Sink::recover() {
    recovering_ = true;
    thread_->recover();
}

void Sink::settled(CommitResult result) {
    under_way_.reset();
    parts_.deliver(std::move(result));
}

void Sink::recovered() {
    recovering_ = false;
    parts_.committed_now([this, alive = std::weak_ptr<bool>(alive_)](SinkRecovered recovered) {
        boost::asio::post(parts_.loop, [this, alive, recovered = std::move(recovered)]() mutable {
            if (!alive.expired()) parts_.deliver(std::move(recovered));
        });
    });
}

}  // namespace wa::kafka
