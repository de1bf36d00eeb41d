// Where gRPC calls go: one channel to one target, plain or TLS, made anew when its certificates change.
//
// What it never does: use a proxy from the environment, or hold a call back until a connection comes (a call to a
// server that is away fails at once with kUnavailable). Certificates and keys are looked at before each call; when a
// file is another one, the next call goes over a new channel, and calls that are under way keep theirs. Loop thread
// only, but for what gRPC does on its own threads. Rules: contract/services.md 1.6 and 1.7.
#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa::rpc {

struct TlsOptions {
    bool verify = true;         // certificate and host name
    std::string ca_file{};      // PEM; empty = what the machine trusts
    std::string client_cert{};  // PEM, with the chain; needs client_key
    std::string client_key{};   // PEM
    std::string server_name{};  // the name in the certificate when it is not the target's
};

struct ChannelOptions {
    std::string target{};  // "host:port"
    bool tls = false;
    TlsOptions tls_options{};
    // Pings while a call is under way: more would be taken for abuse by servers with ordinary settings.
    Duration keepalive_time = std::chrono::seconds(30);
    Duration keepalive_timeout = std::chrono::seconds(10);
    Duration max_reconnect_backoff = std::chrono::seconds(10);
    int max_message_bytes = 4 * 1024 * 1024;
    std::string user_agent = "worker-agents";
};

class Channel {
public:
    explicit Channel(ChannelOptions options);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // Errors: kUnavailable, retryable (a file cannot be read: it may be in the middle of being replaced); names the
    // path, never the content.
    [[nodiscard]] Result<std::shared_ptr<grpc::Channel>> current();
    [[nodiscard]] const std::string& target() const { return options_.target; }

private:
    struct Material;

    ChannelOptions options_;
    std::unique_ptr<Material> material_;  // what channel_ was made with
    std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace wa::rpc
