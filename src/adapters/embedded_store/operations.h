// What the writer can do, one class for each kind of write. Private to this folder.
//
// run() may be called several times, because a transaction may be rolled back and tried again: it leaves its input
// alone and starts from scratch. A refusal (unknown id, conflict) is part of the answer; an Error from run() means
// trouble with the file and rolls the whole transaction back. A refused operation has written nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/embedded_store/book.h"
#include "adapters/embedded_store/store.h"
#include "ports/result_sink.h"
#include "ports/ticket_source.h"

namespace wa::store {

// What a transaction put into the queue, for the source.
struct Feed {
    Offset after = 0;      // the queue ended before this number when the transaction began
    Offset end = 0;        // and before this one when it was committed
    bool complete = true;  // every open ticket in [after, end) is in `records`
    std::vector<Record> records;
    std::vector<Offset> withdrawn;  // not to be started any more
};

enum class OperationKind : std::uint8_t {
    kRequest,  // refused while the disk is full
    kEnding,   // may use the reserved space, is tried again
    kUpkeep,   // frees space
};

class Operation {
public:
    Operation() = default;
    virtual ~Operation() = default;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    [[nodiscard]] virtual OperationKind kind() const { return OperationKind::kRequest; }
    [[nodiscard]] virtual std::size_t tickets() const { return 1; }
    [[nodiscard]] virtual std::size_t bytes() const { return 0; }
    [[nodiscard]] virtual Result<void> run(Book& book) = 0;
    // Exactly one of the two is called, once, outside any transaction.
    virtual void committed(Feed& feed) = 0;
    virtual void failed(const Error& error) = 0;
};

std::unique_ptr<Operation> submit_operation(SubmitRequest request, StoreCallback<SubmitAnswer> answer);
std::unique_ptr<Operation> retry_operation(std::vector<std::string> ticket_ids, std::string actor,
                                           StoreCallback<RetryAnswer> answer);
std::unique_ptr<Operation> retry_plan_operation(std::string plan_id, PlanRetry only, std::string actor,
                                                StoreCallback<RetryAnswer> answer);
std::unique_ptr<Operation> patch_operation(StatusPatch patch, StoreCallback<TicketSummary> answer);
std::unique_ptr<Operation> replay_operation(std::int64_t key, std::string actor, StoreCallback<SubmittedTicket> answer);
std::unique_ptr<Operation> discard_operation(std::int64_t key, std::string reason, std::string actor,
                                             StoreCallback<void> answer);
// `answer` may be empty (a run on schedule).
std::unique_ptr<Operation> purge_operation(StoreRetention retention, StoreCallback<PurgeAnswer> answer);

// --- what the sink hands over, encoded on the loop

struct EncodedCompensation {
    NewTicket ticket;
    std::string plan_id;
    std::string intent_id;
    bool supported = false;
};
struct EncodedSettlement {
    SettlementKind kind = SettlementKind::kResult;
    SourcePosition position;
    SourcePosition origin;
    std::string ticket_id;
    Outcome outcome = Outcome::kCompleted;
    bool simulated = false;
    std::int32_t attempts = 0;  // highest number among the attempts
    EpochMillis started_at = 0;
    EpochMillis ended_at = 0;
    std::int64_t duration_ms = 0;
    std::uint32_t round = 0;
    std::string result;  // JSON
    std::string trail;   // encode_trail
    std::string error;
    DeadLetter dead_letter;
    std::optional<EncodedCompensation> compensation;
};
struct EncodedAttemptEnd {
    SourcePosition position;
    std::string ticket_id;
    std::int32_t number = 0;
    EpochMillis at = 0;
    bool burned = false;  // counts against max_retries
    bool handed_back = false;
    std::string trail;
};
struct EncodedBatch {
    std::uint64_t number = 0;
    std::vector<EncodedAttemptEnd> ends;
    std::vector<AttemptIntent> intents;
    std::vector<EncodedSettlement> settlements;
};
struct BatchAnswer {
    std::uint64_t number = 0;
    std::optional<Error> error;
    std::vector<std::pair<SourcePosition, SourcePosition>> requeued;
};
std::unique_ptr<Operation> settle_operation(EncodedBatch batch, std::function<void(BatchAnswer)> answer);

// At open: what the last process left running. `kind` is kInterrupted or kHandedBack.
[[nodiscard]] Result<std::int64_t> release_running(Book& book, RecordKind kind, bool count_delivery,
                                                   std::string_view reason);

}  // namespace wa::store
