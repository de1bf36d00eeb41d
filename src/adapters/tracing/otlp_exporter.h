// Sends spans to an OpenTelemetry collector (OTLP over gRPC, or over HTTP as protobuf or JSON):
// contract/metrics.md 7.1.
//
// A collector that is away must cost nothing but its spans: end() puts a span into a bounded queue or drops it; one
// export is under way at a time; what can pass on retry is tried again a few times with backoff, then dropped; drops
// are counted and told. Nothing here waits.
//
// Loop thread only. The listener is called from the loop and must not call back.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "grpc_client/channel.h"
#include "http_client/http_client.h"
#include "ports/tracing.h"

namespace wa {

enum class SpanDrop : std::uint8_t {
    kQueueFull,
    kExportFailed,  // after all tries, or refused
    kRejected,      // the collector took the batch, but not these
    kClosing,       // not sent before the end
};
std::string_view to_string(SpanDrop why);

class TraceExportListener {
public:
    virtual ~TraceExportListener() = default;
    virtual void spans_exported(std::size_t /*count*/) {}
    virtual void spans_dropped(std::size_t /*count*/, SpanDrop /*why*/) {}
    // One try failed; `again`: it will be tried once more.
    virtual void export_failed(const Error& /*why*/, bool /*again*/) {}
};

struct OtlpOptions {
    // OTEL_EXPORTER_ENDPOINT: http (plain) or https, host and port; for HTTP also a path, to which /v1/traces is added
    // unless it ends so.
    std::string endpoint;
    enum class Protocol : std::uint8_t { kGrpc, kHttpProtobuf, kHttpJson } protocol = Protocol::kGrpc;
    rpc::TlsOptions tls{};                                       // for https
    std::vector<std::pair<std::string, std::string>> headers{};  // may be secret; names in lower case
    SpanAttributes resource{};                                   // service.name, …
    std::string scope_version = "1.0.0";
    std::string user_agent = "worker-agents";
    std::size_t queue_spans = 2048;
    std::size_t batch_spans = 512;
    std::size_t max_text_bytes = 1024;            // of each text
    std::size_t max_attributes = 64;              // of one span; also events, and links
    Duration delay = std::chrono::seconds(5);     // at most so long until a batch goes
    Duration timeout = std::chrono::seconds(10);  // OTEL_EXPORTER_OTLP_TIMEOUT, of one try
    std::int32_t tries = 5;
    Duration first_backoff = std::chrono::seconds(1);
    Duration longest_backoff = std::chrono::seconds(30);
};

struct OtlpStats {
    std::uint64_t exported = 0;
    std::uint64_t dropped = 0;
    std::size_t waiting = 0;  // in the queue and under way
};

class OtlpExporter final : public SpanSink {
public:
    // Error: kInvalidArgument when the endpoint is none. All but `options` must outlive the exporter.
    static Result<std::unique_ptr<OtlpExporter>> make(boost::asio::io_context& loop, const Clock& clock, Random& random,
                                                      TraceExportListener& listener, OtlpOptions options);
    // Drops what was not sent.
    ~OtlpExporter() override;
    OtlpExporter(const OtlpExporter&) = delete;
    OtlpExporter& operator=(const OtlpExporter&) = delete;

    void end(Span span) override;
    // Sends what is there without waiting for full batches. `done` is called once, later, on the loop: when all that
    // was there has been sent or dropped, or at the deadline.
    void flush(Duration deadline, std::function<void()> done);
    [[nodiscard]] OtlpStats stats() const;

private:
    class Impl;
    explicit OtlpExporter(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace wa
