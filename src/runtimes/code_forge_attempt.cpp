#include "runtimes/code_forge_attempt.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "http_client/url.h"
#include "runtimes/stop_error.h"
#include "runtimes/work_keeper.h"

namespace wa {

using code_forge::Generation;
using http::PollEnd;
using std::chrono::milliseconds;
using Reading = http::PollReading<Generation>;

namespace {

constexpr std::string_view kOrigin = "code_forge";
constexpr std::size_t kMostLines = 100;  // of logs of ours
constexpr std::size_t kMaxAnswer = 8U << 20U;

std::string yes_no(bool value) {
    return value ? "true" : "false";
}

// Whole artifacts only, as many as there is room for.
std::string artifacts_text(const boost::json::array& artifacts, std::size_t room, bool& truncated) {
    std::string text = "[";
    for (const auto& artifact : artifacts) {
        const std::string one = json_text(artifact);
        if (text.size() + one.size() + 2 > room) {
            truncated = true;
            break;
        }
        text += (text.size() > 1 ? "," : "") + one;
    }
    return text + "]";
}

}  // namespace

CodeForgeRuntime::Attempt::Attempt(CodeForgeRuntime& runtime, const AttemptContext& context, RuntimeListener& listener)
    : runtime_(runtime),
      context_(context),
      listener_(listener),
      began_(runtime.clock_.now()),
      limit_timer_(runtime.loop_) {}

CodeForgeRuntime::Attempt::~Attempt() {
    if (log_) log_->close(stage_ == Stage::kEnded ? "" : "left by the worker; the generation goes on");
}

Error CodeForgeRuntime::Attempt::error(ErrorCode code, Retry retry, Fault fault, std::string message) const {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

std::string CodeForgeRuntime::Attempt::shown() const {
    return "the generation " + (request_id_.empty() ? "of '" + clip(task_.template_id) + "'" : clip(request_id_));
}

void CodeForgeRuntime::Attempt::say(const std::string& line) {
    if (report_.attempt.logs.size() < kMostLines) report_.attempt.logs.push_back("code_forge: " + line);
    if (log_) static_cast<void>(log_->append(TaskLogStream::kWorker, "[code_forge] " + line + "\n"));
}

// ---- look

void CodeForgeRuntime::Attempt::begin() {
    const CodeForgeOptions& options = runtime_.options_;
    if (!options.enabled || !options.misconfigured.empty()) {
        const Availability now = runtime_.availability();
        report_.unavailable = now.reason;
        return refuse(
            error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker, "Code Forge cannot be used: " + now.detail));
    }
    auto task = code_forge::parse_task(*context_.ticket);
    if (!task) return refuse(std::move(task).error());
    task_ = std::move(*task);
    work_ = hash_of(context_.ticket->plan_id + '\0' + context_.ticket->task_id + '\0' + task_.body);
    set_limit();
    if (runtime_.logs_ != nullptr) log_ = runtime_.logs_->open(context_.ticket->ticket_id, context_.number);
    if (!adopt()) post();
}

// Ends before the engine's own limit, so that what is said about the end is said by who knows.
void CodeForgeRuntime::Attempt::set_limit() {
    limit_ = std::min(task_.timeout ? Duration(*task_.timeout) : runtime_.options_.timeout, runtime_.options_.longest);
    if (context_.deadline != MonoTime{}) {
        const Duration left = std::max<Duration>(context_.deadline - began_, milliseconds(1));
        limit_ = std::min(limit_, left - std::min<Duration>(milliseconds(500), left / 10));
    }
    arm(began_ + limit_);
}

void CodeForgeRuntime::Attempt::arm(MonoTime when) {
    until_ = when;
    limit_timer_.expires_after(std::max<Duration>(when - runtime_.clock_.now(), Duration::zero()));
    limit_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& failure) {
        if (!failure && !alive.expired()) time_is_over();
    });
}

