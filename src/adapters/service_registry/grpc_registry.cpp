#include "adapters/service_registry/grpc_registry.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cmath>
#include <list>
#include <utility>

#include "base/check.h"
#include "core/codec/text.h"
#include "grpc_client/caller.h"
#include "service_registry.grpc.pb.h"

namespace wa {

namespace proto = neural_hive::service_registry;
using boost::system::error_code;

namespace {

// The registry calls a worker DEGRADED below 0.5 and UNHEALTHY below 0.3.
constexpr double kRateWhileDraining = 0.4;
constexpr std::size_t kMaxAgentIdBytes = 256;

void fill(proto::AgentTelemetry& out, const RegistryTelemetry& telemetry, bool draining) {
    double rate = std::isfinite(telemetry.success_rate) ? std::clamp(telemetry.success_rate, 0.0, 1.0) : 1.0;
    if (draining) rate = std::min(rate, kRateWhileDraining);
    out.set_success_rate(rate);
    // Out of range would be answered with NOT_FOUND.
    out.set_avg_duration_ms(std::max<std::int64_t>(0, telemetry.avg_duration_ms));
    out.set_total_executions(std::max<std::int64_t>(0, telemetry.total_executions));
    out.set_failed_executions(std::max<std::int64_t>(0, telemetry.failed_executions));
    out.set_last_execution_at(std::max<std::int64_t>(0, telemetry.last_execution_at));
}

// Protobuf refuses to write text that is not UTF-8.
std::string clean(const std::string& text) {
    return is_utf8(text) ? text : lossy_utf8(text, text.size());
}

Error no_answer(const std::string& what) {
    return make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService, "registry", what);
}

}  // namespace

std::string_view to_string(HeartbeatOutcome outcome) {
    switch (outcome) {
        case HeartbeatOutcome::kSuccess: return "success";
        case HeartbeatOutcome::kFailed: return "failed";
        case HeartbeatOutcome::kNotFound: return "not_found";
        case HeartbeatOutcome::kSkipped: return "skipped";
    }
    return "failed";
}

class GrpcRegistry::Impl {
public:
    Impl(boost::asio::io_context& loop, const Clock& clock, Random& random, ServiceRegistryListener& listener,
         ServiceRegistryOptions options)
        : loop_(loop),
          clock_(clock),
          random_(random),
          listener_(listener),
          options_(std::move(options)),
          channel_(options_.channel),
          caller_(loop, options_.watch),
          beat_timer_(loop),
          register_timer_(loop),
          facts_timer_(loop),
          leave_timer_(loop) {}

    void start(RegistrationFacts facts, std::function<RegistryTelemetry()> telemetry) {
        WA_CHECK(phase_ == Phase::kIdle, "started once");
        phase_ = Phase::kMember;
        facts_ = std::move(facts);
        telemetry_ = std::move(telemetry);
        later([this] { try_to_register(); });
        arm_beat(beat_wait());
    }

    void update(RegistrationFacts facts) {
        if (facts == facts_) return;
        facts_ = std::move(facts);
        // Who is not registered yet says it then; what changes while a registration is under way waits for its end.
        if (phase_ == Phase::kMember && !agent_id_.empty()) tell_facts();
    }

    void set_draining(bool draining) {
        if (draining_ == draining) return;
        draining_ = draining;
        if (phase_ == Phase::kMember && !agent_id_.empty()) arm_beat(Duration::zero());
    }

    void deregister(Duration deadline, std::function<void(Result<void>)> done) {
        WA_CHECK(phase_ != Phase::kLeaving, "left once");
        const bool was_member = phase_ == Phase::kMember;
        phase_ = Phase::kLeaving;
        left_ = std::move(done);
        beat_timer_.cancel();
        register_timer_.cancel();
        facts_timer_.cancel();
        beat_.cancel();
        // Time for an answer that is on its way is part of the deadline.
        leave_timer_.expires_after(deadline);
        leave_timer_.async_wait(
            guarded([this] { leave_ended(tl::unexpected(no_answer("the registry did not answer in time"))); }));
        if (was_member && register_.active()) return;  // its end goes on
        later([this] { leave(); });
    }

