#include "runtimes/local_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>

namespace wa {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests

// Keeps what was logged, in memory.
class MemoryLogs final : public TaskLogs {
public:
    struct Log {
        std::string out;
        std::string err;
        std::string killed_because;
        bool closed = false;
    };
    [[nodiscard]] std::unique_ptr<TaskLog> open(std::string_view ticket_id, std::int32_t attempt) override {
        class Writer final : public TaskLog {
        public:
            explicit Writer(Log& log) : log_(log) {}
            ~Writer() override { close({}); }
            Writer(const Writer&) = delete;
            Writer& operator=(const Writer&) = delete;
            bool append(TaskLogStream stream, std::string_view bytes) override {
                (stream == TaskLogStream::kStdout ? log_.out : log_.err) += bytes;
                return true;
            }
            void close(std::string_view killed_because) override {
                if (!log_.closed) log_.killed_because = killed_because;
                log_.closed = true;
            }

        private:
            Log& log_;
        };
        return std::make_unique<Writer>(logs[std::string(ticket_id) + "." + std::to_string(attempt)]);
    }
    [[nodiscard]] Result<TaskLogPage> read(const TaskLogQuery&) const override { return TaskLogPage{}; }
    [[nodiscard]] std::vector<std::int32_t> attempts(std::string_view) const override { return {}; }
    Result<void> remove(std::string_view) override { return {}; }

    std::map<std::string, Log> logs;
};

class LocalTest : public ::testing::Test, public RuntimeListener {
protected:
    LocalTest() : base_("/tmp/wa-local-" + std::to_string(::getpid()) + "-" + std::to_string(++counter_)) {
        fs::create_directories(base_);
        options.allowed_commands = {"sh", "echo", "env", "cat", "sleep", "pwd", "true", "no-such-program-here"};
        options.workspace.root = base_ + "/root";
        options.workspace.allowed = {base_ + "/shared"};
        options.workspace.private_root = base_ + "/private";
        options.grace = 2s;
        spawner_options.marker = "local-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter_);
    }
    ~LocalTest() override {
        runtime_.reset();
        spawner_.reset();
        fs::remove_all(base_);
    }

    LocalRuntime& runtime() {
        if (!runtime_) {
            spawner_ = std::make_unique<Spawner>(loop, clock, spawner_options);
            runtime_ = std::make_unique<LocalRuntime>(loop, clock, *spawner_, &logs, options);
            SeededRandom random(static_cast<std::uint64_t>(counter_));
            prepared = runtime_->prepare(random);
        }
        return *runtime_;
    }

    void runtime_ended(AttemptKey, RuntimeReport report) override {
        ++ends;
        result = std::move(report);
    }

    static Ticket ticket(json::object parameters) {
        Ticket made;
        made.ticket_id = "ticket";
        made.parameters = std::move(parameters);
        return made;
    }
    static Ticket shell(std::string_view script) {
        return ticket({{"command", json::array{"sh", "-c", json::string(script)}}});
    }

    std::unique_ptr<RunningAttempt> start(Ticket made) {
        LocalRuntime& local = runtime();
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(std::move(made));
        context.name = "ticket." + std::to_string(++number_);
        context.number = number_;
        context.timeout_ms = 60'000;
        context.deadline = clock.now() + 60s;
        ends = 0;
        return local.start(context, *this);
    }
    bool run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 20s) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            loop.restart();
            loop.run_one_for(5ms);
        }
        return true;
    }
    const RuntimeReport& run(Ticket made) {
        const auto attempt = start(std::move(made));
        EXPECT_EQ(ends, 0) << "never from inside start()";
        EXPECT_TRUE(run_until([&] { return ends > 0; }));
        EXPECT_EQ(ends, 1);
        // Whatever happened, nothing private is left.
        for (const auto& entry : fs::directory_iterator(options.workspace.private_root)) {
            EXPECT_TRUE(fs::is_empty(entry.path())) << entry.path();
        }
        return result;
    }
    std::string out() { return result.attempt.output["stdout"]; }
    std::string fact(const std::string& name) {
        return result.attempt.metadata.contains(name) ? result.attempt.metadata[name] : std::string();
    }
    [[nodiscard]] ErrorCode code() const {
        return result.attempt.error ? result.attempt.error->code : ErrorCode::kInternal;
    }
    MemoryLogs::Log& log() { return logs.logs["ticket." + std::to_string(number_)]; }

    static inline int counter_ = 0;
    std::string base_;
    SystemClock clock;
    boost::asio::io_context loop;
    MemoryLogs logs;
    SpawnerOptions spawner_options;
    LocalRuntimeOptions options;
    Result<void> prepared;
    RuntimeReport result;
    int ends = 0;
    int number_ = 0;
    std::unique_ptr<Spawner> spawner_;
    std::unique_ptr<LocalRuntime> runtime_;
};

