// The Lambda runtime against a server that answers, or misbehaves, as it is told to.
#include "runtimes/lambda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <deque>
#include <optional>

#include "core/codec/text.h"
#include "http_client/testing/raw_server.h"
#include "runtimes/lambda_answer.h"

namespace wa {
namespace {

using http::testing::RawServer;
using http::testing::Reaction;
using http::testing::reply;
using http::testing::run_for;
using http::testing::run_until;
using http::testing::Seen;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Then = Reaction::Then;

// ------------------------------------------------------------ answers

TEST(LambdaAnswers, OfEveryForm) {
    const auto plain = lambda::read_answer("hello");
    EXPECT_EQ(plain.out, "hello");
    EXPECT_FALSE(plain.exit_code);
    EXPECT_EQ(lambda::read_answer("\"quoted\"").out, "quoted");
    EXPECT_EQ(lambda::read_answer("[1, 2]").out, "[1,2]");
    const auto object = lambda::read_answer(R"({"exitCode": "3", "output": "o", "stderr": "e", "error": "bad"})");
    EXPECT_EQ(object.exit_code, 3);
    EXPECT_EQ(object.out, "o");
    EXPECT_EQ(object.err, "e");
    EXPECT_EQ(object.error, "bad");
    EXPECT_EQ(lambda::read_answer(R"({"exit_code": 0, "stdout": {"a": 1}})").out, R"({"a":1})");
    EXPECT_TRUE(lambda::read_answer(R"({"exit_code": "no"})").bad_exit_code);
    EXPECT_TRUE(lambda::read_answer(R"({"exit_code": 99999999999})").bad_exit_code);
    EXPECT_FALSE(lambda::read_answer(R"({"exit_code": null})").bad_exit_code);
}

TEST(LambdaAnswers, TheEndOfTheLog) {
    const std::string text =
        "line\r\n\nREPORT RequestId: a\tDuration: 1.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory "
        "Used: "
        "30 MB\tInit Duration: 99.00 ms\n";
    const auto tail = lambda::read_log_tail(base64(text));
    EXPECT_EQ(tail.lines.size(), 2U);
    EXPECT_EQ(tail.lines.front(), "line");
    EXPECT_EQ(tail.billed_ms, 2U);
    EXPECT_EQ(tail.memory_mb, 128U);
    EXPECT_EQ(tail.memory_used_mb, 30U);
    EXPECT_TRUE(lambda::read_log_tail("!!!").lines.empty());
    EXPECT_TRUE(lambda::read_log_tail(std::string(100'000, 'A')).lines.empty());
    EXPECT_FALSE(lambda::read_log_tail(base64("REPORT Billed Duration: x ms")).billed_ms);
    // What the function itself prints does not count.
    EXPECT_FALSE(lambda::read_log_tail(base64("I say: REPORT Billed Duration: 1 ms")).billed_ms);
}

// ------------------------------------------------------------ tasks

Ticket ticket_of(std::initializer_list<std::pair<std::string_view, boost::json::value>> parameters) {
    Ticket ticket;
    ticket.ticket_id = "t-1";
    ticket.parameters.clear();
    for (const auto& [name, value] : parameters)
        ticket.parameters[name] = value;
    return ticket;
}

TEST(LambdaTasks, TheCommandAsOneText) {
    const auto task = lambda::parse_task(ticket_of({{"command", {"echo", "a b", ""}}, {"args", "x 'y z'"}}), {});
    ASSERT_TRUE(task) << task.error().describe();
    EXPECT_EQ(task->command, "echo 'a b' ''");
    EXPECT_EQ(*task->args, (std::vector<std::string>{"x", "y z"}));
    EXPECT_EQ(lambda::payload(*task, "t-1", 2, milliseconds(1500)).value(),
              R"({"command":"echo 'a b' ''","args":["x","y z"],"timeout_seconds":2,"ticket_id":"t-1","attempt":2})");
    EXPECT_EQ(lambda::invocation_path(*task), "/2015-03-31/functions/neural-hive-executor/invocations");
}

TEST(LambdaTasks, OnlyFunctionsThatAreAllowed) {
    lambda::TaskRules rules;
    EXPECT_TRUE(lambda::parse_task(ticket_of({{"function_name", "neural-hive-executor"}}), rules));
    const auto other = lambda::parse_task(ticket_of({{"function_name", "other"}}), rules);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kNotAllowed);
    rules.allowed = {"team-*"};
    EXPECT_TRUE(lambda::parse_task(ticket_of({}), rules));
    EXPECT_TRUE(lambda::parse_task(ticket_of({{"function_name", "team-a"}}), rules));
    EXPECT_FALSE(lambda::parse_task(ticket_of({{"function_name", "neural-hive-executor"}}), rules))
        << "not on the list";
    rules.allowed = {"*"};
    for (const char* const bad : {"a/b", "a?b", "a b", "a%2e", "../x"})
        EXPECT_FALSE(lambda::parse_task(ticket_of({{"function_name", bad}}), rules)) << bad;
    EXPECT_FALSE(lambda::parse_task(ticket_of({{"qualifier", "a&b=c"}}), rules));
    const auto arn = lambda::parse_task(
        ticket_of({{"function_name", "arn:aws:lambda:r:1:function:f"}, {"qualifier", "$LATEST"}}), rules);
    ASSERT_TRUE(arn);
    EXPECT_EQ(lambda::invocation_path(*arn),
              "/2015-03-31/functions/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af/invocations?Qualifier=%24LATEST");
}

TEST(LambdaTasks, APayloadThatIsTooLarge) {
    lambda::Task task;
    task.variables.emplace();
    for (int i = 0; i < 110; ++i)
        task.variables->emplace("V" + std::to_string(i), std::string(64 * 1024, 'x'));
    EXPECT_EQ(lambda::payload(task, "t", 1, seconds(1)).error().code, ErrorCode::kLimitExceeded);
}

// ------------------------------------------------------------ attempts

class LambdaAttempts : public ::testing::Test, public RuntimeListener {
protected:
    LambdaAttempts() {
        options.enabled = true;
        options.credentials.given = aws::Credentials{"AKIDEXAMPLE", "very-secret-key", ""};
        ticket = ticket_of({{"command", "run it"}});
    }
    void runtime_ended(AttemptKey, RuntimeReport report) override {
        ++ends;
        result = std::move(report);
    }
    Reaction serve(const Seen& seen) {
        if (seen.method == "GET") {
            ++looks;
            return reply(403, "{}");
        }
        if (seen.target == "/") {
            const Reaction next = sts.size() > 1 ? sts.front() : sts.at(0);
            if (sts.size() > 1) sts.pop_front();
            questions.push_back(seen.body);
            return next;
        }
        calls.push_back(seen);
        const Reaction next = answers.front();
        if (answers.size() > 1) answers.pop_front();
        return next;
    }
    void make() {
        if (options.endpoint.empty()) options.endpoint = server->url("");
        runtime = std::make_unique<LambdaRuntime>(loop, clock, random, client, nullptr, options);
        runtime->begin();
        // The first look is over.
        ASSERT_TRUE(run_until(loop, [&] { return looks > 0 || !runtime->availability().available; }));
        run_for(loop, milliseconds(20));
    }
    void begin(std::int64_t limit_ms = 0) {
        if (!runtime) make();
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        context.number = 3;
        if (limit_ms > 0) context.deadline = clock.now() + milliseconds(limit_ms);
        attempt = runtime->start(context, *this);
    }
    void run() {
        begin();
        ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    }
    const Error& error() { return result.attempt.error.value(); }
    std::string fact(const std::string& name) {
        return result.attempt.metadata.contains(name) ? result.attempt.metadata.at(name) : "";
    }
    // The whole result as text: where a secret must not be.
    std::string all() {
        std::string text = result.attempt.error ? result.attempt.error->describe() : "";
        for (const auto* map : {&result.attempt.output, &result.attempt.metadata}) {
            for (const auto& [name, value] : *map)
                text += name + "=" + value + "\n";
        }
        for (const std::string& line : result.attempt.logs)
            text += line + "\n";
        return text;
    }

    SystemClock clock;
    SeededRandom random{7};
    boost::asio::io_context loop;
    http::Client client{loop, clock, {}};
    std::deque<Reaction> answers{reply(200, R"({"exit_code":0,"stdout":"hi"})")};
    std::deque<Reaction> sts;
    std::vector<std::string> questions;
    std::vector<Seen> calls;
    std::optional<RawServer> server{std::in_place, loop, [this](const Seen& seen) { return serve(seen); }};
    LambdaOptions options;
    Ticket ticket;
    std::unique_ptr<LambdaRuntime> runtime;
    std::unique_ptr<RunningAttempt> attempt;
    RuntimeReport result;
    int ends = 0;
    int looks = 0;
};

TEST_F(LambdaAttempts, OneCallWithASignature) {
    run();
    EXPECT_TRUE(result.attempt.success);
    EXPECT_EQ(result.attempt.output.at("stdout"), "hi");
    EXPECT_EQ(result.attempt.exit_code, 0);
    ASSERT_EQ(calls.size(), 1U);
    EXPECT_EQ(calls[0].method, "POST");
    EXPECT_THAT(calls[0].headers.at("authorization"),
                AllOf(HasSubstr("Credential=AKIDEXAMPLE/"), HasSubstr("/us-east-1/lambda/aws4_request"),
                      HasSubstr("SignedHeaders=content-type;host;x-amz-date;x-amz-invocation-type;x-amz-log-type")));
    EXPECT_THAT(calls[0].body, HasSubstr(R"("attempt":3)"));
    EXPECT_FALSE(runtime->can_detach());
}

TEST_F(LambdaAttempts, WhatMayHaveRunIsNeverCalledAgain) {
    const std::vector<Reaction> ways{{.then = Then::kReset},
                                     {.then = Then::kClose},
                                     {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", .then = Then::kReset},
                                     {.bytes = "what is this\r\n\r\n", .then = Then::kClose},
                                     reply(500, "{}"),
                                     reply(502, "{}"),
                                     reply(503, "{}", "Retry-After: 1\r\n"),
                                     reply(504, "{}"),
                                     reply(202, ""),
                                     reply(302, "", "Location: /elsewhere\r\n"),
                                     reply(200, std::string(8U << 20U, 'x'))};
    for (const Reaction& way : ways) {
        answers = {way};
        calls.clear();
        ends = 0;
        runtime.reset();
        run();
        EXPECT_FALSE(result.attempt.success);
        EXPECT_EQ(error().retry, Retry::kNever) << error().describe();
        EXPECT_TRUE(result.work_began);
        EXPECT_FALSE(result.unavailable);
        EXPECT_EQ(fact("remote_outcome"), "unknown") << error().describe();
        run_for(loop, milliseconds(300));
        EXPECT_EQ(calls.size(), 1U) << error().describe();
        attempt.reset();
    }
}

TEST_F(LambdaAttempts, ThrottledIsNotRun) {
    answers = {reply(429, R"({"message":"Rate Exceeded."})",
                     "x-amzn-ErrorType: TooManyRequestsException\r\nRetry-After: 7\r\n")};
    run();
    EXPECT_FALSE(result.work_began);
    EXPECT_FALSE(result.unavailable) << "another runtime is not asked for that";
    EXPECT_EQ(error().retry, Retry::kAfterHint);
    EXPECT_EQ(error().retry_after, seconds(7));
    EXPECT_THAT(error().message, HasSubstr("TooManyRequestsException: Rate Exceeded."));
}

TEST_F(LambdaAttempts, RefusalsByTheirKind) {
    struct Case {
        int status;
        const char* type;
        ErrorCode code;
        bool unavailable;
    };
    for (const Case& one : {Case{403, "UnrecognizedClientException", ErrorCode::kNotAllowed, true},
                            Case{403, "ExpiredTokenException", ErrorCode::kNotAllowed, true},
                            Case{403, "AccessDeniedException", ErrorCode::kNotAllowed, false},
                            Case{404, "ResourceNotFoundException", ErrorCode::kNotFound, false},
                            Case{400, "InvalidRequestContentException", ErrorCode::kInvalidArgument, false},
                            Case{413, "RequestTooLargeException", ErrorCode::kInvalidArgument, false}}) {
        answers = {reply(one.status, "{}", std::string("x-amzn-ErrorType: ") + one.type + ":http://x\r\n")};
        ends = 0;
        run();
        EXPECT_EQ(error().code, one.code) << one.type;
        EXPECT_EQ(error().retry, Retry::kNever) << one.type;
        EXPECT_EQ(result.unavailable.has_value(), one.unavailable) << one.type;
        EXPECT_FALSE(result.work_began) << one.type;
        EXPECT_THAT(error().message, AllOf(HasSubstr(one.type), Not(HasSubstr("http://x"))));
    }
}

TEST_F(LambdaAttempts, SecretsStayHidden) {
    options.credentials.given->session_token = "session-token-that-is-secret";
    ticket.parameters["env_vars"] = {{"DB_PASSWORD", "pass-word-123"}};
    answers = {reply(403, R"({"message":"The Canonical String was x-amz-security-token:session-token-that-is-secret"})",
                     "x-amzn-ErrorType: InvalidSignatureException\r\n")};
    run();
    EXPECT_THAT(all(), AllOf(Not(HasSubstr("session-token-that")), HasSubstr("***")));
    EXPECT_EQ(calls[0].headers.at("x-amz-security-token"), "session-token-that-is-secret");
    answers = {reply(200, R"({"errorMessage":"cannot log in with pass-word-123","stackTrace":["at pass-word-123"]})",
                     "X-Amz-Function-Error: Unhandled\r\nX-Amz-Log-Result: " + base64("x pass-word-123 y\n") + "\r\n")};
    ends = 0;
    run();
    EXPECT_THAT(all(), AllOf(Not(HasSubstr("pass-word")), HasSubstr("cannot log in with ***")));
}

TEST_F(LambdaAttempts, AFunctionsErrorIsNotTheServices) {
    answers = {reply(200, R"({"errorMessage":"boom","errorType":"ValueError"})", "X-Amz-Function-Error: Handled\r\n")};
    run();
    EXPECT_EQ(error().code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(error().fault, Fault::kTask);
    EXPECT_EQ(result.attempt.exit_code, 1);
    EXPECT_TRUE(result.work_began);
    EXPECT_EQ(fact("function_error"), "Handled");
    answers = {reply(200, R"({"errorType":"Sandbox.Timedout","errorMessage":"Task timed out after 3.00 seconds"})",
                     "X-Amz-Function-Error: Unhandled\r\n")};
    ends = 0;
    run();
    EXPECT_EQ(error().code, ErrorCode::kTimeout);
    EXPECT_FALSE(result.attempt.still_alive) << "AWS has ended it";
}

TEST_F(LambdaAttempts, AnExitCodeThatIsNone) {
    answers = {reply(200, R"({"exit_code":"fine"})")};
    run();
    EXPECT_FALSE(result.attempt.success);
    EXPECT_EQ(error().code, ErrorCode::kMalformed);
}

TEST_F(LambdaAttempts, ItsTimeIsOver) {
    answers = {{.then = Then::kHold}};
    begin(600);
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_EQ(error().code, ErrorCode::kTimeout);
    EXPECT_EQ(error().retry, Retry::kNever);
    EXPECT_TRUE(result.attempt.still_alive);
    EXPECT_EQ(fact("remote_outcome"), "unknown");
    EXPECT_THAT(error().message, HasSubstr("may still run"));
    EXPECT_EQ(calls.size(), 1U);
}

TEST_F(LambdaAttempts, AStopWaitsForTheAnswerAsLongAsItMay) {
    answers = {{.bytes = http::testing::reply_text(200, R"({"exit_code":0})"), .delay = milliseconds(300)}};
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !calls.empty(); }));
    attempt->stop(StopReason::kShutdown, seconds(10));
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_TRUE(result.attempt.success) << "it is known what became of it";
    EXPECT_FALSE(result.attempt.still_alive);

    answers = {{.then = Then::kHold}};
    calls.clear();
    ends = 0;
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return !calls.empty(); }));
    attempt->stop(StopReason::kCancelled, milliseconds(100));
    EXPECT_EQ(ends, 0) << "not from inside";
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
    EXPECT_TRUE(result.attempt.still_alive);
    EXPECT_TRUE(result.work_began);
}

