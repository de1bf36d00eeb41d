// Whole commands against a server that says what the test wants.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>

#include "cli/client.h"
#include "cli/exit_codes.h"
#include "cli/testing/fake_console.h"
#include "cli/testing/stub_server.h"

namespace wa::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using testing::FakeConsole;
using testing::fixed;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using testing::StubRequest;
using testing::StubServer;

class FixedClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return std::chrono::steady_clock::now(); }
    [[nodiscard]] EpochMillis wall_now() const override { return 1'785'851'600'000; }
};

constexpr std::int64_t kNow = 1'785'851'600'000;
const char* const kId = "3f9a01c2-6a0e-4a5b-9d7e-0b9d5a1c2f10";

struct Ran {
    int code = 0;
    std::string out;
    std::string err;
};

class Commands : public ::testing::Test {
protected:
    Commands() : folder_(std::filesystem::temp_directory_path() / ("wa-commands-" + std::to_string(::getpid()))) {
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
        environment_["XDG_STATE_HOME"] = folder_.string();
        environment_["HOME"] = folder_.string();
    }
    ~Commands() override { std::filesystem::remove_all(folder_); }

    Ran run(std::vector<std::string> args, const std::string& server = {}) {
        if (!server.empty()) {
            args.emplace_back("--server");
            args.push_back(server);
        }
        auto parsed = parse_command_line(args, environment_);
        if (const auto* answered = std::get_if<Answered>(&parsed))
            return {answered->exit_code, answered->out, answered->err};
        console_.out_text.clear();
        console_.err_text.clear();
        SeededRandom random(1);
        const ClientContext context{console_, clock_, random, environment_, {.version = "1.2.3", .commit = "abc"}};
        const int code = run_client(std::get<Invocation>(parsed), context);
        return {code, console_.out_text, console_.err_text};
    }
    std::string file(const std::string& name, const std::string& text) {
        const std::string path = (folder_ / name).string();
        std::ofstream(path) << text;
        return path;
    }

    std::filesystem::path folder_;
    config::Environment environment_;
    FakeConsole console_;
    FixedClock clock_;
};

std::string ticket(const std::string& id, const std::string& task, const std::string& phase,
                   const std::string& more = "") {
    const std::string status = phase == "completed" ? "COMPLETED"
                               : phase == "running" ? "RUNNING"
                               : phase == "failed"  ? "FAILED"
                                                    : "PENDING";
    return R"({"ticket_id":")" + id + R"(","task_id":")" + task + R"(","task_type":"EXECUTE","status":")" + status +
           R"(","phase":")" + phase + R"(","attempts":1,"sla":{"max_retries":3,"timeout_ms":60000},"created_at":)" +
           std::to_string(kNow - 70'000) + more + "}";
}

