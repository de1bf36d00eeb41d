#include "observability/logger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/codec/text.h"
#include "observability/log_observer.h"
#include "observability/testing/manual_clock.h"

namespace wa::observability {
namespace {

using namespace std::chrono_literals;

class LogTest : public ::testing::Test {
protected:
    LogOptions options() {
        LogOptions given;
        given.format = LogFormat::kJson;
        given.version = "0.1.0";
        given.instance_id = "agent-1";
        given.sink = [this](std::string_view bytes) {
            const std::scoped_lock lock(mutex_);
            out_ += bytes;
        };
        return given;
    }
    std::string written(Log& log) {
        EXPECT_TRUE(log.flush(5s));
        const std::scoped_lock lock(mutex_);
        return std::exchange(out_, {});
    }
    static boost::json::object parse(const std::string& line) { return boost::json::parse(line).as_object(); }

    testing::ManualClock clock_;
    std::mutex mutex_;
    std::string out_;
};

TEST_F(LogTest, JsonLineHasTheFieldsOfTheContract) {
    Log log(options(), clock_);
    log.info("ticket_execution_completed",
             {{"ticket_id", "t-1"}, {"task_duration_seconds", 1.5}, {"attempts", 2}, {"ok", true}, {"empty", ""}});
    const std::string text = written(log);
    ASSERT_TRUE(text.ends_with("\n"));
    const auto line = parse(text);
    EXPECT_EQ(line.at("timestamp"), "2025-12-31T22:26:40.123Z");
    EXPECT_EQ(line.at("level"), "INFO");
    EXPECT_EQ(line.at("event"), "ticket_execution_completed");
    EXPECT_EQ(line.at("service"), "worker-agents");
    EXPECT_EQ(line.at("version"), "0.1.0");
    EXPECT_EQ(line.at("instance_id"), "agent-1");
    EXPECT_EQ(line.at("component"), "worker-agent");
    EXPECT_EQ(line.at("ticket_id"), "t-1");
    EXPECT_EQ(line.at("task_duration_seconds"), 1.5);
    EXPECT_EQ(line.at("attempts"), 2);
    EXPECT_EQ(line.at("ok"), true);
    EXPECT_FALSE(line.contains("empty"));
}

TEST_F(LogTest, TextForPeople) {
    LogOptions given = options();
    given.format = LogFormat::kText;
    Log log(given, clock_);
    log.warning("something", {{"ticket_id", "t-1"}, {"error", "two words\nand \"more\""}});
    EXPECT_EQ(written(log),
              "2025-12-31T22:26:40.123Z WARNING something ticket_id=t-1 error=\"two words and \\\"more\\\"\"\n");
}

TEST_F(LogTest, LevelDecides) {
    LogOptions given = options();
    given.level = LogLevel::kWarning;
    Log log(given, clock_);
    log.info("no");
    log.error("yes");
    log.set_level(LogLevel::kDebug);
    log.debug("now");
    const std::string text = written(log);
    EXPECT_EQ(text.find("\"no\""), std::string::npos);
    EXPECT_NE(text.find("\"yes\""), std::string::npos);
    EXPECT_NE(text.find("\"now\""), std::string::npos);
    EXPECT_EQ(parse_log_level("warn"), LogLevel::kWarning);
    EXPECT_EQ(parse_log_level("loud"), std::nullopt);
    EXPECT_EQ(parse_log_format("json"), LogFormat::kJson);
}

TEST_F(LogTest, EveryLineIsOneShortValidLine) {
    Log log(options(), clock_);
    std::string evil = "\xff\xfe\x01\n\r\t\"\\\xC0\xAF";
    evil += std::string(100'000, 'x');
    log.info(evil, {{evil, evil}, {"b", evil}, {"c", evil}, {"d", evil}, {"e", evil}, {"f", evil}});
    log.info("ünïcode", {{"many", std::string(5000, '\n')}, {"cut", [] {
                                                                 std::string text;
                                                                 for (int i = 0; i < 3000; ++i)
                                                                     text += "\xC3\xA9";
                                                                 return text;
                                                             }()}});
    const std::string text = written(log);
    EXPECT_EQ(std::ranges::count(text, '\n'), 2);
    EXPECT_TRUE(is_utf8(text));
    std::size_t start = 0;
    while (start < text.size()) {
        const std::size_t end = text.find('\n', start);
        EXPECT_LE(end - start, kMaxLogLine);
        EXPECT_NO_THROW((void)parse(text.substr(start, end - start)));
        start = end + 1;
    }
}

TEST_F(LogTest, SecretsAreMasked) {
    LogOptions given = options();
    given.secrets = {"hunter2hunter2", "abc"};
    Log log(given, clock_);
    log.add_secret("another-secret");
    log.info("e", {{"api_token", "t0ps3cr3t"},
                   {"password", "pw"},
                   {"error", "login with hunter2hunter2 failed; another-secret; abc stays"},
                   {"url", "https://user:pass@example/x?y@z"},
                   {"header", "Authorization: Bearer eyJhbGciOi.abc-_x"}});
    const std::string text = written(log);
    for (const char* secret : {"t0ps3cr3t", "\"pw\"", "hunter2", "another-secret", "user:pass", "eyJhbGciOi"}) {
        EXPECT_EQ(text.find(secret), std::string::npos) << secret << " in " << text;
    }
    EXPECT_NE(text.find("abc stays"), std::string::npos);
    EXPECT_NE(text.find("https://***@example/x?y@z"), std::string::npos);
}

TEST(Redact, IsTotal) {
    EXPECT_EQ(redact("://@", {}), "://***@");
    EXPECT_EQ(redact("a://b@c://d@e", {}), "a://***@c://***@e");
    EXPECT_EQ(redact("Bearer ", {}), "Bearer ");
    EXPECT_EQ(redact("x@y", {}), "x@y");
    EXPECT_EQ(redact("", {"secret-secret"}), "");
}

TEST_F(LogTest, FloodsOfOneEventAreThinnedAndCounted) {
    LogOptions given = options();
    given.burst = 10;
    given.per_second = 1;
    Log log(given, clock_);
    for (int i = 0; i < 1000; ++i)
        log.error("broker_error", {{"i", i}});
    log.error("something_else");
    std::string text = written(log);
    EXPECT_EQ(std::ranges::count(text, '\n'), 11);
    clock_.advance(1s);
    log.error("broker_error");
    EXPECT_EQ(parse(written(log)).at("suppressed"), 990);
    // Gone quiet: said after a while all the same.
    for (int i = 0; i < 5; ++i)
        log.error("broker_error");
    (void)written(log);
    clock_.advance(11s);
    for (int i = 0; i < 400 && text.find("log_lines_suppressed") == std::string::npos; ++i) {
        std::this_thread::sleep_for(10ms);
        const std::scoped_lock lock(mutex_);
        text = out_;
    }
    EXPECT_NE(text.find("log_lines_suppressed"), std::string::npos);
}

TEST_F(LogTest, StuckReaderCostsNothingButLines) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    LogOptions given = options();
    given.sink = nullptr;
    given.descriptor = ends[1];
    given.queued_lines = 100;
    given.burst = 1e9;
    {
        Log log(given, clock_);
        const auto began = std::chrono::steady_clock::now();
        for (int i = 0; i < 20000; ++i)
            log.info("line", {{"i", i}});
        EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
        EXPECT_GT(log.dropped(), 0U);
        EXPECT_FALSE(log.flush(10ms));
    }  // and it ends
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_F(LogTest, AReaderThatHasGoneIsNotTheEnd) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ::close(ends[0]);
    LogOptions given = options();
    given.sink = nullptr;
    given.descriptor = ends[1];
    Log log(given, clock_);
    log.info("nobody");
    EXPECT_TRUE(log.flush(5s));
    EXPECT_EQ(log.dropped(), 1U);
    ::close(ends[1]);
}

TEST_F(LogTest, KeepsTheLastLinesForReaders) {
    LogOptions given = options();
    given.kept_lines = 5;
    Log log(given, clock_);
    for (int i = 0; i < 20; ++i)
        log.log(i % 2 == 0 ? LogLevel::kInfo : LogLevel::kError, "e", {{"i", i}});
    EXPECT_EQ(log.last_kept(), 20U);
    EXPECT_EQ(log.kept(0, LogLevel::kDebug, 100).size(), 5U);
    EXPECT_EQ(log.kept(18, LogLevel::kDebug, 100).size(), 2U);
    EXPECT_EQ(log.kept(0, LogLevel::kError, 100).size(), 3U);
    EXPECT_EQ(log.kept(0, LogLevel::kDebug, 2).size(), 2U);
}

TEST_F(LogTest, FromManyThreads) {
    LogOptions given = options();
    given.burst = 1e9;
    given.queued_lines = 100'000;
    given.queued_bytes = 1UL << 30U;
    Log log(given, clock_);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 500; ++i)
                log.info("e", {{"t", t}, {"i", i}});
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    const std::string text = written(log);
    EXPECT_EQ(std::ranges::count(text, '\n'), 2000);
}

TEST_F(LogTest, FlowIsLoggedUnderTheStableNames) {
    Log log(options(), clock_);
    LogObserver observer(log);
    TicketView view;
    view.ticket_id = "t-1";
    Settlement good;
    good.result.actual_duration_ms = 1500;
    observer.ticket_settled(view, good);
    Settlement bad = good;
    bad.outcome = Outcome::kExecutionFailed;
    bad.result.error_message = "exit code 1";
    observer.ticket_settled(view, bad);
    observer.dependency_wait_ended(view, "timeout", 300s);
    observer.dependency_wait_ended(view, "failed", 3s);
    observer.intake_changed(false, "intake-paused", 1s);
    observer.intake_changed(true, "open", 1s);
    CommitResult commit;
    commit.status = CommitStatus::kRetry;
    observer.commit_finished(commit, 1, 1ms);
    std::string text = written(log);
    for (const char* word :
         {"ticket_execution_completed", "\"task_duration_seconds\":1.5", "ticket_execution_failed", "exit code 1",
          "dependency_timeout", "dependency_check_failed", "consumer_paused_backpressure",
          "consumer_resumed_backpressure", "publish_result_failed"}) {
        EXPECT_NE(text.find(word), std::string::npos) << word;
    }
    EXPECT_EQ(text.find("ticket_consumed"), std::string::npos);
    log.set_level(LogLevel::kDebug);
    observer.ticket_consumed(view);
    observer.attempt_started(view, 1s);
    text = written(log);
    EXPECT_NE(text.find("ticket_consumed"), std::string::npos);
    EXPECT_NE(text.find("ticket_execution_started"), std::string::npos);
}

}  // namespace
}  // namespace wa::observability