TEST_F(LambdaAttempts, NobodyThereIsAReasonForAnotherRuntime) {
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    server->stop();
    ends = 0;
    calls.clear();
    begin();
    ASSERT_TRUE(run_until(loop, [&] { return ends > 0; }));
    EXPECT_FALSE(result.work_began);
    EXPECT_EQ(result.unavailable, Unavailable::kUnreachable);
    EXPECT_TRUE(error().retryable());
    EXPECT_FALSE(runtime->availability().available);
}

TEST_F(LambdaAttempts, ItIsLookedForAgainAndAgain) {
    options.probe_interval = milliseconds(100);
    make();
    EXPECT_TRUE(runtime->availability().available);
    const std::uint16_t port = server->port();
    server.reset();
    ASSERT_TRUE(run_until(loop, [&] { return !runtime->availability().available; }));
    server.emplace(loop, [this](const Seen& seen) { return serve(seen); }, port);
    EXPECT_TRUE(run_until(loop, [&] { return runtime->availability().available; }));
}

TEST_F(LambdaAttempts, WithoutKeysItIsNotThere) {
    options.misconfigured = "there are no credentials for AWS";
    run();
    EXPECT_EQ(result.unavailable, Unavailable::kDisabled);
    EXPECT_TRUE(calls.empty());
}

