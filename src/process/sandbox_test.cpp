// The layers around a task, tried from inside it.
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>

#include "process/process_test_support.h"

namespace wa::testing {
namespace {

SpawnerOptions all_options() {
    SpawnerOptions options;
    options.try_layers = all_layers() | layer::kNoSockets;
    return options;
}

class SandboxTest : public ::testing::Test {
protected:
    SandboxTest() : bench_(all_options()) {
        bench_.spawner->start({});
        EXPECT_TRUE(bench_.run_until([&] { return bench_.spawner->status().ready; }));
    }

    [[nodiscard]] Layers available() const { return bench_.spawner->status().layers; }
    [[nodiscard]] bool has(Layers layers) const { return (available() & layers) == layers; }

    // Everything this machine has, network denied, a private workspace.
    SpawnRequest isolated(const std::string& script) {
        SpawnRequest request = command({"/bin/sh", "-c", script});
        request.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/task/home", "TMPDIR=/tmp"};
        request.directory.reset();
        request.sandbox.layers = available() & ~layer::kNoSockets;
        request.sandbox.read_only = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"};
        request.sandbox.memory = 256U << 20U;
        request.sandbox.processes = 64;
        request.sandbox.workspace_bytes = 64U << 20U;
        request.sandbox.workspace_entries = 10'000;
        return request;
    }

    std::string say(const std::string& script) {
        const ProcessEnd end = bench_.run(isolated(script));
        if (end.error) return "error: " + end.error->describe();
        return out_text(end) + err_text(end);
    }

