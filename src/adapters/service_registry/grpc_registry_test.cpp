#include "adapters/service_registry/grpc_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "adapters/service_registry/testing/stand_in.h"
#include "core/trace/testing/noted_calls.h"

namespace wa {
namespace {

using namespace std::chrono_literals;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using wa::testing::StandInRegistry;

class Notes final : public ServiceRegistryListener {
public:
    std::vector<std::string> ids;
    std::vector<std::string> beats;
    std::vector<std::string> failures;
    int registered_again = 0;
    int given_up = 0;
    int gone = 0;
    int gone_failed = 0;

    void registered(std::string_view id, bool again) override {
        ids.emplace_back(id);
        registered_again += again ? 1 : 0;
    }
    void registration_failed(const Error& why, std::int32_t, bool last) override {
        failures.push_back(why.describe());
        given_up += last ? 1 : 0;
    }
    void heartbeat_ended(HeartbeatOutcome outcome, const Error* why, Duration) override {
        beats.emplace_back(to_string(outcome));
        if ((why == nullptr) != (outcome == HeartbeatOutcome::kSuccess || outcome == HeartbeatOutcome::kSkipped))
            ADD_FAILURE() << "an error says why, and only an error";
    }
    void deregistered() override { ++gone; }
    void deregistration_failed(const Error&) override { ++gone_failed; }

    [[nodiscard]] std::ptrdiff_t count(std::string_view outcome) const { return std::ranges::count(beats, outcome); }
};

class GrpcRegistryTest : public ::testing::Test {
protected:
    static ServiceRegistryOptions quick(const std::string& target) {
        ServiceRegistryOptions options;
        options.channel.target = target;
        options.heartbeat_interval = 100ms;
        options.call_timeout = 2s;
        options.first_backoff = 20ms;
        options.longest_backoff = 100ms;
        return options;
    }
    static RegistrationFacts facts() {
        RegistrationFacts facts;
        facts.capabilities = {"python", "test"};
        facts.metadata = {{"agent_id", "own-id"}};
        facts.name_space = "neural-hive-execution";
        facts.cluster = "production";
        facts.version = "1.0.0";
        return facts;
    }
    void start(ServiceRegistryOptions options) {
        registry = std::make_unique<GrpcRegistry>(loop, clock, random, notes, std::move(options));
        registry->start(facts(), [this] { return telemetry; });
    }
    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 20s) {
        const auto until = std::chrono::steady_clock::now() + limit;
        while (!done()) {
            if (std::chrono::steady_clock::now() >= until) return false;
            loop.restart();
            loop.run_one_for(10ms);
        }
        return true;
    }
    void run_for(std::chrono::milliseconds time) {
        static_cast<void>(run_until([] { return false; }, time));
    }

    boost::asio::io_context loop;
    SystemClock clock;
    SeededRandom random{7};
    Notes notes;
    RegistryTelemetry telemetry;
    StandInRegistry server;
    wa::testing::NotedCalls watch;
    std::unique_ptr<GrpcRegistry> registry;
};

TEST_F(GrpcRegistryTest, RegistersWithItsFactsAndSendsHeartbeats) {
    telemetry.success_rate = 0.75;
    telemetry.avg_duration_ms = 1234;
    telemetry.total_executions = 40;
    telemetry.failed_executions = 10;
    telemetry.last_execution_at = 1767220006000;
    start(quick(server.target()));
    EXPECT_FALSE(registry->state().registered);
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 3; }));
    EXPECT_EQ(server.calls("Register"), 1);
    const auto agents = server.agents();
    ASSERT_EQ(agents.size(), 1U);
    const auto& [id, agent] = *agents.begin();
    EXPECT_TRUE(registry->state().registered);
    EXPECT_EQ(registry->state().registry_agent_id, id);
    EXPECT_EQ(registry->state().consecutive_failures, 0);
    EXPECT_TRUE(registry->state().last_success_at);
    EXPECT_THAT(notes.ids, ElementsAre(id));
    EXPECT_EQ(notes.registered_again, 0);
    const auto& sent = agent.registration;
    EXPECT_EQ(sent.agent_type(), wa::testing::proto::WORKER);
    EXPECT_THAT(sent.capabilities(), ElementsAre("python", "test"));
    EXPECT_EQ(sent.metadata().at("agent_id"), "own-id");
    EXPECT_EQ(sent.namespace_(), "neural-hive-execution");
    EXPECT_EQ(sent.cluster(), "production");
    EXPECT_EQ(sent.version(), "1.0.0");
    EXPECT_DOUBLE_EQ(agent.telemetry.success_rate(), 0.75);
    EXPECT_EQ(agent.telemetry.avg_duration_ms(), 1234);
    EXPECT_EQ(agent.telemetry.total_executions(), 40);
    EXPECT_EQ(agent.telemetry.failed_executions(), 10);
    EXPECT_EQ(agent.telemetry.last_execution_at(), 1767220006000);
}

