#include "runtimes/docker_attempt.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <utility>

#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "runtimes/run_limit.h"
#include "runtimes/stop_error.h"
#include "runtimes/work_labels.h"

namespace wa {

namespace asio = boost::asio;
using docker::ApiError;
using docker::ContainerDetail;
using docker::ContainerState;
using docker::ContainerSummary;
using docker::PullPolicy;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::string_view kOrigin = "docker";
constexpr std::size_t kShortId = 12;
constexpr std::size_t kShownLineBytes = 400;
constexpr std::size_t kMostLines = 100;  // of logs of ours
constexpr int kMostConflicts = 20;
constexpr int kKilled = 128 + SIGKILL;
constexpr int kTerminated = 128 + SIGTERM;
constexpr Duration kRemoveLimit = seconds(5);

std::string yes_no(bool value) {
    return value ? "true" : "false";
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::uint64_t kMebi = 1U << 20U;
    return bytes % kMebi == 0 ? std::to_string(bytes / kMebi) + " MiB" : std::to_string(bytes) + " bytes";
}

std::string label_of(const StringMap& labels, std::string_view name) {
    const auto found = labels.find(std::string(name));
    return found == labels.end() ? std::string() : found->second;
}

bool never_started(const ContainerDetail& detail) {
    return detail.state == ContainerState::kCreated || detail.started_at.starts_with("0001-");
}

// Better ones first: what runs, then what has ended, then what was never started; the newest of each.
bool is_better(const ContainerSummary& one, const ContainerSummary& other) {
    const auto rank = [](const ContainerSummary& container) {
        if (container.state == ContainerState::kRunning) return 0;
        return container.state == ContainerState::kEnded ? 1 : 2;
    };
    if (rank(one) != rank(other)) return rank(one) < rank(other);
    return one.created > other.created;
}

}  // namespace

DockerRuntime::Attempt::Attempt(DockerRuntime& runtime, const AttemptContext& context, RuntimeListener& listener)
    : runtime_(runtime),
      api_(runtime.api_),
      place_(runtime.place_),
      keeper_(runtime.keeper_),
      context_(context),
      listener_(listener),
      ticket_id_(context_.ticket->ticket_id),
      began_(runtime.clock_.now()),
      log_(runtime.loop_, api_, output_, ticket_id_, runtime.options_.first_wait,
           {.say = [this](std::string line) { say(std::move(line)); },
            .incomplete = [this](std::string why) { output_incomplete(std::move(why)); },
            .over = [this] { collected(); }}),
      stage_began_(began_),
      step_timer_(runtime.loop_),
      limit_timer_(runtime.loop_),
      look_timer_(runtime.loop_),
      remove_timer_(runtime.loop_) {
    keeper_.attach(ticket_id_);
}

DockerRuntime::Attempt::~Attempt() {
    keeper_.detach(ticket_id_);
    output_.close(stage_ == Stage::kEnded ? "" : "left by the worker; its container is looked for later");
}

Error DockerRuntime::Attempt::error(ErrorCode code, Retry retry, Fault fault, std::string message) const {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

void DockerRuntime::Attempt::after(asio::steady_timer& timer, Duration wait, void (Attempt::*next)()) {
    timer.expires_after(wait);
    timer.async_wait([this, next, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) (this->*next)();
    });
}

// Once more, after a wait that grows.
void DockerRuntime::Attempt::again(void (Attempt::*step)()) {
    after(step_timer_, growing_wait(tries_++), step);
}

Duration DockerRuntime::Attempt::growing_wait(int tries) const {
    constexpr int kMostDoublings = 5;
    return std::min<Duration>(seconds(5), runtime_.options_.first_wait * (1 << std::min(tries, kMostDoublings)));
}

bool DockerRuntime::Attempt::out_of_patience() {
    const MonoTime now = runtime_.clock_.now();
    if (!lost_since_) lost_since_ = now;
    return now - *lost_since_ >= runtime_.options_.patience;
}

void DockerRuntime::Attempt::contact() {
    lost_since_.reset();
    tries_ = 0;
}