    [[nodiscard]] RegistryState state() const {
        RegistryState state;
        state.registered = !agent_id_.empty();
        state.registry_agent_id = agent_id_;
        state.consecutive_failures = failures_;
        state.last_success_at = last_success_;
        state.problem = problem_;
        return state;
    }

private:
    enum class Phase : std::uint8_t { kIdle, kMember, kLeaving };

    // A timer's handler that does nothing once this is gone or the timer was set anew.
    std::function<void(const error_code&)> guarded(std::function<void()> work) {
        return [work = std::move(work), alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
            if (!error && !alive.expired()) work();
        };
    }
    void later(std::function<void()> work) {
        boost::asio::post(loop_, [work = std::move(work), alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) work();
        });
    }

    // Options and stub of the next call; an error when it cannot even be made.
    struct Prepared {
        std::unique_ptr<proto::ServiceRegistry::Stub> stub;
        rpc::CallOptions options;
    };
    // `name`: of the span.
    Result<Prepared> prepare(const char* method, const char* name, std::int32_t retry = 0) {
        WA_TRY(auto channel, channel_.current());
        Prepared prepared;
        prepared.options.timeout = options_.call_timeout;
        prepared.options.service = proto::ServiceRegistry::service_full_name();
        prepared.options.method = method;
        prepared.options.target = channel_.target();
        prepared.options.purpose.name = name;
        prepared.options.purpose.retry = retry;
        if (options_.bearer_token) {
            WA_TRY(const std::string token, options_.bearer_token());
            if (!token.empty()) prepared.options.metadata.emplace_back("authorization", "Bearer " + token);
        }
        prepared.stub = proto::ServiceRegistry::NewStub(channel);
        return prepared;
    }
    [[nodiscard]] std::string called(const char* method) const {
        return std::string(method) + " at " + channel_.target();
    }

    // ---------------------------------------------------------------- registration

    void try_to_register() {
        if (phase_ != Phase::kMember || register_.active()) return;
        auto prepared = prepare("Register", "service_registry.register", tries_++);
        if (!prepared) return registration_failed(prepared.error());
        register_ = caller_.call<proto::RegisterResponse>(
            called("Register"), register_request(), prepared->options,
            [stub = std::shared_ptr(std::move(prepared->stub))](auto* context, auto* request, auto* response,
                                                                auto then) {
                stub->async()->Register(context, request, response, std::move(then));
            },
            [this](Result<proto::RegisterResponse> answer) { register_answered(std::move(answer)); });
    }

    proto::RegisterRequest register_request() {
        told_ = facts_;
        proto::RegisterRequest request;
        request.set_agent_type(proto::WORKER);
        for (const std::string& capability : facts_.capabilities)
            request.add_capabilities(clean(capability));
        for (const auto& [key, value] : facts_.metadata)
            (*request.mutable_metadata())[clean(key)] = clean(value);
        if (draining_) (*request.mutable_metadata())["draining"] = "true";
        request.set_namespace_(clean(facts_.name_space));
        request.set_cluster(clean(facts_.cluster));
        request.set_version(clean(facts_.version));
        fill(*request.mutable_telemetry(), telemetry_(), draining_);
        return request;
    }

    void register_answered(Result<proto::RegisterResponse> answer) {
        const bool good = answer && !answer->agent_id().empty() && answer->agent_id().size() <= kMaxAgentIdBytes;
        if (phase_ == Phase::kLeaving) {
            if (good) agent_id_ = answer->agent_id();
            return leave();
        }
        if (!answer) return registration_failed(answer.error());
        if (!good) {
            return registration_failed(make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService,
                                                  "registry",
                                                  called("Register") + ": the answer holds no usable agent id"));
        }
        // The one of before failures, or the one that other facts go with.
        const std::string former = agent_id_.empty() ? std::exchange(former_id_, "") : agent_id_;
        agent_id_ = answer->agent_id();
        registered_at_ = clock_.now();
        tries_ = 0;
        succeeded();
        listener_.registered(agent_id_, std::exchange(was_registered_, true));
        if (!former.empty()) take_out(former);
        // The registry ignores the telemetry of a registration and begins with a success rate of zero.
        arm_beat(Duration::zero());
        if (!(told_ == facts_)) tell_facts();
    }

    // Not at once: what comes and goes would come with a new id each time.
    void tell_facts() {
        const Duration since = clock_.now() - registered_at_;
        facts_timer_.expires_after(std::max<Duration>(options_.facts_pause - since, Duration::zero()));
        facts_timer_.async_wait(guarded([this] {
            if (phase_ != Phase::kMember || agent_id_.empty() || told_ == facts_) return;
            tries_ = 0;
            try_to_register();
        }));
    }

    void registration_failed(const Error& error) {
        failed(error);
        // One that is known under its id has not failed to register.
        listener_.registration_failed(error, tries_, agent_id_.empty() && tries_ == options_.registration_tries);
        // As the contract says: an id whose heartbeats only failed may still be good; the registration goes on anyway.
        register_timer_.expires_after(tries_ < options_.registration_tries ? backoff(tries_)
                                                                           : jittered(options_.longest_backoff));
        register_timer_.async_wait(guarded([this] { try_to_register(); }));
    }

    // The id of an earlier registration, so that the worker is there once. Best effort: the registry forgets it anyway.
    void take_out(const std::string& agent_id) {
        auto prepared = prepare("Deregister", "service_registry.deregister");
        if (!prepared) return;
        proto::DeregisterRequest request;
        request.set_agent_id(agent_id);
        take_out_ = start_deregister(*prepared, std::move(request), [](const Result<proto::DeregisterResponse>&) {});
    }

    rpc::Call start_deregister(Prepared& prepared, proto::DeregisterRequest request,
                               std::function<void(Result<proto::DeregisterResponse>)> done) {
        return caller_.call<proto::DeregisterResponse>(
            called("Deregister"), std::move(request), prepared.options,
            [stub = std::shared_ptr(std::move(prepared.stub))](auto* context, auto* sent, auto* response, auto then) {
                stub->async()->Deregister(context, sent, response, std::move(then));
            },
            std::move(done));
    }

    // ---------------------------------------------------------------- heartbeats

    void arm_beat(Duration wait) {
        beat_timer_.expires_after(wait);
        beat_timer_.async_wait(guarded([this] { beat(); }));
    }

    void beat() {
        if (phase_ != Phase::kMember) return;
        arm_beat(beat_wait());
        if (beat_.active()) return;  // its deadline ends it
        if (agent_id_.empty()) return listener_.heartbeat_ended(HeartbeatOutcome::kSkipped, nullptr, Duration::zero());
        auto prepared = prepare("Heartbeat", "service_registry.heartbeat", failures_);
        if (!prepared) return beat_failed(HeartbeatOutcome::kFailed, prepared.error(), Duration::zero());
        proto::HeartbeatRequest request;
        request.set_agent_id(agent_id_);
        fill(*request.mutable_telemetry(), telemetry_(), draining_);
        beat_began_ = clock_.now();
        const bool told_draining = draining_;
        beat_ = caller_.call<proto::HeartbeatResponse>(
            called("Heartbeat"), std::move(request), prepared->options,
            [stub = std::shared_ptr(std::move(prepared->stub))](auto* context, auto* sent, auto* response, auto then) {
                stub->async()->Heartbeat(context, sent, response, std::move(then));
            },
            [this, told_draining](const Result<proto::HeartbeatResponse>& answer) {
                beat_answered(answer, told_draining);
            });
    }

    void beat_answered(const Result<proto::HeartbeatResponse>& answer, bool told_draining) {
        const Duration took = clock_.now() - beat_began_;
        if (answer) {
            succeeded();
            listener_.heartbeat_ended(HeartbeatOutcome::kSuccess, nullptr, took);
            if (told_draining != draining_) arm_beat(Duration::zero());
            return;
        }
        const bool unknown = answer.error().code == ErrorCode::kNotFound;
        beat_failed(unknown ? HeartbeatOutcome::kNotFound : HeartbeatOutcome::kFailed, answer.error(), took);
    }

    void beat_failed(HeartbeatOutcome outcome, const Error& error, Duration took) {
        failed(error);
        listener_.heartbeat_ended(outcome, &error, took);
        if (outcome == HeartbeatOutcome::kNotFound) {
            agent_id_.clear();
            return register_anew();
        }
        if (failures_ >= options_.failures_until_registration) {
            former_id_ = std::exchange(agent_id_, "");
            return register_anew();
        }
        arm_beat(std::min(backoff(failures_), options_.heartbeat_interval));
    }

    void register_anew() {
        tries_ = 0;
        register_timer_.cancel();
        arm_beat(beat_wait());
        later([this] { try_to_register(); });
    }

    // ---------------------------------------------------------------- leaving

    void leave() {
        if (!left_) return;
        const std::string agent_id = agent_id_.empty() ? former_id_ : agent_id_;
        if (agent_id.empty()) return leave_ended({});
        auto prepared = prepare("Deregister", "service_registry.deregister");
        if (!prepared) return leave_ended(tl::unexpected(prepared.error()));
        proto::DeregisterRequest request;
        request.set_agent_id(agent_id);
        register_ =
            start_deregister(*prepared, std::move(request), [this](const Result<proto::DeregisterResponse>& answer) {
                if (!answer) return leave_ended(tl::unexpected(answer.error()));
                agent_id_.clear();  // also when nobody knew it
                former_id_.clear();
                listener_.deregistered();
                leave_ended({});
            });
    }

    void leave_ended(Result<void> result) {
        const auto done = std::exchange(left_, nullptr);
        if (!done) return;
        leave_timer_.cancel();
        register_.cancel();
        if (!result) listener_.deregistration_failed(result.error());
        done(std::move(result));
    }

    // ---------------------------------------------------------------- counting and waiting

    void succeeded() {
        failures_ = 0;
        problem_.clear();
        last_success_ = clock_.wall_now();
    }
    void failed(const Error& error) {
        ++failures_;
        problem_ = error.describe();
    }

    Duration jittered(Duration wait) {
        const double spread = options_.heartbeat_jitter * (2 * random_.unit() - 1);
        return std::chrono::duration_cast<Duration>(wait * (1 + spread));
    }
    Duration beat_wait() { return jittered(options_.heartbeat_interval); }
    // Between half and all of what doubles with each failure: never at once, never all together.
    Duration backoff(std::int32_t failures) {
        Duration ceiling = options_.first_backoff;
        for (std::int32_t i = 1; i < failures && ceiling < options_.longest_backoff; ++i)
            ceiling *= 2;
        ceiling = std::min(ceiling, options_.longest_backoff);
        return Duration{random_.between(ceiling.count() / 2, ceiling.count())};
    }

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    ServiceRegistryListener& listener_;
    ServiceRegistryOptions options_;
    rpc::Channel channel_;
    rpc::Caller caller_;
    RegistrationFacts facts_;
    RegistrationFacts told_;  // with the last registration
    MonoTime registered_at_{};
    std::function<RegistryTelemetry()> telemetry_;
    Phase phase_ = Phase::kIdle;
    bool draining_ = false;
    bool was_registered_ = false;
    std::string agent_id_;
    std::string former_id_;  // given up after failures, perhaps still known
    std::int32_t failures_ = 0;
    std::int32_t tries_ = 0;
    std::optional<EpochMillis> last_success_;
    std::string problem_;
    MonoTime beat_began_{};
    std::function<void(Result<void>)> left_;
    boost::asio::steady_timer beat_timer_;
    boost::asio::steady_timer register_timer_;
    boost::asio::steady_timer facts_timer_;
    boost::asio::steady_timer leave_timer_;
    rpc::Call register_;
    rpc::Call beat_;
    rpc::Call take_out_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

GrpcRegistry::GrpcRegistry(boost::asio::io_context& loop, const Clock& clock, Random& random,
                           ServiceRegistryListener& listener, ServiceRegistryOptions options)
    : impl_(std::make_unique<Impl>(loop, clock, random, listener, std::move(options))) {}

GrpcRegistry::~GrpcRegistry() = default;

void GrpcRegistry::start(RegistrationFacts facts, std::function<RegistryTelemetry()> telemetry) {
    impl_->start(std::move(facts), std::move(telemetry));
}

void GrpcRegistry::update(RegistrationFacts facts) {
    impl_->update(std::move(facts));
}

void GrpcRegistry::set_draining(bool draining) {
    impl_->set_draining(draining);
}

void GrpcRegistry::deregister(Duration deadline, std::function<void(Result<void>)> done) {
    impl_->deregister(deadline, std::move(done));
}

RegistryState GrpcRegistry::state() const {
    return impl_->state();
}

}  // namespace wa
