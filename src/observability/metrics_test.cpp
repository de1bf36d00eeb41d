#include "observability/metrics.h"

#include <gtest/gtest.h>

#include "observability/testing/manual_clock.h"

namespace wa::observability {
namespace {

using namespace std::chrono_literals;

class MetricsTest : public ::testing::Test {
protected:
    [[nodiscard]] std::string text() { return registry_.expose(false); }
    // The value behind `series`, "" when it is not there.
    [[nodiscard]] std::string value(const std::string& series) {
        const std::string all = "\n" + text();
        const std::size_t at = all.find("\n" + series + " ");
        if (at == std::string::npos) return {};
        const std::size_t start = at + series.size() + 2;
        return all.substr(start, all.find('\n', start) - start);
    }
    static TicketView ticket(TaskType type = TaskType::kExecute, std::int32_t attempt = 1) {
        TicketView view;
        view.ticket_id = "t-1";
        view.task_type = type;
        view.attempt = attempt;
        return view;
    }
    static Settlement result(Outcome outcome, std::size_t attempts = 1, std::int64_t took_ms = 1500) {
        Settlement settlement;
        settlement.outcome = outcome;
        settlement.attempts.resize(attempts);
        settlement.result.actual_duration_ms = took_ms;
        return settlement;
    }

    testing::ManualClock clock_;
    Registry registry_;
    Metrics metrics_{registry_, clock_, {"0.1.0", "abc123", "agent-1", "test"}, 10};
};

TEST_F(MetricsTest, KnownLabelSetsAreThereFromTheStart) {
    for (const char* series : {"worker_agent_startup_total",
                               "worker_agent_registered_total",
                               "worker_agent_heartbeat_total{status=\"success\"}",
                               "worker_agent_deregistered_total",
                               "worker_agent_tickets_consumed_total{task_type=\"BUILD\"}",
                               "worker_agent_tickets_processing_total{task_type=\"EXECUTE\"}",
                               "worker_agent_tickets_completed_total{task_type=\"TEST\"}",
                               "worker_agent_tickets_failed_total{task_type=\"EXECUTE\",error_type=\"timeout\"}",
                               "worker_agent_active_tasks",
                               "worker_agent_task_duration_seconds_count{task_type=\"EXECUTE\"}",
                               "worker_agent_tickets_in_flight",
                               "worker_agent_consumer_paused_total",
                               "worker_agent_consumer_resumed_total",
                               "worker_agent_consumer_pause_duration_seconds_count",
                               "worker_agent_consumer_paused",
                               "worker_agent_consumer_paused_since_seconds",
                               "worker_agent_dependency_checks_total{result=\"failed\"}",
                               "worker_agent_dependency_wait_duration_seconds_count",
                               "worker_agent_tasks_cancelled_total{reason=\"user_request\"}",
                               "worker_agent_results_published_total{status=\"COMPLETED\"}",
                               "worker_agent_duplicates_detected_total{component=\"execution_engine\"}",
                               "worker_agent_ticket_duplicates_detected_total{component=\"execution_engine\"}",
                               "worker_agent_execute_fallback_total{reason=\"unavailable\"}",
                               "worker_agent_local_executions_total{status=\"killed\"}",
                               "worker_agent_sla_violations_total{task_type=\"EXECUTE\",reason=\"deadline\"}",
                               "worker_agent_waiting_tasks{state=\"dependency\"}"}) {
        EXPECT_EQ(value(series), "0.0") << series;
    }
    EXPECT_EQ(value("worker_agent_max_concurrent_tickets"), "10.0");
    EXPECT_EQ(value("worker_agent_build_info{version=\"0.1.0\",revision=\"abc123\"}"), "1.0");
}

TEST_F(MetricsTest, BucketsAreThoseOfTheContract) {
    for (const char* edge :
         {"1.0", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0", "1800.0", "3600.0", "14400.0", "+Inf"}) {
        EXPECT_EQ(
            value(std::string("worker_agent_task_duration_seconds_bucket{task_type=\"BUILD\",le=\"") + edge + "\"}"),
            "0.0")
            << edge;
    }
    EXPECT_EQ(value("worker_agent_task_duration_seconds_bucket{task_type=\"BUILD\",le=\"1\"}"), "");
}

TEST_F(MetricsTest, OneTicketFromReadToResult) {
    metrics_.started();
    metrics_.executor_registered(TaskType::kExecute);
    metrics_.ticket_consumed(ticket());
    metrics_.attempt_started(ticket(), 200ms);
    AttemptReport report;
    report.success = true;
    report.runtime = "local";
    metrics_.attempt_ended(ticket(), report, 1500ms, Duration{-1});
    metrics_.ticket_settled(ticket(), result(Outcome::kCompleted));
    EXPECT_EQ(value("worker_agent_startup_total"), "1.0");
    EXPECT_EQ(value("worker_agent_executors_registered_total{task_type=\"EXECUTE\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tickets_consumed_total{task_type=\"EXECUTE\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tickets_processing_total{task_type=\"EXECUTE\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tickets_completed_total{task_type=\"EXECUTE\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_duration_seconds_bucket{task_type=\"EXECUTE\",le=\"1.0\"}"), "0.0");
    EXPECT_EQ(value("worker_agent_task_duration_seconds_bucket{task_type=\"EXECUTE\",le=\"5.0\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_duration_seconds_sum{task_type=\"EXECUTE\"}"), "1.5");
    EXPECT_EQ(value("worker_agent_queue_wait_seconds_sum{task_type=\"EXECUTE\"}"), "0.2");
    EXPECT_EQ(value("worker_agent_execute_tasks_executed_total{status=\"success\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_execute_duration_seconds_count{runtime=\"local\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_local_executions_total{status=\"success\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_results_published_total{status=\"COMPLETED\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_ticket_retry_count_count{task_type=\"EXECUTE\"}"), "0.0");
}

TEST_F(MetricsTest, RetriesCountOnlyWhenAnotherAttemptFollows) {
    AttemptReport failed;
    failed.error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "x", "down");
    metrics_.attempt_started(ticket(TaskType::kBuild, 1), 0ms);
    metrics_.attempt_ended(ticket(TaskType::kBuild, 1), failed, 1s, 2s);
    metrics_.attempt_started(ticket(TaskType::kBuild, 2), 0ms);
    metrics_.attempt_ended(ticket(TaskType::kBuild, 2), failed, 1s, Duration{-1});
    metrics_.ticket_settled(ticket(TaskType::kBuild), result(Outcome::kExecutionFailed, 2));
    EXPECT_EQ(value("worker_agent_tickets_processing_total{task_type=\"BUILD\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_retries_total{task_type=\"BUILD\",attempt=\"1\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_retries_total{task_type=\"BUILD\",attempt=\"2\"}"), "");
    EXPECT_EQ(value("worker_agent_ticket_retry_count_sum{task_type=\"BUILD\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_sla_violations_total{task_type=\"BUILD\",reason=\"retries_exhausted\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tickets_failed_total{task_type=\"BUILD\",error_type=\"execution_failed\"}"), "1.0");
    AttemptReport again = failed;
    metrics_.attempt_ended(ticket(TaskType::kBuild, 12), again, 1s, 2s);
    EXPECT_EQ(value("worker_agent_task_retries_total{task_type=\"BUILD\",attempt=\"10+\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_unkillable_tasks_total{runtime=\"local\"}"), "");
    again.still_alive = true;
    again.runtime = "local";
    metrics_.attempt_ended(ticket(TaskType::kExecute, 1), again, 1s, Duration(-1));
    EXPECT_EQ(value("worker_agent_unkillable_tasks_total{runtime=\"local\"}"), "1.0");
}

TEST_F(MetricsTest, EndingsByCause) {
    struct Case {
        Outcome outcome;
        const char* error_type;
    };
    for (const Case& each :
         {Case{Outcome::kTimeout, "timeout"}, Case{Outcome::kDeadlineExceeded, "deadline_exceeded"},
          Case{Outcome::kDependencyFailed, "dependency"}, Case{Outcome::kDependencyTimeout, "dependency_timeout"},
          Case{Outcome::kCancelled, "cancelled"}, Case{Outcome::kPreempted, "preempted"}}) {
        metrics_.ticket_settled(ticket(), result(each.outcome, 0));
        EXPECT_EQ(value(std::string("worker_agent_tickets_failed_total{task_type=\"EXECUTE\",error_type=\"") +
                        each.error_type + "\"}"),
                  "1.0");
    }
    Settlement refused = result(Outcome::kExecutionFailed);
    refused.result.metadata["reason"] = "not_allowed";
    metrics_.ticket_settled(ticket(), refused);
    EXPECT_EQ(value("worker_agent_tickets_failed_total{task_type=\"EXECUTE\",error_type=\"not_allowed\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_duration_seconds_count{task_type=\"EXECUTE\"}"), "1.0")
        << "without an attempt nothing took time";
    EXPECT_EQ(value("worker_agent_sla_violations_total{task_type=\"EXECUTE\",reason=\"deadline\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_results_published_total{status=\"FAILED\"}"), "7.0");
}

TEST_F(MetricsTest, CancelsAndStops) {
    metrics_.outcome_decided(ticket(), result(Outcome::kCancelled));
    metrics_.outcome_decided(ticket(), result(Outcome::kPreempted));
    metrics_.stop_requested(ticket(), StopReason::kShutdown);
    metrics_.stop_finished(ticket(), StopReason::kTimeout, 3s);
    AttemptReport report;  // the executor only says that it was killed
    report.runtime = "local";
    report.signal = 9;
    metrics_.attempt_ended(ticket(), report, 4s, Duration{-1});
    EXPECT_EQ(value("worker_agent_tasks_cancelled_total{reason=\"user_request\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tasks_cancelled_total{reason=\"preemption\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tasks_cancelled_total{reason=\"shutdown\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tasks_preempted_total"), "1.0");
    EXPECT_EQ(value("worker_agent_graceful_cancellation_duration_seconds_sum"), "3.0");
    EXPECT_EQ(value("worker_agent_local_executions_total{status=\"timeout\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_task_timeouts_total{task_type=\"EXECUTE\",executor=\"execute\"}"), "1.0");
    // The stop belongs to that attempt only.
    metrics_.attempt_ended(ticket(), report, 4s, Duration{-1});
    EXPECT_EQ(value("worker_agent_local_executions_total{status=\"killed\"}"), "1.0");
}

TEST_F(MetricsTest, SimulationAndFallbackAreSeen) {
    AttemptReport report;
    report.success = report.simulated = true;
    report.runtime = "simulation";
    report.metadata = {{"fallback_reason", "docker: it does not answer"},
                       {"fallback_code", "unavailable"},
                       {"requested_runtime", "docker"}};
    metrics_.attempt_ended(ticket(), report, 1s, Duration{-1});
    EXPECT_EQ(value("worker_agent_simulated_results_total{task_type=\"EXECUTE\",reason=\"unavailable\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_execute_tasks_executed_total{status=\"simulated\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_execute_tasks_executed_total{status=\"success\"}"), "0.0");
    EXPECT_EQ(value("worker_agent_execute_runtime_fallbacks_total{from_runtime=\"docker\",to_runtime=\"simulation\"}"),
              "1.0");
    EXPECT_EQ(value("worker_agent_execute_fallback_total{reason=\"unavailable\"}"), "1.0");
}

TEST_F(MetricsTest, JobsAndCallsOfKubernetes) {
    EXPECT_EQ(value("worker_agent_k8s_jobs_executed_total{status=\"succeeded\"}"), "0.0");
    AttemptReport report;
    report.runtime = "k8s";
    report.success = true;
    metrics_.attempt_ended(ticket(), report, 4s, Duration{-1});
    report.success = false;
    metrics_.attempt_ended(ticket(), report, 2s, Duration{-1});
    metrics_.stop_finished(ticket(), StopReason::kTimeout, 3s);
    metrics_.attempt_ended(ticket(), report, 1s, Duration{-1});
    EXPECT_EQ(value("worker_agent_k8s_jobs_executed_total{status=\"succeeded\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_k8s_jobs_executed_total{status=\"failed\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_k8s_jobs_executed_total{status=\"timeout\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_k8s_job_duration_seconds_sum{stage=\"total\"}"), "7.0");
    EXPECT_EQ(value("worker_agent_docker_executions_total{status=\"success\"}"), "0.0");
    metrics_.k8s_stage("pending", 2s);
    metrics_.k8s_call("create_job", "refused");
    EXPECT_EQ(value("worker_agent_k8s_job_duration_seconds_sum{stage=\"pending\"}"), "2.0");
    EXPECT_EQ(value("worker_agent_k8s_api_calls_total{method=\"create_job\",status=\"refused\"}"), "1.0");
}

TEST_F(MetricsTest, CallsOfOtherServices) {
    metrics_.external_request("k8s", "create_job", 20ms);
    metrics_.external_retry("k8s", "503");
    EXPECT_EQ(value("worker_agent_external_request_duration_seconds_count{target=\"k8s\",method=\"create_job\"}"),
              "1.0");
    EXPECT_EQ(value("worker_agent_external_retries_total{target=\"k8s\",reason=\"503\"}"), "1.0");
}

TEST_F(MetricsTest, CallsOfLambdaAndCodeForge) {
    metrics_.lambda_invocation("success", 2s, 1500ms);
    metrics_.lambda_invocation("timeout", 3s, std::nullopt);
    EXPECT_EQ(value("worker_agent_lambda_invocations_total{status=\"success\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_lambda_invocations_total{status=\"failed\"}"), "0.0");
    EXPECT_EQ(value("worker_agent_lambda_duration_seconds_sum"), "5.0");
    EXPECT_EQ(value("worker_agent_lambda_billed_duration_seconds_sum"), "1.5");
    EXPECT_EQ(value("worker_agent_lambda_billed_duration_seconds_count"), "1.0");
    metrics_.code_forge_call("generate_status", "error");
    EXPECT_EQ(value("worker_agent_code_forge_api_calls_total{method=\"generate_status\",status=\"error\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_code_forge_api_calls_total{method=\"trigger\",status=\"success\"}"), "0.0");
}

TEST_F(MetricsTest, TestsAreCountedBySuite) {
    AttemptReport report;
    report.success = true;
    report.runtime = "local";
    report.tests = TestFigures{"unit", 8, 2, 87.5, {{"junit", true}, {"junit", false}, {"lcov", true}}};
    metrics_.attempt_ended(ticket(TaskType::kTest), report, 3s, Duration{-1});
    EXPECT_EQ(value("worker_agent_test_tasks_executed_total{status=\"success\",suite=\"unit\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_test_duration_seconds_sum{suite=\"unit\"}"), "3.0");
    EXPECT_EQ(value("worker_agent_test_duration_seconds_bucket{suite=\"unit\",le=\"5.0\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tests_passed_total{suite=\"unit\"}"), "8.0");
    EXPECT_EQ(value("worker_agent_tests_failed_total{suite=\"unit\"}"), "2.0");
    EXPECT_EQ(value("worker_agent_test_coverage_percent{suite=\"unit\"}"), "87.5");
    EXPECT_EQ(value("worker_agent_test_report_parsing_total{format=\"junit\",status=\"success\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_test_report_parsing_total{format=\"junit\",status=\"error\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_coverage_report_parsing_total{format=\"lcov\",status=\"success\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_coverage_report_parsing_total{format=\"unknown\",status=\"error\"}"), "0.0");
}

TEST_F(MetricsTest, SimulatedTestsMoveNoNumbersOfTests) {
    AttemptReport report;
    report.success = report.simulated = true;
    report.runtime = "simulation";
    report.metadata = {{"fallback_code", "disabled"}};
    report.tests = TestFigures{"unit", 40, 0, 90.0, {}};
    metrics_.attempt_ended(ticket(TaskType::kTest), report, 3s, Duration{-1});
    EXPECT_EQ(value("worker_agent_test_tasks_executed_total{status=\"simulated\",suite=\"unit\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_test_fallback_total{reason=\"disabled\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tests_passed_total{suite=\"unit\"}"), "");
    EXPECT_EQ(value("worker_agent_test_coverage_percent{suite=\"unit\"}"), "");
}

TEST_F(MetricsTest, SuitesAreBoundedInNumber) {
    AttemptReport report;
    report.success = true;
    for (int n = 0; n < 150; ++n) {
        report.tests = TestFigures{"suite" + std::to_string(n), 1, 0, {}, {}};
        metrics_.attempt_ended(ticket(TaskType::kTest), report, 1s, Duration{-1});
    }
    EXPECT_EQ(value("worker_agent_tests_passed_total{suite=\"suite99\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_tests_passed_total{suite=\"suite100\"}"), "");
    EXPECT_EQ(value("worker_agent_tests_passed_total{suite=\"other\"}"), "50.0");
}

TEST_F(MetricsTest, PausesAreTimedAndDrainIsNone) {
    metrics_.intake_changed(false, "intake-paused", 1s);
    clock_.advance(7s);
    EXPECT_EQ(value("worker_agent_consumer_paused"), "1.0");
    EXPECT_EQ(value("worker_agent_consumer_paused_since_seconds"), "7.0");
    metrics_.intake_changed(true, "open", 7s);
    EXPECT_EQ(value("worker_agent_consumer_paused"), "0.0");
    EXPECT_EQ(value("worker_agent_consumer_paused_since_seconds"), "0.0");
    EXPECT_EQ(value("worker_agent_consumer_pause_duration_seconds_sum"), "7.0");
    metrics_.intake_changed(false, "draining", 1s);
    metrics_.intake_changed(true, "open", 1s);
    EXPECT_EQ(value("worker_agent_consumer_paused_total"), "1.0");
    EXPECT_EQ(value("worker_agent_consumer_resumed_total"), "1.0");
}

TEST_F(MetricsTest, DeadLettersDuplicatesDependenciesCommits) {
    Settlement dead;
    dead.kind = SettlementKind::kDeadLetter;
    dead.dead_letter = {"decode_error", "ValidationError", "x", "unknown"};
    metrics_.ticket_settled(ticket(), dead);
    dead.dead_letter = {"something new", "ValidationError", "x", "<script>"};
    metrics_.ticket_settled(ticket(), dead);
    EXPECT_EQ(value("worker_agent_dlq_messages_total{reason=\"decode_error\",task_type=\"unknown\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_dlq_messages_total{reason=\"other\",task_type=\"other\"}"), "1.0");
    metrics_.duplicate_suppressed(ticket());
    EXPECT_EQ(value("worker_agent_duplicates_detected_total{component=\"execution_engine\"}"),
              value("worker_agent_ticket_duplicates_detected_total{component=\"execution_engine\"}"));
    metrics_.dependency_wait_ended(ticket(), "timeout", 70s);
    EXPECT_EQ(value("worker_agent_dependency_checks_total{result=\"timeout\"}"), "1.0");
    EXPECT_EQ(value("worker_agent_dependency_wait_duration_seconds_sum"), "70.0");
    CommitResult commit;
    commit.status = CommitStatus::kAborted;
    metrics_.commit_finished(commit, 3, 1ms);
    EXPECT_EQ(value("worker_agent_offset_commit_total{status=\"aborted\"}"), "1.0");
}

TEST_F(MetricsTest, GaugesFollowTheEngine) {
    FlowGauges gauges;
    gauges.in_flight = 7;
    gauges.in_flight_limit = 20;
    gauges.executing = 3;
    gauges.parked = 5;
    gauges.queued = 4;
    metrics_.set_gauges(gauges);
    EXPECT_EQ(value("worker_agent_tickets_in_flight"), "7.0");
    EXPECT_EQ(value("worker_agent_max_concurrent_tickets"), "20.0");
    EXPECT_EQ(value("worker_agent_active_tasks"), "3.0");
    EXPECT_EQ(value("worker_agent_waiting_tasks{state=\"dependency\"}"), "5.0");
    EXPECT_EQ(value("worker_agent_waiting_tasks{state=\"slot\"}"), "4.0");
}

}  // namespace
}  // namespace wa::observability
