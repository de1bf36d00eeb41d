#include "runtimes/kubernetes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <filesystem>
#include <fstream>

#include "runtimes/testing/kubernetes_server.h"

namespace wa {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests
using http::testing::Reaction;
using http::testing::run_for;
using http::testing::run_until;
using kubernetes::testing::FakeCluster;
using kubernetes::testing::refuse;
using ::testing::HasSubstr;
using ::testing::Not;

const Reaction kClosed{.then = Reaction::Then::kClose};
const Reaction kHeld{.then = Reaction::Then::kHold};

class KubernetesTest : public ::testing::Test, public RuntimeListener {
public:
    ~KubernetesTest() override {
        crash();
        std::filesystem::remove_all(folder);
    }
    KubernetesTest(const KubernetesTest&) = delete;
    KubernetesTest& operator=(const KubernetesTest&) = delete;

protected:
    KubernetesTest() : cluster(loop), folder("/tmp/wa-kubernetes-test-" + std::to_string(::getpid())) {
        std::filesystem::remove_all(folder);
        std::filesystem::create_directories(folder);
        write_config("first");
        cluster.token = "first";
        options.enabled = true;
        options.access.kubeconfig = folder + "/config";
        options.name_space = "tasks";
        options.call_timeout = 2s;
        options.keeper.worker = "worker-a";
        options.keeper.domain = "domain";
        options.keeper.notes_folder = folder + "/notes";
        options.keeper.standing = [this](std::string_view) { return standing; };
        options.keeper.on_swept = [this](std::size_t count) { swept += count; };
        options.patience = 600ms;
        options.poll_interval = 50ms;
        options.grace = 1s;
        options.gone_limit = 300ms;
        options.log_look = 200ms;
        options.second_look = 200ms;
        options.first_wait = 5ms;
        options.probe_limit = 2s;
        options.probe_interval = 100ms;
        options.policy.backoff = {1ms, 5ms};
        options.policy.breaker_pause = 10ms;
        ticket.ticket_id = "t-1";
        ticket.plan_id = "p";
        ticket.task_id = "task";
        ticket.parameters = {{"command", json::array{"echo", "x"}}, {"image", "busybox:1"}};
    }
    void write_config(const std::string& token) const {
        std::ofstream(folder + "/next") << "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
                                           "contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\n"
                                           "clusters:\n- name: c\n  cluster:\n    server: "
                                        << cluster.url() << "\nusers:\n- name: u\n  user:\n    token: " << token
                                        << "\n";
        std::filesystem::rename(folder + "/next", folder + "/config");
    }
    KubernetesRuntime& runtime() {
        if (!runtime_) {
            client_ = std::make_unique<http::Client>(loop, clock, http::ClientOptions{});
            runtime_ = std::make_unique<KubernetesRuntime>(loop, clock, random, *client_, nullptr, options);
            bool begun = false;
            runtime_->begin([&begun] { begun = true; });
            EXPECT_TRUE(run_until(loop, [&begun] { return begun; }));
        }
        return *runtime_;
    }
    // As after kill -9: nothing is said to anybody.
    void crash() {
        attempt.reset();
        runtime_.reset();
        client_.reset();
    }
    void start(int number = 1) {
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        context.number = number;
        context.timeout_ms = 60'000;
        context.deadline = clock.now() + 60s;
        ends = 0;
        report = {};
        attempt = runtime().start(context, *this);
        EXPECT_EQ(ends, 0);
    }
    const AttemptReport& finish() {
        EXPECT_TRUE(run_until(loop, [this] { return ends > 0; }, 10s)) << "it did not end";
        run_for(loop, 20ms);
        EXPECT_EQ(ends, 1);
        EXPECT_EQ(report.attempt.success, !report.attempt.error.has_value());
        return report.attempt;
    }
    const AttemptReport& run(int number = 1) {
        start(number);
        return finish();
    }
    // Until a pod runs, and its log is read.
    void start_running(int number = 1) {
        cluster.runs_on = true;
        start(number);
        ASSERT_TRUE(running());
    }
    bool running() {
        return run_until(loop, [this] {
            return cluster.pods_made > 0 && !cluster.pods.empty() && !cluster.pods.begin()->second.readers.empty();
        });
    }
    void runtime_ended(AttemptKey, RuntimeReport ended) override {
        ++ends;
        report = std::move(ended);
    }
    bool all_gone() {
        return run_until(loop, [this] { return cluster.jobs.empty() && cluster.pods.empty(); }, 5s);
    }
    void settle() {
        attempt.reset();
        runtime().ticket_settled(ticket.ticket_id);
        EXPECT_TRUE(all_gone());
    }
    bool told_of(const std::string& words) const {
        for (const std::string& line : report.attempt.logs) {
            if (line.find(words) != std::string::npos) return true;
        }
        return false;
    }
    std::string meta(const std::string& name) const {
        const auto found = report.attempt.metadata.find(name);
        return found == report.attempt.metadata.end() ? "" : found->second;
    }
    std::string out() const {
        return report.attempt.output.contains("stdout") ? report.attempt.output.at("stdout") : "";
    }
    ErrorCode code() const { return report.attempt.error ? report.attempt.error->code : ErrorCode::kInternal; }
    std::string why() const { return report.attempt.error ? report.attempt.error->message : ""; }

