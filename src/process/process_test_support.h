// For the tests of this folder: a loop, a spawner, and a way to run a command to its end.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "process/spawner.h"

namespace wa::testing {

using namespace std::chrono_literals;  // NOLINT: tests

inline std::string unique_marker(std::string_view what) {
    static int counter = 0;
    return std::string(what) + "-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
}

inline Fd open_directory(const std::string& path = "/tmp") {
    return Fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

inline SpawnRequest command(std::vector<std::string> words, std::string executable = {}) {
    SpawnRequest request;
    request.name = unique_marker("attempt");
    request.executable = executable.empty() ? words.front() : std::move(executable);
    request.arguments = std::move(words);
    request.environment = {"PATH=/usr/local/bin:/usr/bin:/bin"};
    request.directory = open_directory();
    return request;
}

inline SpawnRequest shell(const std::string& script) {
    return command({"/bin/sh", "-c", script});
}

// What can be read of a file now; processes vanish while their files are read.
inline std::string read_proc(const std::string& path) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; fd && (got = ::read(fd.get(), buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
}

// 0 when it cannot be read.
inline std::size_t count_entries(const std::string& folder) {
    std::error_code error;
    const std::filesystem::directory_iterator all(folder, error);
    return error ? 0 : static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// True when the process exists and is no zombie.
inline bool is_alive(pid_t pid) {
    const std::string text = read_proc("/proc/" + std::to_string(pid) + "/stat");
    const auto end = text.rfind(')');
    return end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

inline bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 10s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(2ms);
    }
    return true;
}

// Processes whose environment holds `text`.
inline std::vector<pid_t> processes_marked(const std::string& text) {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        if (read_proc(entry.path() / "environ").find(text) != std::string::npos) found.push_back(std::stoi(name));
    }
    return found;
}

class Watcher final : public ProcessListener {
public:
    void process_started(pid_t started) override {
        pid = started;
        if (on_start) on_start();
    }
    void process_ended(ProcessEnd ended) override {
        ++ends;
        end = std::move(ended);
        if (on_end) on_end();
    }

    pid_t pid = -1;
    int ends = 0;
    std::optional<ProcessEnd> end;
    std::function<void()> on_start;
    std::function<void()> on_end;
};

class Bench {
public:
    explicit Bench(SpawnerOptions options = {}) {
        if (options.marker.empty()) options.marker = unique_marker("state");
        marker = options.marker;
        spawner = std::make_unique<Spawner>(loop, clock, std::move(options));
    }

    // Turns the loop until `condition` holds; false when that took too long.
    bool run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 20s) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            loop.restart();
            loop.run_one_for(10ms);
        }
        return true;
    }

    void turn(std::chrono::milliseconds time) {
        run_until([end = std::chrono::steady_clock::now() + time] { return std::chrono::steady_clock::now() > end; },
                  time + 1s);
    }

    ProcessEnd run(SpawnRequest request, std::chrono::milliseconds limit = 20s) {
        Watcher watcher;
        const auto process = spawner->spawn(std::move(request), watcher);
        EXPECT_TRUE(run_until([&] { return watcher.end.has_value(); }, limit)) << "the process did not end";
        if (!watcher.end) {
            ProcessEnd none;
            none.error = make_error(ErrorCode::kInternal, Retry::kNever, Fault::kWorker, "test", "did not end");
            return none;
        }
        EXPECT_EQ(watcher.ends, 1);
        return std::move(*watcher.end);
    }

    SystemClock clock;
    boost::asio::io_context loop;
    std::string marker;
    std::unique_ptr<Spawner> spawner;
};

inline std::string out_text(const ProcessEnd& end) {
    return end.out.text(1 << 20, 1 << 20);
}
inline std::string err_text(const ProcessEnd& end) {
    return end.err.text(1 << 20, 1 << 20);
}

}  // namespace wa::testing
