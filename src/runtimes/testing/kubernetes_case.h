// For tests only: a Kubernetes runtime, the cluster that it talks to, and a ticket for it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "runtimes/kubernetes.h"
#include "runtimes/testing/kubernetes_server.h"

namespace wa::kubernetes::testing {

using http::testing::run_for;
using http::testing::run_until;

inline const Reaction kClosed{.then = Reaction::Then::kClose};
inline const Reaction kHeld{.then = Reaction::Then::kHold};

class KubernetesCase : public ::testing::Test, public RuntimeListener {
public:
    ~KubernetesCase() override {
        crash();
        std::filesystem::remove_all(folder);
    }
    KubernetesCase(const KubernetesCase&) = delete;
    KubernetesCase& operator=(const KubernetesCase&) = delete;

protected:
    KubernetesCase() : cluster(loop), folder("/tmp/wa-kubernetes-test-" + std::to_string(::getpid())) {
        std::filesystem::remove_all(folder);
        std::filesystem::create_directories(folder);
        write_config("first");
        cluster.token = "first";
        options.enabled = true;
        options.access.kubeconfig = folder + "/config";
        options.name_space = "tasks";
        options.call_timeout = std::chrono::seconds(2);
        options.keeper.worker = "worker-a";
        options.keeper.domain = "domain";
        options.keeper.notes_folder = folder + "/notes";
        options.keeper.standing = [this](std::string_view) { return standing; };
        options.keeper.on_swept = [this](std::size_t count) { swept += count; };
        options.patience = std::chrono::milliseconds(600);
        options.poll_interval = std::chrono::milliseconds(50);
        options.grace = std::chrono::seconds(1);
        options.gone_limit = std::chrono::milliseconds(300);
        options.log_look = std::chrono::milliseconds(200);
        options.second_look = std::chrono::milliseconds(200);
        options.first_wait = std::chrono::milliseconds(5);
        options.probe_limit = std::chrono::seconds(2);
        options.probe_interval = std::chrono::milliseconds(100);
        options.policy.backoff = {std::chrono::milliseconds(1), std::chrono::milliseconds(5)};
        options.policy.breaker_pause = std::chrono::milliseconds(10);
        ticket.ticket_id = "t-1";
        ticket.plan_id = "p";
        ticket.task_id = "task";
        ticket.parameters = {{"command", json::array{"echo", "x"}}, {"image", "busybox:1"}};
    }
    void write_config(const std::string& token) const {
        std::ofstream(folder + "/next") << "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
                                           "contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\n"
                                           "clusters:\n- name: c\n  cluster:\n    server: "
                                        << cluster.url() << "\nusers:\n- name: u\n  user:\n    token: " << token
                                        << "\n";
        std::filesystem::rename(folder + "/next", folder + "/config");
    }
    KubernetesRuntime& runtime() {
        if (!runtime_) {
            client_ = std::make_unique<http::Client>(loop, clock, http::ClientOptions{});
            runtime_ = std::make_unique<KubernetesRuntime>(loop, clock, random, *client_, nullptr, options);
            bool begun = false;
            runtime_->begin([&begun] { begun = true; });
            EXPECT_TRUE(run_until(loop, [&begun] { return begun; }));
        }
        return *runtime_;
    }
    // As after kill -9: nothing is said to anybody.
    void crash() {
        attempt.reset();
        runtime_.reset();
        client_.reset();
    }
    void start(int number = 1) {
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        context.number = number;
        context.timeout_ms = 60'000;
        context.deadline = clock.now() + std::chrono::seconds(60);
        ends = 0;
        report = {};
        attempt = runtime().start(context, *this);
        EXPECT_EQ(ends, 0);
    }
    const AttemptReport& finish() {
        EXPECT_TRUE(run_until(loop, [this] { return ends > 0; }, std::chrono::seconds(10))) << "it did not end";
        run_for(loop, std::chrono::milliseconds(20));
        EXPECT_EQ(ends, 1);
        EXPECT_EQ(report.attempt.success, !report.attempt.error.has_value());
        return report.attempt;
    }
    const AttemptReport& run(int number = 1) {
        start(number);
        return finish();
    }
    // Until a pod runs, and its log is read.
    void start_running(int number = 1) {
        cluster.runs_on = true;
        start(number);
        ASSERT_TRUE(running());
    }
    bool running() {
        return run_until(loop, [this] {
            return cluster.pods_made > 0 && !cluster.pods.empty() && !cluster.pods.begin()->second.readers.empty();
        });
    }
    void runtime_ended(AttemptKey, RuntimeReport ended) override {
        ++ends;
        report = std::move(ended);
    }
    bool all_gone() {
        return run_until(
            loop, [this] { return cluster.jobs.empty() && cluster.pods.empty(); }, std::chrono::seconds(5));
    }
    void settle() {
        attempt.reset();
        runtime().ticket_settled(ticket.ticket_id, false);
        EXPECT_TRUE(all_gone());
    }
    bool told_of(const std::string& words) const {
        for (const std::string& line : report.attempt.logs) {
            if (line.find(words) != std::string::npos) return true;
        }
        return false;
    }
    std::string meta(const std::string& name) const {
        const auto found = report.attempt.metadata.find(name);
        return found == report.attempt.metadata.end() ? "" : found->second;
    }
    std::string out() const {
        return report.attempt.output.contains("stdout") ? report.attempt.output.at("stdout") : "";
    }
    ErrorCode code() const { return report.attempt.error ? report.attempt.error->code : ErrorCode::kInternal; }
    std::string why() const { return report.attempt.error ? report.attempt.error->message : ""; }

    boost::asio::io_context loop{1};
    SystemClock clock;
    SeededRandom random{1};
    FakeCluster cluster;
    std::string folder;
    KubernetesOptions options;
    Ticket ticket;
    TicketStanding standing = TicketStanding::kOpen;
    std::size_t swept = 0;
    std::unique_ptr<RunningAttempt> attempt;
    RuntimeReport report;
    int ends = 0;

private:
    std::unique_ptr<http::Client> client_;
    std::unique_ptr<KubernetesRuntime> runtime_;
};

}  // namespace wa::kubernetes::testing