void DockerRuntime::Attempt::note_stage(std::string_view stage) {
    const MonoTime now = runtime_.clock_.now();
    const Duration took = now - std::exchange(stage_began_, now);
    if (runtime_.options_.on_stage) runtime_.options_.on_stage(stage, took);
    report_.attempt.metadata[std::string(stage) + "_seconds"] = seconds_text(took);
}

std::string DockerRuntime::Attempt::shown() const {
    return "container " + name_ + (id_.empty() ? "" : " (" + id_.substr(0, kShortId) + ")");
}

void DockerRuntime::Attempt::say(std::string line) {
    if (report_.attempt.logs.size() < kMostLines) report_.attempt.logs.push_back("docker: " + std::move(line));
}

// ---- look

void DockerRuntime::Attempt::begin() {
    const DockerOptions& options = runtime_.options_;
    if (!options.enabled || !options.misconfigured.empty()) {
        const Availability now = runtime_.availability();
        report_.unavailable = now.reason;
        return refuse(error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker,
                            "the docker runtime cannot be used: " + now.detail));
    }
    auto task = docker::parse_task(*context_.ticket, options.rules);
    if (!task) return refuse(std::move(task).error());
    task_ = std::move(*task);
    output_.begin(task_.secrets,
                  runtime_.logs_ == nullptr ? nullptr : runtime_.logs_->open(ticket_id_, context_.number));
    work_ = hash_of(context_.ticket->plan_id + '\0' + context_.ticket->task_id + '\0' +
                    json_text(context_.ticket->parameters));
    name_ = docker::container_name(options.keeper.domain, ticket_id_, context_.number);
    held_ = keeper_.may_hold(ticket_id_);
    if (runtime_.version_known_) return look();
    negotiate();
}

void DockerRuntime::Attempt::negotiate() {
    call_ = api_.version(runtime_.options_.probe_limit, [this](const Reply<docker::EngineVersion>& reply) {
        if (!reply) return look_failed(reply.error());
        look();
    });
}

void DockerRuntime::Attempt::look() {
    call_ = api_.list({{std::string(work_labels::kTicket), ticket_id_},
                       {std::string(work_labels::kDomain), runtime_.options_.keeper.domain}},
                      [this](Reply<std::vector<ContainerSummary>> reply) { looked(std::move(reply)); });
}

void DockerRuntime::Attempt::look_failed(ApiError failure) {
    if (!failure.passing()) return refuse(std::move(failure.error));
    runtime_.unreachable(failure.error.message);
    runtime_.schedule_probe(runtime_.probe_wait_);
    if (stopped_ && !held_) return stop_before_start();
    if (!held_) {
        report_.unavailable = Unavailable::kUnreachable;
        return refuse(std::move(failure.error));
    }
    // What an earlier attempt began may still run: nothing else may run this ticket until that is known.
    if (!out_of_patience() || stopped_) return again(&Attempt::negotiate);
    end_unknown(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "an earlier attempt may have a container, and " + failure.error.message));
}

bool DockerRuntime::Attempt::is_same_work(const StringMap& labels) const {
    return label_of(labels, work_labels::kTicket) == ticket_id_ &&
           label_of(labels, work_labels::kDomain) == runtime_.options_.keeper.domain &&
           label_of(labels, work_labels::kWork) == work_;
}

void DockerRuntime::Attempt::looked(Reply<std::vector<ContainerSummary>> reply) {
    if (!reply) return look_failed(std::move(reply).error());
    contact();
    std::vector<ContainerSummary> candidates;
    for (ContainerSummary& container : *reply) {
        if (docker::is_kept_name(container.name)) continue;
        const bool runs = container.state != ContainerState::kEnded;
        if (keeper_.is_doomed(container.id) || !is_same_work(container.labels)) {
            if (place_.is_ours(container.labels, container.name))
                keeper_.remove_now({container.id, container.name, ticket_id_, runs});
            continue;
        }
        candidates.push_back(std::move(container));
    }
    std::ranges::sort(candidates, is_better);
    for (std::size_t at = 1; at < candidates.size(); ++at) {
        if (place_.is_ours(candidates[at].labels, candidates[at].name))
            keeper_.remove_now({candidates[at].id, candidates[at].name, ticket_id_, true});
    }
    if (!candidates.empty()) return adopt(candidates[0].id, candidates[0].name, candidates[0].labels);
    held_ = false;
    if (stopped_) return stop_before_start();
    if (task_.pull == PullPolicy::kAlways) return pull();
    create();
}

