#include "adapters/kafka/results_reader.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace wa::kafka {
namespace {

constexpr Duration kQuestionTimeout = std::chrono::seconds(10);
constexpr std::size_t kTurn = 500;          // records in one turn of the loop
constexpr std::size_t kMaxRanges = 20'000;  // of finished source offsets, per partition
constexpr std::size_t kMaxTopicId = 64;
constexpr std::size_t kMaxFinishedSets = 100'000;  // partitions, of all topics of that name
constexpr std::size_t kMaxRecent = 1000;           // endings, per partition
constexpr EpochMillis kRecent = 120'000;
constexpr Duration kLookAgain = std::chrono::minutes(1);
constexpr std::size_t kMaxLookedBack = 200'000;
constexpr std::size_t kMaxDetail = 200;
constexpr Duration kSchemaPatience = std::chrono::seconds(10);
constexpr Duration kLookBackPatience = std::chrono::seconds(30);

std::string_view bytes_of(const void* data, std::size_t size) {
    return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace

Result<std::unique_ptr<ResultsReader>> ResultsReader::make(boost::asio::io_context& loop, const Clock& clock,
                                                           const Options& options, Listener& listener,
                                                           Retirement& retirement, DecodeEnding decode,
                                                           Outputs outputs) {
    std::unique_ptr<ResultsReader> reader(
        new ResultsReader(loop, clock, options, listener, retirement, std::move(decode), std::move(outputs)));
    WA_CHECKED(reader->open());
    return reader;
}

ResultsReader::ResultsReader(boost::asio::io_context& loop, const Clock& clock, const Options& options,
                             Listener& listener, Retirement& retirement, DecodeEnding decode, Outputs outputs)
    : loop_(loop),
      clock_(clock),
      options_(options),
      listener_(listener),
      retirement_(retirement),
      decode_(std::move(decode)),
      outputs_(std::move(outputs)),
      timer_(loop) {}

ResultsReader::~ResultsReader() {
    alive_.reset();
    timer_.cancel();
    drop_look_back();
    drop_client();
}

void ResultsReader::drop_client() {
    if (queue_) Wakeup::ignore(queue_.get());
    queue_.reset();
    admin_.reset();
    wakeup_.reset();
    client_.reset();
}

void ResultsReader::drop_look_back() {
    if (look_back_ && look_back_->queue) Wakeup::ignore(look_back_->queue.get());
    look_back_.reset();
}

Result<std::shared_ptr<Client>> ResultsReader::make_client(std::string_view name) const {
    constexpr int kKilobytes = 1024;
    WA_TRY(auto made, Client::make(RD_KAFKA_CONSUMER, Configuration::of_reader(options_, name, kKilobytes), listener_));
    return retirement_.share(std::move(made));
}

Result<void> ResultsReader::open() {
    WA_CHECKED(connect());
    every_second();
    return {};
}

// The new one is whole before the old one goes.
Result<void> ResultsReader::connect() {
    WA_TRY(auto client, make_client("results"));
    WA_TRY(auto admin, AdminCalls::make(loop_, *client, kQuestionTimeout));
    WA_TRY(auto wakeup, Wakeup::make(loop_, [this] { serve(); }));
    drop_client();
    admin_ = std::move(admin);
    wakeup_ = std::move(wakeup);
    client_ = std::move(client);
    rd_kafka_poll_set_consumer(client_->raw());
    queue_.reset(rd_kafka_queue_get_consumer(client_->raw()));
    wakeup_->watch(queue_.get());
    return {};
}

void ResultsReader::renew() {
    if (auto connected = connect(); !connected)
        return listener_.log(Severity::kError, "results_reader_failed", connected.error().describe());
    // Questions to the old client stay without an answer; they are asked again.
    asking_ = ask_again_ = looking_back_starts_ = beginning_ = false;
    if (begun_) assign({});
}

// A client that knows no brokers any more would read nothing for ever.
void ResultsReader::heard(bool answer, MonoTime asked) {
    if (answer) return silence_.answered();
    if (!silence_.failed(asked, clock_.now()) || retirement_.full()) return;
    listener_.log(Severity::kWarning, "results_reader_made_anew", "the brokers have not answered for some time");
    // What asked is a part of what is made anew.
    boost::asio::post(loop_, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) renew();
    });
}

void ResultsReader::need_from(EpochMillis created_at) {
    const EpochMillis from = std::max<EpochMillis>(0, created_at - to_millis(options_.results_margin));
    if (!needed_from_ || from < *needed_from_) needed_from_ = from;
    if (!begun_) begin();
}