TEST_F(GrpcRegistryTest, CallsSayWhatTheyAreFor) {
    watch.carry = {{"traceparent", "00-abc"}};
    ServiceRegistryOptions options = quick(server.target());
    options.watch = &watch;
    server.refuse("Register", 1, {grpc::StatusCode::UNAVAILABLE, "not yet"});
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    bool gone = false;
    registry->deregister(2s, [&](const Result<void>&) { gone = true; });
    ASSERT_TRUE(run_until([&] { return gone; }));
    EXPECT_THAT(server.traceparents(), Each("00-abc"));
    std::vector<std::string> names = watch.names();
    names.erase(std::unique(names.begin(), names.end()), names.end());
    EXPECT_THAT(names,
                ElementsAre("service_registry.register", "service_registry.heartbeat", "service_registry.deregister"));
    const auto& first = *watch.calls.at(0);
    EXPECT_EQ(first.subject, "neural_hive.service_registry.ServiceRegistry");
    EXPECT_EQ(first.method, "Register");
    EXPECT_EQ(first.host + ":" + std::to_string(first.port), server.target());
    EXPECT_EQ(first.purpose.retry, 0);
    EXPECT_EQ(first.status, grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(watch.calls.at(1)->purpose.retry, 1);
    EXPECT_EQ(watch.calls.at(1)->status, 0);
}

TEST_F(GrpcRegistryTest, TelemetryOutOfRangeIsBroughtIntoIt) {
    telemetry.success_rate = 1.5;
    telemetry.avg_duration_ms = -1;
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    EXPECT_EQ(notes.count("not_found"), 0);
    EXPECT_DOUBLE_EQ(server.agents().begin()->second.telemetry.success_rate(), 1.0);
}

TEST_F(GrpcRegistryTest, AnUnknownErrorOnRegistrationIsTriedAgain) {
    server.refuse("Register", 3, {grpc::StatusCode::UNKNOWN, "Unexpected <class 'TypeError'>"});
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return registry->state().registered; }));
    EXPECT_EQ(notes.failures.size(), 3U);
    EXPECT_THAT(notes.failures.front(), HasSubstr("Register at localhost"));
    EXPECT_THAT(notes.failures.front(), HasSubstr("UNKNOWN"));
    EXPECT_EQ(notes.given_up, 0);
    EXPECT_EQ(server.agents().size(), 1U);
}

TEST_F(GrpcRegistryTest, ItGoesOnAfterTheTriesAreUsedUp) {
    server.refuse("Register", 8, {grpc::StatusCode::INTERNAL, "no"});
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return registry->state().registered; }));
    EXPECT_EQ(notes.failures.size(), 8U);
    EXPECT_EQ(notes.given_up, 1);
}

TEST_F(GrpcRegistryTest, ARegistryThatStartsLaterIsFound) {
    server.close();
    auto options = quick(server.target());
    options.registration_tries = 2;
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.given_up == 1 && notes.count("skipped") >= 1; }));
    EXPECT_FALSE(registry->state().registered);
    EXPECT_GE(registry->state().consecutive_failures, 2);
    EXPECT_THAT(registry->state().problem, HasSubstr("UNAVAILABLE"));
    server.open();
    ASSERT_TRUE(run_until([&] { return registry->state().registered; }));
    EXPECT_EQ(registry->state().problem, "");
}

TEST_F(GrpcRegistryTest, NotFoundMeansToRegisterAgainAtOnce) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    server.forget();  // as after a restart with empty memory
    ASSERT_TRUE(run_until([&] { return notes.ids.size() == 2; }));
    EXPECT_EQ(notes.count("not_found"), 1);
    EXPECT_EQ(notes.registered_again, 1);
    ASSERT_TRUE(run_until([&] { return notes.beats.back() == "success"; }));
    EXPECT_EQ(server.agents().size(), 1U);
    EXPECT_NE(notes.ids[0], notes.ids[1]);
}

