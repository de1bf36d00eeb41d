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
constexpr Duration kLeaveTraces = std::chrono::seconds(2);
// What is forgotten is looked for in the results again, so that memory need not hold all of it.
constexpr std::size_t kKnownEndings = 50'000;
constexpr Duration kLastClients = std::chrono::seconds(5);
constexpr Duration kLeaveServices = std::chrono::seconds(10);
constexpr Duration kLookAtCertificates = std::chrono::seconds(30);
constexpr Duration kCertificatesSettle = std::chrono::seconds(2);

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

std::string not_connected(kafka::Trouble trouble, const std::string& detail, const std::string& brokers) {
    std::string text;
    switch (trouble) {
        case kafka::Trouble::kUnreachable: text = "the brokers at " + brokers + " do not answer"; break;
        case kafka::Trouble::kAuthentication: text = "the brokers at " + brokers + " do not accept this login"; break;
        case kafka::Trouble::kTls: text = "no secure connection to the brokers at " + brokers; break;
        case kafka::Trouble::kNotAllowed: text = "the brokers at " + brokers + " do not permit what is needed"; break;
    }
    return detail.empty() ? text : text + ": " + detail;
}

std::string what_to_check(kafka::Trouble trouble, const kafka::Options& options) {
    const std::string& mechanism = options.security.sasl_mechanism;
    switch (trouble) {
        case kafka::Trouble::kAuthentication:
            if (mechanism == "OAUTHBEARER")
                return "check KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET";
            return "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, and that the brokers know this user for " +
                   mechanism + " (KAFKA_SASL_MECHANISM)";
        case kafka::Trouble::kTls:
            return "check that KAFKA_SSL_CA_LOCATION holds the authority of the brokers' certificates, that "
                   "KAFKA_SSL_CERTIFICATE_LOCATION is one that they accept, and KAFKA_SECURITY_PROTOCOL";
        case kafka::Trouble::kNotAllowed:
            return "let this user read " + options.tickets_topic + " and " + options.results_topic + ", use group " +
                   options.group + " and write as " + options.transactional_id;
        case kafka::Trouble::kUnreachable: break;
    }
    return "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and that the brokers run";
}

ResultsFormat results_format(const std::string& text) {
    if (text == "avro") return ResultsFormat::kAvro;
    if (text == "json") return ResultsFormat::kJson;
    return ResultsFormat::kAuto;
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
        platform_.parts_.log.log(level_of(severity), event, {{"detail", detail}});
    }
    void connected(bool yes) override {
        {
            const std::lock_guard lock(platform_.seen_mutex_);
            platform_.seen_.connected = yes;
            if (yes) platform_.seen_.trouble_detail.clear();
        }
        platform_.metrics_.kafka_connected(yes);
        platform_.parts_.log.log(yes ? observability::LogLevel::kInfo : observability::LogLevel::kWarning,
                                 yes ? "kafka_connected" : "kafka_disconnected", {});
    }
    void partitions_assigned(std::size_t now) override { platform_.metrics_.partitions_assigned(now); }
    void rebalanced(std::string_view kind, std::size_t partitions) override {
        platform_.metrics_.rebalanced(kind);
        platform_.parts_.log.info("kafka_rebalance", {{"kind", std::string(kind)}, {"partitions", partitions}});
    }
    void behind(PartitionId partition, std::int64_t offsets) override {
        platform_.metrics_.lag(platform_.options_.tickets_topic, partition, std::max<std::int64_t>(0, offsets));
    }
    void stalled(PartitionId partition, bool yes) override {
        stalled_ += yes ? 1 : -1;
        platform_.metrics_.stalled_partitions(static_cast<std::size_t>(std::max(0, stalled_)));
        platform_.parts_.log.log(yes ? observability::LogLevel::kError : observability::LogLevel::kInfo,
                                 yes ? "partition_stalled" : "partition_moves",
                                 {{"partition", static_cast<std::int64_t>(partition)}});
    }
    void loss_suspected(PartitionId partition, std::string why) override {
        platform_.metrics_.offsets_lost();
        platform_.parts_.log.error("offsets_lost",
                                   {{"partition", static_cast<std::int64_t>(partition)}, {"detail", why}});
    }
    void consumer_made() override { platform_.metrics_.consumer_made(); }
    void producer_made() override { platform_.metrics_.producer_made(); }
    void trouble(kafka::Trouble kind, std::string detail) override {
        const std::lock_guard lock(platform_.seen_mutex_);
        platform_.seen_.trouble = kind;
        platform_.seen_.trouble_detail = std::move(detail);
    }
    void broker_error() override { platform_.metrics_.consumer_error("broker"); }
    void committed(Duration took) override { platform_.metrics_.committed(took); }
    void results_behind(std::int64_t offsets) override { platform_.metrics_.results_lag(offsets); }
    void dead_letter_written(std::string_view /*reason*/, std::string_view /*task_type*/, Duration took) override {
        platform_.metrics_.dead_letter_published(took);
    }
    void dead_letter_failed() override { platform_.metrics_.dead_letter_failed(); }
    void alert_written(std::string_view task_type) override { platform_.metrics_.alert_sent(task_type); }
    void transaction_failed(std::string_view kind, const Error& error) override {
        platform_.metrics_.transaction_failed(kind);
        platform_.metrics_.producer_error();
        platform_.parts_.log.warning("kafka_commit_failed", {{"kind", std::string(kind)}, {"error", error.describe()}});
    }

