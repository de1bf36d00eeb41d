// The Registry port against the Service Registry's gRPC interface (contract/services.md 1.3 to 1.7).
//
// - One registration at a time. Register always makes a new id at the other side, so a worker that registers anew after
//   failures takes its former id out (best effort).
// - NOT_FOUND on a heartbeat, whatever the text, means: register again, at once.
// - Five failed heartbeats in a row mean: register in full.
// - Every RPC has a deadline; waits are exponential with jitter and never end; heartbeats come with jitter, so that a
//   thousand workers that were started together do not knock together.
// - What changes about the worker is told by a registration anew, at most once in a pause; the id of before is taken
// out
//   after it, so that the worker is never missing.
// - Draining is told as telemetry that the registry turns into DEGRADED: its protocol has no word for it, and a
// heartbeat
//   carries no status. A registration made meanwhile says draining=true in its metadata.
// - deregister() waits for a registration that is under way, so that its id does not stay behind.
//
// Loop thread only. Nothing is called from inside a method or after destruction.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "adapters/service_registry/listener.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/trace/call_watch.h"
#include "grpc_client/channel.h"
#include "ports/registry.h"

namespace wa {

struct ServiceRegistryOptions {
    rpc::ChannelOptions channel{};                           // target: "SERVICE_REGISTRY_HOST:SERVICE_REGISTRY_PORT"
    Duration heartbeat_interval = std::chrono::seconds(30);  // HEARTBEAT_INTERVAL_SECONDS; the registry waits for 120 s
    double heartbeat_jitter = 0.1;                           // of the interval, both ways
    Duration call_timeout = std::chrono::seconds(5);
    Duration first_backoff = std::chrono::seconds(2);
    Duration longest_backoff = std::chrono::seconds(60);
    Duration facts_pause = std::chrono::seconds(30);  // between registrations because of changed facts
    std::int32_t registration_tries = 5;              // REGISTRATION_RETRY_MAX_ATTEMPTS; then at the longest backoff
    std::int32_t failures_until_registration = 5;     // heartbeats
    // A token for the "authorization: Bearer" metadata of each call (JWT-SVID); empty, or an empty text: none. An error
    // is a failure of the call.
    std::function<Result<std::string>()> bearer_token{};
    CallWatch* watch = nullptr;  // must outlive the registry's client; null = nobody
};

class GrpcRegistry final : public Registry {
public:
    // All but `options` must outlive this.
    GrpcRegistry(boost::asio::io_context& loop, const Clock& clock, Random& random, ServiceRegistryListener& listener,
                 ServiceRegistryOptions options);
    ~GrpcRegistry() override;
    GrpcRegistry(const GrpcRegistry&) = delete;
    GrpcRegistry& operator=(const GrpcRegistry&) = delete;

    void start(RegistrationFacts facts, std::function<RegistryTelemetry()> telemetry) override;
    void update(RegistrationFacts facts) override;
    void set_draining(bool draining) override;
    void deregister(Duration deadline, std::function<void(Result<void>)> done) override;
    [[nodiscard]] RegistryState state() const override;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace wa
