#include "adapters/schema_registry/schema_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "core/codec/json_write.h"
#include "core/trace/testing/noted_calls.h"
#include "http_client/testing/raw_server.h"

namespace wa {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using http::testing::RawServer;
using http::testing::Reaction;
using http::testing::reply;
using http::testing::run_for;
using http::testing::run_until;
using http::testing::Seen;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Then = Reaction::Then;

constexpr const char* kSchema = R"({"type":"record","name":"T","fields":[{"name":"a","type":"string"}]})";
constexpr const char* kNotFound = R"({"error_code":40403,"message":"Schema 9 not found"})";

struct Notes final : SchemaRegistryListener {
    void schema_fetched(SchemaId, SchemaState state, std::string_view, Duration) override { fetched.push_back(state); }
    void schema_registered(std::string_view subject, SchemaId) override { registered.emplace_back(subject); }
    void registration_failed(std::string_view, const Error& why) override { failed.push_back(why.describe()); }
    void registry_breaker_changed(CircuitBreaker::State state) override { breaker.push_back(state); }
    void schema_cache_problem(const Error& why) override { problems.push_back(why.describe()); }
    std::vector<SchemaState> fetched;
    std::vector<std::string> registered;
    std::vector<std::string> failed;
    std::vector<std::string> problems;
    std::vector<CircuitBreaker::State> breaker;
};

struct MovableClock final : Clock {
    [[nodiscard]] MonoTime now() const override { return system.now() + ahead; }
    [[nodiscard]] EpochMillis wall_now() const override { return system.wall_now(); }
    SystemClock system;
    Duration ahead{};
};

std::string schema_answer(const std::string& schema) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.text("schema", schema);
    writer.close();
    return out;
}

class SchemaRegistryTest : public ::testing::Test {
protected:
    SchemaRegistryTest() {
        options.base_url = server.url("/apis/ccompat/v6/");
        options.folder = folder.string();
        options.registration_backoff = {milliseconds(1), milliseconds(5)};
    }
    void TearDown() override {
        registry.reset();
        fs::remove_all(folder);
    }
    static http::ClientOptions watched_by(CallWatch& watch) {
        http::ClientOptions options;
        options.watch = &watch;
        return options;
    }
    SchemaRegistry& start() {
        registry.emplace(loop, clock, random, client, options, notes);
        return *registry;
    }
    SchemaAnswer fetch(SchemaId id) {
        std::optional<SchemaAnswer> got;
        registry->fetch(id, [&](const SchemaAnswer& answer) { got = answer; });
        EXPECT_FALSE(got.has_value()) << "never from inside fetch()";
        EXPECT_TRUE(run_until(loop, [&] { return got.has_value(); }));
        return got.value_or(SchemaAnswer{});
    }

    asio::io_context loop;
    MovableClock clock;
    SeededRandom random{1};
    Reaction reaction = reply(200, schema_answer(kSchema));
    RawServer server{loop, [this](const Seen&) { return reaction; }};
    wa::testing::NotedCalls watch;
    http::Client client{loop, clock, watched_by(watch)};
    fs::path folder = fs::temp_directory_path() / ("wa-schemas-" + std::to_string(::getpid()));
    SchemaRegistryOptions options;
    Notes notes;
    std::optional<SchemaRegistry> registry;
};

TEST_F(SchemaRegistryTest, FetchesOnce) {
    start();
    EXPECT_EQ(registry->find(7), nullptr);
    const SchemaAnswer answer = fetch(7);
    ASSERT_EQ(answer.state, SchemaState::kFound) << answer.detail;
    EXPECT_EQ(*answer.text, kSchema);
    EXPECT_EQ(*fetch(7).text, kSchema);
    EXPECT_EQ(*registry->find(7), kSchema);
    ASSERT_EQ(server.seen().size(), 1U);
    EXPECT_EQ(server.seen()[0].target, "/apis/ccompat/v6/schemas/ids/7");
    EXPECT_THAT(server.seen()[0].headers.at("accept"), HasSubstr("application/vnd.schemaregistry.v1+json"));
    EXPECT_FALSE(server.seen()[0].headers.contains("authorization"));
    EXPECT_THAT(notes.fetched, ElementsAre(SchemaState::kFound));
}

