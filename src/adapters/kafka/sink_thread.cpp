#include "adapters/kafka/sink_thread.h"

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "adapters/kafka/commit_metadata.h"
#include "core/codec/dead_letter_json.h"
#include "core/codec/text.h"

namespace wa::kafka {
namespace {

constexpr int kMessageBytes = 4 * 1024 * 1024;  // what the topic takes is the topic's business (cluster-rule 8)
constexpr Duration kTopicKnown = std::chrono::minutes(5);
constexpr Duration kTopicMissing = std::chrono::seconds(1);
constexpr Duration kOneAlertFor = std::chrono::minutes(10);
constexpr std::size_t kMaxAlerted = 10'000;
constexpr std::size_t kMaxDelivered = 100'000;

bool is_too_large(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE;
}

}  // namespace

std::shared_ptr<SinkThread> SinkThread::start(const SinkParts& parts, Answers answers) {
    std::shared_ptr<SinkThread> made(new SinkThread(parts, std::move(answers)));
    // It holds itself: whoever gives it up cannot destroy what it stands in.
    made->thread_ = std::thread([made] { made->work(); });
    return made;
}

// The client may wait for a coordinator that it asks for only when a connection goes or comes (2.12.1: sending offsets
// to a transaction, after three answers that there is none).
SinkThread::ClientCall::ClientCall(SinkThread& sink, std::string_view what) : sink_(sink) {
    const std::lock_guard lock(sink_.call_mutex_);
    sink_.calling_ = true;
    sink_.called_ = sink_.producer_.get();
    sink_.call_ = what;
    sink_.call_due_ = sink_.parts_.clock.now() + sink_.parts_.call_limit;
    sink_.cut_ = false;
}

SinkThread::ClientCall::~ClientCall() {
    std::unique_lock lock(sink_.call_mutex_);
    sink_.calling_ = false;
    sink_.called_ = nullptr;
    // Back too late: what the rest of this thread would use may be gone.
    if (sink_.given_up_) sink_.never_.wait(lock, [] { return false; });
}

template <class Call>
ClientError SinkThread::in_call(std::string_view what, Call call) {
    const ClientCall guard(*this, what);
    return ClientError(call(producer_->raw()));
}

bool SinkThread::look(bool may) {
    const std::lock_guard lock(call_mutex_);
    const MonoTime now = parts_.clock.now();
    if (!calling_ || now < call_due_) return true;
    const std::string what(call_);
    call_due_ = now + parts_.call_limit;
    if (!std::exchange(cut_, true) || !may) {
        parts_.listener.log(Severity::kError, "kafka_call_overdue",
                            what + " has not come back; its connections are made anew");
        if (called_ != nullptr) called_->cut_connections();
        return true;
    }
    parts_.listener.log(Severity::kError, "producer_given_up", what + " does not come back; another producer is made");
    given_up_ = true;
    if (called_ != nullptr) called_->mute();
    thread_.detach();
    return false;
}

bool SinkThread::end() {
    stopping_ = true;
    wake_.notify_all();
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(200), [this] { return ended_; })) {
        lock.unlock();
        if (!look(true)) return false;
        lock.lock();
    }
    lock.unlock();
    thread_.join();
    return true;
}

void SinkThread::give(SinkOrder order) {
    {
        const std::lock_guard lock(mutex_);
        waiting_.emplace(std::move(order));
    }
    wake_.notify_all();
}

void SinkThread::recover() {
    {
        const std::lock_guard lock(mutex_);
        recover_wanted_ = true;
    }
    wake_.notify_all();
}

void SinkThread::renew() {
    {
        const std::lock_guard lock(mutex_);
        renew_wanted_ = true;
    }
    wake_.notify_all();
}

bool SinkThread::stopping() const {
    return stopping_;
}

void SinkThread::settled(CommitResult result) {
    boost::asio::post(parts_.loop, [answers = &answers_, wanted = answers_.wanted,
                                    result = std::make_shared<CommitResult>(std::move(result))] {
        if (!wanted.expired()) answers->settled(std::move(*result));
    });
}

