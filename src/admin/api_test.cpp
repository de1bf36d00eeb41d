// The routes over real sockets: contract shapes, status codes, and everything that callers may get wrong.
#include <gtest/gtest.h>

#include <thread>

#include "admin/openapi.h"
#include "admin/testing/world.h"

namespace wa::admin {
namespace {

using testing::kToken;
using testing::RawClient;
using testing::Reply;
using testing::World;
using namespace std::chrono_literals;
namespace json = boost::json;

json::object problem(const Reply& reply) {
    EXPECT_EQ(reply.headers.at("content-type"), "application/problem+json") << reply.body;
    const json::object body = World::object(reply);
    for (const char* key : {"type", "title", "status", "detail"})
        EXPECT_TRUE(body.contains(key)) << key;
    EXPECT_EQ(body.at("status").as_int64(), reply.status);
    return body;
}

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

constexpr std::string_view kPlan = R"(plan: hello
tickets:
  a: { type: EXECUTE, run: ["true"] }
  b: { type: EXECUTE, needs: [a], run: ["true"] }
  c: { type: EXECUTE, needs: [a], run: ["true"] }
  d: { type: EXECUTE, needs: [b, c], run: ["true"] }
)";

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

TEST(DrainApi, RefusesSubmitsWith503) {
    World world;
    EXPECT_EQ(world.post("/api/v1/undrain", "{}").status, 409);
    EXPECT_EQ(world.post("/api/v1/drain", R"({"now":"yes"})").status, 422);
    ASSERT_EQ(world.post("/api/v1/drain", R"({"now":true})").status, 202);
    EXPECT_TRUE(world.engine.drained_now);
    const Reply refused = world.post("/api/v1/tickets", World::ticket("t"));
    EXPECT_EQ(refused.status, 503);
    EXPECT_TRUE(refused.headers.contains("retry-after"));
    EXPECT_EQ(world.post("/api/v1/plans", kPlan, "application/yaml").status, 503);
    EXPECT_EQ(world.get("/ready").status, 503);
    ASSERT_EQ(world.post("/api/v1/undrain", "").status, 202);
    EXPECT_EQ(world.post("/api/v1/tickets", World::ticket("t")).status, 201);
}

TEST(HealthApi, MeansProgress) {
    World world;
    Reply reply = world.get("/health");
    EXPECT_EQ(reply.status, 200);
    json::object body = World::object(reply);
    EXPECT_EQ(body.at("status"), "healthy");
    EXPECT_EQ(body.at("agent_id"), "agent-1");
    EXPECT_EQ(body.at("checks").at("vault").at("status"), "disabled");
    bool broken = false;
    world.health.add_liveness("store", [&]() -> std::optional<std::string> {
        if (broken) return "the writer has ended";
        return std::nullopt;
    });
    EXPECT_EQ(world.get("/health").status, 200);
    broken = true;
    reply = world.get("/health");
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(World::object(reply).at("checks").at("store").at("error"), "the writer has ended");
    EXPECT_EQ(world.get("/ready").status, 503);
}

TEST(HealthApi, ReadyHasTheContractsChecks) {
    World world;
    const Reply reply = world.get("/ready/");
    EXPECT_EQ(reply.status, 200) << reply.body;
    const json::object body = World::object(reply);
    EXPECT_EQ(body.at("ready"), true);
    EXPECT_EQ(body.at("checks").at("registered"), true);
    EXPECT_EQ(body.at("checks").at("active_tasks"), 0);
    EXPECT_EQ(body.at("checks").at("max_concurrent"), 5);
    world.health.add_readiness("disk", [] { return std::optional<std::string>("disk full"); });
    const Reply full = world.get("/ready");
    EXPECT_EQ(full.status, 503);
    EXPECT_EQ(World::object(full).at("reasons").at("disk"), "disk full");
}

TEST(HealthApi, ASilentEngineIsSeenNotWaitedFor) {
    World world;
    world.engine.change([](auto& engine) { engine.silent = true; });
    EXPECT_EQ(world.get("/health").status, 200);  // the pulses decide
    EXPECT_EQ(world.get("/ready").status, 503);
    EXPECT_EQ(World::object(world.get("/api/v1/status")).at("engine_answers"), false);
    EXPECT_EQ(world.get("/metrics").status, 200);
}

TEST(StatusApi, KeepsTheContractsKeys) {
    World world;
    world.engine.change([](auto& engine) {
        engine.state.gauges.executing = 1;
        RunningTask task;
        task.ticket_id = "t-1";
        task.state = State::kRunning;
        engine.state.tasks.push_back(task);
    });
    const json::object body = World::object(world.get("/api/v1/status"));
    for (const char* key :
         {"agent_id", "agent_type", "capabilities", "active_tasks", "max_concurrent_tasks", "registered",
          "uptime_seconds", "telemetry", "authenticated_spiffe_id", "in_flight", "paused", "tasks", "running_task"}) {
        EXPECT_TRUE(body.contains(key)) << key;
    }
    EXPECT_EQ(body.at("agent_type"), "WORKER");
    EXPECT_EQ(body.at("active_tasks"), 1);
    EXPECT_EQ(body.at("running_task").at("ticket_id"), "t-1");
    EXPECT_EQ(body.at("capabilities").as_array()[0], "EXECUTE");
}

TEST(MetricsApi, OnBothPortsInBothFormats) {
    World world;
    world.engine.change([](auto& engine) { engine.state.gauges.in_flight = 7; });
    for (const std::uint16_t port : {world.port(), world.server->endpoints().metrics_port}) {
        const Reply reply = net::testing::ask(port, "GET", "/metrics");
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        EXPECT_NE(reply.body.find("worker_agent_tickets_in_flight 7.0\n"), std::string::npos);
        EXPECT_NE(reply.body.find("le=\"1.0\""), std::string::npos);
        const Reply open =
            net::testing::ask(port, "GET", "/metrics", "", "Accept: application/openmetrics-text; version=1.0.0\r\n");
        EXPECT_TRUE(open.body.ends_with("# EOF\n"));
    }
    EXPECT_EQ(net::testing::ask(world.server->endpoints().metrics_port, "GET", "/api/v1/tickets").status, 404);
}

TEST(SystemApi, ConfigDoctorExecutors) {
    World world;
    EXPECT_EQ(world.get("/api/v1/config").body, "{\"settings\":[]}");
    EXPECT_EQ(world.get("/api/v1/doctor").body, "{\"checks\":[]}");
    EXPECT_EQ(World::object(world.get("/api/v1/executors")).at("executors").as_array().size(), 2U);
}

TEST(SystemApi, ClusterModeHasNoStoreRoutes) {
    World world([](ApiContext& context, net::ServerOptions&) { context.store = nullptr; });
    EXPECT_EQ(world.post("/api/v1/tickets", World::ticket("t")).status, 404);
    EXPECT_EQ(world.get("/api/v1/plans").status, 404);
    EXPECT_EQ(world.get("/api/v1/status").status, 200);
    world.engine.change([](auto& engine) { engine.in_hand.insert("t"); });
    EXPECT_EQ(world.post("/api/v1/tasks/t/cancel", R"({"reason":"x"})").status, 200);
    EXPECT_EQ(world.post("/api/v1/tasks/u/cancel", R"({"reason":"x"})").status, 404);
}

TEST(DlqApi, ListsEmpty) {
    World world;
    const json::object body = World::object(world.get("/api/v1/dlq"));
    EXPECT_EQ(body.at("total"), 0);
    EXPECT_TRUE(body.at("dlq").as_array().empty());
    EXPECT_EQ(world.get("/api/v1/dlq?limit=0").status, 400);
}

Settlement dead_letter_of(World& world, const std::string& ticket_id) {
    Settlement settlement;
    settlement.kind = SettlementKind::kDeadLetter;
    settlement.outcome = Outcome::kInvalid;
    settlement.position = {0, world.position_of(ticket_id)};
    settlement.epoch = 1;
    settlement.ticket_id = ticket_id;
    settlement.dead_letter = {"worker_crashed", "TimeoutError", "the worker died three times", "EXECUTE"};
    return settlement;
}

TEST(DlqApi, LookedAtReplayedAndDiscarded) {
    World world;
    CommitBatch batch;
    batch.number = 1;
    for (const char* id : {"t-1", "t-2"}) {
        ASSERT_EQ(world.post("/api/v1/tickets", World::ticket(id)).status, 201);
        batch.settlements.push_back(std::make_shared<Settlement>(dead_letter_of(world, id)));
    }
    world.commit(batch);
    const json::object list = World::object(world.get("/api/v1/dlq"));
    ASSERT_EQ(list.at("total"), 2);
    const std::string key(list.at("dlq").as_array()[0].at("key").as_string());
    const std::string other(list.at("dlq").as_array()[1].at("key").as_string());
    const json::object letter = World::object(world.get("/api/v1/dlq/" + key));
    EXPECT_EQ(letter.at("reason"), "worker_crashed");
    EXPECT_EQ(letter.at("error"), "the worker died three times");
    EXPECT_TRUE(letter.contains("payload"));
    EXPECT_EQ(World::object(world.get("/api/v1/tickets/t-1")).at("phase"), "dead-lettered");
    EXPECT_NE(World::object(world.get("/api/v1/tickets/t-1/explain")).at("summary").as_string().find("dead letter"),
              json::string::npos);
    const Reply replayed = world.post("/api/v1/dlq/" + key + "/replay", "{}");
    ASSERT_EQ(replayed.status, 202) << replayed.body;
    EXPECT_EQ(world.store->unfinished().value(), 1);
    EXPECT_NE(world.post("/api/v1/dlq/" + key + "/replay", "{}").status, 202);  // it is queued again, not twice
    EXPECT_EQ(world.send("DELETE", "/api/v1/dlq/" + other + "?reason=not%20needed").status, 204);
    EXPECT_EQ(world.get("/api/v1/dlq/" + other).status, 404);
    EXPECT_EQ(world.store->unfinished().value(), 1);
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

TEST(LogsApi, WholeTailAndStream) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    {
        const auto log = world.task_logs->open("t-1", 1);
        log->append(TaskLogStream::kStdout, "one\ntwo\n");
        log->append(TaskLogStream::kStderr, "bad\n");
        log->close({});
    }
    world.task_logs->flush();
    EXPECT_EQ(world.get("/api/v1/tickets/t-1/logs").body, "one\ntwo\nbad\n");
    EXPECT_EQ(world.get("/api/v1/tickets/t-1/logs?stream=err").body, "bad\n");
    EXPECT_EQ(world.get("/api/v1/tickets/t-1/logs?attempt=1&stream=stdout&tail=1").body, "two\n");
    EXPECT_EQ(world.get("/api/v1/tickets/t-1/logs?attempt=7").body, "");
    for (const char* bad : {"attempt=0", "attempt=x", "tail=-1", "stream=video", "follow=maybe"}) {
        EXPECT_EQ(world.get(std::string("/api/v1/tickets/t-1/logs?") + bad).status, 400) << bad;
    }
}

TEST(LogsApi, FollowStreamsUntilTheAttemptEnds) {
    World world;
    ASSERT_EQ(world.post("/api/v1/tickets", World::ticket("t-1")).status, 201);
    RawClient client = RawClient::tcp(world.port());
    client.send("GET /api/v1/tickets/t-1/logs?follow=true&attempt=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(client.read_head().status, 200);  // before there is anything
    const auto log = world.task_logs->open("t-1", 1);
    log->append(TaskLogStream::kStdout, "first\n");
    EXPECT_EQ(client.read_chunk(), "first\n");
    log->append(TaskLogStream::kStdout, "second\n");
    EXPECT_EQ(client.read_chunk(), "second\n");
    log->close({});
    EXPECT_EQ(client.read_chunk(), "");
    EXPECT_TRUE(client.ends_within(2s));
}

TEST(LogsApi, WorkerLogAsLines) {
    World world;
    world.log.info("hello_event", {{"n", 1}});
    world.log.warning("warned");
    const Reply all = world.get("/api/v1/logs");
    EXPECT_EQ(all.headers.at("content-type"), "application/x-ndjson");
    EXPECT_NE(all.body.find("hello_event"), std::string::npos);
    const Reply some = world.get("/api/v1/logs?level=warning&tail=1");
    EXPECT_EQ(some.body.find("hello_event"), std::string::npos);
    EXPECT_NE(some.body.find("warned"), std::string::npos);
    RawClient client = RawClient::tcp(world.port());
    client.send("GET /api/v1/logs?follow=1&tail=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(client.read_head().status, 200);
    world.log.info("later_event");
    const auto chunk = client.read_chunk();
    ASSERT_TRUE(chunk);
    EXPECT_NE(chunk->find("later_event"), std::string::npos);
}

// ---- the document and the server say the same
// ------------------------------------------------------------------------

json::object document() {
    return json::parse(std::string(openapi_document())).as_object();
}

std::string lower(std::string text) {
    for (char& c : text)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

TEST(OpenApi, HasEveryRouteAndNoOther) {
    World world;
    const json::object paths = document().at("paths").as_object();
    std::set<std::pair<std::string, std::string>> documented;
    for (const auto& [path, operations] : paths) {
        for (const auto& [method, operation] : operations.as_object())
            documented.emplace(std::string(method), std::string(path));
    }
    std::set<std::pair<std::string, std::string>> served;
    for (const auto& [method, pattern] : world.routes)
        served.emplace(lower(method), pattern);
    EXPECT_EQ(documented, served);
    EXPECT_EQ(World::object(world.get("/openapi.json")), document());
    EXPECT_EQ(World::object(world.get("/api/v1/openapi.json/")), document());
}

// Enough of JSON Schema for the document: type, properties, required, items, enum, nullable, $ref.
void expect_fits(const json::object& root, const json::object& schema, const json::value& value,
                 const std::string& where) {
    if (const auto* target = schema.if_contains("$ref")) {
        const std::string name = std::string(target->as_string()).substr(std::string("#/components/schemas/").size());
        return expect_fits(root, root.at("components").at("schemas").at(name).as_object(), value, where);
    }
    if (value.is_null()) {
        EXPECT_TRUE(schema.contains("nullable")) << where << " is null";
        return;
    }
    const std::string type = schema.contains("type") ? std::string(schema.at("type").as_string()) : "";
    if (type == "string") EXPECT_TRUE(value.is_string()) << where;
    if (type == "integer") EXPECT_TRUE(value.is_int64() || value.is_uint64()) << where;
    if (type == "boolean") EXPECT_TRUE(value.is_bool()) << where;
    if (const auto* words = schema.if_contains("enum"); words != nullptr) {
        EXPECT_NE(std::ranges::find(words->as_array(), value), words->as_array().end())
            << where << " " << json::serialize(value);
    }
    if (type == "array") {
        ASSERT_TRUE(value.is_array()) << where;
        for (const json::value& item : value.as_array())
            expect_fits(root, schema.at("items").as_object(), item, where + "[]");
    }
    if (type != "object") return;
    ASSERT_TRUE(value.is_object()) << where;
    if (const auto* required = schema.if_contains("required")) {
        for (const json::value& name : required->as_array())
            EXPECT_TRUE(value.as_object().contains(name.as_string())) << where << "." << name;
    }
    const auto* properties = schema.if_contains("properties");
    if (properties == nullptr) return;
    for (const auto& [name, member] : value.as_object()) {
        if (const auto* known = properties->as_object().if_contains(name)) {
            expect_fits(root, known->as_object(), member, where + "." + std::string(name));
        } else {
            EXPECT_TRUE(schema.contains("additionalProperties")) << where << "." << name << " is not documented";
        }
    }
}

TEST(OpenApi, AnswersHaveTheDocumentedStatusesAndShapes) {
    World world;
    const json::object root = document();
    const auto check = [&](const std::string& method, const std::string& pattern, const std::string& target, int status,
                           const std::string& body = {}, const std::string& type = "application/json") {
        const Reply reply = method == "GET" ? world.get(target) : world.send(method, target, body, type);
        ASSERT_EQ(reply.status, status) << method << " " << target << " " << reply.body;
        const json::object& responses = root.at("paths").at(pattern).at(lower(method)).at("responses").as_object();
        const auto* response = responses.if_contains(std::to_string(status));
        ASSERT_NE(response, nullptr) << method << " " << pattern << " " << status << " is not documented";
        if (response->as_object().contains("$ref")) {
            problem(reply);
            return expect_fits(root, root.at("components").at("schemas").at("Problem").as_object(),
                               json::parse(reply.body), target);
        }
        const auto* content = response->as_object().if_contains("content");
        if (content == nullptr) return;
        std::string media = reply.headers.at("content-type");
        media = media.substr(0, media.find(';'));
        ASSERT_TRUE(content->as_object().contains(media)) << target << " " << media;
        if (media == "application/json") {
            expect_fits(root, content->at(media).at("schema").as_object(), json::parse(reply.body),
                        method + " " + target);
        }
    };
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 201, World::ticket("t-1"));
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 200, World::ticket("t-1"));
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 400, "{");
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 409, World::ticket("t-1", R"(,"description":"x")"));
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 422, "{}");
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 415, "x", "text/plain");
    check("GET", "/api/v1/tickets", "/api/v1/tickets", 200);
    check("GET", "/api/v1/tickets", "/api/v1/tickets?limit=x", 400);
    check("GET", "/api/v1/tickets/{id}", "/api/v1/tickets/t-1", 200);
    check("GET", "/api/v1/tickets/{id}", "/api/v1/tickets/no", 404);
    for (const char* sub : {"explain", "attempts", "history", "token", "logs"}) {
        check("GET", std::string("/api/v1/tickets/{id}/") + sub, std::string("/api/v1/tickets/t-1/") + sub, 200);
        check("GET", std::string("/api/v1/tickets/{id}/") + sub, std::string("/api/v1/tickets/no/") + sub, 404);
    }
    check("POST", "/api/v1/tickets/{id}/retry", "/api/v1/tickets/t-1/retry", 409, "{}");
    check("PATCH", "/api/v1/tickets/{id}/status", "/api/v1/tickets/t-1/status", 422, "{}");
    check("PATCH", "/api/v1/tickets/{id}/status", "/api/v1/tickets/t-1/status", 200, R"({"status":"FAILED"})");
    check("GET", "/api/v1/tickets/{id}/token", "/api/v1/tickets/t-1/token", 403);
    check("POST", "/api/v1/tickets/{id}/retry", "/api/v1/tickets/t-1/retry", 202, "{}");
    check("POST", "/api/v1/tickets/compensation", "/api/v1/tickets/compensation", 422, "{}");
    check("POST", "/api/v1/tasks/{id}/cancel", "/api/v1/tasks/t-1/cancel", 200, R"({"reason":"user_request"})");
    check("POST", "/api/v1/tasks/{id}/cancel", "/api/v1/tasks/t-1/cancel", 404, R"({"reason":"user_request"})");
    check("POST", "/api/v1/tasks/{id}/cancel", "/api/v1/tasks/t-1/cancel", 422, "{}");
    check("POST", "/api/v1/plans", "/api/v1/plans", 201, std::string(kPlan), "application/yaml");
    check("POST", "/api/v1/plans", "/api/v1/plans", 422, "plan: x\ntickets: {}\n", "application/yaml");
    check("GET", "/api/v1/plans", "/api/v1/plans", 200);
    const std::string plan(
        World::object(world.get("/api/v1/plans")).at("plans").as_array()[0].at("plan_id").as_string());
    check("GET", "/api/v1/plans/{id}", "/api/v1/plans/" + plan, 200);
    check("GET", "/api/v1/plans/{id}", "/api/v1/plans/no", 404);
    check("POST", "/api/v1/plans/{id}/cancel", "/api/v1/plans/" + plan + "/cancel", 202, "{}");
    check("POST", "/api/v1/plans/{id}/retry", "/api/v1/plans/" + plan + "/retry", 202, "{}");
    check("POST", "/api/v1/plans/{id}/retry", "/api/v1/plans/" + plan + "/retry", 422, R"({"only":1})");
    check("GET", "/api/v1/dlq", "/api/v1/dlq", 200);
    check("GET", "/api/v1/dlq/{key}", "/api/v1/dlq/1", 404);
    check("POST", "/api/v1/dlq/{key}/replay", "/api/v1/dlq/1/replay", 404, "{}");
    check("DELETE", "/api/v1/dlq/{key}", "/api/v1/dlq/1", 404);
    check("POST", "/api/v1/validate", "/api/v1/validate", 200, std::string(kPlan), "application/yaml");
    check("GET", "/api/v1/events", "/api/v1/events?topics=nothing", 400);
    check("GET", "/api/v1/logs", "/api/v1/logs", 200);
    check("GET", "/api/v1/executors", "/api/v1/executors", 200);
    check("GET", "/api/v1/config", "/api/v1/config", 200);
    check("GET", "/api/v1/doctor", "/api/v1/doctor", 200);
    check("GET", "/api/v1/status", "/api/v1/status", 200);
    check("GET", "/health", "/health", 200);
    check("GET", "/ready", "/ready", 200);
    check("GET", "/metrics", "/metrics", 200);
    check("POST", "/api/v1/undrain", "/api/v1/undrain", 409, "{}");
    check("POST", "/api/v1/drain", "/api/v1/drain", 202, "{}");
    check("GET", "/ready", "/ready", 503);
    check("POST", "/api/v1/tickets", "/api/v1/tickets", 503, World::ticket("t-2"));
    check("POST", "/api/v1/undrain", "/api/v1/undrain", 202, "{}");
    const Reply unasked = net::testing::ask(world.port(), "POST", "/api/v1/drain", "{}");
    EXPECT_EQ(unasked.status, 401);
    problem(unasked);
}

}  // namespace
}  // namespace wa::admin
