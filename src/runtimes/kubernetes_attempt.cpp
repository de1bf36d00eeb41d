#include "runtimes/kubernetes_attempt.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "runtimes/kubernetes_verdict.h"
#include "runtimes/run_limit.h"
#include "runtimes/stop_error.h"
#include "runtimes/work_labels.h"

namespace wa {

namespace asio = boost::asio;
using kubernetes::ApiError;
using kubernetes::ContainerPhase;
using kubernetes::JobEnd;
using kubernetes::JobState;
using kubernetes::joined;
using kubernetes::Page;
using kubernetes::PodState;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::string_view kOrigin = "k8s";
constexpr std::size_t kShownLineBytes = 400;
constexpr std::size_t kMostLines = 100;  // of logs of ours
constexpr std::size_t kWorkDigits = 40;
constexpr std::size_t kMaxBody = 1U << 20U;
constexpr int kMostConflicts = 20;
constexpr Duration kCause = seconds(1);         // after which the Job is asked why its pod was ended
constexpr Duration kGuardMargin = seconds(30);  // of the cluster's own deadline, beyond ours

std::string yes_no(bool value) {
    return value ? "true" : "false";
}

std::string value_of(const StringMap& map, std::string_view name) {
    const auto found = map.find(std::string(name));
    return found == map.end() ? std::string() : found->second;
}

// Better ones first: what runs, then what has ended; the newest of each.
bool is_better(const JobState& one, const JobState& other) {
    if (one.finished() != other.finished()) return !one.finished();
    return one.created > other.created;
}

}  // namespace

KubernetesRuntime::Attempt::Attempt(KubernetesRuntime& runtime, const AttemptContext& context,
                                    RuntimeListener& listener)
    : runtime_(runtime),
      api_(runtime.api_),
      keeper_(runtime.keeper_),
      context_(context),
      listener_(listener),
      ticket_id_(context_.ticket->ticket_id),
      began_(runtime.clock_.now()),
      log_(runtime.loop_, api_, output_, ticket_id_, runtime.options_.log_look,
           {.incomplete = [this](std::string why) { output_incomplete(std::move(why)); },
            .over = [this] { collected(); }}),
      stage_began_(began_),
      step_timer_(runtime.loop_),
      limit_timer_(runtime.loop_),
      wait_timer_(runtime.loop_),
      place_timer_(runtime.loop_),
      look_timer_(runtime.loop_),
      patience_timer_(runtime.loop_) {
    keeper_.attach(ticket_id_);
}

KubernetesRuntime::Attempt::~Attempt() {
    keeper_.detach(ticket_id_);
    if (listens_) runtime_.watch_.leave(name_, *this);
    output_.close(stage_ == Stage::kEnded ? "" : "left by the worker; its Job is looked for later");
}

Error KubernetesRuntime::Attempt::error(ErrorCode code, Retry retry, Fault fault, std::string message) const {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

void KubernetesRuntime::Attempt::after(asio::steady_timer& timer, Duration wait, void (Attempt::*next)()) {
    timer.expires_after(wait);
    timer.async_wait([this, next, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) (this->*next)();
    });
}

// Once more, after a wait that grows.
void KubernetesRuntime::Attempt::again(void (Attempt::*step)()) {
    constexpr int kMostDoublings = 5;
    const Duration wait =
        std::min<Duration>(seconds(5), runtime_.options_.first_wait * (1 << std::min(tries_++, kMostDoublings)));
    after(step_timer_, wait, step);
}

// That the server answers does not make what is in the way go away sooner.
void KubernetesRuntime::Attempt::again_after_conflict(void (Attempt::*step)()) {
    tries_ = conflicts_;
    again(step);
}

bool KubernetesRuntime::Attempt::out_of_patience() {
    const MonoTime now = runtime_.clock_.now();
    if (!lost_since_) lost_since_ = now;
    return now - *lost_since_ >= runtime_.options_.patience;
}

void KubernetesRuntime::Attempt::contact() {
    lost_since_.reset();
    patience_timer_.cancel();
    tries_ = 0;
}

void KubernetesRuntime::Attempt::note_stage(std::string_view stage) {
    const MonoTime now = runtime_.clock_.now();
    const Duration took = now - std::exchange(stage_began_, now);
    if (runtime_.options_.on_stage) runtime_.options_.on_stage(stage, took);
    report_.attempt.metadata[std::string(stage) + "_seconds"] = seconds_text(took);
}

std::string KubernetesRuntime::Attempt::shown() const {
    return "Job " + name_;
}

void KubernetesRuntime::Attempt::say(std::string line) {
    if (report_.attempt.logs.size() < kMostLines) report_.attempt.logs.push_back("k8s: " + std::move(line));
}

