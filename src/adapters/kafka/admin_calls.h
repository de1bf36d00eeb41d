// Questions to the brokers that are answered later, on the loop: committed offsets, ends of partitions, shapes of
// topics. Each answer comes exactly once, unless the object is destroyed first.
//
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/wakeup.h"
#include "ports/ticket_source.h"

namespace wa::kafka {

struct CommittedOffset {
    Offset offset = -1;  // -1 = nothing was committed
    std::string metadata;
};

// Where in a partition is asked for.
struct OffsetQuestion {
    PartitionId partition = 0;
    std::int64_t spec = 0;  // RD_KAFKA_OFFSET_SPEC_* or a time in epoch milliseconds
};

struct TopicFacts {
    std::int32_t partitions = 0;
    std::string id;  // another one when a topic of the same name is made anew; text-safe
};

class AdminCalls {
public:
    template <class T>
    using Answer = std::function<void(Result<T>)>;

    static Result<std::unique_ptr<AdminCalls>> make(boost::asio::io_context& loop, Client& client, Duration timeout);
    ~AdminCalls();

    // Waits for transactions that are about to commit offsets (cluster-rule 12).
    void committed(const std::string& group, const std::string& topic, const std::vector<PartitionId>& partitions,
                   Answer<std::map<PartitionId, CommittedOffset>> answer);
    // With read_committed: the end that readers of committed records can reach. -1: no record is that young.
    void offsets(const std::string& topic, const std::vector<OffsetQuestion>& questions,
                 Answer<std::map<PartitionId, Offset>> answer);
    // kNotFound when there is no such topic.
    void partition_count(const std::string& topic, Answer<std::int32_t> answer);
    void describe(const std::string& topic, Answer<TopicFacts> answer);

private:
    using Handler = std::function<void(const rd_kafka_event_t&)>;
    AdminCalls(Client& client, Duration timeout) : client_(client), timeout_(timeout) {}
    Owned<rd_kafka_AdminOptions_t> options(rd_kafka_admin_op_t kind, Handler handler);
    void serve();

    Client& client_;
    Duration timeout_;
    std::unique_ptr<Wakeup> wakeup_;
    Queue queue_;
    std::map<std::uintptr_t, Handler> waiting_;
    std::uintptr_t next_ = 1;
};

}  // namespace wa::kafka
