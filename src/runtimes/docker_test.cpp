#include "runtimes/docker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <filesystem>

#include "runtimes/testing/docker_engine.h"

namespace wa {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests
using docker::testing::FakeEngine;
using docker::testing::frame;
using http::testing::Reaction;
using http::testing::run_for;
using http::testing::run_until;
using ::testing::HasSubstr;

class DockerTest : public ::testing::Test, public RuntimeListener {
public:
    ~DockerTest() override {
        attempt.reset();
        runtime_.reset();
        client_.reset();
        std::filesystem::remove_all(folder);
    }
    DockerTest(const DockerTest&) = delete;
    DockerTest& operator=(const DockerTest&) = delete;

protected:
    DockerTest() : engine(loop), folder("/tmp/wa-docker-test-" + std::to_string(::getpid())) {
        std::filesystem::remove_all(folder);
        options.enabled = true;
        options.api.endpoint = *docker::parse_endpoint("unix://" + engine.path, false);
        options.api.call_timeout = 2s;
        options.keeper.worker = "worker-a";
        options.keeper.domain = "domain";
        options.keeper.notes_folder = folder;
        options.keeper.standing = [this](std::string_view) { return standing; };
        options.keeper.on_swept = [this](std::size_t count) { swept += count; };
        options.patience = 600ms;
        options.grace = 1s;
        options.second_look = 100ms;
        options.first_wait = 5ms;
        options.probe_limit = 2s;
        ticket.ticket_id = "t-1";
        ticket.plan_id = "p";
        ticket.task_id = "task";
        ticket.parameters = {{"command", json::array{"echo", "x"}}, {"image", "busybox:1"}};
    }
    DockerRuntime& runtime() {
        if (!runtime_) {
            client_ = std::make_unique<http::Client>(loop, clock, http::ClientOptions{});
            runtime_ = std::make_unique<DockerRuntime>(loop, clock, *client_, nullptr, options);
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
        attempt = runtime().start(context, *this);
        EXPECT_EQ(ends, 0);
    }
    const AttemptReport& finish() {
        EXPECT_TRUE(run_until(loop, [this] { return ends > 0; }, 10s)) << "it did not end";
        run_for(loop, 30ms);
        EXPECT_EQ(ends, 1);
        return report.attempt;
    }
    const AttemptReport& run(int number = 1) {
        start(number);
        return finish();
    }
    void runtime_ended(AttemptKey, RuntimeReport ended) override {
        ++ends;
        report = std::move(ended);
    }
    void settle() {
        attempt.reset();
        runtime().ticket_settled(ticket.ticket_id, false);
        EXPECT_TRUE(run_until(loop, [this] { return engine.containers.empty(); }));
    }
    bool started() { return engine.made > 0 && engine.containers.begin()->second.starts > 0; }

    boost::asio::io_context loop{1};
    SystemClock clock;
    FakeEngine engine;
    std::string folder;
    DockerOptions options;
    Ticket ticket;
    TicketStanding standing = TicketStanding::kOpen;
    std::size_t swept = 0;
    std::unique_ptr<RunningAttempt> attempt;
    RuntimeReport report;
    int ends = 0;

private:
    std::unique_ptr<http::Client> client_;
    std::unique_ptr<DockerRuntime> runtime_;
};

TEST_F(DockerTest, OutputAndExitCodeAreTheContainersOwn) {
    const AttemptReport& good = run();
    EXPECT_TRUE(good.success) << good.error->message;
    EXPECT_EQ(good.exit_code, 0);
    EXPECT_EQ(good.output.at("stdout"), "out\n");
    EXPECT_EQ(good.output.at("stderr"), "err\n");
    EXPECT_EQ(good.runtime, "docker");
    EXPECT_EQ(good.metadata.at("image_pulled"), "false");
    EXPECT_EQ(good.metadata.at("truncated"), "false");
    // Kept until the result is committed: who crashes now finds it again.
    EXPECT_EQ(engine.containers.size(), 1U);
    EXPECT_TRUE(runtime().may_hold(ticket));
    settle();
    EXPECT_TRUE(run_until(loop, [this] { return !runtime().may_hold(ticket); }));
}

TEST_F(DockerTest, EndingsAreToldApart) {
    engine.exit_code = 3;
    const Error failed = *run().error;
    EXPECT_EQ(failed.code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(failed.fault, Fault::kTask);
    EXPECT_THAT(failed.message, HasSubstr("exit code 3: err"));
    settle();
    engine.exit_code = 137;
    engine.out_of_memory = true;
    const Error memory = *run().error;
    EXPECT_EQ(memory.fault, Fault::kLimit);
    EXPECT_THAT(memory.message, HasSubstr("memory ran out: it used all of its 512 MiB"));
    EXPECT_EQ(report.attempt.metadata.at("oom_killed"), "true");
    settle();
    // A child that was killed, and a command that went on.
    engine.exit_code = 0;
    EXPECT_TRUE(run().success);
    EXPECT_EQ(report.attempt.metadata.at("limits_reached"), "memory");
    settle();
    engine.out_of_memory = false;
    engine.exit_code = 137;
    EXPECT_THAT(run().error->message, HasSubstr("(signal 9)"));
    settle();
    // Told to by the engine, which was told by somebody else than us.
    engine.kill_event = R"({"Action":"kill","Actor":{"Attributes":{"signal":"15"}}})";
    engine.exit_code = 143;
    EXPECT_EQ(run().error->code, ErrorCode::kInterrupted);
}

TEST_F(DockerTest, AnImageThatIsMissingIsPulledOnce) {
    engine.has_image = false;
    options.auth = *RegistryAuth::parse(R"({"auths":{"docker.io":{"auth":"dTpzZWNyZXQ="}}})");
    EXPECT_TRUE(run().success);
    EXPECT_EQ(report.attempt.metadata.at("image_pulled"), "true");
    EXPECT_EQ(engine.calls["pull"], 1);
    EXPECT_FALSE(engine.last_auth.empty());
}

TEST_F(DockerTest, APullThatFailsInItsStreamIsAFailure) {
    engine.has_image = false;
    engine.pull_answer =
        "{\"status\":\"Pulling\"}\n{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest "
        "unknown\"}\n";
    const AttemptReport& failed = run();
    EXPECT_THAT(failed.error->message, HasSubstr("the image busybox:1 cannot be pulled: manifest unknown"));
    EXPECT_EQ(failed.error->code, ErrorCode::kNotFound);
    EXPECT_FALSE(failed.error->retryable()) << "the registry has spoken";
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    EXPECT_FALSE(runtime().may_hold(ticket));
    EXPECT_EQ(engine.made, 0);
}

TEST_F(DockerTest, ACommandThatCannotBeStartedHasBegunNothing) {
    engine.misbehave["start"] = {1, http::testing::reply(400, R"({"message":"exec: \"nope\": not found in $PATH"})")};
    const AttemptReport& failed = run();
    EXPECT_EQ(failed.error->code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(failed.error->retry, Retry::kNever);
    EXPECT_THAT(failed.error->message, HasSubstr("not found in $PATH"));
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    EXPECT_TRUE(run_until(loop, [this] { return engine.containers.empty(); }));
}

TEST_F(DockerTest, AnEngineThatIsAwayIsUnavailableOnlyBeforeAnythingBegan) {
    static_cast<void>(runtime());
    engine.go_away();
    EXPECT_EQ(run().error->code, ErrorCode::kUnavailable);
    EXPECT_EQ(report.unavailable, Unavailable::kUnreachable);
    EXPECT_FALSE(report.work_began);
    EXPECT_FALSE(runtime().availability().available);
    engine.listen();
    EXPECT_TRUE(run_until(loop, [this] { return runtime().availability().available; }));
}

TEST_F(DockerTest, WhatRunsIsAdoptedAfterACrash) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.runs_on = false;
    EXPECT_TRUE(runtime().may_hold(ticket));
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(report.attempt.metadata.at("adopted"), "true");
    EXPECT_EQ(report.attempt.metadata.at("adopted_from_attempt"), "1");
    EXPECT_EQ(report.attempt.output.at("stdout"), "out\n");
    EXPECT_EQ(engine.made, 1);
    EXPECT_EQ(engine.containers.begin()->second.starts, 1);
}

TEST_F(DockerTest, WhatIsAdoptedEndsWhenTheAttemptThatBeganItHadTo) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.containers.begin()->second.labels["neural-hive.io/deadline"] = std::to_string(clock.wall_now() + 200);
    EXPECT_EQ(run(2).error->code, ErrorCode::kTimeout);
    EXPECT_EQ(report.attempt.error->retry, Retry::kAfterBackoff);
    EXPECT_EQ(report.attempt.metadata.at("timed_out"), "true");
    EXPECT_TRUE(engine.containers.empty());
}

TEST_F(DockerTest, TheTimeThatAnAdoptedOneHasRunCounts) {
    options.timeout = 10s;
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.containers.begin()->second.started_at = iso_timestamp(clock.wall_now() - 60'000);
    EXPECT_EQ(run(2).error->code, ErrorCode::kTimeout);
    EXPECT_TRUE(engine.containers.empty());
}

TEST_F(DockerTest, WhatEndedMeanwhileIsReportedAndNotRunAgain) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.end(engine.containers.begin()->second, 7);
    EXPECT_EQ(run(2).exit_code, 7);
    EXPECT_EQ(engine.made, 1);
}

TEST_F(DockerTest, WhatWasReportedIsNotAdoptedByTheNextAttempt) {
    engine.exit_code = 3;
    EXPECT_EQ(run(1).exit_code, 3);
    engine.exit_code = 0;
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(engine.made, 2);
    // A source that counts attempts anew gives the name that is in use.
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(engine.made, 3);
}

TEST_F(DockerTest, OtherWorkUnderTheSameTicketIsNotTakenForIts) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.runs_on = false;
    ticket.parameters["command"] = json::array{"echo", "something else"};
    EXPECT_TRUE(run(2).success);
    EXPECT_EQ(report.attempt.metadata.at("adopted"), "false");
    EXPECT_EQ(engine.made, 2);
}

TEST_F(DockerTest, AnotherWorkersContainerIsAdoptedAndRenamed) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    engine.runs_on = false;
    options.keeper.worker = "worker-b";
    EXPECT_TRUE(run(1).success);
    EXPECT_EQ(engine.made, 1);
    EXPECT_EQ(engine.calls["rename"], 1);
    const std::string name = engine.containers.begin()->second.name;
    EXPECT_THAT(name, HasSubstr("-of-"));
    // Its maker comes back, and does not sweep what is not its own any more.
    crash();
    options.keeper.worker = "worker-a";
    standing = TicketStanding::kUnknown;
    static_cast<void>(runtime());
    run_for(loop, 200ms);
    EXPECT_EQ(engine.containers.size(), 1U);
}

