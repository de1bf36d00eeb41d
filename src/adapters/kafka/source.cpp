#include "adapters/kafka/source.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "adapters/kafka/commit_metadata.h"
#include "adapters/kafka/headers.h"

namespace wa::kafka {
namespace {

constexpr Duration kQuestionTimeout = std::chrono::seconds(10);
constexpr Duration kAskAgain = std::chrono::milliseconds(500);
constexpr std::size_t kBatch = 64;  // records taken from one partition in one turn
constexpr std::size_t kEventsATurn = 200;
constexpr std::size_t kMaxTraceHeader = 512;
constexpr int kRejoinAfterHeals = 2;
constexpr Duration kCommitLimit = std::chrono::seconds(60);
constexpr Duration kGiveUpInOrder = std::chrono::seconds(60);

std::string_view bytes_of(const void* data, std::size_t size) {
    return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace

Result<std::unique_ptr<Source>> Source::make(Parts parts) {
    std::unique_ptr<Source> source(new Source(std::move(parts)));
    WA_CHECKED(source->open());
    return source;
}

Source::Source(Parts parts)
    : parts_(std::move(parts)), timer_(parts_.loop), retry_(parts_.loop), closing_(parts_.loop) {}

Source::~Source() {
    alive_.reset();
    for (auto& [id, partition] : partitions_) {
        if (partition.queue) Wakeup::ignore(partition.queue.get());
    }
    partitions_.clear();
    retired_.clear();
    drop_client();
}

void Source::drop_client() {
    if (queue_) Wakeup::ignore(queue_.get());
    queue_.reset();
    admin_.reset();
    wakeup_.reset();
    const std::lock_guard lock(client_mutex_);
    client_.reset();
}

Result<void> Source::open() {
    const Options& options = parts_.options;
    Configuration conf(options, "tickets");
    conf.set("group.id", options.group);
    if (!options.group_instance_id.empty()) conf.set("group.instance.id", options.group_instance_id);
    conf.set("partition.assignment.strategy", options.assignment_strategy);
    conf.set("session.timeout.ms", std::to_string(to_millis(options.session_timeout)));
    conf.set("heartbeat.interval.ms",
             std::to_string(std::min<std::int64_t>(3000, to_millis(options.session_timeout) / 3)));
    conf.set("max.poll.interval.ms",
             std::to_string(std::max(to_millis(options.poll_interval), to_millis(options.session_timeout))));
    conf.set("enable.auto.commit", "false");
    conf.set("enable.auto.offset.store", "false");
    conf.set("isolation.level", "read_committed");
    conf.set("auto.offset.reset", "earliest");  // where to start is decided here; this is for what is out of range
    conf.set("enable.partition.eof", "true");
    // Partition queues that are not read must not be refilled late, nor without bound (cluster-rule 19).
    constexpr std::size_t kPartitionsAssumed = 8;
    conf.set("fetch.queue.backoff.ms", "10");
    conf.set("fetch.wait.max.ms", "100");
    conf.set("queued.min.messages", std::to_string(options.prefetch_records));
    const std::size_t kibibytes = std::max<std::size_t>(64, options.prefetch_bytes / 1024 / kPartitionsAssumed);
    conf.set("queued.max.messages.kbytes", std::to_string(kibibytes));
    // What one fetch brings is kept whole until its last record is dealt with. A longer record comes all the same.
    conf.set("fetch.message.max.bytes", std::to_string(std::min<std::size_t>(256, kibibytes) * 1024));
    rd_kafka_conf_set_events(conf.raw(), RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR);
    WA_TRY(auto made, Client::make(RD_KAFKA_CONSUMER, std::move(conf), parts_.listener));
    {
        const std::lock_guard lock(client_mutex_);
        client_ = parts_.retirement.share(std::move(made));
    }
    rd_kafka_poll_set_consumer(client_->raw());
    WA_TRY(admin_, AdminCalls::make(parts_.loop, *client_, kQuestionTimeout));
    WA_TRY(wakeup_, Wakeup::make(parts_.loop, [this] { serve(); }));
    queue_.reset(rd_kafka_queue_get_consumer(client_->raw()));
    wakeup_->watch(queue_.get());
    parts_.listener.consumer_made();
    return {};
}

Result<void> Source::start() {
    every_second();
    if (!parts_.options.start_at_latest || group_had_commits_) return subscribe();
    look_for_commits();
    return {};
}

// Whether the group is new is asked before this member joins it: afterwards the first members have committed, and whose
// partitions have no commit cannot be told from partitions that were added (cluster-rule 20).
void Source::look_for_commits() {
    const auto again = [this](const Error& error) {
        parts_.listener.log(Severity::kWarning, "assignment_waits", error.describe());
        retry_.expires_after(kAskAgain);
        retry_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& code) {
            if (!code && !alive.expired() && admin_ && !closed_) look_for_commits();
        });
    };
    const std::string& topic = parts_.options.tickets_topic;
    admin_->describe(topic, [this, again, topic](Result<TopicFacts> facts) {
        if (!facts) return again(facts.error());
        std::vector<PartitionId> all;
        for (PartitionId id = 0; id < facts->partitions; ++id)
            all.push_back(id);
        admin_->committed(parts_.options.group, topic, all, [this, again](auto committed) {
            if (!committed) return again(committed.error());
            group_had_commits_ = std::any_of(committed->begin(), committed->end(),
                                             [](const auto& entry) { return entry.second.offset >= 0; });
            if (closed_) return;
            if (auto joined = subscribe(); !joined) again(joined.error());
        });
    });
}

Result<void> Source::subscribe() {
    const PartitionList topics(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(topics.get(), parts_.options.tickets_topic.c_str(), RD_KAFKA_PARTITION_UA);
    if (const auto code = rd_kafka_subscribe(client_->raw(), topics.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return Failure(to_error(code, "subscribe to " + parts_.options.tickets_topic));
    return {};
}

void Source::set_open(bool open) {
    open_ = open;
    if (!open || serve_posted_) return;
    serve_posted_ = true;
    boost::asio::post(parts_.loop, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        serve_posted_ = false;
        serve();
    });
}

// One turn: what the group says first, then records as long as intake is open.
void Source::serve() {
    if (serving_) return;
    serving_ = true;
    const std::weak_ptr<bool> alive = alive_;
    const bool more_events = serve_events();
    const bool more_records = read_partitions();
    retired_.clear();
    serving_ = false;
    if ((more_events || more_records) && !serve_posted_) {
        serve_posted_ = true;
        boost::asio::post(parts_.loop, [this, alive] {
            if (alive.expired()) return;
            serve_posted_ = false;
            serve();
        });
    }
}

bool Source::serve_events() {
    for (std::size_t i = 0; i < kEventsATurn; ++i) {
        const Event event(rd_kafka_queue_poll(queue_.get(), 0));
        if (!event) return false;
        switch (rd_kafka_event_type(event.get())) {
            case RD_KAFKA_EVENT_REBALANCE: on_rebalance(*event); break;
            case RD_KAFKA_EVENT_ERROR: {
                const rd_kafka_resp_err_t code = rd_kafka_event_error(event.get());
                const std::string text = rd_kafka_event_error_string(event.get());
                if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && std::exchange(connected_, false))
                    parts_.listener.connected(false);
                parts_.listener.broker_error();
                if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) parts_.listener.trouble(trouble_of(code, text), text);
                if (rd_kafka_event_error_is_fatal(event.get()) != 0) {
                    rejoin("the Kafka client gave up: " + client_->fatal().second);
                    return true;
                }
                parts_.listener.log(Severity::kWarning, "kafka_error",
                                    to_error(code, "talk to Kafka", text).describe());
                break;
            }
            case RD_KAFKA_EVENT_FETCH: {
                // Forwarding is off before anything is assigned; what still comes this way is taken, never dropped
                // (cluster-rule 19).
                const rd_kafka_message_t* message = nullptr;
                while ((message = rd_kafka_event_message_next(event.get())) != nullptr) {
                    const auto found = partitions_.find(message->partition);
                    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR || found == partitions_.end()) continue;
                    parts_.listener.log(Severity::kError, "record_on_main_queue",
                                        "partition " + std::to_string(message->partition));
                    rejoin("records came past the partition's own queue");
                    return true;
                }
                break;
            }
            default: break;
        }
    }
    return true;
}

