#include "runtimes/kubernetes.h"

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <utility>

#include "runtimes/kubernetes_attempt.h"

namespace wa {

using kubernetes::Reply;
using kubernetes::Right;

namespace {

// Without any of these no Job is brought to its end.
constexpr std::array kNeeded{
    Right{"create", "batch", "jobs"}, Right{"get", "batch", "jobs"},    Right{"list", "batch", "jobs"},
    Right{"watch", "batch", "jobs"},  Right{"delete", "batch", "jobs"}, Right{"patch", "batch", "jobs"},
    Right{"list", "", "pods"},        Right{"watch", "", "pods"},       Right{"get", "", "pods/log"},
};

kubernetes::ApiOptions api_options(const KubernetesOptions& options) {
    kubernetes::ApiOptions api;
    api.name_space = options.name_space;
    api.call_timeout = options.call_timeout;
    api.policy = options.policy;
    api.listener = options.listener;
    api.on_call = options.on_call;
    return api;
}

}  // namespace

KubernetesRuntime::KubernetesRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random,
                                     http::Client& client, TaskLogs* logs, KubernetesOptions options)
    : loop_(loop),
      clock_(clock),
      logs_(logs),
      options_(std::move(options)),
      api_(loop, clock, random, client, api_options(options_)),
      place_(api_, options_.keeper.worker, options_.keeper.domain),
      keeper_(loop, clock, place_, "k8s", "Job", options_.keeper),
      watch_(loop, clock, api_, kubernetes::domain_selector(options_.keeper.domain), options_.poll_interval),
      probe_timer_(loop) {}

KubernetesRuntime::~KubernetesRuntime() = default;

void KubernetesRuntime::begin(std::function<void()> done) {
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

// Files that are not there yet, or say nothing usable, are looked at again and again: somebody will correct them, and
// until then a ticket that left a Job must not run elsewhere.
bool KubernetesRuntime::open_access() {
    auto access = kubernetes::Access::open(options_.access);
    fix_ = access ? std::string() : access.error().fix;
    if (!access) {
        const bool nowhere = options_.access.kubeconfig.empty() && !access.error().retryable();
        if (nowhere) {
            options_.misconfigured = access.error().message;
        } else {
            unreachable(access.error().message);
        }
        return false;
    }
    access_ = std::move(*access);
    api_.use(&*access_);
    return true;
}

void KubernetesRuntime::leave(Duration limit, std::function<void()> done) {
    probe_timer_.cancel();
    probe_call_ = {};
    watch_.end();
    keeper_.close(limit, std::move(done));
}

// What the account may do is asked for anew whenever the server was away. Its version is told to anybody: whether the
// account is known, only a question about its rights shows.
void KubernetesRuntime::probe() {
    if (!access_ && !open_access()) return probe_is_over();
    if (rights_known_) return ask_for_rights(kNeeded.size() - 1);
    probe_call_ = api_.version(options_.probe_limit, [this](const Reply<std::string>& reply) { probed(reply); });
}

void KubernetesRuntime::probed(const Reply<std::string>& reply) {
    // Whoever may not even ask for the version is there nevertheless; one who is not known to it is not.
    if (!reply && !reply.error().is(403)) {
        unreachable(reply.error().error.message);
        return probe_is_over();
    }
    version_ = reply ? *reply : "a cluster of unknown version";
    lacking_now_.clear();
    ask_for_rights(0);
}

void KubernetesRuntime::ask_for_rights(std::size_t next) {
    if (next == kNeeded.size()) {
        // A server that has just started forbids what it has not read the rules of yet: only what is lacking twice in
        // a row is. What is missing may be granted meanwhile.
        lacking_unsure_ = lacking_now_ != lacking_before_;
        lacking_ = lacking_unsure_ ? std::string() : lacking_now_;
        rights_known_ = lacking_now_.empty();
        lacking_before_ = std::exchange(lacking_now_, {});
        there_ = true;
        away_.clear();
        return probe_is_over();
    }
    probe_call_ = api_.may(kNeeded.at(next), options_.probe_limit, [this, next](const Reply<bool>& reply) {
        if (!reply && (reply.error().silent() || reply.error().is(401))) {
            unreachable(reply.error().error.message);
            return probe_is_over();
        }
        const Right& right = kNeeded.at(next);
        if (reply && !*reply) {
            lacking_now_ +=
                (lacking_now_.empty() ? "" : ", ") + std::string(right.verb) + " " + std::string(right.resource);
        }
        ask_for_rights(next + 1);
    });
}

void KubernetesRuntime::probe_is_over() {
    if (there_) {
        constexpr Duration kSoon = std::chrono::seconds(2);
        const bool unswept = rights_known_ && keeper_.sweep_failed();
        const bool again = unswept || (lacking_unsure_ && !rights_known_);
        probe_wait_ = again ? std::min(kSoon, options_.probe_interval) : options_.probe_interval;
        if (clock_.now() >= next_sweep_ || unswept) {
            next_sweep_ = clock_.now() + options_.sweep_interval;
            keeper_.sweep();
        }
    }
    if (options_.misconfigured.empty()) schedule_probe(probe_wait_);
    if (begun_) boost::asio::post(loop_, std::exchange(begun_, nullptr));
}

// Asked for sooner at first: most of what goes away comes back at once.
void KubernetesRuntime::unreachable(std::string detail) {
    const bool news = there_;
    there_ = false;
    rights_known_ = false;
    away_ = std::move(detail);
    next_sweep_ = {};
    constexpr Duration kSoon = std::chrono::seconds(1);
    probe_wait_ = std::min(options_.probe_interval, news ? kSoon : std::max(probe_wait_, kSoon) * 2);
}

void KubernetesRuntime::schedule_probe(Duration wait) {
    probe_timer_.expires_after(wait);
    probe_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) probe();
    });
}

Availability KubernetesRuntime::availability() const {
    if (!options_.enabled) return {false, Unavailable::kDisabled, "it is switched off (K8S_JOBS_ENABLED=false)"};
    if (!options_.misconfigured.empty()) return {false, Unavailable::kDisabled, options_.misconfigured};
    if (!there_) return {false, Unavailable::kUnreachable, away_};
    return {};
}

std::string KubernetesRuntime::place_shown() const {
    std::string shown = version_ + (access_ ? " at " + access_->server() : "") + ", namespace " + options_.name_space;
    if (!lacking_.empty()) shown += "; the account may not " + lacking_;
    return shown;
}

Result<void> KubernetesRuntime::validate(const Ticket& ticket) const {
    const auto task = kubernetes::parse_task(ticket, options_.rules);
    if (!task) return Failure(task.error());
    return {};
}

bool KubernetesRuntime::may_hold(const Ticket& ticket) const {
    return options_.enabled && options_.misconfigured.empty() && keeper_.may_hold(ticket.ticket_id);
}

void KubernetesRuntime::ticket_settled(std::string_view ticket_id, bool untried) {
    if (options_.enabled && options_.misconfigured.empty()) keeper_.ticket_settled(ticket_id, untried);
}

std::unique_ptr<RunningAttempt> KubernetesRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