    boost::asio::io_context loop{1};
    SystemClock clock;
    SeededRandom random{1};
    FakeCluster cluster;
    std::string folder;
    KubernetesOptions options;
    Ticket ticket;
    TicketStanding standing = TicketStanding::kOpen;
    std::size_t swept = 0;
    std::unique_ptr<RunningAttempt> attempt;
    RuntimeReport report;
    int ends = 0;

private:
    std::unique_ptr<http::Client> client_;
    std::unique_ptr<KubernetesRuntime> runtime_;
};

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

// ---- adoption

TEST_F(KubernetesTest, WhatRunsIsAdoptedAfterACrash) {
    start_running();
    crash();
    EXPECT_TRUE(runtime().may_hold(ticket));
    start(2);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["logs"] > 1; }));
    cluster.print(cluster.pod(), "more\n");
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(meta("adopted"), "true");
    EXPECT_EQ(meta("adopted_from_attempt"), "1");
    EXPECT_EQ(out(), "out\nerr\nmore\n");
    EXPECT_EQ(cluster.made, 1);
}

TEST_F(KubernetesTest, WhatEndedMeanwhileIsReportedAndNotRunAgain) {
    start_running();
    crash();
    cluster.end(cluster.pod(), 7);
    run_for(loop, 20ms);
    EXPECT_EQ(run(2).exit_code, 7);
    EXPECT_EQ(cluster.made, 1);
    EXPECT_EQ(out(), "out\nerr\n");
}

TEST_F(KubernetesTest, AnotherWorkersJobIsAdoptedAndRelabelled) {
    start_running();
    crash();
    std::filesystem::remove_all(options.keeper.notes_folder);  // this one is elsewhere
    options.keeper.worker = "worker-b";
    start(1);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["patch_job"] > 0; }));
    EXPECT_EQ(cluster.job().labels.at("neural-hive.io/worker").as_string(), "worker-b");
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["logs"] > 1; }));
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(cluster.made, 1);
    // Its maker comes back, and does not sweep what is not its own any more.
    crash();
    options.keeper.worker = "worker-a";
    standing = TicketStanding::kUnknown;
    static_cast<void>(runtime());
    run_for(loop, 100ms);
    EXPECT_EQ(cluster.jobs.size(), 1U);
}

TEST_F(KubernetesTest, WhatIsStoppedWhileItIsAdoptedIsStopped) {
    start_running();
    crash();
    std::filesystem::remove_all(options.keeper.notes_folder);
    options.keeper.worker = "worker-b";
    static_cast<void>(runtime());
    cluster.misbehave["patch_job"] = {1, {.bytes = http::testing::reply_text(200, "{}"), .delay = 80ms}};
    start(1);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["patch_job"] > 0; }));
    attempt->stop(StopReason::kCancelled, 1s);
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_TRUE(run_until(loop, [this] { return cluster.jobs.empty(); }, 1s)) << "it runs on";
}

