#include "adapters/tracing/call_tracer.h"

#include <string>
#include <utility>

namespace wa {
namespace {

using Protocol = OutgoingCall::Protocol;
using tracing::put_text;

constexpr int kFirstBadStatus = 400;

std::string name_of(const CallPurpose& purpose, const OutgoingCall& call) {
    if (!purpose.name.empty()) return purpose.name;
    if (call.protocol == Protocol::kGrpc) return std::string(call.subject) + "/" + std::string(call.method);
    return std::string(call.method);
}

void put_call(Span& span, const OutgoingCall& call) {
    switch (call.protocol) {
        case Protocol::kHttp:
            put_text(span, "http.request.method", call.method);
            put_text(span, "url.path", call.subject);
            break;
        case Protocol::kGrpc:
            put_text(span, "rpc.system", "grpc");
            put_text(span, "rpc.service", call.subject);
            put_text(span, "rpc.method", call.method);
            break;
        case Protocol::kRedis:
            put_text(span, "db.system.name", "redis");
            put_text(span, "db.operation.name", call.method);
            break;
    }
    put_text(span, "server.address", call.host);
    if (call.port != 0) span.attributes.emplace_back("server.port", std::int64_t{call.port});
}

const char* retry_attribute(Protocol protocol) {
    return protocol == Protocol::kHttp ? "http.request.resend_count" : "neural.hive.retry";
}

const char* status_attribute(Protocol protocol) {
    return protocol == Protocol::kHttp ? "http.response.status_code" : "rpc.grpc.status_code";
}

}  // namespace

class CallTracer::Watched final : public WatchedCall {
public:
    Watched(CallTracer& tracer, Span span, Protocol protocol)
        : tracer_(tracer),
          alive_(tracer.alive_),
          span_(std::move(span)),
          protocol_(protocol),
          began_(tracer.clock_.now()) {}
    ~Watched() override {
        if (told_ || alive_.expired()) return;
        span_.attributes.emplace_back("neural.hive.abandoned", true);
        hand_over(end_ns());
    }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

    void ended(const CallEnd& end) override {
        if (std::exchange(told_, true) || alive_.expired()) return;
        const std::int64_t at = end_ns();
        if (end.status) span_.attributes.emplace_back(status_attribute(protocol_), std::int64_t{*end.status});
        if (end.error != nullptr) {
            tracing::put_error(span_, std::string(to_string(end.error->code)), end.error->message, at);
        } else if (protocol_ == Protocol::kHttp && end.status && *end.status >= kFirstBadStatus) {
            const std::string status = std::to_string(*end.status);
            tracing::put_error(span_, status, "the answer was " + status, at);
        }
        hand_over(at);
    }

private:
    [[nodiscard]] std::int64_t end_ns() const { return span_.start_ns + (tracer_.clock_.now() - began_).count(); }
    void hand_over(std::int64_t at) {
        span_.end_ns = at;
        tracer_.sink_.end(std::move(span_));
    }

    CallTracer& tracer_;  // while alive_
    std::weak_ptr<bool> alive_;
    Span span_;
    Protocol protocol_;
    MonoTime began_;
    bool told_ = false;
};

CallTracer::CallTracer(const Clock& clock, tracing::SpanTime& time, Random& random, Sampler sampler, SpanSink& sink,
                       ContextOf context_of, std::size_t max_roots_per_second)
    : clock_(clock),
      time_(time),
      random_(random),
      sampler_(sampler),
      sink_(sink),
      context_of_(std::move(context_of)),
      max_roots_per_second_(max_roots_per_second) {}

CallTracer::~CallTracer() = default;

std::optional<TraceContext> CallTracer::parent_of(const CallPurpose& purpose) const {
    if (purpose.cause) return purpose.cause;
    return purpose.ticket_id.empty() ? std::nullopt : context_of_(purpose.ticket_id);
}

bool CallTracer::record_root(const TraceId& trace_id) {
    if (!sampler_.sample(trace_id, std::nullopt)) return false;
    const MonoTime now = clock_.now();
    if (now - second_ >= std::chrono::seconds(1)) {
        second_ = now;
        roots_ = 0;
    }
    return roots_++ < max_roots_per_second_;
}

std::unique_ptr<WatchedCall> CallTracer::begin(const CallPurpose& purpose, const OutgoingCall& call,
                                               CarriedHeaders& carry) {
    const auto parent = parent_of(purpose);
    Span span;
    if (parent) {
        span.context = *parent;  // its decision about sampling was ours, for the whole ticket
        span.parent = parent->span_id;
    } else {
        span.context.trace_id = new_trace_id(random_);
        span.context.sampled = record_root(span.context.trace_id);
    }
    span.context.span_id = new_span_id(random_);
    tracing::carry_context(span.context, carry);
    if (!span.context.sampled) return nullptr;
    span.name = name_of(purpose, call);
    span.kind = SpanKind::kClient;
    span.start_ns = time_.now();
    put_call(span, call);
    put_text(span, "neural.hive.ticket_id", purpose.ticket_id);
    if (purpose.retry > 0) span.attributes.emplace_back(retry_attribute(call.protocol), std::int64_t{purpose.retry});
    return std::make_unique<Watched>(*this, std::move(span), call.protocol);
}

}  // namespace wa
