#include "process/spawner.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <set>
#include <sstream>

#include "process/process_test_support.h"

namespace wa::testing {
namespace {

namespace fs = std::filesystem;

std::size_t open_descriptors() {
    return count_entries("/proc/self/fd");
}

class TemporaryFolder {
public:
    TemporaryFolder() : path_("/tmp/" + unique_marker("wa-process-test")) { fs::create_directories(path_); }
    ~TemporaryFolder() { fs::remove_all(path_); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] std::string file(const std::string& name, const std::string& text, mode_t mode) const {
        const std::string path = path_ + "/" + name;
        std::ofstream(path) << text;
        ::chmod(path.c_str(), mode);
        return path;
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

// --- endings

TEST(Spawner, ReportsOutputAndExitCode) {
    Bench bench;
    const ProcessEnd end = bench.run(shell("echo to-out; echo to-err >&2; exit 7"));
    ASSERT_FALSE(end.error) << end.error->describe();
    EXPECT_TRUE(end.began);
    EXPECT_EQ(end.exit_code, 7);
    EXPECT_FALSE(end.signal);
    EXPECT_EQ(end.cause, EndCause::kItself);
    EXPECT_EQ(out_text(end), "to-out\n");
    EXPECT_EQ(err_text(end), "to-err\n");
    EXPECT_GT(end.max_rss_kb, 0);
    EXPECT_EQ(end.left_behind, 0U);
    EXPECT_EQ(end.still_alive, 0U);
}

TEST(Spawner, TellsEveryExitCodeApart) {
    Bench bench;
    for (const int code : {0, 1, 2, 42, 126, 127, 128, 137, 143, 200, 254, 255}) {
        const ProcessEnd end = bench.run(shell("exit " + std::to_string(code)));
        ASSERT_TRUE(end.exit_code);
        EXPECT_EQ(*end.exit_code, code);
        EXPECT_FALSE(end.signal);
        EXPECT_EQ(end.cause, EndCause::kItself);
    }
}

TEST(Spawner, TellsEveryFatalSignalApart) {
    Bench bench;
    for (const int number :
         {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT,   SIGBUS,  SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2,
          SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO,  SIGSYS,  34,      64}) {
        const ProcessEnd end = bench.run(shell("kill -" + std::to_string(number) + " $$; sleep 5"));
        ASSERT_TRUE(end.signal) << number;
        EXPECT_EQ(*end.signal, number);
        EXPECT_FALSE(end.exit_code);
        EXPECT_EQ(end.cause, EndCause::kItself);
        EXPECT_FALSE(end.kill_sent);
    }
}

TEST(Spawner, TimeLimitEndsSoftly) {
    Bench bench;
    SpawnRequest request = shell("trap 'echo bye; exit 3' TERM; echo hi; while :; do sleep 0.05; done");
    request.time_limit = 200ms;
    request.grace = 5s;
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_EQ(end.cause, EndCause::kTimeLimit);
    EXPECT_TRUE(end.term_sent);
    EXPECT_FALSE(end.kill_sent);
    EXPECT_EQ(end.exit_code, 3);
    EXPECT_EQ(out_text(end), "hi\nbye\n");  // output survives a timeout
    EXPECT_GE(end.took, 200ms);
    EXPECT_LT(end.took, 3s);
}

TEST(Spawner, TimeLimitEndsHardAfterTheGrace) {
    Bench bench;
    SpawnRequest request = shell("trap '' TERM; echo hi; while :; do sleep 0.05; done");
    request.time_limit = 100ms;
    request.grace = 300ms;
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_EQ(end.cause, EndCause::kTimeLimit);
    EXPECT_TRUE(end.term_sent);
    EXPECT_TRUE(end.kill_sent);
    EXPECT_EQ(end.signal, SIGKILL);
    EXPECT_GE(end.took, 400ms);
    EXPECT_LT(end.took, 3s);
}

TEST(Spawner, StopReachesAStoppedProcess) {
    Bench bench;
    Watcher watcher;
    const auto process = bench.spawner->spawn(shell("kill -STOP $$"), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    bench.turn(100ms);
    process->stop(5s);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 3s));
    EXPECT_EQ(watcher.end->signal, SIGTERM);
    EXPECT_EQ(watcher.end->cause, EndCause::kRequested);
}

TEST(Spawner, SecondStopShortensTheGrace) {
    Bench bench;
    Watcher watcher;
    const auto process = bench.spawner->spawn(shell("trap '' TERM; echo; while :; do sleep 0.05; done"), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    bench.turn(100ms);
    process->stop(60s);
    bench.turn(100ms);
    process->stop(0s);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 3s));
    EXPECT_EQ(watcher.end->signal, SIGKILL);
    EXPECT_EQ(watcher.end->cause, EndCause::kRequested);
}

TEST(Spawner, StopRightAfterSpawnWorks) {
    Bench bench;
    Watcher watcher;  // the helper is not even started
    const auto process = bench.spawner->spawn(command({"/bin/sleep", "1000"}), watcher);
    process->stop(1s);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 5s));
    EXPECT_EQ(watcher.end->cause, EndCause::kRequested);
    Watcher second;  // this one is on its way
    const auto other = bench.spawner->spawn(command({"/bin/sleep", "1000"}), second);
    ASSERT_TRUE(bench.run_until([&] { return bench.spawner->status().ready; }));
    other->stop(1s);
    ASSERT_TRUE(bench.run_until([&] { return second.end.has_value(); }, 5s));
    EXPECT_EQ(second.end->signal, SIGTERM);
}

