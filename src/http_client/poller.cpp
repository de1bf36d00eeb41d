#include "http_client/poller.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http_client/verdict.h"

namespace wa::http {
namespace asio = boost::asio;

class PollRun : public std::enable_shared_from_this<PollRun> {
public:
    PollRun(Poller& poller, PollSpec spec, Poller::PlainRead read, Poller::PlainDone done)
        : poller_(poller),
          spec_(std::move(spec)),
          read_(std::move(read)),
          done_(std::move(done)),
          course_(spec_.policy, poller.clock_.now(), spec_.deadline, poller.random_),
          timer_(poller.loop_) {}

    void begin() { go_on(course_.first(poller_.clock_.now())); }
    void cancel();
    void hurry();
    [[nodiscard]] bool over() const { return over_; }

private:
    using Reading = PollReading<char>;

    void go_on(const PollCourse::Next& next);
    void wait(Duration time);
    void ask();
    void answered(ServiceAnswer answer);
    void read(const Response& response);
    void not_known(Error why, std::optional<Duration> hint, bool busy);
    void end(PollEnd how, std::optional<Error> error = std::nullopt);
    [[nodiscard]] Error error_of(PollEnd how) const;
    [[nodiscard]] Error refusal(const Response& response) const;
    [[nodiscard]] const std::string& origin() const { return poller_.caller_.policy().name; }
    [[nodiscard]] MonoTime now() const { return poller_.clock_.now(); }

    Poller& poller_;
    PollSpec spec_;
    Poller::PlainRead read_;
    Poller::PlainDone done_;
    PollCourse course_;
    asio::steady_timer timer_;
    ServiceHandle question_;
    std::optional<Error> last_;  // why the last answer told nothing
    std::string progress_;
    std::int32_t questions_ = 0;
    bool waiting_ = false;
    bool held_ = false;  // the other side asked for this wait
    bool over_ = false;
};

void PollRun::go_on(const PollCourse::Next& next) {
    if (next.end) return end(*next.end);
    wait(next.wait);
}

void PollRun::wait(Duration time) {
    waiting_ = true;
    timer_.expires_after(time);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& failed) {
        const auto self = weak.lock();
        if (failed || !self || self->over_ || !self->waiting_) return;
        self->waiting_ = false;
        self->ask();
    });
}

void PollRun::hurry() {
    if (over_ || !waiting_ || held_) return;
    wait(Duration::zero());
}

void PollRun::ask() {
    if (spec_.deadline != MonoTime{} && now() >= spec_.deadline) return end(PollEnd::kOutOfTime);
    ServiceCall call = spec_.ask();
    if (over_) return;
    call.deadline = spec_.deadline;
    call.attempts = 1;
    call.reader.reset();
    call.request.purpose.retry = 0;
    ++questions_;
    held_ = false;
    question_ = poller_.caller_.call(std::move(call), [weak = weak_from_this()](ServiceAnswer answer) {
        const auto self = weak.lock();
        if (self && !self->over_) self->answered(std::move(answer));
    });
}

void PollRun::answered(ServiceAnswer answer) {
    const Verdict verdict = judge(answer.result, true, poller_.clock_.wall_now());
    if (!answer.result) {
        Error& error = answer.result.error();
        const bool ours = error.code == ErrorCode::kInvalidArgument ||
                          (error.code == ErrorCode::kNotAllowed && error.fault == Fault::kInput);
        if (ours) return end(PollEnd::kRefused, std::move(error));
        const bool held = error.retry == Retry::kAfterHint;
        const std::optional<Duration> hint =
            error.retry_after ? std::optional<Duration>(*error.retry_after) : std::nullopt;
        return not_known(std::move(error), hint, held);
    }
    const Response& response = *answer.result;
    if (response.status >= 200 && response.status < 300) return read(response);
    if (response.status == 404) return go_on(course_.not_there(now(), verdict.wait));
    if (response.status == 410) return end(course_.gone());
    if (!verdict.transient) return end(PollEnd::kRefused, refusal(response));
    const bool busy = verdict.acted_upon == ActedUpon::kNo && verdict.wait.has_value();
    not_known(refusal(response), verdict.wait, busy || response.status == 429);
}

