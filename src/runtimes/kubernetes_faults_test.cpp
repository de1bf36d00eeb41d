// Crashes, servers that are away or misbehave, logs that break off, and what is left behind.
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

class KubernetesFaultsTest : public KubernetesCase {};

// ---- adoption

TEST_F(KubernetesFaultsTest, WhatRunsIsAdoptedAfterACrash) {
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

TEST_F(KubernetesFaultsTest, WhatIsAdoptedEndsWhenTheAttemptThatBeganItHadTo) {
    start_running();
    crash();
    cluster.job().annotations["neural-hive.io/deadline"] = std::to_string(clock.wall_now() + 200);
    run(2);
    EXPECT_EQ(code(), ErrorCode::kTimeout) << why();
    EXPECT_EQ(meta("timed_out"), "true");
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesFaultsTest, WhatIsAdoptedBeforeItRunsEndsThenToo) {
    cluster.schedules = false;
    start(1);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.pods_made > 0; }));
    crash();
    cluster.job().annotations["neural-hive.io/deadline"] = std::to_string(clock.wall_now() + 200);
    run(2);
    EXPECT_EQ(code(), ErrorCode::kTimeout) << why();
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesFaultsTest, TheTimeThatAnAdoptedOneHasRunCounts) {
    options.timeout = 10s;
    cluster.started_at = iso_timestamp(clock.wall_now() - 60'000);
    start_running();
    crash();
    run(2);
    EXPECT_EQ(code(), ErrorCode::kTimeout) << why();
    EXPECT_TRUE(all_gone());
}

TEST_F(KubernetesFaultsTest, WhatEndedMeanwhileIsReportedAndNotRunAgain) {
    start_running();
    crash();
    cluster.end(cluster.pod(), 7);
    run_for(loop, 20ms);
    EXPECT_EQ(run(2).exit_code, 7);
    EXPECT_EQ(cluster.made, 1);
    EXPECT_EQ(out(), "out\nerr\n");
}

TEST_F(KubernetesFaultsTest, AnotherWorkersJobIsAdoptedAndRelabelled) {
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

TEST_F(KubernetesFaultsTest, StoppedWhileItIsLookedForWhatAnotherWorkerBeganIsStopped) {
    start_running();
    crash();
    std::filesystem::remove_all(options.keeper.notes_folder);
    options.keeper.worker = "worker-b";
    static_cast<void>(runtime());
    start(1);
    attempt->stop(StopReason::kCancelled, 1s);
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_TRUE(run_until(loop, [this] { return cluster.jobs.empty(); }, 1s)) << "it runs on";
}

TEST_F(KubernetesFaultsTest, StoppedWhileTheClusterDoesNotSayWhatItHas) {
    static_cast<void>(runtime());
    cluster.silent = true;
    start(1);
    const MonoTime began = clock.now();
    attempt->stop(StopReason::kCancelled, 200ms);
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_LT(clock.now() - began, 1500ms) << "the grace is over";
    EXPECT_EQ(cluster.made, 0);
}

TEST_F(KubernetesFaultsTest, WhatIsStoppedWhileItIsAdoptedIsStopped) {
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

TEST_F(KubernetesFaultsTest, WhatWasReportedIsNotAdoptedByTheNextAttempt) {
    cluster.exit_code = 3;
    EXPECT_EQ(run(1).exit_code, 3);
    cluster.exit_code = 0;
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(cluster.made, 2);
    // A source that counts attempts anew gives the name that is in use.
    EXPECT_TRUE(run(2).success) << why();
    EXPECT_EQ(cluster.made, 3);
}

TEST_F(KubernetesFaultsTest, OfTwoCandidatesTheOneThatRunsIsTaken) {
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

TEST_F(KubernetesFaultsTest, AServerThatIsAwayIsUnavailableOnlyBeforeAnythingBegan) {
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

TEST_F(KubernetesFaultsTest, AServerThatComesBackIsAskedWhatBecameOfIt) {
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

TEST_F(KubernetesFaultsTest, AServerThatStaysAwayEndsItAsUnknownAndTheNextAttemptLooks) {
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

TEST_F(KubernetesFaultsTest, AStopWaitsForAServerThatIsAway) {
    start_running();
    cluster.go_away();
    attempt->stop(StopReason::kCancelled, 1s);
    run_for(loop, 100ms);
    cluster.listen();
    finish();
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    EXPECT_TRUE(cluster.jobs.empty());
}

TEST_F(KubernetesFaultsTest, AStopDuringTheLookFindsWhatRuns) {
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

TEST_F(KubernetesFaultsTest, AServerThatFailsNowAndThenIsAskedAgain) {
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

TEST_F(KubernetesFaultsTest, SecretsAreMaskedAlsoWhenPiecesCutThem) {
    ticket.parameters["env_vars"] = json::object{{"MY_TOKEN", "very-secret-value"}};
    cluster.output = "a very-sec";
    start_running();
    cluster.print(cluster.pod(), "ret-value b");
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "a *** b");
}

TEST_F(KubernetesFaultsTest, ALogThatBreaksOffIsReadAgainWithoutRepeats) {
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

TEST_F(KubernetesFaultsTest, ALogThatIsNotThereYetIsAskedForAgain) {
    cluster.misbehave["logs"] = {2, refuse(400, "BadRequest", "is waiting to start: ContainerCreating")};
    cluster.runs_on = true;
    start();
    ASSERT_TRUE(running());
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(out(), "out\nerr\n");
}

TEST_F(KubernetesFaultsTest, ALogThatNeverEndsIsLeft) {
    start_running();
    cluster.misbehave["logs"] = {0,
                                 {.bytes = kubernetes::testing::kChunked + kubernetes::testing::chunk("out\nerr\nx"),
                                  .then = Reaction::Then::kHold}};
    cluster.end(cluster.pod(), 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(meta("output_incomplete"), "true");
    EXPECT_EQ(out(), "out\nerr\nx");
}

TEST_F(KubernetesFaultsTest, WhatANodeSaysInPlaceOfALogIsNoOutput) {
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

TEST_F(KubernetesFaultsTest, OutputThatWasCutOffWithItsPodIsSaid) {
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

TEST_F(KubernetesFaultsTest, OutputIsBounded) {
    cluster.output.clear();
    for (int at = 0; at < 2000; ++at)
        cluster.output += std::string(1023, 'x') + "\n";
    EXPECT_TRUE(run().success);
    EXPECT_LT(out().size(), 300'000U);
    EXPECT_EQ(meta("truncated"), "true");
    EXPECT_EQ(meta("stdout_bytes"), "2048000");
}

// ---- what is left

TEST_F(KubernetesFaultsTest, WhatHasEndedIsKeptOnRequest) {
    options.keeper.remove_ended = false;
    EXPECT_TRUE(run().success);
    attempt.reset();
    runtime().ticket_settled(ticket.ticket_id, false);
    ASSERT_TRUE(run_until(loop, [this] { return cluster.job().labels.contains("neural-hive.io/kept"); }));
    // Nobody adopts it.
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(cluster.made, 2);
}

TEST_F(KubernetesFaultsTest, TheSweepTakesOnlyWhatNobodyWillAskFor) {
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

TEST_F(KubernetesFaultsTest, LeavingFinishesWhatIsDueAsLongAsItMay) {
    EXPECT_TRUE(run().success);
    attempt.reset();
    runtime().ticket_settled(ticket.ticket_id, false);
    bool left = false;
    runtime().leave(5s, [&left] { left = true; });
    EXPECT_TRUE(run_until(loop, [&left] { return left; }));
    EXPECT_TRUE(cluster.jobs.empty());
    crash();
    EXPECT_TRUE(run(2).success);
    attempt.reset();
    cluster.silent = true;
    runtime().ticket_settled(ticket.ticket_id, false);
    left = false;
    runtime().leave(100ms, [&left] { left = true; });
    EXPECT_TRUE(run_until(loop, [&left] { return left; }, 2s));
}

// ---- the probe

TEST_F(KubernetesFaultsTest, WhatTheAccountLacksIsSaidUntilItIsGranted) {
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

TEST_F(KubernetesFaultsTest, AnUnknownAccountIsNotThere) {
    cluster.token = "another";
    EXPECT_FALSE(runtime().availability().available);
    EXPECT_EQ(runtime().availability().reason, Unavailable::kUnreachable);
    EXPECT_THAT(runtime().availability().detail, Not(HasSubstr("first")));
    cluster.token = "first";
    EXPECT_TRUE(run_until(loop, [this] { return runtime().availability().available; }, 5s));
}

TEST_F(KubernetesFaultsTest, AServerThatSaysNothingIsNotWaitedForAtTheStart) {
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

TEST_F(KubernetesFaultsTest, WhateverTheServerDoesAnAttemptEndsOnceAndTruly) {
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
                    // Of a log whatever comes with 200 is its word.
                    if (call != "logs") EXPECT_EQ(out(), "out\nerr\n");
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
