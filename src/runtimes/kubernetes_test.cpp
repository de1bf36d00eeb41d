// How one attempt ends, from the look to the report.
#include "runtimes/kubernetes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>

#include "runtimes/testing/kubernetes_case.h"

namespace wa {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests
using http::testing::Reaction;
using http::testing::run_for;
using http::testing::run_until;
using kubernetes::testing::FakeCluster;
using kubernetes::testing::kClosed;
using kubernetes::testing::kHeld;
using kubernetes::testing::KubernetesCase;
using kubernetes::testing::refuse;
using ::testing::HasSubstr;
using ::testing::Not;

class KubernetesTest : public KubernetesCase {};

// ---- endings

TEST_F(KubernetesTest, OutputAndExitCodeAreThePodsOwn) {
    const AttemptReport& good = run();
    EXPECT_TRUE(good.success) << why();
    EXPECT_EQ(good.exit_code, 0);
    EXPECT_EQ(out(), "out\nerr\n");
    EXPECT_EQ(good.output.at("stderr"), "");
    EXPECT_EQ(good.output.at("job_name"), cluster.job().name);
    EXPECT_EQ(good.output.at("pod_name"), cluster.pod().name);
    EXPECT_EQ(good.runtime, "k8s");
    EXPECT_EQ(meta("namespace"), "tasks");
    EXPECT_EQ(meta("node"), "node-1");
    EXPECT_EQ(meta("image"), "busybox:1");
    EXPECT_EQ(meta("adopted"), "false");
    EXPECT_EQ(meta("oom_killed"), "false");
    EXPECT_EQ(meta("output_incomplete"), "");
    EXPECT_EQ(meta("contact_lost"), "");
    EXPECT_TRUE(report.work_began);
    // Kept until the result is committed: who crashes now finds it again.
    EXPECT_EQ(cluster.jobs.size(), 1U);
    EXPECT_TRUE(runtime().may_hold(ticket));
    settle();
    EXPECT_TRUE(run_until(loop, [this] { return !runtime().may_hold(ticket); }));
}

TEST_F(KubernetesTest, WhatIsMadeSaysWhoseItIs) {
    ticket.ticket_id = "ticket with blanks";
    EXPECT_TRUE(run().success) << why();
    const FakeCluster::Job& job = cluster.job();
    EXPECT_EQ(job.name, kubernetes::job_name("domain", ticket.ticket_id, 1));
    EXPECT_EQ(job.labels.at("app.kubernetes.io/managed-by").as_string(), "worker-agents");
    EXPECT_EQ(job.labels.at("app.kubernetes.io/name").as_string(), "neural-hive-executor");
    EXPECT_EQ(job.labels.at("app.kubernetes.io/component").as_string(), "job");
    EXPECT_EQ(job.labels.at("neural-hive.io/job-id").as_string(), job.name);
    EXPECT_EQ(job.annotations.at("neural-hive.io/ticket-id").as_string(), ticket.ticket_id);
    EXPECT_EQ(job.annotations.at("neural-hive.io/plan-id").as_string(), "p");
    EXPECT_EQ(job.annotations.at("neural-hive.io/created-by").as_string(), "execute-executor");
    // The cluster ends it when nobody comes: 60 s, and what a stop may take.
    EXPECT_EQ(job.body.at("spec").at("activeDeadlineSeconds"), 91);
    EXPECT_THAT(cluster.last["create_job"].target, HasSubstr("fieldValidation=Strict"));
}

TEST_F(KubernetesTest, EndingsAreToldApart) {
    cluster.exit_code = 3;
    run();
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(report.attempt.error->fault, Fault::kTask);
    EXPECT_FALSE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("exit code 3: err"));
    EXPECT_EQ(report.attempt.exit_code, 3);
    settle();
    ticket.parameters["retry_on_exit_codes"] = json::array{3};
    EXPECT_TRUE(run().error->retryable());
    settle();
    cluster.exit_code = 137;
    cluster.end_reason = "OOMKilled";
    EXPECT_EQ(run().error->fault, Fault::kLimit);
    EXPECT_THAT(why(), HasSubstr("memory ran out: it used all of its 512 MiB"));
    EXPECT_EQ(meta("oom_killed"), "true");
    EXPECT_EQ(meta("limits_reached"), "memory");
    settle();
    cluster.end_reason = "";
    run();
    EXPECT_THAT(why(), HasSubstr("(signal 9)"));
}

