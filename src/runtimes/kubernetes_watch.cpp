#include "runtimes/kubernetes_watch.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace wa::kubernetes {
namespace {

constexpr std::size_t kMaxLine = 4U << 20U;
constexpr int kExpired = 410;
constexpr Duration kFirstWait = std::chrono::milliseconds(100);

}  // namespace

ObjectWatch::ObjectWatch(boost::asio::io_context& loop, const Clock& clock, Api& api, Kind kind, std::string selector,
                         Duration retry_wait, Events events)
    : clock_(clock),
      api_(api),
      kind_(kind),
      selector_(std::move(selector)),
      retry_wait_(retry_wait),
      events_(std::move(events)),
      timer_(loop),
      limit_(loop) {}

ObjectWatch::~ObjectWatch() = default;

void ObjectWatch::begin() {
    if (std::exchange(running_, true)) return;
    failures_ = 0;
    version_.clear();
    list({});
}

void ObjectWatch::end() {
    running_ = false;
    call_ = {};
    timer_.cancel();
    limit_.cancel();
}

void ObjectWatch::list(const std::string& next) {
    listing_ = true;
    call_ = api_.list(kind_, selector_, next, [this](const Reply<Page>& reply) { listed(reply); });
}

void ObjectWatch::listed(const Reply<Page>& reply) {
    if (!reply) {
        again_after(growing_wait(), true);
        events_.lost(reply.error().error);
        return;
    }
    const std::weak_ptr<int> alive = alive_;
    for (const boost::json::object& item : reply->items) {
        events_.changed(WatchEvent::Type::kAdded, item);
        if (alive.expired() || !running_) return;
    }
    if (!reply->next.empty()) return list(reply->next);
    version_ = reply->version;
    listing_ = false;
    watch();
    events_.listed();
}

void ObjectWatch::watch() {
    lines_ = std::make_shared<LineSplitter>(kMaxLine);
    watch_began_ = clock_.now();
    http::StreamReader reader;
    reader.chunk = [this](std::string_view bytes) {
        const std::weak_ptr<int> alive = alive_;
        const auto lines = lines_;  // whoever is told may end this
        const auto taken = lines->feed(bytes, [this](std::string_view line) { return take(line); });
        // Whatever cannot be read: a new list says how things are.
        if (!taken && !alive.expired() && running_) list_anew();
        return true;
    };
    call_ = api_.watch(kind_, selector_, version_, std::move(reader),
                       [this](const Reply<Nothing>& reply) { watch_ended(reply); });
    limit_.expires_after(api_.options().watch_time + api_.options().watch_margin);
    limit_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired() || !running_) return;
        call_ = {};  // not a word for so long: this connection is dead
        if (!events_.wanted()) return end();
        watch();
    });
}

Result<void> ObjectWatch::take(std::string_view line) {
    WA_TRY(const WatchEvent event, parse_watch_event(line));
    if (event.type == WatchEvent::Type::kError)
        return fail(ErrorCode::kNotFound, "k8s", "the API server does not know the place any more");
    if (!event.version.empty()) version_ = event.version;
    if (event.type == WatchEvent::Type::kBookmark) return {};
    const std::weak_ptr<int> alive = alive_;
    events_.changed(event.type, event.object);
    if (alive.expired() || !running_) return fail(ErrorCode::kCancelled, "k8s", "nobody listens any more");
    return {};
}

void ObjectWatch::watch_ended(const Reply<Nothing>& reply) {
    const bool expired = !reply && reply.error().is(kExpired);
    if (reply || expired) return again_after(wait_after_watch(), expired);
    again_after(wait_after_watch() + kFirstWait, true);
    events_.lost(reply.error().error);
}

void ObjectWatch::list_anew() {
    call_ = {};
    again_after(wait_after_watch(), true);
}

// A server that ends watches at once is not asked without a pause, whatever it says when it is asked for a list.
Duration ObjectWatch::wait_after_watch() {
    const bool quick = clock_.now() - watch_began_ < std::chrono::seconds(1);
    if (!quick) failures_ = 0;
    return quick ? growing_wait() : Duration::zero();
}