TEST_F(DockerTest, ANameInUseBySomebodyElseIsSaid) {
    engine.add(docker::container_name("domain", "t-1", 1), {}, "running");
    EXPECT_EQ(run().error->code, ErrorCode::kConflict);
    EXPECT_THAT(report.attempt.error->message, HasSubstr("not this worker's"));
    EXPECT_FALSE(report.work_began);
    EXPECT_EQ(engine.containers.size(), 1U);
}

TEST_F(DockerTest, StoppedWhileItIsLookedForWhatAnotherWorkerBeganIsStopped) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    std::filesystem::remove_all(options.keeper.notes_folder);  // this one is elsewhere
    options.keeper.worker = "worker-b";
    static_cast<void>(runtime());
    start(1);
    attempt->stop(StopReason::kCancelled, 1s);
    EXPECT_EQ(finish().error->code, ErrorCode::kCancelled);
    EXPECT_TRUE(run_until(loop, [this] { return engine.containers.empty(); }, 1s)) << "it runs on";
}

TEST_F(DockerTest, StoppedWhileTheEngineDoesNotSayWhatItHas) {
    static_cast<void>(runtime());
    engine.misbehave["list"] = {0, {.then = Reaction::Then::kHold}};
    start(1);
    const MonoTime began = clock.now();
    attempt->stop(StopReason::kCancelled, 200ms);
    EXPECT_EQ(finish().error->code, ErrorCode::kCancelled);
    EXPECT_LT(clock.now() - began, 1500ms) << "the grace is over";
    EXPECT_EQ(engine.made, 0);
}