void SinkThread::work() {
    keep_making_producer();
    while (true) {
        std::optional<SinkOrder> order;
        bool recover = false;
        bool renew = false;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || waiting_ || recover_wanted_ || renew_wanted_; });
            if (stopping_) break;
            order = std::exchange(waiting_, std::nullopt);
            recover = std::exchange(recover_wanted_, false);
            renew = std::exchange(renew_wanted_, false);
        }
        if (renew || recover) {
            drop_producer();
            keep_making_producer();
            if (stopping()) break;
        }
        if (recover) {
            boost::asio::post(parts_.loop, [answers = &answers_, wanted = answers_.wanted] {
                if (!wanted.expired()) answers->recovered();
            });
        }
        if (!order) continue;
        traces_ = std::move(order->traces);
        topic_id_ = std::move(order->topic_id);
        settled(settle(order->batch));
    }
    drop_producer();
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    wake_.notify_all();
}

void SinkThread::drop_producer() {
    ready_ = false;
    if (!producer_) return;
    {
        const ClientCall call(*this, "purge");
        // What is still in the client's hands is void: the engine sends it again if it is still owed.
        rd_kafka_purge(producer_->raw(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(producer_->raw(), 100);
    }
    std::unique_ptr<Client> last = std::move(producer_);
    const ClientCall call(*this, "destroy");  // with nothing to cut any more
    last.reset();
}

void SinkThread::keep_making_producer() {
    Duration pause = std::chrono::milliseconds(200);
    while (!stopping()) {
        auto made = make_producer();
        if (made) {
            parts_.listener.producer_made();
            ready_ = true;
            return;
        }
        parts_.listener.log(Severity::kWarning, "producer_waits", made.error().describe());
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, pause, [this] { return stopping_.load(); });
        pause = std::min<Duration>(pause * 2, std::chrono::seconds(5));
    }
}

Result<void> SinkThread::make_producer() {
    const Options& options = parts_.options;
    producer_.reset();
    Configuration conf(options, "results");
    conf.set("enable.idempotence", "true");
    conf.set("acks", "all");
    conf.set("message.max.bytes", std::to_string(kMessageBytes));
    conf.set("linger.ms", "0");
    conf.set("retry.backoff.ms", "10");  // paid by every transaction under load otherwise
    conf.set("queue.buffering.max.messages", "100000");
    // A topic that goes away holds up the batch that it is in for so long; that it exists was asked before.
    conf.set("topic.metadata.propagation.max.ms", "5000");
    if (options.delivery == Delivery::kExactlyOnce) {
        conf.set("transactional.id", options.transactional_id);
        conf.set("transaction.timeout.ms", std::to_string(to_millis(options.transaction_timeout)));
    } else {
        conf.set("message.timeout.ms", "30000");
    }
    WA_TRY(producer_, Client::make(RD_KAFKA_PRODUCER, std::move(conf), parts_.listener));
    producer_->on_delivery = [](const rd_kafka_message_t& message) {
        auto* entry = static_cast<Outgoing*>(message._private);
        if (entry == nullptr) return;
        entry->delivered = true;
        entry->error = message.err;
        entry->partition = message.partition;
        entry->offset = message.offset;
    };
    if (options.delivery == Delivery::kAtLeastOnce) return {};
    constexpr int kPatience = 5000;
    while (true) {
        const ClientError error = in_call(
            "init_transactions", [&](rd_kafka_t* client) { return rd_kafka_init_transactions(client, kPatience); });
        if (!error) return {};
        if (stopping()) return fail(ErrorCode::kCancelled, "kafka", "the worker is stopping");
        if (rd_kafka_error_is_retriable(error.get()) == 0)
            return Failure(to_error(error.get(), "begin as transactional producer " + options.transactional_id));
        parts_.listener.log(Severity::kWarning, "producer_waits",
                            to_error(error.get(), "begin as transactional producer").describe());
    }
}

CommitResult SinkThread::settle(const CommitBatch& batch) {
    alerts_.clear();
    brokers_silent_ = false;
    const MonoTime began = parts_.clock.now();
    CommitResult result =
        parts_.options.delivery == Delivery::kExactlyOnce ? settle_exactly_once(batch) : settle_at_least_once(batch);
    result.number = batch.number;
    if (result.status == CommitStatus::kCommitted) {
        const Duration took = parts_.clock.now() - began;
        std::vector<std::shared_ptr<const Settlement>> letters;
        std::copy_if(batch.settlements.begin(), batch.settlements.end(), std::back_inserter(letters),
                     [](const auto& settlement) { return settlement->kind == SettlementKind::kDeadLetter; });
        boost::asio::post(parts_.loop, [this, took, letters = std::move(letters), alerts = std::move(alerts_),
                                        wanted = answers_.wanted] {
            if (wanted.expired()) return;
            parts_.listener.committed(took);
            for (const auto& letter : letters)
                parts_.listener.dead_letter_written(letter->dead_letter.reason, letter->dead_letter.task_type, took);
            for (const std::string& type : alerts)
                parts_.listener.alert_written(type);
        });
        alerts_.clear();
    }
    return result;
}

CommitResult SinkThread::settle_exactly_once(const CommitBatch& batch) {
    CommitResult result;
    auto out = outgoing(batch);
    if (out.empty() && batch.offsets.empty()) return result;  // nothing of it is Kafka's
    result.rejected = without_target(batch, out);
    if (!result.rejected.empty()) {
        result.status = CommitStatus::kAborted;
        result.error = make_error(ErrorCode::kNotFound, Retry::kAfterBackoff, Fault::kService, "kafka",
                                  "a topic that results go to does not exist");
        return result;
    }
    const auto give_up = [&](Verdict verdict) {
        result.error = std::move(verdict.error);
        result.metadata_too_large = verdict.metadata_too_large;
        if (verdict.step == Step::kFatal) {
            result.status = CommitStatus::kFatal;
            return result;
        }
        Verdict aborted = abort_transaction();
        result.status = aborted.step == Step::kFatal ? CommitStatus::kFatal : CommitStatus::kAborted;
        return result;
    };
    if (Verdict begun = begin_transaction(); begun.step != Step::kOk) return give_up(std::move(begun));
    if (Verdict produced = produce(out, result.rejected, batch); produced.step != Step::kOk)
        return give_up(std::move(produced));
    if (Verdict sent = send_offsets(batch); sent.step != Step::kOk) return give_up(std::move(sent));
    if (Verdict committed = commit_transaction(); committed.step != Step::kOk) return give_up(std::move(committed));
    for (const auto& entry : out) {
        if (entry->is_copy)
            result.requeued.emplace_back(batch.settlements[entry->settlement]->position,
                                         SourcePosition{entry->partition, entry->offset});
    }
    return result;
}

// What was acknowledged stays sent; the offsets follow. Should they not, the same batch comes again without it.
CommitResult SinkThread::settle_at_least_once(const CommitBatch& batch) {
    CommitResult result;
    auto out = outgoing(batch);
    std::erase_if(out, [&](const auto& entry) {
        const Settlement& settlement = *batch.settlements[entry->settlement];
        return delivered_.contains({settlement.epoch, settlement.position});
    });
    if (out.empty() && batch.offsets.empty()) return result;
    result.rejected = without_target(batch, out);
    std::erase_if(out, [&](const auto& entry) {
        return std::any_of(result.rejected.begin(), result.rejected.end(), [&](const RejectedSettlement& rejected) {
            return rejected.position == batch.settlements[entry->settlement]->position;
        });
    });
    Verdict produced = produce(out, result.rejected, batch);
    if (delivered_.size() > kMaxDelivered) delivered_.clear();
    for (const auto& entry : out) {
        const Settlement& settlement = *batch.settlements[entry->settlement];
        if (entry->delivered && entry->error == RD_KAFKA_RESP_ERR_NO_ERROR)
            delivered_.insert({settlement.epoch, settlement.position});
        if (entry->is_copy)
            result.requeued.emplace_back(settlement.position, SourcePosition{entry->partition, entry->offset});
    }
    if (produced.step == Step::kOk && !result.rejected.empty()) {
        produced = {Step::kAbort,
                    make_error(ErrorCode::kNotFound, Retry::kAfterBackoff, Fault::kService, "kafka",
                               "a topic that results go to does not exist"),
                    false};
    }
    if (produced.step != Step::kOk) {
        result.status = produced.step == Step::kFatal ? CommitStatus::kFatal : CommitStatus::kAborted;
        result.error = std::move(produced.error);
        return result;
    }
    if (!batch.offsets.empty()) {
        const PartitionList list = offsets_of(batch, parts_.options.tickets_topic);
        const rd_kafka_resp_err_t code = parts_.commit_offsets(*list, [this] { return stopping(); });
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET) {
            result.status = CommitStatus::kAborted;
            result.error = to_error(code, "commit offsets");
            result.metadata_too_large = code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
            return result;
        }
    }
    for (const auto& settlement : batch.settlements)
        delivered_.erase({settlement->epoch, settlement->position});
    return result;
}

