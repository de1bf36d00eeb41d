#include "http_client/service_caller.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <unordered_set>
#include <utility>
#include <vector>

#include "http_client/verdict.h"

namespace wa::http {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

// A try that had less time than it is made for says something about the place only when it had this much.
constexpr Duration kTellingTime = std::chrono::seconds(5);
// On top of a wait that everybody was asked for, so that not all come back at once.
constexpr double kHintJitter = 0.1;

std::string reason_of(const Result<Response>& result) {
    if (result) return std::to_string(result->status);
    switch (result.error().code) {
        case ErrorCode::kTimeout: return "timeout";
        case ErrorCode::kUnavailable: return "unreachable";
        default: return "other";
    }
}

}  // namespace

class ServiceJob {
public:
    enum class Phase : std::uint8_t { kQueued, kOut, kPausing, kOver };

    ServiceJob(asio::io_context& loop, ServiceCall asked, ServiceCaller::Done when_done)
        : call(std::move(asked)), done(std::move(when_done)), timer(loop) {}

    [[nodiscard]] bool streams() const { return call.reader.has_value(); }
    [[nodiscard]] bool may_repeat() const {
        return call.repeat == Repeat::kAlways ||
               (call.repeat == Repeat::kByMethod && is_idempotent(call.request.method));
    }

    ServiceCall call;
    ServiceCaller::Done done;
    asio::steady_timer timer;  // end of the pause, or the deadline while it waits for its turn
    Phase phase = Phase::kQueued;
    Call http;
    std::vector<Header> sent_headers;
    MonoTime since{};           // that it waits
    MonoTime sent_at{};         // the try that is out
    bool full_time = true;      // that try has as much time as it is made for
    bool told = false;          // the breaker knows of it
    bool muted = false;         // a stream's answer that is not the one
    bool delivered = false;     // the reader has seen something
    bool renewed = false;       // the one more try after a 401
    bool unknown = false;       // of an earlier try
    std::optional<Error> last;  // of an earlier try
    std::int32_t attempts = 0;
    Duration waited{};
};

using Job = std::shared_ptr<ServiceJob>;

class ServiceState : public std::enable_shared_from_this<ServiceState> {
public:
    ServiceState(asio::io_context& loop, const Clock& clock, Random& random, Client& client, ServicePolicy policy,
                 ServiceListener* listener)
        : loop_(loop),
          clock_(clock),
          random_(random),
          client_(client),
          policy_(std::move(policy)),
          listener_(listener),
          breaker_(policy_.breaker_failures, policy_.breaker_pause),
          budget_(policy_.budget),
          gate_timer_(loop) {
        calls_.limit = policy_.calls;
        streams_.limit = policy_.streams;
    }

    void start(const Job& job);
    void cancel(const Job& job);
    void close();
    [[nodiscard]] ServiceStats stats() const {
        return {begun_, retries_, refused_, calls_.out + streams_.out, jobs_.size() - calls_.out - streams_.out};
    }
    [[nodiscard]] CircuitBreaker::State breaker() const { return breaker_.state(); }
    [[nodiscard]] const ServicePolicy& policy() const { return policy_; }
    [[nodiscard]] asio::io_context& loop() { return loop_; }

private:
    struct Lane {
        std::size_t limit = 0;
        std::size_t out = 0;
        std::size_t pausing = 0;
        std::deque<Job> queue;
    };
    using Phase = ServiceJob::Phase;

    Lane& lane_of(const Job& job) { return job->streams() ? streams_ : calls_; }
    void enqueue(const Job& job, bool in_front);
    void arm(const Job& job, MonoTime when);
    void timer_came(const Job& job);
    void pump_soon();
    void pump(Lane& lane);
    void send(const Job& job);
    Call send_out(const Job& job, Request request);
    StreamReader muffled(const Job& job);
    void ended(const Job& job, Result<Response> result);
    void tell_breaker(const Job& job, const Verdict& verdict);
    void hold(Duration wait);
    void refuse_hopeless(Lane& lane);
    void refuse_all(Lane& lane);
    bool renew(const Job& job, const Result<Response>& result);
    [[nodiscard]] bool may_try_again(const Job& job, const Verdict& verdict) const;
    [[nodiscard]] std::optional<Duration> next_pause(const Job& job, const Verdict& verdict);
    void pause(const Job& job, Duration wait, const std::string& reason);
    void finish(const Job& job, ServiceAnswer answer);
    void refuse(const Job& job, Error error);
    void give_up_waiting(const Job& job);
    void release(const Job& job);
    void leave_lane(const Job& job);
    void note_breaker();
    [[nodiscard]] std::optional<Duration> remaining(const Job& job) const;
    [[nodiscard]] Error error(ErrorCode code, Retry retry, const std::string& text) const {
        return make_error(code, retry, Fault::kService, policy_.name, policy_.name + ": " + text);
    }
    [[nodiscard]] Error breaker_error() const;
    [[nodiscard]] Error hold_error() const;

    asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    Client& client_;
    ServicePolicy policy_;
    ServiceListener* listener_;
    CircuitBreaker breaker_;
    CircuitBreaker::State told_state_ = CircuitBreaker::State::kClosed;
    RetryBudget budget_;
    MonoTime held_until_{};
    std::optional<Error> last_failure_;
    Lane calls_;
    Lane streams_;
    std::unordered_set<Job> jobs_;  // all that are not over
    asio::steady_timer gate_timer_;
    bool pump_posted_ = false;
    bool closed_ = false;
    std::uint64_t begun_ = 0;
    std::uint64_t retries_ = 0;
    std::uint64_t refused_ = 0;
};

std::optional<Duration> ServiceState::remaining(const Job& job) const {
    if (job->call.deadline == MonoTime{}) return std::nullopt;
    return job->call.deadline - clock_.now();
}

Error ServiceState::breaker_error() const {
    Error refusal = error(ErrorCode::kUnavailable, Retry::kAfterHint,
                          "not called: it could not be reached " + std::to_string(policy_.breaker_failures) +
                              " times in a row" + (last_failure_ ? " (" + last_failure_->message + ")" : ""));
    refusal.retry_after =
        std::chrono::milliseconds(std::max<std::int64_t>(0, to_millis(breaker_.retry_at() - clock_.now())));
    if (last_failure_) refusal.cause = std::make_shared<const Error>(*last_failure_);
    return refusal;
}

Error ServiceState::hold_error() const {
    Error refusal = error(ErrorCode::kUnavailable, Retry::kAfterHint,
                          "not called: it asks to be left alone for longer than there is time");
    refusal.retry_after = std::chrono::milliseconds(std::max<std::int64_t>(0, to_millis(held_until_ - clock_.now())));
    return refusal;
}

void ServiceState::start(const Job& job) {
    ++begun_;
    jobs_.insert(job);
    job->since = clock_.now();
    const Lane& lane = lane_of(job);
    if (lane.queue.size() + lane.pausing >= policy_.queue) {
        return refuse(job,
                      error(ErrorCode::kLimitExceeded, Retry::kAfterBackoff,
                            std::to_string(policy_.queue) + " calls wait for their turn or their next try already"));
    }
    enqueue(job, false);
}

void ServiceState::enqueue(const Job& job, bool in_front) {
    auto& queue = lane_of(job).queue;
    job->phase = Phase::kQueued;
    in_front ? queue.push_front(job) : queue.push_back(job);
    if (job->call.deadline != MonoTime{}) arm(job, job->call.deadline);
    pump_soon();
}

void ServiceState::arm(const Job& job, MonoTime when) {
    job->timer.expires_after(std::max(Duration::zero(), when - clock_.now()));
    job->timer.async_wait(
        [weak = weak_from_this(), weak_job = std::weak_ptr<ServiceJob>(job)](const error_code& failed) {
            const auto self = weak.lock();
            const auto alive = weak_job.lock();
            if (!failed && self && alive) self->timer_came(alive);
        });
}

void ServiceState::timer_came(const Job& job) {
    if (job->phase == Phase::kPausing) {
        --lane_of(job).pausing;
        job->waited += clock_.now() - job->since;
        job->since = clock_.now();
        return enqueue(job, true);
    }
    if (job->phase != Phase::kQueued) return;
    std::erase(lane_of(job).queue, job);
    give_up_waiting(job);
}