TEST(Spawner, DestroyingAProcessKillsIt) {
    Bench bench;
    Watcher watcher;
    auto process = bench.spawner->spawn(command({"/bin/sleep", "1000"}), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    process.reset();
    EXPECT_TRUE(bench.run_until([&] { return !is_alive(watcher.pid); }, 3s));
    bench.turn(50ms);
    EXPECT_EQ(watcher.ends, 0);
    EXPECT_EQ(bench.spawner->status().running, 0U);
}

// --- what cannot be started

TEST(Spawner, MissingProgramIsTheTasksFault) {
    Bench bench;
    const ProcessEnd end = bench.run(command({"/no/such/program"}));
    ASSERT_TRUE(end.error);
    EXPECT_FALSE(end.began);
    EXPECT_EQ(end.error->code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(end.error->retry, Retry::kNever);
    EXPECT_EQ(end.error->fault, Fault::kTask);
    EXPECT_NE(end.error->message.find("/no/such/program"), std::string::npos);
}

TEST(Spawner, NamesWhatIsWrongWithAProgram) {
    const TemporaryFolder folder;
    Bench bench;
    const auto failing = [&](const std::string& path) {
        const ProcessEnd end = bench.run(command({path}));
        EXPECT_TRUE(end.error) << path;
        EXPECT_FALSE(end.began);
        return end.error.value_or(Error{});
    };
    EXPECT_NE(failing(folder.file("plain", "#!/bin/sh\nexit 0\n", 0644)).message.find("not an executable"),
              std::string::npos);
    EXPECT_NE(failing(folder.file("text", "echo no interpreter line\n", 0755)).message.find("#!"), std::string::npos);
    EXPECT_NE(failing(folder.file("gone", "#!/no/such/interpreter\n", 0755)).message.find("interpreter"),
              std::string::npos);
    EXPECT_NE(failing(folder.file("garbage",
                                  "\x7f"
                                  "ELF garbage",
                                  0755))
                  .code,
              ErrorCode::kUnavailable);
    EXPECT_EQ(failing(folder.path()).retry, Retry::kNever);  // a folder

    const std::string busy = folder.path() + "/busy";
    fs::copy_file("/bin/true", busy);
    const Fd writer(::open(busy.c_str(), O_WRONLY | O_CLOEXEC));
    const Error error = failing(busy);
    EXPECT_EQ(error.retry, Retry::kAfterBackoff);
    EXPECT_EQ(error.fault, Fault::kTask);
}

TEST(Spawner, DeletedWorkingDirectoryIsSurvived) {
    Bench bench;
    const std::string path = "/tmp/" + unique_marker("wa-gone");
    fs::create_directory(path);
    SpawnRequest request = shell("pwd; echo done");
    request.directory = open_directory(path);
    fs::remove(path);
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_TRUE(end.error || end.exit_code.has_value());
}

TEST(Spawner, RefusesWhatCannotBeACommand) {
    Bench bench;
    EXPECT_EQ(bench.run(command({"relative"})).error.value().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(bench.run(command({}, "/bin/true")).error.value().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(bench.run(command({"/bin/echo", std::string("a\0b", 3)})).error.value().code,
              ErrorCode::kInvalidArgument);
    SpawnRequest nowhere = command({"/bin/true"});
    nowhere.directory.reset();
    EXPECT_EQ(bench.run(std::move(nowhere)).error.value().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(bench.run(command({"/bin/true", std::string(5 << 20, 'x')})).error.value().code,
              ErrorCode::kLimitExceeded);
    // Within our bound, beyond the kernel's for one word.
    EXPECT_EQ(bench.run(command({"/bin/true", std::string(1 << 20, 'x')})).error.value().code,
              ErrorCode::kLimitExceeded);
}

TEST(Spawner, LargeCommandsTravelByMemfd) {
    Bench bench;
    std::vector<std::string> words{"/bin/sh", "-c", "echo $# ${#1} ${100}", "sh"};
    for (int index = 0; index < 100; ++index)
        words.emplace_back(10'000, 'x');
    words.back() = "last";
    const ProcessEnd end = bench.run(command(std::move(words)));
    EXPECT_EQ(out_text(end), "100 10000 last\n");
}

// --- what a task starts with

TEST(Spawner, EnvironmentIsWhatWasGivenAndTheMarks) {
    ::setenv("WA_TEST_SECRET", "hunter2", 1);
    Bench bench;
    SpawnRequest request = command({"/usr/bin/env"});
    request.environment = {"A=1", "B=two words"};
    const std::string name = request.name;
    const ProcessEnd end = bench.run(std::move(request));
    std::set<std::string> lines;
    std::istringstream stream(out_text(end));
    for (std::string line; std::getline(stream, line);)
        lines.insert(line);
    const std::set<std::string> expected{"A=1", "B=two words", "WORKER_AGENTS_ATTEMPT=" + name,
                                         "WORKER_AGENTS_STATE=" + bench.marker};
    EXPECT_EQ(lines, expected);
}

TEST(Spawner, NoDescriptorsBeyondTheThree) {
    const int leaked = ::open("/dev/null", O_RDONLY);  // not close-on-exec, on purpose
    Bench bench;
    const ProcessEnd end = bench.run(shell("readlink /proc/$$/fd/0; exec ls /proc/self/fd"));
    EXPECT_EQ(out_text(end), "/dev/null\n0\n1\n2\n3\n");  // 3 is the folder that ls reads
    ::close(leaked);
}

TEST(Spawner, SignalsSessionLimitsAndMaskAreFresh) {
    ::signal(SIGPIPE, SIG_IGN);  // as servers do
    Bench bench;
    SpawnRequest request = shell(
        "grep -E '^(SigBlk|SigIgn|SigCgt|NoNewPrivs):' /proc/self/status; umask; ulimit -n; ulimit -c; ulimit -f; "
        "cut -d' ' -f5,6 /proc/$$/stat; echo $$");
    request.limits.open_files = 256;
    request.limits.file_size = 256ULL << 20;
    const ProcessEnd end = bench.run(std::move(request));
    const std::string text = out_text(end);
    EXPECT_NE(text.find("SigBlk:\t0000000000000000"), std::string::npos) << text;
    EXPECT_NE(text.find("SigIgn:\t0000000000000000"), std::string::npos) << text;
    EXPECT_NE(text.find("NoNewPrivs:\t1"), std::string::npos) << text;
    EXPECT_NE(text.find("\n0077\n256\n0\n524288\n"), std::string::npos) << text;  // -f counts in 512-byte blocks
    const auto rest = text.substr(text.find("524288\n") + 7);
    std::istringstream stream(rest);
    int group = 0;
    int session = 0;
    int self = 0;
    stream >> group >> session >> self;
    EXPECT_EQ(group, self);
    EXPECT_EQ(session, self);
    ::signal(SIGPIPE, SIG_DFL);
}

TEST(Spawner, TasksDieBeforeTheWorkerWhenMemoryRunsOut) {
    Bench bench;
    EXPECT_EQ(out_text(bench.run(shell("sleep 0.1; cat /proc/self/oom_score_adj"))), "500\n");
}

TEST(Spawner, FileSizeLimitHolds) {
    const TemporaryFolder folder;
    Bench bench;
    SpawnRequest request = shell("dd if=/dev/zero of=big bs=1024 count=100 2>/dev/null");
    request.directory = open_directory(folder.path());
    request.limits.file_size = 10'240;
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_NE(end.exit_code, 0);
    EXPECT_EQ(fs::file_size(folder.path() + "/big"), 10'240U);
}

TEST(Spawner, CpuLimitEndsASpinningTask) {
    Bench bench;
    SpawnRequest request = shell("while :; do :; done");
    request.limits.cpu_seconds = 1;
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_EQ(end.signal, SIGXCPU);
    EXPECT_EQ(end.cause, EndCause::kItself);
}

TEST(Spawner, InputIsGivenAndMayBeIgnored) {
    Bench bench;
    SpawnRequest request = command({"/bin/cat"});
    request.input = std::string(1 << 20, 'i') + "end";
    EXPECT_EQ(bench.run(std::move(request)).out.total(), (1U << 20U) + 3U);
    SpawnRequest ignoring = command({"/bin/true"});
    ignoring.input = std::string(1 << 20, 'i');
    EXPECT_EQ(bench.run(std::move(ignoring)).exit_code, 0);
    SpawnRequest closing = shell("exec 0<&- 1>&- 2>&-; exit 4");
    closing.input = "x";
    EXPECT_EQ(bench.run(std::move(closing)).exit_code, 4);
}

// --- what a task leaves

TEST(Spawner, KillsBackgroundJobs) {
    Bench bench;
    const ProcessEnd end = bench.run(shell("sleep 1000 & sleep 1000 & echo $!"));
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_FALSE(is_alive(std::stoi(out_text(end))));
    EXPECT_EQ(end.left_behind, 2U);
    EXPECT_LT(end.took, 3s);
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + bench.marker).empty());
}

TEST(Spawner, KillsDoubleForkedSessionLeadersThatIgnoreSigterm) {
    Bench bench;
    const ProcessEnd end =
        bench.run(shell("(setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec >/dev/null 2>&1; while :; do sleep 0.1; "
                        "done' &) ; sleep 0.3"));
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_GE(end.left_behind, 1U);
    EXPECT_FALSE(is_alive(std::stoi(out_text(end))));
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + bench.marker).empty());
}

TEST(Spawner, KillsDaemonsThatAlsoShedTheirEnvironment) {
    Bench bench;
    const ProcessEnd end =
        bench.run(shell("(setsid env -i /bin/sh -c 'trap \"\" TERM; echo $$; exec >/dev/null 2>&1; while :; do "
                        "/bin/sleep 0.1; done' &) ; "
                        "sleep 0.3"));
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_FALSE(is_alive(std::stoi(out_text(end))));
}

TEST(Spawner, StopKillsTheWholeTree) {
    Bench bench;
    Watcher watcher;
    std::string output;
    SpawnRequest request = shell(
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & "
        "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & wait; wait; wait");
    request.sink = [&](OutputStream, std::string_view bytes) {
        output += bytes;
        return true;
    };
    const auto process = bench.spawner->spawn(std::move(request), watcher);
    ASSERT_TRUE(bench.run_until([&] { return std::count(output.begin(), output.end(), '\n') == 2; }));
    process->stop(200ms);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 5s));
    std::istringstream stream(output);
    for (int pid = 0; stream >> pid;)
        EXPECT_FALSE(is_alive(pid)) << pid;
    EXPECT_EQ(watcher.end->still_alive, 0U);
}

TEST(Spawner, ADaemonOfOneTaskIsNotKilledWithAnother) {
    Bench bench;
    Watcher first;
    std::string output;
    SpawnRequest request = shell("(setsid sleep 1000 & echo $!); sleep 1000");
    request.sink = [&](OutputStream, std::string_view bytes) {
        output += bytes;
        return true;
    };
    auto keeper = bench.spawner->spawn(std::move(request), first);
    ASSERT_TRUE(bench.run_until([&] { return output.ends_with('\n'); }));
    bench.run(shell("exit 0"));
    bench.turn(100ms);
    EXPECT_EQ(processes_marked("WORKER_AGENTS_STATE=" + bench.marker).size(), 3U);
    keeper->stop(0s);
    ASSERT_TRUE(bench.run_until([&] { return first.end.has_value(); }));
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + bench.marker).empty());
}