std::vector<std::unique_ptr<SinkThread::Outgoing>> SinkThread::outgoing(const CommitBatch& batch) {
    std::vector<std::unique_ptr<Outgoing>> out;
    for (std::size_t i = 0; i < batch.settlements.size(); ++i) {
        const Settlement& settlement = *batch.settlements[i];
        switch (settlement.kind) {
            case SettlementKind::kResult: add_result(out, i, settlement); break;
            case SettlementKind::kDeadLetter: add_dead_letter(out, i, settlement); break;
            case SettlementKind::kRequeue: add_copy(out, i, settlement); break;
            case SettlementKind::kSuppressed: break;
        }
    }
    return out;
}

void SinkThread::add_trace(HeaderList& headers, std::size_t index) const {
    if (index >= traces_.size()) return;
    for (const auto& [name, value] : traces_[index])
        headers.add(name.c_str(), value);
}

void SinkThread::add_origin(HeaderList& headers, std::size_t index, const Settlement& settlement) const {
    add_trace(headers, index);
    headers.add(kTicketId, settlement.ticket_id);
    headers.add(kSourceTopic, parts_.options.tickets_topic);
    if (!topic_id_.empty()) headers.add(kSourceTopicId, topic_id_);
    headers.add(kSourcePartition, static_cast<std::int64_t>(settlement.position.partition));
    headers.add(kSourceOffset, settlement.position.offset);
    headers.add(kAttempt,
                static_cast<std::int64_t>(settlement.attempts.empty() ? 0 : settlement.attempts.back().number));
    headers.add(kAgent, parts_.options.agent_id);
    headers.add(kSource, "worker-agents");
    if (!settlement.plan_id.empty()) headers.add(kPlanId, settlement.plan_id);
    if (!settlement.result.correlation_id.empty()) headers.add(kCorrelationId, settlement.result.correlation_id);
}