// True: an earlier attempt has begun it, or may have.
bool CodeForgeRuntime::Attempt::adopt() {
    const auto text = runtime_.notes_.read(context_.ticket->ticket_id);
    if (!text) return false;
    const auto note = code_forge::read_note(*text);
    if (note && note->work != work_) {
        say("the ticket asks for something else than the generation that was begun for it before");
        return false;
    }
    if (note) request_id_ = note->request_id;
    adopted_ = true;
    if (request_id_.empty()) {
        end_unknown(
            error(ErrorCode::kInterrupted, Retry::kNever, Fault::kWorker,
                  "an earlier attempt asked Code Forge for it and was interrupted before the answer: whether it "
                  "is being generated is not known, and it is not asked for twice"));
        return true;
    }
    say("asks on for " + shown() + ", which an earlier attempt began");
    ask();
    return true;
}

Result<void> CodeForgeRuntime::Attempt::note() const {
    const code_forge::Note note{context_.ticket->ticket_id, work_, request_id_};
    return runtime_.notes_.write(context_.ticket->ticket_id, code_forge::write_note(note));
}

// ---- the one POST

void CodeForgeRuntime::Attempt::post() {
    if (auto noted = note(); !noted) return refuse(std::move(noted).error());
    stage_ = Stage::kPost;
    http::ServiceCall call;
    call.request.method = "POST";
    call.request.url = http::join_url(runtime_.options_.url, "/api/v1/generate");
    call.request.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}};
    call.request.body = task_.body;
    call.request.timeout = runtime_.options_.request_timeout;
    call.request.fresh_connection = true;
    call.request.purpose.name = "code_forge.submit_generation";
    call.request.purpose.ticket_id = context_.ticket->ticket_id;
    call.deadline = until_;
    call.repeat = http::Repeat::kNever;
    call_ = runtime_.caller_.call(std::move(call), [this](http::ServiceAnswer answer) { posted(std::move(answer)); });
}

void CodeForgeRuntime::Attempt::posted(http::ServiceAnswer answer) {
    if (stage_ != Stage::kPost) return;
    if (!answer.result) {
        Error why = std::move(answer.result).error();
        if (answer.outcome_unknown) {
            return end_unknown(error(why.code, Retry::kNever, why.fault,
                                     "whether Code Forge has begun " + shown() + " is not known: " + why.message));
        }
        runtime_.probe_.unreachable(why.message);
        report_.unavailable = Unavailable::kUnreachable;
        return refuse(std::move(why));
    }
    constexpr int kOk = 200;
    constexpr int kRedirect = 300;
    if (answer.result->status < kOk || answer.result->status >= kRedirect) return refused(*answer.result);
    auto id = code_forge::read_request_id(answer.result->body);
    if (!id) {
        return end_unknown(
            error(ErrorCode::kMalformed, Retry::kNever, Fault::kService,
                  "Code Forge has taken the request, and cannot be asked about it: " + id.error().message));
    }
    request_id_ = std::move(*id);
    // Without it the next attempt would have to give up; this one can still go on.
    if (auto noted = note(); !noted) say("its request_id could not be written down: " + noted.error().message);
    say("Code Forge has taken it as " + shown());
    if (stopped_) return goes_on(stop_error(*stopped_, std::string(kOrigin)));
    ask();
}