void ServiceState::give_up_waiting(const Job& job) {
    finish(job, {.result = tl::unexpected(
                     error(ErrorCode::kTimeout, Retry::kAfterBackoff, "out of time while waiting for a turn"))});
}

void ServiceState::pump_soon() {
    if (std::exchange(pump_posted_, true)) return;
    asio::post(loop_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->pump_posted_ = false;
        self->pump(self->calls_);
        self->pump(self->streams_);
    });
}

void ServiceState::pump(Lane& lane) {
    while (!closed_ && !lane.queue.empty() && lane.out < lane.limit) {
        const MonoTime now = clock_.now();
        if (now < held_until_) {
            refuse_hopeless(lane);
            gate_timer_.expires_after(held_until_ - now);
            gate_timer_.async_wait([weak = weak_from_this()](const error_code& failed) {
                const auto self = weak.lock();
                if (!failed && self) self->pump_soon();
            });
            return;
        }
        if (!breaker_.try_acquire(now)) {
            // While one call tries, the others wait for what it finds.
            if (breaker_.state() == CircuitBreaker::State::kOpen) refuse_all(lane);
            return;
        }
        note_breaker();
        const Job job = std::move(lane.queue.front());
        lane.queue.pop_front();
        send(job);
    }
}

void ServiceState::refuse_hopeless(Lane& lane) {
    std::deque<Job> hopeless;
    std::erase_if(lane.queue, [&](const Job& job) {
        const bool gone = job->call.deadline != MonoTime{} && job->call.deadline <= held_until_;
        if (gone) hopeless.push_back(job);
        return gone;
    });
    for (const Job& job : hopeless)
        refuse(job, hold_error());
}

void ServiceState::refuse_all(Lane& lane) {
    for (const Job& job : std::exchange(lane.queue, {}))
        refuse(job, breaker_error());
}

void ServiceState::send(const Job& job) {
    const MonoTime now = clock_.now();
    job->timer.cancel();
    job->waited += now - job->since;
    const auto left = remaining(job);
    if (left && *left <= Duration::zero()) {
        breaker_.abandoned();
        return give_up_waiting(job);
    }
    Request request = job->call.request;
    if (job->call.prepare) {
        if (auto prepared = job->call.prepare(request); !prepared) {
            breaker_.abandoned();
            pump_soon();
            return finish(job, {.result = tl::unexpected(std::move(prepared).error())});
        }
    }
    job->full_time = true;
    if (left && (request.timeout == Duration::zero() || *left < request.timeout)) {
        job->full_time =
            *left >= std::min(kTellingTime, request.timeout == Duration::zero() ? kTellingTime : request.timeout);
        request.timeout = *left;
    }
    request.purpose.retry += job->attempts;
    if (!job->may_repeat()) request.fresh_connection = true;
    if (job->attempts == 0) budget_.called(now);
    ++job->attempts;
    ++lane_of(job).out;
    job->phase = Phase::kOut;
    job->sent_at = now;
    job->sent_headers = request.headers;
    job->told = job->muted = false;
    job->http = send_out(job, std::move(request));
}

Call ServiceState::send_out(const Job& job, Request request) {
    Completion done = [weak = weak_from_this(), weak_job = std::weak_ptr<ServiceJob>(job)](Result<Response> result) {
        const auto self = weak.lock();
        const auto alive = weak_job.lock();
        if (self && alive) self->ended(alive, std::move(result));
    };
    if (!job->streams()) return client_.send(std::move(request), std::move(done));
    return client_.stream(std::move(request), muffled(job), std::move(done));
}

// The caller's reader, that hears nothing of an answer which will be asked for again.
StreamReader ServiceState::muffled(const Job& job) {
    StreamReader reader;
    reader.head = [weak = weak_from_this(), weak_job = std::weak_ptr<ServiceJob>(job)](const Response& head) {
        const auto self = weak.lock();
        const auto alive = weak_job.lock();
        if (!self || !alive) return;
        const Verdict verdict = judge(head, true, self->clock_.wall_now());
        const bool last = head.status == 401 && alive->call.prepare && !alive->renewed;
        alive->muted = last || self->may_try_again(alive, verdict);
        if (alive->muted) return;
        self->tell_breaker(alive, verdict);
        alive->delivered = true;
        if (alive->call.reader->head) alive->call.reader->head(head);
    };
    reader.chunk = [weak_job = std::weak_ptr<ServiceJob>(job)](std::string_view bytes) {
        const auto alive = weak_job.lock();
        if (!alive || alive->muted || alive->phase == Phase::kOver) return true;
        return !alive->call.reader->chunk || alive->call.reader->chunk(bytes);
    };
    return reader;
}