TEST_F(DockerTest, StoppedAtAnyStageNothingIsLeft) {
    for (const std::string stage : {"list", "pull", "create", "start", "wait"}) {
        SCOPED_TRACE(stage);
        engine.calls.clear();
        engine.runs_on = true;
        engine.has_image = stage != "pull";
        if (stage == "pull" || stage == "list") {
            engine.misbehave[stage] = {1, {.then = Reaction::Then::kHold}};
        } else if (stage != "wait") {
            engine.misbehave.clear();
        }
        start();
        ASSERT_TRUE(run_until(loop, [&] { return engine.calls[stage] > 0; }));
        attempt->stop(StopReason::kCancelled, 1s);
        EXPECT_EQ(finish().error->code, ErrorCode::kCancelled);
        attempt.reset();
        EXPECT_TRUE(run_until(loop, [this] { return engine.containers.empty(); }));
        engine.misbehave.clear();
    }
}

TEST_F(DockerTest, ATimeThatIsOverDuringThePullSaysSo) {
    engine.has_image = false;
    engine.misbehave["pull"] = {1, {.then = Reaction::Then::kHold}};
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["pull"] > 0; }));
    attempt->stop(StopReason::kTimeout, 1s);
    EXPECT_EQ(finish().error->code, ErrorCode::kTimeout);
    EXPECT_EQ(report.attempt.error->message, "the attempt's time was over; the image busybox:1 was still being pulled");
    EXPECT_FALSE(report.work_began);
}

