// How much the spawn helper costs against a bare posix_spawn loop, and whether the worker's size matters.
//
//   spawn_bench [PROGRAM] [COUNT]
//
// PROGRAM: a static program that exits 0 at once (default: spawn_bench_true beside this one). For 0 and 2 GiB of
// touched memory, with 1 and with 4 processes at a time: a loop of posix_spawn and waitpid, and the Spawner, with
// output pipes and clean-up included. They take turns, so that a busy moment of the machine hits all of them. One JSON
// object on stdout: spawns a second of every round.
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

pid_t bare_spawn(const std::string& program) {
    std::string name = "true";
    char* arguments[] = {name.data(), nullptr};
    char* environment[] = {nullptr};
    pid_t pid = -1;
    if (::posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, environment) != 0) std::abort();
    return pid;
}

void bare_wait(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0) std::abort();
}

double bare_loop(const std::string& program, int count, std::size_t at_once) {
    std::deque<pid_t> running;
    const auto start = SteadyClock::now();
    for (int index = 0; index < count; ++index) {
        if (running.size() == at_once) {
            bare_wait(running.front());
            running.pop_front();
        }
        running.push_back(bare_spawn(program));
    }
    for (const pid_t pid : running)
        bare_wait(pid);
    return milliseconds_each(start, count);
}

// Keeps `at_once` processes under way until `count` have ended.
class Run final : public wa::ProcessListener {
public:
    Run(wa::Spawner& spawner, std::string program, int count, int at_once)
        : spawner_(spawner), program_(std::move(program)), left_(count), open_(count), at_once_(at_once) {}

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
        request.directory = wa::Fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
        request.limits.open_files = 256;
        processes_.push_back(spawner_.spawn(std::move(request), *this));
    }

    wa::Spawner& spawner_;
    std::string program_;
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

}  // namespace

int main(int argc, char** argv) {
    const std::string beside = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "spawn_bench_true";
    const std::string program = argc > 1 ? argv[1] : beside;
    const int count = argc > 2 ? std::max(1, std::atoi(argv[2])) : 300;
    constexpr int kRounds = 7;
    // The helper is started while this process is small, as the worker does it.
    boost::asio::io_context loop;
    const wa::SystemClock clock;
    wa::SpawnerOptions options;
    options.marker = "spawn-bench-" + std::to_string(::getpid());
    wa::Spawner spawner(loop, clock, options);
    bool ready = false;
    spawner.start([&](const wa::Result<wa::HelperStatus>& status) { ready = status.has_value(); });
    while (!ready && loop.run_one() > 0) {
    }
    if (!ready) {
        std::fprintf(stderr, "the spawn helper cannot be started\n");
        return 1;
    }
    std::string out;
    for (const std::size_t gibibytes : {0U, 2U}) {
        void* memory = touch(gibibytes << 30U);
        std::vector<double> bare_one;
        std::vector<double> bare_four;
        std::vector<double> one;
        std::vector<double> four;
        for (int round = 0; round < kRounds; ++round) {
            bare_one.push_back(1000 / bare_loop(program, count, 1));
            one.push_back(1000 / Run(spawner, program, count, 1).measure(loop));
            bare_four.push_back(1000 / bare_loop(program, count, 4));
            four.push_back(1000 / Run(spawner, program, count, 4).measure(loop));
        }
        const std::string size = std::to_string(gibibytes);
        out += (out.empty() ? "{" : ",") + list("bare_one_" + size, bare_one) + "," + list("one_" + size, one) + "," +
               list("bare_four_" + size, bare_four) + "," + list("four_" + size, four);
        if (memory != nullptr) ::munmap(memory, gibibytes << 30U);
    }
    std::printf("%s}\n", out.c_str());
    return 0;
}