private:
    ClusterPlatform& platform_;
    int stalled_ = 0;
};

// Counts what the flow does to what is connected to it.
class ClusterPlatform::Counting final : public FlowObserver {
public:
    explicit Counting(ClusterPlatform& platform) : platform_(platform) {}
    void outcome_decided(const TicketView& /*ticket*/, const Settlement& settlement) override {
        if (settlement.kind == SettlementKind::kDeadLetter && settlement.dead_letter.reason == "decode_error")
            platform_.metrics_.consumer_error("decode");
    }
    void repeat_known_to_leases(const TicketView& /*ticket*/) override { platform_.metrics_.cache_hit(); }
    void commit_finished(const CommitResult& result, std::size_t /*settlements*/, Duration /*took*/) override {
        if (result.status != CommitStatus::kCommitted) platform_.metrics_.consumer_error("commit");
    }

private:
    ClusterPlatform& platform_;
};

// Who knows about tickets that are not in hand: the ticket service, and the results themselves, which work without it.
class ClusterPlatform::Tickets final : public TicketService {
public:
    explicit Tickets(ClusterPlatform& platform) : platform_(platform) {}
    void update_status(StatusUpdate update) override {
        HttpTicketService* const service = platform_.services_->tickets();
        if (service == nullptr) return;
        platform_.running_told_.told(update, platform_.parts_.clock.wall_now());
        // Endings are told of after the ticket's span, retries long after it.
        update.cause = platform_.tracing_->context_of(update.ticket_id);
        service->update_status(std::move(update));
    }
    bool behind() override {
        HttpTicketService* service = platform_.services_->tickets();
        return service != nullptr && service->behind();
    }
    void lookup(std::vector<std::string> ticket_ids) override {
        platform_.results_->look_back(ticket_ids);
        if (HttpTicketService* service = platform_.services_->tickets()) service->lookup(std::move(ticket_ids));
    }

private:
    ClusterPlatform& platform_;
};

ClusterPlatform::ClusterPlatform(PlatformParts parts)
    : parts_(std::move(parts)),
      metrics_(parts_.registry),
      counting_(std::make_unique<Counting>(*this)),
      timer_(parts_.loop) {}

ClusterPlatform::~ClusterPlatform() {
    timer_.cancel();
    disconnect();
}

Result<void> ClusterPlatform::open() {
    WA_TRY(InstanceSlot slot, InstanceSlot::take(parts_.settings.text("KAFKA_CONSUMER_GROUP_ID")));
    slot_ = std::make_unique<InstanceSlot>(std::move(slot));
    options_ = kafka_options(parts_.settings, instance_name(parts_.settings, slot_->number()), parts_.agent_id);
    listener_ = std::make_unique<Listener>(*this);
    dead_letters_ = std::make_unique<kafka::DeadLetterTopic>(options_, parts_.clock, *listener_);
    codec_ = std::make_unique<MessageCodec>(
        results_format(parts_.settings.text("KAFKA_RESULTS_FORMAT")), options_.results_topic + "-value",
        [this](SchemaId id, const std::string& why) {
            parts_.log.warning("results_schema_unusable", {{"schema_id", id}, {"error", why}});
        });
    WA_TRY(tracing_, Tracing::make(parts_, metrics_));
    services_ = std::make_unique<ClusterServices>(
        parts_, metrics_, tracing_->calls(), [this](DependencyStatuses statuses) { parts_.feed(std::move(statuses)); });
    WA_CHECKED(services_->open());
    codec_->use(services_->schemas());
    parts_.health.add_readiness("kafka", [this]() -> std::optional<std::string> {
        const std::lock_guard lock(seen_mutex_);
        if (!seen_.connected) return not_connected(seen_.trouble, seen_.trouble_detail, options_.brokers);
        if (!seen_.assignment_known) return "the group has not assigned partitions yet";
        if (!seen_.producer_ready) return "results cannot be written yet";
        if (!seen_.stalled.empty()) return seen_.stalled;
        return std::nullopt;
    });
    return {};
}