TEST_F(KubernetesTest, ACommandThatCannotBeStartedHasBegunNothing) {
    cluster.end_reason = "StartError";
    ticket.parameters["env_vars"] =
        json::object{{"MY_TOKEN", "no-such-program"}};  // a secret that is said by the cluster
    run();
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(report.attempt.error->fault, Fault::kTask);
    EXPECT_FALSE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("not found in $PATH"));
    EXPECT_THAT(why(), Not(HasSubstr("no-such")));
    for (const std::string& line : report.attempt.logs)
        EXPECT_THAT(line, Not(HasSubstr("no-such")));
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesTest, AnEndThatNobodyHasSeenIsNotMadeUp) {
    start_running();
    cluster.end(cluster.pod(), 137, "ContainerStatusUnknown");
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("could not be located"));
    EXPECT_FALSE(report.attempt.exit_code);
    EXPECT_TRUE(report.work_began);
}

TEST_F(KubernetesTest, AnEvictionIsNotThePodsOwnEnd) {
    start_running();
    cluster.pod().reason = "Evicted";
    cluster.pod().message = "The node was low on resource: memory.";
    cluster.end(cluster.pod(), 137);
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_THAT(why(), HasSubstr("Evicted: The node was low"));
    settle();
    // Unless the pod had more than it may have.
    start_running(2);
    cluster.pod().reason = "Evicted";
    cluster.pod().message = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"64Mi\".";
    cluster.end(cluster.pod(), 137);
    finish();
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(report.attempt.error->fault, Fault::kLimit);
}

// A process that catches SIGTERM and leaves with 0 has not done its work.
TEST_F(KubernetesTest, AnEvictedPodHasNotSucceeded) {
    start_running();
    cluster.settles = false;
    cluster.pod().reason = "Evicted";
    cluster.pod().phase = "Failed";
    cluster.end(cluster.pod(), 0);
    finish();
    EXPECT_FALSE(report.attempt.success);
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
}

TEST_F(KubernetesTest, APodThatSomebodyRemovedIsSaid) {
    start_running();
    cluster.remove_pod(cluster.pod());
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("removed by somebody else"));
    settle();
    // At once, without a last word.
    start_running(2);
    cluster.drop_pod(cluster.pod().name);
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
}

TEST_F(KubernetesTest, AJobThatSomebodyRemovedIsSaid) {
    for (const bool foreground : {false, true}) {
        SCOPED_TRACE(foreground);
        start_running();
        cluster.remove_job(cluster.job(), foreground);
        finish();
        EXPECT_EQ(code(), ErrorCode::kInterrupted);
        EXPECT_THAT(why(), HasSubstr("removed by somebody else"));
        attempt.reset();
        EXPECT_TRUE(all_gone());
        run_for(loop, 20ms);
    }
}

TEST_F(KubernetesTest, AJobThatSomebodySuspendedIsSaid) {
    start_running();
    cluster.settles = false;
    cluster.say(cluster.job(), "Suspended", "JobSuspended");
    cluster.remove_pod(cluster.pod());
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_THAT(why(), HasSubstr("suspended"));
}

// The condition Failed comes only when the pod is gone, and its log with it.
TEST_F(KubernetesTest, TheClustersOwnDeadlineIsATimeout) {
    for (const bool told_first : {true, false}) {
        SCOPED_TRACE(told_first);
        start_running();
        cluster.settles = false;
        FakeCluster::Pod& pod = cluster.pod();
        if (told_first) cluster.say(cluster.job(), "FailureTarget", "DeadlineExceeded");
        pod.deleting = true;
        cluster.end(pod, 143);
        if (!told_first) {
            run_for(loop, 30ms);
            cluster.say(cluster.job(), "FailureTarget", "DeadlineExceeded");
        }
        finish();
        EXPECT_EQ(code(), ErrorCode::kTimeout) << why();
        EXPECT_EQ(meta("timed_out"), "true");
        EXPECT_EQ(out(), "out\nerr\n");
        cluster.settles = true;
        settle();
        cluster.pods_made = 0;
    }
}