void ServiceState::tell_breaker(const Job& job, const Verdict& verdict) {
    if (std::exchange(job->told, true)) return;
    if (verdict.ours || (verdict.timed_out && !job->full_time)) {
        breaker_.abandoned();
    } else if (verdict.unreachable) {
        breaker_.failure(clock_.now());
    } else {
        breaker_.success();
    }
    note_breaker();
    pump_soon();
}

void ServiceState::note_breaker() {
    const auto now = breaker_.state();
    if (std::exchange(told_state_, now) != now && listener_ != nullptr) listener_->breaker_changed(policy_.name, now);
}

void ServiceState::hold(Duration wait) {
    held_until_ = std::max(held_until_, clock_.now() + wait);
}

void ServiceState::leave_lane(const Job& job) {
    --lane_of(job).out;
    pump_soon();
}

void ServiceState::ended(const Job& job, Result<Response> result) {
    if (job->phase != Phase::kOut) return;
    const bool sent = job->http.request_sent();
    leave_lane(job);
    const Verdict verdict = judge(result, sent, clock_.wall_now());
    job->last = result
                    ? error(ErrorCode::kUnavailable, Retry::kAfterBackoff, "answered " + std::to_string(result->status))
                    : result.error();
    if (verdict.unreachable) last_failure_ = job->last;
    tell_breaker(job, verdict);
    if (verdict.wait) hold(*verdict.wait);
    job->unknown |= verdict.acted_upon == ActedUpon::kUnknown;
    if (listener_ != nullptr)
        listener_->tried({.service = policy_.name,
                          .method = job->call.request.method,
                          .name = job->call.request.purpose.name,
                          .status = result ? result->status : 0,
                          .took = clock_.now() - job->sent_at,
                          .stream = job->call.reader.has_value()});
    if (renew(job, result)) return;
    if (may_try_again(job, verdict)) {
        if (const auto wait = next_pause(job, verdict)) return pause(job, *wait, reason_of(result));
    }
    ServiceAnswer answer{.result = std::move(result)};
    const bool answered = verdict.acted_upon == ActedUpon::kAnswered;
    answer.outcome_unknown = job->unknown && !answered;
    if (!answer.result && answer.outcome_unknown && !job->may_repeat()) {
        answer.result.error().retry = Retry::kNever;
        answer.result.error().message += "; whether it was done is not known";
    }
    finish(job, std::move(answer));
}

// A credential that was replaced meanwhile: nothing was done with the old one.
bool ServiceState::renew(const Job& job, const Result<Response>& result) {
    if (!result || result->status != 401 || !job->call.prepare || job->renewed || job->delivered) return false;
    Request again = job->call.request;
    if (!job->call.prepare(again) || again.headers == job->sent_headers) return false;
    job->renewed = true;
    ++retries_;
    if (listener_ != nullptr) listener_->retried(policy_.name, "401");
    job->since = clock_.now();
    enqueue(job, true);
    return true;
}

bool ServiceState::may_try_again(const Job& job, const Verdict& verdict) const {
    const std::int32_t most = job->call.attempts > 0 ? job->call.attempts : policy_.attempts;
    if (!verdict.transient || job->delivered || job->attempts >= most + (job->renewed ? 1 : 0)) return false;
    if (!job->may_repeat() && verdict.acted_upon != ActedUpon::kNo) return false;
    const auto left = remaining(job);
    return !left || *left > verdict.wait.value_or(Duration::zero());
}

std::optional<Duration> ServiceState::next_pause(const Job& job, const Verdict& verdict) {
    Duration wait = next_backoff(policy_.backoff, job->attempts, verdict.wait, random_);
    if (verdict.wait)
        wait += std::chrono::duration_cast<Duration>(std::min<Duration>(*verdict.wait, policy_.backoff.cap) *
                                                     kHintJitter * random_.unit());
    const auto left = remaining(job);
    if (left && wait >= *left) {
        if (!verdict.wait) return std::nullopt;
        wait = *verdict.wait;  // there is time for what was asked for, if not for more
    }
    if (!budget_.try_take(clock_.now())) return std::nullopt;
    return wait;
}