// ---- look

void KubernetesRuntime::Attempt::begin() {
    const KubernetesOptions& options = runtime_.options_;
    if (!options.enabled || !options.misconfigured.empty()) {
        const Availability now = runtime_.availability();
        report_.unavailable = now.reason;
        return refuse(error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker,
                            "the k8s runtime cannot be used: " + now.detail));
    }
    auto task = kubernetes::parse_task(*context_.ticket, options.rules);
    if (!task) return refuse(std::move(task).error());
    task_ = std::move(*task);
    work_ = hash_of(context_.ticket->plan_id + '\0' + context_.ticket->task_id + '\0' +
                    json_text(context_.ticket->parameters))
                .substr(0, kWorkDigits);
    name_ = kubernetes::job_name(options.keeper.domain, ticket_id_, context_.number);
    held_ = keeper_.may_hold(ticket_id_);
    output_.begin(task_.secrets,
                  runtime_.logs_ != nullptr ? runtime_.logs_->open(ticket_id_, context_.number) : nullptr);
    look();
}

void KubernetesRuntime::Attempt::look() {
    const std::string selector =
        kubernetes::domain_selector(runtime_.options_.keeper.domain) + "," +
        kubernetes::selector_text({{std::string(work_labels::kTicket), kubernetes::label_value(ticket_id_)}});
    call_ = api_.list(kubernetes::Kind::kJobs, selector, {}, [this](Reply<Page> reply) { looked(std::move(reply)); });
}

// A server that has just started forbids what it has not read the rules of yet: it is asked a few times.
bool KubernetesRuntime::Attempt::is_forbidden_for_now(const ApiError& failure) {
    constexpr int kMostTries = 4;
    return failure.is(403) && failure.error.code == ErrorCode::kNotAllowed && ++forbidden_ <= kMostTries;
}

void KubernetesRuntime::Attempt::look_failed(ApiError failure) {
    if (is_forbidden_for_now(failure)) return again(&Attempt::look);
    if (!failure.passing() && !(held_ && failure.error.code == ErrorCode::kNotAllowed))
        return refuse(std::move(failure.error));
    runtime_.unreachable(failure.error.message);
    runtime_.schedule_probe(runtime_.probe_wait_);
    if (stopped_ && !held_) return stop_before_start();
    if (!held_) {
        report_.unavailable = Unavailable::kUnreachable;
        return refuse(std::move(failure.error));
    }
    // What an earlier attempt began may still run: nothing else may run this ticket until that is known.
    if (!out_of_patience() || stopped_) return again(&Attempt::look);
    end_unknown(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "an earlier attempt may have a Job, and " + failure.error.message));
}

bool KubernetesRuntime::Attempt::is_same_work(const JobState& job) const {
    return kubernetes::ticket_of(job) == ticket_id_ && value_of(job.labels, work_labels::kWork) == work_ &&
           value_of(job.labels, work_labels::kDomain) == kubernetes::label_value(runtime_.options_.keeper.domain);
}

void KubernetesRuntime::Attempt::looked(Reply<Page> reply) {
    if (!reply) return look_failed(std::move(reply).error());
    contact();
    std::vector<JobState> candidates;
    bool going = false;
    for (const boost::json::object& item : reply->items) {
        auto job = kubernetes::read_job(item);
        if (!job || kubernetes::ticket_of(*job) != ticket_id_ ||
            job->labels.contains(std::string(kubernetes::kKeptLabel)))
            continue;
        const bool ours = runtime_.place_.is_ours(*job);
        // Reported: its process has ended, whatever the Job's own state says by now.
        const bool reported = keeper_.is_doomed(job->uid);
        if (job->deleting || reported || !is_same_work(*job)) {
            const bool runs = !job->finished() && !reported;
            going |= runs && (ours || job->deleting);
            if (ours && !job->deleting) keeper_.remove_now({job->uid, job->name, ticket_id_, runs});
            continue;
        }
        candidates.push_back(std::move(*job));
    }
    // What is on its way out may still run: never two of them.
    if (going && !stopped_) {
        if (++conflicts_ <= kMostConflicts) return again_after_conflict(&Attempt::look);
        return refuse(error(ErrorCode::kConflict, Retry::kAfterBackoff, Fault::kService,
                            "an earlier Job of this ticket does not go away"));
    }
    std::ranges::sort(candidates, is_better);
    for (std::size_t at = 1; at < candidates.size(); ++at) {
        if (runtime_.place_.is_ours(candidates[at]))
            keeper_.remove_now({candidates[at].uid, candidates[at].name, ticket_id_, true});
    }
    if (!candidates.empty()) return adopt(std::move(candidates[0]));
    held_ = false;
    if (stopped_) return stop_before_start();
    create();
}

