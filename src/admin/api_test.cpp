// The routes over real sockets: contract shapes, status codes, and everything that callers may get wrong.
#include <gtest/gtest.h>

#include <thread>

#include "admin/testing/world.h"

namespace wa::admin {
namespace {

using testing::kPlan;
using testing::kToken;
using testing::problem;
using testing::RawClient;
using testing::Reply;
using testing::World;
using namespace std::chrono_literals;
namespace json = boost::json;

TEST(TicketApi, SubmittedTicketIsStoredAndShown) {
    World world;
    const Reply created =
        world.post("/api/v1/tickets/", World::ticket("t-1", R"(,"sla":{"timeout_ms":1000,"max_retries":2})"));
    ASSERT_EQ(created.status, 201) << created.body;
    EXPECT_EQ(created.headers.at("location"), "/api/v1/tickets/t-1");
    json::object body = World::object(created);
    EXPECT_EQ(body.at("ticket_id"), "t-1");
    EXPECT_EQ(body.at("status"), "PENDING");
    EXPECT_EQ(body.at("max_attempts"), 3);
    body = World::object(world.get("/api/v1/tickets/t-1"));
    EXPECT_EQ(body.at("status"), "PENDING");
    EXPECT_EQ(body.at("sla").at("timeout_ms"), 1000);
    EXPECT_EQ(body.at("started_at"), nullptr);
    EXPECT_EQ(body.at("predictions"), nullptr);
    EXPECT_GT(body.at("created_at").as_int64(), 0);
    EXPECT_EQ(world.store->unfinished().value(), 1);
    // What the worker does for a ticket that does not say.
    EXPECT_EQ(World::object(world.post("/api/v1/tickets", World::ticket("t-2"))).at("max_attempts"), 4);
}

TEST(TicketApi, MissingIdIsMadeUp) {
    World world;
    const Reply reply = world.post("/api/v1/tickets", R"({"task_id":"a","task_type":"EXECUTE"})");
    ASSERT_EQ(reply.status, 201) << reply.body;
    EXPECT_EQ(World::object(reply).at("ticket_id").as_string().size(), 36U);
}

TEST(TicketApi, TheSameAgainIs200DifferentIs409) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    const Reply same = world.post("/api/v1/tickets", World::ticket("t-1"));
    EXPECT_EQ(same.status, 200) << same.body;
    EXPECT_EQ(World::object(same).at("ticket_id"), "t-1");
    const Reply other = world.post("/api/v1/tickets", World::ticket("t-1", R"(,"description":"other")"));
    EXPECT_EQ(other.status, 409);
    problem(other);
    EXPECT_EQ(world.store->unfinished().value(), 1);
}

TEST(TicketApi, BadInputOfEachKind) {
    World world;
    const auto status = [&](std::string_view body) {
        const Reply reply = world.post("/api/v1/tickets", body);
        problem(reply);
        return reply.status;
    };
    EXPECT_EQ(status("not json"), 400);
    EXPECT_EQ(status(""), 400);
    EXPECT_EQ(status("{\"ticket_id\":\"\xff\"}"), 400);
    EXPECT_EQ(status(std::string(100'000, '[')), 400);
    EXPECT_EQ(status(R"({"task_id":"a","task_type":"EXECUTE","parameters":)" +
                     [] {
                         std::string deep;
                         for (int i = 0; i < 100; ++i)
                             deep += "{\"a\":";
                         deep += "1";
                         for (int i = 0; i < 100; ++i)
                             deep += "}";
                         return deep;
                     }() +
                     "}"),
              400);
    EXPECT_EQ(status("[]"), 422);
    EXPECT_EQ(status("{}"), 422);
    EXPECT_EQ(status(R"({"task_id":5,"task_type":"EXECUTE"})"), 422);
    EXPECT_EQ(status(R"({"task_id":"a","task_type":"DANCE"})"), 422);
    EXPECT_EQ(status(R"({"task_id":"a","task_type":"BUILD"})"), 422);  // known, not served here
    EXPECT_EQ(status(World::ticket("t", R"(,"dependencies":["t"])")), 422);
    EXPECT_EQ(status(World::ticket("t", R"(,"sla":{"timeout_ms":-1})")), 422);
    EXPECT_EQ(status(World::ticket("t", R"(,"status":"RUNNING")")), 422);
    std::string many = R"(,"dependencies":[)";
    for (int i = 0; i < 10'000; ++i)
        many += (i == 0 ? "\"d" : ",\"d") + std::to_string(i) + "\"";
    EXPECT_EQ(status(World::ticket("t", many + "]")), 413);
    EXPECT_EQ(status(std::string(1024 * 1024 + 1, ' ')), 413);
    const Reply several = world.post("/api/v1/tickets", R"({"task_type":"DANCE","sla":{"timeout_ms":-1}})");
    const json::object body = problem(several);
    EXPECT_GE(body.at("errors").as_array().size(), 2U);
    EXPECT_EQ(world.store->unfinished().value(), 0);
    EXPECT_EQ(world.send("POST", "/api/v1/tickets", "a=b", "application/x-www-form-urlencoded").status, 415);
}

TEST(TicketApi, DoubledDependenciesAreOne) {
    World world;
    const Reply reply = world.post("/api/v1/tickets", World::ticket("t", R"(,"dependencies":["a","a","b"])"));
    ASSERT_EQ(reply.status, 201);
    EXPECT_EQ(World::object(reply).at("dependencies").as_array().size(), 2U);
}

TEST(TicketApi, ListsAreFilteredAndPaged) {
    World world;
    for (int i = 0; i < 5; ++i)
        ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-" + std::to_string(i))).status, 201);
    json::object page = World::object(world.get("/api/v1/tickets/?limit=2&offset=1&plan_id=p&status=PENDING"));
    EXPECT_EQ(page.at("total"), 5);
    EXPECT_EQ(page.at("limit"), 2);
    EXPECT_EQ(page.at("offset"), 1);
    ASSERT_EQ(page.at("tickets").as_array().size(), 2U);
    EXPECT_EQ(page.at("tickets").as_array()[0].at("ticket_id"), "t-3");
    EXPECT_TRUE(page.at("tickets").as_array()[0].as_object().contains("parameters"));
    page = World::object(world.get("/api/v1/tickets?view=summary&text=t-2"));
    ASSERT_EQ(page.at("tickets").as_array().size(), 1U);
    EXPECT_FALSE(page.at("tickets").as_array()[0].as_object().contains("parameters"));
    for (const char* bad : {"limit=0", "limit=1001", "limit=x", "offset=-1", "status=done", "phase=x", "task_type=x",
                            "view=y", "limit="}) {
        const Reply reply = world.get(std::string("/api/v1/tickets?") + bad);
        EXPECT_EQ(reply.status, 400) << bad;
        problem(reply);
    }
}

TEST(TicketApi, EngineAddsThePhase) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    world.engine.change([](auto& engine) {
        RunningTask task;
        task.ticket_id = "t-1";
        task.state = State::kParked;
        task.why = "needs b";
        engine.state.tasks.push_back(task);
    });
    std::this_thread::sleep_for(60ms);  // older answers of the engine are used for 50 ms
    const json::object body = World::object(world.get("/api/v1/tickets/t-1"));
    EXPECT_EQ(body.at("phase"), "waiting");
    EXPECT_EQ(body.at("why"), "needs b");
}

TEST(TicketApi, UnknownTicketIs404Everywhere) {
    World world;
    for (const char* route : {"/api/v1/tickets/nope", "/api/v1/tickets/nope/explain", "/api/v1/tickets/nope/attempts",
                              "/api/v1/tickets/nope/history", "/api/v1/tickets/nope/logs", "/api/v1/tickets/nope/token",
                              "/api/v1/plans/nope", "/api/v1/dlq/nope", "/api/v1/dlq/77"}) {
        const Reply reply = world.get(route);
        EXPECT_EQ(reply.status, 404) << route << reply.body;
        problem(reply);
    }
    EXPECT_EQ(problem(world.get("/api/v1/tickets/nope")).at("detail"), "Ticket not found");
    EXPECT_EQ(world.post("/api/v1/tickets/nope/retry", "{}").status, 404);
    EXPECT_EQ(world.send("PATCH", "/api/v1/tickets/nope/status", R"({"status":"FAILED"})").status, 404);
    EXPECT_EQ(world.post("/api/v1/plans/nope/cancel", "{}").status, 404);
    EXPECT_EQ(world.post("/api/v1/plans/nope/retry", "{}").status, 404);
    EXPECT_EQ(world.post("/api/v1/dlq/77/replay", "{}").status, 404);
    EXPECT_EQ(world.send("DELETE", "/api/v1/dlq/77").status, 404);
}

TEST(TicketApi, PatchFollowsTheContract) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    const auto patch = [&](std::string_view body) { return world.send("PATCH", "/api/v1/tickets/t-1/status", body); };
    EXPECT_EQ(patch(R"({"status":"PREEMPTED"})").status, 422);
    EXPECT_EQ(patch(R"({"status":"completed"})").status, 422);
    EXPECT_EQ(patch(R"({})").status, 422);
    EXPECT_EQ(patch(R"({"status":"FAILED","actual_duration_ms":-1})").status, 422);
    const Reply done = patch(R"({"status":"FAILED","error_message":"from outside","actual_duration_ms":12})");
    ASSERT_EQ(done.status, 200) << done.body;
    const json::object body = World::object(done);
    EXPECT_EQ(body.at("status"), "FAILED");
    EXPECT_EQ(body.at("error_message"), "from outside");
    // A FAILED ticket may be retried, a pending one not.
    EXPECT_EQ(world.post("/api/v1/tickets/t-1/retry", "{}").status, 202);
    EXPECT_EQ(world.post("/api/v1/tickets/t-1/retry", "{}").status, 409);
}

TEST(TicketApi, TokenIsAJwtForOpenTicketsOnly) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    const json::object body = World::object(world.get("/api/v1/tickets/t-1/token"));
    EXPECT_EQ(body.at("token_type"), "Bearer");
    EXPECT_EQ(body.at("expires_in"), 3600);
    EXPECT_EQ(std::ranges::count(std::string(body.at("access_token").as_string()), '.'), 2);
    EXPECT_EQ(body.at("scopes").as_array().at(2), "task:execute");
    ASSERT_EQ(world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"COMPLETED"})").status, 200);
    EXPECT_EQ(world.get("/api/v1/tickets/t-1/token").status, 403);
}

TEST(TicketApi, CompensationFollowsTheContract) {
    World world(
        [](ApiContext& context, net::ServerOptions&) { context.facts.task_types.push_back(TaskType::kCompensate); });
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    const std::string wish =
        R"({"original_ticket_id":"t-1","reason":"broken","compensation_action":"rollback_execution","parameters":{"x":1}})";
    EXPECT_EQ(world.post("/api/v1/tickets/compensation", wish).status, 400);  // not FAILED yet
    ASSERT_EQ(world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"FAILED"})").status, 200);
    EXPECT_EQ(world.post("/api/v1/tickets/compensation", R"({"reason":"x"})").status, 422);
    EXPECT_EQ(world
                  .post("/api/v1/tickets/compensation",
                        R"({"original_ticket_id":"no","reason":"x","compensation_action":"y"})")
                  .status,
              404);
    const Reply reply = world.post("/api/v1/tickets/compensation", wish);
    ASSERT_EQ(reply.status, 200) << reply.body;
    const json::object body = World::object(reply);
    EXPECT_EQ(body.at("status"), "PENDING");
    EXPECT_EQ(body.at("action"), "rollback_execution");
    const json::object undo =
        World::object(world.get("/api/v1/tickets/" + std::string(body.at("ticket_id").as_string())));
    EXPECT_EQ(undo.at("task_type"), "COMPENSATE");
    EXPECT_EQ(undo.at("task_id"), "compensate-t-1");
    EXPECT_EQ(undo.at("parameters").at("original_ticket_id"), "t-1");
    const json::object original = World::object(world.get("/api/v1/tickets/t-1"));
    EXPECT_EQ(original.at("status"), "COMPENSATING");
    EXPECT_EQ(original.at("compensation_ticket_id"), body.at("ticket_id"));
}

TEST(TicketApi, CompensationIsRefusedWhenNobodyCanUndo) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    ASSERT_EQ(world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"FAILED"})").status, 200);
    EXPECT_EQ(world
                  .post("/api/v1/tickets/compensation",
                        R"({"original_ticket_id":"t-1","reason":"x","compensation_action":"y"})")
                  .status,
              422);
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1")).at("status"), "FAILED");
}