// ------------------------------------------------------------ web identity

std::string sts_answer(const std::string& key, EpochMillis until) {
    return "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>" + key +
           "</AccessKeyId><SecretAccessKey>s/e&amp;cret</SecretAccessKey><SessionToken>token-of-" + key +
           "</SessionToken><Expiration>" + iso_timestamp(until).substr(0, 19) +
           "Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
}

class WebIdentities : public LambdaAttempts {
protected:
    WebIdentities() {
        options.credentials.given.reset();
        aws::WebIdentity identity{"arn:aws:iam::1:role/worker", "worker-agents", server->url(""), {}};
        identity.read_token = [this]() -> Result<std::string> { return token; };
        options.credentials.identity = identity;
    }
    std::string token = "identity-token-1\n";
};

TEST_F(WebIdentities, KeysAreKeptUntilShortlyBeforeTheirEnd) {
    sts = {reply(200, sts_answer("ASIAONE", clock.wall_now() + 3'600'000))};
    run();
    EXPECT_TRUE(result.attempt.success) << error().describe();
    ASSERT_EQ(questions.size(), 1U) << "the probe's keys are the attempt's";
    EXPECT_EQ(questions[0],
              "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fworker"
              "&RoleSessionName=worker-agents&WebIdentityToken=identity-token-1");
    EXPECT_EQ(calls[0].headers.at("x-amz-security-token"), "token-of-ASIAONE");
    ends = 0;
    run();
    EXPECT_EQ(questions.size(), 1U);
}