void ResultsReader::begin() {
    if (beginning_) return;
    beginning_ = true;
    const auto again = [this, asked = clock_.now(), alive = std::weak_ptr<bool>(alive_)](const Error& error) {
        if (alive.expired()) return;
        beginning_ = false;  // every_second() tries again
        heard(is_answer(error), asked);
        trouble_ = "results cannot be read: " + error.describe();
        listener_.log(Severity::kWarning, "results_reader_waits", error.describe());
    };
    admin_->partition_count(options_.results_topic, [this, again](Result<std::int32_t> count) {
        if (!count) return again(count.error());
        // Two questions: where records of that age begin, and the end, which must be asked before: a partition without
        // such records is read from the end as it was then (cluster-rule 16).
        std::vector<OffsetQuestion> ends;
        std::vector<OffsetQuestion> times;
        const EpochMillis from = *needed_from_;
        for (PartitionId id = 0; id < *count; ++id) {
            ends.push_back({id, RD_KAFKA_OFFSET_SPEC_LATEST});
            times.push_back({id, from});
        }
        admin_->offsets(options_.results_topic, ends, [this, again, times, from](auto known_ends) {
            if (!known_ends) return again(known_ends.error());
            admin_->offsets(options_.results_topic, times, [this, again, from, ends = *known_ends](auto starts) {
                if (!starts) return again(starts.error());
                silence_.answered();
                beginning_ = false;
                begun_ = true;
                trouble_.clear();
                began_from_ = from;
                for (auto& [id, offset] : *starts) {
                    if (offset < 0) offset = ends.contains(id) ? ends.at(id) : 0;
                }
                assign(*starts);
                if (*needed_from_ < from) start_look_back();
                ask_ends();
            });
        });
    });
}

void ResultsReader::assign(const std::map<PartitionId, Offset>& starts) {
    for (const auto& [id, offset] : starts) {
        positions_[id].next = offset;
        starts_[id] = offset;
    }
    const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(positions_.size())));
    for (const auto& [id, position] : positions_)
        rd_kafka_topic_partition_list_add(list.get(), options_.results_topic.c_str(), id)->offset = position.next;
    if (const auto code = rd_kafka_assign(client_->raw(), list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        listener_.log(Severity::kError, "results_reader_failed", to_error(code, "read the results").describe());
}

// A partition that is added later is read from its beginning (cluster-rule 16), and so is all of a topic that was made
// anew.
void ResultsReader::look_for_partitions() {
    admin_->describe(options_.results_topic, [this](Result<TopicFacts> facts) {
        if (!facts) return;
        if (!topic_id_.empty() && topic_id_ != facts->id) {
            listener_.log(Severity::kError, "results_topic_made_anew", options_.results_topic);
            positions_.clear();
            starts_.clear();
        }
        topic_id_ = facts->id;
        if (static_cast<std::size_t>(facts->partitions) <= positions_.size()) return;
        std::map<PartitionId, Offset> added;
        for (PartitionId id = 0; id < facts->partitions; ++id) {
            if (!positions_.contains(id)) added[id] = 0;
        }
        assign(added);
        ask_ends();
    });
}

void ResultsReader::serve() {
    const std::weak_ptr<bool> alive = alive_;
    for (std::size_t taken = 0; taken < kTurn; ++taken) {
        const Message message(rd_kafka_consumer_poll(client_->raw(), 0));
        if (!message) return check_caught_up();
        take(*message);
        if (alive.expired()) return;
    }
    check_caught_up();
    if (alive.expired()) return;
    boost::asio::post(loop_, [this, alive] {
        if (!alive.expired()) serve();
    });
}

void ResultsReader::take(const rd_kafka_message_t& message) {
    const auto found = positions_.find(message.partition);
    if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (found != positions_.end()) found->second.next = std::max(found->second.next, message.offset);
        return;
    }
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return listener_.log(Severity::kWarning, "results_reader_error",
                             to_error(message.err, "read the results", rd_kafka_message_errstr(&message)).describe());
    }
    if (found != positions_.end()) found->second.next = std::max(found->second.next, message.offset + 1);
    const HeaderView headers(message);
    const std::string_view key = bytes_of(message.key, message.key_len);
    const auto origin = result_origin(headers);
    const bool ours = origin && origin->topic == options_.tickets_topic;
    if (ours) remember(*origin);
    tell_ending(message, headers, key, ours ? std::optional(origin->position.partition) : std::nullopt);
}