// Retried alone, the ticket would only meet the same failed dependency again.
TEST(TicketApi, ExplainOfALostDependencyAdvisesToRetryThePlan) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    CommitBatch batch;
    batch.number = 1;
    Settlement settlement;
    settlement.position.offset = world.position_of("t-1");
    settlement.ticket_id = "t-1";
    settlement.outcome = Outcome::kDependencyFailed;
    batch.settlements.push_back(std::make_shared<Settlement>(settlement));
    world.commit(batch);
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1/explain")).at("fix"),
              "worker-agents plans retry p --failed");
}

TEST(TicketApi, ExplainComesFromTheEngineElseFromTheRecord) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    json::object body = World::object(world.get("/api/v1/tickets/t-1/explain"));
    EXPECT_EQ(body.at("reason"), "intake-paused" == body.at("reason") ? "intake-paused" : "queued");
    EXPECT_FALSE(body.at("conditions").as_array().empty());
    world.engine.change([](auto& engine) { engine.in_hand.insert("t-1"); });
    body = World::object(world.get("/api/v1/tickets/t-1/explain"));
    EXPECT_EQ(body.at("summary"), "needs b (running)");
    EXPECT_EQ(body.at("conditions").as_array()[0].at("met"), false);
    world.engine.change([](auto& engine) { engine.in_hand.clear(); });
    ASSERT_EQ(world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"FAILED","error_message":"exit code 7"})")
                  .status,
              200);
    body = World::object(world.get("/api/v1/tickets/t-1/explain"));
    EXPECT_EQ(body.at("phase"), "failed");
    EXPECT_NE(body.at("summary").as_string().find("exit code 7"), json::string::npos);
    EXPECT_TRUE(body.contains("fix"));
}