TEST_F(KubernetesTest, AJobThatHasEndedIsBelievedWhenItsPodIsNotHeardOf) {
    cluster.stale = true;
    cluster.exit_code = 9;
    EXPECT_EQ(run().exit_code, 9);  // asked for
    settle();
    cluster.exit_code = 0;
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(out(), "out\nerr\n");
}

TEST_F(KubernetesTest, AnAnswerUnderWayIsWaitedFor) {
    start_running();
    cluster.stale = true;
    cluster.misbehave["list_pods"] = {1, {.bytes = http::testing::reply_text(503, ""), .delay = 50ms}};
    cluster.end(cluster.pod(), 9);
    ASSERT_TRUE(run_until(loop, [this] { return !cluster.misbehave.contains("list_pods"); }));
    cluster.tell("MODIFIED", cluster.job());
    cluster.tell("MODIFIED", cluster.job());
    EXPECT_EQ(finish().exit_code, 9) << why();
}

TEST_F(KubernetesTest, ACompleteJobWithoutItsPodHasNoOutput) {
    start_running();
    crash();
    cluster.end(cluster.pod(), 0);
    run_for(loop, 20ms);
    cluster.pods.clear();
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(meta("output_incomplete"), "true");
}

// ---- several pods

TEST_F(KubernetesTest, AnotherPodIsFollowedToItsEnd) {
    options.rules.backoff_limit = 1;
    cluster.backoff_limit = 1;
    cluster.runs_on = true;
    start();
    ASSERT_TRUE(running());
    cluster.output = "second\n";
    cluster.end(*cluster.pod_of(cluster.job().name), 1);
    ASSERT_TRUE(run_until(
        loop, [this] { return cluster.pods_made == 2 && !cluster.pod_of(cluster.job().name)->readers.empty(); }));
    EXPECT_EQ(ends, 0);
    cluster.end(*cluster.pod_of(cluster.job().name), 0);
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(out(), "out\nerr\nsecond\n");
}

TEST_F(KubernetesTest, TheLastPodsEndIsTheJobs) {
    options.rules.backoff_limit = 1;
    cluster.backoff_limit = 1;
    cluster.exit_code = 4;
    run();
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(report.attempt.exit_code, 4);
    EXPECT_EQ(cluster.pods_made, 2);
    EXPECT_EQ(report.attempt.output.at("pod_name"), cluster.pod_of(cluster.job().name)->name);
}

TEST_F(KubernetesTest, APodOfAnEarlierJobOfThatNameIsNotTaken) {
    // Removed in the background: its name is free at once, its pod has not ended yet.
    FakeCluster::Job old;
    old.name = kubernetes::job_name("domain", "t-1", 1);
    old.uid = "00000000-0000-4000-8000-00000000abcd";
    old.labels = {{"app.kubernetes.io/managed-by", "worker-agents"}, {"neural-hive.io/domain", "domain"}};
    cluster.run(cluster.add_pod(old));
    cluster.makes_pods = false;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.watching("pods") > 0; }));
    cluster.end(*cluster.pod_of(old.name), 77);
    run_for(loop, 60ms);
    EXPECT_EQ(ends, 0);
    cluster.run(cluster.add_pod(cluster.job()));
    run_for(loop, 20ms);
    cluster.end(*cluster.pod_of(old.name), 0);
    EXPECT_TRUE(finish().success) << why();
}

// ---- what never starts

TEST_F(KubernetesTest, AnImageThatCannotBeHadIsGivenUp) {
    options.start_timeout = 150ms;
    cluster.starts = false;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.pods_made > 0; }));
    run_for(loop, 20ms);
    const auto began = clock.now();
    cluster.waits(cluster.pod(), "ErrImagePull", "failed to resolve reference: no such host");
    for (int at = 0; at < 10 && ends == 0; ++at) {
        run_for(loop, 40ms);  // the word changes all the time
        if (ends == 0 && !cluster.pods.empty() && !cluster.pod().deleting)
            cluster.waits(cluster.pod(), at % 2 == 0 ? "ImagePullBackOff" : "ErrImagePull",
                          at % 2 == 0 ? "Back-off pulling image" : "failed to resolve reference: no such host");
    }
    finish();
    EXPECT_GE(clock.now() - began, 150ms);
    EXPECT_EQ(code(), ErrorCode::kNotFound);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("no such host"));
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    EXPECT_THAT(meta("pending_reason"), HasSubstr("ErrImagePull"));
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesTest, WhatNoTimeWillHelpIsGivenUpAtOnce) {
    cluster.starts = false;
    for (const std::string reason : {"InvalidImageName", "ErrImageNeverPull"}) {
        start();
        ASSERT_TRUE(run_until(loop, [this] { return !cluster.pods.empty(); }));
        cluster.waits(cluster.pod(), reason, "why");
        finish();
        EXPECT_FALSE(report.attempt.error->retryable());
        EXPECT_FALSE(report.work_began);
        attempt.reset();
        EXPECT_TRUE(all_gone());
    }
}