bool Source::cooperative() const {
    const char* protocol = rd_kafka_rebalance_protocol(client_->raw());
    return protocol != nullptr && std::strcmp(protocol, "COOPERATIVE") == 0;
}

void Source::on_rebalance(rd_kafka_event_t& event) {
    const rd_kafka_topic_partition_list_t* list = rd_kafka_event_topic_partition_list(&event);
    const PartitionList none(rd_kafka_topic_partition_list_new(0));
    if (list == nullptr) list = none.get();
    // Whatever the group says next, what it said before is answered first: it waits for each answer.
    if (pending_) take_up(false);
    if (rd_kafka_event_error(&event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) return on_assign(*list);
    on_revoke(*list);
}

void Source::on_assign(const rd_kafka_topic_partition_list_t& list) {
    if (!std::exchange(connected_, true)) parts_.listener.connected(true);
    Pending pending;
    pending.generation = ++generation_;
    pending.list.reset(rd_kafka_topic_partition_list_copy(&list));
    pending_ = std::move(pending);
    if (list.cnt == 0 || closed_) return take_up(false);
    ask_about_pending();
}

// Which topic this is, committed offsets with their metadata, and both ends of each partition. Heartbeats go on
// meanwhile.
void Source::ask_about_pending() {
    const std::uint64_t generation = pending_->generation;
    admin_->describe(parts_.options.tickets_topic, [this, generation](Result<TopicFacts> facts) {
        if (!pending_ || pending_->generation != generation) return;
        if (!facts) return ask_again(facts.error(), generation);
        // Something is still held of a topic that is gone.
        if (!partitions_.empty() && facts->id != topic_id_) return topic_made_anew("its id changed");
        pending_->topic_id = std::move(facts->id);
        ask_about_offsets();
    });
}

void Source::ask_again(const Error& error, std::uint64_t generation) {
    parts_.listener.log(Severity::kWarning, "assignment_waits", error.describe());
    retry_.expires_after(kAskAgain);
    retry_.async_wait([this, generation, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& code) {
        if (!code && !alive.expired() && pending_ && pending_->generation == generation) ask_about_pending();
    });
}

void Source::ask_about_offsets() {
    std::vector<PartitionId> ids;
    std::vector<OffsetQuestion> lows;
    std::vector<OffsetQuestion> ends;
    for (int i = 0; i < pending_->list->cnt; ++i) {
        const PartitionId id = pending_->list->elems[i].partition;
        ids.push_back(id);
        lows.push_back({id, RD_KAFKA_OFFSET_SPEC_EARLIEST});
        ends.push_back({id, RD_KAFKA_OFFSET_SPEC_LATEST});
    }
    const std::uint64_t generation = pending_->generation;
    const auto current = [this, generation] { return pending_ && pending_->generation == generation; };
    const auto again = [this, generation](const Error& error) { ask_again(error, generation); };
    const std::string& topic = parts_.options.tickets_topic;
    admin_->committed(parts_.options.group, topic, ids, [this, current, again, topic, lows, ends](auto committed) {
        if (!current()) return;
        if (!committed) return again(committed.error());
        pending_->committed = std::move(*committed);
        forget_other_topics(pending_->committed);
        admin_->offsets(topic, lows, [this, current, again, topic, ends](auto low) {
            if (!current()) return;
            if (!low) return again(low.error());
            pending_->low = std::move(*low);
            admin_->offsets(topic, ends, [this, current, again](auto end) {
                if (!current()) return;
                if (!end) return again(end.error());
                pending_->end = std::move(*end);
                take_up(true);
            });
        });
    });
}

// What was committed for a topic of the same name that is gone says nothing about this one.
void Source::forget_other_topics(std::map<PartitionId, CommittedOffset>& committed) {
    for (auto& [id, entry] : committed) {
        MarkedMetadata read = read_mark(entry.metadata);
        entry.metadata = std::move(read.text);
        if (read.topic_id.empty() || read.topic_id == pending_->topic_id) continue;
        parts_.listener.loss_suspected(id, "offset " + std::to_string(entry.offset) + " was committed for an earlier " +
                                               parts_.options.tickets_topic + ": the topic was made anew");
        group_had_commits_ = true;
        entry = {};
    }
}

// Where reading starts. What was committed and does not lie within the log any more is a sign of loss (cluster-rule
// 20).
Offset Source::starting_offset(PartitionId id, const Pending& pending, CommittedOffset& committed) const {
    const auto known = [id](const std::map<PartitionId, Offset>& offsets) {
        const auto found = offsets.find(id);
        return found == offsets.end() ? Offset{0} : std::max<Offset>(0, found->second);
    };
    const Offset low = known(pending.low);
    const Offset end = known(pending.end);
    if (committed.offset < 0) {
        committed = {parts_.options.start_at_latest && !group_had_commits_ ? end : low, {}};
        return committed.offset;
    }
    if (committed.offset < low) {
        parts_.listener.loss_suspected(id, "offset " + std::to_string(committed.offset) +
                                               " was committed, and the log begins at " + std::to_string(low));
        return low;  // what is missing counts as finished; what was finished above it still is
    }
    // What was committed was read before, and a stable end never goes back.
    if (committed.offset > end) {
        parts_.listener.loss_suspected(id, "offset " + std::to_string(committed.offset) +
                                               " was committed, and the log ends at " + std::to_string(end) +
                                               ": the topic was made anew or cut");
        committed = {low, {}};
    }
    return committed.offset;
}

// Answers the group. Without answers to our own questions the partitions are not read: another event follows that takes
// them away again.
void Source::take_up(bool with_answers) {
    Pending pending = std::move(*pending_);
    pending_.reset();
    retry_.cancel();
    for (const auto& [id, committed] : pending.committed)
        group_had_commits_ = group_had_commits_ || committed.offset >= 0;
    const bool incremental = cooperative();
    if (with_answers) topic_id_ = pending.topic_id;
    for (int i = 0; i < pending.list->cnt; ++i) {
        rd_kafka_topic_partition_t& row = pending.list->elems[i];
        row.offset = RD_KAFKA_OFFSET_INVALID;
        if (!with_answers) continue;
        Partition partition;
        partition.epoch = next_epoch_++;
        if (!commits_void_) partition.committed = pending.committed[row.partition];
        partition.fresh = partition.committed.offset < 0;
        const Offset start = starting_offset(row.partition, pending, partition.committed);
        partition.position = start;
        partition.end_at_assign = pending.end[row.partition];
        partition.end = partition.end_at_assign;
        partition.moved = parts_.clock.now();
        row.offset = start;
        // Its records stay in its own queue; forwarding is switched off before anything can be fetched.
        partition.queue.reset(rd_kafka_queue_get_partition(client_->raw(), row.topic, row.partition));
        if (partition.queue) {
            rd_kafka_queue_forward(partition.queue.get(), nullptr);
            wakeup_->watch(partition.queue.get());
        }
        partitions_[row.partition] = std::move(partition);
    }
    if (incremental) {
        const ClientError error(rd_kafka_incremental_assign(client_->raw(), pending.list.get()));
        if (error)
            parts_.listener.log(Severity::kError, "assign_failed", to_error(error.get(), "take partitions").describe());
    } else if (const auto code = rd_kafka_assign(client_->raw(), pending.list.get());
               code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        parts_.listener.log(Severity::kError, "assign_failed", to_error(code, "take partitions").describe());
    }
    if (!with_answers && pending.list->cnt > 0) return;
    // What is taken up is committed at once; whatever is added later begins at its beginning.
    if (pending.list->cnt > 0) {
        group_had_commits_ = true;
        commits_void_ = false;
    }
    assignment_known_ = true;
    parts_.listener.rebalanced("assigned", static_cast<std::size_t>(pending.list->cnt));
    parts_.listener.partitions_assigned(partitions_.size());
}

void Source::on_revoke(const rd_kafka_topic_partition_list_t& list) {
    const bool lost = rd_kafka_assignment_lost(client_->raw()) != 0;
    parts_.listener.rebalanced(lost ? "lost" : "revoked", static_cast<std::size_t>(list.cnt));
    ++generation_;
    if (lost && revocation_) finish_revocation();
    Revocation revocation;
    revocation.list.reset(rd_kafka_topic_partition_list_copy(&list));
    for (int i = 0; i < list.cnt; ++i) {
        const PartitionId id = list.elems[i].partition;
        const auto found = partitions_.find(id);
        if (found == partitions_.end()) continue;
        Partition& partition = found->second;
        const bool known = partition.stage == Stage::kAnnounced || partition.stage == Stage::kReleasing;
        partition.held.clear();
        if (known && !closed_) {
            partition.stage = Stage::kReleasing;
            if (!lost) revocation.waiting.insert(id);
            parts_.deliver(PartitionRevoked{id, partition.epoch, lost});
        }
    }
    revocation_ = std::move(revocation);
    if (revocation_->waiting.empty()) finish_revocation();
}

void Source::release(PartitionId partition, Epoch epoch) {
    boost::asio::post(parts_.loop, [this, partition, epoch, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired() || !revocation_) return;
        const auto found = partitions_.find(partition);
        if (found == partitions_.end() || found->second.epoch != epoch) return;
        found->second.stage = Stage::kReleased;
        revocation_->waiting.erase(partition);
        if (revocation_->waiting.empty()) finish_revocation();
    });
}

