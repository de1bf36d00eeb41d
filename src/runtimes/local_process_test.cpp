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

// How much stands between the tasks and the machine: the same must hold with all layers, with those that need no
// privilege at all, and without a sandbox.
enum class Mode : std::uint8_t { kFull, kFiltered, kOff };

class LocalTest : public ::testing::TestWithParam<Mode>, public RuntimeListener {
protected:
    LocalTest() : base_("/tmp/wa-local-" + std::to_string(::getpid()) + "-" + std::to_string(++counter_)) {
        fs::create_directories(base_);
        options.allowed_commands = {"sh", "echo", "env", "cat", "sleep", "pwd", "true", "no-such-program-here"};
        options.workspace.root = base_ + "/root";
        options.workspace.allowed = {base_ + "/shared"};
        options.workspace.private_root = base_ + "/private";
        options.grace = 2s;
        if (GetParam() == Mode::kFull) spawner_options.try_layers = SandboxPolicy::layers_to_try(true);
        if (GetParam() == Mode::kFiltered) {
            spawner_options.try_layers = layers_of(IsolationLevel::kFiltered) | layer::kLandlock | layer::kNoSockets;
        }
        options.sandbox.enabled = GetParam() != Mode::kOff;
        options.sandbox.memory = 256U << 20U;
        options.sandbox.workspace = 32U << 20U;
        spawner_options.marker = "local-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter_);
    }
    // CI machines have every layer; elsewhere these tests say what they would have needed.
    void SetUp() override {
        if (GetParam() != Mode::kFull) return;
        static const HelperStatus found = [this] {
            Spawner trial(loop, clock, spawner_options);
            bool known = false;
            trial.start([&known](const Result<HelperStatus>&) { known = true; });
            run_until([&known] { return known; });
            return trial.status();
        }();
        if (level_of(found.layers) == IsolationLevel::kFull) return;
        std::string missing;
        for (const std::string& layer : found.missing)
            missing += " " + layer;
        GTEST_SKIP() << "not to be had here:" << missing;
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
            bool known = false;
            spawner_->start([&known](const Result<HelperStatus>&) { known = true; });
            run_until([&known] { return known; });
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
    static std::string level() {
        switch (GetParam()) {
            case Mode::kFull: return "full";
            case Mode::kFiltered: return "filtered";
            case Mode::kOff: break;
        }
        return "process-group";
    }
    static bool own_root() { return GetParam() == Mode::kFull; }
    std::string out() { return result.attempt.output["stdout"]; }
    std::string fact(const std::string& name) {
        return result.attempt.metadata.contains(name) ? result.attempt.metadata[name] : std::string();
    }
    [[nodiscard]] ErrorCode code() const {
        return result.attempt.error ? result.attempt.error->code : ErrorCode::kInternal;
    }
    static std::string sha256_of(const std::string& file) {
        FILE* pipe = ::popen(("sha256sum " + file).c_str(), "r");
        std::string text(64, ' ');
        EXPECT_EQ(::fread(text.data(), 1, 64, pipe), 64U);
        ::pclose(pipe);
        return text;
    }
    static bool somebody_holds(const std::string& file) {
        std::error_code ignored;
        for (const auto& process : fs::directory_iterator("/proc", ignored)) {
            for (const auto& fd : fs::directory_iterator(process.path() / "fd", ignored)) {
                const std::string target = fs::read_symlink(fd.path(), ignored);
                if (target.ends_with(fs::path(file).filename().string()) && fs::exists(fd.path(), ignored) &&
                    fs::equivalent(fd.path(), file, ignored))
                    return true;
            }
        }
        return false;
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

TEST_P(LocalTest, RunsACommandAndReportsIt) {
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
    EXPECT_EQ(fact("isolation"), level());
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

TEST_P(LocalTest, TextParametersOfAvroTicketsReadTheSame) {
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

TEST_P(LocalTest, ExitCodesFailForGoodUnlessTheTicketSaysOtherwise) {
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

TEST_P(LocalTest, SignalsAreToldApartFromExitCodes) {
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

TEST_P(LocalTest, TimesOutByTheSmallestLimit) {
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

TEST_P(LocalTest, StopsForEachReason) {
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

TEST_P(LocalTest, TheGraceIsTheSmallerOfBoth) {
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

TEST_P(LocalTest, StopBeforeTheStartAndTwiceAndAfterTheEnd) {
    const auto attempt = start(shell("sleep 1000"));
    attempt->stop(StopReason::kCancelled, 1s);
    attempt->stop(StopReason::kShutdown, 0s);
    ASSERT_TRUE(run_until([&] { return ends > 0; }, 5s));
    EXPECT_EQ(code(), ErrorCode::kCancelled);
    attempt->stop(StopReason::kCancelled, 0s);
    run_until([] { return false; }, 50ms);
    EXPECT_EQ(ends, 1);
}

TEST_P(LocalTest, DestroyingTheAttemptKillsTheWork) {
    // A file that it holds open says whether it lives, whatever its number is where it lives.
    auto attempt =
        start(ticket({{"command", "sh -c 'exec 9>lives; echo ready; sleep 1000'"}, {"working_dir", "held"}}));
    ASSERT_TRUE(run_until([&] { return log().out.ends_with('\n'); }));
    EXPECT_TRUE(somebody_holds(options.workspace.root + "/held/lives"));
    attempt.reset();
    EXPECT_TRUE(run_until([&] { return !somebody_holds(options.workspace.root + "/held/lives"); }, 3s));
    EXPECT_EQ(ends, 0);
    EXPECT_FALSE(log().killed_because.empty());
}

TEST_P(LocalTest, NotAllowedMissingOrImpossibleCommandsAreFinal) {
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

TEST_P(LocalTest, WorkingDirectoriesAreCheckedWhenTheyAreOpened) {
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

TEST_P(LocalTest, HomeTmpAndFolderArePrivateAndGoAway) {
    run(shell("echo x > \"$HOME/a\"; mkdir -p \"$TMPDIR/b/c\"; echo y > here; ls -d \"$HOME\" \"$TMPDIR\"; pwd"));
    std::istringstream stream(out());
    int lines = 0;
    for (std::string path; std::getline(stream, path); ++lines) {
        if (own_root()) continue;
        EXPECT_TRUE(path.starts_with(options.workspace.private_root)) << path;
        EXPECT_FALSE(fs::exists(path)) << path;
    }
    EXPECT_EQ(lines, 3);
    if (own_root()) {
        EXPECT_EQ(out(), "/task/home\n/tmp\n/task/work\n");
    }
    run(shell("ls -A \"$HOME\" \"$TMPDIR\" . | grep -v :"));
    EXPECT_EQ(out().find_first_not_of('\n'), std::string::npos) << out();
}

TEST_P(LocalTest, TheEnvironmentIsBuiltFromNothing) {
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

TEST_P(LocalTest, AShellRunsOnlyWhereItIsAllowed) {
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

TEST_P(LocalTest, InputIsPassedOn) {
    run(ticket({{"command", "cat"}, {"stdin", "line\n"}}));
    EXPECT_EQ(out(), "line\n");
    run(ticket({{"command", "cat"}}));
    EXPECT_EQ(out(), "");
}

TEST_P(LocalTest, OutputIsCappedAndText) {
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

TEST_P(LocalTest, SecretsOfTheTicketAreMasked) {
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

TEST_P(LocalTest, LeftOverProcessesAreKilledAndCounted) {
    run(shell("(setsid sleep 1000 &) ; sleep 0.2; exit 0"));
    EXPECT_TRUE(result.attempt.success);
    EXPECT_EQ(fact("processes_left_behind"), "1");
    EXPECT_FALSE(result.attempt.still_alive);
}

TEST_P(LocalTest, AnUndeletableAmountOfFilesDelaysNothingForLong) {
    options.cleanup_patience = 300ms;
    options.workspace.removal.entries = 100;
    runtime();
    const auto attempt = start(shell("i=0; while [ $i -lt 500 ]; do : > \"$TMPDIR/$i\"; i=$((i+1)); done"));
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    EXPECT_TRUE(result.attempt.success);
    // In memory there is nothing to remove one by one.
    EXPECT_EQ(fact("cleanup").empty(), own_root());
}

TEST_P(LocalTest, ADeadHelperIsAnInterruption) {
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

TEST_P(LocalTest, UnavailabilityIsSaidAndTyped) {
    options.enabled = false;
    EXPECT_EQ(runtime().availability().reason, Unavailable::kDisabled);
    EXPECT_FALSE(runtime().availability().available);
    const auto attempt = start(shell("true"));
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    EXPECT_EQ(result.unavailable, Unavailable::kDisabled);
    EXPECT_FALSE(result.work_began);
}

TEST_P(LocalTest, WithoutAHelperItIsUnavailable) {
    spawner_options.helper_file = "/no/such/helper";
    runtime();
    spawner_->start({});
    run_until([&] { return spawner_->status().failed; });
    EXPECT_FALSE(runtime().availability().available);
    EXPECT_EQ(runtime().availability().reason, Unavailable::kUnreachable);
    EXPECT_EQ(runtime().isolation().level, "none");
}

TEST_P(LocalTest, SaysWhichIsolationWasReached) {
    runtime();
    bool ready = false;
    spawner_->start([&](const Result<HelperStatus>&) { ready = true; });
    ASSERT_TRUE(run_until([&] { return ready; }));
    const IsolationReport report = runtime().isolation();
    EXPECT_EQ(report.level, level());
    EXPECT_GE(report.measures.size(), 5U);
    EXPECT_EQ(report.missing.empty(), GetParam() != Mode::kOff);
}

TEST_P(LocalTest, DemandsOfTheOperatorFailClosed) {
    options.sandbox.minimum = IsolationLevel::kFull;
    const auto attempt = start(shell("echo ran"));
    ASSERT_TRUE(run_until([&] { return ends > 0; }));
    const bool met = GetParam() != Mode::kFiltered;  // switched off, nothing is demanded
    EXPECT_EQ(result.attempt.success, met);
    EXPECT_EQ(runtime().availability().available, met);
    if (met) return;
    EXPECT_FALSE(result.work_began);
    EXPECT_EQ(result.unavailable, Unavailable::kDisabled);
    EXPECT_NE(result.attempt.error.value().message.find("own-root"), std::string::npos)
        << result.attempt.error.value().message;
}

TEST_P(LocalTest, DemandsOfATicketFailClosed) {
    Ticket confidential = shell("echo ran");
    confidential.security_level = SecurityLevel::kConfidential;
    Ticket restricted = shell("echo ran");
    restricted.security_level = SecurityLevel::kRestricted;
    for (const Ticket& each : {confidential, restricted}) {
        EXPECT_EQ(runtime().validate(each).has_value(), own_root());
        run(each);
        EXPECT_EQ(result.attempt.success, own_root());
        if (!own_root()) {
            EXPECT_EQ(code(), ErrorCode::kNotAllowed);
            EXPECT_FALSE(result.work_began);
            EXPECT_FALSE(result.attempt.error->retryable());
        }
    }
    restricted.parameters["network"] = true;
    run(restricted);
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
}

TEST_P(LocalTest, TheNetworkIsThereForWhoMayHaveIt) {
    options.allowed_commands.emplace_back("python3");
    options.search_path = "/usr/bin:/bin";
    const auto connect = [](bool network) {
        const char* script =
            "import socket\n"
            "try:\n"
            "  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "  s.connect(('192.0.2.1', 9))\n"
            "  print('out')\n"
            "except OSError as e:\n"
            "  print('refused')\n";
        return ticket({{"command", json::array{"python3", "-c", script}}, {"network", network}});
    };
    run(connect(false));
    if (GetParam() != Mode::kOff) {
        EXPECT_EQ(out(), "refused\n") << result.attempt.output["stderr"];
    }
    options.sandbox.network = NetworkPolicy::kDeny;
    runtime_.reset();
    spawner_.reset();
    EXPECT_EQ(runtime().validate(connect(true)).error().code, ErrorCode::kNotAllowed);
}

TEST_P(LocalTest, SecretsComeAsFilesThatNobodyElseReads) {
    const json::object secrets{{"DB_PASSWORD", "correct horse battery"}, {"KEY", "k3y/with+signs=="}};
    run(ticket(
        {{"command", json::array{"sh", "-c",
                                 "cat \"$DB_PASSWORD_FILE\" | wc -c; stat -c %a \"$KEY_FILE\"; env | grep -c horse; "
                                 "cat \"$DB_PASSWORD_FILE\"; base64 -w0 \"$KEY_FILE\""}},
         {"secrets", secrets}}));
    EXPECT_TRUE(result.attempt.success) << result.attempt.output["stderr"];
    EXPECT_TRUE(out().starts_with("21\n400\n0\n******")) << out();
    EXPECT_LE(out().size(), std::string("21\n400\n0\n******").size() + 3) << out();
}

TEST_P(LocalTest, MemoryThatRanOutIsSaidByTheKernel) {
    if (GetParam() != Mode::kFull) return;  // only a cgroup can tell
    options.allowed_commands.emplace_back("python3");
    options.search_path = "/usr/bin:/bin";
    run(ticket({{"command", json::array{"python3", "-c", "x = bytearray(1 << 30)"}}, {"memory_limit", "64Mi"}}));
    EXPECT_FALSE(result.attempt.success);
    EXPECT_EQ(result.attempt.signal, SIGKILL);
    EXPECT_EQ(result.attempt.error.value().fault, Fault::kLimit);
    EXPECT_NE(result.attempt.error->message.find("memory ran out"), std::string::npos) << result.attempt.error->message;
    EXPECT_EQ(fact("limits_reached"), "memory");
}

TEST_P(LocalTest, AFullWorkspaceIsSaid) {
    if (!own_root()) return;
    run(shell("head -c 100000000 /dev/zero >\"$TMPDIR/fill\""));
    EXPECT_FALSE(result.attempt.success);
    EXPECT_EQ(fact("limits_reached"), "workspace");
    EXPECT_NE(result.attempt.error.value().message.find("workspace is full"), std::string::npos);
}

TEST_P(LocalTest, PinnedProgramsAreComparedByteForByte) {
    const std::string tool = base_ + "/shared/tool";
    fs::create_directories(base_ + "/shared");
    std::ofstream(tool) << "#!/bin/sh\necho pinned\n";
    ::chmod(tool.c_str(), 0755);
    // sha256sum of those two lines
    const std::string digest = "@sha256:" + sha256_of(tool);
    options.allowed_commands = {tool + digest};
    run(ticket({{"command", json::array{tool}}}));
    EXPECT_EQ(out(), "pinned\n") << (result.attempt.error ? result.attempt.error->message : "");
    std::ofstream(tool) << "#!/bin/sh\necho replaced\n";
    run(ticket({{"command", json::array{tool}}}));
    EXPECT_EQ(code(), ErrorCode::kNotAllowed);
    EXPECT_FALSE(result.work_began);
}

TEST_P(LocalTest, AHundredAtOnce) {
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

TEST_P(LocalTest, AFolderWithFilesOfTheWorkerIsRefused) {
    fs::create_directories(base_ + "/shared/state");
    std::ofstream(base_ + "/shared/state/token") << "hunter2\n";
    fs::create_symlink(base_ + "/shared/state/token", base_ + "/shared/link");
    options.sandbox.hidden = {base_ + "/shared/state"};
    run(ticket({{"command", "sh -c 'cat state/token link; exit 4'"}, {"working_dir", base_ + "/shared"}}));
    EXPECT_EQ(out(), GetParam() == Mode::kOff ? "hunter2\nhunter2\n" : "");
    EXPECT_EQ(code(), GetParam() != Mode::kOff ? ErrorCode::kNotAllowed : ErrorCode::kExecutionFailed);
    // A link is hidden with what it stands for.
    options.sandbox.hidden = {base_ + "/shared/link"};
    runtime_.reset();
    spawner_.reset();
    run(ticket({{"command", "sh -c 'cat state/token; exit 4'"}, {"working_dir", base_ + "/shared"}}));
    EXPECT_EQ(out(), GetParam() == Mode::kOff ? "hunter2\n" : "");
}

TEST_P(LocalTest, LimitsThatCannotWorkAreRefusedBeforehand) {
    EXPECT_EQ(runtime().validate(ticket({{"command", "true"}, {"memory_limit", "64Ki"}})).error().field,
              "parameters.memory_limit");
    EXPECT_FALSE(runtime().validate(ticket({{"command", "true"}, {"cpu_limit", "none"}})));
    EXPECT_FALSE(runtime().validate(ticket({{"command", "true"}, {"process_limit", 0}})));
    EXPECT_TRUE(runtime().validate(ticket({{"command", "true"}, {"memory_limit", "1g"}, {"cpu_limit", "500m"}})));
    const std::string big(40'000, 'x');
    EXPECT_FALSE(runtime().validate(ticket({{"command", "true"}, {"secrets", {{"A", big}}}})));
}

INSTANTIATE_TEST_SUITE_P(Layers, LocalTest, ::testing::Values(Mode::kFull, Mode::kFiltered, Mode::kOff),
                         [](const auto& each) -> std::string {
                             switch (each.param) {
                                 case Mode::kFull: return "Full";
                                 case Mode::kFiltered: return "Filtered";
                                 case Mode::kOff: break;
                             }
                             return "Off";
                         });

}  // namespace
}  // namespace wa
