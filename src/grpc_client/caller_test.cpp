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

private:
    grpc::Status Deregister(grpc::ServerContext* context, const proto::DeregisterRequest* request,
                            proto::DeregisterResponse* response) override {
        ++calls_;
        std::unique_lock lock(mutex_);
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
    std::atomic<int> calls_ = 0;
    std::atomic<int> cancelled_ = 0;
};

class CallerTest : public ::testing::Test {
protected:
    void SetUp() override {
        ChannelOptions options;
        options.target = server.target();
        channel = std::make_unique<Channel>(options);
        caller = std::make_unique<Caller>(loop);
    }
    Call deregister(const std::string& id, Duration timeout,
                    std::function<void(Result<proto::DeregisterResponse>)> done) {
        std::shared_ptr<proto::ServiceRegistry::Stub> stub =
            proto::ServiceRegistry::NewStub(channel->current().value());
        proto::DeregisterRequest request;
        request.set_agent_id(id);
        CallOptions options;
        options.timeout = timeout;
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
