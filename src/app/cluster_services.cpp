#include "app/cluster_services.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "adapters/service_registry/facts.h"
#include "app/build_info.h"

namespace wa::app {
namespace {

std::string user_agent() {
    return "worker-agents/" + std::string(kVersion);
}

std::string method_of(const StatusUpdate& /*update*/) {
    return "update_ticket_status";
}

}  // namespace

class ClusterServices::TicketListener final : public TicketServiceListener {
public:
    explicit TicketListener(ClusterServices& owner) : owner_(owner) {}
    void status_delivered(const StatusUpdate& update, Duration took) override {
        owner_.metrics_.ticket_api_call(method_of(update), true);
        owner_.metrics_.status_delivered(to_string(update.status));
        owner_.parts_.metrics.external_request("ticket_service", method_of(update), took);
    }
    void status_delayed(const StatusUpdate& update, const Error& why) override {
        owner_.metrics_.ticket_api_call(method_of(update), false);
        owner_.parts_.metrics.external_retry("ticket_service", to_string(why.code));
        owner_.parts_.log.debug("ticket_status_delayed", {{"ticket_id", update.ticket_id}, {"error", why.describe()}});
    }
    void status_lost(const StatusUpdate& update, const Error& why) override {
        owner_.metrics_.ticket_api_call(method_of(update), false);
        owner_.metrics_.status_lost();
        owner_.parts_.log.warning("ticket_status_lost", {{"ticket_id", update.ticket_id},
                                                         {"status", std::string(to_string(update.status))},
                                                         {"error", why.describe()}});
    }
    void lookup_ended(bool ok, Duration took) override {
        owner_.metrics_.ticket_api_call("get_ticket", ok);
        owner_.parts_.metrics.external_request("ticket_service", "get_ticket", took);
    }
    void token_fetched(bool ok, Duration took) override {
        if (ok) owner_.metrics_.token_obtained();
        owner_.metrics_.ticket_api_call("get_ticket_token", ok);
        owner_.parts_.metrics.external_request("ticket_service", "get_ticket_token", took);
    }
    void lookup_failed(const Error& why) override {
        owner_.parts_.log.debug("ticket_lookup_failed", {{"error", why.describe()}});
    }
    void breaker_changed(CircuitBreaker::State state) override {
        const bool open = state == CircuitBreaker::State::kOpen;
        owner_.parts_.log.log(open ? observability::LogLevel::kWarning : observability::LogLevel::kInfo,
                              open ? "ticket_service_away" : "ticket_service_answers", {});
    }
    void spill_problem(std::string_view text) override {
        owner_.parts_.log.warning("ticket_status_file", {{"detail", std::string(text)}});
    }
    void spill_read(std::size_t updates) override {
        owner_.parts_.log.info("ticket_status_file_read", {{"updates", updates}});
    }

private:
    ClusterServices& owner_;
};

class ClusterServices::SchemaListener final : public SchemaRegistryListener {
public:
    explicit SchemaListener(ClusterServices& owner) : owner_(owner) {}
    void schema_fetched(SchemaId id, SchemaState state, std::string_view why, Duration took) override {
        owner_.parts_.metrics.external_request("schema_registry", "get_schema", took);
        owner_.metrics_.schema_request(state == SchemaState::kFound      ? "success"
                                       : state == SchemaState::kNotFound ? "not_found"
                                                                         : "error");
        if (state == SchemaState::kFound) return;
        owner_.metrics_.consumer_error("schema_registry");
        owner_.parts_.log.warning("schema_not_had",
                                  {{"schema_id", static_cast<std::int64_t>(id)}, {"detail", std::string(why)}});
    }
    void schema_registered(std::string_view subject, SchemaId id) override {
        owner_.parts_.log.info("schema_registered",
                               {{"subject", std::string(subject)}, {"schema_id", static_cast<std::int64_t>(id)}});
    }
    void registration_failed(std::string_view subject, const Error& why) override {
        owner_.metrics_.schema_request("error");
        owner_.parts_.log.warning("schema_not_registered",
                                  {{"subject", std::string(subject)}, {"error", why.describe()}});
    }
    void schema_cache_problem(const Error& why) override {
        owner_.parts_.log.warning("schema_cache", {{"error", why.describe()}});
    }

private:
    ClusterServices& owner_;
};

class ClusterServices::RegistryListener final : public ServiceRegistryListener {
public:
    explicit RegistryListener(ClusterServices& owner) : owner_(owner) {}
    void registered(std::string_view registry_agent_id, bool again) override {
        owner_.parts_.metrics.registered();
        owner_.parts_.log.info("worker_registered",
                               {{"registry_agent_id", std::string(registry_agent_id)}, {"again", again}});
    }
    void registration_failed(const Error& why, std::int32_t tries, bool given_up) override {
        owner_.parts_.log.warning(
            "registration_failed",
            {{"error", why.describe()}, {"tries", static_cast<std::int64_t>(tries)}, {"slowly_from_now_on", given_up}});
    }
    void heartbeat_ended(HeartbeatOutcome outcome, const Error* why, Duration /*took*/) override {
        owner_.parts_.metrics.heartbeat(to_string(outcome));
        if (why != nullptr) owner_.parts_.log.warning("heartbeat_failed", {{"error", why->describe()}});
    }
    void deregistered() override {
        owner_.parts_.metrics.deregistered();
        owner_.parts_.log.info("worker_deregistered", {});
    }
    void deregistration_failed(const Error& why) override {
        owner_.parts_.log.warning("deregistration_failed", {{"error", why.describe()}});
    }

private:
    ClusterServices& owner_;
};

class ClusterServices::LeaseListener final : public RedisListener {
public:
    explicit LeaseListener(ClusterServices& owner) : owner_(owner) {}
    void redis_changed(bool up, std::string_view why) override {
        owner_.metrics_.redis_available(up);
        owner_.metrics_.redis_breaker(up ? 0 : 2);
        owner_.parts_.log.log(up ? observability::LogLevel::kInfo : observability::LogLevel::kWarning,
                              up ? "redis_answers" : "redis_away", {{"detail", std::string(why)}});
    }
    void lease_lost(const std::string& ticket_id, const LeaseNote& holder) override {
        owner_.parts_.log.warning("lease_lost", {{"ticket_id", ticket_id}, {"holder", holder.worker}});
    }
    void redis_refused(const Error& why) override {
        owner_.parts_.log.warning("redis_refused", {{"error", why.describe()}});
    }
    void note_dropped(const std::string& ticket_id) override {
        owner_.parts_.log.warning("redis_note_dropped", {{"ticket_id", ticket_id}});
    }

private:
    ClusterServices& owner_;
};

ClusterServices::ClusterServices(const PlatformParts& parts, observability::PlatformMetrics& metrics, CallWatch& watch,
                                 std::function<void(DependencyStatuses)> deliver)
    : parts_(parts), metrics_(metrics), watch_(watch), deliver_(std::move(deliver)), leaving_(parts.loop) {}

ClusterServices::~ClusterServices() {
    leases_.reset();
    registry_.reset();
    tickets_.reset();
    schemas_.reset();
}

Result<void> ClusterServices::open() {
    WA_CHECKED(open_tickets());
    WA_CHECKED(open_schemas());
    open_registry();
    return open_redis();
}

Result<void> ClusterServices::open_tickets() {
    const config::Settings& settings = parts_.settings;
    if (!settings.has("EXECUTION_TICKET_SERVICE_URL")) return {};
    http::ClientOptions client;
    client.user_agent = user_agent();
    client.watch = &watch_;
    client.tls = {settings.flag("TICKET_API_TLS_VERIFY"), settings.text("TICKET_API_CA_BUNDLE"),
                  settings.text("TICKET_API_CLIENT_CERT"), settings.text("TICKET_API_CLIENT_KEY")};
    ticket_client_ = std::make_unique<http::Client>(parts_.loop, parts_.clock, std::move(client));
    TicketServiceOptions options;
    options.base_url = settings.text("EXECUTION_TICKET_SERVICE_URL");
    options.timeout = settings.duration("TICKET_API_TIMEOUT_SECONDS");
    if (settings.has("STATE_DIR")) options.spill_file = (parts_.state.path() / "ticket-status.json").string();
    WA_CHECKED(HttpTicketService::check(options));
    ticket_listener_ = std::make_unique<TicketListener>(*this);
    tickets_ = std::make_unique<HttpTicketService>(parts_.loop, parts_.clock, parts_.random, *ticket_client_,
                                                   std::move(options), deliver_, *ticket_listener_);
    return {};
}

Result<void> ClusterServices::open_schemas() {
    const config::Settings& settings = parts_.settings;
    if (!settings.has("KAFKA_SCHEMA_REGISTRY_URL")) return {};
    http::ClientOptions client;
    client.user_agent = user_agent();
    client.watch = &watch_;
    schema_client_ = std::make_unique<http::Client>(parts_.loop, parts_.clock, std::move(client));
    SchemaRegistryOptions options;
    options.base_url = settings.text("KAFKA_SCHEMA_REGISTRY_URL");
    options.username = settings.text("SCHEMA_REGISTRY_USERNAME");
    options.password = settings.text("SCHEMA_REGISTRY_PASSWORD");
    options.tls = {settings.flag("SCHEMA_REGISTRY_TLS_VERIFY"), settings.text("SCHEMA_REGISTRY_CA_BUNDLE"),
                   settings.text("SCHEMA_REGISTRY_CLIENT_CERT"), settings.text("SCHEMA_REGISTRY_CLIENT_KEY")};
    options.timeout = settings.duration("SCHEMA_REGISTRY_TIMEOUT_SECONDS");
    options.folder = (parts_.state.path() / "schemas").string();
    WA_CHECKED(SchemaRegistry::check(options));
    schema_listener_ = std::make_unique<SchemaListener>(*this);
    schemas_ = std::make_unique<SchemaRegistry>(parts_.loop, parts_.clock, parts_.random, *schema_client_,
                                                std::move(options), *schema_listener_);
    return {};
}

void ClusterServices::open_registry() {
    const config::Settings& settings = parts_.settings;
    if (!settings.has("SERVICE_REGISTRY_HOST")) return;
    ServiceRegistryOptions options;
    options.channel.target =
        settings.text("SERVICE_REGISTRY_HOST") + ":" + std::to_string(settings.integer("SERVICE_REGISTRY_PORT"));
    options.channel.user_agent = user_agent();
    options.channel.tls = settings.flag("SERVICE_REGISTRY_TLS_ENABLED");
    options.channel.tls_options.ca_file = settings.text("SERVICE_REGISTRY_CA_BUNDLE");
    options.channel.tls_options.client_cert = settings.text("SERVICE_REGISTRY_CLIENT_CERT");
    options.channel.tls_options.client_key = settings.text("SERVICE_REGISTRY_CLIENT_KEY");
    options.channel.tls_options.server_name = settings.text("SERVICE_REGISTRY_SERVER_NAME");
    options.heartbeat_interval = settings.duration("HEARTBEAT_INTERVAL_SECONDS");
    options.watch = &watch_;
    options.registration_tries = static_cast<std::int32_t>(settings.integer("REGISTRATION_RETRY_MAX_ATTEMPTS"));
    registry_listener_ = std::make_unique<RegistryListener>(*this);
    registry_ = std::make_unique<GrpcRegistry>(parts_.loop, parts_.clock, parts_.random, *registry_listener_,
                                               std::move(options));
}

Result<void> ClusterServices::open_redis() {
    const config::Settings& settings = parts_.settings;
    if (!settings.flag("REDIS_ENABLED")) return {};
    RedisAddress address;
    if (settings.has("REDIS_URL")) {
        WA_TRY(address, parse_redis_url(settings.text("REDIS_URL")));
    } else {
        if (settings.flag("REDIS_SSL_ENABLED")) {
            Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kInput, "redis",
                                     "REDIS_SSL_ENABLED=true is not served: TLS is left to a sidecar or a local proxy");
            error.field = "REDIS_SSL_ENABLED";
            error.fix = "name the proxy in REDIS_HOST, or set REDIS_ENABLED=false";
            return Failure(std::move(error));
        }
        address.host = settings.text("REDIS_HOST");
        address.port = static_cast<std::uint16_t>(settings.integer("REDIS_PORT"));
        address.password = settings.text("REDIS_PASSWORD");
    }
    RedisLeasesOptions options;
    options.worker = parts_.agent_id;
    options.watch = &watch_;
    lease_listener_ = std::make_unique<LeaseListener>(*this);
    leases_ = std::make_unique<RedisTicketLeases>(parts_.loop, parts_.clock, parts_.random, std::move(address),
                                                  std::move(options), *lease_listener_);
    return {};
}