void ResultsReader::tell_ending(const rd_kafka_message_t& message, const HeaderView& headers, std::string_view key,
                                std::optional<PartitionId> our_partition) {
    if (key.empty()) return;
    EndingSeen ending;
    ending.ticket_id = std::string(key);
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    ending.at = rd_kafka_message_timestamp(&message, &kind);
    if (const auto status = headers.text(kStatus)) {
        ending.completed = *status == "COMPLETED";
        if (!ending.completed) ending.detail = std::string(*status);
        return tell(std::move(ending), our_partition);
    }
    const MonoTime since = clock_.now();
    undecoded_.push_back(since);
    decode_(bytes_of(message.payload, message.len), [this, since, our_partition, ending = std::move(ending),
                                                     alive = std::weak_ptr<bool>(alive_)](auto decoded) mutable {
        if (alive.expired()) return;
        undecoded_.erase(std::find(undecoded_.begin(), undecoded_.end(), since));
        if (!decoded) return;
        ending.completed = decoded->completed;
        ending.detail = std::move(decoded->detail);
        tell(std::move(ending), our_partition);
    });
}

void ResultsReader::tell(EndingSeen ending, std::optional<PartitionId> our_partition) {
    if (ending.detail.size() > kMaxDetail) ending.detail.resize(kMaxDetail);
    if (our_partition) remember_recent(*our_partition, ending);
    outputs_.ending(std::move(ending));
}

// What cannot be read yet is waited for as if it had not been read, for a while: a registry that stays away must not
// hold everything up.
bool ResultsReader::waits_for_schemas() const {
    return !undecoded_.empty() && clock_.now() - undecoded_.front() < kSchemaPatience;
}

void ResultsReader::remember(const ResultOrigin& origin) {
    if (origin.topic_id.size() > kMaxTopicId) return;
    if (!finished_.contains({origin.topic_id, origin.position.partition}) && finished_.size() >= kMaxFinishedSets)
        return;
    std::map<Offset, Offset>& ranges = finished_[{origin.topic_id, origin.position.partition}];
    const Offset offset = origin.position.offset;
    auto after = ranges.upper_bound(offset);
    if (after != ranges.begin()) {
        const auto before = std::prev(after);
        if (offset < before->second) return;
        if (offset == before->second) {
            before->second = offset + 1;
            if (after != ranges.end() && after->first == before->second) {
                before->second = after->second;
                ranges.erase(after);
            }
            return;
        }
    }
    if (after != ranges.end() && after->first == offset + 1) {
        const Offset to = after->second;
        ranges.erase(after);
        ranges.emplace(offset, to);
    } else {
        ranges.emplace(offset, offset + 1);
    }
    // The lowest go first: they are below what anybody commits.
    if (ranges.size() > kMaxRanges) ranges.erase(ranges.begin());
}

std::vector<std::pair<Offset, Offset>> ResultsReader::finished(const std::string& topic_id, PartitionId partition,
                                                               Offset from) const {
    std::vector<std::pair<Offset, Offset>> ranges;
    const auto add = [&](const std::string& id) {
        const auto found = finished_.find({id, partition});
        if (found == finished_.end()) return;
        for (const auto& [begin, end] : found->second) {
            if (end > from) ranges.emplace_back(std::max(begin, from), end);
        }
    };
    add(topic_id);
    if (!topic_id.empty()) add({});
    std::sort(ranges.begin(), ranges.end());
    return ranges;
}

void ResultsReader::remember_recent(PartitionId partition, const EndingSeen& ending) {
    std::deque<EndingSeen>& endings = recent_[partition];
    endings.push_back(ending);
    while (endings.size() > kMaxRecent || endings.front().at < ending.at - kRecent)
        endings.pop_front();
}

std::vector<EndingSeen> ResultsReader::recent(PartitionId partition) const {
    std::vector<EndingSeen> newest;
    const auto found = recent_.find(partition);
    if (found == recent_.end()) return newest;
    const EpochMillis since = clock_.wall_now() - kRecent;
    std::unordered_set<std::string_view> told;
    for (auto ending = found->second.rbegin(); ending != found->second.rend(); ++ending) {
        if (ending->at >= since && told.insert(ending->ticket_id).second) newest.push_back(*ending);
    }
    std::reverse(newest.begin(), newest.end());
    return newest;
}

