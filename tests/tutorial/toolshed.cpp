#include "toolshed.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/parameters.h"
#include "core/codec/text.h"
#include "http_client/url.h"
#include "process/kept_output.h"
#include "runtimes/secret_mask.h"
#include "runtimes/stop_error.h"
#include "runtimes/task_command.h"

namespace wa {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::string_view kOrigin = "toolshed";
constexpr std::size_t kMaxAnswer = 64U << 20U;  // two streams of 4 MiB, every byte of them escaped
constexpr std::size_t kShownBytes = 128 * 1024;
constexpr std::size_t kShownLines = 1000;
// Notes, with the ticket's id behind it.
constexpr std::string_view kBegun = "begun ";
constexpr std::string_view kOver = "over  ";

Error error(ErrorCode code, Retry retry, Fault fault, std::string message) {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

// ---- what the ticket asks for

struct Task {
    std::string body;  // of the PUT
    std::string shown;
    std::optional<milliseconds> timeout;
    RetryCodes retry;
    std::vector<std::string> secrets;
};

Result<Task> read_task(const Ticket& ticket) {
    const Parameters parameters(ticket.parameters);
    Task task;
    WA_TRY(const auto command, parameters.command("command"));
    if (!command || command->empty()) return parameters.refuse("command", "it is missing");
    WA_TRY(const auto variables, parameters.map({"env_vars", "env"}));
    WA_TRY(task.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24)}));
    WA_TRY(task.retry, read_retry_codes(parameters));
    const StringMap given = variables.value_or(StringMap{});
    WA_TRY(task.secrets, find_secrets(parameters, *command, {}, {&given}));
    task.shown = shown_command(*command, task.secrets);
    json::array words;
    for (const std::string& word : *command)
        words.emplace_back(json::string(word));
    json::object env;
    for (const auto& [name, value] : given)
        env[name] = json::string(value);
    JsonObjectWriter writer(task.body);
    writer.value("command", words);
    writer.value("env", env);
    writer.close();
    return task;
}

// ---- what the toolshed answers

struct Job {
    bool ended = false;
    std::optional<std::int32_t> exit_code;
    std::string out;
    std::string err;
};

// Nothing is concluded from an answer that is not wholly understood.
Result<Job> read_job(std::string_view body, std::string_view id) {
    const auto bad = [] {
        return Failure(error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService,
                             "the toolshed's answer cannot be read"));
    };
    const auto parsed = parse_json(body, {.max_bytes = kMaxAnswer, .max_values = 100});
    const auto* object = parsed ? parsed->if_object() : nullptr;
    if (object == nullptr) return bad();
    const auto text = [&](std::string_view key) {
        const auto* value = object->if_contains(key);
        return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
    };
    Job job{text("state") == "ended", std::nullopt, text("stdout"), text("stderr")};
    if (text("id") != id || (!job.ended && text("state") != "running")) return bad();
    const auto* code = object->if_contains("exit_code");
    const auto number = code != nullptr ? whole_number(*code) : std::nullopt;
    if (number && *number >= 0 && *number <= 255) job.exit_code = static_cast<std::int32_t>(*number);
    if (job.ended && !job.exit_code) return bad();
    return job;
}

std::string detail_of(const http::Response& response) {
    const auto parsed = parse_json(response.body);
    const auto* object = parsed ? parsed->if_object() : nullptr;
    const auto* detail = object != nullptr ? object->if_contains("detail") : nullptr;
    const bool said = detail != nullptr && detail->is_string();
    return "the toolshed answers " + std::to_string(response.status) +
           (said ? " (" + clip(lossy_utf8(detail->get_string(), 500)) + ")" : "");
}

}  // namespace

// ---- one attempt: PUT, GET until it has ended, DELETE

class ToolshedRuntime::Attempt final : public RunningAttempt {
public:
    Attempt(ToolshedRuntime& runtime, const AttemptContext& context, RuntimeListener& listener)
        : runtime_(runtime),
          context_(context),
          listener_(listener),
          id_(context.ticket->ticket_id),
          began_(runtime.clock_.now()) {}