TEST_F(DockerTest, ATimeoutStopsAndRemoves) {
    engine.runs_on = true;
    ticket.parameters["timeout_seconds"] = 0.2;
    EXPECT_EQ(run().error->code, ErrorCode::kTimeout);
    EXPECT_EQ(report.attempt.output.at("stdout"), "out\n");
    EXPECT_TRUE(report.work_began);
    EXPECT_TRUE(engine.containers.empty());
    EXPECT_FALSE(report.attempt.exit_code);
}

TEST_F(DockerTest, AStopThatIsRefusedBecomesAKill) {
    engine.runs_on = true;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    engine.misbehave["stop"] = {0, http::testing::reply(500, R"({"message":"cannot stop"})")};
    attempt->stop(StopReason::kTimeout, 1s);
    EXPECT_EQ(finish().error->code, ErrorCode::kTimeout);
    EXPECT_EQ(engine.calls["kill"], 1);
    EXPECT_TRUE(engine.containers.empty());
}

TEST_F(DockerTest, AnEngineThatComesBackIsAskedWhatBecameOfIt) {
    engine.runs_on = true;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    engine.go_away();
    run_for(loop, 150ms);
    EXPECT_EQ(ends, 0);
    engine.end(engine.containers.begin()->second, 0);
    engine.listen();
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(report.attempt.metadata.at("contact_lost"), "true");
    EXPECT_EQ(engine.made, 1);
}

TEST_F(DockerTest, AContainerThatItsEngineEndedIsInterrupted) {
    engine.runs_on = true;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    engine.go_away();
    run_for(loop, 100ms);
    engine.end(engine.containers.begin()->second, 137);
    engine.listen();
    EXPECT_EQ(finish().error->code, ErrorCode::kInterrupted);
    EXPECT_TRUE(report.attempt.error->retryable());
}

