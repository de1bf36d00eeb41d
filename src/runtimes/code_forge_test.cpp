// The Code Forge runtime against a server that answers, or misbehaves, as it is told to.
#include "runtimes/code_forge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>

#include "http_client/testing/raw_server.h"
#include "runtimes/code_forge_answers.h"
#include "runtimes/ticket_notes.h"

namespace wa {
namespace {

namespace fs = std::filesystem;
using code_forge::State;
using http::testing::RawServer;
using http::testing::Reaction;
using http::testing::reply;
using http::testing::run_for;
using http::testing::run_until;
using http::testing::Seen;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using Then = Reaction::Then;

fs::path new_folder() {
    std::string name = (fs::temp_directory_path() / "wa-notes-XXXXXX").string();
    return ::mkdtemp(name.data()) != nullptr ? fs::path(name) : fs::path();
}

// ------------------------------------------------------------ answers

TEST(CodeForgeAnswers, TextsThatStandForNothing) {
    const auto read = code_forge::read_generation(
        R"({"request_id":"r","status":"Completed","error":"None","pipeline_id":null,"artifacts":"[{\"artifact_id\":1}]"})",
        "r");
    ASSERT_TRUE(read) << read.error().describe();
    EXPECT_EQ(read->state, State::kCompleted);
    EXPECT_EQ(read->error, "");
    EXPECT_EQ(read->pipeline_id, "");
    EXPECT_EQ(read->artifacts.size(), 1U);
    EXPECT_TRUE(code_forge::read_generation(R"({"status":"queued","artifacts":"None"})", "r")->artifacts.empty());
    EXPECT_EQ(code_forge::read_generation(R"({"status":"failed","error":17})", "r")->error, "17");
}

TEST(CodeForgeAnswers, NothingIsConcludedFromWhatIsNotUnderstood) {
    for (const char* const bad : {"", "null", "[]", "{", "{}", R"({"status":"None"})", R"({"status":"contemplating"})",
                                  R"({"status":true})", R"({"request_id":"other","status":"completed"})"}) {
        const auto read = code_forge::read_generation(bad, "r");
        ASSERT_FALSE(read) << bad;
        EXPECT_EQ(read.error().code, ErrorCode::kMalformed) << bad;
    }
}

TEST(CodeForgeAnswers, AnIdThatCanBeUsed) {
    EXPECT_EQ(code_forge::read_request_id(R"({"request_id":"abc-1"})").value(), "abc-1");
    EXPECT_EQ(code_forge::read_request_id(R"({"request_id":12})").value(), "12");
    for (const char* const bad :
         {"{}", R"({"request_id":"None"})", R"({"request_id":"a b"})", R"({"request_id":"a\n"})", "x"})
        EXPECT_FALSE(code_forge::read_request_id(bad)) << bad;
    EXPECT_FALSE(code_forge::read_request_id(R"({"request_id":")" + std::string(300, 'a') + "\"}"));
}

// ------------------------------------------------------------ notes

TEST(TicketNotesTest, OutliveTheProcess) {
    const fs::path folder = new_folder();
    TicketNotes notes((folder / "notes").string());
    ASSERT_TRUE(notes.prepare());
    EXPECT_FALSE(notes.has("a"));
    ASSERT_TRUE(notes.write("a", "one"));
    ASSERT_TRUE(notes.write("a", "two"));
    ASSERT_TRUE(notes.write("b/../../c", "three"));
    std::ofstream(folder / "notes" / "half.new") << "broken off";
    TicketNotes next((folder / "notes").string());
    ASSERT_TRUE(next.prepare());
    EXPECT_EQ(next.read("a"), "two");
    EXPECT_EQ(next.read("b/../../c"), "three");
    EXPECT_FALSE(fs::exists(folder / "notes" / "half.new"));
    next.forget("a");
    next.forget_if([](const std::string& text) { return text == "three"; });
    EXPECT_TRUE(fs::is_empty(folder / "notes"));
    EXPECT_FALSE(next.has("a"));
    EXPECT_EQ(next.write("a", std::string(TicketNotes::kMaxBytes + 1, 'x')).error().code, ErrorCode::kLimitExceeded);
    fs::remove_all(folder);
    EXPECT_EQ(next.write("a", "x").error().code, ErrorCode::kDiskFull);
    EXPECT_FALSE(next.has("a"));
}

// ------------------------------------------------------------ attempts

class CodeForgeAttempts : public ::testing::Test, public RuntimeListener {
protected:
    CodeForgeAttempts() {
        options.enabled = true;
        options.url = server.url("");
        options.interval = milliseconds(20);
        options.request_timeout = seconds(5);
        options.appear_within = milliseconds(400);
        options.unknown_answers = 3;
        options.notes_folder = (folder / "notes").string();
        options.on_call = [this](std::string_view method, std::string_view status) {
            counts.push_back(std::string(method) + " " + std::string(status));
        };
        ticket.ticket_id = "t-1";
        ticket.parameters.clear();
        ticket.parameters["template_id"] = "microservice";
    }
    ~CodeForgeAttempts() override {
        attempt.reset();
        runtime.reset();
        fs::remove_all(folder);
    }
    void runtime_ended(AttemptKey, RuntimeReport report) override {
        ++ends;
        result = std::move(report);
    }
    Reaction serve(const Seen& seen) {
        if (seen.target == "/health") return reply(health, "{}");
        std::deque<Reaction>& script = seen.method == "POST" ? posts : gets;
        (seen.method == "POST" ? posted : asked).push_back(seen);
        const Reaction next = script.front();
        if (script.size() > 1) script.pop_front();
        return next;
    }
    void make() {
        attempt.reset();
        runtime = std::make_unique<CodeForgeRuntime>(loop, clock, random, client, nullptr, options);
        runtime->begin();
    }
    void begin(std::int64_t limit_ms = 0) {
        if (!runtime) make();
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        if (limit_ms > 0) context.deadline = clock.now() + milliseconds(limit_ms);
        ends = 0;
        attempt = runtime->start(context, *this);
    }
    void run(std::int64_t limit_ms = 0) {
        begin(limit_ms);
        ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    }
    static Reaction state(std::string_view status, std::string_view more = "") {
        return reply(200, R"({"request_id":"r-1","status":")" + std::string(status) + "\"" + std::string(more) + "}");
    }
    const Error& error() { return result.attempt.error.value(); }
    std::string fact(const std::string& name) {
        return result.attempt.metadata.contains(name) ? result.attempt.metadata.at(name) : "";
    }

