#include "adapters/embedded_store/ports.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "adapters/embedded_store/operations.h"
#include "adapters/embedded_store/store_impl.h"

namespace wa {

namespace {

constexpr Duration kReadAgain = std::chrono::seconds(1);
constexpr Epoch kOnlyEpoch = 1;
constexpr std::size_t kMaxAhead = 4096;

// How many tickets that came before it one of this priority may overtake.
Offset head_start(Priority priority) {
    switch (priority) {
        case Priority::kLow: return -1'000;
        case Priority::kNormal: return 0;
        case Priority::kHigh: return 1'000;
        case Priority::kCritical: return 100'000;
    }
    return 0;
}

// The way back to the loop for answers that come from other threads. After shut() returned nothing is posted any more,
// so the loop may go once the ports are gone, whatever the store's threads still have in hand.
class Mailbox {
public:
    explicit Mailbox(Post post) : post_(std::move(post)) {}
    void send(std::function<void()> task) {
        const std::lock_guard lock(mutex_);
        if (post_) post_(std::move(task));
    }
    void shut() {
        const std::lock_guard lock(mutex_);
        post_ = nullptr;
    }

private:
    std::mutex mutex_;
    Post post_;
};

}  // namespace

// -------------------------------------------------------------------- source

// Records come by two ways: fresh from the writer while the source has seen everything before them, else by reading
// ahead from the file. `next` is the line between what has passed through here and what has not.
struct EmbeddedSource::State : std::enable_shared_from_this<EmbeddedSource::State> {
    State(std::shared_ptr<EmbeddedStore::Impl> the_store, Post the_post, std::function<void(SourceInput)> the_deliver,
          EmbeddedSourceLimits the_limits)
        : store(std::move(the_store)),
          mailbox(std::make_shared<Mailbox>(std::move(the_post))),
          deliver(std::move(the_deliver)),
          limits(the_limits) {}

    void on_feed(const std::shared_ptr<store::Feed>& feed);
    void apply(store::Feed& feed);
    void on_read(Result<store::QueueSlice>& slice);
    void read();
    void read_if_short();
    void take(std::vector<Record>& records);
    void take_urgent(const std::vector<Record>& records);
    void insert(Record record);
    void withdraw(Offset offset);
    void wake();
    void pump();
    [[nodiscard]] bool has_room() const {
        return buffer.size() < limits.buffered_records && buffered_bytes < limits.buffered_bytes;
    }

