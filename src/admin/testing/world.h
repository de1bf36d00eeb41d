// For tests only: the API on a real socket, over a real store, with an engine that does what the test says.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "adapters/embedded_store/dead_letters.h"
#include "adapters/embedded_store/ports.h"
#include "adapters/embedded_store/store.h"
#include "adapters/task_logs/file_task_logs.h"
#include "admin/api.h"
#include "core/codec/result_json.h"
#include "net/http_server.h"
#include "net/testing/raw_client.h"

namespace wa::admin::testing {

namespace json = boost::json;
using net::testing::RawClient;
using net::testing::Reply;

constexpr const char* kToken = "admin-test-token-0001";

class FakeEngine final : public EngineControl {
public:
    void cancel(CancelRequest request, std::function<void(Result<CancelAnswer>)> answer) override {
        const std::scoped_lock lock(mutex_);
        cancels.push_back(request);
        if (silent) return kept_cancels_.push_back(std::move(answer));
        if (!in_hand.contains(request.ticket_id)) {
            if (not_in_hand) not_in_hand(request.ticket_id);
            return answer(fail(ErrorCode::kNotFound, "engine", "not in hand"));
        }
        answer(CancelAnswer{true, "stopping"});
    }
    void completed_outside(std::string ticket_id, EpochMillis /*at*/) override {
        const std::scoped_lock lock(mutex_);
        completed.push_back(std::move(ticket_id));
    }
    void explain(std::string ticket_id, std::function<void(Result<Explanation>)> answer) override {
        const std::scoped_lock lock(mutex_);
        if (!in_hand.contains(ticket_id)) return answer(fail(ErrorCode::kNotFound, "engine", "not in hand"));
        answer(Explanation{"needs b (running)", "waiting", "deps", {{"dependencies", false, "b"}}, ""});
    }
    void snapshot(std::function<void(EngineSnapshot)> answer) override {
        const std::scoped_lock lock(mutex_);
        if (silent) return kept_snapshots_.push_back(std::move(answer));
        answer(state);
    }
    void drain(bool now, std::string) override {
        drained = true;
        drained_now = now;
    }
    void undrain(std::function<void(Result<void>)> answer) override {
        if (!drained) return answer(fail(ErrorCode::kConflict, "engine", "not draining"));
        drained = false;
        answer({});
    }
    template <class Change>
    void change(Change change) {
        const std::scoped_lock lock(mutex_);
        change(*this);
    }

