#include "runtimes/kubernetes_log.h"

#include <algorithm>
#include <utility>

#include "core/codec/text.h"
#include "runtimes/stop_error.h"

namespace wa::kubernetes {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::size_t kShownBytes = 400;
constexpr int kMostTries = 5;
constexpr int kMostLooks = 12;
constexpr Duration kFollowedLog = seconds(1);       // one that is followed ends with its container
constexpr std::uint64_t kKeptByNode = 9ULL << 20U;  // kubelets rotate logs at 10 MiB; what is older may be gone

}  // namespace

PodLog::PodLog(boost::asio::io_context& loop, Api& api, TaskOutput& output, const std::string& ticket_id, Duration look,
               Calls calls)
    : api_(api),
      output_(output),
      ticket_id_(ticket_id),
      look_(look),
      calls_(std::move(calls)),
      timer_(loop),
      look_timer_(loop) {}

void PodLog::after(boost::asio::steady_timer& timer, Duration wait, void (PodLog::*next)()) {
    timer.expires_after(wait);
    timer.async_wait([this, next, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) (this->*next)();
    });
}

void PodLog::follow(const std::string& pod) {
    const bool came_back = std::exchange(gone_, false);
    if (pod_ == pod && (!came_back || call_.active())) return;
    take_up(pod);
    read(true);
}

void PodLog::take_up(const std::string& pod) {
    if (!pod_.empty() && pod_ != pod) {
        output_.begin_another();
        end_.reset();
    }
    pod_ = pod;
}

void PodLog::finish(const std::string& pod, bool readable) {
    const bool follows = call_.active() && pod_ == pod;
    finishing_ = true;
    take_up(pod);
    tries_ = 0;
    after(look_timer_, look_, &PodLog::look);
    // A pod that is gone has no log any more: what was followed is all there is. Of one that is there it is read to its
    // end, unless its beginning may be gone.
    if (follows && (!readable || output_.seen() > kKeptByNode)) return;
    if (!readable) return end_ == output_.seen() ? end() : give_up("the pod is gone");
    call_ = {};
    read(false);
}

void PodLog::read(bool follow) {
    if (output_.seen() > kKeptByNode && follow)
        calls_.incomplete("the output was read again after a lost connection; some of it may be missing or repeated");
    output_.read_again();
    bytes_ = 0;
    lacks_.clear();
    http::StreamReader reader;
    reader.chunk = [this](std::string_view bytes) { return take(bytes); };
    call_ =
        api_.logs(pod_, follow, ticket_id_, std::move(reader), [this](const Reply<Nothing>& reply) { ended(reply); });
}

bool PodLog::take(std::string_view bytes) {
    // What a node says in place of a log that it does not have, with status 200.
    static constexpr std::string_view kNoLog = "unable to retrieve container logs for ";
    if (bytes_ == 0 && bytes.starts_with(kNoLog) && bytes.find("://") != std::string_view::npos) {
        lacks_ = clip(bytes, kShownBytes);
        return true;
    }
    bytes_ += bytes.size();
    if (output_.take(TaskLogStream::kStdout, bytes)) return true;
    constexpr Duration kBreath = milliseconds(20);
    timer_.expires_after(kBreath);
    timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) call_.resume();
    });
    return false;
}

void PodLog::ended(const Reply<Nothing>& reply) {
    if (reply) {
        if (!lacks_.empty() && finishing_) return give_up(lacks_);
        if (lacks_.empty()) end_ = output_.seen();
        if (finishing_) return end();
        // It ends with its container: the watch says so soon. If not, it broke off.
        return after(timer_, kFollowedLog, &PodLog::read_again);
    }
    if (!reply.error().passing() && finishing_) return give_up(reply.error().error.message);
    // Broken off. While the pod runs that is tried again for ever, after its end a few times.
    if (finishing_ && ++tries_ > kMostTries) return give_up(reply.error().error.message);
    after(timer_, std::min<Duration>(seconds(5), milliseconds(200) * (1 << std::min(tries_++, 4))),
          &PodLog::read_again);
}

void PodLog::read_again() {
    if (call_.active() || over_ || (gone_ && !finishing_)) return;
    read(!finishing_);
}

// Its output may be long, but must go on coming.
void PodLog::look() {
    const bool goes_on = bytes_ != bytes_before_ && ++looks_ <= kMostLooks;
    bytes_before_ = bytes_;
    if (!goes_on) return give_up("it does not end " + seconds_text(look_ * (looks_ + 1)) + " s after the pod");
    after(look_timer_, look_, &PodLog::look);
}

void PodLog::give_up(std::string why) {
    if (over_) return;
    calls_.incomplete("its output cannot be read to the end: " + std::move(why));
    end();
}

void PodLog::end() {
    if (over_) return;
    stop();
    calls_.over();
}

void PodLog::stop() {
    over_ = true;
    timer_.cancel();
    look_timer_.cancel();
    call_ = {};
}

}  // namespace wa::kubernetes