    Bench bench_;
};

// CI machines have every layer; elsewhere a test says what it would have needed.
#define NEEDS(layers)                                                       \
    if (!has(layers)) {                                                     \
        std::string why = "not to be had here:";                            \
        for (const std::string& missing : bench_.spawner->status().missing) \
            why += " " + missing;                                           \
        GTEST_SKIP() << why;                                                \
    }

TEST_F(SandboxTest, RunsAProgramInEveryLayer) {
    NEEDS(all_layers());
    const ProcessEnd end = bench_.run(isolated("echo hello; id -u; pwd; echo $$; hostname; exit 3"));
    ASSERT_FALSE(end.error) << end.error->describe();
    EXPECT_EQ(end.exit_code, 3);
    EXPECT_EQ(out_text(end), "hello\n1000\n/task/work\n2\ntask\n") << err_text(end);
    EXPECT_EQ(level_of(end.layers), IsolationLevel::kFull);
    EXPECT_TRUE(end.workspace);
    EXPECT_TRUE(bench_.spawner->status().missing.empty());
}

TEST_F(SandboxTest, SeesItsOwnProcessesOnly) {
    NEEDS(layer::kNamespaces);
    const std::string pids = say("cd /proc && echo [0-9]*");
    EXPECT_LE(std::count(pids.begin(), pids.end(), ' '), 2) << pids;
    EXPECT_EQ(say("kill -9 1 2>/dev/null; sleep 0.05; echo alive"), "alive\n");  // process 1 is its init
}

TEST_F(SandboxTest, TheRootIsWhatWasShownAndReadOnly) {
    NEEDS(layer::kNamespaces);
    EXPECT_EQ(say("cd / && ls -d * | tr '\\n' ' '"), "bin dev etc lib lib64 proc run sbin task tmp usr ");
    EXPECT_EQ(say("touch /x /usr/x /etc/x /dev/x /run/x 2>&1 | grep -c 'cannot touch'"), "5\n");
    EXPECT_EQ(say("touch /tmp/x /task/home/x /task/work/x x && echo ok"), "ok\n");
    EXPECT_EQ(
        say("echo hi > /dev/null && head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; ls /dev/sd* /dev/vd* "
            "/dev/mem 2>/dev/null"),
        "3\n4\n");
    EXPECT_EQ(say("id -un; echo ~"), "task\n/task/home\n");
}

TEST_F(SandboxTest, APrivateWorkspaceIsReadAfterwardsAndThenGone) {
    NEEDS(layer::kNamespaces);
    ProcessEnd end = bench_.run(isolated("echo report > report.xml; mkdir deep; echo x > deep/x"));
    ASSERT_TRUE(end.workspace);
    const Fd report(::openat(end.workspace.get(), "report.xml", O_RDONLY | O_CLOEXEC));
    char bytes[16]{};
    EXPECT_EQ(::read(report.get(), bytes, sizeof bytes), 7);
    EXPECT_STREQ(bytes, "report\n");
    end.workspace.reset();
    EXPECT_EQ(say("ls -A . /tmp $HOME | grep -v :"), "\n\n");  // the next one finds nothing of it
}

TEST_F(SandboxTest, TheWorkspaceIsBounded) {
    NEEDS(layer::kNamespaces);
    SpawnRequest request = isolated("head -c 200000000 /dev/zero > fill; echo $?; stat -c %s fill");
    const ProcessEnd full = bench_.run(std::move(request));
    EXPECT_LE(std::stoll(out_text(full).substr(2)), 64 << 20) << out_text(full);
    struct statvfs room{};
    ASSERT_EQ(::fstatvfs(full.workspace.get(), &room), 0);
    EXPECT_EQ(room.f_bavail, 0U);
    request = isolated("i=0; while true > $i; do i=$((i+1)); done 2>/dev/null; ls | wc -l");
    request.sandbox.workspace_entries = 100;
    EXPECT_LT(std::stoi(out_text(bench_.run(std::move(request)))), 100);
}

TEST_F(SandboxTest, ASharedFolderKeepsItsOwner) {
    NEEDS(layer::kNamespaces | layer::kOwnUid);
    const std::string folder = "/tmp/wa-sandbox-" + unique_marker("shared");
    std::filesystem::create_directories(folder + "/sub");
    std::ofstream(folder + "/mine") << "by the worker\n";
    ::chmod((folder + "/mine").c_str(), 0600);
    SpawnRequest request =
        isolated("cat mine; echo more >> mine; echo new > sub/new; ln -s /etc/shadow s; stat -c '%u %U' mine; pwd");
    request.directory = open_directory(folder);
    request.sandbox.directory_path = "/srv/somewhere/else";
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(out_text(end), "by the worker\n1000 task\n/srv/somewhere/else\n") << err_text(end);
    EXPECT_FALSE(end.workspace);
    for (const char* name : {"/mine", "/sub/new"}) {
        struct stat facts{};
        ASSERT_EQ(::stat((folder + name).c_str(), &facts), 0) << name;
        EXPECT_EQ(facts.st_uid, ::geteuid()) << name;
    }
    std::filesystem::remove_all(folder);
}

TEST_F(SandboxTest, NoTaskRunsWithTheIdOfTheMachinesRoot) {
    NEEDS(layer::kNamespaces | layer::kOwnUid);
    const std::string folder = "/tmp/wa-sandbox-" + unique_marker("unmapped");
    std::filesystem::create_directories(folder);
    // A file system that cannot show its files with other ids.
    ASSERT_EQ(::mount("ramfs", folder.c_str(), "ramfs", MS_NOSUID | MS_NODEV, nullptr), 0) << std::strerror(errno);
    SpawnRequest request = isolated("cat /proc/self/uid_map");
    request.directory = open_directory(folder);
    request.sandbox.directory_path = folder;
    const ProcessEnd end = bench_.run(std::move(request));
    ::umount2(folder.c_str(), MNT_DETACH);
    std::filesystem::remove_all(folder);
    ASSERT_TRUE(end.error) << out_text(end);
    EXPECT_FALSE(end.began);
    EXPECT_NE(end.error->message.find("user id of its own"), std::string::npos) << end.error->message;
    const std::string map = say("cat /proc/self/uid_map");
    EXPECT_GT(std::stoul(map.substr(map.find_first_not_of(' ', map.find("1000") + 4))), 60'000U) << map;
}

TEST_F(SandboxTest, HiddenPathsAreEmpty) {
    NEEDS(layer::kNamespaces);
    SpawnRequest request = isolated("ls /etc/ssl | wc -l; cat /etc/hostname 2>&1 | wc -c; ls /etc/ssl/certs | head -1");
    request.sandbox.hidden = {"/etc/ssl", "/etc/hostname", "/no/such/thing"};
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(out_text(end).substr(0, 2), "0\n") << out_text(end) << err_text(end);
    EXPECT_EQ(out_text(end).find(".pem"), std::string::npos);
}

TEST_F(SandboxTest, SecretsAreFilesOfTheTaskAlone) {
    NEEDS(layer::kNamespaces);
    SpawnRequest request =
        isolated("stat -c '%a %U' /run/secrets/key; cat /run/secrets/key; cat /proc/*/environ | grep -c opensesame");
    request.sandbox.secrets = {{"key", "opensesame\n"}};
    EXPECT_EQ(out_text(bench_.run(std::move(request))), "400 task\nopensesame\n0\n");
    for (const char* name : {"../key", "a/b", ".hidden", ""}) {
        request = isolated("true");
        request.sandbox.secrets = {{name, "x"}};
        EXPECT_TRUE(bench_.run(std::move(request)).error) << name;
    }
}

TEST_F(SandboxTest, TheNetworkIsALoopback) {
    NEEDS(layer::kNamespaces | layer::kNetwork);
    EXPECT_EQ(say("cat /proc/net/dev | grep -c :"), "1\n");
    SpawnRequest request = isolated("cat /proc/net/dev | grep -c :");
    request.sandbox.layers &= ~layer::kNetwork;
    const auto interfaces = std::stoi(out_text(bench_.run(std::move(request))));
    EXPECT_EQ(interfaces, static_cast<int>(count_entries("/sys/class/net")));
}

TEST_F(SandboxTest, EndingsAreToldApart) {
    NEEDS(layer::kNamespaces);
    for (const int code : {0, 1, 127, 255})
        EXPECT_EQ(bench_.run(isolated("exit " + std::to_string(code))).exit_code, code);
    for (const int number : {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGPIPE, SIGUSR1, SIGHUP}) {
        const ProcessEnd end = bench_.run(isolated("kill -" + std::to_string(number) + " $$"));
        EXPECT_EQ(end.signal, number);
        EXPECT_FALSE(end.exit_code);
        EXPECT_EQ(end.cause, EndCause::kItself);
    }
    SpawnRequest request = isolated("trap '' TERM; sleep 600 & wait; sleep 600");
    request.time_limit = 200ms;
    request.grace = 200ms;
    ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(end.cause, EndCause::kTimeLimit);
    EXPECT_TRUE(end.term_sent && end.kill_sent);
    EXPECT_EQ(end.signal, SIGKILL);
    request = isolated("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    request.time_limit = 300ms;
    request.grace = 5s;
    end = bench_.run(std::move(request));
    EXPECT_EQ(end.exit_code, 5);
    EXPECT_EQ(out_text(end), "ready\nbye\n");
    EXPECT_FALSE(end.kill_sent);
}

TEST_F(SandboxTest, WhatItLeavesDiesWithIt) {
    NEEDS(layer::kNamespaces);
    const ProcessEnd end =
        bench_.run(isolated("(trap '' TERM HUP; setsid sleep 600 & setsid sleep 600 &) ; sleep 0.2; exit 0"));
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_EQ(end.left_behind, 2U);
    EXPECT_EQ(end.still_alive, 0U);
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + bench_.marker).empty(); }, 3s));
}