    fs::path folder = new_folder();
    SystemClock clock;
    SeededRandom random{7};
    boost::asio::io_context loop;
    http::Client client{loop, clock, {}};
    int health = 200;
    std::deque<Reaction> posts{reply(202, R"({"request_id":"r-1","status":"queued","message":"m"})")};
    std::deque<Reaction> gets{state("completed", R"(,"artifacts":[{"a":1}],"pipeline_id":"p","error":"None")")};
    std::vector<Seen> posted;
    std::vector<Seen> asked;
    std::vector<std::string> counts;
    RawServer server{loop, [this](const Seen& seen) { return serve(seen); }};
    CodeForgeOptions options;
    Ticket ticket;
    std::unique_ptr<CodeForgeRuntime> runtime;
    std::unique_ptr<RunningAttempt> attempt;
    RuntimeReport result;
    int ends = 0;
};

TEST_F(CodeForgeAttempts, OnePostThenQuestions) {
    gets = {reply(404, "{}"), reply(404, "{}"), state("queued"), state("processing"), gets.front()};
    run();
    EXPECT_TRUE(result.attempt.success) << error().describe();
    EXPECT_EQ(result.attempt.output.at("artifacts"), R"([{"a":1}])");
    EXPECT_EQ(result.attempt.output.at("pipeline_id"), "p");
    EXPECT_EQ(result.attempt.output.at("request_id"), "r-1");
    ASSERT_EQ(posted.size(), 1U);
    EXPECT_EQ(posted[0].target, "/api/v1/generate");
    EXPECT_EQ(posted[0].body,
              R"({"ticket_id":"t-1","template_id":"microservice","parameters":{},"target_repo":"","branch":"main"})");
    EXPECT_EQ(asked.size(), 5U);
    EXPECT_EQ(asked[0].target, "/api/v1/generate/r-1");
    EXPECT_EQ(counts.front(), "generate success");
    EXPECT_EQ(counts.back(), "generate_status success");
    EXPECT_TRUE(runtime->may_hold(ticket)) << "until it is settled";
    runtime->ticket_settled("t-1", false);
    EXPECT_FALSE(runtime->may_hold(ticket));
}