TEST(Spawner, AnAnonymousDaemonDiesWithTheLastTaskItMayBelongTo) {
    Bench bench;
    Watcher other;
    const auto bystander = bench.spawner->spawn(command({"/bin/sleep", "1000"}), other);
    ASSERT_TRUE(bench.run_until([&] { return other.pid > 0; }));
    const ProcessEnd end = bench.run(shell(
        "(setsid env -i /bin/sh -c 'echo $$; exec >/dev/null 2>&1; while :; do /bin/sleep 0.1; done' &) ; sleep 0.3"));
    const pid_t daemon = std::stoi(out_text(end));
    bystander->stop(0s);
    ASSERT_TRUE(bench.run_until([&] { return other.end.has_value(); }));
    EXPECT_TRUE(wait_until([&] { return !is_alive(daemon); }, 2s));
}

TEST(Spawner, AForkBombEnds) {
    Bench bench;
    SpawnRequest request = shell("f() { f & f & sleep 1; }; f; sleep 10");
    request.limits.processes = 400;  // of the whole user: root is exempt, so the time limit is short
    request.time_limit = 150ms;
    request.grace = 50ms;
    const ProcessEnd end = bench.run(std::move(request), 30s);
    EXPECT_EQ(end.still_alive, 0U);
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + bench.marker).empty(); }));
}