void Source::finish_revocation() {
    const Revocation revocation = std::move(*revocation_);
    revocation_.reset();
    for (int i = 0; i < revocation.list->cnt; ++i) {
        const auto found = partitions_.find(revocation.list->elems[i].partition);
        if (found == partitions_.end()) continue;
        if (found->second.queue) {
            Wakeup::ignore(found->second.queue.get());
            retired_.push_back(std::move(found->second.queue));
        }
        parts_.listener.behind(found->first, -1);
        partitions_.erase(found);
    }
    answer_unassign(*revocation.list);
    parts_.listener.partitions_assigned(partitions_.size());
}

void Source::answer_unassign(const rd_kafka_topic_partition_list_t& list) {
    if (!cooperative()) {
        rd_kafka_assign(client_->raw(), nullptr);
        return;
    }
    const ClientError error(rd_kafka_incremental_unassign(client_->raw(), &list));
    if (error)
        parts_.listener.log(Severity::kError, "unassign_failed",
                            to_error(error.get(), "give partitions up").describe());
}

// Reads from each partition in turn. True: there may be more right now.
bool Source::read_partitions() {
    bool more = false;
    std::vector<PartitionId> order;
    for (const auto& [id, partition] : partitions_)
        order.push_back(id);
    const auto first = std::upper_bound(order.begin(), order.end(), turn_);
    std::rotate(order.begin(), first, order.end());
    for (const PartitionId id : order) {
        auto found = partitions_.find(id);
        if (found == partitions_.end()) continue;
        if (found->second.stage == Stage::kPeeking) {
            peek(id, found->second);
            found = partitions_.find(id);
            if (found == partitions_.end()) continue;
        }
        if (found->second.stage != Stage::kAnnounced || !open_) continue;
        turn_ = id;
        if (found->second.held.empty()) more = fill(id, found->second, kBatch) || more;
        deliver(id, found->second);
    }
    return more && open_;
}