    void begin() {
        const auto note = runtime_.notes_.read(id_);
        held_ = note.has_value();
        if (note && note->starts_with(kOver)) {  // somebody has it run again
            runtime_.remove_job(id_);
            return refuse(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                                "the job of the run before is still being removed"));
        }
        auto task = read_task(*context_.ticket);
        if (!task) return refuse(std::move(task).error());
        task_ = std::move(*task);
        mask_ = SecretMask(task_.secrets);
        Duration limit = task_.timeout ? Duration(*task_.timeout) : runtime_.options_.timeout;
        if (context_.deadline != MonoTime{}) {  // a little before the engine, so that the end is told by who knows it
            const Duration left = std::max<Duration>(context_.deadline - began_, milliseconds(1));
            limit = std::min(limit, left - std::min<Duration>(milliseconds(500), left / 10));
        }
        until_ = began_ + limit;
        if (auto noted = runtime_.notes_.write(id_, std::string(kBegun) + id_); !noted)
            return refuse(std::move(noted).error());
        stage_ = Stage::kMake;
        http::ServiceCall call = runtime_.request("PUT", id_);
        call.request.headers = {{"Content-Type", "application/json"}};
        call.request.body = task_.body;
        call.deadline = until_;
        call_ = runtime_.caller_.call(std::move(call), [this](http::ServiceAnswer answer) { made(answer); });
    }

    void stop(StopReason reason, Duration grace) override {
        if (stage_ == Stage::kEnded) return;
        const bool sooner = grace < grace_;
        grace_ = std::min(grace, grace_);
        if (stage_ == Stage::kRemove) return sooner ? remove() : void();  // twice is the same as once
        report_.attempt.error = stop_error(reason, std::string(kOrigin));
        if (stage_ == Stage::kMake && !held_ && !call_.request_sent()) return refuse(*report_.attempt.error);
        // While the PUT is out, a DELETE could overtake it.
        if (stage_ == Stage::kAsk) remove();
    }