void ResultsReader::when_caught_up(std::function<void()> done) {
    waiters_.push_back(Waiter{clock_.now(), std::move(done)});
    ask_ends();
}

void ResultsReader::ask_ends() {
    if (!begun_) return;
    if (asking_) {
        ask_again_ = true;
        return;
    }
    asking_ = true;
    std::vector<OffsetQuestion> questions;
    for (const auto& [id, position] : positions_)
        questions.push_back({id, RD_KAFKA_OFFSET_SPEC_LATEST});
    admin_->offsets(options_.results_topic, questions, [this, asked_at = clock_.now()](auto ends) {
        asking_ = false;
        heard(ends || is_answer(ends.error()), asked_at);
        if (ends) {
            ends_known(asked_at, *ends);
        } else {
            listener_.log(Severity::kDebug, "results_reader_waits", ends.error().describe());
        }
        if (std::exchange(ask_again_, false)) ask_ends();
    });
}

void ResultsReader::ends_known(MonoTime asked_at, const std::map<PartitionId, Offset>& ends) {
    ends_as_of_ = asked_at;
    for (const auto& [id, end] : ends) {
        if (const auto found = positions_.find(id); found != positions_.end()) found->second.end = end;
    }
    check_caught_up();
}

void ResultsReader::check_caught_up() {
    if (!begun_ || reading_older_ || ends_as_of_ == MonoTime::min() || waits_for_schemas()) return;
    std::int64_t behind = 0;
    for (const auto& [id, position] : positions_) {
        if (position.end < 0) return;
        behind += std::max<Offset>(0, position.end - position.next);
    }
    if (behind > 0) return;
    const std::weak_ptr<bool> alive = alive_;
    if (told_caught_up_ < ends_as_of_) {
        told_caught_up_ = ends_as_of_;
        outputs_.caught_up(ResultsReaderCaughtUp{ends_as_of_});
    }
    std::vector<Waiter> due;
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        if (waiter->since > ends_as_of_) {
            ++waiter;
            continue;
        }
        due.push_back(std::move(*waiter));
        waiter = waiters_.erase(waiter);
    }
    for (const Waiter& waiter : due) {
        if (alive.expired()) return;
        waiter.done();
    }
}

void ResultsReader::every_second() {
    timer_.expires_after(std::chrono::milliseconds(500));
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired()) return;
        if (needed_from_ && !begun_) begin();
        if (begun_) ask_ends();
        constexpr int kTurnsBetweenLooks = 18;
        if (begun_ && ++seconds_ % kTurnsBetweenLooks == 0) look_for_partitions();
        watch_look_back();
        if (begun_ && !look_back_wanted_.empty()) start_look_back();
        std::int64_t behind = 0;
        for (const auto& [id, position] : positions_)
            behind += std::max<Offset>(0, position.end - position.next);
        listener_.results_behind(behind);
        serve();  // should a wake-up ever be missed
        if (!alive.expired()) every_second();
    });
}

void ResultsReader::look_back(const std::vector<std::string>& ticket_ids) {
    const MonoTime now = clock_.now();
    if (looked_back_.size() >= kMaxLookedBack)
        std::erase_if(looked_back_, [now](const auto& entry) { return now - entry.second > kLookAgain; });
    for (const std::string& id : ticket_ids) {
        if (looked_back_.size() >= kMaxLookedBack) break;  // asked again later
        auto [entry, fresh] = looked_back_.try_emplace(id, now);
        if (!fresh && now - entry->second < kLookAgain) continue;
        entry->second = now;
        look_back_wanted_.insert(id);
    }
    if (begun_ && !look_back_wanted_.empty()) start_look_back();
}

std::map<PartitionId, Offset> ResultsReader::read_so_far() const {
    std::map<PartitionId, Offset> ends;
    for (const auto& [id, position] : positions_)
        ends[id] = position.next;
    return ends;
}

