// The runtime "k8s": the ticket's command as a Kubernetes Job (contract/executors.md 6.3).
//
// One Job per attempt, with a deterministic name and labels (kubernetes_place.h says whose it is, work_keeper.h when it
// goes). An attempt first looks for what is there of its ticket: a Job that still runs, or has ended and was not
// reported, is adopted by whoever may (options.keeper.domain). Jobs run on when this worker goes away, if
// options.detachable says so; the cluster ends them by their own deadline when nobody comes.
//
// Jobs and pods are watched, once for all attempts (kubernetes_watch.h). What the cluster did while its API server
// could not be asked is found out, never guessed: an attempt waits for it as long as options.patience, then it ends as
// unavailable, and the next one begins with a look.
//
// Pods that can never start have deadlines of their own: options.start_timeout for what the node says about image and
// configuration, options.schedule_timeout for those that no node takes, or that are not made at all.
//
// The log of a pod holds both output streams, merged: output.stdout has all of it, output.stderr is empty.
//
// Result, beside the local runtime's members: output.job_name, pod_name; metadata.namespace, image, node, adopted,
// oom_killed, output_incomplete, contact_lost, pending_reason.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "http_client/http_client.h"
#include "http_client/service_caller.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "runtimes/kubernetes_access.h"
#include "runtimes/kubernetes_api.h"
#include "runtimes/kubernetes_place.h"
#include "runtimes/kubernetes_task.h"
#include "runtimes/kubernetes_watch.h"
#include "runtimes/work_keeper.h"

namespace wa {

struct KubernetesOptions {
    bool enabled = false;              // K8S_JOBS_ENABLED
    std::string misconfigured;         // why it can never be used; empty = it can
    kubernetes::AccessOptions access;  // K8S_JOBS_KUBECONFIG_PATH, K8S_JOBS_CONTEXT; the pod's own account
    std::string name_space;            // K8S_JOBS_NAMESPACE
    kubernetes::JobRules rules;
    KeeperOptions keeper;
    bool detachable = true;                                 // Jobs are left running when this worker leaves
    Duration timeout = std::chrono::seconds(600);           // K8S_JOBS_TIMEOUT_SECONDS: from its start to its end
    Duration start_timeout = std::chrono::seconds(60);      // K8S_JOBS_START_TIMEOUT_SECONDS
    Duration schedule_timeout = std::chrono::seconds(300);  // K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS
    Duration patience = std::chrono::seconds(60);           // K8S_JOBS_RECONNECT_SECONDS
    Duration poll_interval = std::chrono::seconds(5);       // K8S_JOBS_POLL_INTERVAL_SECONDS: while no watch can be had
    Duration grace = std::chrono::seconds(10);              // from SIGTERM to SIGKILL
    Duration call_timeout = std::chrono::seconds(30);
    Duration probe_interval = std::chrono::seconds(30);
    Duration probe_limit = std::chrono::seconds(5);
    Duration sweep_interval = std::chrono::minutes(10);
    Duration first_wait = std::chrono::milliseconds(200);  // before something is tried again; it doubles, to 5 s
    Duration second_look = std::chrono::seconds(60);       // a Job is asked for beside the watch
    Duration gone_limit = std::chrono::seconds(20);        // from SIGKILL until the Job must be gone
    Duration log_look = std::chrono::seconds(5);           // an ended pod's output must go on at least so often
    http::ServicePolicy policy = kubernetes::usual_policy();
    std::size_t result_lines = 1000;
    http::ServiceListener* listener = nullptr;                                    // of calls; may be null
    std::function<void(std::string_view call, std::string_view status)> on_call;  // may be empty
    std::function<void(std::string_view stage, Duration took)> on_stage;          // pending, run, logs, cleanup, total
};

class KubernetesRuntime final : public Runtime {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    KubernetesRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                      TaskLogs* logs, KubernetesOptions options);
    ~KubernetesRuntime() override;

    // Asks the API server for the first time, and from then on again and again; `done`, once, after the first answer or
    // options.probe_limit.
    void begin(std::function<void()> done);
    // Removes what is due, as long as `limit`; then `done`, once.
    void leave(Duration limit, std::function<void()> done);

    [[nodiscard]] std::string_view name() const override { return "k8s"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return options_.enabled; }
    [[nodiscard]] bool can_detach() const override { return options_.detachable; }
    [[nodiscard]] bool may_hold(const Ticket& ticket) const override;
    void ticket_settled(std::string_view ticket_id, bool untried) override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

    // For people, while it is there: "v1.35.4 at https://10.0.0.1:6443, namespace tasks"; with what the account may not
    // do, if anything.
    [[nodiscard]] std::string place_shown() const;
    // What this worker's account lacks in the namespace, in words; empty = nothing, or not known yet.
    [[nodiscard]] const std::string& lacking() const { return lacking_; }
    // What to do so that it can be reached, where that is known; may be empty.
    [[nodiscard]] const std::string& fix() const { return fix_; }

private:
    class Attempt;
    friend class Attempt;
    bool open_access();
    void probe();
    void probed(const kubernetes::Reply<std::string>& reply);
    void ask_for_rights(std::size_t next);
    void probe_is_over();
    void unreachable(std::string detail);
    void schedule_probe(Duration wait);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    TaskLogs* logs_;
    KubernetesOptions options_;
    std::optional<kubernetes::Access> access_;
    kubernetes::Api api_;
    kubernetes::Place place_;
    WorkKeeper keeper_;
    kubernetes::JobWatch watch_;
    bool there_ = false;
    bool rights_known_ = false;
    std::string away_ = "it has not answered yet";
    std::string fix_;
    std::string version_;
    std::string lacking_;
    std::string lacking_before_;  // by the questions before
    bool lacking_unsure_ = false;
    std::string lacking_now_;  // of the questions under way
    MonoTime next_sweep_{};
    Duration probe_wait_{};
    boost::asio::steady_timer probe_timer_;
    http::ServiceHandle probe_call_;
    std::function<void()> begun_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
