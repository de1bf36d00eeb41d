#include "runtimes/docker_log.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/codec/text.h"
#include "runtimes/stop_error.h"

namespace wa::docker {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::size_t kShownLineBytes = 400;
constexpr int kMostTries = 5;
constexpr int kMostLooks = 12;
constexpr Duration kLook = seconds(5);         // an ended container's output must go on at least so often
constexpr Duration kFollowedLog = seconds(1);  // one that is followed ends with it
// What the engine keeps of the output (docker_task.cpp: LogConfig); beyond it the beginning of a log may be gone.
constexpr std::uint64_t kKeptByEngine = 8ULL << 20U;

}  // namespace

ContainerLog::ContainerLog(boost::asio::io_context& loop, Api& api, TaskOutput& output, const std::string& ticket_id,
                           Duration first_wait, Calls calls)
    : api_(api),
      output_(output),
      ticket_id_(ticket_id),
      first_wait_(first_wait),
      calls_(std::move(calls)),
      timer_(loop),
      look_timer_(loop) {}

void ContainerLog::after(boost::asio::steady_timer& timer, Duration wait, void (ContainerLog::*next)()) {
    timer.expires_after(wait);
    timer.async_wait([this, next, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) (this->*next)();
    });
}

void ContainerLog::follow(const std::string& id) {
    id_ = id;
    if (refused_) return;
    if (std::exchange(complete_, false)) call_ = {};
    if (!call_.active()) read(true);
}

void ContainerLog::is_gone() {
    refused_ = true;
}

void ContainerLog::finish(const std::string& id) {
    id_ = id;
    finishing_ = true;
    if (refused_) return end();
    bytes_before_ = bytes_;
    const bool follows = call_.active() && !complete_;
    after(look_timer_, follows ? kFollowedLog : kLook, &ContainerLog::look);
    if (!follows) read_to_the_end();
}

void ContainerLog::read(bool follow) {
    frames_ = {};
    output_.read_again();
    if (output_.seen() > kKeptByEngine) {
        some_missing_ = true;
        calls_.incomplete("the output was read again after a lost connection; some of it may be missing or repeated");
    }
    http::StreamReader reader;
    const auto refused = std::make_shared<std::string>();
    const auto good = std::make_shared<bool>(true);
    reader.head = [good](const http::Response& head) { *good = head.status == 200; };
    reader.chunk = [this, good, refused](std::string_view bytes) {
        constexpr std::size_t kShown = 1024;
        if (*good) return take(bytes);
        *refused += bytes.substr(0, kShown - std::min(kShown, refused->size()));
        return true;
    };
    call_ = api_.logs(id_, follow, ticket_id_, std::move(reader), [this, refused](Reply<std::monostate> reply) {
        if (!reply && !refused->empty()) reply.error().error.message = refusal_text(*refused);
        ended(reply);
    });
}

bool ContainerLog::take(std::string_view bytes) {
    bytes_ += bytes.size();
    bool keeps_up = true;
    const auto good = frames_.feed(
        bytes, [&](TaskLogStream stream, std::string_view payload) { keeps_up &= take_frame(stream, payload); });
    if (!good) {
        give_up(good.error().message);
        return true;
    }
    if (keeps_up) return true;
    constexpr Duration kBreath = milliseconds(20);
    timer_.expires_after(kBreath);
    timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) call_.resume();
    });
    return false;
}

// False: the log of the task lags behind.
bool ContainerLog::take_frame(TaskLogStream stream, std::string_view bytes) {
    if (stream != TaskLogStream::kWorker) return output_.take(stream, bytes);
    calls_.say("the engine says in the log: " +
               clip(lossy_utf8(bytes.substr(0, kShownLineBytes), kShownLineBytes), 200));
    return true;
}

void ContainerLog::ended(const Reply<std::monostate>& reply) {
    if (reply && frames_.complete()) {
        complete_ = true;
        if (finishing_) read_to_the_end();
        return;
    }
    if (!reply && !reply.error().passing()) return give_up(reply.error().error.message);
    // Broken off. While the container runs that is tried again for ever, after its end a few times.
    if (finishing_ && ++tries_ > kMostTries)
        return give_up(reply ? std::string("it ends in the middle") : reply.error().error.message);
    constexpr int kMostDoublings = 5;
    after(timer_, std::min<Duration>(seconds(5), first_wait_ * (1 << std::min(1 + tries_, kMostDoublings))),
          &ContainerLog::read_again);
}

void ContainerLog::read_again() {
    if (call_.active() || complete_ || refused_ || over_) return;
    finishing_ ? read_to_the_end() : read(true);
}

// Unless the engine may have dropped the beginning of the log: then nobody can tell whether the one that was followed
// was whole (engines lose and repeat parts of it when they begin another file).
void ContainerLog::read_to_the_end() {
    if (complete_ && is_final_) return end();
    if (complete_ && output_.seen() > kKeptByEngine) {
        if (!std::exchange(some_missing_, true))
            calls_.incomplete(
                "it printed more than the engine keeps: some of it, also of its end, may be missing or repeated");
        return end();
    }
    is_final_ = true;
    complete_ = false;
    read(false);
}

void ContainerLog::give_up(std::string why) {
    if (std::exchange(refused_, true)) return;
    some_missing_ = true;
    calls_.incomplete("its output cannot be read to the end: " + std::move(why));
    call_ = {};
    timer_.cancel();
    if (finishing_) after(look_timer_, Duration::zero(), &ContainerLog::end);  // not from inside of a call
}

// Its output may be long, but must go on coming.
void ContainerLog::look() {
    const bool goes_on = bytes_ != bytes_before_ && ++looks_ <= kMostLooks;
    bytes_before_ = bytes_;
    if (!goes_on && is_final_)
        return give_up("it does not end " + seconds_text(kLook * (looks_ + 1)) + " s after the container");
    after(look_timer_, kLook, &ContainerLog::look);
    if (!goes_on) read_to_the_end();
}

void ContainerLog::end() {
    if (over_) return;
    stop();
    calls_.over();
}

void ContainerLog::stop() {
    over_ = true;
    timer_.cancel();
    look_timer_.cancel();
    call_ = {};
}

}  // namespace wa::docker