// --- output

TEST(Spawner, AGrandchildThatHoldsTheOutputDoesNotDelayTheEnd) {
    Bench bench;
    const auto start = std::chrono::steady_clock::now();
    const ProcessEnd end = bench.run(shell("setsid sleep 1000 & echo quick"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
    EXPECT_EQ(out_text(end), "quick\n");
}

TEST(Spawner, AStrangerThatHoldsTheOutputDelaysTheEndByTheDrainLimitOnly) {
    // A process outside our reach gets the pipe by /proc, as anyone of the same user could.
    Bench bench;
    Watcher watcher;
    const auto process = bench.spawner->spawn(shell("sleep 0.4; echo x"), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    bench.turn(50ms);
    const Fd stolen(::open(("/proc/" + std::to_string(watcher.pid) + "/fd/1").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(stolen);
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 3s));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1500ms);
    EXPECT_EQ(out_text(*watcher.end), "x\n");
}

TEST(Spawner, AFloodStaysBoundedAndDoesNotStarveTheLoop) {
    Bench bench;
    constexpr int kTasks = 20;
    std::vector<std::unique_ptr<Watcher>> watchers;
    std::vector<std::unique_ptr<Process>> processes;
    for (int index = 0; index < kTasks; ++index) {
        watchers.push_back(std::make_unique<Watcher>());
        SpawnRequest request = command({"/bin/cat", "/dev/zero"});
        request.time_limit = 1500ms;
        processes.push_back(bench.spawner->spawn(std::move(request), *watchers.back()));
    }
    std::chrono::steady_clock::duration worst{};
    auto due = std::chrono::steady_clock::now();
    boost::asio::steady_timer timer(bench.loop);
    std::function<void()> tick = [&] {
        due = std::chrono::steady_clock::now() + 5ms;
        timer.expires_at(due);
        timer.async_wait([&](boost::system::error_code error) {
            if (error) return;
            worst = std::max(worst, std::chrono::steady_clock::now() - due);
            tick();
        });
    };
    tick();
    ASSERT_TRUE(bench.run_until([&] {
        return std::all_of(watchers.begin(), watchers.end(),
                           [](const auto& watcher) { return watcher->end.has_value(); });
    }));
    timer.cancel();
    for (const auto& watcher : watchers) {
        EXPECT_EQ(watcher->end->cause, EndCause::kTimeLimit);
        EXPECT_LE(watcher->end->out.held() + watcher->end->err.held(), (1U << 20U) + (256U << 10U));
        EXPECT_GT(watcher->end->out.total(), 1U << 20U);
        EXPECT_LE(watcher->end->out.text(256 * 1024, 1000).size(), 256U * 1024U);
    }
#ifndef WA_SANITIZED
    EXPECT_LT(worst, 500ms);  // generous: the machine is shared
#endif
}

TEST(Spawner, ASinkThatAsksForPatienceIsHeard) {
    Bench bench;
    SpawnRequest request = shell("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done");
    int calls = 0;
    std::string seen;
    request.sink = [&](OutputStream, std::string_view bytes) {
        ++calls;
        seen += bytes;
        return false;
    };
    const ProcessEnd end = bench.run(std::move(request));
    EXPECT_EQ(seen, out_text(end));
    EXPECT_GT(calls, 0);
}

// --- the helper

TEST(Spawner, SaysWhatTheHelperCanDo) {
    Bench bench;
    std::optional<Result<HelperStatus>> answer;
    bench.spawner->start([&](Result<HelperStatus> status) { answer = std::move(status); });
    ASSERT_TRUE(bench.run_until([&] { return answer.has_value(); }));
    ASSERT_TRUE(*answer) << answer->error().describe();
    EXPECT_TRUE((*answer)->ready);
    EXPECT_TRUE((*answer)->subreaper);
    EXPECT_TRUE((*answer)->pidfd);
    EXPECT_TRUE((*answer)->no_new_privileges);
    EXPECT_EQ((*answer)->swept, 0U);
}

TEST(Spawner, AHelperThatCannotBeStartedIsSaid) {
    SpawnerOptions options;
    options.helper_file = "/no/such/helper";
    Bench bench(options);
    std::optional<Result<HelperStatus>> answer;
    bench.spawner->start([&](Result<HelperStatus> status) { answer = std::move(status); });
    ASSERT_TRUE(bench.run_until([&] { return answer.has_value(); }));
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(bench.spawner->status().failed);
    const ProcessEnd end = bench.run(command({"/bin/true"}));
    ASSERT_TRUE(end.error);
    EXPECT_EQ(end.error->code, ErrorCode::kUnavailable);
    EXPECT_TRUE(end.error->retryable());
    EXPECT_FALSE(end.began);
}

TEST(Spawner, AHelperThatIsNoHelperIsSaid) {
    SpawnerOptions options;
    options.helper_file = "/bin/true";
    Bench bench(options);
    const ProcessEnd end = bench.run(command({"/bin/true"}));
    ASSERT_TRUE(end.error);
    EXPECT_EQ(end.error->code, ErrorCode::kUnavailable);
    EXPECT_FALSE(end.began);
}

TEST(Spawner, TheFileBesideTheProgramServesToo) {
    SpawnerOptions options;
    options.helper_file = WA_SPAWN_HELPER_FILE;
    Bench bench(options);
    EXPECT_EQ(bench.run(shell("exit 5")).exit_code, 5);
}

TEST(Spawner, SurvivesTheDeathOfItsHelper) {
    Bench bench;
    Watcher watcher;
    const auto process = bench.spawner->spawn(shell("(setsid sleep 1000 &) ; sleep 1000"), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    bench.turn(200ms);
    const pid_t first = bench.spawner->status().pid;
    ::kill(first, SIGKILL);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }));
    ASSERT_TRUE(watcher.end->error);
    EXPECT_EQ(watcher.end->error->code, ErrorCode::kInterrupted);
    EXPECT_TRUE(watcher.end->error->retryable());
    EXPECT_TRUE(watcher.end->began);
    // What is spawned now waits for the new helper, which first kills what the old one left.
    EXPECT_EQ(bench.run(shell("exit 6")).exit_code, 6);
    EXPECT_NE(bench.spawner->status().pid, first);
    EXPECT_EQ(bench.spawner->status().starts, 2U);
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + bench.marker).empty());
}