void KubernetesRuntime::Attempt::adopt(JobState job) {
    name_ = job.name;
    adopted_ = true;
    held_ = true;  // whoever stops this now has something to stop
    const std::string from = clip(value_of(job.labels, work_labels::kAttempt), 16);
    report_.attempt.metadata["adopted_from_attempt"] = from;
    say("adopted " + shown() + " of attempt " + from);
    static_cast<void>(keeper_.note(ticket_id_));  // without it a restart still finds it, while the cluster is there
    if (runtime_.place_.is_ours(job)) return take_up(std::move(job));
    // So that its maker's sweep leaves it alone. When that is refused, nothing is lost but that.
    call_ =
        api_.label_job(name_, {{std::string(work_labels::kWorker), kubernetes::label_value(keeper_.options().worker)}},
                       ticket_id_, [this, job = std::move(job)](const Reply<Nothing>&) { take_up(job); });
}

// ---- create

kubernetes::JobMarks KubernetesRuntime::Attempt::marks() const {
    const KubernetesOptions& options = runtime_.options_;
    kubernetes::JobMarks marks;
    marks.name = name_;
    const auto label = [&](std::string_view name, std::string_view value) {
        marks.labels[std::string(name)] = kubernetes::label_value(value);
    };
    label("app.kubernetes.io/name", "neural-hive-executor");
    label("app.kubernetes.io/component", "job");
    label(kubernetes::kManagedByLabel, work_labels::kManagedBy);
    label("neural-hive.io/job-id", name_);
    label(work_labels::kTicket, ticket_id_);
    label(work_labels::kAttempt, std::to_string(context_.number));
    label(work_labels::kWorker, options.keeper.worker);
    label(work_labels::kDomain, options.keeper.domain);
    label(work_labels::kWork, work_);
    const auto annotation = [&](std::string_view name, std::string value) {
        marks.annotations[std::string(name)] = std::move(value);
    };
    annotation("neural-hive.io/created-by", "execute-executor");
    annotation(work_labels::kTicket, ticket_id_);
    annotation(work_labels::kPlan, context_.ticket->plan_id);
    annotation(work_labels::kTask, context_.ticket->task_id);
    annotation(work_labels::kDeadline,
               std::to_string(runtime_.clock_.wall_now() + std::max<std::int64_t>(0, context_.timeout_ms)));
    Duration longest = options.schedule_timeout + options.start_timeout + options.timeout;
    if (context_.timeout_ms > 0) longest = std::min<Duration>(longest, milliseconds(context_.timeout_ms));
    marks.deadline = std::chrono::ceil<seconds>(longest + options.grace + kGuardMargin);
    return marks;
}

void KubernetesRuntime::Attempt::create() {
    if (stopped_) return stop_before_start();
    if (!runtime_.lacking_.empty() && !runtime_.lacking_.starts_with("create jobs")) {
        return refuse(error(
            ErrorCode::kNotAllowed, Retry::kNever, Fault::kWorker,
            "the worker's account may not " + runtime_.lacking_ + " in the namespace " + runtime_.options_.name_space));
    }
    std::string body = kubernetes::job_body(task_, runtime_.options_.rules, marks());
    if (body.size() > kMaxBody) {
        return refuse(error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput,
                            "its command and variables are more than 1 MiB, which is too much for a Job"));
    }
    if (auto noted = keeper_.note(ticket_id_); !noted) return refuse(std::move(noted).error());
    stage_ = Stage::kCreate;
    stage_began_ = runtime_.clock_.now();
    if (create_began_ == MonoTime{}) create_began_ = stage_began_;
    call_ = api_.create_job(std::move(body), ticket_id_, [this](Reply<JobState> reply) { created(std::move(reply)); });
}

void KubernetesRuntime::Attempt::created(Reply<JobState> reply) {
    if (reply) {
        contact();
        say("made " + shown());
        return take_up(std::move(*reply));
    }
    ApiError failure = std::move(reply).error();
    if (is_forbidden_for_now(failure)) return again(&Attempt::create);
    if (!failure.is(409) && !failure.passing()) return refuse(std::move(failure.error));
    // Whether it was made is asked by its name, which nobody else uses.
    unsure_ |= failure.passing() && !failure.is(429);
    if (failure.passing()) {
        contact_lost_ = true;
        lost_why_ = failure.error.message;
    }
    look_by_name();
}

void KubernetesRuntime::Attempt::look_by_name() {
    call_ = api_.get_job(name_, ticket_id_, [this](Reply<JobState> reply) { found_by_name(std::move(reply)); });
}

