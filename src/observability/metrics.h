// The worker's metrics: exactly the names, labels and buckets of contract/metrics.md that the engine, the executors'
// reports and the HTTP side move. What other adapters move (Kafka, registry, back-ends) they register in the same
// Registry.
//
// Metrics is a FlowObserver: the engine's loop moves it, the HTTP thread scrapes it.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "observability/registry.h"
#include "ports/flow_observer.h"

namespace wa::observability {

struct BuildFacts {
    std::string version;
    std::string revision;
    std::string agent_id;
    std::string environment;
};

class Metrics final : public FlowObserver {
public:
    // Registers everything, with the known label sets at 0. Registry and clock must outlive this.
    Metrics(Registry& registry, const Clock& clock, const BuildFacts& facts, std::size_t max_concurrent_tickets);

    // ---- lifecycle, called by the application; any thread
    void started() { startup_.add(); }
    void executor_registered(TaskType type);
    void registered() { registered_.add(); }
    void heartbeat(std::string_view status);  // "success", "failed", "not_found", "skipped"
    void deregistered() { deregistered_.add(); }
    void orphans_removed(std::string_view runtime, std::size_t count);
    // A call of the Docker engine ("create") and how it ended: success, refused, error, unreachable.
    void docker_call(std::string_view call, std::string_view status);
    void docker_stage(std::string_view stage, Duration took);  // pull, create, run, logs
    // A call of a Kubernetes API server ("create_job") and how it ended: success, refused, error, unreachable.
    void k8s_call(std::string_view call, std::string_view status);
    void k8s_stage(std::string_view stage, Duration took);  // pending, run, logs, cleanup
    // A request to Code Forge ("generate", "generate_status") and how it ended: success, error.
    void code_forge_call(std::string_view method, std::string_view status);
    // A call of a Lambda function is over: success, failed, timeout.
    void lambda_invocation(std::string_view status, Duration took, std::optional<Duration> billed);
    // A call of another service that was answered or given up, and one that is made again.
    void external_request(std::string_view target, std::string_view method, Duration took);
    void external_retry(std::string_view target, std::string_view reason);
    // What the engine says just before a scrape (or on a timer); any thread.
    void set_gauges(const FlowGauges& gauges);
    void config_reloaded(bool successful) { reload_successful_.set(successful ? 1 : 0); }
    void http_request(std::string_view method, std::string_view route, int status, Duration took);
    void http_connections(std::size_t open, std::uint64_t refused);

    // ---- FlowObserver, on the engine's loop
    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void attempt_started(const TicketView& ticket, Duration queue_wait) override;
    void attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                       Duration retry_in) override;
    void dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) override;
    void duplicate_suppressed(const TicketView& ticket) override;
    void stop_requested(const TicketView& ticket, StopReason reason) override;
    void stop_finished(const TicketView& ticket, StopReason reason, Duration took) override;
    void outcome_decided(const TicketView& ticket, const Settlement& settlement) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;
    void intake_changed(bool open, std::string_view why, Duration since) override;
    void commit_finished(const CommitResult& result, std::size_t settlements, Duration took) override;
    void breaker_changed(std::string_view backend, std::string_view state) override;

private:
    template <class Metric>
    using PerType = std::array<Metric*, kTaskTypeCount>;
    template <class Metric>
    static PerType<Metric> per_type(Family<Metric>& family);
    template <class Metric>
    static Metric& of(const PerType<Metric>& metrics, TaskType type) {
        return *metrics[static_cast<std::size_t>(type)];
    }
    void register_additions(const BuildFacts& facts);
    void count_execution(const TicketView& ticket, const AttemptReport& report, Duration took, std::string_view status);
    void count_tests(const AttemptReport& report, Duration took, std::string_view status);
    void count_settled_result(const TicketView& ticket, const Settlement& settlement);

    Registry& registry_;
    const Clock& clock_;

    Gauge& reload_successful_;
    Counter& startup_;
    Counter& registered_;
    Family<Counter>& heartbeat_;
    Counter& deregistered_;
    Family<Counter>& executors_registered_;

    PerType<Counter> consumed_;
    PerType<Counter> processing_;
    PerType<Counter> completed_;
    Family<Counter>& failed_;
    Gauge& active_tasks_;
    PerType<Histogram> duration_;

    Gauge& in_flight_;
    Gauge& max_concurrent_;
    Counter& paused_total_;
    Counter& resumed_total_;
    Histogram& pause_duration_;
    Gauge& paused_;
    Gauge& paused_since_;

    Family<Counter>& dependency_checks_;
    Histogram& dependency_wait_;
    Family<Counter>& retries_;
    Family<Counter>& cancelled_;
    Counter& preempted_;
    Histogram& graceful_cancellation_;
    Counter& duplicates_;
    Counter& duplicates_alias_;

    Family<Counter>& results_published_;
    Family<Counter>& dlq_messages_;
    PerType<Histogram> retry_count_;
    Family<Counter>& commits_;

    Family<Counter>& execute_tasks_;
    Family<Histogram>& execute_duration_;
    Family<Counter>& runtime_fallbacks_;
    Family<Counter>& local_executions_;
    Histogram& local_duration_;
    Family<Counter>& docker_executions_;
    Family<Histogram>& docker_duration_;
    Family<Counter>& docker_calls_;
    Family<Counter>& k8s_jobs_;
    Family<Histogram>& k8s_duration_;
    Family<Counter>& k8s_calls_;
    Family<Histogram>& external_duration_;
    Family<Counter>& external_retries_;
    Family<Counter>& code_forge_calls_;
    Family<Counter>& lambda_invocations_;
    Histogram& lambda_duration_;
    Histogram& lambda_billed_;
    std::array<Family<Counter>*, kTaskTypeCount> fallbacks_{};  // null where no name is defined
    Family<Counter>& test_tasks_;
    Family<Histogram>& test_duration_;
    Family<Counter>& tests_passed_;
    Family<Counter>& tests_failed_;
    Family<Gauge>& test_coverage_;
    Family<Counter>& test_parsing_;
    Family<Counter>& coverage_parsing_;
    Family<Counter>& simulated_;
    Family<Counter>& timeouts_;
    Family<Counter>& sla_violations_;
    Family<Gauge>& waiting_;
    PerType<Histogram> queue_wait_;
    Family<Counter>& truncated_;
    Family<Counter>& unkillable_;
    Family<Counter>& orphans_;
    Family<Gauge>& breakers_;
    Family<Counter>& http_requests_;
    Family<Histogram>& http_duration_;
    Gauge& http_connections_;
    Counter& http_refused_;

    // Engine's loop only.
    std::unordered_map<std::string, std::int32_t>
        retried_;                 // tickets between two attempts; at most the in-flight window
    std::string stopped_ticket_;  // whose stop has just finished, and why
    std::optional<StopReason> stopped_why_;
    bool pause_counted_ = false;
    std::atomic<std::int64_t> paused_at_ns_{-1};  // monotonic; -1 = open
};

}  // namespace wa::observability