TEST(Spawner, ReplacesAHelperThatHangs) {
    SpawnerOptions options;
    options.helper_patience = 500ms;
    options.tick_interval = 50ms;
    Bench bench(options);
    Watcher watcher;
    const auto process = bench.spawner->spawn(command({"/bin/sleep", "1000"}), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    ::kill(bench.spawner->status().pid, SIGSTOP);
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }, 5s));
    EXPECT_EQ(watcher.end->error.value().code, ErrorCode::kInterrupted);
    EXPECT_TRUE(wait_until([&] { return !is_alive(watcher.pid); }, 2s));
    EXPECT_EQ(bench.run(shell("exit 6")).exit_code, 6);
}

TEST(Spawner, DestructionKillsEverything) {
    std::string marker;
    pid_t pid = -1;
    pid_t helper = -1;
    {
        Bench bench;
        marker = bench.marker;
        Watcher watcher;
        const auto process = bench.spawner->spawn(shell("(setsid sleep 1000 &) ; trap '' TERM; sleep 1000"), watcher);
        ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
        bench.turn(100ms);
        pid = watcher.pid;
        helper = bench.spawner->status().pid;
        bench.spawner.reset();
        EXPECT_EQ(watcher.ends, 0);
    }
    EXPECT_FALSE(is_alive(pid));
    EXPECT_FALSE(is_alive(helper));
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + marker).empty());
}