Result<void> ClusterPlatform::connect() {
    WA_TRY(results_, kafka::ResultsReader::make(parts_.loop, parts_.clock, options_, *listener_, retirement_,
                                                [this](std::string_view payload, kafka::EndingDecoded done) {
                                                    codec_->ending(payload, std::move(done));
                                                },
                                                {[this](EndingSeen ending) {
                                                     running_told_.seen(ending, parts_.clock.now());
                                                     parts_.feed(std::move(ending));
                                                 },
                                                 [this](ResultsReaderCaughtUp caught_up) { parts_.feed(caught_up); }}));
    WA_TRY(source_, kafka::Source::make({parts_.loop, parts_.clock, options_, *listener_, retirement_, *results_,
                                         [this](kafka::SourceInput input) {
                                             std::visit([this](auto& value) { parts_.feed(std::move(value)); }, input);
                                         },
                                         // A ticket's own word about its age.
                                         [this](std::string_view payload) -> EpochMillis {
                                             const Result<Ticket> ticket = codec_->decode(payload);
                                             return ticket ? ticket->created_at : 0;
                                         },
                                         [this](std::string_view payload, std::function<void()> again) {
                                             return codec_->readable(payload, std::move(again));
                                         },
                                         [this](std::vector<EndingSeen> endings) { tell_again(std::move(endings)); }}));
    kafka::Sink::Parts sink{
        parts_.loop,
        parts_.clock,
        parts_.random,
        options_,
        *listener_,
        [this](kafka::SinkInput input) { std::visit([this](auto& value) { parts_.feed(std::move(value)); }, input); },
        [this](const ExecutionResult& result) { return codec_->encode(result); },
        [](const Ticket& ticket) { return write_ticket(ticket); },
        [this](std::string_view payload) -> std::optional<Ticket> {
            Result<Ticket> ticket = codec_->decode(payload);
            if (!ticket) return std::nullopt;
            return std::move(*ticket);
        },
        [this] { return source_->group_metadata(); },
        [this](const rd_kafka_topic_partition_list_t& list, const std::function<bool()>& give_up) {
            return source_->commit(list, give_up);
        },
        [this](auto answer) { source_->committed_now(std::move(answer)); }};
    sink.topic_id = [this] { return source_->topic_id(); };
    sink.trace = [this](std::string_view ticket_id) { return tracing_->headers_of(ticket_id); };
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
        Result<Ticket> ticket = codec_->decode(payload);
        if (ticket && !ticket->dependencies.empty() && ticket->created_at > 0 && results_)
            results_->need_from(ticket->created_at);
        return ticket;
    };
}

void ClusterPlatform::adapt(EngineOptions& options) const {
    options.reads_results = true;
    options.max_known_endings = kKnownEndings;
    options.max_deliveries = static_cast<std::int32_t>(parts_.settings.integer("KAFKA_MAX_RETRIES_BEFORE_DLQ"));
    // Whoever serves COMPENSATE reads it from the topic; what nobody serves becomes a dead letter that says so.
    options.compensation_supported = true;
}

void ClusterPlatform::introduce(const std::vector<TaskType>& types, const std::string& endpoint) {
    services_->introduce(types, endpoint);
}

void ClusterPlatform::offer(const std::vector<std::string>& runtimes) {
    services_->offer(runtimes);
}

TicketLeases* ClusterPlatform::leases() {
    return services_->leases();
}

std::vector<FlowObserver*> ClusterPlatform::observers() {
    return {counting_.get(), &services_->telemetry(), &tracing_->observer()};
}

// A status that the last owner could not say any more is said by whoever takes the partition over (cluster-rule 9).
void ClusterPlatform::tell_again(std::vector<EndingSeen> endings) {
    HttpTicketService* service = services_->tickets();
    if (service == nullptr) return;
    for (EndingSeen& ending : endings) {
        StatusUpdate update{std::move(ending.ticket_id),
                            ending.completed ? TicketStatus::kCompleted : TicketStatus::kFailed,
                            std::move(ending.detail), 0};
        running_told_.told(update, parts_.clock.wall_now());
        service->update_status(std::move(update));
    }
}

