// Calls to a server in this process: the service of proto/service_registry.proto serves as an example of one.
#include "grpc_client/caller.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/random.h"
#include "core/trace/testing/noted_calls.h"
#include "service_registry.grpc.pb.h"

namespace wa::rpc {
namespace {

namespace proto = neural_hive::service_registry;
using namespace std::chrono_literals;

class Server final : public proto::ServiceRegistry::Service {
public:
    Server() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
        builder.RegisterService(this);
        server_ = builder.BuildAndStart();
    }
    ~Server() override { server_->Shutdown(std::chrono::system_clock::now()); }
    [[nodiscard]] std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
    void let_go() {
        const std::lock_guard lock(mutex_);
        held_ = false;
        changed_.notify_all();
    }
    void hold() {
        const std::lock_guard lock(mutex_);
        held_ = true;
    }
    [[nodiscard]] int calls() const { return calls_; }
    [[nodiscard]] int cancelled() const { return cancelled_; }
    [[nodiscard]] std::string traceparent() {
        const std::lock_guard lock(mutex_);
        return traceparent_;
    }

private:
    grpc::Status Deregister(grpc::ServerContext* context, const proto::DeregisterRequest* request,
                            proto::DeregisterResponse* response) override {
        ++calls_;
        std::unique_lock lock(mutex_);
        const auto sent = context->client_metadata().find("traceparent");
        traceparent_ =
            sent == context->client_metadata().end() ? "" : std::string(sent->second.data(), sent->second.size());
        while (held_ && !context->IsCancelled())
            changed_.wait_for(lock, 5ms);
        if (context->IsCancelled()) ++cancelled_;
        if (request->agent_id() == "refuse")
            return {grpc::StatusCode::NOT_FOUND, std::string("n\xFFo ") + std::string(5000, 'x')};
        response->set_success(request->agent_id() == "yes");
        return grpc::Status::OK;
    }

    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    std::string traceparent_;  // of the last call
    std::atomic<int> calls_ = 0;
    std::atomic<int> cancelled_ = 0;
};

class CallerTest : public ::testing::Test {
protected:
    void SetUp() override {
        ChannelOptions options;
        options.target = server.target();
        channel = std::make_unique<Channel>(options);
        caller = std::make_unique<Caller>(loop, &watch);
    }
    Call deregister(const std::string& id, Duration timeout,
                    std::function<void(Result<proto::DeregisterResponse>)> done) {
        std::shared_ptr<proto::ServiceRegistry::Stub> stub =
            proto::ServiceRegistry::NewStub(channel->current().value());
        proto::DeregisterRequest request;
        request.set_agent_id(id);
        CallOptions options;
        options.timeout = timeout;
        options.service = "hive.Registry";
        options.method = "Deregister";
        options.target = told_target.empty() ? channel->target() : told_target;
        options.purpose.name = "registry.deregister";
        return caller->call<proto::DeregisterResponse>(
            "Deregister", request, options,
            [stub](auto* context, auto* sent, auto* response, auto then) {
                stub->async()->Deregister(context, sent, response, std::move(then));
            },
            std::move(done));
    }
    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 20s) {
        const auto until = std::chrono::steady_clock::now() + limit;
        while (!done()) {
            if (std::chrono::steady_clock::now() >= until) return false;
            loop.restart();
            loop.run_one_for(5ms);
        }
        return true;
    }
    void run_for(std::chrono::milliseconds time) {
        static_cast<void>(run_until([] { return false; }, time));
    }

    boost::asio::io_context loop;
    wa::testing::NotedCalls watch;
    std::string told_target;
    Server server;
    std::unique_ptr<Channel> channel;
    std::unique_ptr<Caller> caller;
};

TEST_F(CallerTest, AnswersComeFromTheLoop) {
    std::optional<bool> success;
    const Call call = deregister("yes", 5s, [&](const Result<proto::DeregisterResponse>& answer) {
        ASSERT_TRUE(answer) << answer.error().describe();
        success = answer->success();
    });
    std::this_thread::sleep_for(50ms);  // long enough for the answer, which nobody has taken from the loop yet
    EXPECT_FALSE(success);
    EXPECT_TRUE(call.active());
    ASSERT_TRUE(run_until([&] { return success.has_value(); }));
    EXPECT_TRUE(*success);
    EXPECT_FALSE(call.active());
}