TEST_F(SchemaRegistryTest, ManyWhoAskCostOneRequestForEachId) {
    reaction.delay = milliseconds(30);
    start();
    int answers = 0;
    for (int i = 0; i < 300; ++i)
        registry->fetch(static_cast<SchemaId>(i % 3),
                        [&](const SchemaAnswer& answer) { answers += answer.state == SchemaState::kFound ? 1 : 0; });
    ASSERT_TRUE(run_until(loop, [&] { return answers == 300; }));
    EXPECT_EQ(server.seen().size(), 3U);
}

TEST_F(SchemaRegistryTest, ManyIdsWaitForTheirTurn) {
    options.requests = 4;
    options.waiting = 50;
    start();
    int found = 0;
    int unreachable = 0;
    for (SchemaId id = 0; id < 60; ++id)
        registry->fetch(
            id, [&](const SchemaAnswer& answer) { ++(answer.state == SchemaState::kFound ? found : unreachable); });
    ASSERT_TRUE(run_until(loop, [&] { return found + unreachable == 60; }));
    EXPECT_EQ(found, 50);
    EXPECT_LE(server.most_at_once(), 4U);
}

TEST_F(SchemaRegistryTest, OnlyTheRegistrysOwnWordMakesPoison) {
    start();
    reaction = reply(404, kNotFound);
    SchemaAnswer answer = fetch(9);
    EXPECT_EQ(answer.state, SchemaState::kNotFound);
    EXPECT_THAT(answer.detail, HasSubstr("Schema 9 not found"));
    reaction = reply(200, schema_answer(kSchema));
    EXPECT_EQ(fetch(9).state, SchemaState::kNotFound) << "kept for a moment";
    clock.ahead = std::chrono::seconds(6);
    EXPECT_EQ(fetch(9).state, SchemaState::kFound);

    reaction = reply(404, R"({"error_code":404,"message":"No content with id/hash 5 was found"})");
    EXPECT_EQ(fetch(5).state, SchemaState::kNotFound) << "as older Apicurio says it";
    for (const Reaction& other :
         {reply(404, "<html>nginx</html>"), reply(404, R"({"detail":"Not Found"})"), reply(401, kNotFound),
          reply(500, kNotFound), reply(302, "", "Location: /login\r\n"), reply(200, "<html>login</html>"),
          reply(200, R"({"schema":7})"), reply(200, "{}"),
          Reaction{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", .then = Then::kClose}}) {
        start();  // with a fresh breaker
        reaction = other;
        answer = fetch(11);
        EXPECT_EQ(answer.state, SchemaState::kUnreachable) << other.bytes;
        EXPECT_FALSE(answer.detail.empty());
    }
}

TEST_F(SchemaRegistryTest, SchemasThatAreNotPlainAvroArePoison) {
    start();
    reaction = reply(200, R"({"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"})");
    SchemaAnswer answer = fetch(1);
    EXPECT_EQ(answer.state, SchemaState::kNotFound);
    EXPECT_THAT(answer.detail, HasSubstr("PROTOBUF"));
    reaction = reply(200, R"({"schema":"\"X\"","references":[{"name":"X","subject":"x","version":1}]})");
    EXPECT_EQ(fetch(2).state, SchemaState::kNotFound);
    reaction = reply(200, R"({"schema":"\"string\"","schemaType":"AVRO","references":[]})");
    EXPECT_EQ(fetch(3).state, SchemaState::kFound);
}

TEST_F(SchemaRegistryTest, ARestartFindsThemWhileTheRegistryIsDown) {
    start();
    ASSERT_EQ(fetch(7).state, SchemaState::kFound);
    server.stop();
    start();
    ASSERT_NE(registry->find(7), nullptr);
    EXPECT_EQ(*registry->find(7), kSchema);
    EXPECT_EQ(fetch(7).state, SchemaState::kFound);
    EXPECT_EQ(fetch(8).state, SchemaState::kUnreachable);
    options.base_url += "/another";
    start();
    EXPECT_EQ(registry->find(7), nullptr) << "ids mean nothing at another registry";
}