void DockerRuntime::Attempt::adopt(const std::string& id, const std::string& name, const StringMap& labels) {
    id_ = id;
    name_ = name;
    adopted_ = true;
    report_.attempt.metadata["adopted_from_attempt"] = clip(label_of(labels, work_labels::kAttempt), 16);
    say("adopted " + shown() + " of attempt " + clip(label_of(labels, work_labels::kAttempt), 16));
    static_cast<void>(keeper_.note(ticket_id_));  // without it a restart still finds it, while the engine is there
    if (!place_.is_ours(labels, name)) {
        // So that its maker's sweep leaves it alone. When that is refused, nothing is lost but that.
        const std::string ours = docker::adopted_name(name, keeper_.options().worker);
        call_ = api_.rename(id, ours, [this, ours](const Reply<Nothing>& renamed) {
            if (renamed) name_ = ours;
            find_out();
        });
        return;
    }
    find_out();
}

// ---- create

void DockerRuntime::Attempt::pull() {
    stage_ = Stage::kPull;
    stage_began_ = runtime_.clock_.now();
    Duration limit = runtime_.options_.pull_timeout;
    if (context_.deadline != MonoTime{} && context_.deadline - runtime_.clock_.now() < limit)
        limit = context_.deadline - runtime_.clock_.now() + seconds(1);  // the engine of tickets stops it first
    say("pulls " + task_.image.text);
    call_ = api_.pull(task_.image, runtime_.options_.auth.header_for(task_.image.registry),
                      std::max<Duration>(limit, milliseconds(1)), ticket_id_,
                      [this](Reply<Nothing> reply) { pulled(std::move(reply)); });
}

void DockerRuntime::Attempt::pulled(Reply<Nothing> reply) {
    note_stage("pull");
    if (reply) {
        pulled_ = true;
        return create();
    }
    ApiError failure = std::move(reply).error();
    if (failure.error.code == ErrorCode::kTimeout) {
        return refuse(error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService,
                            "the image " + task_.image.text + " was not pulled in time (DOCKER_PULL_TIMEOUT_SECONDS)"));
    }
    if (failure.silent()) report_.unavailable = Unavailable::kUnreachable;
    if (const auto code = docker::registry_refusal(failure.error.message); code && !failure.silent()) {
        failure.error.code = *code;
        failure.error.retry = Retry::kNever;
        failure.error.fault = *code == ErrorCode::kNotFound ? Fault::kInput : Fault::kWorker;
        if (*code == ErrorCode::kNotAllowed)
            failure.error.fix = "check the name of the image, and its registry's login in DOCKER_AUTH_CONFIG";
    }
    failure.error.message = "the image " + task_.image.text + " cannot be pulled: " + failure.error.message;
    refuse(std::move(failure.error));
}

StringMap DockerRuntime::Attempt::labels() const {
    StringMap labels;
    const auto add = [&](std::string_view name, std::string value) { labels[std::string(name)] = std::move(value); };
    add(docker::kManagedByLabel, std::string(work_labels::kManagedBy));
    add(work_labels::kTicket, ticket_id_);
    add(work_labels::kPlan, context_.ticket->plan_id);
    add(work_labels::kTask, context_.ticket->task_id);
    add(work_labels::kAttempt, std::to_string(context_.number));
    add(work_labels::kWorker, keeper_.options().worker);
    add(work_labels::kDomain, keeper_.options().domain);
    add(work_labels::kWork, work_);
    add(work_labels::kDeadline,
        std::to_string(runtime_.clock_.wall_now() + std::max<std::int64_t>(0, context_.timeout_ms)));
    return labels;
}