RegistrationFacts ClusterServices::facts() const {
    const config::Settings& settings = parts_.settings;
    const auto known = [&](std::string_view name) {
        const std::string& text = settings.text(name);
        return text == "unknown" ? std::string() : text;
    };
    WorkerIdentity identity;
    identity.agent_id = parts_.agent_id;
    identity.endpoint = endpoint_;
    const std::size_t colon = endpoint_.rfind(':');
    identity.http_port = colon == std::string::npos ? 0 : std::atoi(endpoint_.c_str() + colon + 1);
    identity.grpc_port = static_cast<int>(settings.integer("GRPC_PORT"));
    identity.max_concurrent_tasks = static_cast<std::size_t>(settings.integer("MAX_CONCURRENT_TASKS"));
    identity.capabilities = settings.list("CAPABILITIES");
    identity.task_types = types_;
    identity.runtimes = runtimes_;
    identity.name_space = settings.text("NAMESPACE");
    identity.cluster = settings.text("CLUSTER");
    identity.version = settings.text("SERVICE_VERSION");
    identity.environment = settings.text("ENVIRONMENT");
    identity.pod_name = known("POD_NAME");
    identity.node_name = known("NODE_NAME");
    return registration_facts(identity);
}

void ClusterServices::introduce(const std::vector<TaskType>& types, const std::string& endpoint) {
    types_ = types;
    endpoint_ = endpoint;
    if (registry_) registry_->start(facts(), [this] { return telemetry_.telemetry(); });
}

