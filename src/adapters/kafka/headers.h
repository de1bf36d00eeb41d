// Headers of Kafka records: those we write and those we read. Names are matched in any case; readers never require one
// (contract/tickets.md 2).
//
// On a result and a dead letter: where its ticket stood (topic and its id, partition, offset), which attempt and which
// worker ended it, so that any reader can drop duplicates without decoding. On a re-queued copy: where the ticket stood
// first, how often it went round, how often a worker died over it (cluster-rules 9, 12, 14).
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/kafka/client.h"
#include "ports/result_sink.h"
#include "ports/ticket_source.h"

namespace wa::kafka {

inline constexpr const char* kSourceTopic = "x-worker-source-topic";
inline constexpr const char* kSourceTopicId = "x-worker-source-topic-id";
inline constexpr const char* kSourcePartition = "x-worker-source-partition";
inline constexpr const char* kSourceOffset = "x-worker-source-offset";
inline constexpr const char* kTicketId = "x-worker-ticket-id";
inline constexpr const char* kStatus = "x-worker-status";  // COMPLETED, FAILED
inline constexpr const char* kFormat = "x-worker-format";  // avro, json, json-fallback
inline constexpr const char* kAttempt = "x-worker-attempt";
inline constexpr const char* kAgent = "x-worker-agent-id";
inline constexpr const char* kOriginPartition = "x-worker-origin-partition";
inline constexpr const char* kOriginOffset = "x-worker-origin-offset";
inline constexpr const char* kRequeueRound = "x-worker-requeue-round";
inline constexpr const char* kDeliveries = "x-worker-deliveries";
// On a ticket that was sent back: which dead letter it was, "<partition>-<offset>" of the dead letter topic.
inline constexpr const char* kReplayOf = "x-worker-replay-of";
// On a mark in the dead letter topic (no value, the letter's key and partition): which letter, and what became of it.
inline constexpr const char* kSettles = "x-worker-settles";  // "<partition>-<offset>"
inline constexpr const char* kAction = "x-worker-action";    // replayed, discarded
inline constexpr const char* kActor = "x-worker-actor";
inline constexpr const char* kReason = "x-worker-reason";
inline constexpr const char* kTraceparent = "traceparent";
inline constexpr const char* kTracestate = "tracestate";
inline constexpr const char* kPlanId = "x-neural-hive-plan-id";
inline constexpr const char* kCorrelationId = "x-neural-hive-correlation-id";
inline constexpr const char* kSource = "x-neural-hive-source";

// Reads the headers of one message; views into it.
class HeaderView {
public:
    explicit HeaderView(const rd_kafka_message_t& message);
    // The last one of that name; nullopt when there is none.
    [[nodiscard]] std::optional<std::string_view> text(std::string_view name) const;
    // Digits only, within the range of the type; anything else counts as not there.
    [[nodiscard]] std::optional<std::int64_t> number(std::string_view name) const;
    // Null when there are none.
    [[nodiscard]] const rd_kafka_headers_t* raw() const { return headers_; }

private:
    const rd_kafka_headers_t* headers_ = nullptr;
};

class HeaderList {
public:
    HeaderList() : headers_(rd_kafka_headers_new(8)) {}
    void add(const char* name, std::string_view value);
    void add(const char* name, std::int64_t value);
    // A value that is null is not the same as an empty one.
    void add(const std::string& name, std::optional<std::string_view> value);
    // Gives them away, to a message that takes them over when it is taken.
    [[nodiscard]] rd_kafka_headers_t* release() { return headers_.release(); }

private:
    Owned<rd_kafka_headers_t> headers_;
};

// The headers of a record that are its producer's own: all but those that a copy gets anew (trace context, what
// x-worker-origin-*, x-worker-requeue-round and x-worker-deliveries say). Empty when there are none; not more than
// kMostCarried bytes, `cut` says whether there were more.
struct PackedHeaders {
    std::string packed;
    bool cut = false;
};
inline constexpr std::size_t kMostCarried = 16 * 1024;
[[nodiscard]] PackedHeaders pack_headers(const rd_kafka_headers_t* headers);
// Adds what pack_headers() made, in its order. Of anything else nothing is added that does not lie within it.
void add_packed(HeaderList& headers, std::string_view packed);
[[nodiscard]] bool has_packed(std::string_view packed, std::string_view name);

// What a result's headers say about its source.
struct ResultOrigin {
    std::string topic;
    std::string topic_id;  // empty = not said
    SourcePosition position;
};
[[nodiscard]] std::optional<ResultOrigin> result_origin(const HeaderView& headers);

}  // namespace wa::kafka