void DockerRuntime::Attempt::create() {
    if (stopped_) return stop_before_start();
    if (auto noted = keeper_.note(ticket_id_); !noted) return refuse(std::move(noted).error());
    stage_ = Stage::kCreate;
    stage_began_ = runtime_.clock_.now();
    call_ = api_.create(name_, docker::create_body(task_, runtime_.options_.rules, labels()), ticket_id_,
                        [this](Reply<docker::CreatedContainer> reply) { created(std::move(reply)); });
}

void DockerRuntime::Attempt::created(Reply<docker::CreatedContainer> reply) {
    if (reply) {
        contact();
        note_stage("create");
        id_ = reply->id;
        for (std::string& warning : reply->warnings)
            say("the engine warns: " + std::move(warning));
        if (stopped_) return stop_before_start();
        return start();
    }
    ApiError failure = std::move(reply).error();
    if (failure.is(404)) {
        if (task_.pull != PullPolicy::kNever && !pulled_ && !stopped_) return pull();
        failure.error.message = "the image " + task_.image.text + " is not there: " + failure.error.message;
        return refuse(std::move(failure.error));
    }
    if (!failure.is(409) && !failure.passing()) return refuse(std::move(failure.error));
    // Whether it was made is asked by its name, which nobody else uses.
    unsure_ = failure.passing();
    if (failure.silent()) {
        contact_lost_ = true;
        lost_why_ = failure.error.message;
    } else if (failure.passing() && ++conflicts_ > 3) {
        return refuse(std::move(failure.error));
    }
    look_by_name();
}

void DockerRuntime::Attempt::look_by_name() {
    call_ = api_.inspect(name_, ticket_id_, [this](Reply<ContainerDetail> reply) { found_by_name(std::move(reply)); });
}

void DockerRuntime::Attempt::found_by_name(Reply<ContainerDetail> reply) {
    if (reply && is_same_work(reply->labels) && !keeper_.is_doomed(reply->id)) {
        contact();
        note_stage("create");
        id_ = reply->id;
        return at(*reply);
    }
    if (reply && label_of(reply->labels, work_labels::kTicket) != ticket_id_) {
        return refuse(error(ErrorCode::kConflict, Retry::kNever, Fault::kService,
                            "the name " + name_ + " is in use by a container that is not this worker's"));
    }
    if (reply) {
        // One of ours that was reported, or did other work: it goes, and the name is free again.
        keeper_.remove_now({reply->id, name_, ticket_id_, true});
        if (++conflicts_ <= kMostConflicts) return again(&Attempt::create);
        return refuse(error(ErrorCode::kConflict, Retry::kAfterBackoff, Fault::kService,
                            "the name " + name_ + " is in use by a container that cannot be removed"));
    }
    if (reply.error().is(404)) {
        contact();
        unsure_ = false;
        if (++conflicts_ <= kMostConflicts) return again(&Attempt::create);
        return refuse(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                            "the engine does not make " + shown() + ": " + lost_why_));
    }
    if (reply.error().passing() && !out_of_patience()) return again(&Attempt::look_by_name);
    // Never started, so nothing of the work can have happened; the container, if there is one, is swept later.
    refuse(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                 "whether " + shown() + " was made is not known: " + reply.error().error.message));
}

// ---- start

void DockerRuntime::Attempt::start() {
    stage_ = Stage::kStart;
    call_ = api_.start(id_, ticket_id_, [this](Reply<Nothing> reply) { started(std::move(reply)); });
}

void DockerRuntime::Attempt::started(Reply<Nothing> reply) {
    if (reply) {
        contact();
        if (!adopted_) say("started " + shown());
        stage_ = Stage::kRun;
        stage_began_ = runtime_.clock_.now();
        arm_limit();
        return stopped_ ? begin_stop() : follow();
    }
    // Whatever the engine said or did not say, the container knows whether it was started.
    start_failure_ = std::move(reply).error();
    if (start_failure_->silent()) {
        contact_lost_ = true;
        lost_why_ = start_failure_->error.message;
    }
    find_out();
}