TEST_F(KubernetesTest, AWaitThatPassedBeginsAnew) {
    options.start_timeout = 200ms;
    cluster.starts = false;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.pods_made > 0; }));
    cluster.waits(cluster.pod(), "CreateContainerError", "context deadline exceeded");
    run_for(loop, 50ms);
    cluster.waits(cluster.pod(), "ContainerCreating", "");
    run_for(loop, 300ms);
    EXPECT_EQ(ends, 0);  // it is not stuck any more
    cluster.waits(cluster.pod(), "CreateContainerError", "context deadline exceeded");
    EXPECT_TRUE(run_until(loop, [this] { return ends > 0; }, 3s)) << "it is never given up";
    EXPECT_THAT(why(), HasSubstr("context deadline exceeded"));
}

TEST_F(KubernetesTest, ATimeThatIsOverBeforeItStartsSaysWhatItWaitedFor) {
    cluster.starts = false;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.pods_made > 0; }));
    run_for(loop, 50ms);
    attempt->stop(StopReason::kTimeout, 1s);
    finish();
    EXPECT_EQ(code(), ErrorCode::kTimeout);
    EXPECT_THAT(why(), HasSubstr("it had not started: its pod waits on "));
    EXPECT_THAT(why(), HasSubstr("ContainerCreating"));
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesTest, APodThatNoNodeTakesIsGivenUp) {
    options.schedule_timeout = 100ms;
    cluster.schedules = false;
    run();
    EXPECT_EQ(code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("no node takes its pod: 0/1 nodes are available"));
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);  // the cluster is there: nobody else is asked
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesTest, WhyNoPodIsMadeIsInTheEvents) {
    options.schedule_timeout = 100ms;
    cluster.makes_pods = false;
    cluster.events = {"older", "pods \"q\" is forbidden: exceeded quota"};
    run();
    EXPECT_EQ(code(), ErrorCode::kUnavailable);
    EXPECT_THAT(why(), HasSubstr("makes no pod"));
    EXPECT_THAT(why(), HasSubstr("exceeded quota"));
    EXPECT_TRUE(all_gone());
    cluster.misbehave["list_events"] = {0, refuse(403, "Forbidden", "events is forbidden")};
    run(2);
    EXPECT_THAT(why(), HasSubstr("may not list"));
    EXPECT_TRUE(all_gone());
    cluster.misbehave["list_events"] = {0, kClosed};
    run(3);
    EXPECT_THAT(why(), Not(HasSubstr("may not list")));
    EXPECT_FALSE(report.work_began);
}

TEST_F(KubernetesTest, APodThatComesLateIsWaitedForAndNotForEver) {
    options.schedule_timeout = 150ms;
    cluster.makes_pods = false;
    cluster.schedules = false;
    cluster.misbehave["list_events"] = {1, {.bytes = http::testing::reply_text(200, R"({"items":[]})"), .delay = 80ms}};
    start();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["list_events"] > 0; }));
    cluster.add_pod(cluster.job());  // while its absence is asked about
    EXPECT_TRUE(run_until(loop, [this] { return ends > 0; }, 3s)) << "it is never given up";
    EXPECT_THAT(why(), HasSubstr("no node takes its pod"));
}

// ---- stops