void KubernetesRuntime::Attempt::found_by_name(Reply<JobState> reply) {
    if (reply && is_same_work(*reply) && !reply->deleting && !keeper_.is_doomed(reply->uid) &&
        !reply->labels.contains(std::string(kubernetes::kKeptLabel))) {
        contact();
        return take_up(std::move(*reply));
    }
    if (reply && kubernetes::ticket_of(*reply) != ticket_id_) {
        return refuse(error(ErrorCode::kConflict, Retry::kNever, Fault::kService,
                            "the name " + name_ + " is in use by a Job that is not this worker's"));
    }
    if (reply) {
        // One of ours that was reported, or did other work: it goes, and the name is free again.
        keeper_.remove_now({reply->uid, name_, ticket_id_, true});
        if (++conflicts_ <= kMostConflicts) return again_after_conflict(&Attempt::create);
        return refuse(error(ErrorCode::kConflict, Retry::kAfterBackoff, Fault::kService,
                            "the name " + name_ + " is in use by a Job that cannot be removed"));
    }
    if (reply.error().is(404)) {
        contact();
        const bool is_late = runtime_.clock_.now() - create_began_ >= runtime_.options_.patience;
        if (stopped_ || (++conflicts_ <= kMostConflicts && !is_late)) return again_after_conflict(&Attempt::create);
        Error why = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                          "the cluster does not make " + shown() + ": " + lost_why_);
        // What was not answered may be done yet.
        return unsure_ ? end_unknown(std::move(why)) : refuse(std::move(why));
    }
    if (reply.error().passing() && !out_of_patience()) return again(&Attempt::look_by_name);
    end_unknown(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "whether " + shown() + " was made is not known: " + reply.error().error.message));
}

// There is a Job: from here on it is watched.
void KubernetesRuntime::Attempt::take_up(JobState job) {
    stage_ = Stage::kPending;
    stage_began_ = runtime_.clock_.now();
    unsure_ = false;
    job_ = std::move(job);
    listens_ = true;
    runtime_.watch_.listen(name_, *this);
    limit_ = own_limit();  // of one that ends before it is seen to run
    if (adopted_) arm_limit_of_waiting();
    after(place_timer_, runtime_.options_.schedule_timeout, &Attempt::schedule_is_late);
    after(look_timer_, runtime_.options_.second_look, &Attempt::second_look);
    if (stopped_) return begin_stop();
    ask_for_pods();
}

void KubernetesRuntime::Attempt::ask_for_pods() {
    const bool at_end = job_->finished();
    asks_at_end_ = at_end;
    pods_call_ = api_.pods_of(name_, ticket_id_, [this, at_end](const Reply<std::vector<PodState>>& reply) {
        if (!reply) {
            watch_lost(reply.error().error);
            return again(&Attempt::find_out);
        }
        contact();
        bool there = false;
        for (const PodState& pod : *reply) {
            if (!is_of_job(pod)) continue;
            const bool known = pod_ && pod_->uid == pod.uid;
            if (!known && pod_ && pod.created <= pod_->created) continue;
            there = true;
            pod_ = pod;
            pod_gone_ = false;
        }
        if (pod_ && !there) lose_pod();
        pods_known_ = at_end;
        at();
    });
}

// The pods of a Job that was removed in the background outlive it, and its name is free at once.
bool KubernetesRuntime::Attempt::is_of_job(const PodState& pod) const {
    return job_ && (pod.job_uid.empty() || pod.job_uid == job_->uid);
}

// ---- what is told

void KubernetesRuntime::Attempt::job_seen(const JobState& job) {
    if (!job_ || job.uid != job_->uid) return;
    contact();
    job_ = job;
    at();
}

void KubernetesRuntime::Attempt::job_missed() {
    if (!job_gone_) find_out();
}

void KubernetesRuntime::Attempt::pod_seen(const PodState& pod) {
    if (!is_of_job(pod) || (pod_ && pod.uid != pod_->uid && pod.created < pod_->created)) return;
    contact();
    pod_ = pod;
    pod_gone_ = false;
    at();
}

void KubernetesRuntime::Attempt::pod_gone(const PodState& pod) {
    if (!is_of_job(pod) || (pod_ && pod.uid != pod_->uid)) return;
    const bool had_ended = pod_ && pod_->terminated();
    if (!had_ended) pod_ = pod;  // its last word
    lose_pod();
    at();
}

void KubernetesRuntime::Attempt::lose_pod() {
    pod_gone_ = true;
    log_.pod_is_gone();
}

void KubernetesRuntime::Attempt::watch_lost(const Error& why) {
    if (stage_ != Stage::kPending && stage_ != Stage::kRun && stage_ != Stage::kStop) return;
    contact_lost_ = true;
    lost_why_ = why.message;
    if (lost_since_) return;
    lost_since_ = runtime_.clock_.now();
    after(patience_timer_, runtime_.options_.patience, &Attempt::patience_is_over);
}