void DockerRuntime::Attempt::not_started(ApiError failure) {
    Error why = std::move(failure.error);
    if (failure.status >= 400 && failure.status < 500) {
        // The engine could not make a process of the command: no such program, no such user, …
        why.code = ErrorCode::kExecutionFailed;
        why.fault = Fault::kTask;
    }
    why.message = "the command was not started: " + why.message;
    refuse(std::move(why));
}

// ---- run

void DockerRuntime::Attempt::arm_limit() {
    Duration own = runtime_.options_.timeout;
    if (task_.timeout) own = std::min<Duration>(own, *task_.timeout);
    std::optional<EarlierRun> earlier;
    if (adopted_) earlier = earlier_run(label_of(detail_->labels, work_labels::kDeadline), detail_->started_at);
    const RunLimit limit = run_limit(own, context_, earlier, runtime_.clock_);
    limit_ = limit.total;
    if (limit.before_engine) after(limit_timer_, limit.left, &Attempt::time_is_over);
}

void DockerRuntime::Attempt::time_is_over() {
    if (stage_ != Stage::kRun || stopped_) return;
    over_time_ = true;
    stop_until_ = runtime_.clock_.now() + runtime_.options_.grace;
    begin_stop();
}

void DockerRuntime::Attempt::follow() {
    stage_ = Stage::kRun;
    if (limit_ == Duration::zero()) arm_limit();
    wait_call_ = api_.wait(id_, ticket_id_, [this](const Reply<docker::WaitAnswer>& reply) { waited(reply); });
    log_.follow(id_);
    after(look_timer_, runtime_.options_.second_look, &Attempt::second_look);
}

void DockerRuntime::Attempt::waited(const Reply<docker::WaitAnswer>& reply) {
    if (reply) {
        wait_answer_ = *reply;
    } else if (reply.error().silent()) {
        contact_lost_ = true;
        lost_why_ = reply.error().error.message;
    }
    if (reply || waits_failed_ == 0) {
        ++waits_failed_;
        return find_out();
    }
    // It is not the container's end that makes it fail: less often from now on.
    after(step_timer_, growing_wait(waits_failed_++), &Attempt::find_out);
}

void DockerRuntime::Attempt::second_look() {
    if (stage_ != Stage::kRun) return;
    after(look_timer_, runtime_.options_.second_look, &Attempt::second_look);
    if (!look_call_.active()) find_out();
}

void DockerRuntime::Attempt::find_out() {
    step_timer_.cancel();
    look_call_ = api_.inspect(id_, ticket_id_, [this](const Reply<ContainerDetail>& reply) { found(reply); });
}

void DockerRuntime::Attempt::found(const Reply<ContainerDetail>& reply) {
    if (stage_ == Stage::kCollect || stage_ == Stage::kRemove || stage_ == Stage::kEnded) return;
    if (reply) {
        contact();
        return at(*reply);
    }
    const ApiError& failure = reply.error();
    if (failure.is(404)) return vanished();
    if (failure.silent()) {
        contact_lost_ = true;
        lost_why_ = failure.error.message;
    }
    const bool stopping = stopped_ || over_time_;
    // One that must end is asked for as long as the engine of tickets lets this attempt be.
    if (failure.passing() && (!out_of_patience() || stopping)) return again(&Attempt::find_out);
    lost();
}

// Where the container stands decides what comes next, however we came to look.
void DockerRuntime::Attempt::at(const ContainerDetail& detail) {
    detail_ = detail;
    const bool stopping = stopped_ || over_time_;
    if (start_failure_ && !start_failure_->silent() && never_started(detail))
        return not_started(*std::exchange(start_failure_, std::nullopt));
    switch (detail.state) {
        case ContainerState::kCreated:
            if (stopping) return stop_before_start();
            if (!start_failure_) return start();
            // The start was lost on its way, or is still under way: said again it does no harm.
            start_failure_.reset();
            if (++conflicts_ > kMostConflicts) return lost();
            return again(&Attempt::start);
        case ContainerState::kRunning:
            start_failure_.reset();
            if (stopping) return call_.active() ? void() : begin_stop();
            if (stage_ != Stage::kRun) stage_began_ = runtime_.clock_.now();
            if (stage_ != Stage::kRun || !wait_call_.active()) return follow();
            return log_.follow(id_);
        case ContainerState::kEnded:
            // Whether it ended by itself is what the answer to the stop says; it comes now.
            if (stage_ == Stage::kStop && call_.active()) return;
            return ended(detail);
    }
}

