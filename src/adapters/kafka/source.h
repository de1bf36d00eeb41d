// Tickets from Kafka: one member of a consumer group (design.md "The consumer never stalls"; cluster-rules 1-3, 12, 13,
// 18-20).
//
// Polling goes on whatever else waits. Backpressure is not reading the partitions' own queues; what was fetched stays
// fetched. A partition is announced to the engine only after its committed offset and metadata are known and the
// results reader has passed the end of the results as of the assignment. Whatever is answered later carries the
// generation of the assignment that it was asked under, and is void in another.
//
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "adapters/kafka/admin_calls.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/results_reader.h"
#include "adapters/kafka/retirement.h"
#include "adapters/kafka/silence.h"
#include "adapters/kafka/wakeup.h"
#include "base/clock.h"
#include "ports/result_sink.h"
#include "ports/ticket_source.h"

namespace wa::kafka {

using SourceInput = std::variant<Record, PartitionAssigned, PartitionRevoked>;

class Source final : public TicketSource {
public:
    struct Parts {
        boost::asio::io_context& loop;
        const Clock& clock;
        const Options& options;
        Listener& listener;
        Retirement& retirement;  // must outlive this
        ResultsReader& results;
        std::function<void(SourceInput)> deliver;
        // When a ticket was created, as far as its bytes say; 0 = not known.
        std::function<EpochMillis(std::string_view payload)> created_at;
        // Whether what a record is encoded with is known already. False: it is asked for, and `again` is called when
        // there is an answer; until then the partition waits. Null: everything is readable.
        std::function<bool(std::string_view payload, std::function<void()> again)> readable{};
        // A partition was taken over; these are the newest endings of its tickets.
        std::function<void(std::vector<EndingSeen>)> taken_over{};
    };
    static Result<std::unique_ptr<Source>> make(Parts parts);
    ~Source() override;

    // Joins the group.
    Result<void> start();
    void set_open(bool open) override;
    void release(PartitionId partition, Epoch epoch) override;
    // Leaves the group; `done` comes once, after at most `limit`. Nothing is delivered any more.
    void close(Duration limit, std::function<void()> done);
    // With what the files of certificates hold now: gives all partitions up in good order and joins anew. Calls that
    // come while it does change nothing.
    void renew();

    // For commits: which member of which generation this is. Null while it is in no group (cluster-rule 2). Any thread.
    [[nodiscard]] GroupMetadata group_metadata() const;
    // Commits offsets outside a transaction. Blocks, for a minute at most: not on the loop. `give_up` is asked
    // meanwhile.
    [[nodiscard]] rd_kafka_resp_err_t commit(const rd_kafka_topic_partition_list_t& offsets,
                                             const std::function<bool()>& give_up) const;
    // What the brokers say is committed for the partitions that are ours now. Asks until it has an answer.
    void committed_now(std::function<void(SinkRecovered)> answer);

    // Of the topic that is being read; empty while it is not known. It changes when the topic is made anew; then
    // everything that was read from the old one is lost to this worker.
    [[nodiscard]] const std::string& topic_id() const { return topic_id_; }

    // True when the group has said which partitions are ours, be it none.
    [[nodiscard]] bool assignment_known() const { return assignment_known_; }
    // Empty = every partition moves; else what is stuck, for people.
    [[nodiscard]] std::string stalled() const;
    struct PartitionState {
        PartitionId partition = 0;
        Offset position = 0;
        Offset end = -1;
    };
    [[nodiscard]] std::vector<PartitionState> partitions() const;

private:
    enum class Stage : std::uint8_t {
        kPeeking,     // assigned; its first record says how far back the results matter
        kCatchingUp,  // waits for the results reader
        kAnnounced,   // the engine has it
        kReleasing,   // revoked; the engine lets go of it
        kReleased,
    };
    struct Partition {
        Epoch epoch = 0;
        Stage stage = Stage::kPeeking;
        Queue queue;
        CommittedOffset committed;
        bool fresh = false;   // nothing was committed for it yet
        Offset position = 0;  // next to be read
        Offset end = -1;      // stable end, as of the last question
        Offset end_at_assign = 0;
        std::deque<Message> held;  // taken from the client, not yet delivered
        MonoTime moved{};          // when something was last read, or nothing was there to read
        bool stalled = false;
        bool unreadable = false;  // its next record waits for a schema
    };
    // An assignment that the group made and that this side has not taken up yet.
    struct Pending {
        std::uint64_t generation = 0;
        PartitionList list;
        std::string topic_id;
        std::map<PartitionId, CommittedOffset> committed;
        std::map<PartitionId, Offset> low;
        std::map<PartitionId, Offset> end;
    };
    struct Revocation {
        PartitionList list;
        std::set<PartitionId> waiting;
    };