TEST_F(CallerTest, RefusalsAreErrorsOfOneShortSentence) {
    std::optional<Error> error;
    const Call call = deregister("refuse", 5s, [&](const Result<proto::DeregisterResponse>& answer) {
        ASSERT_FALSE(answer);
        error = answer.error();
    });
    ASSERT_TRUE(run_until([&] { return error.has_value(); }));
    EXPECT_EQ(error->code, ErrorCode::kNotFound);
    EXPECT_EQ(error->message.find("Deregister: NOT_FOUND: n"), 0U) << error->message;
    EXPECT_LT(error->message.size(), 400U);
}

TEST_F(CallerTest, CallsEndAtTheirDeadline) {
    server.hold();
    std::optional<Error> error;
    const auto began = std::chrono::steady_clock::now();
    const Call call = deregister("yes", 100ms, [&](const Result<proto::DeregisterResponse>& answer) {
        ASSERT_FALSE(answer);
        error = answer.error();
    });
    ASSERT_TRUE(run_until([&] { return error.has_value(); }));
    EXPECT_EQ(error->code, ErrorCode::kTimeout);
    EXPECT_TRUE(error->retryable());
    EXPECT_GE(std::chrono::steady_clock::now() - began, 90ms);
}

TEST_F(CallerTest, DroppingTheHandleCancelsAtTheServerToo) {
    server.hold();
    bool called = false;
    {
        const Call call = deregister("yes", 30s, [&](const Result<proto::DeregisterResponse>&) { called = true; });
        ASSERT_TRUE(run_until([&] { return server.calls() == 1; }));
    }
    ASSERT_TRUE(run_until([&] { return server.cancelled() == 1; }));
    run_for(50ms);
    EXPECT_FALSE(called);
}

TEST_F(CallerTest, DestroyingTheCallerEndsItsCalls) {
    server.hold();
    bool called = false;
    Call kept = deregister("yes", 30s, [&](const Result<proto::DeregisterResponse>&) { called = true; });
    ASSERT_TRUE(run_until([&] { return server.calls() == 1; }));
    const auto began = std::chrono::steady_clock::now();
    caller.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
    run_for(50ms);
    EXPECT_FALSE(called);
    kept.cancel();  // harmless
}

TEST_F(CallerTest, AnAnswerThatIsOnItsWayDiesWithTheCaller) {
    bool called = false;
    const Call kept = deregister("yes", 5s, [&](const Result<proto::DeregisterResponse>&) { called = true; });
    std::this_thread::sleep_for(100ms);  // it is in the loop's queue now
    caller.reset();
    run_for(50ms);
    EXPECT_FALSE(called);
}

TEST_F(CallerTest, TheLoopMayGoBeforeTheHandles) {
    server.hold();
    auto own_loop = std::make_unique<boost::asio::io_context>();
    caller = std::make_unique<Caller>(*own_loop);
    const Call kept = deregister("yes", 30s, [](const Result<proto::DeregisterResponse>&) { ADD_FAILURE(); });
    caller.reset();
    own_loop.reset();
}

TEST_F(CallerTest, ManyCallsCancelledAtAnyMoment) {
    SeededRandom random(11);
    std::vector<Call> calls;
    int answered = 0;
    for (int i = 0; i < 400; ++i) {
        calls.push_back(deregister(
            "yes", 10s, [&](const Result<proto::DeregisterResponse>& answer) { answered += answer ? 1 : 0; }));
        if (random.chance(0.5)) calls[random.below(calls.size())].cancel();
        if (random.chance(0.3)) run_for(1ms);
    }
    const auto open = [&] { return std::ranges::count_if(calls, [](const Call& call) { return call.active(); }); };
    ASSERT_TRUE(run_until([&] { return open() == 0; }));
    EXPECT_GT(answered, 100);
}