TEST(TicketApi, WorkerIsWhoRanItOrNull) {
    std::atomic<EpochMillis> started_at{0};
    World world([&](ApiContext& context, net::ServerOptions&) { started_at = context.facts.started_at; });
    const auto worker = [&](const std::string& target) { return World::object(world.get(target)); };
    const auto end = [&](const std::string& id, const std::string& by, Outcome outcome) {
        CommitBatch batch;
        batch.number = 2;
        Settlement ending;
        ending.position = ending.origin = SourcePosition{0, world.position_of(id)};
        ending.ticket_id = id;
        ending.outcome = outcome;
        ending.result.ticket_id = id;
        ending.result.agent_id = by;
        batch.settlements.push_back(std::make_shared<Settlement>(std::move(ending)));
        world.commit(batch);
    };
    for (const char* id : {"mine", "theirs", "cancelled", "new"})
        ASSERT_EQ(world.post("/api/v1/tickets", World::ticket(id)).status, 201);
    world.start("mine");
    end("mine", "agent-1", Outcome::kCompleted);
    // As an earlier process left them.
    for (const char* id : {"theirs", "cancelled"}) {
        CommitBatch batch;
        batch.number = 1;
        batch.intents.push_back({SourcePosition{0, world.position_of(id)}, 0, id, 1, started_at - 1000});
        world.commit(batch);
    }
    end("theirs", "agent-0", Outcome::kCompleted);
    end("cancelled", "agent-1", Outcome::kCancelled);
    EXPECT_EQ(worker("/api/v1/tickets/mine").at("worker"), "agent-1");
    EXPECT_EQ(worker("/api/v1/tickets/theirs").at("worker"), "agent-0");
    EXPECT_EQ(worker("/api/v1/tickets/cancelled").at("worker"), nullptr);
    EXPECT_FALSE(worker("/api/v1/tickets/new").contains("worker"));
    const json::object list = World::object(world.get("/api/v1/tickets"));
    for (const json::value& row : list.at("tickets").as_array()) {
        const json::object& ticket = row.as_object();
        const std::string id(ticket.at("ticket_id").as_string());
        if (id == "mine") {
            EXPECT_EQ(ticket.at("worker"), "agent-1");
        } else if (id == "new") {
            EXPECT_FALSE(ticket.contains("worker"));
        } else {
            EXPECT_EQ(ticket.at("worker"), nullptr) << id;
        }
    }
}

