// The dead letter topic, for people: what lies there, and sending it back (contract/tickets.md 6).
//
// Committed records only, outside any group. An index of the newest letters is kept while somebody asks; a letter's
// value is fetched when it is shown. Other programs write to this topic too: their letters are shown as far as they can
// be read. What became of a letter stands in the topic itself, as a mark behind it in the same partition (headers.h),
// so that all workers agree. A replay and its mark are one transaction; with at_least_once delivery the mark follows
// the acknowledged ticket. Two workers that replay one letter within the same few milliseconds both do: the ticket
// keeps its id, and what recognises repeats recognises this one.
//
// Threading: questions from any thread; a thread of its own, begun by the first one, asks the brokers and answers. Its
// connections end when nobody has asked for a minute.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/headers.h"
#include "adapters/kafka/letter_index.h"
#include "base/clock.h"
#include "ports/dead_letters.h"

namespace wa::kafka {

class DeadLetterTopic final : public DeadLetters {
public:
    // All outlive this.
    DeadLetterTopic(const Options& options, const Clock& clock, Listener& listener)
        : options_(options), clock_(clock), listener_(listener) {}
    // What was asked and is not answered yet is answered with kUnavailable.
    ~DeadLetterTopic() override;
    DeadLetterTopic(const DeadLetterTopic&) = delete;
    DeadLetterTopic& operator=(const DeadLetterTopic&) = delete;

    // The next question uses new connections, with what the files of certificates hold now. Any thread.
    void renew();

    void list(std::size_t offset, std::size_t limit, Answer<DeadLetterList> answer) override;
    void show(std::string key, Answer<DeadLetterEntry> answer) override;
    void replay(std::string key, std::string actor, Answer<std::string> answer) override;
    void discard(std::string key, std::string reason, std::string actor, Answer<void> answer) override;

private:
    // With an error: it is not done, for that reason.
    using Job = std::function<void(const Error* refused)>;
    struct Outgoing {
        std::string topic;
        PartitionId partition = RD_KAFKA_PARTITION_UA;
        std::string key;
        std::string value;
        bool no_value = false;
        HeaderList headers;
        bool reported = false;
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    };

    template <class T>
    void put(std::function<Result<T>()> work, Answer<T> answer);
    void enqueue(Job job);
    void work();
    [[nodiscard]] bool stopping();
    [[nodiscard]] bool over();  // no time left, or stopping
    [[nodiscard]] int time_left(Duration most) const;
    [[nodiscard]] Error too_late(std::string_view what);

    // The thread's own.
    void hang_up();
    Result<std::unique_ptr<Client>> make_consumer(const char* name);
    Result<std::int32_t> partition_count(const std::string& topic);
    Result<void> catch_up();
    Result<bool> ask_ends();
    void assign();
    void take(const rd_kafka_message_t& message);
    void take_mark(const rd_kafka_message_t& message, const HeaderView& headers, std::string_view settles);
    Result<LetterPlace> open_letter(const std::string& key, std::string_view verb);
    Result<std::string> value_of(LetterPlace place);
    Result<std::string> send_back(const std::string& key, const std::string& actor);
    Result<void> give_up(const std::string& key, const std::string& reason, const std::string& actor);
    Outgoing mark(LetterPlace place, const std::string& key, LetterState state, const std::string& actor,
                  const std::string& reason) const;
    void settled(LetterPlace place, LetterState state, const std::string& actor);
    Result<void> make_producer();
    void drop_producer();
    Result<void> write(std::vector<Outgoing> records);
    Result<void> write_in_transaction(std::vector<Outgoing>& records);
    Result<void> deliver(Outgoing* first, std::size_t count);
    rd_kafka_resp_err_t hand_over(Outgoing& record);

    const Options& options_;
    const Clock& clock_;
    Listener& listener_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    bool renew_wanted_ = false;
    std::thread thread_;

    // The thread's own.
    MonoTime deadline_{};
    std::unique_ptr<Client> index_reader_;
    std::unique_ptr<Client> letter_reader_;
    std::unique_ptr<Client> producer_;
    LetterIndex index_;
    struct Position {
        Offset next = 0;
        Offset end = 0;
    };
    std::map<PartitionId, Position> positions_;
};

}  // namespace wa::kafka
