#include "app/cluster_platform.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <utility>
#include <variant>

#include "core/codec/result_json.h"
#include "core/codec/ticket_json.h"

namespace wa::app {
namespace {

constexpr Duration kLeaveGroup = std::chrono::seconds(3);

observability::LogLevel level_of(kafka::Severity severity) {
    switch (severity) {
        case kafka::Severity::kDebug: return observability::LogLevel::kDebug;
        case kafka::Severity::kInfo: return observability::LogLevel::kInfo;
        case kafka::Severity::kWarning: return observability::LogLevel::kWarning;
        case kafka::Severity::kError: return observability::LogLevel::kError;
    }
    return observability::LogLevel::kInfo;
}

std::string instance_name(const config::Settings& settings, int slot) {
    const std::string& pod = settings.text("POD_NAME");
    std::string name = pod.empty() || pod == "unknown" ? host_name() : pod;
    return name + "-" + std::to_string(slot);
}

// A ticket's own word about its age, without checking anything else of it.
EpochMillis created_at(std::string_view payload) {
    const Result<Ticket> ticket = parse_ticket(payload);
    return ticket ? ticket->created_at : 0;
}

std::optional<kafka::DecodedEnding> decode_ending(std::string_view payload) {
    const Result<ExecutionResult> result = parse_result(payload);
    if (!result) return std::nullopt;
    return kafka::DecodedEnding{result->success, result->error_message};
}

}  // namespace

kafka::Options kafka_options(const config::Settings& settings, const std::string& instance,
                             const std::string& agent_id) {
    kafka::Options options;
    options.brokers = settings.text("KAFKA_BOOTSTRAP_SERVERS");
    kafka::Security& security = options.security;
    security.protocol = settings.text("KAFKA_SECURITY_PROTOCOL");
    security.sasl_mechanism = settings.text("KAFKA_SASL_MECHANISM");
    security.sasl_username = settings.text("KAFKA_SASL_USERNAME");
    security.sasl_password = settings.text("KAFKA_SASL_PASSWORD");
    security.ca_location = settings.text("KAFKA_SSL_CA_LOCATION");
    security.certificate_location = settings.text("KAFKA_SSL_CERTIFICATE_LOCATION");
    security.key_location = settings.text("KAFKA_SSL_KEY_LOCATION");
    security.oauth_token_url = settings.text("KAFKA_OAUTH_TOKEN_URL");
    security.oauth_client_id = settings.text("KAFKA_OAUTH_CLIENT_ID");
    security.oauth_client_secret = settings.text("KAFKA_OAUTH_CLIENT_SECRET");
    security.oauth_scope = settings.text("KAFKA_OAUTH_SCOPE");
    security.oauth_extensions = settings.text("KAFKA_OAUTH_EXTENSIONS");
    options.client_id = settings.text("SERVICE_NAME");
    options.group = settings.text("KAFKA_CONSUMER_GROUP_ID");
    options.group_instance_id = settings.text("KAFKA_GROUP_INSTANCE_ID");
    options.transactional_id = settings.text("KAFKA_TRANSACTIONAL_ID");
    if (options.transactional_id.empty()) {
        options.transactional_id =
            options.group + "-" + (options.group_instance_id.empty() ? instance : options.group_instance_id);
    }
    options.agent_id = agent_id;
    options.tickets_topic = settings.text("KAFKA_TICKETS_TOPIC");
    options.results_topic = settings.text("KAFKA_RESULTS_TOPIC");
    options.dead_letter_topic = settings.text("KAFKA_DLQ_TOPIC");
    if (settings.flag("DLQ_ALERT_ENABLED")) options.alert_topic = settings.text("DLQ_ALERT_KAFKA_TOPIC");
    options.start_at_latest = settings.text("KAFKA_AUTO_OFFSET_RESET") == "latest";
    options.delivery = settings.text("KAFKA_DELIVERY") == "at_least_once" ? kafka::Delivery::kAtLeastOnce
                                                                          : kafka::Delivery::kExactlyOnce;
    options.assignment_strategy = settings.text("KAFKA_ASSIGNMENT_STRATEGY");
    options.session_timeout = settings.duration("KAFKA_SESSION_TIMEOUT_SECONDS");
    options.transaction_timeout = settings.duration("KAFKA_TRANSACTION_TIMEOUT_SECONDS");
    options.prefetch_bytes = static_cast<std::size_t>(settings.integer("KAFKA_PREFETCH_BYTES"));
    options.results_margin = settings.duration("KAFKA_RESULTS_MARGIN_SECONDS");
    options.stall_limit = settings.duration("KAFKA_STALL_SECONDS");
    return options;
}

// Logs, and keeps what readiness and metrics show.
class ClusterPlatform::Listener final : public kafka::Listener {
public:
    explicit Listener(ClusterPlatform& platform) : platform_(platform) {}
    void log(kafka::Severity severity, std::string_view event, std::string detail) override {
        platform_.parts_.log.log(level_of(severity), event, {{"detail", std::move(detail)}});
    }
    void connected(bool yes) override {
        {
            const std::lock_guard lock(platform_.seen_mutex_);
            platform_.seen_.connected = yes;
        }
        platform_.parts_.log.log(yes ? observability::LogLevel::kInfo : observability::LogLevel::kWarning,
                                 yes ? "kafka_connected" : "kafka_disconnected", {});
    }
    void rebalanced(std::string_view kind, std::size_t partitions) override {
        platform_.parts_.log.info("kafka_rebalance", {{"kind", std::string(kind)}, {"partitions", partitions}});
    }
    void stalled(PartitionId partition, bool yes) override {
        platform_.parts_.log.log(yes ? observability::LogLevel::kError : observability::LogLevel::kInfo,
                                 yes ? "partition_stalled" : "partition_moves",
                                 {{"partition", static_cast<std::int64_t>(partition)}});
    }
    void loss_suspected(PartitionId partition, std::string why) override {
        platform_.parts_.log.error("offsets_lost",
                                   {{"partition", static_cast<std::int64_t>(partition)}, {"detail", std::move(why)}});
    }
    void transaction_failed(std::string_view kind, const Error& error) override {
        platform_.parts_.log.warning("kafka_commit_failed",
                                     {{"kind", std::string(kind)}, {"error", error.describe()}});
    }

private:
    ClusterPlatform& platform_;
};

// Who knows about tickets that are not in hand: the results themselves, looked through once for each id.
class ClusterPlatform::Tickets final : public TicketService {
public:
    explicit Tickets(ClusterPlatform& platform) : platform_(platform) {}
    void update_status(StatusUpdate /*update*/) override {}
    void lookup(std::vector<std::string> ticket_ids) override { platform_.results_->look_back(ticket_ids); }

private:
    ClusterPlatform& platform_;
};

ClusterPlatform::ClusterPlatform(PlatformParts parts) : parts_(std::move(parts)), timer_(parts_.loop) {}

ClusterPlatform::~ClusterPlatform() {
    timer_.cancel();
    disconnect();
}

Result<void> ClusterPlatform::open() {
    WA_TRY(InstanceSlot slot, InstanceSlot::take(parts_.settings.text("KAFKA_CONSUMER_GROUP_ID")));
    slot_ = std::make_unique<InstanceSlot>(std::move(slot));
    options_ = kafka_options(parts_.settings, instance_name(parts_.settings, slot_->number()), parts_.agent_id);
    listener_ = std::make_unique<Listener>(*this);
    parts_.health.add_readiness("kafka", [this]() -> std::optional<std::string> {
        const std::lock_guard lock(seen_mutex_);
        if (!seen_.connected) return "the brokers do not answer";
        if (!seen_.assignment_known) return "the group has not assigned partitions yet";
        if (!seen_.producer_ready) return "results cannot be written yet";
        if (!seen_.stalled.empty()) return seen_.stalled;
        return std::nullopt;
    });
    return {};
}

Result<void> ClusterPlatform::connect() {
    WA_TRY(results_, kafka::ResultsReader::make(
                         parts_.loop, parts_.clock, options_, *listener_, decode_ending,
                         {[this](EndingSeen ending) { parts_.feed(std::move(ending)); },
                          [this](ResultsReaderCaughtUp caught_up) { parts_.feed(caught_up); }}));
    WA_TRY(source_, kafka::Source::make({parts_.loop, parts_.clock, options_, *listener_, *results_,
                                         [this](kafka::SourceInput input) {
                                             std::visit([this](auto& value) { parts_.feed(std::move(value)); }, input);
                                         },
                                         created_at}));
    kafka::Sink::Parts sink{parts_.loop,
                            parts_.clock,
                            parts_.random,
                            options_,
                            *listener_,
                            [this](kafka::SinkInput input) {
                                std::visit([this](auto& value) { parts_.feed(std::move(value)); }, input);
                            },
                            [](const ExecutionResult& result) { return write_result(result); },
                            [](const Ticket& ticket) { return write_ticket(ticket); },
                            [](std::string_view payload) -> std::optional<Ticket> {
                                Result<Ticket> ticket = parse_ticket(payload);
                                if (!ticket) return std::nullopt;
                                return std::move(*ticket);
                            },
                            [this] { return source_->group_metadata(); },
                            [this](const rd_kafka_topic_partition_list_t& list) { return source_->commit(list); },
                            [this](auto answer) { source_->committed_now(std::move(answer)); }};
    sink_ = std::make_unique<kafka::Sink>(std::move(sink));
    tickets_ = std::make_unique<Tickets>(*this);
    return {};
}

TicketService& ClusterPlatform::tickets() {
    return *tickets_;
}

// A ticket that depends on others needs to know what ended since it was created.
std::function<Result<Ticket>(std::string_view)> ClusterPlatform::decoder() {
    return [this](std::string_view payload) -> Result<Ticket> {
        Result<Ticket> ticket = parse_ticket(payload);
        if (ticket && !ticket->dependencies.empty() && ticket->created_at > 0 && results_)
            results_->need_from(ticket->created_at);
        return ticket;
    };
}

void ClusterPlatform::adapt(EngineOptions& options) const {
    options.reads_results = true;
    // Whoever serves COMPENSATE reads it from the topic; what nobody serves becomes a dead letter that says so.
    options.compensation_supported = true;
}

void ClusterPlatform::introduce(const std::vector<TaskType>& types, const std::string& endpoint) {
    types_ = types;
    endpoint_ = endpoint;
}

Result<void> ClusterPlatform::begin() {
    WA_CHECKED(source_->start());
    every_second();
    return {};
}

void ClusterPlatform::every_second() {
    {
        const std::lock_guard lock(seen_mutex_);
        seen_.assignment_known = source_->assignment_known();
        seen_.producer_ready = sink_->ready();
        seen_.stalled = source_->stalled();
        seen_.partitions = source_->partitions();
    }
    timer_.expires_after(std::chrono::milliseconds(200));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && source_) every_second();
    });
}