// Whether all that is needed can be asked again shows when it is asked.
void KubernetesRuntime::Attempt::watch_back() {
    if (!stopping()) return find_out();
    contact();
}

void KubernetesRuntime::Attempt::patience_is_over() {
    if (stage_ == Stage::kStop) return;  // it must end: that is tried for as long as this attempt may
    end_unknown(error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "what became of " + shown() + " is not known, it may still run: " + lost_why_));
}

// ---- run

void KubernetesRuntime::Attempt::find_out() {
    if (stage_ == Stage::kCollect || stage_ == Stage::kEnded) return;
    look_call_ = api_.get_job(name_, ticket_id_, [this](Reply<JobState> reply) { found(std::move(reply)); });
}

void KubernetesRuntime::Attempt::found(Reply<JobState> reply) {
    if (stage_ == Stage::kCollect || stage_ == Stage::kEnded) return;
    if (!reply && !reply.error().is(404)) {
        watch_lost(reply.error().error);
        // Not in place of a deletion that is tried again: that leads here, too.
        if (stage_ != Stage::kStop || stop_asked_) again(&Attempt::find_out);
        return;
    }
    // Gone, or another one under its name.
    if (!reply || (job_ && reply->uid != job_->uid)) {
        job_gone_ = true;
        return at();
    }
    job_ = std::move(*reply);
    if (stage_ != Stage::kStop) return ask_for_pods();  // only with them the picture is whole
    contact();
    at();
}

void KubernetesRuntime::Attempt::second_look() {
    if (stage_ != Stage::kPending && stage_ != Stage::kRun && stage_ != Stage::kStop) return;
    after(look_timer_, runtime_.options_.second_look, &Attempt::second_look);
    if (!look_call_.active()) find_out();
}

// Where the Job and its newest pod stand decides what comes next, however we came to know.
void KubernetesRuntime::Attempt::at() {
    if (stage_ != Stage::kPending && stage_ != Stage::kRun && stage_ != Stage::kStop) return;
    const bool has_ended = pod_ && pod_->terminated();
    if (pod_ && pod_->began) ran_ = true;
    if (job_gone_) return ended();
    if (stage_ == Stage::kStop) {
        // One that had ended before it was told to has an ending of its own.
        if (has_ended && !pod_->deleting && pod_->began) return ended();
        return;
    }
    const bool is_last = job_->finished() || runtime_.options_.rules.backoff_limit == 0;
    if (has_ended && !ran_ && is_last && pod_->end_reason != "ContainerStatusUnknown") {
        return not_started(error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask,
                                 "the command was not started: " + joined(pod_->end_reason, pod_->end_message)));
    }
    if (has_ended && (pod_->exit_code == 0 || is_last)) {
        if (is_cause_known()) return ended();
        // The Job says so soon. If not, it is asked.
        if (!std::exchange(asks_for_cause_, true)) after(step_timer_, kCause, &Attempt::ask_for_cause);
        return;
    }
    if (pod_ && pod_->failed && is_last) return ended();
    if (job_->finished()) {
        // Its pod is asked for once more, then the Job's word is taken.
        if (pods_known_) return ended();
        if (!asks_at_end_ || !pods_call_.active()) ask_for_pods();
        return;
    }
    if (pod_ && pod_->container == ContainerPhase::kRunning && !pod_gone_) return runs();
    at_waiting();
}

// Why a pod was ended that we did not end: its Job's deadline, somebody who removed or suspended the Job, or the pod.
bool KubernetesRuntime::Attempt::is_cause_known() const {
    return !pod_->deleting || pod_->exit_code == 0 || job_->finished() || job_->failing || job_->suspended ||
           job_->deleting || cause_asked_;
}

void KubernetesRuntime::Attempt::ask_for_cause() {
    cause_asked_ = true;
    find_out();
}

void KubernetesRuntime::Attempt::at_waiting() {
    if (!pod_ || stage_ != Stage::kPending) return;
    if (!pod_->node.empty()) place_timer_.cancel();
    if (!pod_->unscheduled.empty()) waiting_ = "no node takes its pod: " + pod_->unscheduled;
    if (!kubernetes::is_stuck(pod_->waiting_reason)) {
        if (pod_->waiting_reason.empty()) return;
        wait_timer_.cancel();
        waiting_.clear();
        return;
    }
    const bool first = waiting_.empty() || !kubernetes::is_stuck(waiting_.substr(0, waiting_.find(':')));
    // The first word of an image that cannot be had says why; the later one only that it is waited.
    if (first || !pod_->waiting_message.starts_with("Back-off"))
        waiting_ = joined(pod_->waiting_reason, pod_->waiting_message);
    if (kubernetes::is_hopeless(pod_->waiting_reason)) return start_is_late();
    if (first) after(wait_timer_, runtime_.options_.start_timeout, &Attempt::start_is_late);
}