TEST(TicketApi, HistorySaysWhoDidWhat) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    const json::object body = World::object(world.get("/api/v1/tickets/t-1/history"));
    ASSERT_FALSE(body.at("history").as_array().empty());
    EXPECT_EQ(body.at("history").as_array()[0].at("kind"), "submitted");
    EXPECT_EQ(body.at("history").as_array()[0].at("actor"), "api");
    EXPECT_TRUE(World::object(world.get("/api/v1/tickets/t-1/attempts")).at("attempts").as_array().empty());
}

TEST(CancelApi, FollowsTheContract) {
    World world;
    world.engine.change([](auto& engine) { engine.in_hand.insert("t-1"); });
    const auto cancel = [&](std::string_view id, std::string_view body) {
        return world.post("/api/v1/tasks/" + std::string(id) + "/cancel", body);
    };
    const Reply good = cancel("t-1", R"({"reason":"preemption","preempted_by":"t-9","grace_period_seconds":5})");
    ASSERT_EQ(good.status, 200) << good.body;
    json::object body = World::object(good);
    EXPECT_EQ(body.at("success"), true);
    EXPECT_EQ(body.at("reason"), "preemption");
    EXPECT_EQ(body.at("checkpoint_saved"), false);
    EXPECT_EQ(body.at("checkpoint_key"), nullptr);
    world.engine.change([](auto& engine) {
        ASSERT_EQ(engine.cancels.size(), 1U);
        EXPECT_EQ(engine.cancels[0].preempted_by, "t-9");
        EXPECT_EQ(engine.cancels[0].grace, Duration(5s));
    });
    EXPECT_EQ(cancel("t-1", "{}").status, 422);
    EXPECT_EQ(cancel("t-1", R"({"reason":5})").status, 422);
    EXPECT_EQ(cancel("t-1", R"({"reason":"x","grace_period_seconds":301})").status, 422);
    EXPECT_EQ(cancel("t-1", R"({"reason":"x","grace_period_seconds":-1})").status, 422);
    EXPECT_EQ(cancel("t-1", "").status, 400);
    const Reply unknown = cancel("nope", R"({"reason":"user_request"})");
    EXPECT_EQ(unknown.status, 404);
    EXPECT_EQ(problem(unknown).at("detail"), "Task nope not found or not active");
}

