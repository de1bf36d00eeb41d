// Asks again and again how something goes until it has ended: the one loop under all that is waited for by asking.
//
// Declared: how to ask (a call), how to read an answer, how often (PollPolicy, poll_course.h). Done here: the pace with
// jitter, Retry-After, the difference between "not there yet" and "not there any more", a bound on how long nothing may
// be known, the deadline, cancelling. A question is one try of the service's caller, with its breaker and its turn; the
// loop repeats it anyway. Credentials are fetched for each question (ServiceCall::prepare).
//
//   answer                               counts as
//   2xx                                  what read() makes of it
//   404                                  not there
//   410                                  gone
//   other 4xx, 3xx                       refused: the end, at once
//   429, 403 with a time, breaker open   nothing known; waited for as asked
//   408, 425, 5xx, no answer, no HTTP    nothing known
//
// Threading: loop thread. Nothing is called from inside poll(); a callback may destroy its handle.
// Rules: contract/executors.md 1.5 and 11 (rows 2, 5, 13), field.md 5 row 26.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "http_client/poll_course.h"
#include "http_client/service_caller.h"

namespace wa::http {

// What an answer says.
template <class Value>
struct PollReading {
    enum class State : std::uint8_t { kRunning, kEnded, kUnknown, kNotThere };
    State state = State::kUnknown;
    std::optional<Value> value{};    // of kEnded
    std::optional<Error> why{};      // of kUnknown
    std::string progress{};          // of kRunning, for people: "2 of 5 steps"
    std::optional<Duration> wait{};  // before the next question, when the answer says so

    [[nodiscard]] static PollReading running(std::string progress = {}) {
        return {.state = State::kRunning, .progress = std::move(progress)};
    }
    [[nodiscard]] static PollReading ended(Value value) { return {.state = State::kEnded, .value = std::move(value)}; }
    [[nodiscard]] static PollReading unknown(Error why) { return {.state = State::kUnknown, .why = std::move(why)}; }
    [[nodiscard]] static PollReading not_there() { return {.state = State::kNotThere}; }
};

template <class Value>
struct PollOutcome {
    PollEnd end = PollEnd::kEnded;
    Result<Value> result;  // a value exactly when end is kEnded
    std::int32_t questions = 0;
};

struct PollSpec {
    std::string what = "it";  // in messages: "the pipeline 17"
    // Makes the next question. Its deadline is overwritten, and it is one try. Its request's timeout bounds it.
    std::function<ServiceCall()> ask{};
    PollPolicy policy{};
    MonoTime deadline{};  // epoch = none
    // Told when the text of a reading differs from the one before. May be empty.
    std::function<void(const std::string&)> progress{};
};

class PollRun;

// Destroying it ends the asking: nothing is called any more. Empty after a move.
class [[nodiscard]] PollHandle {
public:
    PollHandle() = default;
    explicit PollHandle(std::shared_ptr<PollRun> run) : run_(std::move(run)) {}
    PollHandle(PollHandle&&) noexcept = default;
    PollHandle& operator=(PollHandle&& other) noexcept;
    PollHandle(const PollHandle&) = delete;
    PollHandle& operator=(const PollHandle&) = delete;
    ~PollHandle();

    void cancel();
    [[nodiscard]] bool active() const;
    // Asks now instead of after the wait, unless a question is out: something else has told that it is worth it.
    void hurry();

private:
    std::shared_ptr<PollRun> run_;
};

class Poller {
public:
    // All must outlive this, and this the handles.
    Poller(boost::asio::io_context& loop, const Clock& clock, Random& random, ServiceCaller& caller)
        : loop_(loop), clock_(clock), random_(random), caller_(caller) {}

    // `read` is called for each 2xx; `done` once, unless it is cancelled before.
    template <class Value>
    PollHandle poll(PollSpec spec, std::function<PollReading<Value>(const Response&)> read,
                    std::function<void(PollOutcome<Value>)> done) {
        auto kept = std::make_shared<std::optional<Value>>();
        auto plain_read = [kept, read = std::move(read)](const Response& response) {
            PollReading<Value> reading = read(response);
            *kept = std::move(reading.value);
            return PollReading<char>{.state = static_cast<PollReading<char>::State>(reading.state),
                                     .why = std::move(reading.why),
                                     .progress = std::move(reading.progress),
                                     .wait = reading.wait};
        };
        auto plain_done = [kept, done = std::move(done)](PollEnd end, std::optional<Error> error, std::int32_t asked) {
            if (end == PollEnd::kEnded && *kept) return done({end, *std::move(*kept), asked});
            if (!error)
                error = make_error(ErrorCode::kInternal, Retry::kNever, Fault::kWorker, "http",
                                   "a reading that had ended had no value");
            done({end, tl::unexpected(*std::move(error)), asked});
        };
        return begin(std::move(spec), std::move(plain_read), std::move(plain_done));
    }

private:
    friend class PollRun;
    using PlainRead = std::function<PollReading<char>(const Response&)>;
    using PlainDone = std::function<void(PollEnd, std::optional<Error>, std::int32_t)>;
    PollHandle begin(PollSpec spec, PlainRead read, PlainDone done);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Random& random_;
    ServiceCaller& caller_;
};

}  // namespace wa::http