void SinkThread::add_result(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index,
                            const Settlement& settlement) const {
    auto entry = std::make_unique<Outgoing>();
    entry->settlement = index;
    entry->topic = &parts_.options.results_topic;
    entry->key = settlement.ticket_id;
    ExecutionResult published = settlement.result;
    published.timestamp = parts_.clock.wall_now();
    EncodedResult encoded = parts_.encode_result(published);
    entry->value = std::move(encoded.value);
    entry->headers.add(kFormat, encoded.kind == ValueKind::kAvro   ? "avro"
                                : encoded.kind == ValueKind::kJson ? "json"
                                                                   : "json-fallback");
    add_origin(entry->headers, index, settlement);
    entry->headers.add(kStatus, settlement.result.success ? "COMPLETED" : "FAILED");
    out.push_back(std::move(entry));
    if (!settlement.compensation) return;
    auto compensation = std::make_unique<Outgoing>();
    compensation->settlement = index;
    compensation->topic = &parts_.options.tickets_topic;
    compensation->key = settlement.compensation->ticket_id;
    compensation->value = parts_.encode_ticket(*settlement.compensation);
    add_trace(compensation->headers, index);
    compensation->headers.add(kSource, "worker-agents");
    out.push_back(std::move(compensation));
}

void SinkThread::add_dead_letter(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index,
                                 const Settlement& settlement) {
    const std::optional<Ticket> ticket = parts_.decode_ticket(settlement.payload);
    const EpochMillis now = parts_.clock.wall_now();
    DeadLetterFacts facts;
    facts.payload = settlement.payload;
    facts.ticket = ticket ? &*ticket : nullptr;
    facts.ticket_id = settlement.ticket_id == "unknown" ? std::string() : settlement.ticket_id;
    facts.task_id = ticket ? ticket->task_id : std::string();
    facts.task_type = settlement.dead_letter.task_type;
    facts.reason = settlement.dead_letter.reason;
    facts.error_type = settlement.dead_letter.error_type;
    facts.error = settlement.dead_letter.error;
    facts.retry_count = std::max(1, settlement.deliveries);
    facts.last_failure_timestamp = settlement.result.timestamp;
    facts.published_at = now;
    facts.failure_reasons = {settlement.dead_letter.error};
    facts.agent_id = parts_.options.agent_id;
    facts.source_topic = parts_.options.tickets_topic;
    facts.source_partition = settlement.position.partition;
    facts.source_offset = settlement.position.offset;
    facts.source_timestamp = settlement.timestamp;
    auto entry = std::make_unique<Outgoing>();
    entry->settlement = index;
    entry->topic = &parts_.options.dead_letter_topic;
    entry->key = settlement.ticket_id;
    entry->value = write_dead_letter(facts);
    add_origin(entry->headers, index, settlement);
    out.push_back(std::move(entry));

    // Operators are told once for a while, and only where there is somewhere to tell them.
    if (parts_.options.alert_topic.empty() || !topic_exists(parts_.options.alert_topic)) return;
    const MonoTime now_mono = parts_.clock.now();
    const std::string alert_key =
        settlement.ticket_id == "unknown"
            ? std::to_string(settlement.position.partition) + "@" + std::to_string(settlement.position.offset)
            : settlement.ticket_id;
    if (alerted_.size() > kMaxAlerted) alerted_.clear();
    if (const auto last = alerted_.find(alert_key); last != alerted_.end() && now_mono - last->second < kOneAlertFor)
        return;
    alerted_[alert_key] = now_mono;
    const std::string alert_id = uuid4(parts_.random);
    auto or_null = [](const std::string& text) {
        return text.empty() ? boost::json::value(nullptr) : boost::json::value(text);
    };
    std::string workflow;
    if (ticket) {
        if (const auto found = ticket->metadata.find("workflow_id"); found != ticket->metadata.end())
            workflow = found->second;
    }
    const boost::json::object alert{
        {"alert_id", alert_id},
        {"event_type", "DLQ_ALERT"},
        {"severity", "warning"},
        {"component", "worker-agents"},
        {"alert_type", "dlq_message"},
        {"ticket_id", settlement.ticket_id},
        {"task_type", settlement.dead_letter.task_type},
        {"retry_count", facts.retry_count},
        {"error", settlement.dead_letter.error},
        {"message", "ticket " + settlement.ticket_id + " went to the dead letter topic (" +
                        settlement.dead_letter.reason + ") after " + std::to_string(facts.retry_count) + " deliveries"},
        {"runbook_url", "https://docs.neural-hive.io/runbooks/dlq-ticket-recovery"},
        {"timestamp", iso_timestamp(now)},
        {"metadata", boost::json::object{{"plan_id", or_null(settlement.plan_id)},
                                         {"workflow_id", or_null(workflow)},
                                         {"error_type", or_null(settlement.dead_letter.error_type)}}}};
    auto told = std::make_unique<Outgoing>();
    told->settlement = index;
    told->topic = &parts_.options.alert_topic;
    told->key = alert_id;
    told->value = boost::json::serialize(alert);
    add_trace(told->headers, index);
    told->headers.add(kSource, "worker-agents");
    alerts_.push_back(settlement.dead_letter.task_type);
    out.push_back(std::move(told));
}