TEST_F(GrpcRegistryTest, FiveFailuresInARowMeanToRegisterInFull) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    server.refuse("Heartbeat", 4, {grpc::StatusCode::INTERNAL, "Erro interno"});
    ASSERT_TRUE(run_until([&] { return notes.count("failed") == 4 && notes.beats.back() == "success"; }));
    EXPECT_EQ(server.calls("Register"), 1) << "four are not five";
    EXPECT_EQ(registry->state().consecutive_failures, 0);
    server.refuse("Heartbeat", 5, {grpc::StatusCode::INTERNAL, "Erro interno"});
    ASSERT_TRUE(run_until([&] { return notes.ids.size() == 2 && notes.beats.back() == "success"; }));
    EXPECT_EQ(server.calls("Register"), 2);
    // The former registration is taken out: there is one of us.
    ASSERT_TRUE(run_until([&] { return server.agents().size() == 1; }));
    EXPECT_EQ(server.agents().begin()->first, notes.ids[1]);
}

TEST_F(GrpcRegistryTest, ChangedFactsAreToldByARegistrationAnew) {
    auto options = quick(server.target());
    options.facts_pause = 50ms;
    start(options);
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    registry->update(facts());  // nothing new
    RegistrationFacts more = facts();
    more.metadata["runtimes"] = "local,docker";
    registry->update(facts());
    registry->update(more);
    EXPECT_TRUE(registry->state().registered);
    ASSERT_TRUE(run_until([&] { return notes.ids.size() == 2; }));
    ASSERT_TRUE(run_until([&] { return server.agents().size() == 1; }));
    EXPECT_EQ(server.agents().begin()->first, notes.ids[1]);
    EXPECT_EQ(server.agents().begin()->second.registration.metadata().at("runtimes"), "local,docker");
    EXPECT_EQ(server.calls("Register"), 2);
    EXPECT_EQ(notes.given_up, 0);
    EXPECT_EQ(notes.registered_again, 1);
}

TEST_F(GrpcRegistryTest, FactsThatComeAndGoAreOneRegistrationInAPause) {
    auto options = quick(server.target());
    options.facts_pause = 400ms;
    start(options);
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    for (int turn = 0; turn < 20; ++turn) {
        RegistrationFacts changed = facts();
        if (turn % 2 == 0) changed.metadata["runtimes"] = "local";
        registry->update(changed);
        run_until([] { return false; }, 5ms);
    }
    EXPECT_LE(server.calls("Register"), 2) << "not with each change";
    run_until([] { return false; }, 600ms);
    EXPECT_LE(server.calls("Register"), 2) << "and not when it is as before";
    EXPECT_TRUE(registry->state().registered);
}

TEST_F(GrpcRegistryTest, ChangedFactsThatAreRefusedLeaveTheWorkerRegistered) {
    auto options = quick(server.target());
    options.facts_pause = 10ms;
    options.registration_tries = 2;
    start(options);
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    server.refuse("Register", 4, {grpc::StatusCode::INTERNAL, "Erro interno"});
    RegistrationFacts more = facts();
    more.metadata["runtimes"] = "docker";
    registry->update(more);
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 3; }));
    EXPECT_TRUE(registry->state().registered);
    EXPECT_EQ(notes.given_up, 0) << "it is registered";
    ASSERT_TRUE(run_until([&] { return notes.ids.size() == 2; }));
    ASSERT_TRUE(run_until([&] { return server.agents().size() == 1; }));
}

TEST_F(GrpcRegistryTest, ARestartOfTheRegistryIsOutlived) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    server.close();
    server.forget();
    ASSERT_TRUE(run_until([&] { return notes.count("failed") >= 2; }));
    server.open();
    ASSERT_TRUE(run_until([&] { return notes.ids.size() >= 2 && notes.beats.back() == "success"; }));
    EXPECT_EQ(server.agents().size(), 1U);
}

TEST_F(GrpcRegistryTest, ARegistryThatHangsIsGivenUpAfterTheDeadline) {
    auto options = quick(server.target());
    options.call_timeout = 150ms;
    server.hang("Register");
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 2; }));
    EXPECT_THAT(notes.failures.front(), HasSubstr("DEADLINE_EXCEEDED"));
    server.release();
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
}

TEST_F(GrpcRegistryTest, HeartbeatsComeWithJitter) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 8; }));
    const auto times = server.beats();
    for (std::size_t i = 2; i < times.size(); ++i)  // the first follows the registration at once
        EXPECT_GE(times[i] - times[i - 1], 60ms);   // 90 ms less what the machine delayed the one before
}

