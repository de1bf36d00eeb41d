// The thread that owns one producer and every transaction of it: endings to Kafka (results, dead letters, alerts,
// re-queued copies and compensation tickets) and the offsets that they settle, in one transaction
// (KAFKA_DELIVERY=exactly_once), or acknowledged first and the offsets after them (at_least_once). Rules: cluster-rules
// 1, 2, 5-10, 12, 14.
//
// Threading: whoever owns it calls on the loop; a thread of its own does the work and posts answers to the loop.
// The client's calls have limits that they do not always keep. One that lasts too long has its connections cut; should
// that not help, the thread is given up: it, its producer and their memory stay until the process ends, and touch
// nothing else any more.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/headers.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/trace/call_watch.h"
#include "ports/result_sink.h"

namespace wa::kafka {

using SinkInput = std::variant<CommitResult, SinkRecovered>;

enum class ValueKind : std::uint8_t {
    kAvro,
    kJson,
    kJsonInsteadOfAvro,  // Avro was wanted and its schema has no id yet; a header says so
};
struct EncodedResult {
    std::string value;
    ValueKind kind = ValueKind::kJson;
};

struct SinkParts {
    boost::asio::io_context& loop;
    const Clock& clock;
    Random& random;  // used on the sink's thread
    const Options& options;
    Listener& listener;
    std::function<void(SinkInput)> deliver;
    // Bytes of a result's value. Sink's thread; must not block.
    std::function<EncodedResult(const ExecutionResult&)> encode_result;
    std::function<std::string(const Ticket&)> encode_ticket;
    // The decoded form of a record that is not JSON, for dead letters; nullopt when it cannot be had.
    std::function<std::optional<Ticket>(std::string_view payload)> decode_ticket;
    // Of the consumer that the offsets belong to; any thread.
    std::function<GroupMetadata()> group_metadata;
    // Sink's thread; blocks until there is an answer or `give_up` says true.
    std::function<rd_kafka_resp_err_t(const rd_kafka_topic_partition_list_t&, const std::function<bool()>& give_up)>
        commit_offsets;
    // Loop.
    std::function<void(std::function<void(SinkRecovered)>)> committed_now;
    // Loop; null = none. Headers about its trace, for what is written about a ticket.
    std::function<CarriedHeaders(std::string_view ticket_id)> trace{};
    // Loop; null = none. Of the topic that the tickets come from.
    std::function<std::string()> topic_id{};
    // A call of the client that lasts longer, whatever limit it was given, has its connections cut; after as long again
    // its thread is given up.
    Duration call_limit = std::chrono::seconds(10);
};

struct SinkOrder {
    CommitBatch batch;
    std::vector<CarriedHeaders> traces;  // of each settlement
    std::string topic_id;
};

class SinkThread final : public std::enable_shared_from_this<SinkThread> {
public:
    // Called on the loop, as long as somebody holds what `wanted` points to.
    struct Answers {
        std::weak_ptr<bool> wanted;
        std::function<void(CommitResult)> settled;
        std::function<void()> recovered;  // the producer is a new one
    };
    static std::shared_ptr<SinkThread> start(const SinkParts& parts, Answers answers);

    // One at a time.
    void give(SinkOrder order);
    // The producer is made anew; said by recovered().
    void recover();
    // The next order goes by a new producer.
    void renew();
    // True once the producer has been made and, with transactions, earlier ones of its id have been ended.
    [[nodiscard]] bool ready() const { return ready_; }
    // Cuts connections of a call that is overdue, and gives the thread up when that has not helped, if it `may`. False:
    // it was given up, and nothing of it may be called any more.
    [[nodiscard]] bool look(bool may);
    // Waits for its end, not for the answer to what it was given. False: it had to be given up.
    [[nodiscard]] bool end();

private:
    SinkThread(const SinkParts& parts, Answers answers) : parts_(parts), answers_(std::move(answers)) {}

    struct Outgoing {
        std::size_t settlement = 0;  // index in the batch
        const std::string* topic = nullptr;
        PartitionId partition = RD_KAFKA_PARTITION_UA;
        std::string key;
        std::string value;
        EpochMillis timestamp = 0;  // 0 = now
        HeaderList headers;
        bool is_copy = false;
        bool taken = false;  // by the client
        // Filled by the delivery report.
        bool delivered = false;
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
        Offset offset = -1;
    };
    enum class Step : std::uint8_t { kOk, kRetry, kAbort, kFatal };
    struct Verdict {
        Step step = Step::kOk;
        std::optional<Error> error;
        bool metadata_too_large = false;
    };