TEST(CancelApi, ATicketThatWasNotReadYetIsCancelledInTheStore) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    EXPECT_EQ(world.post("/api/v1/tasks/t-1/cancel", R"({"reason":"user_request"})").status, 200);
    const json::object body = World::object(world.get("/api/v1/tickets/t-1"));
    EXPECT_EQ(body.at("status"), "FAILED");
    EXPECT_EQ(body.at("error_message"), "cancelled: user_request");
    EXPECT_EQ(body.at("phase"), "cancelled");
    EXPECT_EQ(body.at("outcome"), "cancelled");
    ASSERT_TRUE(body.at("result").is_object()) << body;
    EXPECT_EQ(body.at("result").at("result").at("metadata").at("outcome"), "cancelled");
    EXPECT_EQ(world.post("/api/v1/tasks/t-1/cancel", R"({"reason":"user_request"})").status, 404);
    EXPECT_FALSE(world.engine.cancels.at(0).on_arrival);  // nothing may stay behind that ends a later retry
}

// Those who count endings hear of it, once, and of nothing when the engine has it after all.
TEST(CancelApi, ATicketThatWasNotReadYetIsToldAsEnded) {
    std::mutex mutex;
    std::vector<Settlement> told;
    std::atomic<int> under_way{0};
    World world([&](ApiContext& context, net::ServerOptions&) {
        context.ended_in_queue = [&](const TicketSummary& ticket, const Settlement& ending) {
            const std::scoped_lock lock(mutex);
            EXPECT_EQ(ticket.task_type, TaskType::kExecute);
            EXPECT_GT(under_way, 0);
            told.push_back(ending);
        };
        context.ending_under_way = [&] {
            ++under_way;
            return std::shared_ptr<void>(nullptr, [&](void*) { --under_way; });
        };
    });
    for (const char* id : {"t-1", "t-2", "t-3"})
        ASSERT_EQ(world.post("/api/v1/tickets", World::ticket(id)).status, 201);
    EXPECT_EQ(world.post("/api/v1/tasks/t-1/cancel", R"({"reason":"user_request"})").status, 200);
    EXPECT_EQ(world.post("/api/v1/tasks/t-2/cancel", R"({"reason":"preemption","preempted_by":"t-9"})").status, 200);
    // Read just after the first question: the engine ends it, and says so itself.
    world.engine.change(
        [](auto& engine) { engine.not_in_hand = [&engine](const auto& id) { engine.in_hand.insert(id); }; });
    EXPECT_EQ(world.post("/api/v1/tasks/t-3/cancel", R"({"reason":"user_request"})").status, 200);
    const std::scoped_lock lock(mutex);
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[0].ticket_id, "t-1");
    EXPECT_EQ(told[0].outcome, Outcome::kCancelled);
    EXPECT_EQ(told[0].result.error_message, "cancelled: user_request");
    EXPECT_EQ(told[1].outcome, Outcome::kPreempted);
    EXPECT_EQ(told[1].result.metadata.at("preempted_by"), "t-9");
    // Let go of soon after the answer.
    for (int i = 0; i < 200 && under_way > 0; ++i)
        std::this_thread::sleep_for(10ms);
    EXPECT_EQ(under_way, 0);
}