TEST_F(GrpcRegistryTest, DrainingIsToldAtOnceAsDegraded) {
    auto options = quick(server.target());
    options.heartbeat_interval = 60s;
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    EXPECT_EQ(server.agents().begin()->second.status, wa::testing::proto::HEALTHY);
    registry->set_draining(true);
    ASSERT_TRUE(run_until([&] { return server.agents().begin()->second.status == wa::testing::proto::DEGRADED; }));
    registry->set_draining(false);
    ASSERT_TRUE(run_until([&] { return server.agents().begin()->second.status == wa::testing::proto::HEALTHY; }));
}

TEST_F(GrpcRegistryTest, ARegistrationWhileDrainingSaysSo) {
    auto options = quick(server.target());
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    registry->set_draining(true);
    server.forget();
    ASSERT_TRUE(run_until([&] { return notes.ids.size() == 2 && notes.beats.back() == "success"; }));
    const auto agent = server.agents().begin()->second;
    EXPECT_EQ(agent.registration.metadata().at("draining"), "true");
    EXPECT_EQ(agent.status, wa::testing::proto::DEGRADED);
}

TEST_F(GrpcRegistryTest, LeavingTakesTheWorkerOut) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    int done = 0;
    registry->deregister(5s, [&](const Result<void>& result) { done += result ? 1 : 100; });
    EXPECT_EQ(done, 0) << "never from inside the call";
    ASSERT_TRUE(run_until([&] { return done == 1; }));
    EXPECT_EQ(server.agents().size(), 0U);
    EXPECT_EQ(notes.gone, 1);
    EXPECT_FALSE(registry->state().registered);
    const int before = server.calls("Heartbeat");
    run_for(400ms);
    EXPECT_EQ(server.calls("Heartbeat"), before) << "nothing is sent afterwards";
    EXPECT_EQ(done, 1);
}

TEST_F(GrpcRegistryTest, LeavingWithoutHavingRegisteredIsEasy) {
    server.close();
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return !notes.failures.empty(); }));
    int done = 0;
    registry->deregister(5s, [&](const Result<void>& result) { done += result ? 1 : 100; });
    ASSERT_TRUE(run_until([&] { return done != 0; }));
    EXPECT_EQ(done, 1);
    EXPECT_EQ(notes.gone, 0);
}

TEST_F(GrpcRegistryTest, LeavingWaitsForARegistrationThatIsUnderWay) {
    server.hang("Register");
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return server.calls("Register") == 1; }));
    int done = 0;
    registry->deregister(10s, [&](const Result<void>& result) { done += result ? 1 : 100; });
    run_for(50ms);
    EXPECT_EQ(done, 0);
    server.release();
    ASSERT_TRUE(run_until([&] { return done == 1; }));
    EXPECT_EQ(server.agents().size(), 0U);
    EXPECT_EQ(server.calls("Deregister"), 1);
}

TEST_F(GrpcRegistryTest, LeavingEndsAtItsDeadline) {
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    server.hang("Deregister");
    std::optional<Result<void>> result;
    registry->deregister(100ms, [&](Result<void> ended) { result = std::move(ended); });
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    ASSERT_FALSE(*result);
    EXPECT_EQ(result->error().code, ErrorCode::kTimeout);
    EXPECT_EQ(notes.gone, 0);
    EXPECT_EQ(notes.gone_failed, 1);
}

TEST_F(GrpcRegistryTest, DestroyingEndsEverything) {
    server.hang("Register");
    start(quick(server.target()));
    ASSERT_TRUE(run_until([&] { return server.calls("Register") == 1; }));
    const auto began = std::chrono::steady_clock::now();
    registry.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s) << "it does not wait for the answer";
    server.release();
    run_for(50ms);
    EXPECT_TRUE(notes.ids.empty());
    EXPECT_TRUE(notes.failures.empty());
}

TEST_F(GrpcRegistryTest, TokensGoWithEachCallAndNowhereElse) {
    auto options = quick(server.target());
    options.bearer_token = [] { return Result<std::string>("secret-svid"); };
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
    ASSERT_GE(server.tokens().size(), 2U);
    for (const std::string& token : server.tokens())
        EXPECT_EQ(token, "Bearer secret-svid");
    server.close();
    ASSERT_TRUE(run_until([&] { return registry->state().consecutive_failures > 0; }));
    EXPECT_THAT(registry->state().problem, ::testing::Not(HasSubstr("secret")));
}

TEST_F(GrpcRegistryTest, ATokenThatCannotBeHadIsAFailure) {
    auto options = quick(server.target());
    int asked = 0;
    options.bearer_token = [&]() -> Result<std::string> {
        if (++asked < 3) return fail(ErrorCode::kUnavailable, "spiffe", "no token yet");
        return std::string("t");
    };
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return registry->state().registered; }));
    EXPECT_EQ(notes.failures.size(), 2U);
}