private:
    enum class Stage : std::uint8_t { kMake, kAsk, kRemove, kEnded };

    void made(const http::ServiceAnswer& answer) {
        constexpr int kOk = 200;
        constexpr int kCreated = 201;
        const bool stopped = report_.attempt.error.has_value();
        if (!answer.result && !answer.outcome_unknown && !held_) {
            // Nobody was reached: another runtime may have the ticket.
            runtime_.probe_.unreachable(answer.result.error().message);
            report_.unavailable = Unavailable::kUnreachable;
            return refuse(stopped ? *report_.attempt.error : answer.result.error());
        }
        if (!answer.result || answer.result->status >= 500) {
            if (stopped) return remove();
            Error why = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                              "whether the toolshed runs the job is not known, the next attempt looks for it: " +
                                  (answer.result ? detail_of(*answer.result) : answer.result.error().message));
            return end_unknown(std::move(why));
        }
        if (answer.result->status != kOk && answer.result->status != kCreated) {
            const bool later = answer.result->status == 429;
            return refuse(error(later ? ErrorCode::kUnavailable : ErrorCode::kNotAllowed,
                                later ? Retry::kAfterBackoff : Retry::kNever, later ? Fault::kService : Fault::kInput,
                                "the job is refused: " + detail_of(*answer.result)));
        }
        if (held_ && answer.result->status == kOk) report_.attempt.metadata["adopted"] = "true";
        stopped ? remove() : ask();
    }

    void ask() {
        using Reading = http::PollReading<Job>;
        stage_ = Stage::kAsk;
        http::PollSpec spec;
        spec.what = "the job " + id_;
        spec.policy.interval = spec.policy.first_after = runtime_.options_.interval;
        spec.policy.longest = std::chrono::seconds(2);  // it forgets jobs that nobody asks about
        spec.deadline = until_;
        spec.ask = [this] { return runtime_.request("GET", id_); };
        poll_ = runtime_.poller_.poll<Job>(
            std::move(spec),
            [this](const http::Response& response) {
                auto job = read_job(response.body, id_);
                if (!job) return Reading::unknown(std::move(job).error());
                return job->ended ? Reading::ended(std::move(*job)) : Reading::running();
            },
            [this](http::PollOutcome<Job> outcome) { asked(std::move(outcome)); });
    }

    void asked(http::PollOutcome<Job> outcome) {
        if (outcome.end == http::PollEnd::kEnded) {
            take(*outcome.result);
            report_.attempt.error = judge(*outcome.result);
            // What another attempt would take for its own goes first. Anything else stays until the result is
            // committed: if this worker dies before, its next start finds it, and does not run it again.
            const bool again = report_.attempt.error && report_.attempt.error->retryable();
            return again ? remove() : finish();
        }
        Error why = std::move(outcome.result).error();
        if (outcome.end == http::PollEnd::kOutOfTime) {
            report_.attempt.error = error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                                          "timed out after " + seconds_text(until_ - began_) + " s");
            return remove();
        }
        // Silent for too long: the next attempt finds it. Not there, or not to be asked about: nobody will.
        why.retry = outcome.end == http::PollEnd::kUnknownTooLong ? Retry::kAfterBackoff : Retry::kNever;
        end_unknown(std::move(why));
    }

    // What still runs is ended; the next attempt, if there is one, begins anew.
    void remove() {
        stage_ = Stage::kRemove;
        poll_ = {};
        http::ServiceCall call = runtime_.request("DELETE", id_, "?grace=" + seconds_text(grace_));
        call.request.timeout = grace_ + std::chrono::seconds(10);
        call.deadline = runtime_.clock_.now() + grace_ + std::chrono::seconds(20);
        call_ = runtime_.caller_.call(std::move(call), [this](const http::ServiceAnswer& answer) { removed(answer); });
    }

    void removed(const http::ServiceAnswer& answer) {
        constexpr int kOk = 200;
        constexpr int kNotThere = 404;
        if (!answer.result || (answer.result->status != kOk && answer.result->status != kNotThere)) {
            // The next attempt would take it for its own, so there is none.
            if (report_.attempt.error) report_.attempt.error->retry = Retry::kNever;
            report_.attempt.still_alive = !report_.attempt.exit_code;
            report_.attempt.effects.push_back({"toolshed_job", id_, "delete"});
            say("the job could not be removed: " +
                (answer.result ? detail_of(*answer.result) : answer.result.error().message));
            return finish();
        }
        runtime_.notes_.forget(id_);
        if (const auto job = read_job(answer.result->body, id_); job && !report_.attempt.output.contains("stdout"))
            take(*job);
        finish();
    }

    void take(const Job& job) {
        const std::pair<TaskLogStream, const std::string*> streams[] = {{TaskLogStream::kStdout, &job.out},
                                                                        {TaskLogStream::kStderr, &job.err}};
        std::unique_ptr<TaskLog> log = runtime_.logs_ ? runtime_.logs_->open(id_, context_.number) : nullptr;
        bool truncated = false;
        for (const auto& [stream, text] : streams) {
            const std::string safe = mask_.apply(*text);
            if (log && !safe.empty()) static_cast<void>(log->append(stream, safe));
            KeptOutput kept;
            kept.append(safe);
            const std::string shown = kept.text(kShownBytes, kShownLines);
            truncated |= shown.size() < safe.size();
            if (stream == TaskLogStream::kStderr) last_line_ = kept.last_line(500);
            report_.attempt.output[std::string(to_string(stream))] = shown;
        }
        report_.attempt.metadata["truncated"] = truncated ? "true" : "false";
    }

    [[nodiscard]] std::optional<Error> judge(const Job& job) {
        report_.attempt.exit_code = job.exit_code;
        if (job.exit_code == 0) return std::nullopt;
        std::string message = "exit code " + std::to_string(*job.exit_code);
        if (*job.exit_code > 128) message += " (signal " + std::to_string(*job.exit_code - 128) + ")";
        if (!last_line_.empty()) message += ": " + last_line_;
        const bool again = task_.retry.includes(*job.exit_code);
        return error(ErrorCode::kExecutionFailed, again ? Retry::kAfterBackoff : Retry::kNever, Fault::kTask, message);
    }

    // Nothing of it can have happened.
    void refuse(Error why) {
        report_.work_began = false;
        report_.attempt.error = std::move(why);
        if (!held_) runtime_.notes_.forget(id_);
        finish();
    }

    void end_unknown(Error why) {
        report_.attempt.metadata["remote_outcome"] = "unknown";
        report_.attempt.error = std::move(why);
        finish();
    }

    void say(const std::string& line) { report_.attempt.logs.push_back("toolshed: " + line); }

    void finish() {
        if (stage_ == Stage::kEnded) return;
        stage_ = Stage::kEnded;
        call_ = {};
        poll_ = {};
        AttemptReport& attempt = report_.attempt;
        attempt.success = !attempt.error.has_value();
        attempt.runtime = kOrigin;
        attempt.metadata["runtime"] = kOrigin;
        attempt.metadata["duration_seconds"] = seconds_text(runtime_.clock_.now() - began_);
        if (!task_.shown.empty()) attempt.output["command"] = task_.shown;
        if (attempt.exit_code) attempt.output["exit_code"] = std::to_string(*attempt.exit_code);
        say(attempt.error ? attempt.error->message : std::string("exit code 0"));
        // Never from inside start() or stop(); and not at all when this was destroyed before.
        boost::asio::post(runtime_.loop_, [this, alive = std::weak_ptr<int>(alive_)] {
            if (!alive.expired()) listener_.runtime_ended(context_.key, std::move(report_));
        });
    }

    ToolshedRuntime& runtime_;
    AttemptContext context_;
    RuntimeListener& listener_;
    std::string id_;
    MonoTime began_;
    MonoTime until_;
    bool held_ = false;  // an earlier attempt may have made the job
    Stage stage_ = Stage::kMake;
    Task task_;
    SecretMask mask_;
    Duration grace_ = std::chrono::seconds(10);
    std::string last_line_;
    RuntimeReport report_;
    http::ServiceHandle call_;
    http::PollHandle poll_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// ---- the runtime