// 503 is what it says when it has no store; only its own word for it is believed, as it may be of somebody on the way.
void CodeForgeRuntime::Attempt::refused(const http::Response& response) {
    constexpr int kServerSide = 500;
    const auto detail = code_forge::read_detail(response.body);
    const std::string message = "Code Forge answers " + std::to_string(response.status) +
                                (detail && !detail->empty() ? " (" + *detail + ")" : "");
    if (response.status == 429 || (response.status == 503 && detail)) {
        if (response.status == 503) report_.unavailable = Unavailable::kUnreachable;
        Error why = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, message);
        why.retry_after = http::retry_after(response, runtime_.clock_.wall_now());
        if (why.retry_after) why.retry = Retry::kAfterHint;
        return refuse(std::move(why));
    }
    if (response.status == 401) {
        report_.unavailable = Unavailable::kUnreachable;
        return refuse(error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kWorker, message));
    }
    if (response.status >= 400 && response.status < kServerSide && response.status != 408 && response.status != 425) {
        return refuse(
            error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "the template is refused: " + message));
    }
    end_unknown(error(ErrorCode::kUnavailable, Retry::kNever, Fault::kService,
                      "whether Code Forge has begun " + shown() + " is not known: " + message));
}

// ---- asking

void CodeForgeRuntime::Attempt::ask() {
    stage_ = Stage::kAsk;
    const CodeForgeOptions& options = runtime_.options_;
    http::PollSpec spec;
    spec.what = shown();
    spec.policy.interval = task_.interval ? Duration(*task_.interval) : options.interval;
    spec.policy.first_after = adopted_ ? Duration::zero() : std::min<Duration>(spec.policy.interval, milliseconds(500));
    spec.policy.growth = 1;
    spec.policy.longest = std::max<Duration>(spec.policy.interval, std::chrono::seconds(30));
    spec.policy.appear_within = std::max(options.appear_within, spec.policy.interval * 2);
    spec.policy.unknown_answers = options.unknown_answers;
    spec.deadline = until_ + std::chrono::hours(1);  // limit_timer_ ends it
    spec.ask = [this] {
        http::ServiceCall call;
        call.request.url =
            http::join_url(runtime_.options_.url, "/api/v1/generate/" + http::encode_url_part(request_id_));
        call.request.headers = {{"Accept", "application/json"}};
        call.request.timeout = runtime_.options_.request_timeout;
        call.request.max_response_bytes = kMaxAnswer;
        call.request.purpose.name = "code_forge.get_generation_status";
        call.request.purpose.ticket_id = context_.ticket->ticket_id;
        return call;
    };
    spec.progress = [this](const std::string& progress) { say(progress); };
    poll_ = runtime_.poller_.poll<Generation>(
        std::move(spec), [this](const http::Response& response) { return read(response); },
        [this](Outcome outcome) { ended(std::move(outcome)); });
}

Reading CodeForgeRuntime::Attempt::read(const http::Response& response) const {
    auto generation = code_forge::read_generation(response.body, request_id_);
    if (!generation) return Reading::unknown(std::move(generation).error());
    const bool over =
        generation->state == code_forge::State::kCompleted || generation->state == code_forge::State::kFailed;
    if (!over) return Reading::running(clip(generation->status));
    return Reading::ended(std::move(*generation));
}

void CodeForgeRuntime::Attempt::ended(Outcome outcome) {
    if (stage_ != Stage::kAsk) return;
    if (outcome.end == PollEnd::kEnded) return generated(std::move(*outcome.result));
    Error why = std::move(outcome.result).error();
    why.origin = kOrigin;
    switch (outcome.end) {
        // The next attempt asks on.
        case PollEnd::kUnknownTooLong:
        case PollEnd::kOutOfTime:
            why.retry = Retry::kAfterBackoff;
            runtime_.probe_.unreachable(why.message);
            break;
        case PollEnd::kEnded:
        case PollEnd::kRefused:
        case PollEnd::kVanished:
        case PollEnd::kNeverAppeared: why.retry = Retry::kNever; break;
    }
    end_unknown(std::move(why));
}

