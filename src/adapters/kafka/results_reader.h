// Reads the results topic: every partition, committed records only, outside any group. What it sees wakes tickets that
// wait, recognises repeats, and tells what the last owner of a partition finished (design.md "Parking"; cluster-rules
// 9, 12, 15, 16, 17).
//
// It begins where the oldest ticket in hand may need it, and looks back further, once, for what is older. Keys are
// matched before anything is decoded.
//
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "adapters/kafka/admin_calls.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/headers.h"
#include "adapters/kafka/retirement.h"
#include "adapters/kafka/silence.h"
#include "adapters/kafka/wakeup.h"
#include "base/clock.h"
#include "ports/ticket_service.h"

namespace wa::kafka {

// How a result ended its ticket, read from its bytes: for results of others, whose headers do not say it. `done` is
// called once: within the call, or later on the loop when it takes a schema to read it; with nullopt when it cannot be
// read.
struct DecodedEnding {
    bool completed = false;
    std::string detail;
};
using EndingDecoded = std::function<void(std::optional<DecodedEnding>)>;
using DecodeEnding = std::function<void(std::string_view payload, EndingDecoded done)>;

class ResultsReader {
public:
    struct Outputs {
        std::function<void(EndingSeen)> ending;
        std::function<void(ResultsReaderCaughtUp)> caught_up;
    };
    static Result<std::unique_ptr<ResultsReader>> make(boost::asio::io_context& loop, const Clock& clock,
                                                       const Options& options, Listener& listener,
                                                       Retirement& retirement, DecodeEnding decode, Outputs outputs);
    ~ResultsReader();
    ResultsReader(const ResultsReader&) = delete;
    ResultsReader& operator=(const ResultsReader&) = delete;

    // A ticket created at `created_at` is about to be taken: what ended since then must be known. Before the first call
    // nothing is read.
    void need_from(EpochMillis created_at);
    // Calls back when everything that was committed to the results before this call has been read. Never, if the
    // brokers stay away.
    void when_caught_up(std::function<void()> done);
    // Finished source offsets at or above `from` that were seen in results, as ranges [from, to), in order of their
    // begins; they may overlap. Of the topic with this id, and of results that say none: a topic that was made anew
    // begins its offsets again, and what is finished in the old one says nothing about them.
    [[nodiscard]] std::vector<std::pair<Offset, Offset>> finished(const std::string& topic_id, PartitionId partition,
                                                                  Offset from) const;
    // The newest endings of tickets of this partition, oldest first, one for each ticket: whoever takes the partition
    // over says them once more to those who may have missed them (cluster-rule 9).
    [[nodiscard]] std::vector<EndingSeen> recent(PartitionId partition) const;
    // Somebody waits for these tickets and has not heard of them: look through all that is there, the same id at most
    // once a minute.
    void look_back(const std::vector<std::string>& ticket_ids);
    // Empty = it reads, or nothing is to be read yet; else why not, for people.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    // Goes on where it stands, with what the files of certificates hold now.
    void renew();

private:
    struct Position {
        Offset next = 0;
        Offset end = -1;  // stable end as of the last question; -1 = not known
    };
    struct Waiter {
        MonoTime since{};
        std::function<void()> done;
    };
    // A pass over what lies before the start, for some tickets.
    struct LookBack {
        std::unordered_set<std::string> ids;
        std::map<PartitionId, Offset> until;
        std::map<PartitionId, Offset> next;
        bool everything = false;     // for older tickets, not for some ids
        EpochMillis began_from = 0;  // what began_from_ was before
        MonoTime moved{};            // when something was last read
        std::shared_ptr<Client> client;
        std::unique_ptr<Wakeup> wakeup;
        Queue queue;
    };

    ResultsReader(boost::asio::io_context& loop, const Clock& clock, const Options& options, Listener& listener,
                  Retirement& retirement, DecodeEnding decode, Outputs outputs);
    Result<void> open();
    Result<void> connect();
    void drop_client();
    void drop_look_back();
    [[nodiscard]] Result<std::shared_ptr<Client>> make_client(std::string_view name) const;
    void begin();
    void heard(bool answer, MonoTime asked);
    void assign(const std::map<PartitionId, Offset>& starts);
    void look_for_partitions();
    void serve();
    void take(const rd_kafka_message_t& message);
    void ask_ends();
    void ends_known(MonoTime asked_at, const std::map<PartitionId, Offset>& ends);
    void check_caught_up();
    void every_second();
    [[nodiscard]] std::map<PartitionId, Offset> read_so_far() const;
    void start_look_back();
    void serve_look_back();
    void watch_look_back();
    void finish_look_back();
    void remember(const ResultOrigin& origin);
    void remember_recent(PartitionId partition, const EndingSeen& ending);
    void tell_ending(const rd_kafka_message_t& message, const HeaderView& headers, std::string_view key,
                     std::optional<PartitionId> our_partition);
    void tell(EndingSeen ending, std::optional<PartitionId> our_partition);
    [[nodiscard]] bool waits_for_schemas() const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    const Options& options_;
    Listener& listener_;
    Retirement& retirement_;
    DecodeEnding decode_;
    Outputs outputs_;
    std::shared_ptr<Client> client_;
    std::unique_ptr<AdminCalls> admin_;
    std::unique_ptr<Wakeup> wakeup_;
    Queue queue_;
    boost::asio::steady_timer timer_;
    std::optional<EpochMillis> needed_from_;
    std::string trouble_;
    std::string topic_id_;  // empty = not known yet
    bool beginning_ = false;
    bool begun_ = false;
    EpochMillis began_from_ = 0;
    std::map<PartitionId, Position> positions_;
    std::map<PartitionId, Offset> starts_;
    bool asking_ = false;
    Silence silence_;
    bool ask_again_ = false;
    MonoTime ends_as_of_ = MonoTime::min();
    MonoTime told_caught_up_ = MonoTime::min();
    std::vector<Waiter> waiters_;
    // Ranges [key, value) of finished source offsets; neighbours are joined, so that there are few.
    std::map<std::pair<std::string, PartitionId>, std::map<Offset, Offset>> finished_;
    std::map<PartitionId, std::deque<EndingSeen>> recent_;
    std::unordered_set<std::string> look_back_wanted_;
    std::unordered_map<std::string, MonoTime> looked_back_;
    std::unique_ptr<LookBack> look_back_;
    bool looking_back_starts_ = false;
    bool reading_older_ = false;      // what older tickets need is being read: until then nothing is caught up
    std::deque<MonoTime> undecoded_;  // since when endings wait for a schema
    int seconds_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::kafka
