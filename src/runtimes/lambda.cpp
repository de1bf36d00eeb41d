#include "runtimes/lambda.h"

#include <utility>

#include "http_client/url.h"
#include "runtimes/lambda_attempt.h"

namespace wa {
namespace {

// Nothing is repeated here: a call that was not run is the engine's to try again, or another runtime's.
http::ServicePolicy call_policy(const LambdaOptions& options) {
    http::ServicePolicy policy;
    policy.name = "lambda";
    policy.attempts = 1;
    policy.calls = options.calls;
    policy.queue = options.calls;
    return policy;
}

http::ServicePolicy sts_policy() {
    http::ServicePolicy policy;
    policy.name = "sts";
    policy.calls = 2;
    return policy;
}

}  // namespace

LambdaRuntime::LambdaRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                             TaskLogs* logs, LambdaOptions options)
    : loop_(loop),
      clock_(clock),
      client_(client),
      logs_(logs),
      options_(std::move(options)),
      caller_(loop, clock, random, client, call_policy(options_), options_.listener),
      sts_(loop, clock, random, client, sts_policy(), options_.listener),
      credentials_(clock, sts_, options_.credentials),
      probe_(loop, options_.probe_interval, [this](EndpointProbe::Answer answer) { look(std::move(answer)); }) {}

LambdaRuntime::~LambdaRuntime() = default;

void LambdaRuntime::begin() {
    if (options_.enabled && options_.misconfigured.empty()) probe_.begin();
}

void LambdaRuntime::look(EndpointProbe::Answer answer) {
    credentials_.get([this, alive = std::weak_ptr<int>(alive_), answer](const Result<aws::Credentials>& keys) {
        if (alive.expired()) return;
        if (!keys) return answer(Failure(keys.error()));
        ask_endpoint(answer);
    });
}

// Without a signature, so it costs nothing and does nothing: that it is answered at all is what counts.
void LambdaRuntime::ask_endpoint(const EndpointProbe::Answer& answer) {
    http::Request request;
    request.url = http::join_url(options_.endpoint, "/");
    request.connect_timeout = options_.probe_limit;
    request.timeout = options_.probe_limit;
    request.purpose.name = "lambda.probe";
    probe_call_ = client_.send(std::move(request), [answer](const Result<http::Response>& response) {
        // A page that is too large is an answer too.
        if (response || response.error().code == ErrorCode::kLimitExceeded) return answer({});
        answer(Failure(response.error()));
    });
}

Availability LambdaRuntime::availability() const {
    if (!options_.enabled) return {false, Unavailable::kDisabled, "it is switched off (LAMBDA_ENABLED=false)"};
    if (!options_.misconfigured.empty()) return {false, Unavailable::kDisabled, options_.misconfigured};
    if (!probe_.there()) return {false, Unavailable::kUnreachable, probe_.detail()};
    return {};
}

Result<void> LambdaRuntime::validate(const Ticket& ticket) const {
    const auto task = lambda::parse_task(ticket, options_.rules);
    if (!task) return Failure(task.error());
    const auto payload = lambda::payload(*task, ticket.ticket_id, 1, options_.timeout);
    if (!payload) return Failure(payload.error());
    return {};
}

std::unique_ptr<RunningAttempt> LambdaRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