void ClusterPlatform::draining(bool /*yes*/) {}

void ClusterPlatform::leave(std::function<void()> done) {
    timer_.cancel();
    source_->close(kLeaveGroup, std::move(done));
}

void ClusterPlatform::disconnect() {
    timer_.cancel();
    sink_.reset();
    source_.reset();
    results_.reset();
    tickets_.reset();
}

admin::Registration ClusterPlatform::registration() const {
    return {};
}

std::vector<std::vector<std::string>> ClusterPlatform::checks() {
    const std::lock_guard lock(seen_mutex_);
    std::vector<std::vector<std::string>> rows;
    if (!seen_.connected) {
        rows.push_back({"kafka", "error", "the brokers at " + options_.brokers + " do not answer",
                        "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and that the brokers run"});
    } else if (!seen_.assignment_known) {
        rows.push_back({"kafka", "warning", "connected, but the group has not assigned partitions yet"});
    } else {
        std::int64_t behind = 0;
        for (const auto& partition : seen_.partitions)
            behind += std::max<Offset>(0, partition.end - partition.position);
        rows.push_back({"kafka", seen_.stalled.empty() ? "ok" : "error",
                        seen_.stalled.empty() ? std::to_string(seen_.partitions.size()) + " partitions of " +
                                                    options_.tickets_topic + ", " + std::to_string(behind) + " behind"
                                              : seen_.stalled});
    }
    rows.push_back(seen_.producer_ready
                       ? std::vector<std::string>{"results", "ok",
                                                  options_.delivery == kafka::Delivery::kExactlyOnce
                                                      ? "exactly once, as " + options_.transactional_id
                                                      : std::string("at least once")}
                       : std::vector<std::string>{"results", "error", "no producer yet",
                                                  "the brokers must allow transactions for " + options_.transactional_id});
    return rows;
}

std::string ClusterPlatform::where() const {
    return "group " + options_.group + " at " + options_.brokers + ", instance " + options_.transactional_id;
}

}  // namespace wa::app