// The engine takes the ticket up between its "not in hand" and the store's answer.
TEST(CancelApi, ATicketThatIsStartedMeanwhileIsStopped) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    std::atomic<bool> started{false};
    world.engine.change([&](auto& engine) {
        engine.not_in_hand = [&](const std::string& id) {
            if (started.exchange(true)) return;
            world.start(id);
            engine.in_hand.insert(id);
        };
    });
    const Reply reply = world.post("/api/v1/tasks/t-1/cancel", R"({"reason":"user_request"})");
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(World::object(reply).at("message"), "stopping");
}

TEST(TicketApi, CompletedFromOutsideIsToldToTheEngineAsSuch) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    ASSERT_EQ(world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"COMPLETED"})").status, 200);
    world.engine.change([](auto& engine) {
        EXPECT_EQ(engine.completed, std::vector<std::string>{"t-1"});
        EXPECT_TRUE(engine.cancels.empty());  // what waits for it would hear "cancelled"
    });
}

TEST(CancelApi, AnswersWithinTwoSecondsWhateverTheEngineDoes) {
    World world;
    world.engine.change([](auto& engine) { engine.silent = true; });
    const auto began = std::chrono::steady_clock::now();
    const Reply reply = world.post("/api/v1/tasks/t-1/cancel", R"({"reason":"user_request"})");
    EXPECT_EQ(reply.status, 503);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2500ms);
}

// Somebody who did not get the answer sends the same file again.
TEST(PlanApi, TheSamePlanAgainIsTheSame) {
    World world;
    const std::string plan = R"(plan_id: mine
tickets:
  a: { ticket_id: a-1, run: ["true"], sla: { deadline: 30m } }
)";
    ASSERT_EQ(world.post("/api/v1/plans", plan, "application/yaml").status, 201);
    std::this_thread::sleep_for(5ms);  // the deadline, counted from now, is another one
    const Reply again = world.post("/api/v1/plans", plan, "application/yaml");
    EXPECT_EQ(again.status, 200) << again.body;
    EXPECT_EQ(World::object(again).at("tickets").at("a"), "a-1");
    const std::string other = R"({"plan_id":"mine","tickets":{"a":{"ticket_id":"a-1","run":["false"]}}})";
    const Reply refused = world.post("/api/v1/plans", other);
    EXPECT_EQ(refused.status, 409) << refused.body;
    EXPECT_FALSE(problem(refused).contains("errors"));  // no field is wrong
}

TEST(PlanApi, TheSamePlanAgainIsTheSameWithoutAPlanIdToo) {
    World world;
    const std::string plan = R"({"plan":"mine","tickets":{
        "a":{"ticket_id":"a-1","run":["true"]},"b":{"ticket_id":"b-1","run":["true"],"needs":["a"]}}})";
    const Reply first = world.post("/api/v1/plans", plan);
    ASSERT_EQ(first.status, 201) << first.body;
    const Reply again = world.post("/api/v1/plans", plan);
    EXPECT_EQ(again.status, 200) << again.body;
    EXPECT_EQ(again.body, first.body);
    EXPECT_EQ(World::object(world.get("/api/v1/plans")).at("total"), 1);
    EXPECT_EQ(world.store->unfinished().value(), 2);
    const Reply wire = world.post("/api/v1/plans", R"({"tickets":[{"ticket_id":"w-1","task_type":"EXECUTE",
        "task_id":"w","parameters":{"command":["true"]}}]})");
    ASSERT_EQ(wire.status, 201) << wire.body;
    const Reply other = world.post("/api/v1/plans", R"({"plan":"mine","tickets":{
        "a":{"ticket_id":"a-1","run":["false"]},"b":{"ticket_id":"b-1","run":["true"],"needs":["a"]}}})");
    EXPECT_EQ(other.status, 409) << other.body;
}