TEST_F(WebIdentities, OnesThatEndSoonAreReplacedAndTheFileIsReadAnew) {
    sts = {reply(200, sts_answer("ASIAONE", clock.wall_now() + 60'000)),
           reply(200, sts_answer("ASIATWO", clock.wall_now() + 3'600'000))};
    make();
    token = "identity-token-2";
    run();
    ASSERT_EQ(questions.size(), 2U);
    EXPECT_THAT(questions[1], HasSubstr("WebIdentityToken=identity-token-2"));
    EXPECT_EQ(calls[0].headers.at("x-amz-security-token"), "token-of-ASIATWO");
}

TEST_F(WebIdentities, KeysThatAwsCallsExpiredAreReplacedOnce) {
    sts = {reply(200, sts_answer("ASIAONE", clock.wall_now() + 3'600'000)),
           reply(200, sts_answer("ASIATWO", clock.wall_now() + 3'600'000))};
    answers = {reply(403, "{}", "x-amzn-ErrorType: ExpiredTokenException\r\n"), reply(200, R"({"exit_code":0})")};
    run();
    EXPECT_TRUE(result.attempt.success) << error().describe();
    ASSERT_EQ(calls.size(), 2U);
    EXPECT_EQ(calls[1].headers.at("x-amz-security-token"), "token-of-ASIATWO");
    // Not for ever.
    answers = {reply(403, "{}", "x-amzn-ErrorType: ExpiredTokenException\r\n")};
    ends = 0;
    calls.clear();
    run();
    EXPECT_EQ(calls.size(), 2U);
    EXPECT_EQ(error().code, ErrorCode::kNotAllowed);
}

TEST_F(WebIdentities, ARefusalIsSaidWithoutTheToken) {
    sts = {reply(403,
                 "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized &lt;x"
                 "</Message></Error></ErrorResponse>")};
    run();
    EXPECT_EQ(result.unavailable, Unavailable::kUnreachable);
    EXPECT_THAT(error().message, AllOf(HasSubstr("AccessDenied: Not authorized <x"), Not(HasSubstr("identity-token"))));
    EXPECT_TRUE(calls.empty());
}

TEST(StsAnswers, ThatAreNone) {
    for (const char* const bad :
         {"", "<Credentials>", "<Credentials></Credentials>", "{}",
          "<Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>"
          "<Expiration>tomorrow</Expiration></Credentials>",
          "<Credentials><AccessKeyId>a\r\nX: y</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c"
          "</SessionToken><Expiration>2026-01-01T00:00:00Z</Expiration></Credentials>"})
        EXPECT_FALSE(aws::read_sts_answer(bad)) << bad;
}

}  // namespace
}  // namespace wa