// The copy keeps partition, key and original time; what it was and how often it went round stands in its headers (rule
// 14).
void SinkThread::add_copy(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index,
                          const Settlement& settlement) const {
    auto entry = std::make_unique<Outgoing>();
    entry->settlement = index;
    entry->topic = &parts_.options.tickets_topic;
    entry->partition = settlement.position.partition;
    entry->key = settlement.key;
    entry->value = settlement.payload;
    entry->timestamp = settlement.timestamp;
    entry->is_copy = true;
    // First what its producer gave it: of two headers of one name the last one counts.
    add_packed(entry->headers, settlement.other_headers);
    entry->headers.add(kOriginPartition, static_cast<std::int64_t>(settlement.origin.partition));
    entry->headers.add(kOriginOffset, settlement.origin.offset);
    if (!settlement.traceparent.empty()) entry->headers.add(kTraceparent, settlement.traceparent);
    if (!settlement.tracestate.empty()) entry->headers.add(kTracestate, settlement.tracestate);
    entry->headers.add(kRequeueRound, static_cast<std::int64_t>(settlement.requeue_round));
    entry->headers.add(kDeliveries, static_cast<std::int64_t>(settlement.deliveries));
    if (!has_packed(settlement.other_headers, kSource)) entry->headers.add(kSource, "worker-agents");
    out.push_back(std::move(entry));
}