// A worker of its own: starts some tasks, says so by a byte, then does `then`. Returns its pid.
template <class Then>
pid_t mini_worker(SpawnerOptions options, const std::vector<std::string>& scripts, Then then) {
    int ready[2];
    if (::pipe(ready) != 0) return -1;
    const pid_t worker = ::fork();
    if (worker == 0) {
        ::close(ready[0]);
        Bench bench(std::move(options));
        std::vector<std::unique_ptr<Watcher>> watchers;
        std::vector<std::unique_ptr<Process>> processes;
        for (const std::string& script : scripts) {
            watchers.push_back(std::make_unique<Watcher>());
            processes.push_back(bench.spawner->spawn(shell(script), *watchers.back()));
        }
        bench.run_until([&] {
            return std::all_of(watchers.begin(), watchers.end(), [](const auto& watcher) { return watcher->pid > 0; });
        });
        bench.turn(300ms);
        [[maybe_unused]] const ssize_t told = ::write(ready[1], "x", 1);
        then(bench);
        ::_exit(0);
    }
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    return worker;
}

const std::vector<std::string> kStubborn{
    "trap '' TERM; sleep 1000; sleep 1000",
    "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &) ; sleep 1000",
    "setsid sleep 1000 & setsid sleep 1000 & wait; sleep 1000",
};

