#include "runtimes/lambda_attempt.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/codec/text.h"
#include "http_client/url.h"
#include "runtimes/stop_error.h"

namespace wa {

using lambda::FunctionAnswer;
using lambda::LogTail;
using lambda::Refusal;
using lambda::RefusalKind;
using std::chrono::milliseconds;

namespace {

constexpr std::string_view kOrigin = "lambda";
constexpr std::size_t kShownBytes = 400;
constexpr std::size_t kMostLines = 200;  // of logs of ours
constexpr std::size_t kMaxAnswer = 7U << 20U;

std::string yes_no(bool value) {
    return value ? "true" : "false";
}

// AWS's ids and versions; they go into results as they are.
std::string plain(std::string_view text) {
    constexpr std::size_t kMax = 100;
    return clip(lossy_utf8(text.substr(0, kMax), kMax), kMax);
}

}  // namespace

LambdaRuntime::Attempt::Attempt(LambdaRuntime& runtime, const AttemptContext& context, RuntimeListener& listener)
    : runtime_(runtime),
      context_(context),
      listener_(listener),
      began_(runtime.clock_.now()),
      limit_timer_(runtime.loop_) {}

LambdaRuntime::Attempt::~Attempt() {
    if (log_) log_->close(stage_ == Stage::kEnded ? "" : "left by the worker; the function may still run");
}

Error LambdaRuntime::Attempt::error(ErrorCode code, Retry retry, Fault fault, std::string message) const {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

std::string LambdaRuntime::Attempt::masked(std::string_view text) const {
    const std::string safe = mask_.apply(text);
    return clip(lossy_utf8(std::string_view(safe).substr(0, kShownBytes + 4), kShownBytes), kShownBytes);
}

void LambdaRuntime::Attempt::say(std::string line) {
    if (report_.attempt.logs.size() < kMostLines) report_.attempt.logs.push_back("lambda: " + std::move(line));
}

// ---- before the call

void LambdaRuntime::Attempt::begin() {
    const LambdaOptions& options = runtime_.options_;
    if (!options.enabled || !options.misconfigured.empty()) {
        const Availability now = runtime_.availability();
        report_.unavailable = now.reason;
        return refuse(error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker,
                            "the lambda runtime cannot be used: " + now.detail));
    }
    auto task = lambda::parse_task(*context_.ticket, options.rules);
    if (!task) return refuse(std::move(task).error());
    task_ = std::move(*task);
    mask_ = SecretMask(task_.secrets);
    set_limits();
    if (runtime_.logs_ != nullptr) log_ = runtime_.logs_->open(context_.ticket->ticket_id, context_.number);
    ask_for_keys();
}

// The function is given `told_`; its answer may be a little later. Both end before the engine's own limit, so that what
// is said about the end is said by who knows.
void LambdaRuntime::Attempt::set_limits() {
    told_ = runtime_.options_.timeout;
    if (task_.timeout) told_ = std::min<Duration>(told_, *task_.timeout);
    until_ = began_ + told_ + runtime_.options_.slack;
    if (context_.deadline != MonoTime{}) {
        const Duration left = std::max<Duration>(context_.deadline - began_, milliseconds(1));
        const Duration margin = std::min<Duration>(milliseconds(500), left / 10);
        told_ = std::min(told_, left - margin);
        until_ = std::min(until_, context_.deadline - margin);
    }
    limit_timer_.expires_after(std::max<Duration>(until_ - began_, milliseconds(1)));
    limit_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& failure) {
        if (!failure && !alive.expired()) time_is_over();
    });
}

void LambdaRuntime::Attempt::ask_for_keys() {
    stage_ = Stage::kKeys;
    runtime_.credentials_.get([this, alive = std::weak_ptr<int>(alive_)](Result<aws::Credentials> keys) {
        if (!alive.expired()) got_keys(std::move(keys));
    });
}

void LambdaRuntime::Attempt::got_keys(Result<aws::Credentials> keys) {
    if (stage_ != Stage::kKeys) return;
    if (!keys) {
        runtime_.probe_.unreachable(keys.error().message);
        report_.unavailable = Unavailable::kUnreachable;
        return refuse(std::move(keys).error());
    }
    keys_ = std::move(*keys);
    // AWS quotes what it was sent when it refuses a signature.
    std::vector<std::string> secrets = task_.secrets;
    secrets.push_back(keys_.secret_key);
    secrets.push_back(keys_.session_token);
    mask_ = SecretMask(secrets);
    invoke();
}

