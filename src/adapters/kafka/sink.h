// Where endings go on Kafka: the engine's side of a SinkThread, and the one that watches it. A thread whose client does
// not come back from a call is given up and another one put in its place; what it was given counts as a fatal end,
// after which the engine asks what is committed (cluster-rule 6).
//
// Threading: the loop; a SinkThread does the work.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "adapters/kafka/sink_thread.h"
#include "ports/result_sink.h"

namespace wa::kafka {

class Sink final : public ResultSink {
public:
    using Parts = SinkParts;

    explicit Sink(Parts parts);
    ~Sink() override;

    [[nodiscard]] SinkTraits traits() const override;
    void commit(const CommitBatch& batch) override;
    void recover() override;
    // The next batch goes by a new producer, with what the files of certificates hold now.
    void renew() { thread_->renew(); }
    // True once the producer has been made and, with transactions, earlier ones of its id have been ended.
    [[nodiscard]] bool ready() const { return thread_->ready(); }
    // Ends the thread; nothing else is called after it. How many were given up in all: whatever they stand in goes on
    // until the process ends, which should then not wait for anything.
    std::size_t close();

private:
    void begin_thread();
    void every_second();
    void replace_thread();
    void settled(CommitResult result);
    void recovered();

    Parts parts_;
    std::shared_ptr<SinkThread> thread_;
    std::shared_ptr<bool> wanted_;            // answers of thread_; those of one that was given up are not
    std::optional<std::uint64_t> under_way_;  // number of the batch that thread_ has
    bool recovering_ = false;
    std::size_t given_up_ = 0;
    boost::asio::steady_timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::kafka
