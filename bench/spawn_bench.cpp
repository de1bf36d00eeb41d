// What each layer around a task costs, beside a bare posix_spawn loop and bubblewrap, and whether the worker's size
// matters.
//
//   spawn_bench [PROGRAM] [COUNT]
//
// PROGRAM: a static program that exits 0 at once (default: spawn_bench_true beside this one). For 0 and 2 GiB of
// touched memory, with 1 and with 4 processes at a time: a loop of posix_spawn and waitpid, and the Spawner, with
// output pipes and clean-up included, without any layer, with one group of layers at a time, and with all. They take
// turns, so that a busy moment of the machine hits all of them. One JSON object on stdout: milliseconds for each spawn
// of every round; "layers": what this machine has.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "process/spawner.h"

namespace {

using SteadyClock = std::chrono::steady_clock;

double milliseconds_each(SteadyClock::time_point start, int count) {
    return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count() / count;
}

pid_t bare_start(const std::vector<std::string>& words) {
    std::vector<char*> arguments;
    for (const std::string& word : words)
        arguments.push_back(const_cast<char*>(word.c_str()));  // NOLINT: posix_spawn does not write there
    arguments.push_back(nullptr);
    char* environment[] = {nullptr};
    pid_t pid = -1;
    if (::posix_spawn(&pid, words.front().c_str(), nullptr, nullptr, arguments.data(), environment) != 0) std::abort();
    return pid;
}

void bare_wait(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0) std::abort();
}

double bare_loop(const std::vector<std::string>& words, int count, std::size_t at_once) {
    std::deque<pid_t> running;
    const auto start = SteadyClock::now();
    for (int index = 0; index < count; ++index) {
        if (running.size() == at_once) {
            bare_wait(running.front());
            running.pop_front();
        }
        running.push_back(bare_start(words));
    }
    for (const pid_t pid : running)
        bare_wait(pid);
    return milliseconds_each(start, count);
}

// Keeps `at_once` processes under way until `count` have ended.
class Run final : public wa::ProcessListener {
public:
    Run(wa::Spawner& spawner, std::string program, wa::Layers layers, int count, int at_once)
        : spawner_(spawner),
          program_(std::move(program)),
          layers_(layers),
          left_(count),
          open_(count),
          at_once_(at_once) {}

    double measure(boost::asio::io_context& loop) {
        const int count = open_;
        const auto start = SteadyClock::now();
        for (int index = 0; index < at_once_; ++index)
            next();
        loop.restart();
        while (open_ > 0)
            loop.run_one();
        return milliseconds_each(start, count);
    }

    void process_started(pid_t) override {}
    void process_ended(wa::ProcessEnd end) override {
        if (end.error || end.exit_code != 0) {
            std::fprintf(stderr, "a spawn failed: %s\n", end.error ? end.error->describe().c_str() : "exit code");
            std::exit(1);
        }
        --open_;
        next();
    }

private:
    void next() {
        if (left_ == 0) return;
        --left_;
        wa::SpawnRequest request;
        request.name = "bench";
        request.executable = program_;
        request.arguments = {"true"};
        request.environment = {"PATH=/usr/bin:/bin", "HOME=/", "LANG=C.UTF-8"};
        request.sandbox.layers = layers_;
        if ((layers_ & wa::layer::kMount) == 0)
            request.directory = wa::Fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
        request.sandbox.read_only = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"};
        request.sandbox.read_only.push_back(std::filesystem::path(program_).parent_path());
        request.sandbox.memory = 1ULL << 30U;
        request.sandbox.processes = 64;
        request.limits.open_files = 256;
        processes_.push_back(spawner_.spawn(std::move(request), *this));
    }

    wa::Spawner& spawner_;
    std::string program_;
    wa::Layers layers_;
    int left_;
    int open_;
    int at_once_;
    std::vector<std::unique_ptr<wa::Process>> processes_;
};

void* touch(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    for (std::size_t at = 0; at < bytes; at += 4096)
        static_cast<char*>(memory)[at] = 1;
    return memory;
}