// Takes records out of the partition's queue. True: there may be more. One at a time: the client's call for many counts
// the mark of a partition's end as a record that was read, and its next pause (each rebalance makes one) would go on
// behind the record that comes to stand there.
bool Source::fill(PartitionId id, Partition& partition, std::size_t most) {
    for (std::size_t taken = 0; partition.queue && taken < most; ++taken) {
        Message message(rd_kafka_consume_queue(partition.queue.get(), 0));
        if (!message) return false;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            partition.position = std::max(partition.position, message->offset);
            partition.moved = parts_.clock.now();
            continue;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            parts_.listener.log(
                Severity::kWarning, "partition_error",
                to_error(message->err, "read partition " + std::to_string(id), rd_kafka_message_errstr(message.get()))
                    .describe());
            continue;
        }
        if (message->offset < partition.position) {
            topic_made_anew("partition " + std::to_string(id) + " was read up to " +
                            std::to_string(partition.position) + " and goes on at " + std::to_string(message->offset));
            return false;
        }
        partition.held.push_back(std::move(message));
    }
    return static_cast<bool>(partition.queue);
}

// The first record, or the end of an empty partition, says how far back the results matter.
void Source::peek(PartitionId id, Partition& partition) {
    if (partition.held.empty() && partition.position < partition.end_at_assign) fill(id, partition, 1);
    if (partition.held.empty() && partition.position < partition.end_at_assign) return;
    EpochMillis from = parts_.clock.wall_now();
    if (!partition.held.empty()) {
        const rd_kafka_message_t& message = *partition.held.front();
        rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        const EpochMillis produced = rd_kafka_message_timestamp(&message, &kind);
        if (produced > 0) from = std::min(from, produced);
        const EpochMillis created = parts_.created_at(bytes_of(message.payload, message.len));
        if (created > 0) from = std::min(from, created);
    }
    partition.stage = Stage::kCatchingUp;
    parts_.results.need_from(from);
    parts_.results.when_caught_up([this, id, epoch = partition.epoch, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) announce(id, epoch);
    });
}