TEST_F(SandboxTest, LimitsOfTheWholeTask) {
    NEEDS(layer::kNamespaces | layer::kMemory | layer::kProcesses);
    SpawnRequest request = command({"/usr/bin/python3", "-c", "x = [bytearray(1 << 20) for _ in range(1000)]"});
    request.directory.reset();
    request.sandbox = isolated("").sandbox;
    request.sandbox.memory = 64U << 20U;
    ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(end.signal, SIGKILL);
    EXPECT_GT(end.out_of_memory.value_or(0), 0);
    EXPECT_LE(end.memory_peak_bytes.value_or(0), 65 << 20);
    EXPECT_GT(end.memory_peak_bytes.value_or(0), 32 << 20);
    // The slot is used again: nothing of the one before counts.
    end = bench_.run(isolated("true"));
    EXPECT_EQ(end.out_of_memory, 0);
    EXPECT_EQ(end.processes_refused, 0);
    EXPECT_LT(end.memory_peak_bytes.value_or(1 << 30), 32 << 20);
    request = isolated("i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all");
    request.sandbox.processes = 20;
    end = bench_.run(std::move(request));
    EXPECT_GT(end.processes_refused.value_or(0), 0);
    EXPECT_EQ(out_text(end).find("all"), std::string::npos);
}