std::string list(const std::string& name, const std::vector<double>& values) {
    std::string out;
    for (const double value : values)
        out += (out.empty() ? "" : ",") + std::to_string(value);
    return "\"" + name + "\":[" + out + "]";
}

struct Variant {
    const char* name;
    wa::Layers layers;
};

// Each group by itself (what rests on another one, with it), then all.
std::vector<Variant> variants(wa::Layers available) {
    using namespace wa::layer;
    const std::vector<Variant> all{{"none", 0},
                                   {"seccomp", kSeccomp},
                                   {"landlock", kLandlock},
                                   {"cgroup", kCgroup},
                                   {"namespaces", kNamespaces},
                                   {"namespaces_network", kNamespaces | kNetwork},
                                   {"namespaces_own_uid", kNamespaces | kOwnUid},
                                   {"all_but_network", wa::all_layers() & ~kNetwork},
                                   {"all", wa::all_layers()}};
    std::vector<Variant> there;
    for (const Variant& one : all) {
        if ((one.layers & available) == one.layers) there.push_back(one);
    }
    return there;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string beside = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "spawn_bench_true";
    const std::string program = std::filesystem::absolute(argc > 1 ? argv[1] : beside);
    const int count = argc > 2 ? std::max(1, std::atoi(argv[2])) : 300;
    constexpr int kRounds = 7;
    // The helper is started while this process is small, as the worker does it.
    boost::asio::io_context loop;
    const wa::SystemClock clock;
    wa::SpawnerOptions options;
    options.marker = "spawn-bench-" + std::to_string(::getpid());
    options.try_layers = wa::all_layers();
    wa::Spawner spawner(loop, clock, options);
    bool ready = false;
    spawner.start([&](const wa::Result<wa::HelperStatus>& status) { ready = status.has_value(); });
    while (!ready && loop.run_one() > 0) {
    }
    if (!ready) {
        std::fprintf(stderr, "the spawn helper cannot be started\n");
        return 1;
    }
    const std::string folder = std::filesystem::path(program).parent_path();
    const std::vector<std::string> bare{program};
    const std::vector<std::string> bwrap{"/usr/bin/bwrap", "--unshare-all", "--ro-bind", "/usr",    "/usr", "--ro-bind",
                                         "/etc",           "/etc",          "--symlink", "usr/lib", "/lib", "--symlink",
                                         "usr/lib64",      "/lib64",        "--ro-bind", folder,    folder, "--tmpfs",
                                         "/tmp",           "--proc",        "/proc",     "--dev",   "/dev", program};
    const bool has_bwrap = ::access(bwrap.front().c_str(), X_OK) == 0;
    const std::vector<Variant> tried = variants(spawner.status().layers);
    std::string out;
    for (const std::size_t gibibytes : {0U, 2U}) {
        void* memory = touch(gibibytes << 30U);
        std::map<std::string, std::vector<double>> rounds;
        for (int round = 0; round < kRounds; ++round) {
            for (const int at_once : {1, 4}) {
                const std::string suffix = "_" + std::to_string(at_once) + "_" + std::to_string(gibibytes);
                const auto threads = static_cast<std::size_t>(at_once);
                rounds["bare" + suffix].push_back(bare_loop(bare, count, threads));
                if (has_bwrap) rounds["bwrap" + suffix].push_back(bare_loop(bwrap, count / 3 + 1, threads));
                for (const Variant& one : tried) {
                    rounds[one.name + suffix].push_back(
                        Run(spawner, program, one.layers, count, at_once).measure(loop));
                }
            }
        }
        for (const auto& [name, values] : rounds)
            out += (out.empty() ? "{" : ",") + list(name, values);
        if (memory != nullptr) ::munmap(memory, gibibytes << 30U);
    }
    std::string names;
    for (const std::string& name : wa::layer_names(spawner.status().layers))
        names += (names.empty() ? "\"" : ",\"") + name + "\"";
    std::printf("%s,\"layers\":[%s]}\n", out.c_str(), names.c_str());
    return 0;
}