void Source::announce(PartitionId id, Epoch epoch) {
    const auto found = partitions_.find(id);
    if (found == partitions_.end() || found->second.epoch != epoch || found->second.stage != Stage::kCatchingUp) return;
    Partition& partition = found->second;
    partition.stage = Stage::kAnnounced;
    partition.moved = parts_.clock.now();
    PartitionAssigned assigned;
    assigned.partition = id;
    assigned.epoch = epoch;
    assigned.committed = partition.committed.offset;
    assigned.metadata = partition.committed.metadata;
    assigned.fresh = partition.fresh;
    assigned.end_at_assign = partition.end_at_assign;
    assigned.finished_by_results = parts_.results.finished(topic_id_, id, assigned.committed);
    parts_.deliver(std::move(assigned));
    if (parts_.taken_over) parts_.taken_over(parts_.results.recent(id));
    set_open(open_);
}

// A record whose schema is not known yet holds up its partition, not the others.
bool Source::is_readable(PartitionId id, Partition& partition) {
    if (!parts_.readable) return true;
    const rd_kafka_message_t& message = *partition.held.front();
    const auto again = [this, id, epoch = partition.epoch, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        const auto found = partitions_.find(id);
        if (found == partitions_.end() || found->second.epoch != epoch) return;
        found->second.unreadable = false;
        set_open(open_);
    };
    partition.unreadable = !parts_.readable(bytes_of(message.payload, message.len), again);
    return !partition.unreadable;
}

