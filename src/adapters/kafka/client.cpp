#include "adapters/kafka/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace wa::kafka {
namespace {

struct Classified {
    ErrorCode code;
    Retry retry;
};

Classified classify(rd_kafka_resp_err_t code) {
    switch (code) {
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE: return {ErrorCode::kLimitExceeded, Retry::kNever};
        case RD_KAFKA_RESP_ERR__INVALID_ARG: return {ErrorCode::kInvalidArgument, Retry::kNever};
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR__AUTHENTICATION: return {ErrorCode::kNotAllowed, Retry::kAfterBackoff};
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return {ErrorCode::kNotFound, Retry::kAfterBackoff};
        case RD_KAFKA_RESP_ERR__TIMED_OUT:
        case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: return {ErrorCode::kTimeout, Retry::kAfterBackoff};
        default: return {ErrorCode::kUnavailable, Retry::kAfterBackoff};
    }
}

}  // namespace

Error to_error(rd_kafka_resp_err_t code, std::string_view what, std::string_view detail) {
    const Classified kind = classify(code);
    std::string message = "could not " + std::string(what) + ": " +
                          (detail.empty() ? std::string(rd_kafka_err2str(code)) : std::string(detail));
    return make_error(kind.code, kind.retry, Fault::kService, "kafka", std::move(message));
}

Error to_error(const rd_kafka_error_t* error, std::string_view what) {
    return to_error(rd_kafka_error_code(error), what, rd_kafka_error_string(error));
}

Trouble trouble_of(rd_kafka_resp_err_t code, std::string_view text) {
    switch (code) {
        case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM: return Trouble::kAuthentication;
        case RD_KAFKA_RESP_ERR__SSL: return Trouble::kTls;
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED: return Trouble::kNotAllowed;
        // A refused client certificate comes as an alert on a connection that counts as made.
        default: return text.find("SSL routines") == std::string_view::npos ? Trouble::kUnreachable : Trouble::kTls;
    }
}

Configuration::Configuration(const Options& options, std::string_view client_name) {
    const Security& security = options.security;
    set("bootstrap.servers", options.brokers);
    set("client.id", options.client_id + "-" + std::string(client_name));
    set("security.protocol", security.protocol);
    set("allow.auto.create.topics", "false");
    set("log.connection.close", "false");
    set("socket.keepalive.enable", "true");
    set("reconnect.backoff.max.ms", "5000");
    set("topic.metadata.refresh.interval.ms", "10000");  // new partitions are seen within ten seconds (cluster-rule 16)
    const bool sasl = security.protocol.starts_with("SASL_");
    const bool tls = security.protocol.ends_with("SSL");
    if (sasl) {
        set("sasl.mechanism", security.sasl_mechanism);
        if (security.sasl_mechanism == "OAUTHBEARER") {
            set("sasl.oauthbearer.method", "oidc");
            set("sasl.oauthbearer.token.endpoint.url", security.oauth_token_url);
            set("sasl.oauthbearer.client.id", security.oauth_client_id);
            set("sasl.oauthbearer.client.secret", security.oauth_client_secret);
            if (!security.oauth_scope.empty()) set("sasl.oauthbearer.scope", security.oauth_scope);
            if (!security.oauth_extensions.empty()) set("sasl.oauthbearer.extensions", security.oauth_extensions);
        } else if (!security.sasl_username.empty()) {
            set("sasl.username", security.sasl_username);
            set("sasl.password", security.sasl_password);
        }
    }
    if (!tls) return;
    if (!security.ca_location.empty()) set("ssl.ca.location", security.ca_location);
    if (!security.certificate_location.empty()) set("ssl.certificate.location", security.certificate_location);
    if (!security.key_location.empty()) set("ssl.key.location", security.key_location);
}

Configuration Configuration::of_reader(const Options& options, std::string_view client_name, int kilobytes) {
    Configuration conf(options, client_name);
    conf.set("group.id", options.group);  // named, because assigning needs a name
    conf.set("enable.auto.commit", "false");
    conf.set("enable.auto.offset.store", "false");
    conf.set("isolation.level", "read_committed");
    conf.set("auto.offset.reset", "earliest");
    conf.set("enable.partition.eof", "true");
    conf.set("fetch.wait.max.ms", "100");
    conf.set("fetch.queue.backoff.ms", "10");
    conf.set("queued.min.messages", "2000");
    conf.set("queued.max.messages.kbytes", std::to_string(kilobytes));
    return conf;
}

