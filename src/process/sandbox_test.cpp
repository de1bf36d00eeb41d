// The layers around a task, tried from inside it.
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

TEST_F(SandboxTest, RunsAProgramInEveryLayer) {
    for (const std::string& missing : bench_.spawner->status().missing)
        std::cerr << "missing: " << missing << "\n";
    const ProcessEnd end = bench_.run(isolated("echo hello; id -u; pwd; echo $$; hostname; exit 3"));
    ASSERT_FALSE(end.error) << end.error->describe();
    EXPECT_EQ(end.exit_code, 3);
    EXPECT_EQ(out_text(end), "hello\n1000\n/task/work\n2\ntask\n") << err_text(end);
    EXPECT_EQ(level_of(end.layers), IsolationLevel::kFull);
}

}  // namespace
}  // namespace wa::testing