void Source::deliver(PartitionId id, Partition& partition) {
    const Epoch epoch = partition.epoch;
    while (open_) {
        const auto found = partitions_.find(id);
        if (found == partitions_.end() || found->second.epoch != epoch || found->second.held.empty()) return;
        if (found->second.stage != Stage::kAnnounced || found->second.unreadable) return;
        if (!is_readable(id, found->second)) return;
        const Message message = std::move(found->second.held.front());
        found->second.held.pop_front();
        found->second.position = std::max(found->second.position, message->offset + 1);
        found->second.moved = parts_.clock.now();
        parts_.deliver(record_of(*message, epoch));
    }
}

Record Source::record_of(const rd_kafka_message_t& message, Epoch epoch) const {
    Record record;
    record.position = {message.partition, message.offset};
    record.epoch = epoch;
    record.key = std::string(bytes_of(message.key, message.key_len));
    record.payload = std::string(bytes_of(message.payload, message.len));
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    record.timestamp = rd_kafka_message_timestamp(&message, &kind);
    record.origin = record.position;
    const HeaderView headers(message);
    if (const auto trace = headers.text(kTraceparent); trace && trace->size() <= kMaxTraceHeader) {
        record.traceparent = std::string(*trace);
        if (const auto state = headers.text(kTracestate); state && state->size() <= kMaxTraceHeader)
            record.tracestate = std::string(*state);
    }
    PackedHeaders carried = pack_headers(headers.raw());
    if (carried.cut)
        parts_.listener.log(Severity::kWarning, "headers_cut",
                            "of the record at " + std::to_string(record.position.offset) + " of partition " +
                                std::to_string(record.position.partition));
    record.other_headers = std::move(carried.packed);
    const auto partition = headers.number(kOriginPartition);
    const auto offset = headers.number(kOriginOffset);
    const auto round = headers.number(kRequeueRound);
    if (partition && offset && round && *round > 0) {
        record.origin = {static_cast<PartitionId>(*partition), *offset};
        record.requeue_round = static_cast<std::uint32_t>(std::min<std::int64_t>(*round, UINT32_MAX));
        record.deliveries =
            static_cast<std::int32_t>(std::min<std::int64_t>(headers.number(kDeliveries).value_or(0), INT32_MAX));
    }
    return record;
}

void Source::every_second() {
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired()) return;
        // A loss that comes while partitions are being let go of in order: there is nothing to wait for any more.
        if (revocation_ && rd_kafka_assignment_lost(client_->raw()) != 0) {
            for (auto& [id, partition] : partitions_) {
                if (revocation_->waiting.contains(id)) parts_.deliver(PartitionRevoked{id, partition.epoch, true});
            }
            finish_revocation();
        }
        ask_ends();
        constexpr int kSecondsBetweenLooks = 5;
        if (++seconds_ % kSecondsBetweenLooks == 0) look_at_topic();
        look_at_renewal();
        watch_progress();
        serve();
        if (!alive.expired()) every_second();
    });
}

void Source::ask_ends() {
    if (!admin_ || asking_ends_ || closed_) return;
    if (partitions_.empty()) return ask_whether_alive();
    asking_ends_ = true;
    std::vector<OffsetQuestion> questions;
    for (const auto& [id, partition] : partitions_)
        questions.push_back({id, RD_KAFKA_OFFSET_SPEC_LATEST});
    admin_->offsets(parts_.options.tickets_topic, questions, [this, asked = parts_.clock.now()](auto ends) {
        asking_ends_ = false;
        answered(ends || is_answer(ends.error()), asked);
        if (!ends) return;
        for (const auto& [id, end] : *ends) {
            const auto found = partitions_.find(id);
            if (found == partitions_.end()) continue;
            found->second.end = end;
            parts_.listener.behind(id, std::max<Offset>(0, end - found->second.position));
        }
    });
}

// Without partitions nothing else is asked, and the client itself may have given up without a word.
void Source::ask_whether_alive() {
    if (std::exchange(asking_whether_alive_, true)) return;
    admin_->describe(parts_.options.tickets_topic, [this, asked = parts_.clock.now()](Result<TopicFacts> facts) {
        asking_whether_alive_ = false;
        answered(facts || is_answer(facts.error()), asked);
    });
}

void Source::answered(bool yes, MonoTime asked) {
    if (std::exchange(connected_, yes) != yes) parts_.listener.connected(yes);
    if (yes) return silence_.answered();
    // While there are partitions their session decides: made anew, this member would lose what it is working on.
    if (!partitions_.empty() || closed_ || parts_.retirement.full()) return;
    if (silence_.failed(asked, parts_.clock.now()))
        rejoin("the brokers have not answered for some time", Severity::kWarning);
}

