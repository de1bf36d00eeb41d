// What the Kafka adapter needs to know. Made from the settings in app/, checked there.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace wa::kafka {

// How brokers are spoken to. Empty texts = not set.
struct Security {
    std::string protocol = "PLAINTEXT";  // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
    std::string sasl_mechanism = "SCRAM-SHA-512";
    std::string sasl_username;
    std::string sasl_password;  // secret
    std::string ca_location;
    std::string certificate_location;
    std::string key_location;
    // OAUTHBEARER with OpenID Connect.
    std::string oauth_token_url;
    std::string oauth_client_id;
    std::string oauth_client_secret;  // secret
    std::string oauth_scope;
    std::string oauth_extensions;  // key=value, separated by commas
};

enum class Delivery : std::uint8_t { kExactlyOnce, kAtLeastOnce };

struct Options {
    std::string brokers = "localhost:9092";
    Security security;
    std::string client_id = "worker-agents";
    std::string group = "worker-agents";
    // Stable name of this instance: group.instance.id when set (static membership).
    std::string group_instance_id;
    // Stable per instance, unique among those that run (cluster-rule 7).
    std::string transactional_id;
    std::string agent_id;
    std::string tickets_topic = "execution.tickets";
    std::string results_topic = "execution.results";
    std::string dead_letter_topic = "execution.tickets.dlq";
    std::string alert_topic;       // empty = no alerts
    bool start_at_latest = false;  // only for a group without any commit (cluster-rule 20)
    Delivery delivery = Delivery::kExactlyOnce;
    std::string assignment_strategy = "cooperative-sticky";
    Duration session_timeout = std::chrono::seconds(45);
    Duration poll_interval = std::chrono::minutes(5);
    Duration transaction_timeout = std::chrono::seconds(10);  // cluster-rule 7
    // Fetched ahead of the engine, all partitions together.
    std::size_t prefetch_bytes = 8 * 1024 * 1024;
    int prefetch_records = 500;  // of one partition
    // How far the results are read back beyond the oldest ticket's creation: clocks of producers differ.
    Duration results_margin = std::chrono::minutes(2);
    // Behind, open, and nothing read for so long: the consumer is stuck.
    Duration stall_limit = std::chrono::seconds(30);
};

}  // namespace wa::kafka
