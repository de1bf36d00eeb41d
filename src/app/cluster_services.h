// The services of the platform that a worker talks to beside Kafka: ticket service, schema registry, Service Registry.
// Each may be away or not configured at all; none of them holds up the work (design.md "When something is down").
//
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/redis/redis_leases.h"
#include "adapters/schema_registry/schema_registry.h"
#include "adapters/service_registry/grpc_registry.h"
#include "adapters/service_registry/telemetry_window.h"
#include "adapters/ticket_service/http_ticket_service.h"
#include "app/platform.h"
#include "http_client/http_client.h"
#include "observability/platform_metrics.h"

namespace wa::app {

class ClusterServices {
public:
    // `parts`, `metrics` and `watch` outlive this. `watch` is told of every call. `deliver` gets the answers of
    // dependency look-ups.
    ClusterServices(const PlatformParts& parts, observability::PlatformMetrics& metrics, CallWatch& watch,
                    std::function<void(DependencyStatuses)> deliver);
    ~ClusterServices();
    ClusterServices(const ClusterServices&) = delete;
    ClusterServices& operator=(const ClusterServices&) = delete;

    // kInvalidArgument when an address cannot be used.
    Result<void> open();
    // Null where none is configured.
    [[nodiscard]] HttpTicketService* tickets() { return tickets_.get(); }
    [[nodiscard]] Schemas* schemas() { return schemas_.get(); }
    [[nodiscard]] TicketLeases* leases() { return leases_.get(); }
    [[nodiscard]] FlowObserver& telemetry() { return telemetry_; }

    // Registers with the Service Registry, and goes on telling that this worker is there.
    void introduce(const std::vector<TaskType>& types, const std::string& endpoint);
    // The runtimes that can be reached have changed. Also before introduce().
    void offer(const std::vector<std::string>& runtimes);
    void draining(bool yes);
    // Hands out what waits and deregisters; `done` comes once, within `limit` or a little later.
    void leave(Duration limit, std::function<void()> done);
    // Moves gauges; about once a second.
    void look();
    [[nodiscard]] bool registry_configured() const { return registry_ != nullptr; }
    [[nodiscard]] RegistryState registry_state() const { return registry_ ? registry_->state() : RegistryState{}; }

    // What `doctor` says about each of them, as of the last look(). {name, status, detail, fix}
    [[nodiscard]] std::vector<std::vector<std::string>> checks() const;

private:
    class TicketListener;
    class SchemaListener;
    class RegistryListener;
    class LeaseListener;
    Result<void> open_tickets();
    Result<void> open_redis();
    void wait_for_leases(MonoTime until, std::function<void()> done);
    Result<void> open_schemas();
    void open_registry();
    [[nodiscard]] RegistrationFacts facts() const;

    const PlatformParts& parts_;
    observability::PlatformMetrics& metrics_;
    CallWatch& watch_;
    std::function<void(DependencyStatuses)> deliver_;
    std::unique_ptr<TicketListener> ticket_listener_;
    std::unique_ptr<SchemaListener> schema_listener_;
    std::unique_ptr<RegistryListener> registry_listener_;
    std::unique_ptr<LeaseListener> lease_listener_;
    std::unique_ptr<http::Client> ticket_client_;
    std::unique_ptr<http::Client> schema_client_;
    std::unique_ptr<HttpTicketService> tickets_;
    std::unique_ptr<SchemaRegistry> schemas_;
    std::unique_ptr<GrpcRegistry> registry_;
    std::unique_ptr<RedisTicketLeases> leases_;
    TelemetryWindow telemetry_;
    std::vector<TaskType> types_;
    std::string endpoint_;
    std::vector<std::string> runtimes_;
    boost::asio::steady_timer leaving_;
};

}  // namespace wa::app