void DockerRuntime::Attempt::vanished() {
    vanished_ = true;
    ContainerDetail gone;
    gone.id = id_;
    gone.state = ContainerState::kEnded;
    if (wait_answer_) gone.exit_code = wait_answer_->exit_code;
    log_.is_gone();
    ended(gone);
}

void DockerRuntime::Attempt::lost() {
    end_unknown(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "what became of " + shown() + " is not known, it may still run: " +
                          (lost_why_.empty() ? std::string("the engine cannot say") : lost_why_)));
}

// ---- stop

void DockerRuntime::Attempt::stop(StopReason reason, Duration grace) {
    const MonoTime until = runtime_.clock_.now() + std::min(grace, runtime_.options_.grace);
    stop_until_ = stopped_ || over_time_ ? std::min(stop_until_, until) : until;
    if (!stopped_) stopped_ = reason;
    switch (stage_) {
        case Stage::kLook:
            // What is found is stopped then: another worker may have begun it.
            if (held_ || !id_.empty()) return;
            return after(limit_timer_, until - runtime_.clock_.now(), &Attempt::look_is_late);
        case Stage::kPull:
            call_ = {};  // the container engine gives the pull up with it
            return stop_before_start();
        case Stage::kCreate:
        case Stage::kStart: return;  // its answer decides what there is to stop
        case Stage::kRun: return begin_stop();
        case Stage::kStop:
            return after(limit_timer_, std::max<Duration>(stop_until_ - runtime_.clock_.now(), Duration::zero()),
                         &Attempt::kill);
        case Stage::kCollect:
        case Stage::kRemove:
        case Stage::kEnded: return;
    }
}

// Nobody says what there is, and the time for it is over.
void DockerRuntime::Attempt::look_is_late() {
    if (stage_ != Stage::kLook || held_ || !id_.empty()) return;
    call_ = {};
    step_timer_.cancel();
    say("stopped before it was known whether an earlier attempt has left a container");
    stop_before_start();
}

void DockerRuntime::Attempt::begin_stop() {
    stage_ = Stage::kStop;
    limit_timer_.cancel();
    look_timer_.cancel();
    const Duration left = std::max<Duration>(stop_until_ - runtime_.clock_.now(), Duration::zero());
    call_ = api_.stop(id_, left, ticket_id_, [this](const Reply<Nothing>& reply) {
        const bool refused = !reply && !reply.error().silent();
        // Neither gone nor ended: the engine could not stop it.
        if (refused && !reply.error().is(404) && !reply.error().is(304) && !killed_) return kill();
        stop_worked_ |= reply.has_value();
        find_out();
    });
}

void DockerRuntime::Attempt::kill() {
    if (stage_ != Stage::kStop) return;
    killed_ = true;
    call_ = api_.kill(id_, ticket_id_, [this](const Reply<Nothing>& reply) {
        stop_worked_ |= reply.has_value();
        again(&Attempt::find_out);  // it ends in its own time
    });
}

// Nothing of the work can have happened.
void DockerRuntime::Attempt::stop_before_start() {
    Error why = stop_error(stopped_.value_or(StopReason::kTimeout), std::string(kOrigin));
    const bool of_time = why.code == ErrorCode::kTimeout || why.code == ErrorCode::kDeadlineExceeded;
    if (of_time && stage_ == Stage::kPull) why.message += "; the image " + task_.image.text + " was still being pulled";
    refuse(std::move(why));
}

// ---- the end

