// The routes about the worker itself, its dead letters and logs, and the OpenAPI document held against the server.
#include <gtest/gtest.h>

#include "admin/openapi.h"
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
