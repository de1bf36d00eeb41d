// How a batch gets to the collector. One at a time; loop thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "adapters/tracing/otlp_exporter.h"
#include "otlp_trace.pb.h"

namespace wa::tracing {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// Of a batch that was taken: how many of its spans were not, and the collector's words.
struct Taken {
    std::int64_t rejected = 0;
    std::string message;
};

class Transport {
public:
    virtual ~Transport() = default;
    // `done` is called once, later, on the loop, unless this is destroyed or told to cancel first. An error says
    // whether trying again may help, and when.
    virtual void send(const otlp::ExportTraceServiceRequest& request, std::function<void(Result<Taken>)> done) = 0;
    virtual void cancel() = 0;
};

// Error: kInvalidArgument when the endpoint is none.
[[nodiscard]] Result<std::unique_ptr<Transport>> make_transport(boost::asio::io_context& loop, const Clock& clock,
                                                                const OtlpOptions& options);

}  // namespace wa::tracing