TEST_F(KubernetesTest, WhatWasReportedIsNotAdoptedByTheNextAttempt) {
    cluster.exit_code = 3;
    EXPECT_EQ(run(1).exit_code, 3);
    cluster.exit_code = 0;
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(cluster.made, 2);
    // A source that counts attempts anew gives the name that is in use.
    EXPECT_TRUE(run(2).success) << why();
    EXPECT_EQ(cluster.made, 3);
}

TEST_F(KubernetesTest, OfTwoCandidatesTheOneThatRunsIsTaken) {
    start_running();
    const FakeCluster::Job first = cluster.job();
    crash();
    // One that ended, newer than it.
    FakeCluster::Job& other = cluster.add_job("exec-other-9", first.labels, first.annotations);
    cluster.end_job(other, "Failed", "BackoffLimitExceeded");
    start(3);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["logs"] > 1; }));
    EXPECT_TRUE(run_until(loop, [this] { return !cluster.jobs.contains("exec-other-9"); }));
    cluster.end(*cluster.pod_of(first.name), 0);
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(report.attempt.output.at("job_name"), first.name);
    EXPECT_EQ(cluster.made, 2);
}

// ---- the server is away

TEST_F(KubernetesTest, AServerThatIsAwayIsUnavailableOnlyBeforeAnythingBegan) {
    static_cast<void>(runtime());
    cluster.go_away();
    run();
    EXPECT_EQ(code(), ErrorCode::kUnavailable);
    EXPECT_EQ(report.unavailable, Unavailable::kUnreachable);
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(runtime().availability().available);
    cluster.listen();
    EXPECT_TRUE(run_until(loop, [this] { return runtime().availability().available; }));
}

TEST_F(KubernetesTest, AServerThatComesBackIsAskedWhatBecameOfIt) {
    start_running();
    cluster.go_away();
    run_for(loop, 150ms);
    EXPECT_EQ(ends, 0);
    cluster.end(cluster.pod(), 0);
    cluster.listen();
    EXPECT_TRUE(finish().success) << why();
    EXPECT_EQ(meta("contact_lost"), "true");
    EXPECT_EQ(out(), "out\nerr\n");
    EXPECT_EQ(meta("output_incomplete"), "");
    EXPECT_EQ(cluster.made, 1);
}

TEST_F(KubernetesTest, AServerThatStaysAwayEndsItAsUnknownAndTheNextAttemptLooks) {
    start_running();
    cluster.go_away();
    finish();
    EXPECT_EQ(code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(report.attempt.error->retryable());
    EXPECT_TRUE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    ASSERT_EQ(report.attempt.effects.size(), 1U);
    EXPECT_EQ(report.attempt.effects[0].kind, "job");
    // Nowhere else, as long as nobody knows: not even after a crash.
    crash();
    EXPECT_TRUE(runtime().may_hold(ticket));
    run(2);
    EXPECT_EQ(code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    cluster.end(cluster.pod(), 0);
    cluster.listen();
    EXPECT_TRUE(run(3).success) << why();
    EXPECT_EQ(cluster.made, 1);
}

TEST_F(KubernetesTest, AStopWaitsForAServerThatIsAway) {
    start_running();
    cluster.go_away();
    attempt->stop(StopReason::kCancelled, 1s);
    run_for(loop, 100ms);
    cluster.listen();
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_TRUE(cluster.jobs.empty());
}

TEST_F(KubernetesTest, AStopDuringTheLookFindsWhatRuns) {
    start_running();
    crash();
    cluster.go_away();
    start(2);
    attempt->stop(StopReason::kCancelled, 1s);
    run_for(loop, 100ms);
    EXPECT_EQ(ends, 0);  // nobody knows yet
    cluster.listen();
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_TRUE(cluster.jobs.empty());
}

TEST_F(KubernetesTest, AServerThatFailsNowAndThenIsAskedAgain) {
    // The watch is there and quiet; only what is asked for beside it fails.
    options.second_look = 400ms;
    options.patience = 300ms;
    start_running();
    cluster.misbehave["get_job"] = {3, http::testing::reply(500, "")};
    run_for(loop, 1000ms);
    EXPECT_EQ(ends, 0) << why();
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
}

// ---- output

TEST_F(KubernetesTest, SecretsAreMaskedAlsoWhenPiecesCutThem) {
    ticket.parameters["env_vars"] = json::object{{"MY_TOKEN", "very-secret-value"}};
    cluster.output = "a very-sec";
    start_running();
    cluster.print(cluster.pod(), "ret-value b");
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "a *** b");
}

TEST_F(KubernetesTest, ALogThatBreaksOffIsReadAgainWithoutRepeats) {
    start_running();
    cluster.print(cluster.pod(), "three\n");
    run_for(loop, 10ms);
    cluster.break_logs();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["logs"] > 1; }));
    cluster.print(cluster.pod(), "four\n");
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "out\nerr\nthree\nfour\n");
    EXPECT_EQ(meta("output_incomplete"), "");
}

