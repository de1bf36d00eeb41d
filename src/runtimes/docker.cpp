#include "runtimes/docker.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/codec/text.h"
#include "runtimes/docker_attempt.h"

namespace wa {

using docker::EngineVersion;
using docker::Reply;

DockerRuntime::DockerRuntime(boost::asio::io_context& loop, const Clock& clock, http::Client& client, TaskLogs* logs,
                             DockerOptions options)
    : loop_(loop),
      clock_(clock),
      logs_(logs),
      options_(std::move(options)),
      api_(client, clock, options_.api),
      place_(api_, options_.keeper.worker, options_.keeper.domain),
      keeper_(loop, clock, place_, "docker", "container", options_.keeper),
      probe_timer_(loop) {}

DockerRuntime::~DockerRuntime() = default;

void DockerRuntime::begin(std::function<void()> done) {
    begun_ = std::move(done);
    if (options_.enabled && options_.misconfigured.empty()) {
        if (auto prepared = keeper_.prepare(); !prepared) options_.misconfigured = prepared.error().describe();
    }
    if (!options_.enabled || !options_.misconfigured.empty()) {
        if (begun_) boost::asio::post(loop_, std::exchange(begun_, nullptr));
        return;
    }
    probe();
}

void DockerRuntime::leave(Duration limit, std::function<void()> done) {
    probe_timer_.cancel();
    probe_call_ = {};
    keeper_.close(limit, std::move(done));
}

// The version is asked for anew whenever the engine was away: it may be another one.
void DockerRuntime::probe() {
    if (!version_known_) return learn_version();
    probe_call_ = api_.ping(options_.probe_limit, [this](const Reply<std::monostate>& reply) {
        probed(reply.has_value(), reply ? std::string() : reply.error().error.message);
    });
}

void DockerRuntime::learn_version() {
    probe_call_ = api_.version(options_.probe_limit, [this](const Reply<EngineVersion>& reply) {
        if (!reply) return probed(false, reply.error().error.message);
        version_known_ = true;
        engine_ =
            reply->version + ", API " + std::min(reply->newest, docker::kNewestKnown).text() + ", " + reply->platform;
        probed(true, {});
    });
}

void DockerRuntime::probed(bool there, std::string detail) {
    if (there) {
        there_ = true;
        away_.clear();
        probe_wait_ = options_.probe_interval;
        if (clock_.now() >= next_sweep_ || keeper_.sweep_failed()) {
            next_sweep_ = clock_.now() + options_.sweep_interval;
            keeper_.sweep();
        }
    } else {
        unreachable(std::move(detail));
    }
    schedule_probe(probe_wait_);
    if (begun_) boost::asio::post(loop_, std::exchange(begun_, nullptr));
}

// Asked for sooner at first: most of what goes away comes back at once.
void DockerRuntime::unreachable(std::string detail) {
    const bool news = there_;
    there_ = false;
    version_known_ = false;
    away_ = std::move(detail);
    next_sweep_ = {};
    constexpr Duration kSoon = std::chrono::seconds(1);
    probe_wait_ = news ? kSoon : std::min(options_.probe_interval, std::max(probe_wait_, kSoon) * 2);
}

void DockerRuntime::schedule_probe(Duration wait) {
    probe_timer_.expires_after(wait);
    probe_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) probe();
    });
}

Availability DockerRuntime::availability() const {
    if (!options_.enabled) return {false, Unavailable::kDisabled, "it is switched off (DOCKER_ENABLED=false)"};
    if (!options_.misconfigured.empty()) return {false, Unavailable::kDisabled, options_.misconfigured};
    if (!there_) return {false, Unavailable::kUnreachable, away_};
    return {};
}

Result<void> DockerRuntime::validate(const Ticket& ticket) const {
    const auto task = docker::parse_task(ticket, options_.rules);
    if (!task) return Failure(task.error());
    return {};
}

bool DockerRuntime::may_hold(const Ticket& ticket) const {
    return options_.enabled && options_.misconfigured.empty() && keeper_.may_hold(ticket.ticket_id);
}

void DockerRuntime::ticket_settled(std::string_view ticket_id, bool untried) {
    if (options_.enabled && options_.misconfigured.empty()) keeper_.ticket_settled(ticket_id, untried);
}

std::unique_ptr<RunningAttempt> DockerRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
