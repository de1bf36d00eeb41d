#include "adapters/tracing/transport.h"

#include <utility>

#include "adapters/tracing/otlp_message.h"
#include "core/codec/text.h"
#include "grpc_client/caller.h"
#include "otlp_trace.grpc.pb.h"

namespace wa::tracing {
namespace {

constexpr std::string_view kTracesPath = "/v1/traces";
constexpr int kGrpcPort = 4317;

struct Endpoint {
    bool secure = false;
    std::string authority;  // host and port, as written
    std::string path;       // without a slash at its end
};

Result<Endpoint> read_endpoint(std::string_view url) {
    const auto refuse = [&] {
        return invalid("OTEL_EXPORTER_ENDPOINT",
                       "OTEL_EXPORTER_ENDPOINT must be http://host:port or https://host:port");
    };
    Endpoint endpoint;
    const auto scheme = url.find("://");
    if (scheme != std::string_view::npos) {
        endpoint.secure = url.substr(0, scheme) == "https";
        if (!endpoint.secure && url.substr(0, scheme) != "http") return refuse();
        url.remove_prefix(scheme + 3);
    }
    const auto slash = url.find('/');
    endpoint.authority = url.substr(0, slash);
    if (slash != std::string_view::npos) endpoint.path = url.substr(slash);
    while (endpoint.path.ends_with('/'))
        endpoint.path.pop_back();
    const bool plain = endpoint.authority.find_first_of("@?# \t\r\n") == std::string::npos;
    if (endpoint.authority.empty() || !plain || endpoint.path.find_first_of("?# \t\r\n") != std::string::npos)
        return refuse();
    return endpoint;
}

// "host" alone means the standard port; a colon inside brackets belongs to an address.
std::string with_port(const std::string& authority) {
    const auto bracket = authority.rfind(']');
    const auto colon = authority.rfind(':');
    const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
    return has_port ? authority : authority + ":" + std::to_string(kGrpcPort);
}

Taken taken(const otlp::ExportTraceServiceResponse& response) {
    return {response.partial_success().rejected_spans(), clip(response.partial_success().error_message(), 200)};
}

class GrpcTransport final : public Transport {
public:
    GrpcTransport(boost::asio::io_context& loop, const OtlpOptions& options, const Endpoint& endpoint)
        : channel_(channel_options(options, endpoint)), caller_(loop) {
        call_options_.timeout = options.timeout;
        call_options_.metadata = options.headers;
    }

    void send(const otlp::ExportTraceServiceRequest& request, std::function<void(Result<Taken>)> done) override {
        const auto channel = channel_.current();
        if (!channel) {
            refused_ = std::move(done);
            return caller_.later([this, error = channel.error()] {
                if (const auto last = std::exchange(refused_, nullptr)) last(tl::unexpected(error));
            });
        }
        std::shared_ptr<otlp::TraceService::Stub> stub = otlp::TraceService::NewStub(*channel);
        call_ = caller_.call<otlp::ExportTraceServiceResponse>(
            "Export at " + channel_.target(), request, call_options_,
            [stub](auto* context, auto* sent, auto* response, auto then) {
                stub->async()->Export(context, sent, response, std::move(then));
            },
            [done = std::move(done)](Result<otlp::ExportTraceServiceResponse> answer) {
                if (!answer) return done(tl::unexpected(std::move(answer).error()));
                done(taken(*answer));
            });
    }
    void cancel() override {
        refused_ = nullptr;
        call_.cancel();
    }

private:
    static rpc::ChannelOptions channel_options(const OtlpOptions& options, const Endpoint& endpoint) {
        rpc::ChannelOptions channel;
        channel.target = with_port(endpoint.authority);
        channel.tls = endpoint.secure;
        channel.tls_options = options.tls;
        channel.user_agent = options.user_agent;
        channel.max_message_bytes = 64 * 1024 * 1024;
        return channel;
    }

    rpc::Channel channel_;
    rpc::Caller caller_;
    rpc::CallOptions call_options_;
    rpc::Call call_;
    std::function<void(Result<Taken>)> refused_;  // of a call that could not be made
};

class HttpTransport final : public Transport {
public:
    HttpTransport(boost::asio::io_context& loop, const Clock& clock, const OtlpOptions& options,
                  const Endpoint& endpoint)
        : clock_(clock),
          client_(loop, clock, client_options(options)),
          json_(options.protocol == OtlpOptions::Protocol::kHttpJson) {
        request_.method = "POST";
        request_.url = std::string(endpoint.secure ? "https://" : "http://") + endpoint.authority + endpoint.path;
        if (!endpoint.path.ends_with(kTracesPath)) request_.url += kTracesPath;
        request_.headers.push_back({"Content-Type", json_ ? "application/json" : "application/x-protobuf"});
        for (const auto& [name, value] : options.headers)
            request_.headers.push_back({name, value});
        request_.timeout = options.timeout;
    }

    void send(const otlp::ExportTraceServiceRequest& request, std::function<void(Result<Taken>)> done) override {
        http::Request sent = request_;
        if (json_) {
            sent.body = json_of(request);
        } else {
            request.SerializeToString(&sent.body);
        }
        call_ = client_.send(std::move(sent), [this, done = std::move(done)](Result<http::Response> answer) {
            if (!answer) return done(tl::unexpected(std::move(answer).error()));
            done(judge(*answer));
        });
    }
    void cancel() override { call_.cancel(); }

private:
    static http::ClientOptions client_options(const OtlpOptions& options) {
        http::ClientOptions client;
        client.user_agent = options.user_agent;
        client.tls = {options.tls.verify, options.tls.ca_file, options.tls.client_cert, options.tls.client_key};
        client.connections = 2;
        return client;
    }

    // OTLP/HTTP: 429, 502, 503 and 504 may pass; anything else that is not 2xx will not.
    [[nodiscard]] Result<Taken> judge(const http::Response& response) const {
        if (response.status >= 200 && response.status < 300) {
            if (json_) return taken(response_of_json(response.body));
            otlp::ExportTraceServiceResponse message;
            if (!message.ParseFromString(response.body)) return Taken{};  // taken all the same
            return taken(message);
        }
        const int status = response.status;
        const bool again = status == 429 || status == 502 || status == 503 || status == 504;
        Error error = make_error(again ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument,
                                 again ? Retry::kAfterBackoff : Retry::kNever, Fault::kService, "traces",
                                 "the collector answered " + std::to_string(status));
        error.retry_after = http::retry_after(response, clock_.wall_now());
        return tl::unexpected(std::move(error));
    }

    const Clock& clock_;
    http::Client client_;
    http::Request request_;
    http::Call call_;
    bool json_ = false;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_transport(boost::asio::io_context& loop, const Clock& clock,
                                                  const OtlpOptions& options) {
    WA_TRY(const Endpoint endpoint, read_endpoint(options.endpoint));
    if (options.protocol != OtlpOptions::Protocol::kGrpc)
        return std::make_unique<HttpTransport>(loop, clock, options, endpoint);
    return std::make_unique<GrpcTransport>(loop, options, endpoint);
}

}  // namespace wa::tracing