TEST(Spawner, KillOfTheWorkerLeavesNothing) {
    SpawnerOptions options;
    options.marker = unique_marker("killed");
    const pid_t worker = mini_worker(options, kStubborn, [](Bench& bench) { bench.turn(60s); });
    EXPECT_GE(processes_marked("WORKER_AGENTS_STATE=" + options.marker).size(), 6U);
    ::kill(worker, SIGKILL);
    ::waitpid(worker, nullptr, 0);
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + options.marker).empty(); }, 5s));
}

TEST(Spawner, AStoppedWorkerLosesItsTasksWithItsLease) {
    SpawnerOptions options;
    options.marker = unique_marker("stopped");
    options.lease = 700ms;
    const pid_t worker = mini_worker(options, kStubborn, [](Bench& bench) { bench.turn(60s); });
    ::kill(worker, SIGSTOP);
    EXPECT_FALSE(processes_marked("WORKER_AGENTS_STATE=" + options.marker).empty());
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + options.marker).empty(); }, 5s));
    ::kill(worker, SIGKILL);
    ::waitpid(worker, nullptr, 0);
}

TEST(Spawner, AfterTheLeaseTheWorkerIsToldAndGoesOn) {
    SpawnerOptions options;
    options.lease = 500ms;
    Bench bench(options);
    Watcher watcher;
    const auto process = bench.spawner->spawn(command({"/bin/sleep", "1000"}), watcher);
    ASSERT_TRUE(bench.run_until([&] { return watcher.pid > 0; }));
    bench.turn(1200ms);  // a living loop keeps its lease
    EXPECT_FALSE(watcher.end);
    std::this_thread::sleep_for(1s);  // a loop that hangs does not
    ASSERT_TRUE(bench.run_until([&] { return watcher.end.has_value(); }));
    EXPECT_EQ(watcher.end->cause, EndCause::kLease);
    EXPECT_EQ(watcher.end->signal, SIGKILL);
    EXPECT_EQ(bench.run(shell("sleep 0.2; exit 6")).exit_code, 6);
}