TEST(PlanApi, SubmittedShownCancelledRetried) {
    World world;
    const Reply created = world.post("/api/v1/plans", kPlan, "application/yaml");
    ASSERT_EQ(created.status, 201) << created.body;
    const json::object submitted = World::object(created);
    const std::string id(submitted.at("plan_id").as_string());
    ASSERT_EQ(submitted.at("tickets").as_object().size(), 4U);
    const json::object plan = World::object(world.get("/api/v1/plans/" + id));
    EXPECT_EQ(plan.at("total"), 4);
    EXPECT_EQ(plan.at("nodes").as_array().size(), 4U);
    EXPECT_EQ(plan.at("edges").as_array().size(), 4U);
    EXPECT_EQ(plan.at("critical_path").as_array().size(), 3U);
    EXPECT_EQ(plan.at("nodes").as_array()[3].at("level"), 2);
    EXPECT_EQ(World::object(world.get("/api/v1/plans/" + id + "?nodes=2")).at("complete"), false);
    const json::object plans = World::object(world.get("/api/v1/plans"));
    EXPECT_EQ(plans.at("total"), 1);
    EXPECT_EQ(plans.at("plans").as_array()[0].at("name"), "hello");
    const Reply cancelled = world.post("/api/v1/plans/" + id + "/cancel", "");
    ASSERT_EQ(cancelled.status, 202) << cancelled.body;
    EXPECT_EQ(World::object(cancelled).at("ticket_ids").as_array().size(), 4U);
    EXPECT_EQ(world.store->unfinished().value(), 0);
    const Reply again = world.post("/api/v1/plans/" + id + "/retry", R"({"only":"failed"})");
    ASSERT_EQ(again.status, 202) << again.body;
    EXPECT_EQ(World::object(again).at("ticket_ids").as_array().size(), 4U);
    EXPECT_EQ(world.post("/api/v1/plans/" + id + "/retry", R"({"only":"some"})").status, 422);
}

TEST(PlanApi, JsonListsOfTicketsAreAPlanToo) {
    World world;
    const std::string body =
        R"({"tickets":[)" + World::ticket("x") + "," + World::ticket("y", R"(,"dependencies":["x"])") + "]}";
    const Reply reply = world.post("/api/v1/plans", body);
    ASSERT_EQ(reply.status, 201) << reply.body;
    EXPECT_EQ(world.post("/api/v1/plans", "{\"tickets\":[]}").status, 422);
}

TEST(PlanApi, BadPlansOfEachKindLeaveNothingBehind) {
    World world;
    const auto status = [&](std::string_view body, std::string_view type = "application/yaml") {
        const Reply reply = world.post("/api/v1/plans", body, type);
        problem(reply);
        return reply.status;
    };
    EXPECT_EQ(status("plan: [unclosed"), 400);
    EXPECT_EQ(status("{not json", "application/json"), 400);
    EXPECT_EQ(status("plan: \xff"), 400);
    EXPECT_EQ(status(std::string(5000, '['), "application/json"), 400);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: EXECUTE, run: [x], needs: [b]}\n  b: {type: EXECUTE, run: [x], "
                     "needs: [a]}\n"),
              422);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: EXECUTE, run: [x], needs: [a]}\n"), 422);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: EXECUTE, run: [x], needs: [nothing]}\n"), 422);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: DANCE}\n"), 422);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: BUILD}\n"), 422);
    EXPECT_EQ(status("plan: x\ntickets:\n  a: {type: EXECUTE, run: [x], dependecies: [b]}\n"), 422);
    EXPECT_EQ(status(R"({"tickets":[)" + World::ticket("x") + "," + World::ticket("x") + "]}", "application/json"),
              422);
    EXPECT_EQ(
        status("plan: x\ntickets:\n  a: {type: EXECUTE, run: [x], needs: [0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20]}\n"),
        422);
    EXPECT_EQ(world.post("/api/v1/plans", kPlan, "text/html").status, 415);
    EXPECT_EQ(world.store->unfinished().value(), 0);
}