void KubernetesRuntime::Attempt::start_is_late() {
    if (stage_ != Stage::kPending || stopping() || !pod_) return;
    const bool passing = kubernetes::is_passing(pod_->waiting_reason);
    hopeless_ = error(
        pod_->waiting_reason.find("Image") != std::string::npos ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
        passing ? Retry::kAfterBackoff : Retry::kNever, passing ? Fault::kService : Fault::kInput,
        "its container (" + task_.image.text + ") cannot start: " + waiting_);
    stop_until_ = runtime_.clock_.now() + seconds(1);
    begin_stop();
}

void KubernetesRuntime::Attempt::schedule_is_late() {
    if (stage_ != Stage::kPending || stopping() || (pod_ && !pod_->node.empty())) return;
    if (pod_ || job_->suspended) {
        hopeless_ = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                          waiting_.empty() ? "its Job is suspended, or no node has looked at its pod" : waiting_);
        stop_until_ = runtime_.clock_.now() + seconds(1);
        return begin_stop();
    }
    // What keeps the controller from making a pod is said in its events only.
    call_ = api_.events_of(job_->uid, ticket_id_,
                           [this](const Reply<std::vector<std::string>>& reply) { events_told(reply); });
}

void KubernetesRuntime::Attempt::events_told(const Reply<std::vector<std::string>>& reply) {
    if (stage_ != Stage::kPending || stopping()) return;
    if (pod_) {  // just now
        if (pod_->node.empty()) after(place_timer_, runtime_.options_.schedule_timeout, &Attempt::schedule_is_late);
        return;
    }
    std::string why = "the reason is in its events, which this worker's account may not list";
    if (reply) why = reply->empty() ? "nobody says why" : reply->back();
    if (!reply && !reply.error().is(403)) why = "the reason cannot be asked for: " + reply.error().error.message;
    hopeless_ = error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService,
                      "the cluster makes no pod for " + shown() + ": " + why);
    stop_until_ = runtime_.clock_.now() + seconds(1);
    begin_stop();
}

void KubernetesRuntime::Attempt::runs() {
    if (stage_ == Stage::kPending) {
        stage_ = Stage::kRun;
        note_stage("pending");
        say("pod " + pod_->name + " runs on " + (pod_->node.empty() ? "a node" : pod_->node));
        wait_timer_.cancel();
        place_timer_.cancel();
        limit_timer_.cancel();
        waiting_.clear();
        arm_limit();
    }
    log_.follow(pod_->name);
}

Duration KubernetesRuntime::Attempt::own_limit() const {
    if (!task_.timeout) return runtime_.options_.timeout;
    return std::min<Duration>(runtime_.options_.timeout, *task_.timeout);
}

void KubernetesRuntime::Attempt::arm_limit() {
    std::optional<EarlierRun> earlier;
    if (adopted_) earlier = earlier_run(value_of(job_->annotations, work_labels::kDeadline), pod_->started_at);
    const RunLimit limit = run_limit(own_limit(), context_, earlier, runtime_.clock_);
    limit_ = limit.total;
    if (limit.before_engine) after(limit_timer_, limit.left, &Attempt::time_is_over);
}

// Its process has not begun, but the attempt that made the Job has a time of its own.
void KubernetesRuntime::Attempt::arm_limit_of_waiting() {
    const EarlierRun earlier = earlier_run(value_of(job_->annotations, work_labels::kDeadline), job_->created);
    const RunLimit limit = run_limit(Duration::max() / 4, context_, earlier, runtime_.clock_);
    if (!limit.before_engine) return;
    limit_ = limit.total;
    after(limit_timer_, limit.left, &Attempt::time_is_over);
}

void KubernetesRuntime::Attempt::time_is_over() {
    if ((stage_ != Stage::kPending && stage_ != Stage::kRun) || stopping()) return;
    over_time_ = true;
    stop_until_ = runtime_.clock_.now() + runtime_.options_.grace;
    begin_stop();
}

// ---- stop