TEST_F(SandboxTest, ProcessorTimeIsBoundedAndCounted) {
    NEEDS(layer::kNamespaces | layer::kCpu);
    SpawnRequest request = isolated("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
    request.sandbox.cpu_millis = 200;
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_GT(end.throttled_us.value_or(0), 0);
    EXPECT_GT(end.user + end.system, 10ms);
    EXPECT_GT(end.took, end.user + end.system);
}

TEST_F(SandboxTest, AReplacedProgramIsNotStarted) {
    NEEDS(layer::kNamespaces);
    const std::string folder = "/tmp/wa-sandbox-" + unique_marker("program");
    std::filesystem::create_directories(folder);
    std::filesystem::copy_file("/usr/bin/true", folder + "/tool");
    struct stat facts{};
    ASSERT_EQ(::stat((folder + "/tool").c_str(), &facts), 0);
    const auto request_of = [&] {
        SpawnRequest request = isolated("");
        request.executable = folder + "/tool";
        request.arguments = {"tool"};
        request.sandbox.read_only.push_back(folder + "/tool");
        request.sandbox.program = ProgramIdentity{
            facts.st_dev, facts.st_ino, std::int64_t{facts.st_ctim.tv_sec} * 1'000'000'000 + facts.st_ctim.tv_nsec};
        return request;
    };
    EXPECT_EQ(bench_.run(request_of()).exit_code, 0);
    std::filesystem::copy_file("/usr/bin/false", folder + "/tool", std::filesystem::copy_options::overwrite_existing);
    const ProcessEnd end = bench_.run(request_of());
    ASSERT_TRUE(end.error);
    EXPECT_FALSE(end.began);
    EXPECT_EQ(end.error->code, ErrorCode::kNotAllowed) << end.error->describe();
    std::filesystem::remove_all(folder);
}

TEST_F(SandboxTest, ProgramsThatCannotStartAreSaidAndLeaveNothing) {
    NEEDS(layer::kNamespaces);
    bench_.run(isolated("true"));
    bench_.turn(100ms);  // it makes the network of the next one
    const std::string helper = "/proc/" + std::to_string(bench_.spawner->status().pid) + "/fd";
    const std::size_t ours = count_entries("/proc/self/fd");
    const std::size_t theirs = count_entries(helper);
    for (int round = 0; round < 20; ++round) {
        SpawnRequest request = isolated("");
        request.executable = "/usr/bin/no-such-program";
        const ProcessEnd end = bench_.run(std::move(request));
        ASSERT_TRUE(end.error);
        EXPECT_FALSE(end.began);
        EXPECT_EQ(end.error->code, ErrorCode::kExecutionFailed);
        EXPECT_FALSE(end.error->retryable());
        request = isolated("sleep 600");
        request.time_limit = 1ms;  // over before its root is built
        EXPECT_EQ(bench_.run(std::move(request)).cause, EndCause::kTimeLimit);
    }
    EXPECT_EQ(count_entries("/proc/self/fd"), ours);
    EXPECT_TRUE(wait_until([&] { return count_entries(helper) == theirs; }, 2s));
}

TEST_F(SandboxTest, DescriptorsAndEnvironmentAreThoseThatWereMeant) {
    NEEDS(layer::kNamespaces);
    EXPECT_EQ(say("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    EXPECT_EQ(say("ls /proc/1/fd 2>&1 | grep -c ermission"), "1\n");  // init cannot be looked into
    EXPECT_EQ(say("env | cut -d= -f1 | sort | tr '\\n' ' '"),
              "HOME PATH PWD TMPDIR WORKER_AGENTS_ATTEMPT WORKER_AGENTS_STATE ");
}

TEST_F(SandboxTest, TheHelperMayDieAndNothingIsLeft) {
    NEEDS(layer::kNamespaces);
    Watcher watcher;
    const auto process = bench_.spawner->spawn(isolated("echo up; (trap '' HUP; sleep 600) & sleep 600"), watcher);
    ASSERT_TRUE(bench_.run_until([&] { return watcher.pid > 0; }));
    ::kill(bench_.spawner->status().pid, SIGKILL);
    ASSERT_TRUE(bench_.run_until([&] { return watcher.end.has_value(); }));
    EXPECT_EQ(watcher.end->error.value().code, ErrorCode::kInterrupted);
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + bench_.marker).empty(); }, 3s));
    EXPECT_EQ(bench_.run(isolated("echo again")).exit_code, 0);  // with a new helper, and its cgroups in order
}