TEST_F(LocalTest, RunsACommandAndReportsIt) {
    run(ticket({{"command", "echo"}, {"args", json::array{"hello", "two words"}}}));
    EXPECT_TRUE(result.attempt.success);
    EXPECT_FALSE(result.attempt.error);
    EXPECT_TRUE(result.work_began);
    EXPECT_FALSE(result.attempt.simulated);
    EXPECT_EQ(out(), "hello two words\n");
    EXPECT_EQ(result.attempt.output["stderr"], "");
    EXPECT_EQ(result.attempt.output["exit_code"], "0");
    EXPECT_EQ(result.attempt.output["command"], "echo hello two words");
    EXPECT_EQ(result.attempt.exit_code, 0);
    EXPECT_EQ(fact("runtime"), "local");
    EXPECT_EQ(fact("isolation"), "process-group");
    EXPECT_EQ(fact("timed_out"), "false");
    EXPECT_EQ(fact("truncated"), "false");
    EXPECT_GT(std::stol(fact("pid")), 1);
    EXPECT_GT(std::stol(fact("max_rss_kb")), 0);
    EXPECT_FALSE(fact("duration_seconds").empty());
    EXPECT_EQ(std::stod(fact("effective_timeout_seconds")) > 59, true);
    EXPECT_FALSE(result.attempt.metadata.contains("simulated"));
    EXPECT_FALSE(result.attempt.metadata.contains("signal"));
    EXPECT_EQ(log().out, "hello two words\n");
    EXPECT_TRUE(log().closed);
    EXPECT_EQ(log().killed_because, "");
}

TEST_F(LocalTest, TextParametersOfAvroTicketsReadTheSame) {
    run(ticket({{"command", "[\"sh\", \"-c\", \"echo $A; exit 3\"]"},
                {"env_vars", "{\"A\": \"from text\"}"},
                {"timeout_seconds", "30"},
                {"retry_on_exit_codes", "[3, 4]"}}));
    EXPECT_EQ(out(), "from text\n");
    EXPECT_EQ(result.attempt.exit_code, 3);
    EXPECT_TRUE(result.attempt.error.value().retryable());
    run(ticket({{"command", "sh -c 'echo \"split by words\"'"}}));
    EXPECT_EQ(out(), "split by words\n");
}

TEST_F(LocalTest, ExitCodesFailForGoodUnlessTheTicketSaysOtherwise) {
    run(shell("echo fine; echo first >&2; echo 'last words' >&2; exit 3"));
    ASSERT_TRUE(result.attempt.error);
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(result.attempt.error->retry, Retry::kNever);
    EXPECT_EQ(result.attempt.error->fault, Fault::kTask);
    EXPECT_EQ(result.attempt.error->message, "exit code 3: last words");
    EXPECT_EQ(log().killed_because, "");
    Ticket some = shell("exit 75");
    some.parameters["retry_on_exit_codes"] = json::array{75};
    run(some);
    EXPECT_TRUE(result.attempt.error.value().retryable());
    some.parameters["retry_on_exit_codes"] = 74;
    run(some);
    EXPECT_FALSE(result.attempt.error.value().retryable());
    some.parameters["retry_on_exit_codes"] = "any";
    run(some);
    EXPECT_TRUE(result.attempt.error.value().retryable());
    some.parameters["retry_on_exit_codes"] = "0";
    run(some);
    EXPECT_EQ(code(), ErrorCode::kInvalidArgument);
}