// ---- the call

void LambdaRuntime::Attempt::invoke() {
    const LambdaOptions& options = runtime_.options_;
    auto body = lambda::payload(task_, context_.ticket->ticket_id, context_.number, told_);
    if (!body) return refuse(std::move(body).error());
    http::ServiceCall call;
    http::Request& request = call.request;
    request.method = "POST";
    request.url = http::join_url(options.endpoint, lambda::invocation_path(task_));
    request.headers = {
        {"Content-Type", "application/json"}, {"X-Amz-Invocation-Type", "RequestResponse"}, {"X-Amz-Log-Type", "Tail"}};
    request.body = std::move(*body);
    request.connect_timeout = options.connect_timeout;
    request.timeout = Duration::zero();  // limit_timer_ ends it
    request.max_response_bytes = kMaxAnswer;
    request.fresh_connection = true;
    request.purpose.name = "lambda.invoke";
    request.purpose.ticket_id = context_.ticket->ticket_id;
    call.repeat = http::Repeat::kNever;
    call.attempts = 1;
    call.prepare = [keys = keys_, scope = aws::SigningScope{options.region, "lambda"},
                    &clock = runtime_.clock_](http::Request& outgoing) -> Result<void> {
        WA_TRY(auto added, aws::sign(outgoing, keys, scope, clock.wall_now()));
        outgoing.headers.insert(outgoing.headers.end(), std::make_move_iterator(added.begin()),
                                std::make_move_iterator(added.end()));
        return {};
    };
    stage_ = Stage::kCall;
    call_ = runtime_.caller_.call(std::move(call), [this](http::ServiceAnswer answer) { answered(std::move(answer)); });
}

void LambdaRuntime::Attempt::answered(http::ServiceAnswer answer) {
    constexpr int kOk = 200;
    if (stage_ != Stage::kCall) return;
    sent_ = answer.result.has_value() || answer.outcome_unknown;
    if (answer.result) {
        const http::Response& response = *answer.result;
        report_.attempt.output["request_id"] = plain(response.header("x-amzn-requestid"));
        return response.status == kOk ? function_answered(response) : refused(response);
    }
    Error why = std::move(answer.result).error();
    if (sent_) return end_unknown(why.code, why.fault, masked(why.message));
    // Nobody was reached. What is wrong with the request itself is not the endpoint's fault.
    if (why.code != ErrorCode::kInvalidArgument && why.code != ErrorCode::kInternal) {
        runtime_.probe_.unreachable(why.message);
        report_.unavailable = Unavailable::kUnreachable;
    }
    refuse(std::move(why));
}

void LambdaRuntime::Attempt::refused(const http::Response& response) {
    const Refusal refusal = lambda::read_refusal(response);
    const std::string status = std::to_string(response.status);
    const std::string said =
        masked(refusal.type + (refusal.type.empty() || refusal.message.empty() ? "" : ": ") + refusal.message);
    const std::string message = "AWS answers " + status + (said.empty() ? "" : " (" + said + ")");
    switch (refusal.kind) {
        case RefusalKind::kThrottled: {
            Error why = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                              "throttled, the function was not run: " + message);
            if (const auto wait = http::retry_after(response, runtime_.clock_.wall_now())) {
                why.retry = Retry::kAfterHint;
                why.retry_after = *wait;
            }
            return refuse(std::move(why));
        }
        case RefusalKind::kExpired:
            runtime_.credentials_.forget(keys_);
            if (runtime_.credentials_.renewable() && !std::exchange(renewed_, true) && !stopped_) return ask_for_keys();
            [[fallthrough]];
        case RefusalKind::kCredentials:
            report_.unavailable = Unavailable::kUnreachable;
            return refuse(error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kWorker,
                                "the credentials for AWS are not accepted: " + message));
        case RefusalKind::kForbidden:
            return refuse(error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kWorker,
                                "the function " + task_.function + " may not be called: " + message));
        case RefusalKind::kNotFound:
            return refuse(error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput,
                                "there is no function " + task_.function + ": " + message));
        case RefusalKind::kInvalid:
            return refuse(error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput,
                                "the call of " + task_.function + " is refused: " + message));
        case RefusalKind::kService: return end_unknown(ErrorCode::kUnavailable, Fault::kService, message);
    }
}