    std::shared_ptr<EmbeddedStore::Impl> store;
    std::shared_ptr<Mailbox> mailbox;
    std::function<void(SourceInput)> deliver;
    EmbeddedSourceLimits limits;
    // In the order of delivery: who came first, with a head start for the urgent, so that nobody waits for ever.
    std::map<std::pair<Offset, Offset>, Record> buffer;
    std::set<Offset> ahead;  // urgent ones that were taken before their turn to be read
    std::size_t buffered_bytes = 0;
    Offset next = 0;
    Offset known_end = 0;
    std::set<Offset> withdrawn_while_reading;
    std::vector<std::shared_ptr<store::Feed>> fed_while_reading;  // what the read may not have seen yet
    std::size_t records_while_reading = 0;
    bool announced = false;
    bool open = false;
    bool reading = false;
    bool pumping = false;
    std::string error;
};

void EmbeddedSource::State::take(std::vector<Record>& records) {
    for (auto& record : records) {
        if (ahead.erase(record.position.offset) == 0) insert(std::move(record));
    }
}

// The queue is longer than what is kept in memory: what is urgent does not wait until it is read.
void EmbeddedSource::State::take_urgent(const std::vector<Record>& records) {
    for (const auto& record : records) {
        if (record.priority < Priority::kHigh || record.position.offset < next) continue;
        // The buffer may be full of others: these few have room of their own.
        if (ahead.size() >= kMaxAhead || buffered_bytes >= 2 * limits.buffered_bytes) return;
        if (ahead.insert(record.position.offset).second) insert(record);
    }
}

void EmbeddedSource::State::insert(Record record) {
    record.epoch = kOnlyEpoch;
    buffered_bytes += record.payload.size();
    const Offset offset = record.position.offset;
    buffer.emplace(std::pair(offset - head_start(record.priority), offset), std::move(record));
}

void EmbeddedSource::State::withdraw(Offset offset) {
    if (reading) withdrawn_while_reading.insert(offset);
    const auto found = std::find_if(buffer.begin(), buffer.end(),
                                    [offset](const auto& entry) { return entry.first.second == offset; });
    if (found == buffer.end()) return;
    buffered_bytes -= found->second.payload.size();
    buffer.erase(found);
}

// Fresh records may be taken only when they follow right upon what has passed; otherwise the file has them.
void EmbeddedSource::State::apply(store::Feed& feed) {
    if (!feed.complete || feed.after != next || !has_room()) return take_urgent(feed.records);
    next = feed.end;
    take(feed.records);
}

void EmbeddedSource::State::on_feed(const std::shared_ptr<store::Feed>& feed) {
    known_end = std::max(known_end, feed->end);
    if (!reading) {
        apply(*feed);
    } else if (records_while_reading + feed->records.size() <= limits.buffered_records) {
        records_while_reading += feed->records.size();
        fed_while_reading.push_back(feed);
    }
    for (const Offset offset : feed->withdrawn)
        withdraw(offset);
    wake();
}

void EmbeddedSource::State::read() {
    reading = true;
    withdrawn_while_reading.clear();
    fed_while_reading.clear();
    records_while_reading = 0;
    const auto impl = store;
    const bool started =
        store->reader->run([impl, weak = weak_from_this(), box = mailbox, from = next, bounds = limits] {
            auto slice = std::make_shared<Result<store::QueueSlice>>(impl->read([&](const store::ReadContext& in) {
                return store::read_queue(in, from, bounds.read_ahead, bounds.buffered_bytes / 2);
            }));
            if (!*slice) impl->reader->pause(kReadAgain);
            box->send([weak, slice] {
                if (const auto self = weak.lock()) self->on_read(*slice);
            });
        });
    if (!started) {
        reading = false;
        error = "the store takes no more reads";
    }
}

void EmbeddedSource::State::on_read(Result<store::QueueSlice>& slice) {
    reading = false;
    if (!slice) {
        error = slice.error().describe();
        return read();
    }
    error.clear();
    known_end = std::max(known_end, slice->end);
    if (!announced) {
        announced = true;
        PartitionAssigned assigned;
        assigned.epoch = kOnlyEpoch;
        assigned.committed = slice->records.empty() ? slice->end : slice->records.front().position.offset;
        assigned.end_at_assign = assigned.committed;  // each record says itself what happened to it
        deliver(std::move(assigned));
    }
    next = slice->exhausted ? slice->end : slice->records.back().position.offset + 1;
    take(slice->records);
    ahead.erase(ahead.begin(), ahead.lower_bound(next));
    for (const auto& feed : std::exchange(fed_while_reading, {}))
        apply(*feed);
    for (const Offset offset : withdrawn_while_reading)
        withdraw(offset);
    withdrawn_while_reading.clear();
    wake();
}

void EmbeddedSource::State::read_if_short() {
    const bool behind = next < known_end;
    if (announced && open && behind && !reading && buffer.size() <= limits.read_ahead / 2) read();
}

void EmbeddedSource::State::wake() {
    if (!open || pumping) return;
    pumping = true;
    mailbox->send([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->pump();
    });
}

void EmbeddedSource::State::pump() {
    pumping = false;
    for (std::size_t n = 0; n < limits.records_per_turn && open && !buffer.empty(); ++n) {
        Record record = std::move(buffer.begin()->second);
        buffer.erase(buffer.begin());
        buffered_bytes -= record.payload.size();
        deliver(std::move(record));
    }
    read_if_short();
    if (open && !buffer.empty()) wake();
}

EmbeddedSource::EmbeddedSource(EmbeddedStore& store, Post post, std::function<void(SourceInput)> deliver,
                               EmbeddedSourceLimits limits)
    : state_(std::make_shared<State>(store.impl(), std::move(post), std::move(deliver), limits)) {}

EmbeddedSource::~EmbeddedSource() {
    state_->store->writer->feed_to(nullptr);
    state_->mailbox->shut();
}

void EmbeddedSource::start() {
    state_->store->writer->feed_to([weak = std::weak_ptr<State>(state_), box = state_->mailbox](store::Feed&& feed) {
        box->send([weak, fed = std::make_shared<store::Feed>(std::move(feed))] {
            if (const auto self = weak.lock()) self->on_feed(fed);
        });
    });
    state_->read();
}

void EmbeddedSource::set_open(bool open) {
    state_->open = open;
    if (open) state_->wake();
}

void EmbeddedSource::release(PartitionId /*partition*/, Epoch /*epoch*/) {}  // there is nobody to give it to

std::string EmbeddedSource::error() const {
    return state_->error;
}

// ---------------------------------------------------------------------- sink

struct EmbeddedSink::State : std::enable_shared_from_this<EmbeddedSink::State> {
    State(std::shared_ptr<EmbeddedStore::Impl> the_store, Post the_post, std::function<void(SinkInput)> the_deliver,
          EmbeddedSinkOptions the_options)
        : store(std::move(the_store)),
          mailbox(std::make_shared<Mailbox>(std::move(the_post))),
          deliver(std::move(the_deliver)),
          options(std::move(the_options)) {}