Result<void> ClusterPlatform::begin() {
    WA_CHECKED(source_->start());
    const kafka::Security& security = options_.security;
    if (security.protocol.ends_with("SSL")) {
        certificates_ = std::make_unique<kafka::FileWatch>(
            parts_.loop,
            std::vector<std::string>{security.ca_location, security.certificate_location, security.key_location},
            kLookAtCertificates, kCertificatesSettle, [this] { return renew_connections(); });
    }
    every_moment();
    return {};
}

// The Kafka client reads certificates and keys only when a client is made. Old clients stay in use as long as none
// could be made of what the files hold.
bool ClusterPlatform::renew_connections() {
    if (const auto can = kafka::Client::can_be_made(options_, *listener_); !can) {
        parts_.log.error("kafka_certificates_refused", {{"error", can.error().describe()}});
        return false;
    }
    parts_.log.info("kafka_certificates_changed", {{"detail", "all connections to the brokers are made anew"}});
    results_->renew();
    sink_->renew();
    dead_letters_->renew();
    source_->renew();
    return true;
}

void ClusterPlatform::every_moment() {
    codec_->refresh();
    services_->look();
    tell_again(running_told_.due(parts_.clock.now()));
    metrics_.span_queue(tracing_->waiting());
    for (; json_fallbacks_ < codec_->json_fallbacks(); ++json_fallbacks_)
        metrics_.json_instead_of_avro();
    {
        const std::lock_guard lock(seen_mutex_);
        seen_.assignment_known = source_->assignment_known();
        seen_.producer_ready = sink_->ready();
        seen_.stalled = results_->trouble().empty() ? source_->stalled() : results_->trouble();
        seen_.partitions = source_->partitions();
        seen_.services = services_->checks();
        seen_.registry_configured = services_->registry_configured();
        seen_.registry = services_->registry_state();
    }
    timer_.expires_after(std::chrono::milliseconds(200));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && source_) every_moment();
    });
}

void ClusterPlatform::draining(bool yes) {
    services_->draining(yes);
}

void ClusterPlatform::leave(std::function<void()> done) {
    timer_.cancel();
    certificates_.reset();
    // What the commits brought about is told first; leaving the group lets others take the partitions over.
    services_->leave(kLeaveServices, [this, done = std::move(done)]() mutable {
        source_->close(kLeaveGroup,
                       [this, done = std::move(done)]() mutable { tracing_->flush(kLeaveTraces, std::move(done)); });
    });
}

void ClusterPlatform::disconnect() {
    timer_.cancel();
    certificates_.reset();
    dead_letters_.reset();
    if (sink_) clients_left_ += sink_->close();
    sink_.reset();
    source_.reset();
    results_.reset();
    clients_left_ += retirement_.close(kLastClients);
    tickets_.reset();
    if (codec_) codec_->use(nullptr);
    services_.reset();
}

admin::Registration ClusterPlatform::registration() const {
    const std::lock_guard lock(seen_mutex_);
    // Without a registry there is nobody to be missing from.
    return {!seen_.registry_configured || seen_.registry.registered, seen_.registry.registry_agent_id};
}

std::vector<std::vector<std::string>> ClusterPlatform::checks() {
    const std::lock_guard lock(seen_mutex_);
    std::vector<std::vector<std::string>> rows;
    if (!seen_.connected) {
        rows.push_back({"kafka", "error", not_connected(seen_.trouble, seen_.trouble_detail, options_.brokers),
                        what_to_check(seen_.trouble, options_)});
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
    rows.push_back(seen_.producer_ready ? std::vector<std::string>{"results", "ok",
                                                                   options_.delivery == kafka::Delivery::kExactlyOnce
                                                                       ? "exactly once, as " + options_.transactional_id
                                                                       : std::string("at least once")}
                                        : std::vector<std::string>{
                                              "results", "error", "no producer yet",
                                              "the brokers must allow transactions for " + options_.transactional_id});
    rows.insert(rows.end(), seen_.services.begin(), seen_.services.end());
    return rows;
}

std::string ClusterPlatform::where() const {
    return "group " + options_.group + " at " + options_.brokers + ", instance " + options_.transactional_id;
}

}  // namespace wa::app