void LambdaRuntime::Attempt::function_answered(const http::Response& response) {
    answered_ = true;
    const std::string_view failed = response.header("x-amz-function-error");
    StringMap& facts = report_.attempt.metadata;
    if (const auto version = response.header("x-amz-executed-version"); !version.empty())
        facts["executed_version"] = plain(version);
    if (!failed.empty()) facts["function_error"] = plain(failed);
    FunctionAnswer answer = lambda::read_answer(response.body);
    if (!answer.error_type.empty() && !failed.empty()) facts["error_type"] = masked(answer.error_type);
    keep(TaskLogStream::kStdout, out_, answer.out);
    keep(TaskLogStream::kStderr, err_, answer.err);
    if (!answer.error.empty()) report_.attempt.output["error"] = masked(answer.error);
    take_tail(lambda::read_log_tail(response.header("x-amz-log-result")));
    report_.attempt.error = judge(answer, !failed.empty());
    report_.attempt.success = !report_.attempt.error.has_value();
    finish();
}

void LambdaRuntime::Attempt::keep(TaskLogStream stream, KeptOutput& kept, const std::string& text) {
    if (text.empty()) return;
    const std::string safe = mask_.apply(text);
    kept.append(safe);
    if (log_) static_cast<void>(log_->append(stream, safe.ends_with('\n') ? safe : safe + "\n"));
}

void LambdaRuntime::Attempt::take_tail(const LogTail& tail) {
    StringMap& facts = report_.attempt.metadata;
    billed_ms_ = tail.billed_ms;
    if (tail.billed_ms) facts["billed_duration_ms"] = std::to_string(*tail.billed_ms);
    if (tail.memory_used_mb) facts["memory_used_mb"] = std::to_string(*tail.memory_used_mb);
    if (tail.memory_mb) facts["memory_size_mb"] = std::to_string(*tail.memory_mb);
    for (const std::string& line : tail.lines) {
        const std::string shown = masked(line);
        say("log: " + shown);
        if (log_) static_cast<void>(log_->append(TaskLogStream::kWorker, "[lambda] " + shown + "\n"));
    }
}

// ---- the end

std::optional<Error> LambdaRuntime::Attempt::judge(const FunctionAnswer& answer, bool function_failed) {
    std::int32_t code = answer.exit_code.value_or(0);
    if (function_failed) {
        code = std::max(1, code);
        report_.attempt.exit_code = code;
        for (const std::string& line : answer.trace)
            say("trace: " + masked(line));
        return function_error(answer);
    }
    if (answer.bad_exit_code) {
        return error(ErrorCode::kMalformed, Retry::kNever, Fault::kTask,
                     "the function's exit_code is no number: whether it succeeded cannot be told");
    }
    report_.attempt.exit_code = code;
    if (code == 0) return std::nullopt;
    std::string message = "exit code " + std::to_string(code);
    constexpr int kSignal = 128;
    constexpr int kLastSignal = 64;
    if (code > kSignal && code <= kSignal + kLastSignal) message += " (signal " + std::to_string(code - kSignal) + ")";
    std::string line = err_.last_line(kShownBytes);
    if (line.empty()) line = masked(answer.error);
    if (!line.empty()) message += ": " + line;
    const Retry retry = task_.retry.includes(code) ? Retry::kAfterBackoff : Retry::kNever;
    return error(ErrorCode::kExecutionFailed, retry, Fault::kTask, std::move(message));
}

// It raised an error, could not be loaded, used up its memory, or was ended by AWS when its time was over.
Error LambdaRuntime::Attempt::function_error(const FunctionAnswer& answer) const {
    const std::string said = masked(answer.error);
    const bool in_time =
        answer.error_type != "Sandbox.Timedout" && said.find("Task timed out after") == std::string::npos;
    if (!in_time) {
        return error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                     "the function was ended by AWS, its own time was over: " + said);
    }
    std::string message = "the function failed";
    if (!answer.error_type.empty()) message += " with " + masked(answer.error_type);
    if (!said.empty()) message += ": " + said;
    const Retry retry =
        task_.retry.includes(report_.attempt.exit_code.value_or(1)) ? Retry::kAfterBackoff : Retry::kNever;
    return error(ErrorCode::kExecutionFailed, retry, Fault::kTask, std::move(message));
}