void KubernetesRuntime::Attempt::stop(StopReason reason, Duration grace) {
    const MonoTime until = runtime_.clock_.now() + std::min(grace, runtime_.options_.grace);
    stop_until_ = stopping() ? std::min(stop_until_, until) : until;
    if (!stopped_) stopped_ = reason;
    switch (stage_) {
        case Stage::kLook:
            // What is found is stopped then: another worker may have begun it.
            if (held_ || job_) return;
            after(limit_timer_, until - runtime_.clock_.now(), &Attempt::look_is_late);
            return;
        case Stage::kCreate: return;  // its answer decides what there is to stop
        case Stage::kPending:
        case Stage::kRun: return begin_stop();
        case Stage::kStop:
            after(limit_timer_,
                  std::max<Duration>(stop_until_ - runtime_.clock_.now(), Duration::zero()) +
                      runtime_.options_.gone_limit,
                  &Attempt::stop_is_late);
            return stop_pod();
        case Stage::kCollect:
        case Stage::kEnded: return;
    }
}

// Nobody says what there is, and the time for it is over.
void KubernetesRuntime::Attempt::look_is_late() {
    if (stage_ != Stage::kLook || held_ || job_) return;
    call_ = {};
    step_timer_.cancel();
    say("stopped before it was known whether an earlier attempt has left a Job");
    stop_before_start();
}

// The Job first, so that no other pod is made; it stays until its pods are gone.
void KubernetesRuntime::Attempt::begin_stop() {
    if (stage_ != Stage::kStop) {
        stage_ = Stage::kStop;
        for (asio::steady_timer* timer : {&limit_timer_, &wait_timer_, &place_timer_, &step_timer_})
            timer->cancel();
        const Duration left = std::max<Duration>(stop_until_ - runtime_.clock_.now(), Duration::zero());
        after(limit_timer_, left + runtime_.options_.gone_limit, &Attempt::stop_is_late);
    }
    call_ = api_.delete_job(name_, job_->uid, true, ticket_id_, [this](const Reply<Nothing>& reply) {
        if (!reply) return again(&Attempt::begin_stop);
        stop_asked_ = true;
        stop_pod();
        find_out();  // without a pod it is gone at once, maybe before the watch was there
    });
}

void KubernetesRuntime::Attempt::stop_pod() {
    if (!stop_asked_ || !pod_ || pod_gone_ || pod_->terminated()) return;
    const Duration left = std::max<Duration>(stop_until_ - runtime_.clock_.now(), seconds(1));
    pods_call_ = api_.delete_pod(pod_->name, pod_->uid, left, ticket_id_, [](const Reply<Nothing>&) {});
}

// A node that does not answer keeps its pods; nobody knows what they do.
void KubernetesRuntime::Attempt::stop_is_late() {
    if (stage_ != Stage::kStop) return;
    say(shown() + " is not gone yet; its removal goes on");
    report_.attempt.metadata["cleanup"] = "still under way";
    ended();
}

// Nothing of the work can have happened.
void KubernetesRuntime::Attempt::stop_before_start() {
    refuse(stop_error(stopped_.value_or(StopReason::kTimeout), std::string(kOrigin)));
}

// ---- the end

void KubernetesRuntime::Attempt::ended() {
    const bool was_running = stage_ == Stage::kRun;
    stage_ = Stage::kCollect;
    for (asio::steady_timer* timer :
         {&step_timer_, &limit_timer_, &wait_timer_, &place_timer_, &look_timer_, &patience_timer_})
        timer->cancel();
    call_ = {};
    look_call_ = {};
    pods_call_ = {};
    if (listens_) runtime_.watch_.leave(name_, *this);
    listens_ = false;
    note_stage(was_running || ran_ ? "run" : "pending");
    if (!pod_ || !ran_) {
        const bool may_have_run = job_->complete || (pod_ && pod_->end_reason == "ContainerStatusUnknown");
        return may_have_run ? log_.give_up("the pod is gone") : collected();
    }
    log_.finish(pod_->name, !pod_gone_ && !job_gone_);
}

void KubernetesRuntime::Attempt::output_incomplete(std::string why) {
    report_.attempt.metadata["output_incomplete"] = "true";
    say(std::move(why));
}

void KubernetesRuntime::Attempt::collected() {
    if (stage_ != Stage::kCollect) return;
    log_.stop();
    note_stage("logs");
    output_.finish();
    decide();
}

// In the cluster's words where it has some.
std::string KubernetesRuntime::Attempt::waited_for() const {
    if (ran_) return {};
    if (!waiting_.empty()) return waiting_;
    if (job_->suspended) return "its Job is suspended";
    if (!pod_) return "no pod was made for it";
    if (pod_->node.empty()) return "no node has taken its pod";
    const std::string why = joined(pod_->waiting_reason, pod_->waiting_message);
    return "its pod waits on " + pod_->node + (why.empty() ? "" : ": " + why);
}

