// The engine's three ports on the embedded store: source, sink and ticket service.
//
// Threading: made, called and destroyed on the engine's loop. Whatever they tell the engine goes through `post` (which
// must be callable from any thread and run its argument on the loop) and then the given function. Once a port is
// destroyed it posts nothing more, and what was posted and has not run yet does nothing. The store may be closed before
// or after.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "adapters/embedded_store/store.h"
#include "ports/result_sink.h"
#include "ports/ticket_service.h"
#include "ports/ticket_source.h"

namespace wa {

using Post = std::function<void(std::function<void()>)>;
using SourceInput = std::variant<PartitionAssigned, PartitionRevoked, Record>;
using SinkInput = std::variant<CommitResult, SinkRecovered>;

struct EmbeddedSourceLimits {
    std::size_t read_ahead = 512;           // records read from the file at once
    std::size_t buffered_records = 16'384;  // fresh ones kept in memory; beyond that they are read again
    std::size_t buffered_bytes = 32 * 1024 * 1024;
    std::size_t records_per_turn = 128;  // delivered before other work of the loop gets its turn
};

// One partition (0) of one assignment (epoch 1). Offsets are queue numbers: they rise, with gaps. Starts closed.
class EmbeddedSource final : public TicketSource {
public:
    EmbeddedSource(EmbeddedStore& store, Post post, std::function<void(SourceInput)> deliver,
                   EmbeddedSourceLimits limits = {});
    ~EmbeddedSource() override;

    // Announces the partition; call once, when the engine can take inputs.
    void start();
    void set_open(bool open) override;
    void release(PartitionId partition, Epoch epoch) override;
    // The last read failed with this; it is tried again every second. Empty when all is well.
    [[nodiscard]] std::string error() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

struct EmbeddedSinkOptions {
    // Wire JSON of a result and of a compensation ticket. Called on the loop; must not throw.
    std::function<std::string(const ExecutionResult&)> encode_result;
    std::function<std::string(const Ticket&)> encode_ticket;
    // False: a requested compensation is only noted in the history.
    bool compensate_supported = false;
};

// One batch is one transaction (together with whatever else is waiting to be written). Settlements of tickets that have
// ended already are left out, so a batch may be handed over again after an uncertain failure.
class EmbeddedSink final : public ResultSink {
public:
    EmbeddedSink(EmbeddedStore& store, Post post, std::function<void(SinkInput)> deliver, EmbeddedSinkOptions options);
    ~EmbeddedSink() override;
    [[nodiscard]] SinkTraits traits() const override;
    void commit(const CommitBatch& batch) override;
    void recover() override;

private:
    struct State;
    std::shared_ptr<State> state_;
};

// The store is the ticket service: a status is durable with the commit that made it, so update_status has nothing to
// do, except for COMPENSATED, which the engine says of another ticket than the one that it committed. A failure is the
// last word unless the ticket was queued again.
class EmbeddedTicketService final : public TicketService {
public:
    EmbeddedTicketService(EmbeddedStore& store, Post post, std::function<void(DependencyStatuses)> deliver);
    ~EmbeddedTicketService() override;
    void update_status(StatusUpdate update) override;
    void lookup(std::vector<std::string> ticket_ids) override;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace wa
