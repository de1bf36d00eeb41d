// Client of a Confluent-compatible Schema Registry (ports/schemas.h).
//
// A schema never changes under its id, so what was found once is kept: in memory, and in a folder when one is given,
// from which a restart reads it even while the registry is down. After five failures in a row the registry is left
// alone for a minute; until then answers that are not at hand are "unreachable". Only the registry's own word that it
// has no such id makes a message poison: a 404 without its error code comes from a proxy or a wrong path, and a 401
// from a wrong password; both are "unreachable". Threading: everything on the loop; nothing is called back from inside
// a call. Rules: contract/tickets.md 3.3, 3.4.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/schema_registry/disk_cache.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "core/retry/backoff.h"
#include "core/retry/circuit_breaker.h"
#include "http_client/http_client.h"
#include "ports/schemas.h"

namespace wa {

// Called from the loop; must not call back into the registry's client.
class SchemaRegistryListener {
public:
    virtual ~SchemaRegistryListener() = default;
    // One question to the registry. `why` when it is not kFound.
    virtual void schema_fetched(SchemaId /*id*/, SchemaState /*state*/, std::string_view /*why*/, Duration /*took*/) {}
    virtual void schema_registered(std::string_view /*subject*/, SchemaId /*id*/) {}
    // It is tried again later.
    virtual void registration_failed(std::string_view /*subject*/, const Error& /*why*/) {}
    virtual void registry_breaker_changed(CircuitBreaker::State /*state*/) {}
    // The folder of cached schemas could not be used.
    virtual void schema_cache_problem(const Error& /*why*/) {}
};

struct SchemaRegistryOptions {
    std::string base_url{};  // KAFKA_SCHEMA_REGISTRY_URL; may have a path and credentials
    std::string username{};  // in place of the URL's; empty = none
    std::string password{};
    http::TlsOptions tls{};  // SCHEMA_REGISTRY_TLS_VERIFY, SCHEMA_REGISTRY_CA_BUNDLE
    Duration connect_timeout = std::chrono::seconds(5);
    Duration timeout = std::chrono::seconds(10);  // SCHEMA_REGISTRY_TIMEOUT_SECONDS
    std::string folder{};                         // of cached schemas; empty = none
    std::size_t schemas = 1000;                   // kept in memory, and on disk
    std::size_t requests = 8;                     // at a time
    std::size_t waiting = 1000;                   // ids that wait for their turn, and askers for one id
    Duration keep_not_found = std::chrono::seconds(5);
    BackoffPolicy registration_backoff{std::chrono::seconds(1), std::chrono::seconds(60)};
    Duration refused_pause = std::chrono::minutes(10);  // before a refused registration is tried again
    std::int32_t breaker_failures = 5;
    Duration breaker_pause = std::chrono::seconds(60);
};

class SchemaRegistry final : public Schemas {
public:
    // All references must outlive this object. Reads the folder.
    SchemaRegistry(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                   SchemaRegistryOptions options, SchemaRegistryListener& listener);
    ~SchemaRegistry() override;
    SchemaRegistry(const SchemaRegistry&) = delete;
    SchemaRegistry& operator=(const SchemaRegistry&) = delete;

    // Whether the options can work at all: the URL.
    [[nodiscard]] static Result<void> check(const SchemaRegistryOptions& options);

    [[nodiscard]] std::shared_ptr<const std::string> find(SchemaId id) override;
    void fetch(SchemaId id, std::function<void(const SchemaAnswer&)> done) override;
    void publish(std::string subject, std::string text) override;
    [[nodiscard]] std::optional<SchemaId> published(std::string_view subject) const override;
    [[nodiscard]] bool is_publishing(std::string_view subject) const override;

    [[nodiscard]] CircuitBreaker::State breaker() const { return breaker_.state(); }

private:
    using Done = std::function<void(const SchemaAnswer&)>;
    struct Kept {
        std::shared_ptr<const std::string> text;
        std::list<SchemaId>::iterator place;
    };
    struct Asking {
        std::vector<Done> waiting;
        http::Call call;
        MonoTime sent_at{};
    };
    struct NotFound {
        std::string detail;
        MonoTime until{};
    };
    struct Publication {
        Publication(boost::asio::io_context& loop, std::string schema) : text(std::move(schema)), timer(loop) {}
        std::string text;
        std::optional<SchemaId> id;
        http::Call call;
        std::int32_t failures = 0;
        boost::asio::steady_timer timer;
    };
    // What an HTTP answer means, whatever was asked.
    struct Verdict {
        SchemaState state = SchemaState::kFound;  // kFound: a 200
        bool refused = false;                     // 4xx: trying again soon cannot help
        Error error;
    };

    [[nodiscard]] http::Request request(std::string method, std::string_view path, CallPurpose purpose) const;
    [[nodiscard]] bool may_ask();
    [[nodiscard]] Verdict judge(const Result<http::Response>& response);
    void note(bool reachable);
    void tell_breaker();
    void ask_next();
    void ask(SchemaId id);
    void answered(SchemaId id, const Result<http::Response>& response);
    void answer_soon(Done done, SchemaAnswer answer);
    void give(SchemaId id, const SchemaAnswer& answer);
    [[nodiscard]] SchemaAnswer unreachable(SchemaId id, std::string why) const;
    void keep(SchemaId id, std::shared_ptr<const std::string> text);
    void keep_not_found(SchemaId id, std::string detail);
    void send_publication(const std::string& subject);
    void publication_answered(const std::string& subject, const Result<http::Response>& response);
    void publish_later(const std::string& subject, Duration wait);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    http::Client& client_;
    SchemaRegistryOptions options_;
    SchemaRegistryListener& listener_;
    std::optional<schema_registry::DiskCache> disk_;
    CircuitBreaker breaker_;
    CircuitBreaker::State told_ = CircuitBreaker::State::kClosed;
    std::unordered_map<SchemaId, Kept> kept_;
    std::list<SchemaId> order_;  // of kept_; the longest unused first
    std::unordered_map<SchemaId, NotFound> not_found_;
    std::unordered_map<SchemaId, Asking> asking_;
    std::deque<SchemaId> queue_;  // of asking_, those not sent yet
    std::size_t under_way_ = 0;
    std::unordered_map<std::string, std::unique_ptr<Publication>> publications_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