TEST_F(KubernetesTest, StoppedAtAnyStageNothingIsLeft) {
    options.call_timeout = 300ms;
    for (const std::string stage : {"list_jobs", "create_job", "list_pods", "pending", "running"}) {
        SCOPED_TRACE(stage);
        cluster.calls.clear();
        cluster.runs_on = true;
        cluster.starts = stage != "pending";
        static_cast<void>(runtime());
        if (stage == "list_jobs" || stage == "list_pods") cluster.misbehave[stage] = {1, kHeld};
        if (stage == "create_job") cluster.misbehave[stage] = {1, kHeld, true};
        start();
        if (stage == "running") {
            ASSERT_TRUE(running());
        } else {
            ASSERT_TRUE(run_until(loop, [&] { return cluster.calls[stage == "pending" ? "list_pods" : stage] > 0; }));
        }
        if (stage == "pending") run_for(loop, 20ms);
        attempt->stop(StopReason::kCancelled, 1s);
        finish();
        EXPECT_EQ(code(), ErrorCode::kCancelled) << why();
        EXPECT_FALSE(report.unavailable);
        EXPECT_FALSE(report.attempt.exit_code);
        attempt.reset();
        EXPECT_TRUE(all_gone());
        EXPECT_TRUE(run_until(loop, [this] { return !runtime().may_hold(ticket); }));
        cluster.misbehave.clear();
    }
}

TEST_F(KubernetesTest, AStopMayBeSaidTwice) {
    start_running();
    cluster.stops = false;
    attempt->stop(StopReason::kShutdown, 10s);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["delete_pod"] > 0; }));
    attempt->stop(StopReason::kCancelled, 0s);  // at once, please
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["delete_pod"] > 1; }));
    EXPECT_THAT(cluster.last["delete_pod"].body, HasSubstr("\"gracePeriodSeconds\":1"));
    EXPECT_THAT(cluster.last["delete_job"].body, HasSubstr("Foreground"));
    cluster.stops = true;
    cluster.remove_pod(cluster.pod());
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);  // the first reason counts
    EXPECT_THAT(why(), HasSubstr("shutting down"));
}

TEST_F(KubernetesTest, AStopAtTheEndChangesNothing) {
    start_running();
    cluster.misbehave["logs"] = {1, {.bytes = http::testing::reply_text(200, "out\nerr\n"), .delay = 60ms}};
    const int read = cluster.calls["logs"];
    cluster.end(cluster.pod(), 0);
    ASSERT_TRUE(run_until(loop, [&] { return cluster.calls["logs"] > read; }));
    attempt->stop(StopReason::kCancelled, 1s);
    EXPECT_TRUE(finish().success);
    attempt->stop(StopReason::kCancelled, 1s);
    run_for(loop, 20ms);
    EXPECT_EQ(ends, 1);
}

TEST_F(KubernetesTest, ItsOwnEndIsReportedAlsoWhileItIsStopped) {
    start_running();
    cluster.misbehave["delete_job"] = {1, {.bytes = http::testing::reply_text(503, ""), .delay = 50ms}};
    attempt->stop(StopReason::kCancelled, 1s);
    run_for(loop, 10ms);
    cluster.end(cluster.pod(), 5);
    finish();
    EXPECT_EQ(report.attempt.exit_code, 5);
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    attempt.reset();
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesTest, ATimeoutStopsAndRemoves) {
    cluster.runs_on = true;
    ticket.parameters["timeout_seconds"] = 0.2;
    run();
    EXPECT_EQ(code(), ErrorCode::kTimeout);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("0.200"));
    EXPECT_EQ(out(), "out\nerr\n");
    EXPECT_EQ(meta("timed_out"), "true");
    EXPECT_EQ(meta("effective_timeout_seconds"), "0.200");
    EXPECT_TRUE(report.work_began);
    EXPECT_FALSE(report.attempt.exit_code);
    EXPECT_TRUE(cluster.jobs.empty());  // it is gone before that is said
    EXPECT_TRUE(cluster.pods.empty());
}

TEST_F(KubernetesTest, APodThatDoesNotGoIsNotWaitedForForEver) {
    options.grace = 50ms;
    start_running();
    cluster.stops = false;
    attempt->stop(StopReason::kTimeout, 1s);
    finish();
    EXPECT_EQ(code(), ErrorCode::kTimeout);
    EXPECT_EQ(meta("cleanup"), "still under way");
    EXPECT_EQ(out(), "out\nerr\n");
    // Nothing else runs this ticket before it has gone.
    attempt.reset();
    EXPECT_TRUE(runtime().may_hold(ticket));
    start(2);
    run_for(loop, 100ms);
    EXPECT_EQ(cluster.made, 1);
    attempt->stop(StopReason::kCancelled, 1s);
    finish();
}