TEST_F(KubernetesTest, ALogThatIsNotThereYetIsAskedForAgain) {
    cluster.misbehave["logs"] = {2, refuse(400, "BadRequest", "is waiting to start: ContainerCreating")};
    cluster.runs_on = true;
    start();
    ASSERT_TRUE(running());
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "out\nerr\n");
}

TEST_F(KubernetesTest, ALogThatNeverEndsIsLeft) {
    start_running();
    cluster.misbehave["logs"] = {0,
                                 {.bytes = kubernetes::testing::kChunked + kubernetes::testing::chunk("out\nerr\nx"),
                                  .then = Reaction::Then::kHold}};
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(meta("output_incomplete"), "true");
    EXPECT_EQ(out(), "out\nerr\nx");
}

TEST_F(KubernetesTest, WhatANodeSaysInPlaceOfALogIsNoOutput) {
    cluster.output = "";
    const Reaction lie =
        http::testing::reply(200, "unable to retrieve container logs for containerd://" + std::string(64, 'a'));
    start_running();
    cluster.print(cluster.pod(), "x");
    run_for(loop, 10ms);
    cluster.misbehave["logs"] = {0, lie};
    cluster.break_logs();
    const int read = cluster.calls["logs"];
    ASSERT_TRUE(run_until(loop, [&] { return cluster.calls["logs"] > read; }));
    run_for(loop, 20ms);
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "x");
    EXPECT_EQ(meta("output_incomplete"), "true");
    EXPECT_TRUE(told_of("unable to retrieve"));
}

TEST_F(KubernetesTest, OutputThatWasCutOffWithItsPodIsSaid) {
    start_running();
    cluster.misbehave["logs"] = {0, refuse(500, "InternalError", "no")};
    cluster.break_logs();
    run_for(loop, 30ms);
    cluster.print(cluster.pod(), "never seen\n");
    cluster.remove_job(cluster.job(), true);
    finish();
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_EQ(meta("output_incomplete"), "true");
}

TEST_F(KubernetesTest, OutputIsBounded) {
    cluster.output.clear();
    for (int at = 0; at < 2000; ++at)
        cluster.output += std::string(1023, 'x') + "\n";
    EXPECT_TRUE(run().success);
    EXPECT_LT(out().size(), 300'000U);
    EXPECT_EQ(meta("truncated"), "true");
    EXPECT_EQ(meta("stdout_bytes"), "2048000");
}

// ---- what is left

TEST_F(KubernetesTest, WhatHasEndedIsKeptOnRequest) {
    options.keeper.remove_ended = false;
    EXPECT_TRUE(run().success);
    attempt.reset();
    runtime().ticket_settled(ticket.ticket_id);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.job().labels.contains("neural-hive.io/kept"); }));
    // Nobody adopts it.
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(cluster.made, 2);
}