void LambdaRuntime::Attempt::stop(StopReason reason, Duration grace) {
    if (stage_ == Stage::kEnded) return;
    if (!stopped_) stopped_ = reason;
    if (stage_ == Stage::kKeys || !call_.request_sent()) {
        call_ = {};
        return refuse(stop_error(*stopped_, std::string(kOrigin)));
    }
    // Its answer may still come, and then it is known what became of it; what is handed back without it runs again.
    const bool handed_back = reason == StopReason::kShutdown || reason == StopReason::kPartitionRevoked;
    const Duration wait = handed_back ? grace : std::min(grace, runtime_.options_.stop_wait);
    until_ = std::min(until_, runtime_.clock_.now() + wait);
    limit_timer_.expires_after(std::max<Duration>(until_ - runtime_.clock_.now(), Duration::zero()));
    limit_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& failure) {
        if (!failure && !alive.expired()) time_is_over();
    });
}

void LambdaRuntime::Attempt::time_is_over() {
    if (stage_ == Stage::kEnded) return;
    const bool sent = stage_ == Stage::kCall && call_.request_sent();
    Error why = stopped_ ? stop_error(*stopped_, std::string(kOrigin))
                         : error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                                 "timed out after " + seconds_text(runtime_.clock_.now() - began_) + " s");
    call_ = {};
    if (!sent) return refuse(std::move(why));
    sent_ = true;
    report_.attempt.still_alive = true;
    report_.attempt.metadata["remote_outcome"] = "unknown";
    why.retry = Retry::kNever;  // what may still run is not begun again
    why.message += "; a function cannot be stopped, " + task_.function + " may still run";
    report_.attempt.error = std::move(why);
    finish();
}

void LambdaRuntime::Attempt::end_unknown(ErrorCode code, Fault fault, const std::string& why) {
    report_.attempt.metadata["remote_outcome"] = "unknown";
    report_.attempt.error = error(
        code, Retry::kNever, fault,
        "what became of the call of " + task_.function + " is not known, it may have run or may still run: " + why);
    report_.attempt.error->fix = "see in the function's own log whether it did its work, then submit the ticket again";
    finish();
}

void LambdaRuntime::Attempt::refuse(Error why) {
    report_.work_began = false;
    report_.attempt.error = std::move(why);
    finish();
}

void LambdaRuntime::Attempt::describe() {
    AttemptReport& attempt = report_.attempt;
    attempt.runtime = kOrigin;
    StringMap& facts = attempt.metadata;
    facts["runtime"] = kOrigin;
    facts["duration_seconds"] = seconds_text(runtime_.clock_.now() - began_);
    if (!task_.shown.empty()) attempt.output["command"] = task_.shown;
    if (task_.function.empty()) return;  // it was not even read
    facts["function_name"] = task_.function;
    if (!task_.qualifier.empty()) facts["qualifier"] = task_.qualifier;
    facts["effective_timeout_seconds"] = seconds_text(told_);
    if (!report_.work_began) return;
    const bool late = attempt.error && attempt.error->code == ErrorCode::kTimeout;
    facts["timed_out"] = yes_no(late || stopped_ == StopReason::kTimeout);
    if (!answered_) return;
    if (attempt.exit_code) attempt.output["exit_code"] = std::to_string(*attempt.exit_code);
    // Each stream may use what the other leaves of the room, and at least half of it.
    const std::size_t room = task_.max_output_bytes;
    const std::size_t lines = runtime_.options_.result_lines;
    const std::string err = err_.text(std::max(room / 2, room - std::min<std::size_t>(room, out_.total())), lines);
    const std::string out = out_.text(room - std::min(room, err.size()), lines);
    facts["truncated"] = yes_no(out.size() < out_.total() || err.size() < err_.total());
    attempt.output["stdout"] = out;
    attempt.output["stderr"] = err;
}

void LambdaRuntime::Attempt::finish() {
    if (stage_ == Stage::kEnded) return;
    stage_ = Stage::kEnded;
    limit_timer_.cancel();
    call_ = {};
    describe();
    const auto& why = report_.attempt.error;
    const Duration took = runtime_.clock_.now() - began_;
    if (sent_ && runtime_.options_.on_invocation) {
        const bool late = why && why->code == ErrorCode::kTimeout;
        std::optional<Duration> billed;
        if (billed_ms_) billed = milliseconds(*billed_ms_);
        runtime_.options_.on_invocation(!why ? "success" : late ? "timeout" : "failed", took, billed);
    }
    say((why ? why->message : std::string("exit code 0")) + " after " + seconds_text(took) + " s");
    if (log_) log_->close(why && !report_.attempt.exit_code && report_.work_began ? why->message : std::string());
    boost::asio::post(runtime_.loop_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) listener_.runtime_ended(context_.key, std::move(report_));
    });
}

}  // namespace wa