TEST_F(SchemaRegistryTest, ADamagedFileIsNotUsed) {
    start();
    ASSERT_EQ(fetch(7).state, SchemaState::kFound);
    const fs::path file = fs::directory_iterator(folder)->path();
    std::string text;
    {
        std::ifstream in(file);
        text.assign(std::istreambuf_iterator<char>(in), {});
    }
    std::string changed = text;
    changed.replace(changed.find("string"), 6, "double");
    for (const std::string& bad : {changed, text.substr(0, text.size() / 2), std::string(), std::string("{}")}) {
        std::ofstream(file) << bad;
        start();
        EXPECT_EQ(registry->find(7), nullptr) << bad;
        EXPECT_FALSE(fs::exists(file)) << bad;
        EXPECT_EQ(fetch(7).state, SchemaState::kFound);
    }
    fs::rename(file, file.parent_path() / fs::path(file.filename().string().substr(0, 37) + "8.schema.json"));
    start();
    EXPECT_EQ(registry->find(8), nullptr) << "a file under another id";
}

TEST_F(SchemaRegistryTest, AFolderThatCannotBeUsedIsSaid) {
    std::ofstream(folder) << "a file";
    start();
    ASSERT_EQ(notes.problems.size(), 1U);
    EXPECT_EQ(fetch(7).state, SchemaState::kFound);
}

TEST_F(SchemaRegistryTest, MemoryIsBounded) {
    options.schemas = 5;
    options.folder.clear();
    start();
    for (SchemaId id = 0; id < 20; ++id)
        ASSERT_EQ(fetch(id).state, SchemaState::kFound);
    EXPECT_EQ(registry->find(0), nullptr);
    EXPECT_NE(registry->find(19), nullptr);
}

