#include "adapters/service_registry/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/service_registry/telemetry_window.h"

namespace wa {
namespace {

using ::testing::ElementsAre;

TEST(RegistrationFacts, HoldBothVocabulariesOnce) {
    WorkerIdentity identity;
    identity.agent_id = "own";
    identity.endpoint = "http://worker-0:8080";
    identity.http_port = 8080;
    identity.max_concurrent_tasks = 5;
    identity.capabilities = {"python", "test", "python"};
    identity.task_types = {TaskType::kTest, TaskType::kExecute};
    identity.name_space = "neural-hive-execution";
    const RegistrationFacts facts = registration_facts(identity);
    EXPECT_THAT(facts.capabilities, ElementsAre("python", "test", "execute"));
    EXPECT_EQ(facts.metadata.at("task_types"), "TEST,EXECUTE");
    EXPECT_EQ(facts.metadata.at("agent_id"), "own");
    EXPECT_EQ(facts.metadata.at("endpoint"), "http://worker-0:8080");
    EXPECT_EQ(facts.metadata.at("http_port"), "8080");
    EXPECT_EQ(facts.metadata.at("grpc_port"), "0");
    EXPECT_EQ(facts.metadata.at("max_concurrent_tasks"), "5");
    EXPECT_FALSE(facts.metadata.contains("pod_name"));
    EXPECT_EQ(facts.name_space, "neural-hive-execution");
}

TEST(RegistrationFacts, NameTheRuntimesThatCanBeReached) {
    WorkerIdentity identity;
    identity.capabilities = {"python", "runtime:docker"};
    identity.runtimes = {"local", "docker"};
    const RegistrationFacts facts = registration_facts(identity);
    EXPECT_THAT(facts.capabilities, ElementsAre("python", "runtime:docker", "runtime:local"));
    EXPECT_EQ(facts.metadata.at("runtimes"), "local,docker");
    identity.runtimes.clear();
    EXPECT_FALSE(registration_facts(identity).metadata.contains("runtimes"));
}

TEST(RegistrationFacts, OfferNoBackEndThatCannotBeReached) {
    WorkerIdentity identity;
    identity.capabilities = {"python", "Kubernetes", "docker", "runtime:lambda", "code_forge"};
    identity.runtimes = {"local"};
    EXPECT_THAT(registration_facts(identity).capabilities, ElementsAre("python", "runtime:local"));
    identity.runtimes = {"local", "k8s", "lambda"};
    EXPECT_THAT(registration_facts(identity).capabilities,
                ElementsAre("python", "Kubernetes", "runtime:lambda", "runtime:local", "runtime:k8s"));
}

TEST(RegistrationFacts, ThePodsNamespaceWinsUnlessItIsTheDefault) {
    WorkerIdentity identity;
    identity.name_space = "configured";
    identity.pod_namespace = "pod";
    EXPECT_EQ(registration_facts(identity).name_space, "pod");
    identity.pod_namespace = "default";
    EXPECT_EQ(registration_facts(identity).name_space, "configured");
}

Settlement ended(Outcome outcome, std::int64_t duration_ms) {
    Settlement settlement;
    settlement.outcome = outcome;
    settlement.result.timestamp = 5000;
    AttemptRecord attempt;
    attempt.started_at = 1000;
    attempt.ended_at = 1000 + duration_ms;
    settlement.attempts.push_back(attempt);
    return settlement;
}

TEST(TelemetryWindow, IsFullOfConfidenceAtFirst) {
    const TelemetryWindow window;
    EXPECT_DOUBLE_EQ(window.telemetry().success_rate, 1.0);
    EXPECT_EQ(window.telemetry().total_executions, 0);
    EXPECT_EQ(window.telemetry().last_execution_at, 0);
}

TEST(TelemetryWindow, CountsWhatSaysSomethingAboutTheWorker) {
    TelemetryWindow window;
    window.ticket_settled({}, ended(Outcome::kCompleted, 100));
    window.ticket_settled({}, ended(Outcome::kExecutionFailed, 300));
    for (const Outcome outcome : {Outcome::kCancelled, Outcome::kPreempted, Outcome::kDependencyFailed,
                                  Outcome::kDependencyTimeout, Outcome::kInvalid})
        window.ticket_settled({}, ended(outcome, 9999));
    Settlement requeued = ended(Outcome::kExecutionFailed, 9999);
    requeued.kind = SettlementKind::kRequeue;
    window.ticket_settled({}, requeued);
    const RegistryTelemetry telemetry = window.telemetry();
    EXPECT_DOUBLE_EQ(telemetry.success_rate, 0.5);
    EXPECT_EQ(telemetry.avg_duration_ms, 200);
    EXPECT_EQ(telemetry.total_executions, 2);
    EXPECT_EQ(telemetry.failed_executions, 1);
    EXPECT_EQ(telemetry.last_execution_at, 5000);
}

TEST(TelemetryWindow, ForgetsOldTicketsButKeepsTheTotals) {
    TelemetryWindow window;
    for (int i = 0; i < 50; ++i)
        window.ticket_settled({}, ended(Outcome::kTimeout, 1000));
    for (int i = 0; i < 100; ++i)
        window.ticket_settled({}, ended(Outcome::kCompleted, 10));
    const RegistryTelemetry telemetry = window.telemetry();
    EXPECT_DOUBLE_EQ(telemetry.success_rate, 1.0);
    EXPECT_EQ(telemetry.avg_duration_ms, 10);
    EXPECT_EQ(telemetry.total_executions, 150);
    EXPECT_EQ(telemetry.failed_executions, 50);
}

}  // namespace
}  // namespace wa