void KubernetesRuntime::Attempt::decide() {
    const JobEnd end{.job = *job_,
                     .pod = pod_ ? &*pod_ : nullptr,
                     .shown = shown(),
                     .job_gone = job_gone_,
                     .pod_gone = pod_gone_,
                     .ran = ran_,
                     .waited_for = waited_for(),
                     .stopped = stopped_,
                     .over_time = over_time_,
                     .hopeless = hopeless_,
                     .limit = limit_,
                     .memory_limit = task_.memory_limit,
                     .retry = task_.retry};
    report_.attempt.exit_code = kubernetes::own_exit_code(end);
    report_.attempt.error = kubernetes::verdict(end, output_.last_line(kShownLineBytes));
    report_.attempt.success = !report_.attempt.error.has_value();
    if (report_.attempt.success && !report_.attempt.exit_code) report_.attempt.exit_code = 0;
    if (hopeless_ && !ran_ && !contact_lost_) report_.work_began = false;
    leave_job();
    if (runtime_.options_.on_stage) runtime_.options_.on_stage("total", runtime_.clock_.now() - began_);
    finish();
}

// What was stopped is removed now; what ended by itself is kept until its result is committed.
void KubernetesRuntime::Attempt::leave_job() {
    if (job_gone_) return keeper_.forget_note(ticket_id_);
    WorkKeeper::Doomed job{job_->uid, name_, ticket_id_, stopping()};
    if (stopping()) return keeper_.remove_now(std::move(job));
    keeper_.remove_when_settled(std::move(job));
}

void KubernetesRuntime::Attempt::describe() {
    AttemptReport& attempt = report_.attempt;
    attempt.runtime = kOrigin;
    StringMap& facts = attempt.metadata;
    facts["runtime"] = kOrigin;
    facts["duration_seconds"] = seconds_text(runtime_.clock_.now() - began_);
    if (!task_.shown.empty()) attempt.output["command"] = task_.shown;
    if (task_.image.text.empty()) return;  // it was not even read
    facts["image"] = task_.image.text;
    facts["namespace"] = runtime_.options_.name_space;
    facts["adopted"] = yes_no(adopted_);
    if (contact_lost_) facts["contact_lost"] = "true";
    if (!waiting_.empty()) facts["pending_reason"] = waiting_;
    if (!job_) return;
    attempt.output["job_name"] = name_;
    if (pod_) attempt.output["pod_name"] = pod_->name;
    if (pod_ && !pod_->node.empty()) facts["node"] = pod_->node;
    if (!report_.work_began) return;
    if (attempt.exit_code) attempt.output["exit_code"] = std::to_string(*attempt.exit_code);
    output_.describe(attempt, task_.max_output_bytes, runtime_.options_.result_lines);
    facts["effective_timeout_seconds"] = seconds_text(limit_);
    const bool cluster_did = job_->failing && job_->reason == "DeadlineExceeded";
    facts["timed_out"] = yes_no(over_time_ || stopped_ == StopReason::kTimeout || cluster_did);
    const bool out_of_memory = pod_ && pod_->out_of_memory();
    facts["oom_killed"] = yes_no(out_of_memory);
    if (out_of_memory) facts["limits_reached"] = "memory";
    if (pod_ && !pod_->image_id.empty()) facts["image_id"] = pod_->image_id;
}

void KubernetesRuntime::Attempt::not_started(Error why) {
    report_.attempt.metadata["pending_reason"] = pod_->end_reason;
    refuse(std::move(why));
}

void KubernetesRuntime::Attempt::refuse(Error why) {
    report_.work_began = false;
    report_.attempt.error = std::move(why);
    if (job_) {
        keeper_.remove_now({job_->uid, name_, ticket_id_, true});
    } else if (!held_ && !unsure_) {
        keeper_.forget_note(ticket_id_);
    }
    finish();
}

// The Job is left as it is: the next attempt, or the sweep, finds it by its labels.
void KubernetesRuntime::Attempt::end_unknown(Error why) {
    runtime_.next_sweep_ = {};  // with the next probe that is answered: no later attempt may come
    report_.attempt.error = std::move(why);
    report_.attempt.effects.push_back(Effect{"job", name_, "delete_job"});
    finish();
}

void KubernetesRuntime::Attempt::finish() {
    if (stage_ == Stage::kEnded) return;
    stage_ = Stage::kEnded;
    for (asio::steady_timer* timer :
         {&step_timer_, &limit_timer_, &wait_timer_, &place_timer_, &look_timer_, &patience_timer_})
        timer->cancel();
    for (http::ServiceHandle* call : {&call_, &look_call_, &pods_call_})
        *call = {};
    log_.stop();
    if (listens_) runtime_.watch_.leave(name_, *this);
    listens_ = false;
    // What the cluster says may hold words of the command.
    if (report_.attempt.error) report_.attempt.error->message = output_.masked(report_.attempt.error->message);
    waiting_ = output_.masked(waiting_);
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