TEST_F(LocalTest, SignalsAreToldApartFromExitCodes) {
    run(shell("kill -SEGV $$"));
    EXPECT_EQ(code(), ErrorCode::kExecutionFailed);
    EXPECT_EQ(result.attempt.signal, SIGSEGV);
    EXPECT_FALSE(result.attempt.exit_code);
    EXPECT_EQ(fact("signal"), "11");
    EXPECT_EQ(result.attempt.output["exit_code"], "-11");
    EXPECT_NE(result.attempt.error->message.find("SIGSEGV"), std::string::npos);
    EXPECT_NE(log().killed_because.find("SIGSEGV"), std::string::npos);
    EXPECT_FALSE(result.attempt.error->retryable());
    run(shell("kill -KILL $$"));
    EXPECT_EQ(result.attempt.signal, SIGKILL);
    EXPECT_EQ(fact("timed_out"), "false");
    run(shell("exit 137"));
    EXPECT_EQ(result.attempt.exit_code, 137);
    EXPECT_FALSE(result.attempt.signal);
}

TEST_F(LocalTest, TimesOutByTheSmallestLimit) {
    Ticket slow = shell("echo partial; sleep 100");
    slow.parameters["timeout_seconds"] = "0.3";
    run(slow);
    EXPECT_EQ(code(), ErrorCode::kTimeout);
    EXPECT_TRUE(result.attempt.error->retryable());
    EXPECT_EQ(result.attempt.error->fault, Fault::kLimit);
    EXPECT_EQ(fact("timed_out"), "true");
    EXPECT_EQ(fact("effective_timeout_seconds"), "0.300");
    EXPECT_EQ(out(), "partial\n");
    EXPECT_NE(log().killed_because.find("timed out"), std::string::npos);
    runtime_.reset();
    options.timeout = 200ms;  // the operator's bound beats the ticket's wish
    slow.parameters["timeout_seconds"] = 100;
    run(slow);
    EXPECT_EQ(code(), ErrorCode::kTimeout);
    EXPECT_EQ(fact("effective_timeout_seconds"), "0.200");
}

TEST_F(LocalTest, StopsForEachReason) {
    const std::vector<std::pair<StopReason, ErrorCode>> cases{
        {StopReason::kTimeout, ErrorCode::kTimeout},       {StopReason::kDeadline, ErrorCode::kDeadlineExceeded},
        {StopReason::kCancelled, ErrorCode::kCancelled},   {StopReason::kPreempted, ErrorCode::kCancelled},
        {StopReason::kShutdown, ErrorCode::kInterrupted},  {StopReason::kPartitionRevoked, ErrorCode::kInterrupted},
        {StopReason::kSuperseded, ErrorCode::kInterrupted}};
    for (const auto& [reason, expected] : cases) {
        const auto attempt = start(shell("echo ready; sleep 1000"));
        ASSERT_TRUE(run_until([&] { return log().out == "ready\n"; }));
        attempt->stop(reason, 5s);
        ASSERT_TRUE(run_until([&] { return ends > 0; }, 3s));
        EXPECT_EQ(code(), expected) << to_string(reason);
        EXPECT_EQ(fact("timed_out"), reason == StopReason::kTimeout ? "true" : "false");
        EXPECT_EQ(out(), "ready\n");
        EXPECT_FALSE(log().killed_because.empty());
    }
}

TEST_F(LocalTest, TheGraceIsTheSmallerOfBoth) {
    const auto attempt = start(shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"));
    ASSERT_TRUE(run_until([&] { return log().out == "ready\n"; }));
    const auto begin = std::chrono::steady_clock::now();
    attempt->stop(StopReason::kCancelled, 300ms);
    ASSERT_TRUE(run_until([&] { return ends > 0; }, 3s));
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took, 300ms);
    EXPECT_LT(took, 1500ms);
    EXPECT_EQ(result.attempt.signal, SIGKILL);
}

