#include "adapters/kafka/dead_letter_topic.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

#include "core/codec/dead_letter_json.h"
#include "core/codec/text.h"

namespace wa::kafka {
namespace {

constexpr std::size_t kMaxWaiting = 64;
constexpr Duration kPatience = std::chrono::seconds(20);  // of one question
constexpr Duration kIdle = std::chrono::minutes(1);
constexpr Duration kStep = std::chrono::milliseconds(500);  // between looks at whether this is to stop
// How far back in each partition: marks and the ends of transactions take offsets too.
constexpr Offset kLookBack = 4 * static_cast<Offset>(LetterIndex::kMaxLetters);
constexpr std::size_t kMaxValue = 4 * 1024 * 1024;
constexpr std::size_t kMaxWord = 128;
constexpr std::size_t kMaxKey = 255;

std::string_view bytes_of(const void* data, std::size_t size) {
    return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

Failure no_letter(const std::string& key) {
    return fail(ErrorCode::kNotFound, "kafka", "there is no dead letter \"" + clip(key) + "\"");
}

EpochMillis time_of(const rd_kafka_message_t& message) {
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    return std::max<EpochMillis>(0, rd_kafka_message_timestamp(&message, &kind));
}

DeadLetterEntry entry_of(const rd_kafka_message_t& message) {
    const std::string_view value = bytes_of(message.payload, message.len);
    DeadLetterSummary summary = dead_letter_summary(value);
    DeadLetterEntry entry;
    entry.ticket_id = std::move(summary.ticket_id);
    if (entry.ticket_id.empty()) entry.ticket_id = lossy_utf8(bytes_of(message.key, message.key_len), kMaxKey);
    if (entry.ticket_id.empty()) entry.ticket_id = "unknown";
    entry.plan_id = std::move(summary.plan_id);
    entry.task_id = std::move(summary.task_id);
    entry.task_type = std::move(summary.task_type);
    entry.reason = std::move(summary.reason);
    entry.error_type = std::move(summary.error_type);
    entry.error = std::move(summary.error);
    entry.attempts = summary.attempts;
    entry.at = time_of(message);
    entry.first_at = summary.first_at > 0 ? summary.first_at : entry.at;
    if (!summary.readable) {
        entry.reason = "unreadable";
        entry.error = value.empty() ? "a message without a value" : "this message is no JSON object";
    }
    return entry;
}

}  // namespace

// ---------------------------------------------------------------- questions

template <class T>
void DeadLetterTopic::put(std::function<Result<T>()> work, Answer<T> answer) {
    enqueue([work = std::move(work), answer = std::move(answer)](const Error* refused) {
        if (refused != nullptr) return answer(Failure(*refused));
        answer(work());
    });
}

void DeadLetterTopic::list(std::size_t offset, std::size_t limit, Answer<DeadLetterList> answer) {
    put<DeadLetterList>(
        [this, offset, limit]() -> Result<DeadLetterList> {
            WA_CHECKED(catch_up());
            return index_.page(offset, limit);
        },
        std::move(answer));
}

void DeadLetterTopic::show(std::string key, Answer<DeadLetterEntry> answer) {
    put<DeadLetterEntry>(
        [this, key = std::move(key)]() -> Result<DeadLetterEntry> {
            const auto place = parse_letter_key(key);
            if (!place) return no_letter(key);
            WA_CHECKED(catch_up());
            auto entry = index_.get(*place);
            if (!entry) return no_letter(key);
            WA_TRY(entry->payload, value_of(*place));
            entry->original_base64 = original_base64(entry->payload);
            return std::move(*entry);
        },
        std::move(answer));
}

void DeadLetterTopic::replay(std::string key, std::string actor, Answer<std::string> answer) {
    put<std::string>([this, key = std::move(key), actor = std::move(actor)] { return send_back(key, actor); },
                     std::move(answer));
}

void DeadLetterTopic::discard(std::string key, std::string reason, std::string actor, Answer<void> answer) {
    put<void>([this, key = std::move(key), reason = std::move(reason),
               actor = std::move(actor)] { return give_up(key, reason, actor); },
              std::move(answer));
}

void DeadLetterTopic::enqueue(Job job) {
    {
        const std::lock_guard lock(mutex_);
        if (!stopping_ && jobs_.size() < kMaxWaiting) {
            jobs_.push_back(std::move(job));
            if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
            wake_.notify_all();
            return;
        }
    }
    const Error busy = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "kafka",
                                  "too many questions about dead letters at once");
    job(&busy);
}

void DeadLetterTopic::renew() {
    const std::lock_guard lock(mutex_);
    renew_wanted_ = true;
}

DeadLetterTopic::~DeadLetterTopic() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void DeadLetterTopic::work() {
    std::unique_lock lock(mutex_);
    const auto due = [this] { return stopping_ || !jobs_.empty(); };
    while (true) {
        if (!wake_.wait_for(lock, kIdle, due)) {
            lock.unlock();
            hang_up();
            lock.lock();
            wake_.wait(lock, due);
        }
        if (stopping_) break;
        const Job job = std::move(jobs_.front());
        jobs_.pop_front();
        const bool renew = std::exchange(renew_wanted_, false);
        lock.unlock();
        if (renew) hang_up();
        deadline_ = clock_.now() + kPatience;
        job(nullptr);
        lock.lock();
    }
    const std::deque<Job> left = std::exchange(jobs_, {});
    lock.unlock();
    const Error gone = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "kafka",
                                  "this worker is stopping; ask another one");
    for (const Job& job : left)
        job(&gone);
    hang_up();
}