void ClusterServices::offer(const std::vector<std::string>& runtimes) {
    runtimes_ = runtimes;
    if (registry_) registry_->update(facts());
}

void ClusterServices::draining(bool yes) {
    if (registry_) registry_->set_draining(yes);
}

void ClusterServices::leave(Duration limit, std::function<void()> done) {
    // Both at once; the last one to end says so.
    auto shared = std::make_shared<std::function<void()>>(std::move(done));
    auto left = std::make_shared<int>(1 + (tickets_ ? 1 : 0) + (registry_ ? 1 : 0) + (leases_ ? 1 : 0));
    const auto one_less = [shared, left] {
        if (--*left == 0) (*shared)();
    };
    if (tickets_) {
        tickets_->flush(limit, [this, one_less](std::size_t waiting) {
            if (waiting > 0) parts_.log.warning("ticket_status_not_delivered", {{"tickets", waiting}});
            one_less();
        });
    }
    if (registry_)
        registry_->deregister(std::min<Duration>(limit, std::chrono::seconds(3)), [one_less](auto) { one_less(); });
    if (leases_) wait_for_leases(parts_.clock.now() + std::min<Duration>(limit, std::chrono::seconds(1)), one_less);
    one_less();
}

// Leases that were given back are written before the end, so that the next worker need not wait for them to run out.
void ClusterServices::wait_for_leases(MonoTime until, std::function<void()> done) {
    if (leases_->idle() || !leases_->up() || parts_.clock.now() >= until) return done();
    leaving_.expires_after(std::chrono::milliseconds(20));
    leaving_.async_wait([this, until, done = std::move(done)](const boost::system::error_code& error) mutable {
        if (!error) wait_for_leases(until, std::move(done));
    });
}