TEST_F(SchemaRegistryTest, DownMeansLeftAlone) {
    options.breaker_failures = 3;
    options.breaker_pause = std::chrono::seconds(60);
    server.stop();
    start();
    for (SchemaId id = 0; id < 3; ++id)
        EXPECT_EQ(fetch(id).state, SchemaState::kUnreachable);
    const std::uint64_t calls = client.stats().calls;
    const SchemaAnswer answer = fetch(4);
    EXPECT_EQ(answer.state, SchemaState::kUnreachable);
    ASSERT_TRUE(answer.wait.has_value());
    EXPECT_GT(*answer.wait, milliseconds(30'000));
    EXPECT_EQ(client.stats().calls, calls);
    EXPECT_THAT(notes.breaker, ElementsAre(CircuitBreaker::State::kOpen));
}

TEST_F(SchemaRegistryTest, ComesBackAfterThePause) {
    options.breaker_failures = 1;
    reaction = reply(503, "", "Retry-After: 7\r\n");
    start();
    const SchemaAnswer answer = fetch(1);
    EXPECT_EQ(answer.wait, milliseconds(7000));
    reaction = reply(200, schema_answer(kSchema));
    EXPECT_EQ(fetch(1).state, SchemaState::kUnreachable);
    clock.ahead = std::chrono::seconds(61);
    EXPECT_EQ(fetch(1).state, SchemaState::kFound);
    EXPECT_THAT(notes.breaker, ElementsAre(CircuitBreaker::State::kOpen, CircuitBreaker::State::kHalfOpen,
                                           CircuitBreaker::State::kClosed));
}

TEST_F(SchemaRegistryTest, RegistersItsOwn) {
    reaction = reply(200, R"({"id":4294967295})");
    start().publish("execution.results-value", kSchema);
    EXPECT_EQ(registry->published("execution.results-value"), std::nullopt);
    ASSERT_TRUE(run_until(loop, [&] { return registry->published("execution.results-value").has_value(); }));
    EXPECT_EQ(registry->published("execution.results-value"), 4'294'967'295U);
    const Seen& seen = server.seen().at(0);
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.target, "/apis/ccompat/v6/subjects/execution.results-value/versions?normalize=False");
    EXPECT_EQ(seen.headers.at("content-type"), "application/vnd.schemaregistry.v1+json");
    EXPECT_EQ(seen.body, schema_answer(kSchema));
    registry->publish("execution.results-value", kSchema);
    run_for(loop, milliseconds(20));
    EXPECT_EQ(server.seen().size(), 1U);
    EXPECT_EQ(registry->published("other"), std::nullopt);
}

TEST_F(SchemaRegistryTest, RegistersAgainUntilItWorks) {
    options.breaker_failures = 100;
    reaction = reply(503, "");
    start().publish("s", kSchema);
    ASSERT_TRUE(run_until(loop, [&] { return notes.failed.size() >= 3; }));
    reaction = reply(200, "not json");
    const std::size_t before = notes.failed.size();
    ASSERT_TRUE(run_until(loop, [&] { return notes.failed.size() >= before + 2; }));
    reaction = reply(200, R"({"id":5})");
    ASSERT_TRUE(run_until(loop, [&] { return registry->published("s").has_value(); }));
}

TEST_F(SchemaRegistryTest, ARefusalIsNotRepeatedSoon) {
    reaction = reply(409, R"({"error_code":409,"message":"Schema being registered is incompatible"})");
    start().publish("s", kSchema);
    ASSERT_TRUE(run_until(loop, [&] { return !notes.failed.empty(); }));
    EXPECT_THAT(notes.failed[0], HasSubstr("incompatible"));
    run_for(loop, milliseconds(50));
    EXPECT_EQ(server.seen().size(), 1U);
    EXPECT_TRUE(notes.breaker.empty());
}

TEST_F(SchemaRegistryTest, CredentialsFromTheAddressOrTheSettings) {
    const std::string place = "127.0.0.1:" + std::to_string(server.port());
    options.base_url = "http://user:se-cret@" + place + "/base";
    start();
    ASSERT_EQ(fetch(7).state, SchemaState::kFound);
    EXPECT_EQ(server.seen().back().headers.at("authorization"), "Basic dXNlcjpzZS1jcmV0");
    for (const auto& entry : fs::directory_iterator(folder)) {
        std::ifstream in(entry.path());
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        EXPECT_EQ(text.find("se-cret"), std::string::npos);
    }
    options.base_url = "http://user:other-password@" + place + "/base";
    start();
    EXPECT_NE(registry->find(7), nullptr) << "a new password is not a new registry";
    options.username = "a";
    options.password = "b";
    start();
    ASSERT_EQ(fetch(8).state, SchemaState::kFound);
    EXPECT_EQ(server.seen().back().headers.at("authorization"), "Basic YTpi");
    EXPECT_FALSE(SchemaRegistry::check({.base_url = "schema-registry:8081"}));
    EXPECT_TRUE(SchemaRegistry::check(options));
}

TEST_F(SchemaRegistryTest, CallsSayWhatTheyAreFor) {
    start();
    ASSERT_EQ(fetch(7).state, SchemaState::kFound);
    reaction = reply(503, "");
    registry->publish("s", kSchema);
    ASSERT_TRUE(run_until(loop, [&] { return notes.failed.size() == 2; }));
    ASSERT_GE(watch.calls.size(), 3U);
    EXPECT_EQ(watch.calls[0]->purpose.name, "schema_registry.get_schema");
    EXPECT_EQ(watch.calls[0]->purpose.ticket_id, "") << "a schema is everybody's";
    EXPECT_EQ(watch.calls[1]->purpose.name, "schema_registry.register_schema");
    EXPECT_EQ(watch.calls[1]->purpose.retry, 0);
    EXPECT_EQ(watch.calls[2]->purpose.retry, 1);
}

TEST_F(SchemaRegistryTest, DestroyedWithQuestionsOpen) {
    reaction = {.then = Then::kHold};
    start();
    bool called = false;
    for (SchemaId id = 0; id < 20; ++id)
        registry->fetch(id, [&](const SchemaAnswer&) { called = true; });
    registry->publish("s", kSchema);
    run_for(loop, milliseconds(20));
    registry.reset();
    run_for(loop, milliseconds(20));
    EXPECT_FALSE(called);
}

}  // namespace
}  // namespace wa