TEST_F(CodeForgeAttempts, AFailureIsAResult) {
    gets = {state("failed", R"(,"error":"no such language")")};
    run();
    EXPECT_EQ(error().code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(error().retry, Retry::kNever);
    EXPECT_EQ(error().fault, Fault::kTask);
    EXPECT_THAT(error().message, HasSubstr("no such language"));
    EXPECT_TRUE(result.work_began);
    EXPECT_FALSE(result.unavailable);
}

TEST_F(CodeForgeAttempts, APostWithoutAClearAnswerIsNotSentAgain) {
    for (const Reaction& way : {Reaction{.then = Then::kReset}, Reaction{.then = Then::kClose}, reply(500, "{}"),
                                reply(502, "<html>"), reply(503, "<html>"), reply(504, ""), reply(200, "{}"),
                                reply(202, "not JSON"), reply(302, "", "Location: /x\r\n")}) {
        posts = {way};
        posted.clear();
        make();
        run();
        EXPECT_EQ(error().retry, Retry::kNever) << error().describe();
        EXPECT_EQ(fact("remote_outcome"), "unknown") << error().describe();
        EXPECT_TRUE(result.work_began);
        EXPECT_FALSE(result.unavailable);
        run_for(loop, milliseconds(200));
        EXPECT_EQ(posted.size(), 1U);
        EXPECT_TRUE(asked.empty());
        // Nor by the next attempt, nor by a worker that is started again.
        make();
        run();
        EXPECT_EQ(posted.size(), 1U);
        EXPECT_EQ(fact("remote_outcome"), "unknown");
        runtime->ticket_settled("t-1", false);
    }
}

TEST_F(CodeForgeAttempts, WhatWasNotTakenLeavesNothing) {
    posts = {reply(503, R"({"detail":"Redis/MongoDB not available"})")};
    run();
    EXPECT_EQ(result.unavailable, Unavailable::kUnreachable);
    EXPECT_FALSE(result.work_began);
    EXPECT_TRUE(error().retryable());
    EXPECT_THAT(error().message, HasSubstr("Redis/MongoDB"));
    EXPECT_FALSE(runtime->may_hold(ticket));
    posts = {reply(400, R"({"detail":"template_id is required"})")};
    run();
    EXPECT_EQ(error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(result.unavailable) << "no other runtime is asked";
    EXPECT_FALSE(runtime->may_hold(ticket));
    server.stop();
    run();
    EXPECT_EQ(result.unavailable, Unavailable::kUnreachable);
    EXPECT_FALSE(runtime->may_hold(ticket));
}

TEST_F(CodeForgeAttempts, OddAnswersAreWaitedOut) {
    gets = {state("queued"),  reply(200, "no JSON"), reply(503, "<html>"), state("processing"), {.then = Then::kReset},
            state("strange"), state("processing"),   reply(404, "{}"),     state("processing"), gets.front()};
    run();
    EXPECT_TRUE(result.attempt.success) << error().describe();
    EXPECT_EQ(posted.size(), 1U);
}

TEST_F(CodeForgeAttempts, NotForEver) {
    gets = {state("strange")};
    run();
    EXPECT_EQ(fact("remote_outcome"), "unknown");
    EXPECT_TRUE(error().retryable()) << "the next attempt asks on";
    EXPECT_THAT(error().message, HasSubstr("strange"));
    gets = {state("completed")};
    run();
    EXPECT_TRUE(result.attempt.success);
    EXPECT_EQ(fact("adopted"), "true");
    EXPECT_EQ(posted.size(), 1U);
}

TEST_F(CodeForgeAttempts, OneThatNeverAppearsOrVanishes) {
    gets = {reply(404, "{}")};
    run();
    EXPECT_EQ(error().retry, Retry::kNever) << error().describe();
    EXPECT_EQ(fact("remote_outcome"), "unknown");
    runtime->ticket_settled("t-1", false);
    gets = {state("processing"), reply(404, "{}")};
    run();
    EXPECT_EQ(error().retry, Retry::kNever) << error().describe();
    runtime->ticket_settled("t-1", false);
    gets = {reply(403, "{}")};
    run();
    EXPECT_EQ(error().retry, Retry::kNever) << error().describe();
}

TEST_F(CodeForgeAttempts, ARestartedWorkerAsksOn) {
    gets = {state("processing")};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return asked.size() > 2; }));
    make();  // the attempt is abandoned, as by a crash
    EXPECT_TRUE(runtime->may_hold(ticket));
    gets = {state("completed")};
    run();
    EXPECT_TRUE(result.attempt.success);
    EXPECT_EQ(fact("adopted"), "true");
    EXPECT_EQ(posted.size(), 1U);
}