    [[nodiscard]] store::EncodedSettlement encode(const Settlement& settlement) const;
    [[nodiscard]] std::string encode_result(const Settlement& settlement) const;
    [[nodiscard]] store::EncodedCompensation encode_compensation(const Ticket& ticket) const;

    std::shared_ptr<EmbeddedStore::Impl> store;
    std::shared_ptr<Mailbox> mailbox;
    std::function<void(SinkInput)> deliver;
    EmbeddedSinkOptions options;
};

namespace {

CommitResult commit_result(store::BatchAnswer& answer) {
    CommitResult result;
    result.number = answer.number;
    result.requeued = std::move(answer.requeued);
    if (answer.error) {
        // Nothing is lost by asking again: what did happen is recognised by its rows.
        result.status = CommitStatus::kRetry;
        result.error = std::move(answer.error);
    }
    return result;
}

std::int32_t highest(const std::vector<AttemptRecord>& attempts) {
    std::int32_t number = 0;
    for (const auto& attempt : attempts)
        number = std::max(number, attempt.number);
    return number;
}

store::EncodedAttemptEnd encode_end(const AttemptEnd& end, std::size_t limit) {
    store::EncodedAttemptEnd out;
    out.position = end.position;
    out.ticket_id = end.ticket_id;
    out.number = end.attempt.number;
    out.at = end.attempt.ended_at;
    out.handed_back = end.attempt.outcome == "handed_back";
    out.burned = !out.handed_back && end.attempt.outcome != "interrupted";
    out.trail = store::encode_trail({end.attempt}, {}, limit);
    return out;
}

}  // namespace

std::string EmbeddedSink::State::encode_result(const Settlement& settlement) const {
    if (settlement.kind != SettlementKind::kResult) return {};
    const std::size_t limit = store->options.limits.result_bytes;
    std::string text = options.encode_result(settlement.result);
    if (text.size() <= limit) return text;
    ExecutionResult smaller = settlement.result;
    smaller.metadata["truncated"] = "true";
    smaller.logs.clear();
    text = options.encode_result(smaller);
    if (text.size() <= limit) return text;
    smaller.output.clear();
    text = options.encode_result(smaller);
    if (text.size() <= limit) return text;
    const StringMap all = std::exchange(smaller.metadata, {});
    for (const char* key : {"outcome", "attempts", "simulated", "truncated"}) {
        if (const auto found = all.find(key); found != all.end()) smaller.metadata.insert(*found);
    }
    smaller.error_message.resize(std::min(smaller.error_message.size(), limit / 8));
    return options.encode_result(smaller);
}

store::EncodedCompensation EmbeddedSink::State::encode_compensation(const Ticket& ticket) const {
    store::EncodedCompensation out;
    out.supported = options.compensate_supported;
    out.plan_id = ticket.plan_id;
    out.intent_id = ticket.intent_id;
    out.ticket.ticket_id = ticket.ticket_id;
    out.ticket.task_id = ticket.task_id;
    out.ticket.correlation_id = ticket.correlation_id;
    out.ticket.task_type = ticket.task_type;
    out.ticket.priority = ticket.priority;
    out.ticket.created_at = ticket.created_at;
    out.ticket.dependencies = ticket.dependencies;
    if (out.supported) out.ticket.payload = options.encode_ticket(ticket);
    return out;
}

store::EncodedSettlement EmbeddedSink::State::encode(const Settlement& settlement) const {
    const ExecutionResult& result = settlement.result;
    store::EncodedSettlement out;
    out.kind = settlement.kind;
    out.position = settlement.position;
    out.origin = settlement.origin;
    out.ticket_id = settlement.ticket_id;
    out.outcome = settlement.outcome;
    const auto simulated = result.metadata.find("simulated");
    out.simulated = simulated != result.metadata.end() && simulated->second == "true";
    out.attempts = highest(settlement.attempts);
    out.started_at = result.started_at;
    out.ended_at = result.completed_at > 0 ? result.completed_at : result.timestamp;
    out.duration_ms = result.actual_duration_ms;
    out.round = settlement.requeue_round;
    out.result = encode_result(settlement);
    out.trail = store::encode_trail(settlement.attempts, settlement.history, store->options.limits.history_bytes);
    out.error = result.error_message;
    out.dead_letter = settlement.dead_letter;
    if (settlement.compensation) out.compensation = encode_compensation(*settlement.compensation);
    return out;
}

EmbeddedSink::EmbeddedSink(EmbeddedStore& store, Post post, std::function<void(SinkInput)> deliver,
                           EmbeddedSinkOptions options)
    : state_(std::make_shared<State>(store.impl(), std::move(post), std::move(deliver), std::move(options))) {}

EmbeddedSink::~EmbeddedSink() {
    state_->mailbox->shut();
}

SinkTraits EmbeddedSink::traits() const {
    SinkTraits traits;
    traits.wants_offsets = false;
    traits.keeps_attempts = true;
    traits.batch_limit = 1000;
    return traits;
}

void EmbeddedSink::commit(const CommitBatch& batch) {
    store::EncodedBatch encoded;
    encoded.number = batch.number;
    encoded.intents = batch.intents;
    for (const auto& end : batch.attempt_ends) {
        encoded.ends.push_back(encode_end(end, state_->store->options.limits.history_bytes));
    }
    encoded.settlements.reserve(batch.settlements.size());
    for (const auto& settlement : batch.settlements)
        encoded.settlements.push_back(state_->encode(*settlement));
    auto answer = [weak = std::weak_ptr<State>(state_), box = state_->mailbox](store::BatchAnswer done) {
        box->send([weak, kept = std::make_shared<store::BatchAnswer>(std::move(done))] {
            if (const auto self = weak.lock()) self->deliver(commit_result(*kept));
        });
    };
    state_->store->writer->enqueue(store::settle_operation(std::move(encoded), std::move(answer)));
}

// The store never answers kFatal, so there is nothing to rebuild: rows tell what happened.
void EmbeddedSink::recover() {
    state_->mailbox->send([weak = std::weak_ptr<State>(state_)] {
        if (const auto self = weak.lock()) self->deliver(SinkRecovered{});
    });
}

// ------------------------------------------------------------ ticket service

struct EmbeddedTicketService::State {
    std::shared_ptr<EmbeddedStore::Impl> store;
    std::shared_ptr<Mailbox> mailbox;
    std::function<void(DependencyStatuses)> deliver;
};

EmbeddedTicketService::EmbeddedTicketService(EmbeddedStore& store, Post post,
                                             std::function<void(DependencyStatuses)> deliver)
    : state_(std::make_shared<State>(
          State{store.impl(), std::make_shared<Mailbox>(std::move(post)), std::move(deliver)})) {}

EmbeddedTicketService::~EmbeddedTicketService() {
    state_->mailbox->shut();
}

void EmbeddedTicketService::update_status(StatusUpdate update) {
    if (update.status != TicketStatus::kCompensated) return;
    StatusPatch patch;
    patch.ticket_id = std::move(update.ticket_id);
    patch.status = update.status;
    patch.actor = "engine";
    // Fire and forget, as the port says: what cannot be written shows in the store's health.
    state_->store->writer->enqueue(store::patch_operation(std::move(patch), [](Result<TicketSummary>) {}));
}

void EmbeddedTicketService::lookup(std::vector<std::string> ticket_ids) {
    const auto impl = state_->store;
    auto ids = std::make_shared<std::vector<std::string>>(std::move(ticket_ids));
    // Too many look-ups at once, or a failed one: the engine asks again.
    [[maybe_unused]] const bool started =
        impl->reader->run([impl, ids, weak = std::weak_ptr<State>(state_), box = state_->mailbox] {
            auto found = impl->read([&](const store::ReadContext& in) { return store::read_statuses(in, *ids); });
            if (!found) return;
            box->send([weak, answer = std::make_shared<std::vector<DependencyStatus>>(std::move(*found))] {
                if (const auto self = weak.lock()) self->deliver(DependencyStatuses{std::move(*answer)});
            });
        });
}

}  // namespace wa