// Asked before a transaction is begun: a missing topic would hold it until its timeout (rule 8).
bool SinkThread::topic_exists(const std::string& topic) {
    KnownTopic& known = topics_[topic];
    const MonoTime now = parts_.clock.now();
    // Brokers that do not answer say nothing about the topic; the transaction finds out.
    if (brokers_silent_ || stopping()) return known.as_of == MonoTime{} || known.exists;
    const Duration keep = known.exists ? kTopicKnown : kTopicMissing;
    if (known.as_of != MonoTime{} && now - known.as_of < keep) return known.exists;
    rd_kafka_topic_t* handle = rd_kafka_topic_new(producer_->raw(), topic.c_str(), nullptr);
    if (handle == nullptr) return false;
    const struct rd_kafka_metadata* metadata = nullptr;
    constexpr int kPatience = 5000;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    {
        const ClientCall call(*this, "metadata");
        code = rd_kafka_metadata(producer_->raw(), 0, handle, &metadata, kPatience);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        known.exists = metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
                       metadata->topics[0].partition_cnt > 0;
        known.as_of = now;
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    brokers_silent_ = code != RD_KAFKA_RESP_ERR_NO_ERROR;
    return brokers_silent_ || known.exists;
}

std::vector<RejectedSettlement> SinkThread::without_target(const CommitBatch& batch,
                                                           const std::vector<std::unique_ptr<Outgoing>>& out) {
    std::vector<RejectedSettlement> rejected;
    for (const auto& entry : out) {
        if (topic_exists(*entry->topic)) continue;
        parts_.listener.log(Severity::kError, "topic_missing", *entry->topic);
        tell_if_dead_letter(*entry);
        rejected.push_back(
            {batch.settlements[entry->settlement]->position, RejectedSettlement::Why::kTargetUnavailable});
    }
    return rejected;
}

void SinkThread::tell_if_dead_letter(const Outgoing& entry) const {
    if (entry.topic == &parts_.options.dead_letter_topic) parts_.listener.dead_letter_failed();
}

rd_kafka_resp_err_t SinkThread::hand_over(Outgoing& entry) {
    std::array<rd_kafka_vu_t, 7> values{};
    values[0].vtype = RD_KAFKA_VTYPE_TOPIC;
    values[0].u.cstr = entry.topic->c_str();
    values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    values[1].u.i32 = entry.partition;
    values[2].vtype = RD_KAFKA_VTYPE_KEY;
    values[2].u.mem = {entry.key.data(), entry.key.size()};
    values[3].vtype = RD_KAFKA_VTYPE_VALUE;
    values[3].u.mem = {entry.value.data(), entry.value.size()};
    values[4].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
    values[4].u.i64 = entry.timestamp;
    values[5].vtype = RD_KAFKA_VTYPE_HEADERS;
    values[5].u.headers = entry.headers.release();
    values[6].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[6].u.ptr = &entry;
    const ClientError error(rd_kafka_produceva(producer_->raw(), values.data(), values.size()));
    if (!error) return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_headers_destroy(values[5].u.headers);  // they are the client's only when it has taken the message
    return rd_kafka_error_code(error.get());
}

// A topic's limit is on a batch of records, which the client makes of all that it has for a partition. Where one of
// several was refused, nobody says which record is to blame, or whether any is: smaller ones are tried.
bool SinkThread::fits(const Outgoing& entry, Filled& filled) const {
    const auto limit = batch_limits_.find(*entry.topic);
    if (limit == batch_limits_.end()) return true;
    std::size_t& bytes = filled[{*entry.topic, entry.partition}];
    const bool alone = bytes == 0;
    bytes += entry.key.size() + entry.value.size();
    return alone || bytes <= limit->second;
}

void SinkThread::note_refused_batches(const std::vector<std::unique_ptr<Outgoing>>& out) {
    Filled refused;
    for (const auto& entry : out) {
        if (is_too_large(entry->error) && !is_refused_alone(*entry, out))
            refused[{*entry->topic, entry->partition}] += entry->key.size() + entry->value.size();
    }
    for (const auto& [target, bytes] : refused) {
        const auto limit = batch_limits_.try_emplace(target.first, bytes).first;
        limit->second = std::min(limit->second, bytes) / 2;
    }
}

bool SinkThread::is_refused_alone(const Outgoing& entry, const std::vector<std::unique_ptr<Outgoing>>& out) const {
    if (!entry.taken) return true;  // by the client itself
    return std::none_of(out.begin(), out.end(), [&](const auto& other) {
        return other.get() != &entry && other->taken && is_too_large(other->error) && other->topic == entry.topic &&
               other->partition == entry.partition;
    });
}

bool SinkThread::wait_for_reports(const std::vector<std::unique_ptr<Outgoing>>& out, std::size_t count,
                                  MonoTime patience) {
    const auto end = out.begin() + static_cast<std::ptrdiff_t>(count);
    // Every report is waited for: its entry must not go before it has come. The client's own timeouts bound this.
    const auto all_reported = [&] {
        return std::all_of(out.begin(), end, [](const auto& entry) { return entry->delivered; });
    };
    bool purged = false;
    while (!all_reported()) {
        {
            const ClientCall call(*this, "flush");
            rd_kafka_flush(producer_->raw(), 1000);
            rd_kafka_poll(producer_->raw(), 0);
        }
        const bool hopeless =
            producer_->fatal().first != RD_KAFKA_RESP_ERR_NO_ERROR || stopping() || parts_.clock.now() > patience;
        if (!hopeless || purged || all_reported()) continue;
        purged = true;
        rd_kafka_purge(producer_->raw(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    return std::all_of(out.begin(), end, [](const auto& entry) { return entry->error == RD_KAFKA_RESP_ERR_NO_ERROR; });
}

// Hands everything to the client and waits for each delivery report.
SinkThread::Verdict SinkThread::produce(std::vector<std::unique_ptr<Outgoing>>& out,
                                        std::vector<RejectedSettlement>& rejected, const CommitBatch& batch) {
    if (out.empty()) return {};
    std::optional<Error> trouble;
    const MonoTime patience = parts_.clock.now() + std::chrono::seconds(60);
    Filled filled;
    bool goes_on = true;
    for (std::size_t at = 0; at < out.size(); ++at) {
        Outgoing& entry = *out[at];
        if (goes_on && !fits(entry, filled)) {
            goes_on = wait_for_reports(out, at, patience);
            filled.clear();
            static_cast<void>(fits(entry, filled));
        }
        const auto code = goes_on ? hand_over(entry) : RD_KAFKA_RESP_ERR__PURGE_QUEUE;
        entry.taken = code == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (entry.taken) continue;
        entry.delivered = true;
        entry.error = code;
    }
    static_cast<void>(wait_for_reports(out, out.size(), patience));
    note_refused_batches(out);
    for (const auto& entry : out) {
        if (entry->error == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        const SourcePosition position = batch.settlements[entry->settlement]->position;
        const bool too_large = is_too_large(entry->error);
        const bool no_target = entry->error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                               entry->error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                               entry->error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                               entry->error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        if (too_large && is_refused_alone(*entry, out))
            rejected.push_back({position, RejectedSettlement::Why::kTooLarge});
        if (no_target) {
            rejected.push_back({position, RejectedSettlement::Why::kTargetUnavailable});
            topics_.erase(*entry->topic);
        }
        // What was taken back here says nothing about the brokers, unless they were silent all the time; what is too
        // large becomes smaller.
        const bool taken_back =
            entry->error == RD_KAFKA_RESP_ERR__PURGE_QUEUE || entry->error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
        const bool silent = taken_back && parts_.clock.now() > patience;
        if (!too_large && (!taken_back || silent)) tell_if_dead_letter(*entry);
        if (!trouble) trouble = to_error(entry->error, "write to " + *entry->topic);
    }
    if (!trouble) return {};
    const bool fatal = producer_->fatal().first != RD_KAFKA_RESP_ERR_NO_ERROR;
    parts_.listener.transaction_failed(fatal ? "fatal" : "abort", *trouble);
    return {fatal ? Step::kFatal : Step::kAbort, std::move(trouble), false};
}

PartitionList SinkThread::offsets_of(const CommitBatch& batch, const std::string& topic) const {
    PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(batch.offsets.size())));
    for (const PartitionCommit& commit : batch.offsets) {
        rd_kafka_topic_partition_t* row =
            rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), commit.partition);
        row->offset = commit.offset;
        const std::string metadata = mark_topic(commit.metadata, topic_id_);
        if (metadata.empty()) continue;
        // The list frees it with the client's own allocator.
        row->metadata = rd_kafka_mem_malloc(nullptr, metadata.size() + 1);
        std::copy_n(metadata.c_str(), metadata.size() + 1, static_cast<char*>(row->metadata));
        row->metadata_size = metadata.size();
    }
    return list;
}

SinkThread::Verdict SinkThread::begin_transaction() {
    return judge(in_call("begin_transaction", [](rd_kafka_t* client) { return rd_kafka_begin_transaction(client); }),
                 "begin a transaction");
}

SinkThread::Verdict SinkThread::send_offsets(const CommitBatch& batch) {
    if (batch.offsets.empty()) return {};
    const GroupMetadata group = parts_.group_metadata();
    if (!group) {
        // Such offsets would be accepted, whoever owns the partitions (rule 2).
        return {Step::kAbort,
                make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "kafka",
                           "this worker is not a member of its group at the moment"),
                false};
    }
    const PartitionList list = offsets_of(batch, parts_.options.tickets_topic);
    const MonoTime patience = parts_.clock.now() + parts_.options.transaction_timeout;
    while (true) {
        ClientError error = in_call("send_offsets_to_transaction", [&](rd_kafka_t* client) {
            return rd_kafka_send_offsets_to_transaction(client, list.get(), group.get(), 5000);
        });
        if (!error) return {};
        const rd_kafka_resp_err_t code = rd_kafka_error_code(error.get());
        const bool again =
            rd_kafka_error_is_retriable(error.get()) != 0 && parts_.clock.now() < patience && !stopping();
        Verdict verdict = judge(std::move(error), "send offsets to the transaction");
        verdict.metadata_too_large = code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
        if (!again) {
            if (verdict.step == Step::kRetry) verdict.step = Step::kAbort;
            return verdict;
        }
    }
}