void CodeForgeRuntime::Attempt::generated(Generation generation) {
    AttemptReport& attempt = report_.attempt;
    status_ = generation.status;
    bool truncated = false;
    attempt.output["artifacts"] = artifacts_text(generation.artifacts, runtime_.options_.max_output_bytes, truncated);
    if (!generation.pipeline_id.empty()) attempt.output["pipeline_id"] = generation.pipeline_id;
    attempt.metadata["artifacts_count"] = std::to_string(generation.artifacts.size());
    attempt.metadata["truncated"] = yes_no(truncated);
    if (generation.state == code_forge::State::kFailed) {
        attempt.error = error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask,
                              shown() + " ended as '" + clip(generation.status) + "'" +
                                  (generation.error.empty() ? "" : ": " + generation.error));
    }
    attempt.success = !attempt.error.has_value();
    finish();
}

// ---- the end

void CodeForgeRuntime::Attempt::stop(StopReason reason, Duration grace) {
    if (stage_ == Stage::kEnded) return;
    if (!stopped_) stopped_ = reason;
    if (stage_ == Stage::kAsk) return goes_on(stop_error(*stopped_, std::string(kOrigin)));
    if (!call_.request_sent()) {
        call_ = {};
        return refuse(stop_error(*stopped_, std::string(kOrigin)));
    }
    // Its answer says under which name the generation goes on.
    arm(std::min(until_, runtime_.clock_.now() + grace));
}

void CodeForgeRuntime::Attempt::time_is_over() {
    if (stage_ == Stage::kEnded) return;
    Error why = stopped_ ? stop_error(*stopped_, std::string(kOrigin))
                         : error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                                 "timed out after " + seconds_text(runtime_.clock_.now() - began_) + " s");
    if (stage_ == Stage::kPost && !call_.request_sent()) {
        call_ = {};
        return refuse(std::move(why));
    }
    goes_on(std::move(why));
}

// It cannot be stopped. With a name the next attempt, if there is one, asks on; without one nobody can.
void CodeForgeRuntime::Attempt::goes_on(Error why) {
    report_.attempt.still_alive = true;
    if (request_id_.empty()) why.retry = Retry::kNever;
    why.message += "; Code Forge cannot stop " + shown() + ", it may go on";
    end_unknown(std::move(why));
}

void CodeForgeRuntime::Attempt::refuse(Error why) {
    report_.work_began = false;
    if (stage_ == Stage::kPost) runtime_.notes_.forget(context_.ticket->ticket_id);
    report_.attempt.error = std::move(why);
    finish();
}

void CodeForgeRuntime::Attempt::end_unknown(Error why) {
    report_.attempt.metadata["remote_outcome"] = "unknown";
    report_.attempt.error = std::move(why);
    finish();
}

void CodeForgeRuntime::Attempt::describe() {
    AttemptReport& attempt = report_.attempt;
    attempt.runtime = kOrigin;
    StringMap& facts = attempt.metadata;
    facts["runtime"] = kOrigin;
    facts["duration_seconds"] = seconds_text(runtime_.clock_.now() - began_);
    if (task_.template_id.empty()) return;  // it was not even read
    facts["template_id"] = clip(task_.template_id, 200);
    facts["adopted"] = yes_no(adopted_);
    facts["effective_timeout_seconds"] = seconds_text(limit_);
    if (!status_.empty()) facts["status"] = clip(status_);
    if (!request_id_.empty()) attempt.output["request_id"] = request_id_;
    if (!report_.work_began) return;
    const bool late = attempt.error && attempt.error->code == ErrorCode::kTimeout;
    facts["timed_out"] = yes_no(late || stopped_ == StopReason::kTimeout);
}

void CodeForgeRuntime::Attempt::finish() {
    if (stage_ == Stage::kEnded) return;
    stage_ = Stage::kEnded;
    limit_timer_.cancel();
    call_ = {};
    poll_ = {};
    describe();
    const auto& why = report_.attempt.error;
    say((why ? why->message : std::string("completed")) + " after " + seconds_text(runtime_.clock_.now() - began_) +
        " s");
    if (log_) log_->close(std::string());
    boost::asio::post(runtime_.loop_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) listener_.runtime_ended(context_.key, std::move(report_));
    });
}

}  // namespace wa