ToolshedRuntime::ToolshedRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random,
                                 http::Client& client, TaskLogs* logs, ToolshedOptions options)
    : loop_(loop),
      clock_(clock),
      client_(client),
      logs_(logs),
      options_(std::move(options)),
      caller_(loop, clock, random, client, {.name = "toolshed"}, options_.listener),
      poller_(loop, clock, random, caller_),
      notes_(options_.notes_folder),
      probe_(loop, std::chrono::seconds(10), [this](const EndpointProbe::Answer& answer) { look(answer); }) {}

void ToolshedRuntime::begin() {
    if (options_.url.empty() || !options_.misconfigured.empty()) return;
    if (auto prepared = notes_.prepare(); !prepared) {
        options_.misconfigured = prepared.error().describe();
        return;
    }
    notes_.forget_if([this](const std::string& note) {
        const std::string id = note.substr(std::min(note.size(), kOver.size()));
        const bool over = note.starts_with(kOver) || (options_.is_over && options_.is_over(id));
        if (over) remove_job(id);
        return false;
    });
    probe_.begin();
}

void ToolshedRuntime::look(const EndpointProbe::Answer& answer) {
    http::Request request;
    request.url = http::join_url(options_.url, "/health");
    request.timeout = std::chrono::seconds(5);
    request.purpose.name = "toolshed.health";
    probe_call_ = client_.send(std::move(request), [answer](const Result<http::Response>& response) {
        constexpr int kOk = 200;
        if (!response) return answer(Failure(response.error()));
        if (response->status == kOk) return answer({});
        answer(fail(ErrorCode::kUnavailable, std::string(kOrigin), detail_of(*response)));
    });
}

http::ServiceCall ToolshedRuntime::request(std::string method, std::string_view id, const std::string& query) const {
    http::ServiceCall call;
    call.request.purpose.name = "toolshed." + method;
    call.request.purpose.ticket_id = id;
    call.request.method = std::move(method);
    call.request.url = http::join_url(options_.url, "/jobs/" + http::encode_url_part(id) + query);
    call.request.max_response_bytes = kMaxAnswer;
    return call;
}

void ToolshedRuntime::ticket_settled(std::string_view ticket_id, bool /*untried*/) {
    if (!notes_.has(ticket_id)) return;
    // Should it not be written, the next start finds out that the ticket has ended.
    static_cast<void>(notes_.write(ticket_id, std::string(kOver) + std::string(ticket_id)));
    remove_job(std::string(ticket_id));
}

// The note goes when the job has: what this process does not get done, its next start does.
void ToolshedRuntime::remove_job(const std::string& id) {
    if (removals_.contains(id)) return;
    http::ServiceCall call = request("DELETE", id);
    call.deadline = clock_.now() + std::chrono::minutes(1);
    removals_[id] = caller_.call(std::move(call), [this, id](const http::ServiceAnswer& answer) {
        if (answer.result && answer.result->status < 500) notes_.forget(id);
        removals_.erase(id);
    });
}

Availability ToolshedRuntime::availability() const {
    if (options_.url.empty()) return {false, Unavailable::kDisabled, "TOOLSHED_URL is not set"};
    if (!options_.misconfigured.empty()) return {false, Unavailable::kDisabled, options_.misconfigured};
    if (!probe_.there()) return {false, Unavailable::kUnreachable, probe_.detail()};
    return {};
}

Result<void> ToolshedRuntime::validate(const Ticket& ticket) const {
    WA_CHECKED(read_task(ticket));
    return {};
}

std::unique_ptr<RunningAttempt> ToolshedRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