Duration ObjectWatch::growing_wait() {
    constexpr int kMostDoublings = 6;
    return std::min<Duration>(retry_wait_, kFirstWait * (1 << std::min(failures_++, kMostDoublings)));
}

void ObjectWatch::again_after(Duration wait, bool anew) {
    limit_.cancel();
    timer_.expires_after(wait);
    timer_.async_wait([this, anew, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired() || !running_) return;
        if (!events_.wanted()) return end();
        if (anew || version_.empty()) return list({});
        watch();
    });
}

JobWatch::JobWatch(boost::asio::io_context& loop, const Clock& clock, Api& api, std::string selector,
                   Duration retry_wait)
    : jobs_(
          loop, clock, api, Kind::kJobs, selector, retry_wait,
          {[this](WatchEvent::Type type, const boost::json::object& object) { job_changed(type, object); },
           [this] { jobs_listed(); }, [this](const Error& why) { lost(why); }, [this] { return !listeners_.empty(); }}),
      pods_(loop, clock, api, Kind::kPods, selector, retry_wait,
            {[this](WatchEvent::Type type, const boost::json::object& object) { pod_changed(type, object); },
             [this] { static_cast<void>(back()); }, [this](const Error& why) { lost(why); },
             [this] { return !listeners_.empty(); }}) {}

JobWatch::~JobWatch() = default;

void JobWatch::listen(const std::string& job_name, JobListener& listener) {
    listeners_[job_name] = &listener;
    jobs_.begin();
    pods_.begin();
}

void JobWatch::leave(const std::string& job_name, const JobListener& listener) {
    const auto found = listeners_.find(job_name);
    if (found == listeners_.end() || found->second != &listener) return;
    listeners_.erase(found);
}

void JobWatch::end() {
    jobs_.end();
    pods_.end();
}

JobListener* JobWatch::listener_of(const std::string& job_name) const {
    const auto found = listeners_.find(job_name);
    return found == listeners_.end() ? nullptr : found->second;
}

void JobWatch::job_changed(WatchEvent::Type type, const boost::json::object& object) {
    const auto job = read_job(object);
    if (!job) return;  // nothing of ours looks like that
    if (!back()) return;
    if (jobs_.is_listing()) seen_.insert(job->name);
    JobListener* const listener = listener_of(job->name);
    if (listener == nullptr) return;
    if (type == WatchEvent::Type::kDeleted) return listener->job_missed();
    listener->job_seen(*job);
}

// What is missing in a list may have been made since: its listener asks.
void JobWatch::jobs_listed() {
    const std::set<std::string, std::less<>> seen = std::exchange(seen_, {});
    if (!back()) return;
    std::vector<std::string> missed;
    for (const auto& [name, listener] : listeners_) {
        if (!seen.contains(name)) missed.push_back(name);
    }
    const std::weak_ptr<int> alive = alive_;
    for (const std::string& name : missed) {
        if (JobListener* const listener = listener_of(name)) listener->job_missed();
        if (alive.expired()) return;
    }
}

void JobWatch::pod_changed(WatchEvent::Type type, const boost::json::object& object) {
    const auto pod = read_pod(object);
    if (!pod || pod->job_name.empty()) return;
    if (!back()) return;
    JobListener* const listener = listener_of(pod->job_name);
    if (listener == nullptr) return;
    if (type == WatchEvent::Type::kDeleted) return listener->pod_gone(*pod);
    listener->pod_seen(*pod);
}

void JobWatch::lost(const Error& why) {
    lost_ = true;
    seen_.clear();
    tell_all([&why](JobListener& listener) { listener.watch_lost(why); });
}

bool JobWatch::back() {
    if (!std::exchange(lost_, false)) return true;
    const std::weak_ptr<int> alive = alive_;
    tell_all([](JobListener& listener) { listener.watch_back(); });
    return !alive.expired();
}

void JobWatch::tell_all(const std::function<void(JobListener&)>& tell) {
    std::vector<std::string> names;
    for (const auto& [name, listener] : listeners_)
        names.push_back(name);
    const std::weak_ptr<int> alive = alive_;
    for (const std::string& name : names) {
        if (JobListener* const listener = listener_of(name)) tell(*listener);
        if (alive.expired()) return;
    }
}

}  // namespace wa::kubernetes