TEST_F(Commands, TicketsAreListedInColumns) {
    StubServer server(
        fixed({{"GET /api/v1/tickets?limit=100",
                {200, R"({"tickets":[)" +
                          ticket(kId, "fetch", "completed", R"(,"actual_duration_ms":800,"worker":"wa-1")") + "," +
                          ticket("c92e6610-0000-4000-8000-000000000000", "deploy", "waiting",
                                 R"(,"why":"needs \u001b[31mlint\nx")") +
                          R"(],"total":2,"offset":0,"limit":100})"}}}));
    console_.terminal = true;
    const Ran shown = run({"tickets", "ls", "--no-color"}, server.url());
    EXPECT_EQ(shown.code, 0);
    EXPECT_EQ(shown.out,
              "ID        TASK    TYPE     STATE        TRY  AGE  RUN   SLA  WORKER  WHY\n"
              "3f9a01c2  fetch   EXECUTE  ✔ completed  1/4  70s  0.8s  ok   wa-1    -\n"
              "c92e6610  deploy  EXECUTE  ○ waiting    1/4  70s  -     -    -       needs \\x1b[31mlint\n");
    EXPECT_EQ(shown.err, "2 tickets (1 completed, 1 waiting)      next: tickets explain c92e6610\n");
    console_.terminal = false;
    const Ran piped = run({"tickets", "ls"}, server.url());
    EXPECT_THAT(piped.out, HasSubstr("3f9a01c2  fetch   EXECUTE  completed  1/4  2026-08-04T13:52:10.000Z  0.8s"));
    EXPECT_EQ(run({"tickets", "ls", "-o", "name"}, server.url()).out,
              std::string(kId) + "\nc92e6610-0000-4000-8000-000000000000\n");
    EXPECT_THAT(run({"tickets", "ls", "--json"}, server.url()).out, StartsWith(R"({"tickets":[{"ticket_id":")"));
    const std::string lines = run({"tickets", "ls", "-o", "jsonl"}, server.url()).out;
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
    EXPECT_THAT(run({"tickets", "ls", "-o", "yaml"}, server.url()).out, StartsWith("tickets:\n  - ticket_id: "));
    EXPECT_EQ(run({"tickets", "ls", "--columns", "task,state", "--no-headers"}, server.url()).out,
              "fetch   completed\ndeploy  waiting\n");
    EXPECT_EQ(run({"tickets", "ls", "--columns", "nope"}, server.url()).code, 2);
}

TEST_F(Commands, IdsByPrefixAliasAndAmbiguity) {
    const std::string list = R"({"tickets":[)" + ticket(kId, "a", "running") + "," +
                             ticket("3f9abbbb", "b", "running") + "," + ticket("99990000", "c", "completed") +
                             R"(],"total":3})";
    StubServer server(
        fixed({{"GET /api/v1/tickets?limit=1000&view=summary", {200, list}},
               {"GET /api/v1/tickets?limit=1000&view=summary&text=3f9a", {200, list}},
               {"GET /api/v1/tickets?limit=1000&view=summary&text=9999", {200, list}},
               {"GET /api/v1/tickets?limit=1000&view=summary&text=abcd", {200, list}},
               {"GET /api/v1/tickets?limit=1000&view=summary&text=zzzz", {200, list}},
               {"GET /api/v1/plans?limit=1000", {200, R"({"plans":[],"total":0})"}},
               {"GET /api/v1/tickets/99990000", {200, ticket("99990000", "c", "completed")}},
               {"GET /api/v1/tickets/99990000/explain", {200, R"({"summary":"done","conditions":[]})"}},
               {"GET /api/v1/tickets/" + std::string(kId), {200, ticket(kId, "a", "running")}},
               {"GET /api/v1/tickets/" + std::string(kId) + "/explain", {200, R"({"summary":"it runs"})"}}}));
    EXPECT_EQ(run({"tickets", "explain", "9999"}, server.url()).out, "done\n");
    EXPECT_EQ(run({"tickets", "explain", "@latest"}, server.url()).out, "it runs\n");
    EXPECT_EQ(run({"tickets", "explain", kId}, server.url()).out, "it runs\n");
    const Ran ambiguous = run({"tickets", "explain", "3f9a"}, server.url());
    EXPECT_EQ(ambiguous.code, 5);
    EXPECT_THAT(ambiguous.err, HasSubstr("more than one ticket"));
    EXPECT_THAT(ambiguous.err, HasSubstr("3f9abbbb"));
    EXPECT_EQ(run({"tickets", "explain", "abcd"}, server.url()).code, 5);
    EXPECT_THAT(run({"tickets", "explain", "3f9"}, server.url()).err, HasSubstr("at least 4"));
    EXPECT_EQ(run({"tickets", "explain", "3f9"}, server.url()).code, 5);
    EXPECT_EQ(run({"tickets", "explain", "@first"}, server.url()).code, 2);
    EXPECT_EQ(run({"status", "zzzz"}, server.url()).code, 5);
}

TEST_F(Commands, OneTicketAsAPage) {
    const std::string more =
        R"(,"plan_id":"hello-7Q2M","intent_id":"i-204","worker":"wa-1","dependencies":["77b1d0e4-1111"],)"
        R"("result":{"output":{"artifact":"app\u001b[2J"}},"error_message":"exit code 1")";
    StubServer server(fixed(
        {{"GET /api/v1/tickets/" + std::string(kId), {200, ticket(kId, "build", "failed", more)}},
         {"GET /api/v1/tickets/" + std::string(kId) + "/attempts",
          {200,
           R"({"attempts":[{"number":1,"started_at":1785851531904,"ended_at":1785851544104,"queued_ms":100,)"
           R"("outcome":"failed","fault":"service","error":"HTTP 503","retryable":true,"next_try_at":1785851546104},)"
           R"({"number":2,"started_at":1785851546104,"ended_at":1785851587104,"queued_ms":2000,"outcome":"failed","exit_code":1}]})"}}}));
    const Ran shown = run({"tickets", "show", kId}, server.url());
    EXPECT_EQ(shown.code, 0);
    EXPECT_EQ(shown.out,
              "build                                             3f9a01c2-6a0e-4a5b-9d7e-0b9d5a1c2f10\n"
              "State      FAILED  (phase failed)                Plan hello-7Q2M  Intent i-204\n"
              "Type       EXECUTE                               Worker wa-1\n"
              "SLA        timeout 1m00s · tries 1 of 4\n"
              "Received   2026-08-04T13:52:10.000Z\n"
              "Depends on 77b1d0e4\n"
              "Why        exit code 1\n"
              "\n"
              "TRY  STARTED        QUEUED  RAN    END     CAUSE\n"
              "1    13:52:11.904Z  0.1s    12.2s  failed  service: HTTP 503, retryable; next try after 2.0s\n"
              "2    13:52:26.104Z  2.0s    41.0s  failed  exit code 1\n"
              "\n"
              "Output     artifact=app\\x1b[2J \n");
}

TEST_F(Commands, ExplainShowsConditions) {
    StubServer server(fixed(
        {{"GET /api/v1/tickets/" + std::string(kId), {200, ticket(kId, "smoke", "waiting")}},
         {"GET /api/v1/tickets/" + std::string(kId) + "/explain",
          {200,
           R"({"summary":"smoke cannot start","phase":"unroutable","reason":"no-worker","conditions":[)"
           R"({"name":"dependencies","met":true,"detail":"all done"},{"name":"slot","met":false,"detail":"5 of 5 busy"},)"
           R"({"name":"SLA","met":null,"detail":"9m left"}],"fix":"start a worker"})"}}}));
    EXPECT_EQ(run({"tickets", "explain", kId}, server.url()).out,
              "smoke cannot start\n\n✔ dependencies  all done\n✖ slot          5 of 5 busy\n- SLA           9m "
              "left\n\nfix: start a worker\n");
}

TEST_F(Commands, SubmitSendsTheFileAsItIs) {
    StubServer server(
        fixed({{"POST /api/v1/plans", {201, R"({"plan_id":"hello-1","tickets":{"a":"id-a","b":"id-b"}})"}},
               {"POST /api/v1/tickets", {201, ticket(kId, "solo", "pending")}}}));
    const std::string plan = file("hello.yaml", "plan: hello\ntickets:\n  a: {run: [sh, -c, x]}\n");
    const Ran sent = run({"submit", plan}, server.url());
    EXPECT_EQ(sent.code, 0) << sent.err;
    EXPECT_EQ(sent.out, "PLAN     TASK  TICKET\nhello-1  a     id-a\nhello-1  b     id-b\n");
    EXPECT_EQ(sent.err, "next: worker-agents plans watch hello-1\n");
    EXPECT_EQ(server.requests().back().body, "plan: hello\ntickets:\n  a: {run: [sh, -c, x]}\n");
    EXPECT_THAT(server.requests().back().head, HasSubstr("Content-Type: application/yaml"));
    EXPECT_EQ(run({"submit", plan, "-o", "name"}, server.url()).out, "hello-1\n");
    EXPECT_EQ(run({"submit", plan, "--json"}, server.url()).out,
              R"({"plan_id":"hello-1","tickets":{"a":"id-a","b":"id-b"}})"
              "\n");

    EXPECT_EQ(run({"submit", file("t.json", R"({"task_type":"EXECUTE"})"), "-o", "name"}, server.url()).out,
              std::string(kId) + "\n");
    EXPECT_EQ(server.requests().back().target, "/api/v1/tickets");
    console_.input = R"([{"task_type":"EXECUTE"}])";
    EXPECT_EQ(run({"submit", "-"}, server.url()).code, 0);
    EXPECT_EQ(server.requests().back().body, R"({"tickets": [{"task_type":"EXECUTE"}]})");
    EXPECT_THAT(server.requests().back().head, HasSubstr("Content-Type: application/json"));
}

TEST_F(Commands, RefusedSubmitsSayWhereAndWhatToDo) {
    StubServer server(fixed(
        {{"POST /api/v1/plans",
          {422,
           R"({"title":"Unprocessable","detail":"the plan is not valid","errors":[{"field":"tickets.a.needs","message":"unknown \"b\""}]})"}}}));
    const Ran sent = run({"submit", file("bad.yaml", "tickets:\n  a: {run: [sh], needs: [b]}\n")}, server.url());
    EXPECT_EQ(sent.code, 1);
    EXPECT_EQ(sent.out, "");
    EXPECT_THAT(sent.err, HasSubstr("bad.yaml:2:"));  // line and column from the local check
    EXPECT_THAT(sent.err, HasSubstr("cannot submit "));
    // The server's list says the same once more: it is shown only where the local check finds nothing.
    EXPECT_THAT(sent.err, HasSubstr("  the plan is not valid\n"));
    EXPECT_THAT(sent.err, Not(HasSubstr("tickets.a.needs: unknown")));
    const Ran refused = run({"submit", file("good.yaml", "tickets:\n  a: {run: [sh]}\n")}, server.url());
    EXPECT_THAT(refused.err, HasSubstr("  the plan is not valid\n    tickets.a.needs: unknown \"b\"\n"));
    EXPECT_EQ(run({"submit", (folder_ / "none.yaml").string()}, server.url()).code, 5);
    EXPECT_EQ(run({"submit", file("x.yaml", "a: 1")}, "http://127.0.0.1:1").code, 7);
}

TEST_F(Commands, FailuresHaveThreeParts) {
    StubServer server(fixed({{"GET /api/v1/status", {401, R"({"detail":"no \u001b[2Jtoken"})"}}}));
    const Ran shown = run({"status"}, server.url());
    EXPECT_EQ(shown.code, 4);
    EXPECT_EQ(
        shown.err,
        "cannot tell the worker's status\n  no \\x1b[2Jtoken\nfix: give --token-file, or --state-dir of the worker\n");
    StubServer html([](const StubRequest&, int connection) {
        StubServer::write(connection, StubServer::answer(200, "<html>", "text/html"));
    });
    const Ran foreign = run({"tickets", "ls"}, html.url());
    EXPECT_EQ(foreign.code, 1);
    EXPECT_THAT(foreign.err, HasSubstr("is something else listening"));
}

// A plan of two tickets: the second look finds it ended.
StubServer::Handler living_plan(const std::string& last_phase, std::atomic<int>& looks) {
    return [last_phase, &looks](const StubRequest& request, int connection) {
        const auto say = [connection](const std::string& body, const std::string& type = "application/json") {
            StubServer::write(connection, StubServer::answer(200, body, type));
        };
        if (request.target.starts_with("/api/v1/plans/p-1")) {
            const bool over = ++looks > 3;
            say(R"({"plan_id":"p-1","created_at":)" + std::to_string(kNow - 5000) +
                R"(,"total":2,"critical_path":["build","tests"],"nodes":[)" +
                ticket("id-build", "build", over ? "completed" : "running", R"(,"actual_duration_ms":1000)") + "," +
                ticket("id-tests", "tests", over ? last_phase : "waiting", R"(,"why":"needs build")") + "]}");
        } else if (request.target.starts_with("/api/v1/events")) {
            StubServer::write(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n");
            for (int i = 1; i < 20; ++i) {
                StubServer::write(connection, "id: " + std::to_string(i) + "\nevent: ticket\ndata: {}\n\n");
                ::usleep(30'000);
            }
        } else if (request.target == "/api/v1/tickets/id-tests/attempts") {
            say(R"([{"number":1,"outcome":"failed","exit_code":3,"error":"exit code 3"}])");
        } else if (request.target == "/api/v1/tickets/id-tests/logs?tail=20&stream=err") {
            say("line one\nlast \x1b[31mwords\n", "text/plain");
        } else if (request.target.starts_with("/api/v1/tickets/id-build/logs")) {
            say("hello from build\n", "text/plain");
        } else if (request.target.starts_with("/api/v1/tickets/id-tests/logs")) {
            say("hello from tests\n", "text/plain");
        } else if (request.target == "/api/v1/plans") {
            StubServer::write(
                connection,
                StubServer::answer(201, R"({"plan_id":"p-1","tickets":{"build":"id-build","tests":"id-tests"}})"));
        } else {
            StubServer::write(connection, StubServer::answer(404, R"({"detail":"no such thing"})"));
        }
    };
}

// These start before any other thread so that every thread inherits the blocked signals, as in the real program.
class Watching : public Commands {
    InterruptWatch interrupts_;
};

TEST_F(Watching, APlanThatSucceeds) {
    std::atomic<int> looks = 0;
    StubServer server(living_plan("completed", looks));
    const Ran watched = run({"plans", "watch", "p-1"}, server.url());
    EXPECT_EQ(watched.code, 0) << watched.err;
    EXPECT_EQ(watched.out,
              "▶ build  running\n"
              "○ tests  waiting: needs build\n"
              "✔ build  completed  1.0s\n"
              "✔ tests  completed\n");
    EXPECT_THAT(watched.err, HasSubstr("all 2 completed"));
}

TEST_F(Watching, AFailureEndsWithWhatToDo) {
    std::atomic<int> looks = 0;
    StubServer server(living_plan("failed", looks));
    const Ran sent =
        run({"submit", file("p.yaml", "plan: p\ntickets: {build: {run: [sh]}}\n"), "--wait"}, server.url());
    EXPECT_EQ(sent.code, 3);
    EXPECT_EQ(sent.out, "PLAN  TASK   TICKET\np-1   build  id-build\np-1   tests  id-tests\n");
    EXPECT_THAT(sent.err, HasSubstr("✖ tests  failed"));
    EXPECT_THAT(
        sent.err,
        EndsWith(
            "  line one\n  last \\x1b[31mwords\n"
            "tests failed (exit code 3): last \\x1b[31mwords; run it again: worker-agents plans retry p-1 --failed\n"));
}

TEST_F(Watching, SimulatedIsNoSuccess) {
    std::atomic<int> looks = 0;
    StubServer server(living_plan("simulated", looks));
    const Ran watched = run({"plans", "watch", "p-1"}, server.url());
    EXPECT_EQ(watched.code, 3);
    EXPECT_THAT(watched.err, HasSubstr("--allow-simulated"));
    looks = 0;
    EXPECT_EQ(run({"plans", "watch", "p-1", "--allow-simulated"}, server.url()).code, 0);
}

TEST_F(Watching, FollowShowsTheOutputOnce) {
    std::atomic<int> looks = 0;
    StubServer server(living_plan("completed", looks));
    const Ran sent =
        run({"submit", file("p.yaml", "plan: p\ntickets: {build: {run: [sh]}}\n"), "--follow"}, server.url());
    EXPECT_EQ(sent.code, 0) << sent.err;
    EXPECT_THAT(sent.out, HasSubstr("build | hello from build\n"));
    EXPECT_THAT(sent.out, HasSubstr("tests | hello from tests\n"));
    EXPECT_EQ(sent.out.find("build | hello"), sent.out.rfind("build | hello"));
}

TEST_F(Watching, FollowShowsOutputThatComesAfterTheEnd) {
    std::atomic<int> looks = 0;
    StubServer server([plan = living_plan("completed", looks)](const StubRequest& request, int connection) {
        if (!request.target.starts_with("/api/v1/tickets/id-build/logs")) return plan(request, connection);
        StubServer::write(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nfirst\n");
        ::usleep(1'500'000);  // the plan has ended long ago
        StubServer::write(connection, "last words\n");
    });
    const Ran sent =
        run({"submit", file("p.yaml", "plan: p\ntickets: {build: {run: [sh]}}\n"), "--follow"}, server.url());
    EXPECT_EQ(sent.code, 0) << sent.err;
    EXPECT_THAT(sent.out, HasSubstr("build | first\n"));
    EXPECT_THAT(sent.out, HasSubstr("build | last words\n"));
}

TEST_F(Watching, FollowAsksAgainForALogThatIsNotThereYet) {
    std::atomic<int> looks = 0;
    std::atomic<int> asked = 0;
    StubServer server([plan = living_plan("completed", looks), &asked](const StubRequest& request, int connection) {
        if (request.target.starts_with("/api/v1/tickets/id-build/logs") && ++asked <= 2)
            StubServer::write(connection, StubServer::answer(404, R"({"detail":"no output yet"})"));
        else
            plan(request, connection);
    });
    const Ran sent =
        run({"submit", file("p.yaml", "plan: p\ntickets: {build: {run: [sh]}}\n"), "--follow"}, server.url());
    EXPECT_EQ(sent.code, 0) << sent.err;
    EXPECT_THAT(sent.out, HasSubstr("build | hello from build\n"));
}

TEST_F(Watching, MachineOutputIsTheLastState) {
    std::atomic<int> looks = 0;
    StubServer server(living_plan("completed", looks));
    const Ran sent =
        run({"submit", file("p.yaml", "plan: p\ntickets: {build: {run: [sh]}}\n"), "--wait", "--json"}, server.url());
    EXPECT_EQ(sent.code, 0);
    EXPECT_THAT(sent.out, StartsWith(R"({"plan_id":"p-1","created_at":)"));
    EXPECT_EQ(std::count(sent.out.begin(), sent.out.end(), '\n'), 1);
}

TEST_F(Watching, TimeoutAndLostServer) {
    std::atomic<int> looks = -1'000'000;
    auto server = std::make_unique<StubServer>(living_plan("completed", looks));
    const Ran slow = run({"plans", "watch", "p-1", "--timeout", "400ms"}, server->url());
    EXPECT_EQ(slow.code, 6);
    EXPECT_THAT(slow.err, HasSubstr("it goes on; look again with: worker-agents plans watch p-1"));
    const std::string url = server->url();
    server.reset();
    EXPECT_EQ(run({"plans", "watch", "p-1"}, url).code, 7);
}

TEST_F(Watching, CtrlCSaysThatItGoesOn) {
    std::atomic<int> looks = -1'000'000;
    StubServer server(living_plan("completed", looks));
    std::thread presser([] {
        ::usleep(300'000);
        ::kill(::getpid(), SIGINT);
    });
    const Ran stopped = run({"plans", "watch", "p-1"}, server.url());
    presser.join();
    EXPECT_EQ(stopped.code, 130);
    EXPECT_THAT(stopped.err, HasSubstr("it goes on"));
}

TEST_F(Commands, CancelAndRetry) {
    StubServer server(fixed(
        {{"GET /api/v1/tickets/" + std::string(kId), {200, ticket(kId, "a", "running")}},
         {"POST /api/v1/tasks/" + std::string(kId) + "/cancel", {200, R"({"success":true,"message":"ok"})"}},
         {"POST /api/v1/tickets/" + std::string(kId) + "/retry", {409, R"({"detail":"the ticket is RUNNING"})"}}}));
    const Ran cancelled = run({"tickets", "cancel", kId, "--grace", "5s", "--reason", "because"}, server.url());
    EXPECT_EQ(cancelled.code, 0);
    EXPECT_EQ(cancelled.out, std::string(kId) + "\n");
    EXPECT_EQ(server.requests().back().body, R"({"reason":"because","preempted_by":null,"grace_period_seconds":5})");
    const Ran retried = run({"tickets", "retry", kId, "ffff"}, server.url());
    EXPECT_EQ(retried.code, 1);  // the first failure decides
    EXPECT_THAT(retried.err, HasSubstr("the ticket is RUNNING"));
    EXPECT_THAT(retried.err, HasSubstr("cannot retry ffff"));
}

TEST_F(Commands, BulkChangesAsk) {
    const std::string plan = R"({"plan_id":"p-1","total":2,"nodes":[)" + ticket("id-a", "a", "running") + "," +
                             ticket("id-b", "b", "failed") + "]}";
    StubServer server(fixed({{"GET /api/v1/plans/p-1", {200, plan}},
                             {"GET /api/v1/plans/p-1?nodes=0", {200, plan}},
                             {"POST /api/v1/plans/p-1/cancel", {202, R"({"ticket_ids":["id-a"]})"}},
                             {"POST /api/v1/plans/p-1/retry", {202, R"({"ticket_ids":["id-b"]})"}}}));
    EXPECT_EQ(run({"plans", "cancel", "p-1"}, server.url()).code, 2);
    EXPECT_EQ(run({"plans", "cancel", "p-1", "--dry-run"}, server.url()).out,
              "ID    TASK  STATE\nid-a  a     running\n");
    EXPECT_EQ(run({"plans", "cancel", "p-1", "-y"}, server.url()).out, "id-a\n");
    console_.terminal = true;
    console_.input = "n";
    EXPECT_EQ(run({"plans", "cancel", "p-1"}, server.url()).code, 1);
    console_.input = "y";
    EXPECT_EQ(run({"plans", "cancel", "p-1"}, server.url()).code, 0);
    console_.terminal = false;
    EXPECT_EQ(run({"plans", "retry", "p-1", "--failed"}, server.url()).out, "id-b\n");
    EXPECT_EQ(server.requests().back().body, R"({"only":"failed"})");
}

TEST_F(Commands, DeadLetters) {
    StubServer server(fixed(
        {{"GET /api/v1/dlq?limit=100",
          {200,
           R"({"dlq":[{"key":7,"ticket_id":"abcdefgh-1","reason":"invalid_ticket","error":"no \u0007"}],"total":1})"}},
         {"GET /api/v1/dlq?limit=1000&offset=0", {200, R"({"dlq":[{"key":7},{"key":8}],"total":2})"}},
         {"GET /api/v1/dlq/6", {200, R"({"key":6,"first_at":1785852131904})"}},
         {"GET /api/v1/dlq/7", {200, R"({"key":7,"payload":"x"})"}},
         {"POST /api/v1/dlq/7/replay", {202, "{}"}},
         {"POST /api/v1/dlq/8/replay", {202, "{}"}},
         {"DELETE /api/v1/dlq/7?reason=old", {204, ""}}}));
    EXPECT_EQ(run({"dlq", "ls", "--no-headers", "--columns", "key,ticket,reason,error"}, server.url()).out,
              "7  abcdefgh  invalid_ticket  no \\x07\n");
    EXPECT_EQ(run({"dlq", "replay", "7"}, server.url()).out, "7\n");
    EXPECT_EQ(run({"dlq", "replay", "--all"}, server.url()).code, 2);
    EXPECT_EQ(run({"dlq", "replay", "--all", "--dry-run"}, server.url()).out, "7\n8\n");
    EXPECT_EQ(run({"dlq", "replay", "--all", "-y"}, server.url()).out, "7\n8\n");
    EXPECT_EQ(run({"dlq", "discard", "7", "--reason", "old"}, server.url()).code, 0);
    EXPECT_EQ(run({"dlq", "discard", "9"}, server.url()).code, 5);
    EXPECT_EQ(run({"dlq", "replay", "9", "--dry-run"}, server.url()).code, 5);
    EXPECT_THAT(run({"dlq", "show", "6"}, server.url()).out, HasSubstr("first_at     2026-08-04T14:02:11.904Z\n"));
    EXPECT_EQ(run({"dlq", "export"}, server.url()).out, R"({"key":7,"payload":"x"})"
                                                        "\n");
}

TEST_F(Commands, DeadLettersThatAreSettledStayAndAreLeftAlone) {
    StubServer server(
        fixed({{"GET /api/v1/dlq?limit=1000&offset=0",
                {200, R"({"dlq":[{"key":"0-1","state":"open","ticket_id":"abc-1","reason":"decode_error"},)"
                      R"({"key":"0-2","state":"replayed","ticket_id":"abc-2","reason":"decode_error"},)"
                      R"({"key":"1-7","state":"discarded","ticket_id":"xyz","reason":"invalid_ticket"}],"total":3})"}},
               {"GET /api/v1/dlq/0-1", {200, R"({"key":"0-1"})"}},
               {"GET /api/v1/dlq/0-2", {200, R"({"key":"0-2"})"}},
               {"GET /api/v1/dlq/1-7", {200, R"({"key":"1-7"})"}}}));
    EXPECT_EQ(run({"dlq", "replay", "--all", "--dry-run"}, server.url()).out, "0-1\n");
    EXPECT_EQ(run({"dlq", "discard", "--all", "--dry-run"}, server.url()).out, "0-1\n");
    const auto exported = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {"dlq", "export"});
        const std::string out = run(words, server.url()).out;
        return std::count(out.begin(), out.end(), '\n');
    };
    EXPECT_EQ(exported({}), 3);
    EXPECT_EQ(exported({"--ticket", "abc"}), 2);
    EXPECT_EQ(exported({"--ticket", "abc-2"}), 1);
    EXPECT_EQ(exported({"--reason", "invalid_ticket"}), 1);
    EXPECT_EQ(exported({"--reason", "invalid_ticket", "--ticket", "abc"}), 0);
}

TEST_F(Commands, DrainAndStatus) {
    StubServer server(
        fixed({{"POST /api/v1/drain", {202, "{}"}},
               {"POST /api/v1/undrain", {202, "{}"}},
               {"GET /api/v1/status",
                {200, R"({"agent_id":"wa-1","active_tasks":2,"max_concurrent_tasks":5,"in_flight":3})"}},
               {"GET /ready", {503, R"({"ready":false,"checks":{"registered":true,"draining":false}})"}}}));
    EXPECT_EQ(run({"drain", "--now", "--reason", "update"}, server.url()).code, 0);
    EXPECT_EQ(server.requests().back().body, R"({"now":true,"reason":"update"})");
    EXPECT_EQ(run({"drain", "--undo"}, server.url()).code, 0);
    const Ran status = run({"status"}, server.url());
    EXPECT_EQ(status.code, 0);
    EXPECT_THAT(status.out, HasSubstr("✖ not ready"));
    EXPECT_THAT(status.out, HasSubstr("Slots      2/5"));
    EXPECT_EQ(run({"status", "--exit-code"}, server.url()).code, 3);
}

TEST_F(Commands, ValidateNeedsNoServer) {
    const std::string good = file("good.yaml", "plan: p\ntickets:\n  a: {run: [sh, -c, 'true']}\n");
    EXPECT_EQ(run({"validate", good}).code, 0);
    const Ran bad = run({"validate", file("bad.yaml", "plan: p\ntickets:\n  a: {run: [sh], dependecies: [b]}\n")});
    EXPECT_EQ(bad.code, 2);
    EXPECT_THAT(bad.out, HasSubstr("bad.yaml:3:"));
    const Ran config = run({"validate", file("c.yaml", "http_port: 99999\nlog_level: INFO\nmax_concurent_tasks: 2\n")});
    EXPECT_EQ(config.code, 2);
    EXPECT_THAT(config.out, HasSubstr("c.yaml:1:1"));
    EXPECT_THAT(config.out, HasSubstr("did you mean max_concurrent_tasks?"));
    EXPECT_EQ(run({"validate", file("ok.yaml", "http_port: 9\n")}).code, 0);
    EXPECT_THAT(run({"validate", good, "--format", "json"}).out, StartsWith("{"));
    EXPECT_NE(run({"validate", (folder_ / "none").string()}).code, 0);
}

TEST_F(Commands, ConfigShowInitSchemaVersion) {
    environment_["KAFKA_TICKETS_TOPIC"] = "mine";
    environment_["OPA_TOKEN"] = "hunter2";
    const Ran shown = run({"config", "show", "--origin", "--diff-defaults", "--max-concurrent-tasks", "7"});
    EXPECT_EQ(shown.code, 0) << shown.err;
    EXPECT_THAT(shown.out, HasSubstr("KAFKA_TICKETS_TOPIC"));
    EXPECT_THAT(shown.out, HasSubstr("env KAFKA_TICKETS_TOPIC"));
    EXPECT_THAT(shown.out, HasSubstr("flag --max-concurrent-tasks"));
    EXPECT_THAT(shown.out, HasSubstr("***(from OPA_TOKEN)"));
    EXPECT_THAT(shown.out + shown.err, Not(HasSubstr("hunter2")));
    EXPECT_THAT(run({"config", "show", "--json"}).out, Not(HasSubstr("hunter2")));
    EXPECT_EQ(run({"config", "show", "--http-port", "x"}).code, 2);
    EXPECT_EQ(run({"config", "show", "--config", "/none"}).code, 5);

    const std::string target = (folder_ / "new.yaml").string();
    EXPECT_EQ(run({"config", "init", target}).code, 0);
    EXPECT_EQ(run({"config", "init", target}).code, 1);
    EXPECT_EQ(run({"config", "init", target, "--force"}).code, 0);
    EXPECT_EQ(run({"validate", "--kind", "config", target}).code, 0);
    EXPECT_THAT(run({"config", "schema"}).out, HasSubstr("\"additionalProperties\":false"));
    EXPECT_THAT(run({"version"}).out, StartsWith("worker-agents 1.2.3\n"));
    EXPECT_THAT(run({"version", "-o", "json"}).out, HasSubstr(R"("commit":"abc")"));
    for (const char* shell : {"bash", "zsh", "fish"})
        EXPECT_THAT(run({"completion", shell}).out, HasSubstr("__complete"));
}

TEST_F(Commands, DoctorWithAndWithoutAWorker) {
    StubServer server(fixed(
        {{"GET /api/v1/doctor",
          {200,
           R"({"checks":[{"name":"clock","status":"ok","detail":"12 ms"},)"
           R"({"name":"kafka","status":"error","detail":"TLS failed","fix":"KAFKA_SECURITY_PROTOCOL=PLAINTEXT"}]})"}}}));
    const Ran online = run({"doctor"}, server.url());
    EXPECT_EQ(online.code, 1);
    EXPECT_EQ(
        online.out,
        "clock ✔ 12 ms\nkafka ✖ TLS failed\n        fix: KAFKA_SECURITY_PROTOCOL=PLAINTEXT\n1 error, 0 warnings\n");
    EXPECT_EQ(run({"doctor"}, "http://127.0.0.1:1").code, 7);
    environment_["LOCAL_RUNTIME_WORKING_DIR"] = folder_.string();
    environment_["WORKER_AGENTS_SERVER"] = "";
    const Ran local = run({"doctor", "--state-dir", (folder_ / "nobody").string()});
    EXPECT_THAT(local.out, HasSubstr("state dir"));
    EXPECT_THAT(local.out, HasSubstr("only what can be seen from here"));
    EXPECT_EQ(local.code, 0) << local.out;
}

TEST_F(Commands, CompletionAsksTheServer) {
    StubServer server(fixed(
        {{"GET /api/v1/tickets?limit=50", {200, R"({"tickets":[)" + ticket(kId, R"(fe\ttch)", "running") + "]}"}}}));
    environment_["WORKER_AGENTS_SERVER"] = server.url();
    EXPECT_EQ(run({"__complete", "tickets", "show", "3f"}).out, std::string(kId) + "\tfe\\ttch\n");
    EXPECT_EQ(run({"__complete", "tickets", "show", "@"}).out, "@latest\n@failed\n");
    EXPECT_EQ(run({"__complete", "submit", ""}).out, ":files\n");
    environment_["WORKER_AGENTS_SERVER"] = "http://127.0.0.1:1";
    EXPECT_EQ(run({"__complete", "tickets", "show", "3f"}).code, 0);
}

TEST_F(Watching, ALargePlanIsNotReadAsAWhole) {
    std::atomic<int> looks = 0;
    StubServer server([&looks](const StubRequest& request, int connection) {
        const auto say = [connection](const std::string& body) {
            StubServer::write(connection, StubServer::answer(200, body));
        };
        if (request.target.starts_with("/api/v1/plans/big")) {
            const bool over = ++looks > 2;
            const std::string some = request.target.ends_with("nodes=0") ? "" : ticket("id-1", "one", "running");
            say(R"({"plan_id":"big","total":50000,"open":)" + std::string(over ? "0" : "49000") + R"(,"nodes":[)" +
                some + "]}");
        } else if (request.target.find("status=FAILED") != std::string::npos) {
            say(R"({"tickets":[)" + ticket("id-7", "seven", "failed") + "]}");
        } else if (request.target.find("status=RUNNING") != std::string::npos) {
            say(R"({"tickets":[]})");
        } else {
            StubServer::write(connection, StubServer::answer(404, "{}"));
        }
    });
    const Ran watched = run({"plans", "watch", "big"}, server.url());
    EXPECT_EQ(watched.code, 3) << watched.err;
    EXPECT_THAT(watched.out, HasSubstr("✖ seven  failed"));
    EXPECT_THAT(watched.err, HasSubstr("seven failed"));
    int whole = 0;
    for (const StubRequest& request : server.requests())
        whole += request.target.ends_with("nodes=2000") ? 1 : 0;
    EXPECT_EQ(whole, 1);
}

TEST_F(Watching, TheWorkersOwnLog) {
    StubServer server([](const StubRequest& request, int connection) {
        const std::string line =
            R"({"timestamp":"2026-01-01T00:00:00Z","level":"INFO","event":"ticket_consumed","ticket_id":"t\u001b[2J"})";
        if (request.target.find("follow=true") == std::string::npos) {
            StubServer::write(connection, StubServer::answer(200, line + "\n" + line + "\n", "application/x-ndjson"));
            return;
        }
        StubServer::write(connection,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + line.substr(0, 20));
        ::usleep(50'000);
        StubServer::write(connection, line.substr(20) + "\n");
    });
    const std::string shown = "2026-01-01T00:00:00Z INFO    ticket_consumed ticket_id=t\\x1b[2J\n";
    EXPECT_EQ(run({"logs", "--level", "INFO", "--tail", "2"}, server.url()).out, shown + shown);
    EXPECT_EQ(server.requests().back().target, "/api/v1/logs?level=info&tail=2");
    EXPECT_EQ(run({"logs", "-f"}, server.url()).out, shown);
    EXPECT_THAT(run({"logs", "--json"}, server.url()).out, StartsWith("{\"timestamp\""));
}

TEST_F(Watching, DrainWithAGraceHurriesItself) {
    std::atomic<bool> hurried = false;
    std::unique_ptr<StubServer> server;
    server = std::make_unique<StubServer>([&hurried](const StubRequest& request, int connection) {
        if (request.target == "/api/v1/status" && hurried) {
            ::shutdown(connection, SHUT_RDWR);  // the worker has left
        } else if (request.target == "/api/v1/status") {
            StubServer::write(connection,
                              StubServer::answer(200, R"({"active_tasks":1,"tasks":[{"task_id":"slow"}]})"));
        } else {
            if (request.body == R"({"now":true})") hurried = true;
            StubServer::write(connection, StubServer::answer(202, "{}"));
        }
    });
    const Ran drained = run({"drain", "--grace", "100ms"}, server->url());
    EXPECT_EQ(drained.code, 0) << drained.err;
    EXPECT_THAT(drained.err, HasSubstr("draining: 1 running (slow)"));
    EXPECT_THAT(drained.err, HasSubstr("the grace is over"));
    EXPECT_THAT(drained.err, HasSubstr("drained in"));
}

TEST_F(Commands, LogsOfATicket) {
    StubServer server([](const StubRequest& request, int connection) {
        if (request.target.find("/logs") == std::string::npos) {
            StubServer::write(connection, StubServer::answer(200, ticket(kId, "a", "running")));
        } else if (request.target.find("follow=true") != std::string::npos) {
            StubServer::write(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            ::usleep(50'000);
            StubServer::write(connection, "4\r\n two\r\n0\r\n\r\n");
        } else {
            StubServer::write(connection, StubServer::answer(200, "raw \x1b[31mred\n", "text/plain"));
        }
    });
    EXPECT_EQ(run({"tickets", "logs", kId, "--tail", "5", "--stream", "err"}, server.url()).out,
              "raw \x1b[31mred\n");  // into a pipe: as it is
    EXPECT_THAT(server.requests().back().target, EndsWith("/logs?stream=err&tail=5"));
    console_.terminal = true;
    EXPECT_EQ(run({"tickets", "logs", kId}, server.url()).out, "raw \\x1b[31mred\n");
}

}  // namespace
}  // namespace wa::cli
