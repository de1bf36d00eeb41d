// When to ask again how something goes, and when to stop asking. Pure: time comes in, waits come out.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/random.h"

namespace wa::http {

struct PollPolicy {
    Duration first_after{};  // before the first question
    Duration interval = std::chrono::seconds(1);
    double growth = 1.5;  // of the interval with each question; after a failed one it doubles
    Duration longest = std::chrono::seconds(30);
    double jitter = 0.2;  // the share by which a wait may be shorter or longer
    // Not there yet: what was created a moment ago may be unknown to the part that answers.
    Duration appear_within = std::chrono::seconds(30);
    std::int32_t gone_after = 2;  // times in a row not there, after it was
    // Nothing is known: so many times in a row, or for so long since the last word; zero = any.
    std::int32_t unknown_answers = 10;
    Duration unknown_for = std::chrono::minutes(5);
};

enum class PollEnd : std::uint8_t {
    kEnded,           // with its value
    kRefused,         // the question itself is refused: asking again cannot help
    kVanished,        // it was there, and is not any more
    kNeverAppeared,   // it was never there
    kUnknownTooLong,  // nothing was learnt for too long
    kOutOfTime,
};

class PollCourse {
public:
    // A wait before the next question, or the end.
    struct Next {
        Duration wait{};
        std::optional<PollEnd> end{};
    };

    // `deadline`: epoch = none. `random` must outlive this.
    PollCourse(PollPolicy policy, MonoTime begun, MonoTime deadline, Random& random)
        : policy_(policy),
          begun_(begun),
          deadline_(deadline),
          random_(random),
          pace_(policy.interval),
          known_at_(begun) {}

    [[nodiscard]] Next first(MonoTime now) { return after(now, policy_.first_after, false); }
    // It is there and goes on. `hint`: the wait that the other side asks for.
    Next running(MonoTime now, std::optional<Duration> hint);
    Next not_there(MonoTime now, std::optional<Duration> hint);
    // Gone for good, as 410 says.
    [[nodiscard]] PollEnd gone() const { return existed_ ? PollEnd::kVanished : PollEnd::kNeverAppeared; }
    // `busy`: the other side is there and wants to be left alone for a while; that is no failure to count, but it is
    // no word either.
    Next unknown(MonoTime now, std::optional<Duration> hint, bool busy);
    [[nodiscard]] bool existed() const { return existed_; }

private:
    Next after(MonoTime now, Duration wait, bool fixed);
    Next paced(MonoTime now, std::optional<Duration> hint, double growth);

    PollPolicy policy_;
    MonoTime begun_;
    MonoTime deadline_;
    Random& random_;
    Duration pace_;
    bool existed_ = false;
    std::int32_t missing_ = 0;  // in a row
    std::int32_t unknown_ = 0;  // in a row
    MonoTime known_at_;         // the last word
};

}  // namespace wa::http