// Health is not that the process is up: a partition that is behind, may be read, and does not move, is stuck.
void Source::watch_progress() {
    const MonoTime now = parts_.clock.now();
    std::vector<PartitionId> stuck;
    for (auto& [id, partition] : partitions_) {
        const bool may_move = partition.stage != Stage::kReleasing && partition.stage != Stage::kReleased &&
                              connected_ && (partition.stage != Stage::kAnnounced || (open_ && !partition.unreadable));
        const bool behind = partition.end > partition.position || partition.stage == Stage::kCatchingUp;
        if (!may_move || !behind) partition.moved = now;
        const bool stalled = now - partition.moved > parts_.options.stall_limit;
        if (stalled != partition.stalled) parts_.listener.stalled(id, stalled);
        partition.stalled = stalled;
        if (stalled) stuck.push_back(id);
    }
    if (stuck.empty()) {
        heals_ = 0;
        return;
    }
    for (const PartitionId id : stuck)
        heal(id);
}

// First the fetch is begun anew where it stands; should that not help, this member joins the group anew.
void Source::heal(PartitionId id) {
    const auto found = partitions_.find(id);
    if (found == partitions_.end()) return;
    Partition& partition = found->second;
    partition.moved = parts_.clock.now();
    parts_.listener.log(Severity::kError, "partition_stalled",
                        "partition " + std::to_string(id) + " stands at " + std::to_string(partition.position) +
                            " of " + std::to_string(partition.end) + "; its fetch is begun anew");
    if (++heals_ > kRejoinAfterHeals) return rejoin("partition " + std::to_string(id) + " does not move");
    const PartitionList list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), parts_.options.tickets_topic.c_str(), id)->offset =
        partition.held.empty() ? partition.position : partition.held.back()->offset + 1;
    const ClientError error(rd_kafka_seek_partitions(client_->raw(), list.get(), 0));
}

// A topic of the same name that was made anew begins its offsets again, and the client may read on as if nothing had
// happened, or wait for offsets that are long to come.
void Source::look_at_topic() {
    if (!admin_ || partitions_.empty() || pending_ || closed_) return;
    admin_->describe(parts_.options.tickets_topic, [this](Result<TopicFacts> facts) {
        if (!facts || partitions_.empty() || pending_ || closed_) return;  // a topic that is away may come back
        if (facts->id != topic_id_) topic_made_anew("its id changed");
    });
}

void Source::topic_made_anew(std::string why) {
    if (rejoining_) return;
    for (const auto& [id, partition] : partitions_)
        parts_.listener.loss_suspected(id, parts_.options.tickets_topic + " was made anew: " + why);
    // The client read on, and commits name topics: they say nothing about the new one. It is read from its beginning;
    // what completed since is recognised by its id.
    commits_void_ = true;
    rejoin("the tickets topic was made anew");
}

// Partitions are given up in good order first; whoever had them before this may have them after it.
void Source::renew() {
    if (closed_ || renewing_) return;
    renewing_ = parts_.clock.now() + kGiveUpInOrder;
    rd_kafka_unsubscribe(client_->raw());
}

void Source::look_at_renewal() {
    if (!renewing_ || closed_) return;
    const bool given_up = partitions_.empty() && !revocation_ && !pending_;
    if (!given_up && parts_.clock.now() < *renewing_) return;
    rejoin("to use what its files hold now", Severity::kInfo);
}

// A consumer that is made anew voids everything of the old one (cluster-rule 2).
void Source::rejoin(std::string why, Severity severity) {
    if (std::exchange(rejoining_, true)) return;
    parts_.listener.log(severity, "consumer_made_anew", std::move(why));
    boost::asio::post(parts_.loop, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        rejoining_ = false;
        if (closed_) return;
        lose_everything("consumer made anew");
        heals_ = 0;
        renewing_.reset();
        ++generation_;
        // The group waits for an answer to what it said, and so would the end of this member.
        if (pending_) take_up(false);
        if (revocation_) finish_revocation();
        assignment_known_ = false;
        asking_ends_ = asking_whether_alive_ = false;
        drop_client();
        join_again();
    });
}

void Source::join_again() {
    auto joined = open();
    if (joined) joined = start();
    if (joined) return;
    parts_.listener.log(Severity::kError, "consumer_failed", joined.error().describe());
    retry_.expires_after(std::chrono::seconds(1));
    retry_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) join_again();
    });
}

std::shared_ptr<Client> Source::client() const {
    const std::lock_guard lock(client_mutex_);
    return client_;
}