TEST_F(SandboxTest, TheKernelEndsItWhenHelperAndWorkerDieAtOnce) {
    NEEDS(layer::kNamespaces);
    Watcher watcher;
    const auto process = bench_.spawner->spawn(isolated("trap '' HUP TERM; setsid sleep 600 & sleep 600"), watcher);
    ASSERT_TRUE(bench_.run_until([&] { return watcher.pid > 0; }));
    ::kill(bench_.spawner->status().pid, SIGKILL);
    // The loop does not turn: nobody of ours does anything.
    EXPECT_TRUE(wait_until([&] { return processes_marked("WORKER_AGENTS_STATE=" + bench_.marker).empty(); }, 3s));
}

TEST_F(SandboxTest, CgroupsGoWithTheHelper) {
    NEEDS(layer::kMemory);
    const auto folders = [&] {
        std::size_t found = 0;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(
                 "/sys/fs/cgroup", std::filesystem::directory_options::skip_permission_denied)) {
            found += entry.path().filename().string().starts_with("worker-agents-" + bench_.marker) ? 1 : 0;
        }
        return found;
    };
    bench_.run(isolated("true"));
    EXPECT_GT(folders(), 0U);
    bench_.spawner.reset();
    EXPECT_EQ(folders(), 0U);
}

TEST_F(SandboxTest, SystemCallsThatNobodyNeedsAreRefused) {
    NEEDS(layer::kSeccomp);
    const std::string script =
        "import ctypes, os, socket\n"
        "c = ctypes.CDLL(None, use_errno=True)\n"
        "def t(*a): return 'ok' if c.syscall(*a) != -1 else os.strerror(ctypes.get_errno())\n"
        "print([t(n, 0, 0, 0, 0, 0) for n in (165, 166, 155, 272, 308, 101, 310, 321, 298, 323, 425, 250, 246, 169, "
        "304, 428)])\n"
        "print(t(56, 0x10000000 | 17, 0, 0, 0, 0), t(435, 0, 0), t(0x40000000 | 39))\n"
        "for f in (17, 40, 38):\n"
        "    try: socket.socket(f, socket.SOCK_RAW); print('made')\n"
        "    except OSError as e: print(e.strerror)\n"
        "socket.socketpair()\n"
        "try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); print('datagrams')\n"
        "except OSError as e: print('no datagrams')\n"
        "try: socket.socket(socket.AF_UNIX).close(); print('unix')\n"
        "except OSError as e: print('no unix')\n"
        "try: socket.socket(socket.AF_INET).close(); print('inet')\n"
        "except OSError as e: print('no inet')\n";
    const auto run = [&](Layers layers) {
        SpawnRequest request = command({"/usr/bin/python3", "-c", script});
        request.sandbox.layers = layers;
        const ProcessEnd end = bench_.run(std::move(request));
        return out_text(end) + err_text(end);
    };
    std::string refused = "['Operation not permitted'";
    for (int n = 1; n < 16; ++n)
        refused += ", 'Operation not permitted'";
    const std::string family = "Address family not supported by protocol\n";
    EXPECT_EQ(run(layer::kSeccomp),
              refused + "]\nOperation not permitted Function not implemented Function not implemented\n" + family +
                  family + family + "no datagrams\nno unix\ninet\n");
    EXPECT_EQ(
        run(layer::kSeccomp | layer::kNoSockets).substr(refused.size() + 2),
        "Operation not permitted Function not implemented Function not implemented\nPermission denied\nPermission "
        "denied\nPermission denied\nno datagrams\nno unix\nno inet\n");
}

TEST_F(SandboxTest, WithItsOwnRootItHasLocalSockets) {
    NEEDS(layer::kNamespaces | layer::kSeccomp);
    SpawnRequest request = isolated("");
    request.executable = "/usr/bin/python3";
    request.arguments = {
        "python3", "-c",
        "import socket, multiprocessing\ns = socket.socket(socket.AF_UNIX); s.bind('here'); s.listen()\n"
        "socket.socket(socket.AF_UNIX).connect('here'); multiprocessing.Lock(); print('ok')"};
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(out_text(end), "ok\n") << err_text(end);
}