TEST_F(LocalTest, StopBeforeTheStartAndTwiceAndAfterTheEnd) {
    const auto attempt = start(shell("sleep 1000"));
    attempt->stop(StopReason::kCancelled, 1s);
    attempt->stop(StopReason::kShutdown, 0s);
    ASSERT_TRUE(run_until([&] { return ends > 0; }, 5s));
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    attempt->stop(StopReason::kCancelled, 0s);
    run_until([] { return false; }, 50ms);
    EXPECT_EQ(ends, 1);
}

TEST_F(LocalTest, DestroyingTheAttemptKillsTheWork) {
    auto attempt = start(shell("echo $$; sleep 1000"));
    ASSERT_TRUE(run_until([&] { return log().out.ends_with('\n'); }));
    const pid_t pid = std::stoi(log().out);
    attempt.reset();
    EXPECT_TRUE(run_until([&] { return ::kill(pid, 0) != 0; }, 3s));
    EXPECT_EQ(ends, 0);
    EXPECT_FALSE(log().killed_because.empty());
}

TEST_F(LocalTest, NotAllowedMissingOrImpossibleCommandsAreFinal) {
    const auto refused = [&](json::object parameters, ErrorCode expected) {
        const json::object copy = parameters;
        run(ticket(std::move(parameters)));
        EXPECT_EQ(code(), expected) << json::serialize(copy);
        EXPECT_FALSE(result.attempt.error->retryable());
        EXPECT_FALSE(result.work_began);
        EXPECT_FALSE(result.unavailable);
        EXPECT_FALSE(result.attempt.success);
        EXPECT_FALSE(runtime().validate(ticket(copy)));
    };
    refused({{"command", "bash"}}, ErrorCode::kNotAllowed);
    refused({{"command", "/bin/sh"}}, ErrorCode::kNotAllowed);
    refused({{"command", "./sh"}}, ErrorCode::kNotAllowed);
    refused({{"command", "no-such-program-here"}}, ErrorCode::kExecutionFailed);
    refused({{"command", json::array{}}}, ErrorCode::kInvalidArgument);
    refused({{"command", ""}}, ErrorCode::kInvalidArgument);
    refused({{"args", "x"}}, ErrorCode::kInvalidArgument);
    refused({{"command", 5}}, ErrorCode::kNotAllowed);  // a program named "5"
    refused({{"command", "echo 'open"}}, ErrorCode::kInvalidArgument);
    refused({{"command", "echo"}, {"env_vars", {{"LD_PRELOAD", "/evil.so"}}}}, ErrorCode::kNotAllowed);
    refused({{"command", "echo"}, {"env", {{"PATH", "/evil"}}}}, ErrorCode::kNotAllowed);
    refused({{"command", "echo"}, {"timeout_seconds", "soon"}}, ErrorCode::kInvalidArgument);
    refused({{"command", "echo"}, {"timeout_seconds", 0}}, ErrorCode::kInvalidArgument);
    refused({{"command", "echo hi"}, {"shell", true}}, ErrorCode::kNotAllowed);
}

TEST_F(LocalTest, WorkingDirectoriesAreCheckedWhenTheyAreOpened) {
    run(ticket({{"command", "pwd"}, {"working_dir", base_ + "/shared/job"}}));
    EXPECT_EQ(out(), base_ + "/shared/job\n");
    run(ticket({{"command", "sh -c 'echo x > left'"}, {"working_dir", base_ + "/shared/job"}}));
    EXPECT_TRUE(fs::exists(base_ + "/shared/job/left"));  // shared and kept
    fs::create_directory_symlink("/etc", base_ + "/shared/etc");
    run(ticket({{"command", "pwd"}, {"working_dir", base_ + "/shared/etc"}}));
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
    EXPECT_FALSE(result.attempt.error->retryable());
    run(ticket({{"command", "pwd"}, {"working_dir", "/etc"}}));
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
}

TEST_F(LocalTest, HomeTmpAndFolderArePrivateAndGoAway) {
    run(shell("echo x > \"$HOME/a\"; mkdir -p \"$TMPDIR/b/c\"; echo y > here; ls -d \"$HOME\" \"$TMPDIR\"; pwd"));
    std::istringstream stream(out());
    int lines = 0;
    for (std::string path; std::getline(stream, path); ++lines) {
        EXPECT_TRUE(path.starts_with(options.workspace.private_root)) << path;
        EXPECT_FALSE(fs::exists(path)) << path;
    }
    EXPECT_EQ(lines, 3);
}