void ServiceState::pause(const Job& job, Duration wait, const std::string& reason) {
    ++retries_;
    if (listener_ != nullptr) listener_->retried(policy_.name, reason);
    job->phase = Phase::kPausing;
    ++lane_of(job).pausing;
    job->since = clock_.now();
    arm(job, clock_.now() + wait);
}

void ServiceState::refuse(const Job& job, Error why) {
    ++refused_;
    finish(job, {.result = tl::unexpected(std::move(why))});
}

void ServiceState::finish(const Job& job, ServiceAnswer answer) {
    job->timer.cancel();
    jobs_.erase(job);
    // Of what went out before it came to wait again.
    answer.outcome_unknown |= job->unknown && !answer.result && job->attempts > 0;
    if (!answer.result && !answer.result.error().cause && job->phase != Phase::kOut && job->last)
        answer.result.error().cause = std::make_shared<const Error>(*job->last);
    job->phase = Phase::kOver;
    answer.attempts = job->attempts;
    answer.waited = job->waited;
    asio::post(loop_, [weak = weak_from_this(), job, answer = std::move(answer)]() mutable {
        const auto self = weak.lock();
        const ServiceCaller::Done done = std::exchange(job->done, nullptr);
        if (self && !self->closed_ && done) done(std::move(answer));
    });
}

// What the callbacks hold may own the call itself: it goes when nothing here is used any more.
void ServiceState::release(const Job& job) {
    asio::post(loop_, [job, done = std::exchange(job->done, nullptr), http = std::exchange(job->http, {})] {});
}

void ServiceState::cancel(const Job& job) {
    if (job->phase == Phase::kQueued) std::erase(lane_of(job).queue, job);
    if (job->phase == Phase::kPausing) --lane_of(job).pausing;
    if (job->phase == Phase::kOut) {
        job->http.cancel();
        if (!std::exchange(job->told, true)) breaker_.abandoned();
        leave_lane(job);
    }
    job->phase = Phase::kOver;
    job->timer.cancel();
    jobs_.erase(job);
    release(job);
}

void ServiceState::close() {
    closed_ = true;
    gate_timer_.cancel();
    for (const Job& job : std::unordered_set<Job>(jobs_))
        cancel(job);
}

ServiceHandle& ServiceHandle::operator=(ServiceHandle&& other) noexcept {
    if (this != &other) {
        cancel();
        state_ = std::move(other.state_);
        job_ = std::move(other.job_);
    }
    return *this;
}

ServiceHandle::~ServiceHandle() {
    cancel();
}

void ServiceHandle::cancel() {
    const Job job = std::exchange(job_, nullptr);
    const auto state = std::exchange(state_, {}).lock();
    if (job && state) state->cancel(job);
}

void ServiceHandle::resume() {
    if (job_) job_->http.resume();
}

bool ServiceHandle::active() const {
    return job_ && job_->done != nullptr && !state_.expired();
}

bool ServiceHandle::request_sent() const {
    return job_ && (job_->unknown || job_->http.request_sent());
}

ServiceCaller::ServiceCaller(asio::io_context& loop, const Clock& clock, Random& random, Client& client,
                             ServicePolicy policy, ServiceListener* listener)
    : state_(std::make_shared<ServiceState>(loop, clock, random, client, std::move(policy), listener)) {}

ServiceCaller::~ServiceCaller() {
    state_->close();
}

ServiceHandle ServiceCaller::call(ServiceCall call, Done done) {
    auto job = std::make_shared<ServiceJob>(state_->loop(), std::move(call), std::move(done));
    state_->start(job);
    return {state_, std::move(job)};
}

ServiceStats ServiceCaller::stats() const {
    return state_->stats();
}

CircuitBreaker::State ServiceCaller::breaker() const {
    return state_->breaker();
}

const ServicePolicy& ServiceCaller::policy() const {
    return state_->policy();
}

}  // namespace wa::http