TEST_F(KubernetesTest, TheSweepTakesOnlyWhatNobodyWillAskFor) {
    const auto add = [this](const std::string& id, const std::string& worker, const std::string& domain) -> auto& {
        return cluster.add_job("job-" + id,
                               {{"app.kubernetes.io/managed-by", "worker-agents"},
                                {"neural-hive.io/worker", worker},
                                {"neural-hive.io/domain", domain}},
                               {{"neural-hive.io/ticket-id", id}});
    };
    add("gone", "worker-a", "domain");
    add("other", "worker-b", "domain");
    add("open", "worker-a", "domain");
    add("ended", "worker-a", "domain");
    add("elsewhere", "worker-a", "another");
    add("kept", "worker-a", "domain").labels["neural-hive.io/kept"] = "true";
    cluster.page_items = 2;
    options.keeper.standing = [](std::string_view id) {
        return id == "open" ? TicketStanding::kOpen : id == "ended" ? TicketStanding::kEnded : TicketStanding::kUnknown;
    };
    static_cast<void>(runtime());
    EXPECT_TRUE(run_until(loop, [this] { return swept == 2; }));
    for (const char* name : {"job-other", "job-open", "job-elsewhere", "job-kept"})
        EXPECT_TRUE(cluster.jobs.contains(name)) << name;
    EXPECT_EQ(cluster.jobs.size(), 4U);
}

TEST_F(KubernetesTest, LeavingFinishesWhatIsDueAsLongAsItMay) {
    EXPECT_TRUE(run().success);
    attempt.reset();
    runtime().ticket_settled(ticket.ticket_id);
    bool left = false;
    runtime().leave(5s, [&left] { left = true; });
    EXPECT_TRUE(run_until(loop, [&left] { return left; }));
    EXPECT_TRUE(cluster.jobs.empty());
    crash();
    EXPECT_TRUE(run(2).success);
    attempt.reset();
    cluster.silent = true;
    runtime().ticket_settled(ticket.ticket_id);
    left = false;
    runtime().leave(100ms, [&left] { left = true; });
    EXPECT_TRUE(run_until(loop, [&left] { return left; }, 2s));
}

// ---- the probe

TEST_F(KubernetesTest, WhatTheAccountLacksIsSaidUntilItIsGranted) {
    options.probe_interval = 30ms;
    cluster.denied = {"delete jobs", "get pods/log"};
    EXPECT_TRUE(runtime().availability().available);
    EXPECT_EQ(runtime().lacking(), "");  // a server that has just started forbids too much
    ASSERT_TRUE(run_until(loop, [this] { return !runtime().lacking().empty(); }));
    EXPECT_THAT(runtime().lacking(), ::testing::AllOf(HasSubstr("delete jobs"), HasSubstr("get pods/log")));
    EXPECT_THAT(runtime().place_shown(), HasSubstr("the account may not"));
    run();
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
    EXPECT_THAT(why(), HasSubstr("delete jobs"));
    EXPECT_EQ(cluster.made, 0);  // it could not be ended
    cluster.denied.clear();
    EXPECT_TRUE(run_until(loop, [this] { return runtime().lacking().empty(); }));
    EXPECT_TRUE(run().success) << why();
    EXPECT_THAT(runtime().place_shown(), HasSubstr("v1.35.4 at http://127.0.0.1"));
}

TEST_F(KubernetesTest, AnUnknownAccountIsNotThere) {
    cluster.token = "another";
    EXPECT_FALSE(runtime().availability().available);
    EXPECT_EQ(runtime().availability().reason, Unavailable::kUnreachable);
    EXPECT_THAT(runtime().availability().detail, Not(HasSubstr("first")));
    cluster.token = "first";
    EXPECT_TRUE(run_until(loop, [this] { return runtime().availability().available; }, 5s));
}

TEST_F(KubernetesTest, AServerThatSaysNothingIsNotWaitedForAtTheStart) {
    cluster.silent = true;
    options.probe_limit = 100ms;
    EXPECT_FALSE(runtime().availability().available);
}

// ---- a server that misbehaves at each step, once and for ever