TEST_F(LocalTest, TheEnvironmentIsBuiltFromNothing) {
    ::setenv("WA_LOCAL_SECRET", "hunter2", 1);
    Ticket print = ticket({{"command", "env"}, {"env_vars", {{"GREETING", "hello"}, {"COUNT", 3}}}});
    run(print);
    std::set<std::string> names;
    std::istringstream stream(out());
    for (std::string line; std::getline(stream, line);)
        names.insert(line.substr(0, line.find('=')));
    EXPECT_EQ(names, (std::set<std::string>{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "GREETING", "COUNT",
                                            "WORKER_AGENTS_ATTEMPT", "WORKER_AGENTS_STATE"}));
    EXPECT_NE(out().find("COUNT=3\n"), std::string::npos);
    EXPECT_NE(out().find("PATH=/usr/local/bin:/usr/bin:/bin\n"), std::string::npos);
}

TEST_F(LocalTest, AShellRunsOnlyWhereItIsAllowed) {
    options.allow_shell = true;
    run(ticket({{"command", "echo one; echo \"$1\""}, {"args", json::array{"hi; id -u"}}, {"shell", true}}));
    EXPECT_EQ(out(), "one\nhi; id -u\n");  // an argument stays an argument
    run(ticket({{"command", json::array{"echo listed"}}, {"shell", "yes"}}));
    EXPECT_EQ(out(), "listed\n");
    run(ticket({{"command", json::array{"echo", "two"}}, {"shell", true}}));
    EXPECT_EQ(code(), ErrorCode::kInvalidArgument);
    runtime_.reset();
    options.allowed_commands = {"echo"};
    run(ticket({{"command", "echo one"}, {"shell", true}}));
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
}

TEST_F(LocalTest, InputIsPassedOn) {
    run(ticket({{"command", "cat"}, {"stdin", "line\n"}}));
    EXPECT_EQ(out(), "line\n");
    run(ticket({{"command", "cat"}}));
    EXPECT_EQ(out(), "");
}

TEST_F(LocalTest, OutputIsCappedAndText) {
    run(shell(
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i ........................................\"; i=$((i+1)); done"));
    EXPECT_EQ(fact("truncated"), "true");
    const std::string text = out();
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 1002);
    EXPECT_TRUE(out().starts_with("line 0 "));
    EXPECT_NE(out().find("line 2999 "), std::string::npos);
    EXPECT_GT(log().out.size(), out().size());
    Ticket small = shell("echo 0123456789; printf '\\377\\376'; head -c 100000 /dev/zero | tr '\\0' x");
    small.parameters["max_output_bytes"] = 1000;
    run(small);
    EXPECT_LE(out().size(), 1000U);
    EXPECT_EQ(fact("truncated"), "true");
    EXPECT_EQ(fact("stdout_bytes"), "100013");
    small.parameters["max_output_bytes"] = 1LL << 30;  // more than allowed: the setting holds
    run(small);
    EXPECT_LE(out().size() + result.attempt.output["stderr"].size(), 256U * 1024U);
    EXPECT_EQ(fact("truncated"), "false");
    EXPECT_NE(out().find("\xEF\xBF\xBD\xEF\xBF\xBD"), std::string::npos);
}

TEST_F(LocalTest, SecretsOfTheTicketAreMasked) {
    run(ticket({{"command",
                 json::array{"sh", "-c", "printf my-se; sleep 0.05; printf 'cret-value\\n'; echo $TOKEN >&2; exit 1",
                             "sh", "--password=opensesame", "--api-key", "k-123456", "opensesame"}},
                {"env_vars", {{"TOKEN", "my-secret-value"}}}}));
    for (const std::string& text : {out(), result.attempt.output["stderr"], result.attempt.output["command"],
                                    result.attempt.error.value().message, log().out, log().err}) {
        for (const char* secret : {"my-secret-value", "opensesame", "k-123456"}) {
            EXPECT_EQ(text.find(secret), std::string::npos) << text;
        }
    }
    EXPECT_EQ(out(), "***\n");
    EXPECT_EQ(log().out, "***\n");
    EXPECT_EQ(result.attempt.error->message, "exit code 1: ***");
}