bool DeadLetterTopic::stopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
}

bool DeadLetterTopic::over() {
    return stopping() || clock_.now() >= deadline_;
}

// For calls of the client, in milliseconds: short, so that between them the end of this object is seen.
int DeadLetterTopic::time_left(Duration most) const {
    const Duration left = std::clamp<Duration>(deadline_ - clock_.now(), std::chrono::milliseconds(1), most);
    return static_cast<int>(std::max<std::int64_t>(1, to_millis(left)));
}

Error DeadLetterTopic::too_late(std::string_view what) {
    return make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "kafka",
                      stopping() ? "this worker is stopping; ask another one"
                                 : "the brokers took too long to " + std::string(what) + "; ask again");
}

// ---------------------------------------------------------------- reading

void DeadLetterTopic::hang_up() {
    drop_producer();
    letter_reader_.reset();
    index_reader_.reset();
    index_.clear();
    positions_.clear();
}

Result<std::unique_ptr<Client>> DeadLetterTopic::make_consumer(const char* name) {
    constexpr int kKilobytes = 2048;  // a letter may be as large as that
    WA_TRY(auto client,
           Client::make(RD_KAFKA_CONSUMER, Configuration::of_reader(options_, name, kKilobytes), listener_));
    rd_kafka_poll_set_consumer(client->raw());
    return client;
}

Result<std::int32_t> DeadLetterTopic::partition_count(const std::string& topic) {
    const std::string what = "look at topic " + topic;
    rd_kafka_topic_t* handle = rd_kafka_topic_new(index_reader_->raw(), topic.c_str(), nullptr);
    if (handle == nullptr) return Failure(to_error(rd_kafka_last_error(), what));
    const struct rd_kafka_metadata* metadata = nullptr;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    do {
        code = rd_kafka_metadata(index_reader_->raw(), 0, handle, &metadata, time_left(kStep));
    } while ((code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT) && !over());
    rd_kafka_topic_destroy(handle);
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT) return Failure(too_late(what));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return Failure(to_error(code, what));
    const bool known = metadata->topic_cnt == 1;
    const rd_kafka_resp_err_t trouble = known ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    const std::int32_t count = known ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    if (trouble == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) return count;
    Error error = to_error(trouble, what);
    // The letter that was asked for is not what is missing.
    if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kUnavailable;
    return Failure(std::move(error));
}

// Reads all that was committed before the question came.
Result<void> DeadLetterTopic::catch_up() {
    if (!index_reader_) {
        WA_TRY(index_reader_, make_consumer("dlq"));
    }
    WA_TRY(const bool changed, ask_ends());
    if (changed) assign();
    const auto behind = [this] {
        return std::any_of(positions_.begin(), positions_.end(),
                           [](const auto& each) { return each.second.next < each.second.end; });
    };
    while (behind()) {
        const Message message(rd_kafka_consumer_poll(index_reader_->raw(), time_left(std::chrono::milliseconds(100))));
        if (message) take(*message);
        if (over() && behind()) return Failure(too_late("read " + options_.dead_letter_topic));
    }
    return {};
}