void DockerRuntime::Attempt::ended(const ContainerDetail& detail) {
    detail_ = detail;
    stage_ = Stage::kCollect;
    step_timer_.cancel();
    limit_timer_.cancel();
    look_timer_.cancel();
    wait_call_ = {};
    call_ = {};
    note_stage("run");
    log_.finish(id_);
}

void DockerRuntime::Attempt::output_incomplete(std::string why) {
    report_.attempt.metadata["output_incomplete"] = "true";
    say(std::move(why));
}

void DockerRuntime::Attempt::collected() {
    if (stage_ != Stage::kCollect) return;
    note_stage("logs");
    output_.finish();
    if (may_have_been_killed()) return ask_who_killed_it();
    decide();
}

// By SIGTERM or SIGKILL, and not by us, nor for its memory.
bool DockerRuntime::Attempt::may_have_been_killed() const {
    const int code = detail_->exit_code;
    return !contact_lost_ && !vanished_ && !stopped_ && !over_time_ && !detail_->out_of_memory &&
           (code == kKilled || code == kTerminated);
}

// An engine that is being stopped ends its containers; so does somebody who tells it to. The task's own processes, and
// those of the machine, do it without the engine, which then notes no event.
void DockerRuntime::Attempt::ask_who_killed_it() {
    call_ = api_.was_killed(id_, runtime_.clock_.wall_now(), ticket_id_, [this](const Reply<bool>& reply) {
        if (reply) {
            killed_by_engine_ = *reply;
        } else if (reply.error().silent()) {
            contact_lost_ = true;  // it is on its way out
            lost_why_ = reply.error().error.message;
        }
        decide();
    });
}

void DockerRuntime::Attempt::decide() {
    report_.attempt.error = judge();
    report_.attempt.success = !report_.attempt.error.has_value();
    stage_ = Stage::kRemove;
    remove();
}

// What was stopped goes before that is told; what ended by itself is kept until its result is committed.
void DockerRuntime::Attempt::remove() {
    if (vanished_) {
        keeper_.forget_note(ticket_id_);
        return finish();
    }
    WorkKeeper::Doomed container{id_, name_, ticket_id_, false};
    if ((!stopped_ && !over_time_) || !keeper_.options().remove_ended) {
        keeper_.remove_when_settled(std::move(container));
        return finish();
    }
    after(remove_timer_, kRemoveLimit, &Attempt::removal_is_late);
    call_ = api_.remove(id_, [this](const Reply<Nothing>& reply) {
        if (!reply) return removal_is_late();
        keeper_.forget_note(ticket_id_);
        finish();
    });
}

void DockerRuntime::Attempt::removal_is_late() {
    if (stage_ != Stage::kRemove) return;
    report_.attempt.metadata["cleanup"] = "still under way";
    keeper_.remove_now({id_, name_, ticket_id_, true});
    finish();
}

std::optional<Error> DockerRuntime::Attempt::judge() {
    if (over_time_ && stop_worked_ && !stopped_) {
        return error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                     "timed out after " + seconds_text(limit_) + " s");
    }
    if (stopped_ && (stop_worked_ || vanished_)) return stop_error(*stopped_, std::string(kOrigin));
    if (vanished_ && !wait_answer_) {
        return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kService,
                     shown() + " was removed by somebody else before it was seen to end");
    }
    report_.attempt.exit_code = detail_->exit_code;
    if (detail_->exit_code == 0) return std::nullopt;
    return judge_exit();
}

// An engine that is restarted ends the containers that it finds. Nobody can tell that from a task which was killed in
// just that time.
bool DockerRuntime::Attempt::ended_by_the_engine() const {
    constexpr int kEndUnknown = 255;
    const int code = detail_->exit_code;
    return contact_lost_ && !detail_->out_of_memory && (code == kKilled || code == kTerminated || code == kEndUnknown);
}