TEST_F(KubernetesTest, WhatIsOnItsWayOutIsWaitedFor) {
    start_running();
    crash();
    cluster.stops = false;
    ticket.parameters["command"] = json::array{"echo", "something else"};
    start(2);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["delete_job"] > 0; }));
    run_for(loop, 100ms);
    EXPECT_EQ(cluster.made, 1) << "two at a time";
    cluster.stops = true;
    cluster.runs_on = false;
    cluster.remove_pod(cluster.pod());
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(meta("adopted"), "false");
    EXPECT_EQ(cluster.made, 2);
}

// ---- create

TEST_F(KubernetesTest, ACreateWithoutAnAnswerIsLookedUp) {
    for (const bool was_made : {true, false}) {
        for (const Reaction& strange : {kClosed, http::testing::reply(504, "upstream timeout"),
                                        http::testing::reply(201, "{]"), http::testing::reply(200, "")}) {
            SCOPED_TRACE(was_made ? "made: " + strange.bytes : "not made: " + strange.bytes);
            cluster.misbehave["create_job"] = {1, strange, was_made};
            const int made = cluster.made;
            EXPECT_TRUE(run().success) << why();
            EXPECT_EQ(cluster.made, made + 1);
            settle();
        }
    }
}

TEST_F(KubernetesTest, ARefusedCreateIsNotTriedAgain) {
    cluster.misbehave["create_job"] = {0, refuse(422, "Invalid", "Job.batch is invalid: spec: Invalid value")};
    run();
    EXPECT_EQ(code(), ErrorCode::kInvalidArgument);
    EXPECT_FALSE(report.attempt.error->retryable());
    EXPECT_THAT(why(), HasSubstr("spec: Invalid value"));
    EXPECT_EQ(cluster.calls["create_job"], 1);
    cluster.misbehave["create_job"] = {0, refuse(403, "Forbidden", "cannot create resource \"jobs\"")};
    run();
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
    EXPECT_EQ(report.attempt.error->fault, Fault::kWorker);
    cluster.misbehave["create_job"] = {0, refuse(403, "Forbidden", "exceeded quota: nojobs")};
    EXPECT_TRUE(run().error->retryable());
    EXPECT_EQ(report.attempt.error->fault, Fault::kLimit);
    cluster.misbehave["create_job"] = {0, refuse(404, "NotFound", "namespaces \"tasks\" not found")};
    run();
    EXPECT_EQ(code(), ErrorCode::kNotFound);
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    EXPECT_FALSE(runtime().may_hold(ticket));
}

TEST_F(KubernetesTest, AStormOf429IsWeathered) {
    cluster.misbehave["create_job"] = {4, {.bytes = http::testing::reply_text(429, "", "Retry-After: 0\r\n")}};
    EXPECT_TRUE(run().success) << why();
    EXPECT_EQ(cluster.made, 1);
}

TEST_F(KubernetesTest, ANameInUseBySomebodyElseIsSaid) {
    cluster.add_job(kubernetes::job_name("domain", "t-1", 1), {}, {});
    run();
    EXPECT_EQ(code(), ErrorCode::kConflict);
    EXPECT_THAT(why(), HasSubstr("not this worker's"));
    EXPECT_FALSE(report.work_began);
    EXPECT_EQ(cluster.jobs.size(), 1U);
}

TEST_F(KubernetesTest, ATokenThatWasReplacedIsReadAgain) {
    EXPECT_TRUE(run().success);
    settle();
    cluster.token = "second-one";
    write_config("second-one");
    EXPECT_TRUE(run(2).success) << why();
    settle();
    // One that is not known any more.
    cluster.token = "third";
    run(3);
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
    EXPECT_EQ(report.attempt.error->fault, Fault::kWorker);
    EXPECT_THAT(report.attempt.error->describe(), Not(HasSubstr("second-one")));
}

}  // namespace
}  // namespace wa