TEST_F(DockerTest, AnEngineThatStaysAwayEndsItAsUnknownAndTheNextAttemptLooks) {
    engine.runs_on = true;
    start(1);
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    engine.go_away();
    EXPECT_EQ(finish().error->code, ErrorCode::kUnavailable);
    EXPECT_TRUE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    ASSERT_EQ(report.attempt.effects.size(), 1U);
    EXPECT_EQ(report.attempt.effects[0].kind, "container");
    // Nowhere else, as long as nobody knows: not even after a crash.
    crash();
    static_cast<void>(runtime());
    EXPECT_TRUE(runtime().may_hold(ticket));
    EXPECT_EQ(run(2).error->code, ErrorCode::kUnavailable);
    EXPECT_TRUE(report.work_began);
    EXPECT_FALSE(report.unavailable);
    engine.runs_on = false;
    engine.listen();
    EXPECT_TRUE(run(3).success);
    EXPECT_EQ(engine.made, 1);
}

TEST_F(DockerTest, AContainerThatSomebodyRemovedIsSaid) {
    engine.runs_on = true;
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    engine.containers.clear();
    EXPECT_EQ(finish().error->code, ErrorCode::kInterrupted);
    EXPECT_THAT(report.attempt.error->message, HasSubstr("removed by somebody else"));
}

TEST_F(DockerTest, TheSweepTakesOnlyWhatNobodyWillAskFor) {
    const json::object mine{{"neural-hive.io/managed-by", "worker-agents"},
                            {"neural-hive.io/worker", "worker-a"},
                            {"neural-hive.io/domain", "domain"},
                            {"neural-hive.io/ticket-id", "gone"}};
    json::object other = mine;
    other["neural-hive.io/worker"] = "worker-b";
    json::object open = mine;
    open["neural-hive.io/ticket-id"] = "open";
    json::object ended = mine;
    ended["neural-hive.io/ticket-id"] = "ended";
    engine.add("mine", mine, "running");
    engine.add("other", other, "running");
    engine.add("open", open, "running");
    engine.add("ended", ended, "exited");
    engine.add("foreign", {}, "running");
    options.keeper.standing = [](std::string_view id) {
        return id == "open" ? TicketStanding::kOpen : id == "ended" ? TicketStanding::kEnded : TicketStanding::kUnknown;
    };
    static_cast<void>(runtime());
    EXPECT_TRUE(run_until(loop, [this] { return swept == 2; }));
    EXPECT_EQ(engine.find("mine"), nullptr);
    EXPECT_EQ(engine.find("ended"), nullptr);
    EXPECT_NE(engine.find("other"), nullptr);
    EXPECT_NE(engine.find("open"), nullptr);
    EXPECT_NE(engine.find("foreign"), nullptr);
}

TEST_F(DockerTest, WhatAnotherWorkerBeganForACancelledTicketGoes) {
    options.keeper.unknown_is_gone = false;  // as in a group
    options.probe_interval = 50ms;
    json::object label{{"neural-hive.io/managed-by", "worker-agents"},
                       {"neural-hive.io/worker", "worker-b"},
                       {"neural-hive.io/domain", "domain"},
                       {"neural-hive.io/deadline", std::to_string(clock.wall_now() + 3'600'000)},
                       {"neural-hive.io/ticket-id", "cancelled"}};
    engine.add("cancelled", label, "running");
    label["neural-hive.io/ticket-id"] = "goes on";
    engine.add("goes-on", label, "running");
    static_cast<void>(runtime());
    run_for(loop, 50ms);
    runtime().ticket_settled("completed here", false);
    EXPECT_EQ(engine.containers.size(), 2U);
    runtime().ticket_settled("cancelled", true);
    EXPECT_TRUE(run_until(loop, [this] { return engine.containers.size() == 1; }, 1s));
    EXPECT_NE(engine.find("goes-on"), nullptr);
    // An engine that is away is asked when it is back.
    engine.go_away();
    runtime().ticket_settled("goes on", true);
    run_for(loop, 50ms);
    engine.listen();
    EXPECT_TRUE(run_until(loop, [this] { return runtime().availability().available && engine.containers.empty(); }));
}

