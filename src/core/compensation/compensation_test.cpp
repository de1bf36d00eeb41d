#include "core/compensation/compensation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "base/random.h"
#include "core/codec/ticket_json.h"

namespace wa {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

Ticket failed(TaskType type = TaskType::kDeploy) {
    Ticket t;
    t.ticket_id = "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11";
    t.plan_id = "p";
    t.intent_id = "i";
    t.correlation_id = "c";
    t.trace_id = "tr";
    t.task_id = "deploy";
    t.task_type = type;
    t.priority = Priority::kHigh;
    t.risk_band = RiskBand::kCritical;
    t.parameters = {{"namespace", "prod"}, {"provider", "flux"}};
    t.metadata = {{"compensation_action", "rollback_deployment"}, {"workflow_id", "wf"}};
    return t;
}
CompensationFacts ran() {
    CompensationFacts f;
    f.attempts_started = 1;
    f.reason = "exit code 1";
    f.now = 1000;
    return f;
}

TEST(Compensation, IsACompleteTicketWithADeterministicId) {
    const auto made = compensation_for(failed(), ran());
    ASSERT_TRUE(made);
    const Ticket& t = made->ticket;
    EXPECT_EQ(t.ticket_id, uuid5("6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11"));
    EXPECT_EQ(t.ticket_id, compensation_for(failed(), ran())->ticket.ticket_id);
    EXPECT_EQ(t.task_id, "compensate-6f0b6c1e");
    EXPECT_EQ(t.task_type, TaskType::kCompensate);
    EXPECT_EQ(t.plan_id, "p");
    EXPECT_EQ(t.intent_id, "i");
    EXPECT_EQ(t.correlation_id, "c");
    EXPECT_EQ(t.trace_id, "tr");
    EXPECT_EQ(t.priority, Priority::kHigh);
    EXPECT_EQ(t.risk_band, RiskBand::kCritical);
    EXPECT_EQ(t.status, TicketStatus::kPending);
    EXPECT_THAT(t.dependencies, IsEmpty());
    EXPECT_EQ(t.sla, (Sla{std::nullopt, 120'000, std::nullopt}));
    EXPECT_EQ(t.created_at, 1000);
    EXPECT_EQ(t.parameters, boost::json::parse(R"({"deployment_name":"deploy-6f0b6c1e","previous_revision":"HEAD~1",
        "namespace":"prod","provider":"flux","action":"rollback_deployment","reason":"exit code 1",
        "original_ticket_id":"6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11","original_task_type":"DEPLOY"})")
                                .as_object());
    EXPECT_EQ(t.metadata.at("compensation_reason"), "exit code 1");
    EXPECT_EQ(t.metadata.at("original_task_type"), "DEPLOY");
    EXPECT_EQ(t.metadata.at("original_status"), "FAILED");
    EXPECT_EQ(t.metadata.at("workflow_id"), "wf");
    EXPECT_THAT(made->warnings, IsEmpty());
    EXPECT_TRUE(parse_ticket(write_ticket(t)));
}

TEST(Compensation, OnlyAfterRealFailures) {
    using O = Outcome;
    for (const O outcome : {O::kExecutionFailed, O::kTimeout, O::kDeadlineExceeded, O::kCancelled, O::kPreempted}) {
        auto f = ran();
        f.outcome = outcome;
        EXPECT_TRUE(compensation_for(failed(), f)) << to_string(outcome);
        f.attempts_started = 0;
        EXPECT_FALSE(compensation_for(failed(), f)) << to_string(outcome);
    }
    for (const O outcome : {O::kCompleted, O::kDependencyFailed, O::kDependencyTimeout, O::kInvalid}) {
        auto f = ran();
        f.outcome = outcome;
        EXPECT_FALSE(compensation_for(failed(), f)) << to_string(outcome);
    }
}

TEST(Compensation, NeverForSimulationsOrCompensations) {
    auto f = ran();
    f.simulated = true;
    EXPECT_FALSE(compensation_for(failed(), f));
    EXPECT_FALSE(compensation_for(failed(TaskType::kCompensate), ran()));
}

TEST(Compensation, NeedsADeclarationOrUndoableEffects) {
    Ticket t = failed(TaskType::kBuild);
    t.metadata.clear();
    EXPECT_FALSE(compensation_for(t, ran()));
    auto f = ran();
    f.effects = {{"log", "x", ""}};
    EXPECT_FALSE(compensation_for(t, f));
    f.effects = {{"log", "x", ""}, {"artifact", "sha256:1", "delete_artifacts"}};
    const auto made = compensation_for(t, f);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->ticket.parameters.at("action"), "delete_artifacts");
    EXPECT_EQ(made->ticket.parameters.at("artifact_ids"), (boost::json::array{"sha256:1"}));
    EXPECT_EQ(made->ticket.parameters.at("effects"),
              boost::json::parse(R"([{"kind":"artifact","name":"sha256:1","undo":"delete_artifacts"}])"));
}

TEST(Compensation, DeclaredActionWinsOverRecordedOne) {
    auto f = ran();
    f.effects = {{"container", "c", "remove_container"}};
    EXPECT_EQ(compensation_for(failed(), f)->ticket.parameters.at("action"), "rollback_deployment");
}

TEST(Compensation, DeclaredParametersAreAddedButCannotRedirect) {
    Ticket t = failed();
    t.metadata["compensation_parameters"] =
        R"({"namespace":"other","extra":[1],"original_ticket_id":"evil","action":"evil","reason":"evil"})";
    const auto made = compensation_for(t, ran());
    ASSERT_TRUE(made);
    EXPECT_EQ(made->ticket.parameters.at("namespace"), "other");
    EXPECT_EQ(made->ticket.parameters.at("extra"), (boost::json::array{1}));
    EXPECT_EQ(made->ticket.parameters.at("original_ticket_id"), t.ticket_id.c_str());
    EXPECT_EQ(made->ticket.parameters.at("action"), "rollback_deployment");
}

TEST(Compensation, BadDeclarationIsAWarningNotALoss) {
    Ticket t = failed();
    t.metadata["compensation_parameters"] = "[1]";
    t.metadata["compensation_timeout_ms"] = "soon";
    const auto made = compensation_for(t, ran());
    ASSERT_TRUE(made);
    EXPECT_THAT(made->warnings, SizeIs(2));
    EXPECT_EQ(made->ticket.sla.timeout_ms, 120'000);
    t.metadata["compensation_timeout_ms"] = "5000";
    EXPECT_EQ(compensation_for(t, ran())->ticket.sla.timeout_ms, 5000);
}

TEST(Compensation, ActionFollowsTheType) {
    const std::vector<std::pair<TaskType, std::string>> cases{
        {TaskType::kBuild, "delete_artifacts"},     {TaskType::kDeploy, "rollback_deployment"},
        {TaskType::kTest, "cleanup_test_env"},      {TaskType::kValidate, "revert_approval"},
        {TaskType::kExecute, "rollback_execution"}, {TaskType::kQuery, "generic_cleanup"},
        {TaskType::kTransform, "generic_cleanup"}};
    for (const auto& [type, action] : cases) {
        EXPECT_EQ(compensation_action(type), action);
        Ticket t = failed(type);
        t.metadata["compensation_action"] = action;
        const auto made = compensation_for(t, ran());
        ASSERT_TRUE(made);
        EXPECT_EQ(made->ticket.parameters.at("action"), action.c_str());
        EXPECT_EQ(made->ticket.parameters.at("original_task_type"), std::string(to_string(type)).c_str());
    }
}

TEST(Compensation, EffectsAndReasonsAreBounded) {
    auto f = ran();
    f.reason = std::string(100'000, 'r');
    for (int i = 0; i < 1000; ++i)
        f.effects.push_back({"file", "f" + std::to_string(i), "remove"});
    const auto made = compensation_for(failed(), f);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->ticket.parameters.at("effects").as_array().size(), kMaxCompensatedEffects);
    EXPECT_LT(write_ticket(made->ticket).size(), 100'000U);
}

}  // namespace
}  // namespace wa
