// The worker: every part, made in order and ended in the opposite order. This is the only place that
// knows all of them.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "adapters/task_logs/file_task_logs.h"
#include "admin/background.h"
#include "app/api_binding.h"
#include "app/call_metrics.h"
#include "app/dev_view.h"
#include "app/engine_host.h"
#include "app/outbound.h"
#include "app/platform.h"
#include "app/runtime_parts.h"
#include "app/state_dir.h"
#include "cli/command_line.h"
#include "config/settings.h"
#include "executors/execute.h"
#include "executors/test.h"
#include "http_client/http_client.h"
#include "net/http_server.h"
#include "observability/event_hub.h"
#include "observability/health.h"
#include "observability/log_observer.h"
#include "observability/logger.h"
#include "observability/metrics.h"
#include "observability/observer_fanout.h"
#include "observability/registry.h"
#include "process/spawner.h"
#include "runtimes/local_process.h"
#include "runtimes/simulation.h"
#include "runtimes/test_report_reader.h"

namespace wa::app {

struct WorkerContext {
    cli::Console& console;
    const Clock& clock;
    Random& random;
    std::vector<MakeRuntime> runtimes;
    config::Settings settings;
    std::function<Result<config::Settings>()> read_settings;  // anew, for a reload
    bool cluster = false;                                     // `run`
    cli::DevCommand command;                                  // of `dev`; as it is made otherwise
    std::string state_dir;
    std::string scratch_base;  // where a folder is made when state_dir is empty
    bool colours = false;
    bool redraws = false;
};

class Worker {
public:
    explicit Worker(WorkerContext context);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Runs until drained or told to stop; gives the exit code (interface.md, experience.md 2.3). Once.
    int run();

private:
    Result<void> open_parts();
    Result<void> make_flow();
    void leave();
    Result<void> make_executors();
    void make_clients();
    Result<void> make_remote_runtimes();
    void forget_executors();
    Result<void> serve();
    Result<void> submit_examples();
    void begin_runtimes();
    void begin();
    void on_signal(int number);
    void interrupted(int number);
    void quit();
    void reload();
    void tell(const std::string& line);
    [[nodiscard]] std::string what_runs();
    [[nodiscard]] int interrupted_exit(bool all_ended) const;
    void every_tenth_second();
    void maybe_finished();
    void ended_in_queue(const TicketSummary& ticket, const Settlement& ending);
    void stop_now();
    int report_and_close();
    EngineOptions engine_options() const;
    LocalRuntimeOptions local_options() const;
    SandboxOptions sandbox_options() const;
    TestOptions test_options() const;
    [[nodiscard]] IsolationReport isolation();
    [[nodiscard]] std::vector<RuntimeState> runtime_states();
    void note_states();
    void say_isolation(const HelperStatus& helper);
    [[nodiscard]] int failed_to_start(const Error& error);

    WorkerContext context_;
    const config::Settings& settings_;
    boost::asio::io_context loop_{1};
    boost::asio::signal_set signals_;
    boost::asio::steady_timer ticker_;
    std::string agent_id_;
    std::vector<TaskType> task_types_;
    std::mutex settings_mutex_;
    std::shared_ptr<const config::Settings> in_force_;  // for the API's threads
    std::mutex isolation_mutex_;
    IsolationReport isolation_;                 // for the API's threads
    std::vector<RuntimeState> runtime_states_;  // the same
    std::vector<std::string> offered_;          // runtimes, as told to those who look for workers

    std::optional<StateDir> state_;
    std::unique_ptr<observability::Log> log_;
    observability::Registry registry_;
    std::unique_ptr<observability::Metrics> metrics_;
    std::unique_ptr<observability::EventHub> hub_;
    std::unique_ptr<observability::Health> health_;
    std::unique_ptr<Platform> platform_;
    std::unique_ptr<FileTaskLogs> task_logs_;
    std::unique_ptr<Spawner> spawner_;
    std::unique_ptr<LocalRuntime> local_;
    std::unique_ptr<http::Client> http_;
    std::unique_ptr<http::Client> outside_;  // services on the internet: by a proxy, where there is one
    std::unique_ptr<CallMetrics> call_metrics_;
    std::vector<RuntimePart> remote_;
    std::unique_ptr<SimulationRuntime> simulation_;
    std::vector<Runtime*> runtimes_;
    std::unique_ptr<ExecuteExecutor> execute_;
    std::unique_ptr<TestReportReader> test_reports_;
    std::unique_ptr<TestExecutor> test_;
    std::unique_ptr<DevView> view_;
    std::unique_ptr<observability::LogObserver> log_observer_;
    std::unique_ptr<observability::EventFeed> event_feed_;
    std::unique_ptr<FlowObserver> drain_watch_;
    std::unique_ptr<FlowObserver> settled_watch_;
    std::unique_ptr<observability::ObserverFanout> observers_;
    std::unique_ptr<EngineHost> host_;
    std::unique_ptr<net::HttpServer> server_;
    std::unique_ptr<admin::BackgroundThread> api_background_;

    observability::Pulse* pulse_ = nullptr;
    std::atomic<bool> ready_{false};
    std::atomic<bool> draining_{false};
    // Endings in the queue, by the API, that are not yet told to those who count. Shared with what waits in its
    // threads.
    std::shared_ptr<std::atomic<int>> endings_under_way_ = std::make_shared<std::atomic<int>>(0);
    bool submitted_ = false;
    bool finished_ = false;
    bool leaving_ = false;
    bool interrupted_ = false;
    bool cut_short_ = false;  // something that ran was cancelled by the drain
    const bool had_terminal_;
    MonoTime drain_began_{};
    std::int64_t ended_before_drain_ = 0;
    int signals_seen_ = 0;
    int ticks_ = 0;
    std::size_t pending_submits_ = 0;
    std::optional<Error> fatal_;
};

}  // namespace wa::app