TEST_F(CallerTest, AServerThatIsAwayIsUnavailable) {
    ChannelOptions options;
    options.target = "127.0.0.1:1";
    channel = std::make_unique<Channel>(options);
    std::optional<Error> error;
    const Call call = deregister("yes", 5s, [&](const Result<proto::DeregisterResponse>& answer) {
        if (!answer) error = answer.error();
    });
    ASSERT_TRUE(run_until([&] { return error.has_value(); }));
    EXPECT_EQ(error->code, ErrorCode::kUnavailable);
    EXPECT_TRUE(error->retryable());
}

TEST_F(CallerTest, WhoWatchesHearsOfEachCall) {
    watch.carry = {{"traceparent", "00-abc"}};
    int answers = 0;
    const auto count = [&](const Result<proto::DeregisterResponse>&) { ++answers; };
    const Call good = deregister("yes", 5s, count);
    ASSERT_TRUE(run_until([&] { return answers == 1; }));
    EXPECT_EQ(server.traceparent(), "00-abc");
    const Call refused = deregister("refuse", 5s, count);
    ASSERT_TRUE(run_until([&] { return answers == 2; }));
    server.hold();
    Call given_up = deregister("yes", 5s, count);
    given_up.cancel();
    ASSERT_EQ(watch.calls.size(), 3U);
    const auto& call = *watch.calls[0];
    EXPECT_EQ(call.purpose.name, "registry.deregister");
    EXPECT_EQ(call.protocol, OutgoingCall::Protocol::kGrpc);
    EXPECT_EQ(call.method, "Deregister");
    EXPECT_EQ(call.subject, "hive.Registry");
    EXPECT_EQ(call.host, "127.0.0.1");
    EXPECT_EQ("127.0.0.1:" + std::to_string(call.port), server.target());
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.status, 0);
    EXPECT_FALSE(call.error);
    EXPECT_EQ(watch.calls[1]->status, grpc::StatusCode::NOT_FOUND);
    ASSERT_TRUE(watch.calls[1]->error);
    EXPECT_EQ(watch.calls[1]->error->code, ErrorCode::kNotFound);
    EXPECT_TRUE(watch.calls[2]->given_up);
    const Call open = deregister("yes", 5s, count);
    caller.reset();
    EXPECT_TRUE(watch.calls.at(3)->given_up) << "before the caller is gone";
    EXPECT_EQ(answers, 2);
}

TEST_F(CallerTest, WhereACallGoesIsToldInTwoParts) {
    watch.cares_for_the_end = false;
    const auto told = [&](std::string target) {
        told_target = std::move(target);
        static_cast<void>(deregister("yes", 5s, [](const Result<proto::DeregisterResponse>&) {}));
        return watch.calls.back()->host + " " + std::to_string(watch.calls.back()->port);
    };
    EXPECT_EQ(told("registry:50051"), "registry 50051");
    EXPECT_EQ(told("[::1]:7"), "::1 7");
    EXPECT_EQ(told("unix:/run/x"), "unix:/run/x 0");
    EXPECT_EQ(told("registry"), "registry 0");
    EXPECT_EQ(told("registry:70000"), "registry:70000 0");
}

TEST(GrpcErrors, SayWhetherTryingAgainCanHelp) {
    const auto of = [](grpc::StatusCode code) { return error_of({code, ""}, "x"); };
    for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::DEADLINE_EXCEEDED,
                            grpc::StatusCode::INTERNAL, grpc::StatusCode::UNKNOWN, grpc::StatusCode::RESOURCE_EXHAUSTED,
                            grpc::StatusCode::ABORTED, grpc::StatusCode::CANCELLED})
        EXPECT_TRUE(of(code).retryable()) << code;
    for (const auto code :
         {grpc::StatusCode::NOT_FOUND, grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::UNIMPLEMENTED,
          grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::UNAUTHENTICATED})
        EXPECT_FALSE(of(code).retryable()) << code;
}

}  // namespace
}  // namespace wa::rpc