Error DockerRuntime::Attempt::judge_exit() {
    const int code = detail_->exit_code;
    const std::string plain = "exit code " + std::to_string(code);
    if (ended_by_the_engine()) {
        return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kService,
                     "the container ended with " + plain + " while the engine was away: " + lost_why_);
    }
    if (killed_by_engine_) {
        return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kService,
                     "the engine was told to end the container, or is being stopped (" + plain + ")");
    }
    if (detail_->out_of_memory) {
        return error(
            ErrorCode::kExecutionFailed, Retry::kNever, Fault::kLimit,
            "killed because memory ran out: it used all of its " + size_text(task_.memory) + " (" + plain + ")");
    }
    std::string message = exit_text(code);
    if (const std::string line = output_.last_line(kShownLineBytes); !line.empty()) message += ": " + line;
    if (!detail_->error.empty()) message += "; the engine says: " + detail_->error;
    const Retry retry = task_.retry.includes(code) ? Retry::kAfterBackoff : Retry::kNever;
    return error(ErrorCode::kExecutionFailed, retry, Fault::kTask, std::move(message));
}

void DockerRuntime::Attempt::describe() {
    AttemptReport& attempt = report_.attempt;
    attempt.runtime = kOrigin;
    StringMap& facts = attempt.metadata;
    facts["runtime"] = kOrigin;
    facts["duration_seconds"] = seconds_text(runtime_.clock_.now() - began_);
    if (!task_.shown.empty()) attempt.output["command"] = task_.shown;
    if (task_.image.text.empty()) return;  // it was not even read
    facts["image"] = task_.image.text;
    facts["image_pulled"] = yes_no(pulled_);
    facts["network_mode"] = task_.network;
    facts["adopted"] = yes_no(adopted_);
    if (contact_lost_) facts["contact_lost"] = "true";
    if (!runtime_.engine_.empty()) facts["engine"] = runtime_.engine_;
    if (id_.empty()) return;
    facts["container_name"] = name_;
    attempt.output["container_id"] = id_.substr(0, kShortId);
    if (!report_.work_began) return;
    if (attempt.exit_code) attempt.output["exit_code"] = std::to_string(*attempt.exit_code);
    output_.describe(attempt, task_.max_output_bytes, runtime_.options_.result_lines);
    facts["effective_timeout_seconds"] = seconds_text(limit_);
    facts["timed_out"] = yes_no(over_time_ || stopped_ == StopReason::kTimeout);
    if (!detail_) return;
    facts["oom_killed"] = yes_no(detail_->out_of_memory);
    if (detail_->out_of_memory) facts["limits_reached"] = "memory";
    if (!detail_->image_id.empty()) facts["image_id"] = detail_->image_id;
}

void DockerRuntime::Attempt::refuse(Error why) {
    report_.work_began = false;
    report_.attempt.error = std::move(why);
    if (!id_.empty()) {
        keeper_.remove_now({id_, name_, ticket_id_, true});
    } else if (!held_ && !unsure_) {
        keeper_.forget_note(ticket_id_);
    }
    finish();
}

// The container is left as it is: the next attempt, or the sweep, finds it by its labels.
void DockerRuntime::Attempt::end_unknown(Error why) {
    report_.attempt.error = std::move(why);
    report_.attempt.effects.push_back(Effect{"container", name_, "remove_container"});
    finish();
}

void DockerRuntime::Attempt::finish() {
    if (stage_ == Stage::kEnded) return;
    stage_ = Stage::kEnded;
    for (asio::steady_timer* timer : {&step_timer_, &limit_timer_, &look_timer_, &remove_timer_})
        timer->cancel();
    for (http::Call* call : {&call_, &wait_call_, &look_call_})
        *call = {};
    log_.stop();
    // What the engine says may hold words of the command.
    if (report_.attempt.error) report_.attempt.error->message = output_.masked(report_.attempt.error->message);
    describe();
    const auto& why = report_.attempt.error;
    say((why ? why->message : std::string("exit code 0")) + " after " + seconds_text(runtime_.clock_.now() - began_) +
        " s");
    for (std::string& line : report_.attempt.logs)
        line = output_.masked(line);
    output_.close(why && !report_.attempt.exit_code && report_.work_began ? why->message : std::string());
    asio::post(runtime_.loop_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) listener_.runtime_ended(context_.key, std::move(report_));
    });
}

}  // namespace wa