    std::set<std::string> in_hand;
    std::vector<CancelRequest> cancels;
    std::vector<std::string> completed;
    // What happens just as a cancel is answered with "not in hand".
    std::function<void(const std::string& ticket_id)> not_in_hand;
    EngineSnapshot state;
    bool silent = false;
    std::atomic<bool> drained{false};
    std::atomic<bool> drained_now{false};

private:
    std::mutex mutex_;
    std::vector<std::function<void(Result<CancelAnswer>)>> kept_cancels_;
    std::vector<std::function<void(EngineSnapshot)>> kept_snapshots_;
};

class World {
public:
    explicit World(std::function<void(ApiContext&, net::ServerOptions&)> change = {}, StoreLimits limits = {})
        : folder_(std::filesystem::temp_directory_path() /
                  ("wa-api-" + std::to_string(::getpid()) + "-" + std::to_string(next()++))),
          metrics(registry, clock, {"0.1.0", "rev", "agent-1", "test"}, 10),
          hub(clock),
          health(clock),
          log(log_options(), clock) {
        std::filesystem::create_directories(folder_);
        auto opened = EmbeddedStore::open(StoreOptions{folder_ / "worker.db", limits, {}}, clock, random);
        if (!opened) {
            ADD_FAILURE() << opened.error().describe();
            std::abort();
        }
        store = std::move(*opened);
        task_logs = std::make_unique<FileTaskLogs>(FileTaskLogsOptions{(folder_ / "logs").string(), {}}, clock);
        engine.state.gauges.in_flight_limit = 10;
        ApiContext context;
        context.store = store.get();
        dead_letters = std::make_unique<EmbeddedDeadLetters>(*store);
        context.dead_letters = dead_letters.get();
        context.engine = &engine;
        context.task_logs = task_logs.get();
        context.clock = &clock;
        context.random = &random;
        context.registry = &registry;
        context.metrics = &metrics;
        context.hub = &hub;
        context.log = &log;
        context.health = &health;
        context.facts.agent_id = "agent-1";
        context.facts.version = "0.1.0";
        context.facts.task_types = {TaskType::kExecute, TaskType::kTest};
        context.facts.started_at = clock.wall_now();
        context.draining = [this] { return engine.drained.load(); };
        context.config_json = [] { return std::string("{\"settings\":[]}"); };
        context.doctor_json = [] { return std::string("{\"checks\":[]}"); };
        net::ServerOptions options;
        options.port = 0;
        options.token = kToken;
        options.metrics_listener = true;
        options.metrics_port = 0;
        if (change) change(context, options);
        Routers routers = make_routes(std::move(context));
        for (const net::Route* route : routers.api.routes())
            routes.emplace_back(route->method, route->pattern);
        auto started = net::HttpServer::start(std::move(options), std::move(routers.api), std::move(routers.metrics));
        if (!started) {
            ADD_FAILURE() << started.error().describe();
            std::abort();
        }
        server = std::move(*started);
        background = std::move(routers.background);
    }
    ~World() {
        server.reset();
        background.reset();
        task_logs.reset();
        store.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    [[nodiscard]] std::uint16_t port() const { return server->endpoints().port; }
    Reply get(std::string_view target) { return net::testing::ask(port(), "GET", target); }
    Reply post(std::string_view target, std::string_view body, std::string_view type = "application/json") {
        return send("POST", target, body, type);
    }
    Reply send(std::string_view method, std::string_view target, std::string_view body = {},
               std::string_view type = "application/json") {
        return net::testing::ask(
            port(), method, target, body,
            "Authorization: Bearer " + std::string(kToken) + "\r\nContent-Type: " + std::string(type) + "\r\n");
    }
    // What the engine would write about a ticket, through its own port. Returns once it is durable.
    void commit(const CommitBatch& batch) {
        std::promise<CommitStatus> done;
        EmbeddedSink sink(
            *store, [](std::function<void()> work) { work(); },
            [&done](SinkInput input) {
                if (const auto* result = std::get_if<CommitResult>(&input)) done.set_value(result->status);
            },
            {[](const ExecutionResult& result) { return write_result(result); },
             [](const Ticket&) { return std::string("{}"); }});
        sink.commit(batch);
        EXPECT_EQ(done.get_future().get(), CommitStatus::kCommitted);
    }
    // As the engine does when an attempt begins.
    void start(const std::string& ticket_id) {
        CommitBatch batch;
        batch.number = 1;
        batch.intents.push_back({SourcePosition{0, position_of(ticket_id)}, 0, ticket_id, 1, clock.wall_now()});
        commit(batch);
    }
    Offset position_of(const std::string& ticket_id) { return store->ticket(ticket_id)->summary.queue_seq; }
    static json::object object(const Reply& reply) {
        boost::system::error_code error;
        json::value value = json::parse(reply.body, error);
        if (error || !value.is_object()) {
            ADD_FAILURE() << "not a JSON object: " << reply.status << " " << reply.body;
            return {};
        }
        return value.as_object();
    }
    static std::string ticket(std::string id, std::string more = {}) {
        return "{\"ticket_id\":\"" + id + "\",\"task_id\":\"task-" + id +
               "\",\"task_type\":\"EXECUTE\",\"plan_id\":\"p\",\"parameters\":{\"command\":[\"true\"]}" + more + "}";
    }

private:
    static std::atomic<int>& next() {
        static std::atomic<int> number{0};
        return number;
    }
    static observability::LogOptions log_options() {
        observability::LogOptions options;
        options.format = observability::LogFormat::kJson;
        options.level = observability::LogLevel::kDebug;
        options.sink = [](std::string_view) {};
        return options;
    }
    std::filesystem::path folder_;

public:
    SystemClock clock;
    SystemRandom random;
    observability::Registry registry;
    observability::Metrics metrics;
    observability::EventHub hub;
    observability::Health health;
    observability::Log log;
    FakeEngine engine;
    std::unique_ptr<EmbeddedStore> store;
    std::unique_ptr<EmbeddedDeadLetters> dead_letters;
    std::unique_ptr<FileTaskLogs> task_logs;
    std::vector<std::pair<std::string, std::string>> routes;
    std::unique_ptr<net::HttpServer> server;
    std::unique_ptr<BackgroundThread> background;
};

inline constexpr std::string_view kPlan = R"(plan: hello
tickets:
  a: { type: EXECUTE, run: ["true"] }
  b: { type: EXECUTE, needs: [a], run: ["true"] }
  c: { type: EXECUTE, needs: [a], run: ["true"] }
  d: { type: EXECUTE, needs: [b, c], run: ["true"] }
)";

// Its body, which must be a problem report.
inline boost::json::object problem(const Reply& reply) {
    EXPECT_EQ(reply.headers.at("content-type"), "application/problem+json") << reply.body;
    const boost::json::object body = World::object(reply);
    for (const char* key : {"type", "title", "status", "detail"})
        EXPECT_TRUE(body.contains(key)) << key;
    EXPECT_EQ(body.at("status").as_int64(), reply.status);
    return body;
}

}  // namespace wa::admin::testing