// Where each partition begins and ends. True: what is read must be told to the client anew.
Result<bool> DeadLetterTopic::ask_ends() {
    WA_TRY(const std::int32_t count, partition_count(options_.dead_letter_topic));
    bool changed = false;
    for (PartitionId id = 0; id < count; ++id) {
        std::int64_t low = 0;
        std::int64_t high = 0;
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
        do {
            code = rd_kafka_query_watermark_offsets(index_reader_->raw(), options_.dead_letter_topic.c_str(), id, &low,
                                                    &high, time_left(kStep));
        } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && to_error(code, "").retryable() && !over());
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return Failure(to_error(code, "read the ends of " + options_.dead_letter_topic));
        auto [position, fresh] = positions_.try_emplace(id);
        if (!fresh && position->second.next > high) {
            // The topic was made anew: what was known is about another one.
            index_.forget_below(id, std::numeric_limits<Offset>::max());
            fresh = true;
        }
        if (fresh) {
            position->second.next = std::max<Offset>(low, high - kLookBack);
            if (position->second.next > low) index_.not_complete();
            changed = true;
        }
        if (position->second.next < low) {
            position->second.next = low;
            changed = true;
        }
        position->second.end = high;
        index_.forget_below(id, low);
    }
    return changed;
}

void DeadLetterTopic::assign() {
    const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(positions_.size())));
    for (const auto& [id, position] : positions_)
        rd_kafka_topic_partition_list_add(list.get(), options_.dead_letter_topic.c_str(), id)->offset = position.next;
    if (const auto code = rd_kafka_assign(index_reader_->raw(), list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        listener_.log(Severity::kError, "dead_letters_failed", to_error(code, "read the dead letters").describe());
}

void DeadLetterTopic::take(const rd_kafka_message_t& message) {
    const auto found = positions_.find(message.partition);
    if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (found != positions_.end()) found->second.next = std::max(found->second.next, message.offset);
        return;
    }
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return listener_.log(
            Severity::kWarning, "dead_letters_wait",
            to_error(message.err, "read the dead letters", rd_kafka_message_errstr(&message)).describe());
    }
    if (found == positions_.end() || message.offset < found->second.next) return;
    found->second.next = message.offset + 1;
    const HeaderView headers(message);
    const auto settles = headers.text(kSettles);
    if (message.payload == nullptr && settles) return take_mark(message, headers, *settles);
    index_.add({message.partition, message.offset}, entry_of(message));
}

// Only about what stands before it in its own partition: elsewhere the order would be a matter of chance.
void DeadLetterTopic::take_mark(const rd_kafka_message_t& message, const HeaderView& headers,
                                std::string_view settles) {
    const auto place = parse_letter_key(settles);
    if (!place || place->partition != message.partition || place->offset >= message.offset) return;
    const auto action = headers.text(kAction).value_or("");
    const bool replayed = action == to_string(LetterState::kReplayed);
    if (!replayed && action != to_string(LetterState::kDiscarded)) return;
    std::string by = lossy_utf8(headers.text(kActor).value_or(""), kMaxWord);
    const std::string agent = lossy_utf8(headers.text(kAgent).value_or(""), kMaxWord);
    if (!agent.empty()) by += "@" + agent;
    index_.settle(*place, replayed ? LetterState::kReplayed : LetterState::kDiscarded, time_of(message), std::move(by));
}