// What Python calls end in: "made", or the system's word.
constexpr const char* kTryModes =
    "import os, ctypes\n"
    "def t(f, *a):\n"
    "    try: f(*a); return 'made'\n"
    "    except OSError as e: return 'refused' if e.errno == 1 else e.strerror\n"
    "c = ctypes.CDLL(None, use_errno=True)\n"
    "open('x', 'w').close()\n"
    "os.mkdir('d', 0o6755)\n"  // directories never get the bits this way
    "fd = os.open('x', os.O_RDONLY)\n"
    "def all(bits): return [t(os.chmod, 'x', bits), t(os.fchmod, fd, bits), t(os.chmod, 'd', bits),\n"
    "    t(os.open, 'z%o' % bits, os.O_CREAT | os.O_WRONLY, bits), t(os.mknod, 'n%o' % bits, bits | 0o100000),\n"
    "    'made' if c.syscall(452, -100, b'x', bits, 0) == 0 else 'refused', 'made' if c.syscall(85, b'w%o' % bits, "
    "bits) >= 0 else 'refused']\n"
    "for bits in (0o755, 0o4755, 0o2755, 0o6755): print(*sorted(set(all(bits))))\n";

TEST_F(SandboxTest, NoFileBecomesAnotherUsersKey) {
    NEEDS(layer::kSeccomp);
    const std::string folder = "/tmp/wa-sandbox-" + unique_marker("modes");
    const auto run = [&](mode_t mode) {
        std::filesystem::create_directories(folder);
        ::chmod(folder.c_str(), mode);
        SpawnRequest request = command({"/usr/bin/python3", "-c", kTryModes});
        request.directory = open_directory(folder);
        request.sandbox.layers = layer::kSeccomp;
        const ProcessEnd end = bench_.run(std::move(request));
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            struct stat facts{};
            EXPECT_EQ(::stat(entry.path().c_str(), &facts), 0);
            EXPECT_EQ(facts.st_mode & S_ISUID, 0U) << entry.path();
        }
        std::filesystem::remove_all(folder);
        return out_text(end) + err_text(end);
    };
    EXPECT_EQ(run(0700), "made\nrefused\nrefused\nrefused\n");
    // A team's folder hands its group on: the group's bit is theirs to give, the user's is not.
    EXPECT_EQ(run(02770), "made\nrefused\nmade\nrefused\n");
}

TEST_F(SandboxTest, InAWorkspaceThatGoesModesAreFree) {
    NEEDS(layer::kNamespaces | layer::kSeccomp);
    SpawnRequest request = isolated("");
    request.executable = "/usr/bin/python3";
    request.arguments = {"python3", "-c", kTryModes};
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(out_text(end), "made\nmade\nmade\nmade\n") << err_text(end);
}

TEST_F(SandboxTest, AHelperThatLeavesTakesOnlyItsOwnCgroups) {
    NEEDS(layer::kNamespaces | layer::kMemory);
    bench_.run(isolated("true"));
    SpawnerOptions options = all_options();
    options.marker = bench_.marker;  // the same worker, started again while the old helper is still there
    Bench again(std::move(options));
    again.spawner->start({});
    ASSERT_TRUE(again.run_until([&] { return again.spawner->status().ready; }));
    SpawnRequest request = isolated("sleep 0.5; echo undisturbed");
    Watcher watcher;
    const auto process = again.spawner->spawn(std::move(request), watcher);
    ASSERT_TRUE(again.run_until([&] { return watcher.pid > 0; }));
    bench_.spawner.reset();
    ASSERT_TRUE(again.run_until([&] { return watcher.end.has_value(); }));
    EXPECT_EQ(out_text(*watcher.end), "undisturbed\n");
}

TEST_F(SandboxTest, WhatATaskLeftInMemoryIsNotChargedToTheNext) {
    NEEDS(layer::kNamespaces | layer::kMemory);
    SpawnRequest request = isolated("head -c 50000000 /dev/zero > fill");
    const ProcessEnd held = bench_.run(std::move(request));  // its workspace lives on with this
    ASSERT_TRUE(held.workspace);
    for (int round = 0; round < 3; ++round) {
        request = isolated("true");
        request.sandbox.memory = 40U << 20U;  // less than what lies there
        const ProcessEnd end = bench_.run(std::move(request));
        ASSERT_FALSE(end.error) << end.error->describe();
        EXPECT_LT(end.memory_peak_bytes.value_or(1 << 30), 30 << 20);
        EXPECT_EQ(end.out_of_memory, 0);
    }
}