void Source::lose_everything(std::string_view /*why*/) {
    std::map<PartitionId, Partition> gone = std::exchange(partitions_, {});
    for (auto& [id, partition] : gone) {
        parts_.listener.behind(id, -1);
        if (partition.queue) Wakeup::ignore(partition.queue.get());
        if (partition.stage == Stage::kAnnounced || partition.stage == Stage::kReleasing)
            parts_.deliver(PartitionRevoked{id, partition.epoch, true});
    }
    parts_.listener.partitions_assigned(0);
}

void Source::close(Duration limit, std::function<void()> done) {
    closed_ = std::move(done);
    open_ = false;
    timer_.cancel();
    // Closing takes the partitions away by an event of its own, which is answered at once: the engine is done.
    if (pending_) take_up(false);
    if (revocation_) finish_revocation();
    ClientError(rd_kafka_consumer_close_queue(client_->raw(), queue_.get())).reset();
    const MonoTime end = parts_.clock.now() + limit;
    const auto look = [this, end, alive = std::weak_ptr<bool>(alive_)](const auto& again) -> void {
        if (alive.expired()) return;
        serve_events();
        if (rd_kafka_consumer_closed(client_->raw()) != 0 || parts_.clock.now() >= end)
            return std::exchange(closed_, {})();
        closing_.expires_after(std::chrono::milliseconds(10));
        closing_.async_wait([again](const boost::system::error_code& error) {
            if (!error) again(again);
        });
    };
    look(look);
}

GroupMetadata Source::group_metadata() const {
    const auto consumer = client();
    if (!consumer) return nullptr;
    GroupMetadata metadata(rd_kafka_consumer_group_metadata(consumer->raw()));
    if (!metadata || rd_kafka_consumer_group_metadata_generation_id(metadata.get()) < 0) return nullptr;
    const char* member = rd_kafka_consumer_group_metadata_member_id(metadata.get());
    if (member == nullptr || *member == '\0') return nullptr;
    return metadata;
}

rd_kafka_resp_err_t Source::commit(const rd_kafka_topic_partition_list_t& offsets,
                                   const std::function<bool()>& give_up) const {
    const auto consumer = client();
    if (!consumer || !group_metadata()) return RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    // The client's own call waits as long as it takes; an answer by queue may be given up.
    const Queue answers(rd_kafka_queue_new(consumer->raw()));
    if (const auto code = rd_kafka_commit_queue(consumer->raw(), &offsets, answers.get(), nullptr, nullptr);
        code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    const MonoTime end = parts_.clock.now() + kCommitLimit;
    while (!give_up() && parts_.clock.now() < end) {
        const Event event(rd_kafka_queue_poll(answers.get(), 200));
        if (event && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_OFFSET_COMMIT)
            return rd_kafka_event_error(event.get());
    }
    return RD_KAFKA_RESP_ERR__TIMED_OUT;
}

void Source::committed_now(std::function<void(SinkRecovered)> answer) {
    std::vector<PartitionId> ids;
    std::map<PartitionId, Epoch> epochs;
    for (const auto& [id, partition] : partitions_) {
        if (partition.stage != Stage::kAnnounced && partition.stage != Stage::kReleasing) continue;
        ids.push_back(id);
        epochs[id] = partition.epoch;
    }
    if (ids.empty() || !admin_) return answer(SinkRecovered{});
    admin_->committed(parts_.options.group, parts_.options.tickets_topic, ids, [this, answer, epochs](auto committed) {
        if (!committed) {
            // Whatever the reason: without an answer nothing may be sent.
            auto timer = std::make_shared<boost::asio::steady_timer>(parts_.loop, kAskAgain);
            timer->async_wait(
                [this, answer, timer, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
                    if (!error && !alive.expired()) committed_now(answer);
                });
            return;
        }
        SinkRecovered recovered;
        for (const auto& [id, entry] : *committed) {
            const auto epoch = epochs.find(id);
            if (epoch == epochs.end()) continue;
            MarkedMetadata read = read_mark(entry.metadata);
            const bool of_another = !read.topic_id.empty() && read.topic_id != topic_id_;
            recovered.partitions.push_back(RecoveredPartition{id, epoch->second,
                                                              of_another ? 0 : std::max<Offset>(0, entry.offset),
                                                              of_another ? std::string() : std::move(read.text)});
        }
        answer(std::move(recovered));
    });
}

std::string Source::stalled() const {
    for (const auto& [id, partition] : partitions_) {
        if (partition.stalled) {
            return "partition " + std::to_string(id) +
                   " does not move: " + std::to_string(partition.end - partition.position) + " behind";
        }
    }
    return {};
}

std::vector<Source::PartitionState> Source::partitions() const {
    std::vector<PartitionState> states;
    for (const auto& [id, partition] : partitions_)
        states.push_back({id, partition.position, partition.end});
    return states;
}

}  // namespace wa::kafka