// One pass at a time: what is asked for meanwhile shares the next one.
void ResultsReader::start_look_back() {
    if (look_back_ || looking_back_starts_) return;
    std::vector<OffsetQuestion> questions;
    const bool older_tickets = *needed_from_ < began_from_;
    if (look_back_wanted_.empty() && !older_tickets) return;
    // Older tickets need what lies before the start; awaited ids may have been forgotten since, so that all is looked
    // through.
    const auto until = older_tickets ? starts_ : read_so_far();
    for (const auto& [id, end] : until) {
        if (end > 0) questions.push_back({id, RD_KAFKA_OFFSET_SPEC_EARLIEST});
    }
    if (questions.empty()) {
        look_back_wanted_.clear();
        began_from_ = std::min(began_from_, *needed_from_);
        return;
    }
    looking_back_starts_ = true;
    if (older_tickets) {
        for (OffsetQuestion& question : questions)
            question.spec = *needed_from_;
    }
    const bool everything = older_tickets;
    reading_older_ = reading_older_ || older_tickets;
    admin_->offsets(options_.results_topic, questions, [this, everything, until](auto begins) {
        looking_back_starts_ = false;
        if (!begins) return;  // every_second() tries again
        auto client = make_client("look-back");
        if (!client) return listener_.log(Severity::kError, "look_back_failed", client.error().describe());
        look_back_ = std::make_unique<LookBack>();
        look_back_->client = std::move(*client);
        look_back_->moved = clock_.now();
        look_back_->everything = everything;
        look_back_->began_from = began_from_;
        if (!everything) look_back_->ids = std::exchange(look_back_wanted_, {});
        const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(begins->size())));
        for (const auto& [id, begin] : *begins) {
            if (begin < 0 || begin >= until.at(id)) continue;
            look_back_->until[id] = until.at(id);
            look_back_->next[id] = begin;
            rd_kafka_topic_partition_list_add(list.get(), options_.results_topic.c_str(), id)->offset = begin;
        }
        if (everything) {
            // From here on the main reader counts as having begun there.
            began_from_ = *needed_from_;
            for (const auto& [id, begin] : look_back_->next)
                starts_[id] = begin;
        }
        auto wakeup = Wakeup::make(loop_, [this] { serve_look_back(); });
        if (!wakeup || look_back_->next.empty()) return finish_look_back();
        look_back_->wakeup = std::move(*wakeup);
        rd_kafka_poll_set_consumer(look_back_->client->raw());
        look_back_->queue.reset(rd_kafka_queue_get_consumer(look_back_->client->raw()));
        look_back_->wakeup->watch(look_back_->queue.get());
        rd_kafka_assign(look_back_->client->raw(), list.get());
    });
}

void ResultsReader::serve_look_back() {
    if (!look_back_) return;
    const std::weak_ptr<bool> alive = alive_;
    LookBack& pass = *look_back_;
    for (std::size_t taken = 0; taken < kTurn; ++taken) {
        const Message message(rd_kafka_consumer_poll(pass.client->raw(), 0));
        if (!message) break;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            pass.moved = clock_.now();
        const auto next = pass.next.find(message->partition);
        if (next == pass.next.end()) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) next->second = std::max(next->second, message->offset);
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        next->second = std::max(next->second, message->offset + 1);
        if (message->offset >= pass.until.at(message->partition)) continue;
        const std::string_view key = bytes_of(message->key, message->key_len);
        const HeaderView headers(*message);
        if (const auto origin = result_origin(headers); origin && origin->topic == options_.tickets_topic)
            remember(*origin);
        if (!pass.ids.empty() && !pass.ids.contains(std::string(key))) continue;
        tell_ending(*message, headers, key, std::nullopt);
        if (alive.expired()) return;
    }
    const bool over = std::all_of(pass.next.begin(), pass.next.end(),
                                  [&](const auto& entry) { return entry.second >= pass.until.at(entry.first); });
    // Ended from outside of its own wake-up.
    if (over) {
        boost::asio::post(loop_, [this, alive] {
            if (!alive.expired() && look_back_) finish_look_back();
        });
        return;
    }
    boost::asio::post(loop_, [this, alive] {
        if (!alive.expired() && look_back_ && rd_kafka_queue_length(look_back_->queue.get()) > 0) serve_look_back();
    });
}

// A pass whose client has gone silent is begun again with another one: until it is over nothing else is looked for.
void ResultsReader::watch_look_back() {
    if (!look_back_ || clock_.now() - look_back_->moved < kLookBackPatience) return;
    listener_.log(Severity::kWarning, "look_back_begins_again", "nothing has come for some time");
    look_back_wanted_.merge(look_back_->ids);
    if (look_back_->everything) {
        began_from_ = look_back_->began_from;
        for (const auto& [id, start] : look_back_->until)
            starts_[id] = start;
    }
    finish_look_back();
}

void ResultsReader::finish_look_back() {
    drop_look_back();
    reading_older_ = *needed_from_ < began_from_;
    if (!look_back_wanted_.empty() || *needed_from_ < began_from_) start_look_back();
    check_caught_up();
}

}  // namespace wa::kafka