TEST_F(DockerTest, WhatAnEarlierProcessBeganForATicketThatEndedUntriedGoes) {
    engine.runs_on = true;
    start(1);
    EXPECT_TRUE(run_until(loop, [this] { return engine.calls["wait"] > 0; }));
    crash();
    standing = TicketStanding::kOpen;
    static_cast<void>(runtime());
    run_for(loop, 50ms);
    EXPECT_EQ(engine.containers.size(), 1U);
    standing = TicketStanding::kUnknown;
    runtime().ticket_settled(ticket.ticket_id, true);
    EXPECT_TRUE(run_until(loop, [this] { return engine.containers.empty(); }, 1s));
    EXPECT_TRUE(run_until(loop, [this] { return !runtime().may_hold(ticket); }, 1s));
}

TEST_F(DockerTest, WhereTicketsMoveTheSweepWaitsForTheDeadline) {
    json::object label{{"neural-hive.io/managed-by", "worker-agents"},
                       {"neural-hive.io/worker", "worker-a"},
                       {"neural-hive.io/domain", "domain"},
                       {"neural-hive.io/ticket-id", "moved"},
                       {"neural-hive.io/deadline", std::to_string(clock.wall_now() - 1000)}};
    engine.add("fresh", label, "running");
    label["neural-hive.io/deadline"] = std::to_string(clock.wall_now() - 3'600'000);
    engine.add("old", label, "running");
    options.keeper.unknown_is_gone = false;
    standing = TicketStanding::kUnknown;
    static_cast<void>(runtime());
    EXPECT_TRUE(run_until(loop, [this] { return swept == 1; }));
    EXPECT_EQ(engine.find("old"), nullptr);
    EXPECT_NE(engine.find("fresh"), nullptr);
}

TEST_F(DockerTest, LeavingFinishesWhatIsDue) {
    EXPECT_TRUE(run().success);
    attempt.reset();
    runtime().ticket_settled(ticket.ticket_id, false);
    bool left = false;
    runtime().leave(5s, [&left] { left = true; });
    EXPECT_TRUE(run_until(loop, [&left] { return left; }));
    EXPECT_TRUE(engine.containers.empty());
}

TEST_F(DockerTest, SecretsAreMaskedAlsoWhenFramesCutThem) {
    ticket.parameters["env_vars"] = json::object{{"MY_TOKEN", "very-secret-value"}};
    engine.output = frame(1, "a very-sec") + frame(2, "very-secret-value") + frame(1, "ret-value b");
    EXPECT_TRUE(run().success);
    EXPECT_EQ(report.attempt.output.at("stdout"), "a *** b");
    EXPECT_EQ(report.attempt.output.at("stderr"), "***");
}

TEST_F(DockerTest, ALogThatBreaksOffIsReadAgainWithoutRepeats) {
    engine.runs_on = true;
    engine.misbehave["logs"] = {
        1,
        {.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + frame(1, "out") + "\r\n",
         .then = Reaction::Then::kReset}};
    start();
    ASSERT_TRUE(run_until(loop, [this] { return engine.calls["logs"] > 1; }));
    engine.end(engine.containers.begin()->second, 0);
    EXPECT_TRUE(finish().success);
    EXPECT_EQ(report.attempt.output.at("stdout"), "out\n");
    EXPECT_FALSE(report.attempt.metadata.contains("output_incomplete"));
}