SinkThread::Verdict SinkThread::commit_transaction() {
    // A commit whose answer does not come may have happened: the same call again says (rule 6). Beyond the
    // transaction's own timeout only a new producer finds out.
    const MonoTime patience = parts_.clock.now() + 3 * parts_.options.transaction_timeout;
    while (true) {
        ClientError error =
            in_call("commit_transaction", [](rd_kafka_t* client) { return rd_kafka_commit_transaction(client, 5000); });
        if (!error) return {};
        Verdict verdict = judge(std::move(error), "commit the transaction");
        if (verdict.step != Step::kRetry) return verdict;
        if (parts_.clock.now() > patience || stopping()) {
            verdict.step = Step::kFatal;
            return verdict;
        }
    }
}

SinkThread::Verdict SinkThread::abort_transaction() {
    const MonoTime patience = parts_.clock.now() + 3 * parts_.options.transaction_timeout;
    while (true) {
        ClientError error =
            in_call("abort_transaction", [](rd_kafka_t* client) { return rd_kafka_abort_transaction(client, 5000); });
        if (!error) return {};
        Verdict verdict = judge(std::move(error), "abort the transaction");
        if (verdict.step == Step::kAbort) verdict.step = Step::kFatal;
        if (verdict.step != Step::kRetry) return verdict;
        if (parts_.clock.now() > patience || stopping()) {
            verdict.step = Step::kFatal;
            return verdict;
        }
    }
}

SinkThread::Verdict SinkThread::judge(ClientError error, std::string_view what) {
    if (!error) return {};
    Verdict verdict;
    verdict.error = to_error(error.get(), what);
    verdict.step = Step::kAbort;
    std::string_view kind = "abort";
    if (rd_kafka_error_is_fatal(error.get()) != 0) {
        verdict.step = Step::kFatal;
        kind = "fatal";
    } else if (rd_kafka_error_is_retriable(error.get()) != 0) {
        verdict.step = Step::kRetry;
        kind = "retry";
    } else if (rd_kafka_error_txn_requires_abort(error.get()) == 0) {
        // Neither: a wrong state of this producer. Only a new one is known to be right.
        verdict.step = Step::kFatal;
        kind = "fatal";
    }
    parts_.listener.transaction_failed(kind, *verdict.error);
    return verdict;
}

}  // namespace wa::kafka