Configuration& Configuration::set(const char* name, const std::string& value) {
    std::array<char, 512> why{};
    if (rd_kafka_conf_set(conf_.get(), name, value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK &&
        refused_.empty()) {
        // The value itself may be a secret.
        refused_ = std::string(name) + " was refused by the Kafka client";
        if (std::string_view(name).find("password") == std::string_view::npos &&
            std::string_view(name).find("secret") == std::string_view::npos)
            refused_ += std::string(": ") + why.data();
    }
    return *this;
}

Result<std::unique_ptr<Client>> Client::make(rd_kafka_type_t type, Configuration configuration, Listener& listener) {
    if (!configuration.refused_.empty()) return fail(ErrorCode::kInvalidArgument, "kafka", configuration.refused_);
    std::unique_ptr<Client> client(new Client(listener));
    rd_kafka_conf_t* conf = configuration.conf_.get();
    rd_kafka_conf_set_opaque(conf, client.get());
    rd_kafka_conf_set_log_cb(conf, &Client::log_line);
    rd_kafka_conf_set_socket_cb(conf, &Client::open_socket);
    rd_kafka_conf_set_closesocket_cb(conf, &Client::close_socket);
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, &Client::delivered);
    std::array<char, 512> why{};
    client->handle_ = rd_kafka_new(type, conf, why.data(), why.size());
    if (client->handle_ == nullptr) return fail(ErrorCode::kInvalidArgument, "kafka", why.data());
    std::ignore = configuration.conf_.release();  // it belongs to the client now
    return client;
}

Result<void> Client::can_be_made(const Options& options, Listener& listener) {
    WA_TRY(const auto client, make(RD_KAFKA_PRODUCER, Configuration(options, "check"), listener));
    return {};
}

Client::~Client() {
    if (handle_ != nullptr) rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

int Client::open_socket(int domain, int type, int protocol, void* opaque) {
    auto* self = static_cast<Client*>(opaque);
    const int made = ::socket(domain, type | SOCK_CLOEXEC, protocol);
    if (made < 0) return made;
    const std::lock_guard lock(self->sockets_mutex_);
    self->sockets_.insert(made);
    return made;
}

// Under the lock, so that a number that is in use again is never taken for this one.
int Client::close_socket(int socket, void* opaque) {
    auto* self = static_cast<Client*>(opaque);
    const std::lock_guard lock(self->sockets_mutex_);
    self->sockets_.erase(socket);
    return ::close(socket);
}

void Client::cut_connections() {
    const std::lock_guard lock(sockets_mutex_);
    for (const int open : sockets_)
        ::shutdown(open, SHUT_RDWR);
}

void Client::mute() {
    const std::lock_guard lock(listener_mutex_);
    listener_ = nullptr;
}

std::pair<rd_kafka_resp_err_t, std::string> Client::fatal() const {
    std::array<char, 512> why{};
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(handle_, why.data(), why.size());
    return {code, why.data()};
}

void Client::log_line(const rd_kafka_t* client, int level, const char* facility, const char* text) {
    const auto* self = static_cast<const Client*>(rd_kafka_opaque(client));
    if (self == nullptr) return;
    constexpr int kSyslogError = 3;
    constexpr int kSyslogWarning = 4;
    constexpr int kSyslogInfo = 6;
    const Severity severity = level <= kSyslogError     ? Severity::kWarning  // the client goes on by itself
                              : level <= kSyslogWarning ? Severity::kWarning
                              : level <= kSyslogInfo    ? Severity::kInfo
                                                        : Severity::kDebug;
    const std::lock_guard lock(self->listener_mutex_);
    if (self->listener_ != nullptr) self->listener_->log(severity, "kafka_client", std::string(facility) + ": " + text);
}

void Client::delivered(rd_kafka_t* /*client*/, const rd_kafka_message_t* message, void* opaque) {
    const auto* self = static_cast<const Client*>(opaque);
    if (self->on_delivery) self->on_delivery(*message);
}

}  // namespace wa::kafka
