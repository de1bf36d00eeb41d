#include "net/core.h"

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <ctime>

namespace wa::net {

class Core::Entry final : public Loop::Timer {
public:
    Entry(std::weak_ptr<Core> core, MonoTime when, std::uint64_t id) : core_(std::move(core)), when_(when), id_(id) {}
    ~Entry() override {
        if (const auto core = core_.lock()) core->cancel(when_, id_);
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

private:
    std::weak_ptr<Core> core_;
    MonoTime when_;
    std::uint64_t id_;
};

Core::Core(ServerOptions given)
    : options(std::move(given)),
      names(options.own_names),
      timer_(context),
      // A limit is enforced at most a quarter of a second, or an eighth of itself, late.
      sweep_every_(std::clamp<Duration>(std::min({options.request_time, options.idle_time, options.answer_time,
                                                  options.write_time, options.linger_time}) /
                                            8,
                                        std::chrono::milliseconds(5), std::chrono::milliseconds(250))),
      next_sweep_(clock_.now() + sweep_every_) {}

void Core::post(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    if (stopped_) return;
    boost::asio::post(context, std::move(work));
}

void Core::run(std::function<void()> work) {
    if (on_loop()) {
        work();
    } else {
        post(std::move(work));
    }
}

std::unique_ptr<Loop::Timer> Core::after(Duration delay, std::function<void()> work) {
    const MonoTime when = clock_.now() + std::max(delay, Duration::zero());
    std::uint64_t id = 0;
    bool sooner = false;
    {
        const std::scoped_lock lock(mutex_);
        id = next_id_++;
        if (!stopped_) {
            timers_.emplace(when, std::pair{id, std::move(work)});
            sooner = when < armed_for_;
        }
    }
    if (sooner)
        run([self = weak_from_this()] {
            if (const auto core = self.lock()) core->arm();
        });
    return std::make_unique<Entry>(weak_from_this(), when, id);
}

void Core::cancel(MonoTime when, std::uint64_t id) {
    std::function<void()> dropped;  // destroyed outside the lock: it may own another timer
    const std::scoped_lock lock(mutex_);
    const auto [first, last] = timers_.equal_range(when);
    const auto found = std::find_if(first, last, [&](const auto& entry) { return entry.second.first == id; });
    if (found == last) return;
    dropped = std::move(found->second.second);
    timers_.erase(found);
}

void Core::arm() {
    MonoTime when = next_sweep_;
    {
        const std::scoped_lock lock(mutex_);
        if (stopped_) return;
        if (!timers_.empty()) when = std::min(when, timers_.begin()->first);
        armed_for_ = when;
    }
    timer_.expires_at(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(when));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) fire();
    });
}

void Core::fire() {
    for (;;) {
        std::function<void()> work;
        {
            const std::scoped_lock lock(mutex_);
            if (stopped_) return;
            if (timers_.empty() || timers_.begin()->first > clock_.now()) break;
            work = std::move(timers_.begin()->second.second);
            timers_.erase(timers_.begin());
        }
        work();
    }
    if (clock_.now() >= next_sweep_) {
        next_sweep_ = clock_.now() + sweep_every_;
        if (on_sweep) on_sweep();
    }
    arm();
}

void Core::shut_down() {
    Timers dropped;
    {
        const std::scoped_lock lock(mutex_);
        stopped_ = true;
        dropped.swap(timers_);
    }
    on_sweep = nullptr;
    timer_.cancel();
}

const std::string& Core::date() {
    const EpochMillis second = clock_.wall_now() / 1000;
    if (second != date_second_) {
        date_second_ = second;
        const auto time = static_cast<std::time_t>(second);
        std::tm parts{};
        ::gmtime_r(&time, &parts);
        std::array<char, 40> text{};
        const std::size_t length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        date_.assign(text.data(), length);
    }
    return date_;
}

void Core::notice(Notice::Level level, std::string_view event, std::string message) const {
    if (options.on_notice) options.on_notice(Notice{level, event, std::move(message)});
}

}  // namespace wa::net
