// A Service Registry in this process, with the real one's quirks (contract/services.md 1.3) and with faults on demand.
#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "service_registry.grpc.pb.h"

namespace wa::testing {

namespace proto = neural_hive::service_registry;

class StandInRegistry final : public proto::ServiceRegistry::Service {
public:
    struct Agent {
        proto::RegisterRequest registration;
        proto::AgentTelemetry telemetry;
        proto::AgentStatus status = proto::HEALTHY;
    };

    explicit StandInRegistry(std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials())
        : credentials_(std::move(credentials)) {
        open();
    }
    ~StandInRegistry() override { close(); }

    // The port stays the same through close() and open(); what was registered is kept unless forget() is called.
    void open() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("localhost:" + std::to_string(port_), credentials_, &port_);
        builder.RegisterService(this);
        server_ = builder.BuildAndStart();
    }
    void close() {
        release();
        if (!server_) return;
        server_->Shutdown(std::chrono::system_clock::now());
        server_->Wait();
        server_.reset();
    }
    [[nodiscard]] std::string target() const { return "localhost:" + std::to_string(port_); }

    void forget() {
        const std::lock_guard lock(mutex_);
        agents_.clear();
    }
    // The next `count` calls of a method end with this.
    void refuse(const std::string& method, int count, grpc::Status status) {
        const std::lock_guard lock(mutex_);
        refusals_[method] = {count, std::move(status)};
    }
    // Calls of a method do not answer until release().
    void hang(const std::string& method) {
        const std::lock_guard lock(mutex_);
        hanging_ = method;
    }
    void release() {
        const std::lock_guard lock(mutex_);
        hanging_.clear();
        released_.notify_all();
    }
    [[nodiscard]] std::map<std::string, Agent> agents() const {
        const std::lock_guard lock(mutex_);
        return agents_;
    }
    [[nodiscard]] int calls(const std::string& method) const {
        const std::lock_guard lock(mutex_);
        const auto found = calls_.find(method);
        return found == calls_.end() ? 0 : found->second;
    }
    [[nodiscard]] std::vector<std::string> tokens() const {
        const std::lock_guard lock(mutex_);
        return tokens_;
    }
    // Of each call; "" where there was none.
    [[nodiscard]] std::vector<std::string> traceparents() const {
        const std::lock_guard lock(mutex_);
        return traceparents_;
    }
    [[nodiscard]] std::vector<std::chrono::steady_clock::time_point> beats() const {
        const std::lock_guard lock(mutex_);
        return beats_;
    }

private:
    grpc::Status Register(grpc::ServerContext* context, const proto::RegisterRequest* request,
                          proto::RegisterResponse* response) override {
        if (const auto status = begin("Register", *context); !status.ok()) return status;
        if (request->capabilities().empty() || request->agent_type() != proto::WORKER)
            return {grpc::StatusCode::UNKNOWN, "Unexpected <class 'TypeError'>"};
        const std::lock_guard lock(mutex_);
        const std::string id = "registry-" + std::to_string(++last_id_);
        agents_[id] = {*request, {}, proto::HEALTHY};
        response->set_agent_id(id);
        response->set_registration_token("token-" + id);
        return grpc::Status::OK;
    }
    grpc::Status Heartbeat(grpc::ServerContext* context, const proto::HeartbeatRequest* request,
                           proto::HeartbeatResponse* response) override {
        if (const auto status = begin("Heartbeat", *context); !status.ok()) return status;
        const std::lock_guard lock(mutex_);
        beats_.push_back(std::chrono::steady_clock::now());
        const auto found = agents_.find(request->agent_id());
        const double rate = request->telemetry().success_rate();
        if (found == agents_.end() || rate < 0 || rate > 1)
            return {grpc::StatusCode::NOT_FOUND, "Agente " + request->agent_id() + " não encontrado"};
        found->second.telemetry = request->telemetry();
        found->second.status = rate < 0.3 ? proto::UNHEALTHY : rate < 0.5 ? proto::DEGRADED : proto::HEALTHY;
        response->set_status(found->second.status);
        return grpc::Status::OK;
    }
    grpc::Status Deregister(grpc::ServerContext* context, const proto::DeregisterRequest* request,
                            proto::DeregisterResponse* response) override {
        if (const auto status = begin("Deregister", *context); !status.ok()) return status;
        const std::lock_guard lock(mutex_);
        response->set_success(agents_.erase(request->agent_id()) > 0);
        return grpc::Status::OK;
    }

    grpc::Status begin(const std::string& method, const grpc::ServerContext& context) {
        std::unique_lock lock(mutex_);
        ++calls_[method];
        if (const auto token = context.client_metadata().find("authorization");
            token != context.client_metadata().end())
            tokens_.emplace_back(token->second.data(), token->second.size());
        const auto trace = context.client_metadata().find("traceparent");
        traceparents_.emplace_back(trace == context.client_metadata().end()
                                       ? std::string()
                                       : std::string(trace->second.data(), trace->second.size()));
        released_.wait_for(lock, std::chrono::seconds(30), [&] { return hanging_ != method || context.IsCancelled(); });
        auto& refusal = refusals_[method];
        if (refusal.count <= 0) return grpc::Status::OK;
        --refusal.count;
        return refusal.status;
    }

    struct Refusal {
        int count = 0;
        grpc::Status status;
    };
    std::shared_ptr<grpc::ServerCredentials> credentials_;
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
    mutable std::mutex mutex_;
    std::condition_variable released_;
    std::map<std::string, Agent> agents_;
    std::map<std::string, Refusal> refusals_;
    std::map<std::string, int> calls_;
    std::vector<std::string> tokens_;
    std::vector<std::string> traceparents_;
    std::vector<std::chrono::steady_clock::time_point> beats_;
    std::string hanging_;
    int last_id_ = 0;
};

}  // namespace wa::testing