void PollRun::read(const Response& response) {
    Reading reading = read_(response);
    if (over_) return;
    switch (reading.state) {
        case Reading::State::kEnded: return end(PollEnd::kEnded);
        case Reading::State::kNotThere: return go_on(course_.not_there(now(), reading.wait));
        case Reading::State::kUnknown:
            return not_known(reading.why ? *std::move(reading.why)
                                         : make_error(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService,
                                                      origin(), "the answer says nothing"),
                             reading.wait, false);
        case Reading::State::kRunning: break;
    }
    last_.reset();
    if (!reading.progress.empty() && reading.progress != progress_) {
        progress_ = std::move(reading.progress);
        if (spec_.progress) spec_.progress(progress_);
        if (over_) return;
    }
    // A wait that the body names may be shorter than ours; the header's is a bound.
    const auto asked = retry_after(response, poller_.clock_.wall_now());
    std::optional<Duration> hint = reading.wait;
    if (asked) hint = std::max<Duration>(*asked, hint.value_or(Duration::zero()));
    held_ = asked.has_value();
    go_on(course_.running(now(), hint));
}

void PollRun::not_known(Error why, std::optional<Duration> hint, bool busy) {
    last_ = std::move(why);
    const PollCourse::Next next = course_.unknown(now(), hint, busy);
    held_ = hint.has_value();
    go_on(next);
}

Error PollRun::refusal(const Response& response) const {
    const bool denied = response.status == 401 || response.status == 403;
    return make_error(
        denied ? ErrorCode::kNotAllowed : ErrorCode::kUnavailable, Retry::kNever, Fault::kService, origin(),
        origin() + ": asked for the state of " + spec_.what + ", it answered " + std::to_string(response.status));
}

Error PollRun::error_of(PollEnd how) const {
    const auto error = [&](ErrorCode code, Retry retry, const std::string& text) {
        Error made = make_error(code, retry, Fault::kService, origin(), origin() + ": " + spec_.what + " " + text);
        if (last_) {
            made.message += "; the last word was: " + last_->message;
            made.cause = std::make_shared<const Error>(*last_);
        }
        return made;
    };
    switch (how) {
        case PollEnd::kVanished: return error(ErrorCode::kNotFound, Retry::kNever, "was there, and is not any more");
        case PollEnd::kNeverAppeared: return error(ErrorCode::kNotFound, Retry::kNever, "was never there");
        case PollEnd::kUnknownTooLong:
            return error(ErrorCode::kUnavailable, Retry::kAfterBackoff,
                         "may still run: nothing was learnt about it for too long");
        case PollEnd::kOutOfTime: return error(ErrorCode::kTimeout, Retry::kAfterBackoff, "did not end in time");
        case PollEnd::kEnded:
        case PollEnd::kRefused: break;
    }
    return error(ErrorCode::kInternal, Retry::kNever, "ended without a value");
}

void PollRun::end(PollEnd how, std::optional<Error> error) {
    over_ = true;
    waiting_ = false;
    timer_.cancel();
    if (how != PollEnd::kEnded && !error) error = error_of(how);
    asio::post(poller_.loop_, [self = shared_from_this(), how, error = std::move(error)]() mutable {
        const Poller::PlainDone done = std::exchange(self->done_, nullptr);
        if (done) done(how, std::move(error), self->questions_);
    });
}

void PollRun::cancel() {
    over_ = true;
    waiting_ = false;
    timer_.cancel();
    question_.cancel();
    // What the callbacks hold may own the handle itself.
    asio::post(poller_.loop_, [self = shared_from_this(), done = std::exchange(done_, nullptr)] {});
}

PollHandle& PollHandle::operator=(PollHandle&& other) noexcept {
    if (this != &other) {
        cancel();
        run_ = std::move(other.run_);
    }
    return *this;
}

PollHandle::~PollHandle() {
    cancel();
}

void PollHandle::cancel() {
    if (const auto run = std::exchange(run_, nullptr)) run->cancel();
}

bool PollHandle::active() const {
    return run_ && !run_->over();
}

void PollHandle::hurry() {
    if (run_) run_->hurry();
}

PollHandle Poller::begin(PollSpec spec, PlainRead read, PlainDone done) {
    auto run = std::make_shared<PollRun>(*this, std::move(spec), std::move(read), std::move(done));
    run->begin();
    return PollHandle(std::move(run));
}

}  // namespace wa::http
