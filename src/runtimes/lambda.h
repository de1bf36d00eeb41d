// The runtime "lambda": the ticket's command as the payload of an AWS Lambda function (contract/executors.md 6.5).
//
// One attempt is at most one invocation: the request goes out on a connection of its own and is never repeated. What
// certainly was not run (no connection, throttled, refused) is told apart from what may have been: a request that went
// out and has no answer is an error that says so and is not retried, as nobody can be asked about it.
//
// An invocation cannot be stopped and cannot be found again. An attempt that is told to stop waits for its answer for
// as long as it may, and then says that the function may still run. A worker that is killed loses what it waited for;
// the next attempt has another number, which the function gets with the ticket's id.
//
// Result, beside the local runtime's members: output.request_id, error; metadata.function_name, qualifier,
// executed_version, function_error, error_type, billed_duration_ms, memory_used_mb, memory_size_mb;
// remote_outcome=unknown.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "http_client/http_client.h"
#include "http_client/service_caller.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "runtimes/aws_credentials.h"
#include "runtimes/endpoint_probe.h"
#include "runtimes/lambda_task.h"

namespace wa {

struct LambdaOptions {
    bool enabled = false;       // LAMBDA_ENABLED
    std::string misconfigured;  // why it can never be used; empty = it can
    std::string endpoint;       // "https://lambda.eu-west-1.amazonaws.com"
    std::string region = "us-east-1";
    lambda::TaskRules rules;
    aws::CredentialOptions credentials;
    Duration timeout = std::chrono::seconds(900);  // LAMBDA_TIMEOUT_SECONDS: what a function is given at most
    Duration slack = std::chrono::seconds(10);     // by which its answer may be later than that
    // An attempt that is to stop waits for its answer so long at most; one whose ticket is handed back, as long as it
    // may.
    Duration stop_wait = std::chrono::seconds(3);
    Duration connect_timeout = std::chrono::seconds(5);
    Duration probe_interval = std::chrono::seconds(60);
    Duration probe_limit = std::chrono::seconds(5);
    std::size_t calls = 1024;  // at a time
    std::size_t result_lines = 1000;
    http::ServiceListener* listener = nullptr;  // of calls; may be null
    // One invocation is over: success, failed, timeout. May be empty.
    std::function<void(std::string_view status, Duration took, std::optional<Duration> billed)> on_invocation;
};

class LambdaRuntime final : public Runtime {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    LambdaRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                  TaskLogs* logs, LambdaOptions options);
    ~LambdaRuntime() override;

    // Looks for keys and for the endpoint, from now on again and again. Until the first answer it counts as there.
    void begin();

    [[nodiscard]] std::string_view name() const override { return "lambda"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return options_.enabled; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

private:
    class Attempt;
    friend class Attempt;
    void look(EndpointProbe::Answer answer);
    void ask_endpoint(const EndpointProbe::Answer& answer);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    http::Client& client_;
    TaskLogs* logs_;
    LambdaOptions options_;
    http::ServiceCaller caller_;
    http::ServiceCaller sts_;
    aws::CredentialSource credentials_;
    EndpointProbe probe_;
    http::Call probe_call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
