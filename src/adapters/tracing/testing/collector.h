// A trace collector in this process (OTLP over gRPC), able to refuse, to reject and to hang.
#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "otlp_trace.grpc.pb.h"

namespace wa::testing {

namespace otlp = opentelemetry::proto::collector::trace::v1;

class Collector final : public otlp::TraceService::Service {
public:
    Collector() { open(); }
    ~Collector() override { close(); }

    // The port stays the same through close() and open().
    void open() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:" + std::to_string(port_), grpc::InsecureServerCredentials(), &port_);
        builder.RegisterService(this);
        server_ = builder.BuildAndStart();
    }
    void close() {
        set_hanging(false);
        if (!server_) return;
        server_->Shutdown(std::chrono::system_clock::now());
        server_->Wait();
        server_.reset();
    }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

    void refuse(int count, grpc::Status status) {
        const std::lock_guard lock(mutex_);
        refusals_ = count;
        refusal_ = std::move(status);
    }
    void reject(int spans) {
        const std::lock_guard lock(mutex_);
        rejected_ = spans;
    }
    void set_hanging(bool hanging) {
        const std::lock_guard lock(mutex_);
        hanging_ = hanging;
        changed_.notify_all();
    }
    [[nodiscard]] std::vector<otlp::ExportTraceServiceRequest> batches() const {
        const std::lock_guard lock(mutex_);
        return batches_;
    }
    [[nodiscard]] std::vector<otlp::Span> spans() const {
        std::vector<otlp::Span> all;
        for (const auto& batch : batches())
            for (const auto& resource : batch.resource_spans())
                for (const auto& scope : resource.scope_spans())
                    all.insert(all.end(), scope.spans().begin(), scope.spans().end());
        return all;
    }
    [[nodiscard]] int calls() const {
        const std::lock_guard lock(mutex_);
        return calls_;
    }
    [[nodiscard]] std::string header(const std::string& name) const {
        const std::lock_guard lock(mutex_);
        const auto found = headers_.find(name);
        return found == headers_.end() ? "" : found->second;
    }

private:
    grpc::Status Export(grpc::ServerContext* context, const otlp::ExportTraceServiceRequest* request,
                        otlp::ExportTraceServiceResponse* response) override {
        std::unique_lock lock(mutex_);
        ++calls_;
        for (const auto& [key, value] : context->client_metadata())
            headers_[std::string(key.data(), key.size())] = std::string(value.data(), value.size());
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return !hanging_ || context->IsCancelled(); });
        if (refusals_ > 0) {
            --refusals_;
            return refusal_;
        }
        batches_.push_back(*request);
        if (rejected_ > 0) {
            response->mutable_partial_success()->set_rejected_spans(rejected_);
            response->mutable_partial_success()->set_error_message("too old");
        }
        return grpc::Status::OK;
    }

    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<otlp::ExportTraceServiceRequest> batches_;
    std::map<std::string, std::string> headers_;
    grpc::Status refusal_;
    int refusals_ = 0;
    int rejected_ = 0;
    int calls_ = 0;
    bool hanging_ = false;
};

}  // namespace wa::testing