TEST(PlanApi, OneBadTicketTakesTheWholePlanDown) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("known")).status, 201);
    const std::string body =
        R"({"tickets":[)" + World::ticket("fresh") + "," + World::ticket("known", R"(,"description":"other")") + "]}";
    EXPECT_EQ(world.post("/api/v1/plans", body).status, 409);
    EXPECT_EQ(world.get("/api/v1/tickets/fresh").status, 404);
}

TEST(PlanApi, LargePlansGoTheSlowWay) {
    World world;
    std::string body = "plan: large\ntickets:\n";
    for (int i = 0; i < 5000; ++i) {
        body += "  t" + std::to_string(i) + ": {type: EXECUTE, run: [\"true\"]" +
                (i > 0 ? ", needs: [t" + std::to_string(i - 1) + "]" : "") + "}\n";
    }
    const Reply reply = world.post("/api/v1/plans", body, "application/yaml");
    ASSERT_EQ(reply.status, 201) << reply.body.substr(0, 500);
    const json::object plan =
        World::object(world.get("/api/v1/plans/" + std::string(World::object(reply).at("plan_id").as_string())));
    EXPECT_EQ(plan.at("critical_path").as_array().size(), 5000U);
}

TEST(ValidateApi, SaysWhatIsWrongWithoutStoringAnything) {
    World world;
    const Reply good = world.post("/api/v1/validate", kPlan, "application/yaml");
    ASSERT_EQ(good.status, 200);
    EXPECT_EQ(World::object(good).at("valid"), true);
    const Reply bad =
        world.post("/api/v1/validate", "plan: x\ntickets:\n  a: {type: EXECUTE, needs: [b]}\n", "application/yaml");
    ASSERT_EQ(bad.status, 200);
    EXPECT_EQ(World::object(bad).at("valid"), false);
    EXPECT_GT(World::object(bad).at("problems").as_array()[0].at("line").as_int64(), 0);
    EXPECT_EQ(World::object(world.post("/api/v1/validate", "{nonsense")).at("valid"), false);
    EXPECT_EQ(world.store->unfinished().value(), 0);
}

TEST(TicketApi, ARunningTicketIsNotPatchedFromOutside) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    CommitBatch batch;
    batch.number = 1;
    batch.intents.push_back({{0, world.position_of("t-1")}, 1, "t-1", 1, world.clock.wall_now()});
    world.commit(batch);
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1")).at("status"), "RUNNING");
    const Reply reply = world.send("PATCH", "/api/v1/tickets/t-1/status", R"({"status":"COMPLETED"})");
    EXPECT_EQ(reply.status, 409) << reply.body;
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1")).at("status"), "RUNNING");
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1/attempts")).at("attempts").as_array().size(), 1U);
    EXPECT_EQ(world.post("/api/v1/tickets/t-1/retry", "{}").status, 409);
}

TEST(TicketApi, AFullDiskIs507) {
    StoreLimits limits;
    limits.file_bytes = 1;
    World world({}, limits);
    const Reply reply = world.post("/api/v1/tickets", World::ticket("t-1"));
    EXPECT_EQ(reply.status, 507) << reply.body;
    problem(reply);
    EXPECT_EQ(world.get("/api/v1/tickets").status, 200);
}

TEST(TicketApi, ManySubmittersAtOnceLoseNothing) {
    World world;
    std::vector<std::thread> threads;
    std::atomic<int> created{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            RawClient client = RawClient::tcp(world.port());
            for (int i = 0; i < 100; ++i) {
                const std::string body = World::ticket(std::to_string(t) + "-" + std::to_string(i));
                client.send("POST /api/v1/tickets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " +
                            std::string(kToken) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                            body);
                if (client.read_reply().status == 201) ++created;
            }
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(created, 400);
    EXPECT_EQ(world.store->unfinished().value(), 400);
}

}  // namespace
}  // namespace wa::admin