TEST_F(DockerTest, OutputIsBounded) {
    engine.output.clear();
    for (int at = 0; at < 2000; ++at)
        engine.output += frame(1, std::string(1023, 'x') + "\n");
    EXPECT_TRUE(run().success);
    EXPECT_LT(report.attempt.output.at("stdout").size(), 300'000U);
    EXPECT_EQ(report.attempt.metadata.at("truncated"), "true");
    EXPECT_EQ(report.attempt.metadata.at("stdout_bytes"), "2048000");
}

// A log that is followed may lose its end or repeat itself when the engine begins another file; a second look cannot
// tell, as the beginning is gone by then.
TEST_F(DockerTest, OutputThatTheEngineDoesNotKeepIsNotCalledComplete) {
    engine.output.clear();
    for (int at = 0; at < 144; ++at)
        engine.output += frame(1, std::string(65535, 'x') + "\n");
    EXPECT_TRUE(run().success);
    EXPECT_EQ(report.attempt.metadata.at("output_incomplete"), "true");
    EXPECT_EQ(report.attempt.metadata.at("stdout_bytes"), std::to_string(144 * 65536));
}

// ---- an engine that misbehaves at each step, once and for ever

struct Strange {
    const char* name;
    Reaction reaction;
};

std::vector<Strange> strange_ways() {
    std::vector<Strange> ways;
    for (const int status : {400, 401, 404, 409, 500, 503})
        ways.push_back({"status", http::testing::reply(status, R"({"message":"the engine's own words"})")});
    ways.push_back({"wrong JSON", http::testing::reply(200, "{]")});
    ways.push_back({"other JSON", http::testing::reply(200, R"({"Id":5,"State":[],"StatusCode":"x"})")});
    ways.push_back({"201 and nothing", http::testing::reply(201, "")});
    ways.push_back({"closed", {.then = Reaction::Then::kClose}});
    ways.push_back(
        {"half an answer",
         {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":", .then = Reaction::Then::kClose}});
    ways.push_back({"reset", {.bytes = "HTTP/1.1 200 OK\r\nContent-Le", .then = Reaction::Then::kReset}});
    ways.push_back({"no HTTP", {.bytes = "SSH-2.0-OpenSSH\r\n\r\n", .then = Reaction::Then::kClose}});
    ways.push_back({"header flood",
                    {.bytes = "HTTP/1.1 200 OK\r\n",
                     .then = Reaction::Then::kFlood,
                     .flood = "X-More: " + std::string(4000, 'y') + "\r\n"}});
    ways.push_back(
        {"endless body",
         {.bytes = "HTTP/1.1 200 OK\r\n\r\n", .then = Reaction::Then::kFlood, .flood = std::string(65536, '[')}});
    ways.push_back({"broken frames", http::testing::reply(200, "\x07 these are no frames at all")});
    return ways;
}

TEST_F(DockerTest, WhateverTheEngineDoesAnAttemptEndsOnceAndTruly) {
    options.patience = 200ms;
    options.api.call_timeout = 500ms;
    static_cast<void>(runtime());
    for (const std::string call : {"list", "create", "start", "wait", "inspect", "logs"}) {
        for (const Strange& way : strange_ways()) {
            for (const int times : {1, 0}) {
                SCOPED_TRACE(call + ": " + way.name + ", " + (times == 1 ? "once" : "for ever"));
                engine.misbehave[call] = {times, way.reaction};
                const int made = engine.made;
                run();
                const AttemptReport& ended = report.attempt;
                EXPECT_EQ(ended.success, !ended.error.has_value());
                // Success is never made up: the container ran, and ended with 0.
                if (ended.success) EXPECT_EQ(ended.exit_code, 0);
                EXPECT_LE(engine.made, made + 1);
                for (const auto& [id, container] : engine.containers)
                    EXPECT_LE(container.starts, 1);
                // Another runtime may take it only if nothing was ever made here.
                if (report.unavailable) EXPECT_EQ(engine.made, made);
                if (!report.work_began) EXPECT_FALSE(ended.exit_code);
                engine.misbehave.clear();
                attempt.reset();
                engine.containers.clear();
                runtime().ticket_settled(ticket.ticket_id, false);
                run_for(loop, 20ms);
            }
        }
    }
}

}  // namespace
}  // namespace wa