    explicit Source(Parts parts);
    Result<void> open();
    Result<void> subscribe();
    void look_for_commits();
    [[nodiscard]] std::shared_ptr<Client> client() const;
    void serve();
    bool serve_events();
    void on_rebalance(rd_kafka_event_t& event);
    void on_assign(const rd_kafka_topic_partition_list_t& list);
    void on_revoke(const rd_kafka_topic_partition_list_t& list);
    void ask_about_pending();
    void ask_about_offsets();
    void forget_other_topics(std::map<PartitionId, CommittedOffset>& committed);
    void ask_again(const Error& error, std::uint64_t generation);
    void look_at_topic();
    void topic_made_anew(std::string why);
    void take_up(bool with_answers);
    [[nodiscard]] Offset starting_offset(PartitionId id, const Pending& pending, CommittedOffset& committed) const;
    void finish_revocation();
    void answer_unassign(const rd_kafka_topic_partition_list_t& list);
    void lose_everything(std::string_view why);
    [[nodiscard]] bool cooperative() const;
    bool read_partitions();
    bool fill(PartitionId id, Partition& partition, std::size_t most);
    void peek(PartitionId id, Partition& partition);
    void announce(PartitionId id, Epoch epoch);
    void deliver(PartitionId id, Partition& partition);
    [[nodiscard]] bool is_readable(PartitionId id, Partition& partition);
    [[nodiscard]] Record record_of(const rd_kafka_message_t& message, Epoch epoch) const;
    void every_second();
    void ask_ends();
    void ask_whether_alive();
    void answered(bool yes, MonoTime asked);
    void watch_progress();
    void heal(PartitionId id);
    void look_at_renewal();
    void drop_client();
    void rejoin(std::string why, Severity severity = Severity::kError);
    void join_again();

    Parts parts_;
    // Shared with the thread that commits: it may hold the old one for a moment when the consumer is made anew.
    std::shared_ptr<Client> client_;
    mutable std::mutex client_mutex_;
    std::unique_ptr<AdminCalls> admin_;
    std::unique_ptr<Wakeup> wakeup_;
    Queue queue_;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer retry_;
    boost::asio::steady_timer closing_;
    bool open_ = false;
    bool serving_ = false;
    bool serve_posted_ = false;
    bool assignment_known_ = false;
    bool group_had_commits_ = false;
    bool connected_ = false;
    Epoch next_epoch_ = 1;
    std::uint64_t generation_ = 0;
    std::optional<Pending> pending_;
    std::optional<Revocation> revocation_;
    std::map<PartitionId, Partition> partitions_;
    std::vector<Queue> retired_;  // queues of partitions that left while they were being read
    PartitionId turn_ = 0;        // whose turn it is to be read first
    bool asking_ends_ = false;
    bool asking_whether_alive_ = false;
    Silence silence_;
    std::string topic_id_;
    bool rejoining_ = false;
    bool commits_void_ = false;  // what is committed counts records of a topic that is gone
    int seconds_ = 0;
    int heals_ = 0;
    std::optional<MonoTime> renewing_;  // until then, in good order
    std::function<void()> closed_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::kafka