Result<std::string> DeadLetterTopic::value_of(LetterPlace place) {
    if (!letter_reader_) {
        WA_TRY(letter_reader_, make_consumer("dlq-letter"));
    }
    const PartitionList list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), options_.dead_letter_topic.c_str(), place.partition)->offset =
        place.offset;
    if (const auto code = rd_kafka_assign(letter_reader_->raw(), list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return Failure(to_error(code, "read a dead letter"));
    while (!over()) {
        const Message message(rd_kafka_consumer_poll(letter_reader_->raw(), time_left(std::chrono::milliseconds(100))));
        if (!message || message->partition != place.partition) continue;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) continue;
        if (message->offset < place.offset) continue;
        // What is kept for a while only is gone in the end.
        if (message->offset > place.offset || message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            return no_letter(letter_key(place));
        const std::string_view value = bytes_of(message->payload, message->len);
        if (value.size() > kMaxValue)
            return fail(ErrorCode::kLimitExceeded, "kafka",
                        "the message has " + std::to_string(value.size()) + " bytes; 4 MiB are shown at most");
        return std::string(value);
    }
    return Failure(too_late("read a dead letter"));
}

// ---------------------------------------------------------------- sending back, discarding

Result<LetterPlace> DeadLetterTopic::open_letter(const std::string& key, std::string_view verb) {
    const auto place = parse_letter_key(key);
    if (!place) return no_letter(key);
    WA_CHECKED(catch_up());
    const DeadLetterEntry* entry = index_.find(*place);
    if (entry == nullptr) return no_letter(key);
    if (entry->state == LetterState::kOpen) return *place;
    return fail(ErrorCode::kConflict, "kafka",
                "dead letter " + key + " cannot be " + std::string(verb) + ": it was " +
                    std::string(to_string(entry->state)) + " at " + iso_timestamp(entry->settled_at) +
                    (entry->settled_by.empty() ? "" : " by " + entry->settled_by));
}

Result<std::string> DeadLetterTopic::send_back(const std::string& key, const std::string& actor) {
    WA_TRY(const LetterPlace place, open_letter(key, "replayed"));
    WA_TRY(const std::string value, value_of(place));
    const DeadLetterSummary summary = dead_letter_summary(value);
    if (!summary.replayable)
        return fail(ErrorCode::kInvalidArgument, "kafka",
                    "dead letter " + key +
                        " holds no ticket that could be published again; look at its bytes (dlq show), correct and "
                        "submit it, and discard the letter");
    WA_TRY(std::string ticket, replayable_ticket(value));
    WA_TRY(const std::int32_t partitions, partition_count(options_.tickets_topic));
    std::ignore = partitions;  // a missing topic would hold the transaction until its timeout
    std::vector<Outgoing> records(1);
    records[0].topic = options_.tickets_topic;
    records[0].key = summary.ticket_id;
    records[0].value = std::move(ticket);
    records[0].headers.add(kReplayOf, key);
    records[0].headers.add(kSource, "worker-agents");
    records.push_back(mark(place, summary.ticket_id, LetterState::kReplayed, actor, {}));
    WA_CHECKED(write(std::move(records)));
    settled(place, LetterState::kReplayed, actor);
    return summary.ticket_id;
}

Result<void> DeadLetterTopic::give_up(const std::string& key, const std::string& reason, const std::string& actor) {
    WA_TRY(const LetterPlace place, open_letter(key, "discarded"));
    std::vector<Outgoing> records;
    records.push_back(mark(place, index_.find(place)->ticket_id, LetterState::kDiscarded, actor, reason));
    WA_CHECKED(write(std::move(records)));
    settled(place, LetterState::kDiscarded, actor);
    return {};
}

DeadLetterTopic::Outgoing DeadLetterTopic::mark(LetterPlace place, const std::string& key, LetterState state,
                                                const std::string& actor, const std::string& reason) const {
    Outgoing record;
    record.topic = options_.dead_letter_topic;
    record.partition = place.partition;
    record.key = key;
    record.no_value = true;
    record.headers.add(kSettles, letter_key(place));
    record.headers.add(kAction, to_string(state));
    record.headers.add(kActor, actor);
    if (!reason.empty()) record.headers.add(kReason, reason);
    record.headers.add(kAgent, options_.agent_id);
    record.headers.add(kSource, "worker-agents");
    return record;
}

// Known at once: the next question may come before the mark can be read.
void DeadLetterTopic::settled(LetterPlace place, LetterState state, const std::string& actor) {
    index_.settle(place, state, clock_.wall_now(), actor + "@" + options_.agent_id);
    listener_.log(Severity::kInfo, "dead_letter_" + std::string(to_string(state)), letter_key(place) + " by " + actor);
}

// ---------------------------------------------------------------- writing

Result<void> DeadLetterTopic::make_producer() {
    if (producer_) return {};
    const bool transactions = options_.delivery == Delivery::kExactlyOnce;
    Configuration conf(options_, "dlq-replay");
    conf.set("enable.idempotence", "true");
    conf.set("acks", "all");
    conf.set("message.max.bytes", std::to_string(kMaxValue));
    conf.set("linger.ms", "0");
    if (transactions) {
        conf.set("transactional.id", options_.transactional_id + "-dlq");
        conf.set("transaction.timeout.ms", std::to_string(to_millis(options_.transaction_timeout)));
    } else {
        conf.set("message.timeout.ms", std::to_string(to_millis(kPatience)));
    }
    WA_TRY(producer_, Client::make(RD_KAFKA_PRODUCER, std::move(conf), listener_));
    producer_->on_delivery = [](const rd_kafka_message_t& message) {
        auto* record = static_cast<Outgoing*>(message._private);
        record->reported = true;
        record->error = message.err;
    };
    if (!transactions) return {};
    while (true) {
        const ClientError error(rd_kafka_init_transactions(producer_->raw(), time_left(kStep)));
        if (!error) return {};
        const bool again = rd_kafka_error_is_retriable(error.get()) != 0;
        if (again && !over()) continue;
        producer_.reset();
        if (again) return Failure(too_late("begin a transaction"));
        return Failure(to_error(error.get(), "begin as transactional producer " + options_.transactional_id + "-dlq"));
    }
}

void DeadLetterTopic::drop_producer() {
    if (!producer_) return;
    rd_kafka_purge(producer_->raw(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(producer_->raw(), 100);
    producer_.reset();
}

Result<void> DeadLetterTopic::write(std::vector<Outgoing> records) {
    WA_CHECKED(make_producer());
    Result<void> done;
    if (options_.delivery == Delivery::kExactlyOnce) {
        done = write_in_transaction(records);
    } else {
        // In order: the mark is never there without what it says.
        for (Outgoing& record : records) {
            done = deliver(&record, 1);
            if (!done) break;
        }
    }
    // Whatever state it is in: a new one ends what this one began.
    if (!done) drop_producer();
    return done;
}

Result<void> DeadLetterTopic::write_in_transaction(std::vector<Outgoing>& records) {
    const ClientError begun(rd_kafka_begin_transaction(producer_->raw()));
    if (begun) return Failure(to_error(begun.get(), "begin a transaction"));
    constexpr int kAbortPatience = 3000;
    if (auto delivered = deliver(records.data(), records.size()); !delivered) {
        const ClientError ignored(rd_kafka_abort_transaction(producer_->raw(), kAbortPatience));
        return delivered;
    }
    while (true) {
        const ClientError error(rd_kafka_commit_transaction(producer_->raw(), time_left(kStep)));
        if (!error) return {};
        if (rd_kafka_error_is_retriable(error.get()) != 0) {
            if (!over()) continue;
            return Failure(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "kafka",
                                      "the brokers do not say whether it was done; look at the letter again"));
        }
        Error trouble = to_error(error.get(), "commit the transaction");
        if (rd_kafka_error_txn_requires_abort(error.get()) != 0)
            ClientError(rd_kafka_abort_transaction(producer_->raw(), kAbortPatience)).reset();
        return Failure(std::move(trouble));
    }
}

// Every report is waited for: a record must not go before it has come.
Result<void> DeadLetterTopic::deliver(Outgoing* first, std::size_t count) {
    Outgoing* const last = first + count;  // NOLINT: a range of the caller's vector
    for (Outgoing* record = first; record != last; ++record) {
        record->error = hand_over(*record);
        record->reported = record->error != RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    const auto waiting = [&] {
        return std::any_of(first, last, [](const Outgoing& record) { return !record.reported; });
    };
    bool purged = false;
    while (waiting()) {
        rd_kafka_poll(producer_->raw(), 100);
        if (purged || !over()) continue;
        purged = true;
        rd_kafka_purge(producer_->raw(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    for (const Outgoing* record = first; record != last; ++record) {
        if (record->error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return Failure(to_error(record->error, "write to " + record->topic));
    }
    return {};
}

rd_kafka_resp_err_t DeadLetterTopic::hand_over(Outgoing& record) {
    std::array<rd_kafka_vu_t, 6> values{};
    values[0].vtype = RD_KAFKA_VTYPE_TOPIC;
    values[0].u.cstr = record.topic.c_str();
    values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    values[1].u.i32 = record.partition;
    values[2].vtype = RD_KAFKA_VTYPE_KEY;
    values[2].u.mem = {record.key.data(), record.key.size()};
    values[3].vtype = RD_KAFKA_VTYPE_VALUE;
    values[3].u.mem = {record.no_value ? nullptr : record.value.data(), record.value.size()};
    values[4].vtype = RD_KAFKA_VTYPE_HEADERS;
    values[4].u.headers = record.headers.release();
    values[5].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[5].u.ptr = &record;
    const ClientError error(rd_kafka_produceva(producer_->raw(), values.data(), values.size()));
    if (!error) return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_headers_destroy(values[4].u.headers);  // they are the client's only when it has taken the message
    return rd_kafka_error_code(error.get());
}

}  // namespace wa::kafka