TEST_F(CodeForgeAttempts, AWorkerThatWasKilledDuringThePostBeginsNone) {
    posts = {{.then = Then::kHold}};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !posted.empty(); }));
    make();
    run();
    EXPECT_EQ(error().code, ErrorCode::kInterrupted);
    EXPECT_EQ(error().retry, Retry::kNever);
    EXPECT_EQ(fact("remote_outcome"), "unknown");
    EXPECT_EQ(posted.size(), 1U);
}

TEST_F(CodeForgeAttempts, OtherWorkOfTheSameTicketIsBegunAnew) {
    gets = {state("processing")};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !asked.empty(); }));
    make();
    ticket.parameters["branch"] = "other";
    gets = {state("completed")};
    run();
    EXPECT_EQ(posted.size(), 2U);
    EXPECT_EQ(fact("adopted"), "false");
}

TEST_F(CodeForgeAttempts, ItsTimeIsOver) {
    gets = {state("processing")};
    run(700);
    EXPECT_EQ(error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(error().retryable()) << "the next attempt asks on";
    EXPECT_TRUE(result.attempt.still_alive);
    EXPECT_EQ(fact("timed_out"), "true");
    EXPECT_THAT(error().message, HasSubstr("cannot stop"));
}

TEST_F(CodeForgeAttempts, StopWhileItIsAskedFor) {
    gets = {state("processing")};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !asked.empty(); }));
    attempt->stop(StopReason::kCancelled, seconds(10));
    EXPECT_EQ(ends, 0) << "not from inside";
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
    EXPECT_TRUE(result.attempt.still_alive);
    const std::size_t before = asked.size();
    run_for(loop, milliseconds(200));
    EXPECT_EQ(asked.size(), before) << "nobody asks any more";
}

TEST_F(CodeForgeAttempts, StopDuringThePost) {
    posts = {{.bytes = http::testing::reply_text(202, R"({"request_id":"r-1"})"), .delay = milliseconds(200)}};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !posted.empty(); }));
    attempt->stop(StopReason::kCancelled, seconds(10));
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_EQ(result.attempt.output.at("request_id"), "r-1") << "its name is waited for";
    EXPECT_TRUE(result.attempt.still_alive);
    EXPECT_TRUE(asked.empty());
}

TEST_F(CodeForgeAttempts, StopBeforeAnythingWasSent) {
    begin();
    attempt->stop(StopReason::kCancelled, seconds(10));
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_FALSE(result.work_began);
    EXPECT_FALSE(result.attempt.still_alive);
    EXPECT_TRUE(posted.empty());
    EXPECT_FALSE(runtime->may_hold(ticket));
}

TEST_F(CodeForgeAttempts, ANoteThatCannotBeWrittenBeginsNothing) {
    make();
    fs::remove_all(folder);
    run();
    EXPECT_EQ(error().code, ErrorCode::kDiskFull);
    EXPECT_TRUE(posted.empty());
}

TEST_F(CodeForgeAttempts, NotesOfTicketsThatAreOverGo) {
    gets = {state("processing")};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !asked.empty(); }));
    options.is_over = [](std::string_view id) { return id == "t-1"; };
    make();
    EXPECT_FALSE(runtime->may_hold(ticket));
}

TEST_F(CodeForgeAttempts, ItCountsAsThereUntilItWasAsked) {
    health = 503;
    make();
    EXPECT_TRUE(runtime->availability().available);
    ASSERT_TRUE(run_until(loop, [&] { return !runtime->availability().available; }));
    EXPECT_THAT(runtime->availability().detail, HasSubstr("503"));
    health = 200;
    EXPECT_TRUE(run_until(loop, [&] { return runtime->availability().available; })) << "asked again soon";
}

TEST_F(CodeForgeAttempts, ArtifactsAreCutWhole) {
    options.max_output_bytes = 20;
    gets = {state("completed", R"(,"artifacts":[{"a":1},{"b":"too long for that"}])")};
    run();
    EXPECT_EQ(result.attempt.output.at("artifacts"), R"([{"a":1}])");
    EXPECT_EQ(fact("truncated"), "true");
    EXPECT_EQ(fact("artifacts_count"), "2");
}

}  // namespace
}  // namespace wa
