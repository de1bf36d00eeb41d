#include "adapters/kafka/admin_calls.h"

#include <array>

namespace wa::kafka {

Result<std::unique_ptr<AdminCalls>> AdminCalls::make(boost::asio::io_context& loop, Client& client, Duration timeout) {
    std::unique_ptr<AdminCalls> calls(new AdminCalls(client, timeout));
    WA_TRY(calls->wakeup_, Wakeup::make(loop, [self = calls.get()] { self->serve(); }));
    calls->queue_.reset(rd_kafka_queue_new(client.raw()));
    calls->wakeup_->watch(calls->queue_.get());
    return calls;
}

AdminCalls::~AdminCalls() {
    if (queue_) Wakeup::ignore(queue_.get());
}

Owned<rd_kafka_AdminOptions_t> AdminCalls::options(rd_kafka_admin_op_t kind, Handler handler) {
    Owned<rd_kafka_AdminOptions_t> options(rd_kafka_AdminOptions_new(client_.raw(), kind));
    std::array<char, 256> why{};
    rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(to_millis(timeout_)), why.data(),
                                              why.size());
    const std::uintptr_t id = next_++;
    rd_kafka_AdminOptions_set_opaque(options.get(), reinterpret_cast<void*>(id));  // NOLINT: a number, not an address
    waiting_.emplace(id, std::move(handler));
    return options;
}

void AdminCalls::serve() {
    while (true) {
        const Event event(rd_kafka_queue_poll(queue_.get(), 0));
        if (!event) return;
        const auto id = reinterpret_cast<std::uintptr_t>(rd_kafka_event_opaque(event.get()));
        const auto found = waiting_.find(id);
        if (found == waiting_.end()) continue;
        const Handler handler = std::move(found->second);
        waiting_.erase(found);
        handler(*event);
    }
}

void AdminCalls::committed(const std::string& group, const std::string& topic,
                           const std::vector<PartitionId>& partitions,
                           Answer<std::map<PartitionId, CommittedOffset>> answer) {
    const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
    for (const PartitionId partition : partitions)
        rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
    rd_kafka_ListConsumerGroupOffsets_t* request = rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), list.get());
    auto settings = options(RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, [answer](const rd_kafka_event_t& event) {
        constexpr std::string_view kWhat = "read the committed offsets";
        auto* raw = const_cast<rd_kafka_event_t*>(&event);
        if (const auto code = rd_kafka_event_error(raw); code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return answer(Failure(to_error(code, kWhat, rd_kafka_event_error_string(raw))));
        std::size_t count = 0;
        const rd_kafka_group_result_t** groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(raw), &count);
        if (count != 1) return answer(Failure(to_error(RD_KAFKA_RESP_ERR__BAD_MSG, kWhat)));
        if (const rd_kafka_error_t* error = rd_kafka_group_result_error(groups[0]))
            return answer(Failure(to_error(error, kWhat)));
        std::map<PartitionId, CommittedOffset> found;
        const rd_kafka_topic_partition_list_t* rows = rd_kafka_group_result_partitions(groups[0]);
        for (int i = 0; rows != nullptr && i < rows->cnt; ++i) {
            const rd_kafka_topic_partition_t& row = rows->elems[i];
            if (row.err != RD_KAFKA_RESP_ERR_NO_ERROR) return answer(Failure(to_error(row.err, kWhat)));
            CommittedOffset& entry = found[row.partition];
            entry.offset = row.offset < 0 ? -1 : row.offset;
            entry.metadata.assign(static_cast<const char*>(row.metadata), row.metadata_size);
        }
        answer(std::move(found));
    });
    ClientError(rd_kafka_AdminOptions_set_require_stable_offsets(settings.get(), 1)).reset();
    rd_kafka_ListConsumerGroupOffsets(client_.raw(), &request, 1, settings.get(), queue_.get());
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
}

void AdminCalls::offsets(const std::string& topic, const std::vector<OffsetQuestion>& questions,
                         Answer<std::map<PartitionId, Offset>> answer) {
    const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(questions.size())));
    for (const OffsetQuestion& question : questions)
        rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), question.partition)->offset = question.spec;
    auto settings = options(RD_KAFKA_ADMIN_OP_LISTOFFSETS, [answer](const rd_kafka_event_t& event) {
        constexpr std::string_view kWhat = "read the ends of the partitions";
        auto* raw = const_cast<rd_kafka_event_t*>(&event);
        if (const auto code = rd_kafka_event_error(raw); code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return answer(Failure(to_error(code, kWhat, rd_kafka_event_error_string(raw))));
        std::size_t count = 0;
        const rd_kafka_ListOffsetsResultInfo_t** rows =
            rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(raw), &count);
        std::map<PartitionId, Offset> found;
        for (std::size_t i = 0; i < count; ++i) {
            const rd_kafka_topic_partition_t* row = rd_kafka_ListOffsetsResultInfo_topic_partition(rows[i]);
            if (row->err != RD_KAFKA_RESP_ERR_NO_ERROR) return answer(Failure(to_error(row->err, kWhat)));
            found[row->partition] = row->offset;
        }
        answer(std::move(found));
    });
    ClientError(rd_kafka_AdminOptions_set_isolation_level(settings.get(), RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED))
        .reset();
    rd_kafka_ListOffsets(client_.raw(), list.get(), settings.get(), queue_.get());
}

void AdminCalls::partition_count(const std::string& topic, Answer<std::int32_t> answer) {
    describe(topic, [answer = std::move(answer)](Result<TopicFacts> facts) {
        if (!facts) return answer(Failure(facts.error()));
        answer(facts->partitions);
    });
}

void AdminCalls::describe(const std::string& topic, Answer<TopicFacts> answer) {
    const char* name = topic.c_str();
    rd_kafka_TopicCollection_t* topics = rd_kafka_TopicCollection_of_topic_names(&name, 1);
    const auto settings = options(RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, [answer, topic](const rd_kafka_event_t& event) {
        const std::string what = "look at topic " + topic;
        auto* raw = const_cast<rd_kafka_event_t*>(&event);
        if (const auto code = rd_kafka_event_error(raw); code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return answer(Failure(to_error(code, what, rd_kafka_event_error_string(raw))));
        std::size_t count = 0;
        const rd_kafka_TopicDescription_t** rows =
            rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(raw), &count);
        if (count != 1) return answer(Failure(to_error(RD_KAFKA_RESP_ERR__BAD_MSG, what)));
        if (const rd_kafka_error_t* error = rd_kafka_TopicDescription_error(rows[0]);
            error != nullptr && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return answer(Failure(to_error(error, what)));
        std::size_t partitions = 0;
        std::ignore = rd_kafka_TopicDescription_partitions(rows[0], &partitions);
        TopicFacts facts;
        facts.partitions = static_cast<std::int32_t>(partitions);
        if (const rd_kafka_Uuid_t* id = rd_kafka_TopicDescription_topic_id(rows[0]))
            facts.id = rd_kafka_Uuid_base64str(id);
        answer(std::move(facts));
    });
    rd_kafka_DescribeTopics(client_.raw(), topics, settings.get(), queue_.get());
    rd_kafka_TopicCollection_destroy(topics);
}

}  // namespace wa::kafka