struct Strange {
    const char* name;
    Reaction reaction;
    bool also_for_ever = false;
};

std::vector<Strange> strange_ways() {
    std::vector<Strange> ways;
    for (const int status : {400, 401, 403, 404, 409, 410, 429, 500, 503})
        ways.push_back({"status", refuse(status, "Reason", "the server's own words"), status == 403 || status == 500});
    ways.push_back({"wrong JSON", http::testing::reply(200, "{]"), true});
    ways.push_back(
        {"other JSON", http::testing::reply(200, R"({"metadata":{"name":5,"uid":[]},"items":{},"status":1})")});
    ways.push_back({"no items", http::testing::reply(200, R"({"metadata":{},"items":[{},{"metadata":7}]})"), true});
    ways.push_back({"201 and nothing", http::testing::reply(201, "")});
    ways.push_back({"closed", kClosed, true});
    ways.push_back(
        {"half an answer",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"kind\":", .then = Reaction::Then::kClose}});
    ways.push_back({"reset", {.bytes = "HTTP/1.1 200 OK\r\nContent-Le", .then = Reaction::Then::kReset}});
    ways.push_back({"not a byte", kHeld, true});
    ways.push_back({"no HTTP", {.bytes = "SSH-2.0-OpenSSH\r\n\r\n", .then = Reaction::Then::kClose}});
    ways.push_back({"header flood",
                    {.bytes = "HTTP/1.1 200 OK\r\n",
                     .then = Reaction::Then::kFlood,
                     .flood = "X-More: " + std::string(4000, 'y') + "\r\n"}});
    ways.push_back(
        {"endless body",
         {.bytes = "HTTP/1.1 200 OK\r\n\r\n", .then = Reaction::Then::kFlood, .flood = std::string(65536, '[')}});
    return ways;
}

TEST_F(KubernetesTest, WhateverTheServerDoesAnAttemptEndsOnceAndTruly) {
    options.patience = 100ms;
    options.call_timeout = 150ms;
    options.second_look = 50ms;
    options.log_look = 60ms;
    options.probe_interval = 1h;
    for (const std::string call :
         {"list_jobs", "create_job", "get_job", "watch_jobs", "list_pods", "watch_pods", "logs"}) {
        for (const Strange& way : strange_ways()) {
            for (const int times : {1, 0}) {
                if (times == 0 && !way.also_for_ever) continue;
                SCOPED_TRACE(call + ": " + way.name + " " + way.reaction.bytes.substr(0, 12) +
                             (times == 1 ? ", once" : ", for ever"));
                static_cast<void>(runtime());
                cluster.misbehave[call] = {times, way.reaction};
                cluster.made = 0;
                start();
                ASSERT_TRUE(run_until(loop, [this] { return ends > 0; }, 5s)) << "it did not end";
                run_for(loop, 2ms);
                EXPECT_EQ(ends, 1);
                const AttemptReport& ended = report.attempt;
                EXPECT_EQ(ended.success, !ended.error.has_value());
                // Success is never made up: the pod ran, and ended with 0.
                if (ended.success) {
                    EXPECT_EQ(ended.exit_code, 0);
                    // Whatever comes as a log with status 200 is one: nobody can tell.
                    if (call != "logs")
                        EXPECT_TRUE(meta("output_incomplete") == "true" || out() == "out\nerr\n") << out();
                }
                EXPECT_LE(cluster.made, 1);
                // Another runtime may take it only if nothing was ever made here.
                if (report.unavailable) EXPECT_EQ(cluster.made, 0);
                if (!report.work_began) EXPECT_FALSE(ended.exit_code);
                if (cluster.made > 0 && !report.work_began) EXPECT_EQ(cluster.pods_made, 0) << why();
                crash();
                cluster.misbehave.clear();
                cluster.jobs.clear();
                cluster.pods.clear();
                cluster.pods_made = 0;
                std::filesystem::remove_all(options.keeper.notes_folder);
            }
        }
    }
}

}  // namespace
}  // namespace wa