TEST_F(LocalTest, LeftOverProcessesAreKilledAndCounted) {
    run(shell("(setsid sleep 1000 &) ; sleep 0.2; exit 0"));
    EXPECT_TRUE(result.attempt.success);
    EXPECT_EQ(fact("processes_left_behind"), "1");
    EXPECT_FALSE(result.attempt.still_alive);
}

TEST_F(LocalTest, AnUndeletableAmountOfFilesDelaysNothingForLong) {
    options.cleanup_patience = 300ms;
    options.workspace.removal.entries = 100;
    runtime();
    const auto attempt = start(shell("i=0; while [ $i -lt 500 ]; do : > \"$TMPDIR/$i\"; i=$((i+1)); done"));
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    EXPECT_TRUE(result.attempt.success);
    EXPECT_FALSE(fact("cleanup").empty());
}

TEST_F(LocalTest, ADeadHelperIsAnInterruption) {
    const auto attempt = start(shell("echo ready; sleep 1000"));
    ASSERT_TRUE(run_until([&] { return log().out == "ready\n"; }));
    ::kill(spawner_->status().pid, SIGKILL);
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    EXPECT_EQ(code(), ErrorCode::kInterrupted);
    EXPECT_TRUE(result.attempt.error->retryable());
    EXPECT_EQ(result.attempt.error->fault, Fault::kWorker);
    EXPECT_TRUE(result.work_began);
    EXPECT_FALSE(result.unavailable);
    EXPECT_TRUE(run(shell("true")).attempt.success);
}

TEST_F(LocalTest, UnavailabilityIsSaidAndTyped) {
    options.enabled = false;
    EXPECT_EQ(runtime().availability().reason, Unavailable::kDisabled);
    EXPECT_FALSE(runtime().availability().available);
    const auto attempt = start(shell("true"));
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    EXPECT_EQ(result.unavailable, Unavailable::kDisabled);
    EXPECT_FALSE(result.work_began);
}

TEST_F(LocalTest, WithoutAHelperItIsUnavailable) {
    spawner_options.helper_file = "/no/such/helper";
    runtime();
    spawner_->start({});
    run_until([&] { return spawner_->status().failed; });
    EXPECT_FALSE(runtime().availability().available);
    EXPECT_EQ(runtime().availability().reason, Unavailable::kUnreachable);
    EXPECT_EQ(runtime().isolation().level, "none");
}

TEST_F(LocalTest, SaysWhichIsolationWasReached) {
    runtime();
    bool ready = false;
    spawner_->start([&](const Result<HelperStatus>&) { ready = true; });
    ASSERT_TRUE(run_until([&] { return ready; }));
    const IsolationReport report = runtime().isolation();
    EXPECT_EQ(report.level, "process-group");
    EXPECT_GE(report.measures.size(), 5U);
    EXPECT_FALSE(report.missing.empty());
}

TEST_F(LocalTest, AHundredAtOnce) {
    runtime();
    struct Counter final : RuntimeListener {
        void runtime_ended(AttemptKey, RuntimeReport report) override {
            ++ended;
            good += report.attempt.success && report.attempt.output["stdout"] == "ok\n" ? 1 : 0;
        }
        int ended = 0;
        int good = 0;
    } counter;
    std::vector<std::unique_ptr<RunningAttempt>> attempts;
    for (int index = 0; index < 100; ++index) {
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(shell("sleep 0.2; echo ok"));
        context.name = "many." + std::to_string(index);
        context.number = 1000 + index;
        attempts.push_back(runtime().start(context, counter));
    }
    ASSERT_TRUE(run_until([&] { return counter.ended == 100; }, 60s));
    EXPECT_EQ(counter.good, 100);
}

}  // namespace
}  // namespace wa
