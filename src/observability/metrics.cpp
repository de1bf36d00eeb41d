#include "observability/metrics.h"

#include <algorithm>
#include <vector>

namespace wa::observability {
namespace {

constexpr std::string_view kPrefix = "worker_agent_";

std::string named(std::string_view name) {
    return std::string(kPrefix) + std::string(name);
}

std::vector<std::string> task_types() {
    std::vector<std::string> types;
    for (std::size_t i = 0; i < kTaskTypeCount; ++i)
        types.emplace_back(to_string(static_cast<TaskType>(i)));
    return types;
}
Label task_type() {
    return {"task_type", task_types()};
}

Label closed(std::string name, std::vector<std::string> values) {
    return {std::move(name), std::move(values)};
}

std::vector<std::string> with_unknown(std::vector<std::string> values) {
    values.emplace_back("unknown");
    return values;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

std::string_view value_of(const StringMap& map, std::string_view key) {
    const auto found = map.find(key);
    return found == map.end() ? std::string_view{} : std::string_view(found->second);
}

// The original's words for the causes of failure, and the further ones of contract/engine.md.
std::string_view error_type(const Settlement& settlement) {
    switch (settlement.outcome) {
        case Outcome::kTimeout: return "timeout";
        case Outcome::kDeadlineExceeded: return "deadline_exceeded";
        case Outcome::kDependencyFailed: return "dependency";
        case Outcome::kDependencyTimeout: return "dependency_timeout";
        case Outcome::kCancelled: return "cancelled";
        case Outcome::kPreempted: return "preempted";
        case Outcome::kInvalid: return "invalid_ticket";
        case Outcome::kCompleted:
        case Outcome::kExecutionFailed: break;
    }
    return value_of(settlement.result.metadata, "reason") == to_string(ErrorCode::kNotAllowed) ? "not_allowed"
                                                                                               : "execution_failed";
}

// How one attempt ended, in the words of the executors' counters.
std::string_view attempt_status(const AttemptReport& report, std::optional<StopReason> stopped) {
    if (stopped) {
        const bool time = *stopped == StopReason::kTimeout || *stopped == StopReason::kDeadline;
        return time ? "timeout" : "cancelled";
    }
    if (report.success) return report.simulated ? "simulated" : "success";
    if (!report.error) return "failed";
    switch (report.error->code) {
        case ErrorCode::kTimeout:
        case ErrorCode::kDeadlineExceeded: return "timeout";
        case ErrorCode::kCancelled: return "cancelled";
        case ErrorCode::kNotAllowed: return "not_allowed";
        default: return "failed";
    }
}

std::string_view cancel_reason(Outcome outcome, const Settlement& settlement) {
    if (outcome == Outcome::kPreempted) return "preemption";
    const std::string_view why = value_of(settlement.result.metadata, "cancel_reason");
    for (const std::string_view known : {"preemption", "timeout", "user_request", "shutdown"}) {
        if (why == known) return known;
    }
    return why.empty() ? "user_request" : "other";
}

// Tickets name their suites, so that there can be any number: the first hundred are told apart.
Label suite() {
    return {"suite", {}, 100};
}

// Why another back-end than the wanted one had to do: the label, or "" when nothing was passed over.
std::string_view fallback_label(const AttemptReport& report) {
    return value_of(report.metadata, "fallback_code");
}

std::vector<std::string> runtimes() {
    return {"k8s", "docker", "lambda", "local", "code_forge", "simulation"};
}
std::vector<std::string> fallback_reasons() {
    return {"disabled", "unavailable", "timeout", "api_error", "error"};
}

}  // namespace

template <class Metric>
Metrics::PerType<Metric> Metrics::per_type(Family<Metric>& family) {
    PerType<Metric> metrics{};
    for (std::size_t i = 0; i < kTaskTypeCount; ++i)
        metrics[i] = &family.with({to_string(static_cast<TaskType>(i))});
    return metrics;
}

Metrics::Metrics(Registry& registry, const Clock& clock, const BuildFacts& facts, std::size_t max_concurrent_tickets)
    : registry_(registry),
      clock_(clock),
      reload_successful_(registry
                             .gauge(named("config_last_reload_successful"),
                                    "1 when the configuration in force is the one that was last asked for.")
                             .with({})),
      startup_(registry.counter(named("startup_total"), "Starts of this process.").with({})),
      registered_(
          registry.counter(named("registered_total"), "Successful registrations with the Service Registry.").with({})),
      heartbeat_(registry
                     .counter(named("heartbeat_total"), "Heartbeats by how they ended.",
                              {closed("status", {"success", "failed", "not_found", "skipped"})})
                     .create_all()),
      deregistered_(registry.counter(named("deregistered_total"), "Successful deregistrations.").with({})),
      executors_registered_(registry.counter(named("executors_registered_total"),
                                             "Executors made at start, by task type.", {task_type()})),
      consumed_(
          per_type(registry.counter(named("tickets_consumed_total"), "Tickets read and understood.", {task_type()}))),
      processing_(per_type(
          registry.counter(named("tickets_processing_total"), "Tickets whose work was started.", {task_type()}))),
      completed_(
          per_type(registry.counter(named("tickets_completed_total"), "Tickets that ended COMPLETED.", {task_type()}))),
      failed_(registry
                  .counter(named("tickets_failed_total"), "Tickets that ended FAILED, by cause.",
                           {task_type(), closed("error_type", {"invalid_ticket", "dependency", "dependency_timeout",
                                                               "execution_failed", "timeout", "deadline_exceeded",
                                                               "cancelled", "preempted", "not_allowed"})})
                  .create_all()),
      active_tasks_(registry.gauge(named("active_tasks"), "Attempts under way.").with({})),
      duration_(per_type(registry.histogram(named("task_duration_seconds"),
                                            "Execution time of a ticket, all attempts together.", {task_type()},
                                            {1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400}))),
      in_flight_(registry.gauge(named("tickets_in_flight"), "Tickets admitted and not finished.").with({})),
      max_concurrent_(registry.gauge(named("max_concurrent_tickets"), "Limit of tickets in flight.").with({})),
      paused_total_(registry.counter(named("consumer_paused_total"), "Times that intake was closed.").with({})),
      resumed_total_(registry.counter(named("consumer_resumed_total"), "Times that intake was opened again.").with({})),
      pause_duration_(registry
                          .histogram(named("consumer_pause_duration_seconds"), "Length of finished pauses of intake.",
                                     {}, {0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300})
                          .with({})),
      paused_(registry.gauge(named("consumer_paused"), "1 while intake is closed.").with({})),
      paused_since_(
          registry.gauge(named("consumer_paused_since_seconds"), "Length of the pause under way, 0 when open.")
              .with({})),
      dependency_checks_(registry
                             .counter(named("dependency_checks_total"), "Ended waits for dependencies.",
                                      {closed("result", {"success", "failed", "timeout"})})
                             .create_all()),
      dependency_wait_(registry
                           .histogram(named("dependency_wait_duration_seconds"), "Time spent waiting for dependencies.",
                                      {}, {1, 5, 10, 30, 60, 120, 300})
                           .with({})),
      retries_(
          registry.counter(named("task_retries_total"), "Failed attempts that another attempt follows.",
                           {task_type(), closed("attempt", {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10+"})})),
      cancelled_(registry
                     .counter(named("tasks_cancelled_total"), "Tickets cancelled, by who or what asked.",
                              {closed("reason", {"preemption", "timeout", "user_request", "shutdown", "other"})})
                     .create_all()),
      preempted_(registry.counter(named("tasks_preempted_total"), "Tickets preempted by the scheduler.").with({})),
      graceful_cancellation_(registry
                                 .histogram(named("graceful_cancellation_duration_seconds"),
                                            "From the request to stop until the work had really stopped.", {},
                                            {0.1, 0.5, 1, 2, 5, 10, 30, 60})
                                 .with({})),
      duplicates_(registry
                      .counter(named("duplicates_detected_total"), "Repeated tickets that were not run again.",
                               {closed("component", {"execution_engine"})})
                      .with({"execution_engine"})),
      duplicates_alias_(registry
                            .counter(named("ticket_duplicates_detected_total"),
                                     "Second name of worker_agent_duplicates_detected_total, for existing alerts.",
                                     {closed("component", {"execution_engine"})})
                            .with({"execution_engine"})),
      results_published_(registry
                             .counter(named("results_published_total"), "Results made durable and visible.",
                                      {closed("status", {"COMPLETED", "FAILED"})})
                             .create_all()),
      dlq_messages_(
          registry.counter(named("dlq_messages_total"), "Tickets put aside as dead letters.",
                           {closed("reason", {"max_retries_exceeded", "invalid_ticket", "decode_error",
                                              "deserialization_failed", "unsupported_task_type", "worker_crashed"}),
                            closed("task_type", with_unknown(task_types()))})),
      retry_count_(
          per_type(registry.histogram(named("ticket_retry_count"), "Retries of tickets that were retried at all.",
                                      {task_type()}, {1, 2, 3, 4, 5, 10, 20}))),
      commits_(registry
                   .counter(named("offset_commit_total"), "Commits of results and offsets, by how they ended.",
                            {closed("status", {"success", "retry", "aborted", "fatal"})})
                   .create_all()),
      execute_tasks_(
          registry
              .counter(named("execute_tasks_executed_total"), "EXECUTE attempts, by how they ended.",
                       {closed("status", {"success", "failed", "timeout", "not_allowed", "simulated", "cancelled"})})
              .create_all()),
      execute_duration_(registry.histogram(named("execute_duration_seconds"), "Length of EXECUTE attempts.",
                                           {closed("runtime", runtimes())},
                                           {0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600})),
      runtime_fallbacks_(registry.counter(named("execute_runtime_fallbacks_total"),
                                          "Another runtime ran than was asked for.",
                                          {closed("from_runtime", runtimes()), closed("to_runtime", runtimes())})),
      local_executions_(registry
                            .counter(named("local_executions_total"),
                                     "Commands run on this machine, by how they ended.",
                                     {closed("status", {"success", "failed", "timeout", "not_allowed", "killed"})})
                            .create_all()),
      local_duration_(registry
                          .histogram(named("local_execution_duration_seconds"),
                                     "Length of commands run on this machine.", {},
                                     {0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300})
                          .with({})),
      docker_executions_(registry
                             .counter(named("docker_executions_total"), "Commands run in Docker, by how they ended.",
                                      {closed("status", {"success", "failed", "timeout"})})
                             .create_all()),
      docker_duration_(registry.histogram(
          named("docker_execution_duration_seconds"), "Length of commands run in Docker, as a whole and by stage.",
          {closed("stage", {"total", "pull", "create", "run", "logs"})}, {1, 5, 10, 30, 60, 120, 300, 600})),
      docker_calls_(
          registry.counter(named("docker_api_calls_total"), "Calls of the Docker engine, by how they ended.",
                           {closed("method", {"ping", "version", "list", "pull", "create", "start", "wait", "logs",
                                              "inspect", "stop", "kill", "remove", "rename", "events"}),
                            closed("status", {"success", "refused", "error", "unreachable"})})),
      k8s_jobs_(registry
                    .counter(named("k8s_jobs_executed_total"), "Kubernetes Jobs, by how they ended.",
                             {closed("status", {"succeeded", "failed", "timeout"})})
                    .create_all()),
      k8s_duration_(registry.histogram(
          named("k8s_job_duration_seconds"), "Length of Kubernetes Jobs, as a whole and by stage.",
          {closed("stage", {"total", "pending", "run", "logs", "cleanup"})}, {1, 5, 10, 30, 60, 120, 300, 600})),
      k8s_calls_(registry.counter(
          named("k8s_api_calls_total"), "Calls of the Kubernetes API, by how they ended.",
          {closed("method", {"version", "review", "list_jobs", "list_pods", "watch_jobs", "watch_pods", "get_job",
                             "create_job", "patch_job", "delete_job", "delete_pod", "logs", "list_events"}),
           closed("status", {"success", "refused", "error", "unreachable"})})),
      external_duration_(registry.histogram(named("external_request_duration_seconds"), "Calls of other services.",
                                            {{"target", {}, 20}, {"method", {}, 40}},
                                            {0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30})),
      external_retries_(registry.counter(named("external_retries_total"), "Calls that were made again.",
                                         {{"target", {}, 20}, {"reason", {}, 20}})),
      code_forge_calls_(registry
                            .counter(named("code_forge_api_calls_total"), "Requests to Code Forge, by how they ended.",
                                     {closed("method", {"trigger", "status", "generate", "generate_status"}),
                                      closed("status", {"success", "error"})})
                            .create_all()),
      lambda_invocations_(registry
                              .counter(named("lambda_invocations_total"),
                                       "Calls of Lambda functions, by how they ended.",
                                       {closed("status", {"success", "failed", "timeout"})})
                              .create_all()),
      lambda_duration_(registry
                           .histogram(named("lambda_duration_seconds"), "Length of calls of Lambda functions.", {},
                                      {0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900})
                           .with({})),
      lambda_billed_(registry
                         .histogram(named("lambda_billed_duration_seconds"),
                                    "What AWS bills for calls of Lambda functions.", {},
                                    {0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900})
                         .with({})),
      test_tasks_(registry.counter(
          named("test_tasks_executed_total"), "TEST attempts, by how they ended.",
          {closed("status", {"success", "failed", "timeout", "not_allowed", "simulated", "cancelled"}), suite()})),
      test_duration_(registry.histogram(named("test_duration_seconds"), "Length of TEST attempts.", {suite()},
                                        {1, 5, 10, 30, 60, 120, 300, 600})),
      tests_passed_(
          registry.counter(named("tests_passed_total"), "Tests that passed, by what their reports say.", {suite()})),
      tests_failed_(registry.counter(named("tests_failed_total"),
                                     "Tests that failed or ended in an error, by what their reports say.", {suite()})),
      test_coverage_(registry.gauge(named("test_coverage_percent"),
                                    "Lines covered in the last run that said so, 0 to 100.", {suite()})),
      test_parsing_(registry
                        .counter(named("test_report_parsing_total"),
                                 "Test reports found, by whether they could be read.",
                                 {closed("format", {"junit"}), closed("status", {"success", "error"})})
                        .create_all()),
      coverage_parsing_(
          registry
              .counter(named("coverage_report_parsing_total"), "Coverage reports found, by whether they could be read.",
                       {closed("format", {"cobertura", "lcov", "unknown"}), closed("status", {"success", "error"})})
              .create_all()),
      simulated_(registry.counter(
          named("simulated_results_total"), "Outcomes that nothing real stands behind.",
          {task_type(), closed("reason", {"disabled", "unavailable", "timeout", "api_error", "error", "requested"})})),
      timeouts_(registry.counter(named("task_timeouts_total"), "Attempts that ran out of their time.",
                                 {task_type(), Label{"executor", {}, 20}})),
      sla_violations_(registry
                          .counter(named("sla_violations_total"), "Tickets that missed what their SLA allows.",
                                   {task_type(), closed("reason", {"deadline", "timeout", "retries_exhausted"})})
                          .create_all()),
      waiting_(
          registry
              .gauge(
                  named("waiting_tasks"),
                  "Tickets that wait: for dependencies, for an execution slot, or parked outside the in-flight window.",
                  {closed("state", {"dependency", "slot", "parked"})})
              .create_all()),
      queue_wait_(per_type(registry.histogram(named("queue_wait_seconds"), "Wait for an execution slot.", {task_type()},
                                              {0.1, 0.5, 1, 5, 10, 30, 60, 300}))),
      truncated_(registry.counter(named("output_truncated_total"), "Attempts whose output was cut.",
                                  {closed("runtime", runtimes())})),
      unkillable_(registry.counter(named("unkillable_tasks_total"),
                                   "Attempts of which something could not be stopped; their slots stay taken.",
                                   {closed("runtime", runtimes())})),
      orphans_(registry.counter(named("orphans_removed_total"), "Leftovers of earlier processes removed.",
                                {closed("runtime", runtimes())})),
      breakers_(registry.gauge(named("circuit_breaker_state"), "0 closed, 1 half-open, 2 open.", {Label{"backend"}})),
      http_requests_(registry.counter(named("http_requests_total"), "Requests to the worker's own API.",
                                      {closed("method", {"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"}),
                                       Label{"route"}, Label{"status", {}, 40}})),
      http_duration_(registry.histogram(named("http_request_duration_seconds"),
                                        "From the first byte of a request to its answer.", {Label{"route"}},
                                        {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10})),
      http_connections_(
          registry.gauge(named("http_connections"), "Open connections to the worker's own API.").with({})),
      http_refused_(registry.counter(named("http_connections_refused_total"), "Connections over the limit.").with({})) {
    max_concurrent_.set(static_cast<double>(max_concurrent_tickets));
    config_reloaded(true);
    register_additions(facts);
}

void Metrics::register_additions(const BuildFacts& facts) {
    for (const TaskType type :
         {TaskType::kBuild, TaskType::kDeploy, TaskType::kTest, TaskType::kValidate, TaskType::kExecute}) {
        const std::string word = lower(to_string(type));
        fallbacks_[static_cast<std::size_t>(type)] =
            &registry_
                 .counter(named(word + "_fallback_total"), "Fallbacks of " + word + " tickets, by cause.",
                          {closed("reason", fallback_reasons())})
                 .create_all();
    }
    registry_.gauge(named("build_info"), "Version of this build; always 1.", {Label{"version"}, Label{"revision"}})
        .with({facts.version, facts.revision})
        .set(1);
    registry_
        .gauge("neural_hive_service_info", "What this service is; always 1.",
               {Label{"service"}, Label{"version"}, Label{"instance"}, Label{"component"}, Label{"layer"},
                Label{"domain"}, Label{"environment"}})
        .with({"worker-agents", facts.version, facts.agent_id, "worker-agent", "execucao", "task-execution",
               facts.environment})
        .set(1);
    registry_.before_scrape([this] {
        const std::int64_t since = paused_at_ns_.load();
        const std::int64_t now = clock_.now().time_since_epoch().count();
        paused_.set(since >= 0 ? 1 : 0);
        paused_since_.set(since >= 0 ? to_seconds(Duration(std::max<std::int64_t>(0, now - since))) : 0);
    });
}

void Metrics::executor_registered(TaskType type) {
    executors_registered_.with({to_string(type)}).add();
}
void Metrics::heartbeat(std::string_view status) {
    heartbeat_.with({status}).add();
}
void Metrics::orphans_removed(std::string_view runtime, std::size_t count) {
    orphans_.with({runtime}).add(static_cast<double>(count));
}

void Metrics::docker_call(std::string_view call, std::string_view status) {
    docker_calls_.with({call, status}).add();
}
void Metrics::docker_stage(std::string_view stage, Duration took) {
    docker_duration_.with({stage}).observe(to_seconds(took));
}

void Metrics::k8s_call(std::string_view call, std::string_view status) {
    k8s_calls_.with({call, status}).add();
}
void Metrics::k8s_stage(std::string_view stage, Duration took) {
    k8s_duration_.with({stage}).observe(to_seconds(took));
}

void Metrics::external_request(std::string_view target, std::string_view method, Duration took) {
    external_duration_.with({target, method}).observe(to_seconds(took));
}
void Metrics::external_retry(std::string_view target, std::string_view reason) {
    external_retries_.with({target, reason}).add();
}

void Metrics::code_forge_call(std::string_view method, std::string_view status) {
    code_forge_calls_.with({method, status}).add();
}
void Metrics::lambda_invocation(std::string_view status, Duration took, std::optional<Duration> billed) {
    lambda_invocations_.with({status}).add();
    lambda_duration_.observe(to_seconds(took));
    if (billed) lambda_billed_.observe(to_seconds(*billed));
}

void Metrics::set_gauges(const FlowGauges& gauges) {
    in_flight_.set(static_cast<double>(gauges.in_flight));
    max_concurrent_.set(static_cast<double>(gauges.in_flight_limit));
    active_tasks_.set(static_cast<double>(gauges.executing));
    waiting_.with({"dependency"}).set(static_cast<double>(gauges.parked));
    waiting_.with({"slot"}).set(static_cast<double>(gauges.queued));
    waiting_.with({"parked"}).set(static_cast<double>(gauges.parked + gauges.held + gauges.ready));
}

void Metrics::http_request(std::string_view method, std::string_view route, int status, Duration took) {
    const std::string_view place = route.empty() ? "none" : route;
    http_requests_.with({method, place, std::to_string(status)}).add();
    http_duration_.with({place}).observe(to_seconds(took));
}

void Metrics::http_connections(std::size_t open, std::uint64_t refused) {
    http_connections_.set(static_cast<double>(open));
    http_refused_.set_to(static_cast<double>(refused));
}

void Metrics::ticket_consumed(const TicketView& ticket) {
    of(consumed_, ticket.task_type).add();
}

void Metrics::ticket_moved(const TicketView& ticket, State, Event, State to, std::string_view) {
    if (to == State::kHandedBack && !retried_.empty()) retried_.erase(std::string(ticket.ticket_id));
}

void Metrics::attempt_started(const TicketView& ticket, Duration queue_wait) {
    of(queue_wait_, ticket.task_type).observe(to_seconds(queue_wait));
    // A second attempt of this process is the same ticket's processing.
    if (retried_.empty() || !retried_.contains(std::string(ticket.ticket_id))) of(processing_, ticket.task_type).add();
}

void Metrics::attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took, Duration retry_in) {
    std::optional<StopReason> stopped;
    if (stopped_why_ && stopped_ticket_ == ticket.ticket_id) stopped = stopped_why_;
    stopped_why_.reset();
    const std::string_view status = attempt_status(report, stopped);
    if (retry_in >= Duration::zero()) {
        const std::string attempt = ticket.attempt >= 10 ? "10+" : std::to_string(ticket.attempt);
        retries_.with({to_string(ticket.task_type), attempt}).add();
        ++retried_[std::string(ticket.ticket_id)];
    }
    if (report.still_alive) unkillable_.with({report.runtime}).add();
    if (status == "timeout") timeouts_.with({to_string(ticket.task_type), lower(to_string(ticket.task_type))}).add();
    if (report.simulated) {
        const std::string_view reason = fallback_label(report);
        simulated_.with({to_string(ticket.task_type), reason.empty() ? "requested" : reason}).add();
    }
    count_execution(ticket, report, took, status);
}

void Metrics::count_execution(const TicketView& ticket, const AttemptReport& report, Duration took,
                              std::string_view status) {
    const std::string_view fallback_reason = fallback_label(report);
    if (Family<Counter>* fallback = fallbacks_[static_cast<std::size_t>(ticket.task_type)]; fallback != nullptr) {
        if (!fallback_reason.empty()) fallback->with({fallback_reason}).add();
    }
    const std::string_view runtime = report.runtime;
    if (value_of(report.metadata, "truncated") == "true") truncated_.with({runtime}).add();
    if (ticket.task_type == TaskType::kExecute) {
        execute_tasks_.with({status}).add();
        execute_duration_.with({runtime}).observe(to_seconds(took));
        const std::string_view asked = value_of(report.metadata, "requested_runtime");
        if (!asked.empty() && asked != runtime) runtime_fallbacks_.with({asked, runtime}).add();
    }
    if (ticket.task_type == TaskType::kTest) count_tests(report, took, status);
    if (runtime == "local") {
        const bool killed = status == "cancelled" || (status == "failed" && report.signal.has_value());
        local_executions_.with({killed ? "killed" : status}).add();
        local_duration_.observe(to_seconds(took));
    }
    if (runtime == "docker") {
        const bool known = status == "success" || status == "timeout";
        docker_executions_.with({known ? status : "failed"}).add();
        docker_duration_.with({"total"}).observe(to_seconds(took));
    }
    if (runtime == "k8s") {
        k8s_jobs_.with({status == "success" ? "succeeded" : status == "timeout" ? "timeout" : "failed"}).add();
        k8s_duration_.with({"total"}).observe(to_seconds(took));
    }
}

void Metrics::count_tests(const AttemptReport& report, Duration took, std::string_view status) {
    const TestFigures figures = report.tests.value_or(TestFigures{});
    const std::string_view name = figures.suite.empty() ? std::string_view("default") : figures.suite;
    test_tasks_.with({status, name}).add();
    test_duration_.with({name}).observe(to_seconds(took));
    if (report.simulated) return;  // its numbers are invented
    if (figures.passed) tests_passed_.with({name}).add(static_cast<double>(*figures.passed));
    if (figures.not_passed) tests_failed_.with({name}).add(static_cast<double>(*figures.not_passed));
    if (figures.coverage_percent) test_coverage_.with({name}).set(*figures.coverage_percent);
    for (const TestFigures::Parsing& report_file : figures.reports) {
        Family<Counter>& family = report_file.format == "junit" ? test_parsing_ : coverage_parsing_;
        family.with({report_file.format, report_file.good ? "success" : "error"}).add();
    }
}

void Metrics::dependency_wait_ended(const TicketView&, std::string_view result, Duration waited) {
    dependency_checks_.with({result}).add();
    dependency_wait_.observe(to_seconds(waited));
}

void Metrics::duplicate_suppressed(const TicketView&) {
    duplicates_.add();
    duplicates_alias_.add();
}

void Metrics::stop_requested(const TicketView&, StopReason reason) {
    if (reason == StopReason::kShutdown) cancelled_.with({"shutdown"}).add();
    if (reason == StopReason::kPartitionRevoked || reason == StopReason::kSuperseded) cancelled_.with({"other"}).add();
}

void Metrics::stop_finished(const TicketView& ticket, StopReason reason, Duration took) {
    graceful_cancellation_.observe(to_seconds(took));
    stopped_ticket_ = std::string(ticket.ticket_id);
    stopped_why_ = reason;
}

void Metrics::outcome_decided(const TicketView&, const Settlement& settlement) {
    if (settlement.kind != SettlementKind::kResult) return;
    if (settlement.outcome != Outcome::kCancelled && settlement.outcome != Outcome::kPreempted) return;
    cancelled_.with({cancel_reason(settlement.outcome, settlement)}).add();
    if (settlement.outcome == Outcome::kPreempted) preempted_.add();
}

void Metrics::ticket_settled(const TicketView& ticket, const Settlement& settlement) {
    if (const auto retried = retried_.find(std::string(ticket.ticket_id)); retried != retried_.end()) {
        of(retry_count_, ticket.task_type).observe(retried->second);
        retried_.erase(retried);
    }
    switch (settlement.kind) {
        case SettlementKind::kResult: return count_settled_result(ticket, settlement);
        case SettlementKind::kDeadLetter: {
            dlq_messages_.with({settlement.dead_letter.reason, settlement.dead_letter.task_type}).add();
            return;
        }
        case SettlementKind::kSuppressed:
        case SettlementKind::kRequeue: return;
    }
}

void Metrics::count_settled_result(const TicketView& ticket, const Settlement& settlement) {
    const bool good = is_success(settlement.outcome);
    results_published_.with({good ? "COMPLETED" : "FAILED"}).add();
    if (!settlement.attempts.empty()) {
        of(duration_, ticket.task_type).observe(static_cast<double>(settlement.result.actual_duration_ms) / 1000.0);
    }
    if (good) return of(completed_, ticket.task_type).add();
    const std::string_view type = to_string(ticket.task_type);
    failed_.with({type, error_type(settlement)}).add();
    if (settlement.outcome == Outcome::kDeadlineExceeded) sla_violations_.with({type, "deadline"}).add();
    if (settlement.outcome == Outcome::kTimeout) sla_violations_.with({type, "timeout"}).add();
    if (settlement.outcome == Outcome::kExecutionFailed && settlement.attempts.size() > 1) {
        sla_violations_.with({type, "retries_exhausted"}).add();
    }
}

void Metrics::intake_changed(bool open, std::string_view why, Duration since) {
    if (!open) {
        paused_at_ns_ = clock_.now().time_since_epoch().count();
        // A drain is no back-pressure: it never resumes and would look like a stuck worker.
        pause_counted_ = why != "draining";
        if (pause_counted_) paused_total_.add();
        return;
    }
    paused_at_ns_ = -1;
    if (!std::exchange(pause_counted_, false)) return;
    resumed_total_.add();
    pause_duration_.observe(to_seconds(since));
}

void Metrics::commit_finished(const CommitResult& result, std::size_t, Duration) {
    switch (result.status) {
        case CommitStatus::kCommitted: return commits_.with({"success"}).add();
        case CommitStatus::kRetry: return commits_.with({"retry"}).add();
        case CommitStatus::kAborted: return commits_.with({"aborted"}).add();
        case CommitStatus::kFatal: return commits_.with({"fatal"}).add();
    }
}

void Metrics::breaker_changed(std::string_view backend, std::string_view state) {
    const double value = state == "open" ? 2 : (state == "half_open" || state == "half-open") ? 1 : 0;
    breakers_.with({backend}).set(value);
}

}  // namespace wa::observability
