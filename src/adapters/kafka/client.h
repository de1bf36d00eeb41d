// The C client behind owning types: handles end what they own, errors are values, configuration is checked.
//
// Threading: handles of librdkafka may be used from any thread; who owns one ends it.
#pragma once

#include <librdkafka/rdkafka.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/kafka/listener.h"
#include "adapters/kafka/options.h"
#include "base/error.h"

namespace wa::kafka {

struct Destroy {
    void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
    void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
    void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
    void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
    void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
    void operator()(rd_kafka_headers_t* headers) const { rd_kafka_headers_destroy(headers); }
    void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
    void operator()(rd_kafka_consumer_group_metadata_t* metadata) const {
        rd_kafka_consumer_group_metadata_destroy(metadata);
    }
    void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;
using Queue = Owned<rd_kafka_queue_t>;
using PartitionList = Owned<rd_kafka_topic_partition_list_t>;
using Event = Owned<rd_kafka_event_t>;
using ClientError = Owned<rd_kafka_error_t>;
using Message = Owned<rd_kafka_message_t>;
using GroupMetadata = Owned<rd_kafka_consumer_group_metadata_t>;

// `what` says what was tried: "commit the transaction".
[[nodiscard]] Error to_error(rd_kafka_resp_err_t code, std::string_view what, std::string_view detail = {});
[[nodiscard]] Error to_error(const rd_kafka_error_t* error, std::string_view what);
// `text`: the client's words, which say more where a broker ends the handshake.
[[nodiscard]] Trouble trouble_of(rd_kafka_resp_err_t code, std::string_view text);

// Settings of one client on the way to it. The first one that is refused is kept as the error.
class Configuration {
public:
    Configuration(const Options& options, std::string_view client_name);
    // Of a consumer that assigns itself what it reads, committed records only: it never joins a group, commits nothing.
    // `kilobytes` are kept of what was fetched and not read, for each partition.
    static Configuration of_reader(const Options& options, std::string_view client_name, int kilobytes);
    Configuration& set(const char* name, const std::string& value);
    [[nodiscard]] rd_kafka_conf_t* raw() { return conf_.get(); }

private:
    friend class Client;
    Owned<rd_kafka_conf_t> conf_{rd_kafka_conf_new()};
    std::string refused_;
};

// One librdkafka instance. Its log lines go to the listener. Consumers are closed before (close of the group is bounded
// by whoever does it); destruction does not wait for the group.
class Client {
public:
    // kInvalidArgument when a setting is refused.
    static Result<std::unique_ptr<Client>> make(rd_kafka_type_t type, Configuration configuration, Listener& listener);
    // Whether clients can be made from these options now, certificates and keys read anew.
    static Result<void> can_be_made(const Options& options, Listener& listener);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    [[nodiscard]] rd_kafka_t* raw() const { return handle_; }
    // Ends every connection; they are made again as they are needed. For a client that does not come back from a call:
    // what it waits for it looks at again when a connection goes or comes. Any thread.
    void cut_connections();
    // Nothing is told to the listener any more once this returns: for a client that outlives it. Any thread.
    void mute();
    // 0 = none, else a reason why this instance can do nothing more.
    [[nodiscard]] std::pair<rd_kafka_resp_err_t, std::string> fatal() const;
    // What is done with delivery reports; set before the first message. Called by whoever polls.
    std::function<void(const rd_kafka_message_t&)> on_delivery;

private:
    explicit Client(Listener& listener) : listener_(&listener) {}
    static void log_line(const rd_kafka_t* client, int level, const char* facility, const char* text);
    static void delivered(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque);
    static int open_socket(int domain, int type, int protocol, void* opaque);
    static int close_socket(int socket, void* opaque);

    mutable std::mutex listener_mutex_;
    Listener* listener_;  // null = muted
    std::mutex sockets_mutex_;
    std::set<int> sockets_;
    rd_kafka_t* handle_ = nullptr;
};

}  // namespace wa::kafka