    // While it lives the sink's thread is in a call of the client that may wait.
    class ClientCall {
    public:
        ClientCall(SinkThread& sink, std::string_view what);
        ~ClientCall();
        ClientCall(const ClientCall&) = delete;
        ClientCall& operator=(const ClientCall&) = delete;

    private:
        SinkThread& sink_;
    };

    template <class Call>
    ClientError in_call(std::string_view what, Call call);
    void work();
    void settled(CommitResult result);
    Result<void> make_producer();
    void drop_producer();
    void keep_making_producer();
    CommitResult settle(const CommitBatch& batch);
    CommitResult settle_exactly_once(const CommitBatch& batch);
    CommitResult settle_at_least_once(const CommitBatch& batch);
    std::vector<std::unique_ptr<Outgoing>> outgoing(const CommitBatch& batch);
    void add_result(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index, const Settlement& settlement) const;
    void add_dead_letter(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index, const Settlement& settlement);
    void add_copy(std::vector<std::unique_ptr<Outgoing>>& out, std::size_t index, const Settlement& settlement) const;
    void add_trace(HeaderList& headers, std::size_t index) const;
    void add_origin(HeaderList& headers, std::size_t index, const Settlement& settlement) const;
    void tell_if_dead_letter(const Outgoing& entry) const;
    [[nodiscard]] bool topic_exists(const std::string& topic);
    [[nodiscard]] std::vector<RejectedSettlement> without_target(const CommitBatch& batch,
                                                                 const std::vector<std::unique_ptr<Outgoing>>& out);
    rd_kafka_resp_err_t hand_over(Outgoing& entry);
    // Of a batch of records that the client is about to make, by topic and partition: the bytes in it.
    using Filled = std::map<std::pair<std::string, PartitionId>, std::size_t>;
    [[nodiscard]] bool fits(const Outgoing& entry, Filled& filled) const;
    // Whether the first `count` of them were written.
    [[nodiscard]] bool wait_for_reports(const std::vector<std::unique_ptr<Outgoing>>& out, std::size_t count,
                                        MonoTime patience);
    void note_refused_batches(const std::vector<std::unique_ptr<Outgoing>>& out);
    [[nodiscard]] bool is_refused_alone(const Outgoing& entry, const std::vector<std::unique_ptr<Outgoing>>& out) const;
    Verdict produce(std::vector<std::unique_ptr<Outgoing>>& out, std::vector<RejectedSettlement>& rejected,
                    const CommitBatch& batch);
    Verdict begin_transaction();
    Verdict send_offsets(const CommitBatch& batch);
    Verdict commit_transaction();
    Verdict abort_transaction();
    [[nodiscard]] PartitionList offsets_of(const CommitBatch& batch, const std::string& topic) const;
    Verdict judge(ClientError error, std::string_view what);
    [[nodiscard]] bool stopping() const;

    const SinkParts parts_;
    const Answers answers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::optional<SinkOrder> waiting_;
    bool recover_wanted_ = false;
    bool renew_wanted_ = false;
    bool ended_ = false;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> ready_{false};

    // The sink's thread only.
    std::vector<CarriedHeaders> traces_;  // of the batch under way
    std::string topic_id_;                // the same
    std::unique_ptr<Client> producer_;
    struct KnownTopic {
        bool exists = false;
        MonoTime as_of{};
    };
    std::map<std::string, KnownTopic> topics_;
    // By topic, once a batch of several records was refused as too large: no more bytes than that go into one.
    std::map<std::string, std::size_t> batch_limits_;
    bool brokers_silent_ = false;  // in this batch: they did not say whether a topic is there
    // Delivered, and their offsets not yet committed (at_least_once): not sent again when the batch is.
    std::set<std::pair<Epoch, SourcePosition>> delivered_;
    std::map<std::string, MonoTime> alerted_;  // by ticket id
    std::vector<std::string> alerts_;          // task types of the alerts in the batch under way

    // The call that the thread is in, and when it is overdue; for those who watch it.
    std::mutex call_mutex_;
    bool calling_ = false;
    Client* called_ = nullptr;  // null: none whose connections could be cut
    std::string_view call_;
    MonoTime call_due_{};
    bool cut_ = false;
    bool given_up_ = false;
    std::condition_variable never_;  // what a thread that was given up waits for
    std::thread thread_;
};

}  // namespace wa::kafka