void ClusterServices::look() {
    if (tickets_) metrics_.statuses_waiting(tickets_->stats().queued);
}

std::vector<std::vector<std::string>> ClusterServices::checks() const {
    std::vector<std::vector<std::string>> rows;
    if (tickets_) {
        const TicketServiceStats stats = tickets_->stats();
        const bool away = stats.breaker == CircuitBreaker::State::kOpen;
        rows.push_back({"ticket service", away ? "warning" : "ok",
                        away ? "does not answer; " + std::to_string(stats.queued) + " statuses wait, work goes on"
                             : std::to_string(stats.queued) + " statuses on their way",
                        away ? "check EXECUTION_TICKET_SERVICE_URL" : ""});
    } else {
        rows.push_back({"ticket service", "ok", "none configured (EXECUTION_TICKET_SERVICE_URL is empty)", ""});
    }
    if (schemas_) {
        const bool away = schemas_->breaker() == CircuitBreaker::State::kOpen;
        rows.push_back({"schema registry", away ? "warning" : "ok",
                        away ? "does not answer: results are JSON, tickets under unknown schemas wait" : "answers",
                        away ? "check KAFKA_SCHEMA_REGISTRY_URL" : ""});
    } else {
        rows.push_back({"schema registry", "ok", "none configured: JSON only", ""});
    }
    if (registry_) {
        const RegistryState state = registry_->state();
        rows.push_back({"service registry", state.registered ? "ok" : "warning",
                        state.registered ? "registered as " + state.registry_agent_id
                                         : "not registered" + (state.problem.empty() ? "" : ": " + state.problem),
                        state.registered ? "" : "check SERVICE_REGISTRY_HOST and SERVICE_REGISTRY_PORT"});
    } else {
        rows.push_back({"service registry", "ok", "none configured (SERVICE_REGISTRY_HOST is empty)", ""});
    }
    if (leases_) {
        rows.push_back({"redis", leases_->up() ? "ok" : "warning",
                        leases_->up() ? std::to_string(leases_->held()) + " leases held"
                                      : "does not answer: repeats on other workers are not seen at once",
                        leases_->up() ? "" : "check REDIS_HOST, or set REDIS_ENABLED=false"});
    }
    return rows;
}

}  // namespace wa::app