TEST(Spawner, SweepsWhatAnEarlierWorkerLeft) {
    SpawnerOptions options;
    options.marker = unique_marker("swept");
    // Both the worker and its helper are killed at once: nobody is left to clean up behind them.
    const pid_t worker = mini_worker(options, kStubborn, [](Bench& bench) {
        ::kill(bench.spawner->status().pid, SIGKILL);
        ::raise(SIGKILL);
    });
    ::waitpid(worker, nullptr, 0);
    EXPECT_TRUE(wait_until([&] { return !processes_marked("WORKER_AGENTS_STATE=" + options.marker).empty(); }, 1s));
    const pid_t bystander = ::fork();
    if (bystander == 0) {
        ::execle("/bin/sleep", "sleep", "1000", nullptr,
                 std::vector<const char*>{"WORKER_AGENTS_STATE=another", nullptr}.data());
        ::_exit(1);
    }
    Bench bench(options);
    std::optional<Result<HelperStatus>> answer;
    bench.spawner->start([&](Result<HelperStatus> status) { answer = std::move(status); });
    ASSERT_TRUE(bench.run_until([&] { return answer.has_value(); }));
    ASSERT_TRUE(*answer);
    EXPECT_GE((*answer)->swept, 2U);
    EXPECT_EQ((*answer)->swept_alive, 0U);
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + options.marker).empty());
    EXPECT_TRUE(is_alive(bystander));
    ::kill(bystander, SIGKILL);
    ::waitpid(bystander, nullptr, 0);
}

TEST(Spawner, MarkersNameAFolderAndFitAnywhere) {
    const TemporaryFolder one;
    const TemporaryFolder two;
    EXPECT_EQ(state_marker(one.path()), state_marker(one.path() + "/."));
    EXPECT_NE(state_marker(one.path()), state_marker(two.path()));
    EXPECT_EQ(state_marker("/no/such/folder"), "");
    SpawnerOptions options;
    options.marker = unique_marker("odd") + "=/ \n" + std::string(500, 'x');
    {
        const pid_t worker = mini_worker(options, {"sleep 1000"}, [](Bench& bench) {
            ::kill(bench.spawner->status().pid, SIGKILL);
            ::raise(SIGKILL);
        });
        ::waitpid(worker, nullptr, 0);
    }
    Bench bench(options);  // finds under the cut marker what was started under it
    EXPECT_EQ(bench.run(shell("exit 5")).exit_code, 5);
    EXPECT_TRUE(processes_marked("WORKER_AGENTS_STATE=" + options.marker.substr(0, 12)).empty());
}

TEST(Spawner, ManySpawnsLeakNothing) {
    Bench bench;
    bench.run(command({"/bin/true"}));
    const std::size_t before = open_descriptors();
    const auto helper_descriptors = [&] {
        return count_entries("/proc/" + std::to_string(bench.spawner->status().pid) + "/fd");
    };
    const auto helper_before = helper_descriptors();
    constexpr int kTasks = 1000;
    constexpr int kAtOnce = 16;
    int started = 0;
    int ended = 0;
    int good = 0;
    std::vector<std::unique_ptr<Watcher>> watchers(kTasks);
    std::vector<std::unique_ptr<Process>> processes(kTasks);
    std::function<void()> next = [&] {
        if (started == kTasks) return;
        const auto index = static_cast<std::size_t>(started++);
        watchers[index] = std::make_unique<Watcher>();
        watchers[index]->on_end = [&, index] {
            ++ended;
            good += watchers[index]->end->exit_code == 0 ? 1 : 0;
            next();
        };
        processes[index] = bench.spawner->spawn(command({"/bin/true"}), *watchers[index]);
    };
    for (int index = 0; index < kAtOnce; ++index)
        next();
    ASSERT_TRUE(bench.run_until([&] { return ended == kTasks; }, 120s));
    EXPECT_EQ(good, kTasks);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(helper_descriptors(), helper_before);
    EXPECT_EQ(bench.spawner->status().spawned, static_cast<std::uint64_t>(kTasks) + 1);
    EXPECT_EQ(bench.spawner->status().running, 0U);
}

TEST(Spawner, ManyAtOnceAreBoundedByTheHelper) {
    SpawnerOptions options;
    options.max_processes = 3;
    Bench bench(options);
    std::vector<std::unique_ptr<Watcher>> watchers;
    std::vector<std::unique_ptr<Process>> processes;
    for (int index = 0; index < 4; ++index) {
        watchers.push_back(std::make_unique<Watcher>());
        processes.push_back(bench.spawner->spawn(command({"/bin/sleep", "1000"}), *watchers.back()));
    }
    ASSERT_TRUE(bench.run_until([&] { return watchers.back()->end.has_value(); }));
    EXPECT_EQ(watchers.back()->end->error.value().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(watchers.back()->end->error->retryable());
    EXPECT_FALSE(watchers.front()->end);
}

}  // namespace
}  // namespace wa::testing