// ---------------------------------------------------------------- TLS

class GrpcRegistryTls : public GrpcRegistryTest {
protected:
    void SetUp() override {
        const std::string pattern = (std::filesystem::temp_directory_path() / "wa-registry-XXXXXX").string();
        std::vector<char> name(pattern.begin(), pattern.end());
        name.push_back('\0');
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder = name.data();
        make_authority("ca");
        make_authority("other");
        make_certificate("server", "ca", "localhost");
        make_certificate("client", "ca", "worker-one");
        make_certificate("stranger", "other", "worker-two");
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    [[nodiscard]] std::string path(const std::string& name) const { return (folder / name).string(); }
    [[nodiscard]] std::string text(const std::string& name) const {
        std::ifstream in(path(name));
        std::stringstream all;
        all << in.rdbuf();
        return all.str();
    }
    void shell(const std::string& command) const {
        ASSERT_EQ(std::system(("cd '" + folder.string() + "' && { " + command + "; } >/dev/null 2>&1").c_str()), 0)
            << command;
    }
    void make_authority(const std::string& name) const {
        shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + name + ".key -out " +
              name + ".pem -days 2 -subj /CN=" + name);
    }
    void make_certificate(const std::string& name, const std::string& authority, const std::string& subject) const {
        shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + name + ".key -out " + name +
              ".csr -subj /CN=" + subject + " && printf 'subjectAltName=DNS:" + subject + "' > " + name +
              ".ext && openssl x509 -req -in " + name + ".csr -CA " + authority + ".pem -CAkey " + authority +
              ".key -CAcreateserial -days 2 -extfile " + name + ".ext -out " + name + ".pem");
    }
    // A server that asks for clients' certificates.
    [[nodiscard]] std::unique_ptr<StandInRegistry> tls_server(const std::string& certificate = "server") const {
        grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
        options.pem_root_certs = text("ca.pem");
        options.pem_key_cert_pairs.push_back({text(certificate + ".key"), text(certificate + ".pem")});
        return std::make_unique<StandInRegistry>(grpc::SslServerCredentials(options));
    }
    ServiceRegistryOptions mutual(const std::string& target, const std::string& client) const {
        auto options = quick(target);
        options.channel.tls = true;
        options.channel.tls_options.ca_file = path("ca.pem");
        options.channel.tls_options.client_cert = path(client + ".pem");
        options.channel.tls_options.client_key = path(client + ".key");
        return options;
    }

    std::filesystem::path folder;
};

TEST_F(GrpcRegistryTls, BothSidesShowTheirCertificates) {
    const auto secure = tls_server();
    start(mutual(secure->target(), "client"));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
}

TEST_F(GrpcRegistryTls, ForeignCertificatesAreRefusedByBothSides) {
    const auto secure = tls_server();
    start(mutual(secure->target(), "stranger"));
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 2; }));
    EXPECT_EQ(secure->calls("Register"), 0);

    const auto foreign = tls_server("stranger");
    notes = {};
    start(mutual(foreign->target(), "client"));
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 2; }));
    EXPECT_EQ(foreign->calls("Register"), 0);
}

TEST_F(GrpcRegistryTls, WithoutVerificationAnyServerIsTaken) {
    const auto foreign = tls_server("stranger");
    auto options = mutual(foreign->target(), "client");
    options.channel.tls_options.verify = false;
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
}

TEST_F(GrpcRegistryTls, ChangedFilesAreReadAgain) {
    const auto secure = tls_server();
    auto options = mutual(secure->target(), "stranger");
    options.registration_tries = 1000;
    start(std::move(options));
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 2; }));
    std::filesystem::rename(path("client.key"), path("stranger.key"));
    std::filesystem::rename(path("client.pem"), path("stranger.pem"));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
}

TEST_F(GrpcRegistryTls, AFileThatIsNotThereIsNamedAndWaitedFor) {
    const auto secure = tls_server();
    start(mutual(secure->target(), "later"));
    ASSERT_TRUE(run_until([&] { return notes.failures.size() >= 2; }));
    EXPECT_THAT(notes.failures.front(), HasSubstr("later.pem"));
    std::filesystem::copy_file(path("client.key"), path("later.key"));
    std::filesystem::copy_file(path("client.pem"), path("later.pem"));
    ASSERT_TRUE(run_until([&] { return notes.count("success") >= 1; }));
}

}  // namespace
}  // namespace wa
