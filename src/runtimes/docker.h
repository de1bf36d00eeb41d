// The runtime "docker": the ticket's command in a container of a Docker engine (contract/executors.md 6.4).
//
// One container per attempt, with a deterministic name and labels (docker_place.h says whose it is, work_keeper.h
// when it goes).
// An attempt first looks for what is there of its ticket: what still runs, or has ended and was not reported, is
// adopted by whoever may (options.keeper.domain). Work runs on when this worker goes away, if options.detachable says
// so.
//
// What the engine did while nobody could ask it is found out, never guessed: after a lost call the container is looked
// at, for as long as options.patience; then the attempt ends as unavailable, and the next one begins with a look.
//
// Result, beside the local runtime's members: output.container_id; metadata.image, image_pulled, container_name,
// oom_killed, adopted, network_mode, output_incomplete, contact_lost.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http_client/http_client.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "runtimes/docker_api.h"
#include "runtimes/docker_place.h"
#include "runtimes/docker_task.h"
#include "runtimes/registry_auth.h"
#include "runtimes/work_keeper.h"

namespace wa {

struct DockerOptions {
    bool enabled = false;       // DOCKER_ENABLED
    docker::ApiOptions api;     // DOCKER_BASE_URL, DOCKER_VERIFY_SSL, DOCKER_CERT_PATH
    std::string misconfigured;  // why it can never be used; empty = it can
    docker::TaskRules rules;
    KeeperOptions keeper;
    RegistryAuth auth;                                  // DOCKER_AUTH_CONFIG
    bool detachable = true;                             // containers are left running when this worker leaves
    Duration timeout = std::chrono::seconds(600);       // DOCKER_TIMEOUT_SECONDS: upper bound of one attempt
    Duration pull_timeout = std::chrono::seconds(300);  // DOCKER_PULL_TIMEOUT_SECONDS
    Duration grace = std::chrono::seconds(10);          // from SIGTERM to SIGKILL
    Duration patience = std::chrono::seconds(60);       // DOCKER_RECONNECT_SECONDS: how long an engine may be away
    Duration probe_interval = std::chrono::seconds(30);
    Duration probe_limit = std::chrono::seconds(3);
    Duration sweep_interval = std::chrono::minutes(10);
    Duration first_wait = std::chrono::milliseconds(200);  // before something is tried again; it doubles, to 5 s
    Duration second_look = std::chrono::seconds(15);       // a running container is looked at beside the wait
    std::size_t result_lines = 1000;
    std::function<void(std::string_view stage, Duration took)> on_stage;  // pull, create, run, logs; may be empty
};

class DockerRuntime final : public Runtime {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    DockerRuntime(boost::asio::io_context& loop, const Clock& clock, http::Client& client, TaskLogs* logs,
                  DockerOptions options);
    ~DockerRuntime() override;

    // Asks the engine for the first time, and from then on again and again; `done`, once, after the first answer or
    // options.probe_limit.
    void begin(std::function<void()> done);
    // Removes what is due, as long as `limit`; then `done`, once.
    void leave(Duration limit, std::function<void()> done);

    [[nodiscard]] std::string_view name() const override { return "docker"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return options_.enabled; }
    [[nodiscard]] bool can_detach() const override { return options_.detachable; }
    [[nodiscard]] bool may_hold(const Ticket& ticket) const override;
    void ticket_settled(std::string_view ticket_id, bool untried) override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

    // "20.10.24, API 1.41, linux/amd64", while it is known.
    [[nodiscard]] const std::string& engine() const { return engine_; }

private:
    class Attempt;
    friend class Attempt;
    void probe();
    void probed(bool there, std::string detail);
    void learn_version();
    void unreachable(std::string detail);
    void schedule_probe(Duration wait);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    TaskLogs* logs_;
    DockerOptions options_;
    docker::Api api_;
    docker::Place place_;
    WorkKeeper keeper_;
    bool there_ = false;
    bool version_known_ = false;
    std::string away_ = "it has not answered yet";
    std::string engine_;
    MonoTime next_sweep_{};
    Duration probe_wait_{};
    boost::asio::steady_timer probe_timer_;
    http::Call probe_call_;
    std::function<void()> begun_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