TEST_F(SandboxTest, TooLittleMemoryToStartIsTheTicketsFault) {
    NEEDS(layer::kNamespaces | layer::kMemory);
    SpawnRequest request = isolated("true");
    request.sandbox.memory = 64 << 10;
    const ProcessEnd end = bench_.run(std::move(request));
    ASSERT_TRUE(end.error);
    EXPECT_EQ(end.error->fault, Fault::kLimit) << end.error->describe();
    EXPECT_FALSE(end.error->retryable());
}

TEST_F(SandboxTest, CgroupsThatVanishedAreMadeAnew) {
    NEEDS(layer::kNamespaces | layer::kMemory);
    bench_.run(isolated("true"));
    std::vector<std::string> folders;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             "/sys/fs/cgroup", std::filesystem::directory_options::skip_permission_denied)) {
        if (entry.path().filename() == "0" &&
            entry.path().parent_path().filename().string().starts_with("worker-agents-" + bench_.marker))
            folders.push_back(entry.path());
    }
    std::size_t removed = 0;
    for (const std::string& folder : folders)
        removed += ::rmdir(folder.c_str()) == 0 ? 1 : 0;
    EXPECT_GT(removed, 0U);
    ProcessEnd end = bench_.run(isolated("echo on"));
    EXPECT_EQ(out_text(end), "on\n") << (end.error ? end.error->describe() : "");
    for (const std::string& folder : folders) {
        ::rmdir(folder.c_str());
        ::rmdir(std::filesystem::path(folder).parent_path().c_str());
    }
    end = bench_.run(isolated("echo and on"));
    EXPECT_EQ(out_text(end), "and on\n") << (end.error ? end.error->describe() : "");
}

TEST_F(SandboxTest, LandlockAloneHoldsTheFiles) {
    NEEDS(layer::kLandlock);
    const std::string folder = "/tmp/wa-sandbox-" + unique_marker("landlock");
    std::filesystem::create_directories(folder + "/work");
    std::filesystem::create_directories(folder + "/tmp");
    std::ofstream(folder + "/secret") << "not for it\n";
    SpawnRequest request =
        shell("cat ../secret; ls ..; echo x > ../y; echo x > here && echo x > ../tmp/there && cat here; kill -0 " +
              std::to_string(::getpid()) + "; cat /proc/" + std::to_string(::getpid()) + "/environ");
    request.directory = open_directory(folder + "/work");
    // A process that may watch performance counters may read others' memory, whatever Landlock says: without those.
    request.sandbox.layers = layer::kLandlock | layer::kCapabilities;
    request.sandbox.read_only = {"/usr", "/bin", "/lib", "/lib64", "/etc"};
    request.sandbox.writable = {folder + "/tmp"};
    const ProcessEnd end = bench_.run(std::move(request));
    EXPECT_EQ(out_text(end), "x\n") << err_text(end);
    EXPECT_FALSE(std::filesystem::exists(folder + "/y"));
    EXPECT_TRUE(std::filesystem::exists(folder + "/tmp/there"));
    std::filesystem::remove_all(folder);
}

TEST_F(SandboxTest, ManyAtOnceKeepApart) {
    NEEDS(layer::kNamespaces);
    std::vector<std::unique_ptr<Watcher>> watchers;
    std::vector<std::unique_ptr<Process>> processes;
    for (int index = 0; index < 40; ++index) {
        watchers.push_back(std::make_unique<Watcher>());
        processes.push_back(bench_.spawner->spawn(
            isolated("echo " + std::to_string(index) + " > x; sleep 0.1; cat x; ls | wc -l"), *watchers.back()));
    }
    ASSERT_TRUE(bench_.run_until([&] {
        return std::all_of(watchers.begin(), watchers.end(), [](const auto& each) { return each->end.has_value(); });
    }));
    for (std::size_t index = 0; index < watchers.size(); ++index) {
        const ProcessEnd& end = *watchers[index]->end;
        EXPECT_EQ(out_text(end), std::to_string(index) + "\n1\n")
            << (end.error ? end.error->describe() : err_text(end));
    }
}

}  // namespace
}  // namespace wa::testing
