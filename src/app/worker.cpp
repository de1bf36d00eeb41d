#include "app/worker.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "app/build_info.h"
#include "app/cluster_platform.h"
#include "app/embedded_platform.h"
#include "app/examples.h"
#include "app/instance.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "core/codec/ticket_json.h"
#include "plan_file/plan_file.h"

namespace wa::app {
namespace {

constexpr int kExitUnavailable = 69;
constexpr int kExitNotDrained = 75;

// Hears when the engine has drained.
class DrainWatch final : public FlowObserver {
public:
    explicit DrainWatch(std::function<void(std::string_view)> changed) : changed_(std::move(changed)) {}
    void drain_changed(std::string_view phase) override { changed_(phase); }

private:
    std::function<void(std::string_view)> changed_;
};

// Tells the runtimes that a ticket's result is committed.
class SettledWatch final : public FlowObserver {
public:
    explicit SettledWatch(const std::vector<Runtime*>& runtimes) : runtimes_(runtimes) {}
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override {
        const bool untried = ticket.attempt == 0 && settlement.kind == SettlementKind::kResult && ended_it(settlement);
        for (Runtime* runtime : runtimes_)
            runtime->ticket_settled(ticket.ticket_id, untried);
    }

private:
    // Others end for reasons that they would have had before any attempt.
    static bool ended_it(const Settlement& settlement) {
        return settlement.outcome == Outcome::kCancelled || settlement.outcome == Outcome::kPreempted ||
               settlement.outcome == Outcome::kDeadlineExceeded;
    }

    const std::vector<Runtime*>& runtimes_;
};

// A call on the loop after a while, that can be taken back.
CallLater call_later_on(boost::asio::io_context& loop) {
    return [&loop](Duration wait, std::function<void()> action) {
        struct Call {
            boost::asio::steady_timer timer;
            std::function<void()> action;
        };
        auto call = std::make_shared<Call>(boost::asio::steady_timer(loop, wait), std::move(action));
        // The timer's handler may be on its way already when the call is taken back.
        call->timer.async_wait([call](const boost::system::error_code& error) {
            if (const auto due = std::exchange(call->action, nullptr); due && !error) due();
        });
        return [call = std::weak_ptr<Call>(call)] {
            const auto pending = call.lock();
            if (!pending) return;
            pending->action = nullptr;
            pending->timer.cancel();
        };
    };
}

// To be called so many times (not at all when that is none); then `last` has been called, once.
std::function<void()> after_each(std::size_t count, std::function<void()> last) {
    if (count == 0) last();
    return [left = std::make_shared<std::size_t>(count), last = std::move(last)] {
        --*left;
        if (*left == 0) last();
    };
}

DeadlineMode deadline_mode(const std::string& text) {
    if (text == "warn") return DeadlineMode::kWarn;
    if (text == "off") return DeadlineMode::kOff;
    return DeadlineMode::kEnforce;
}

}  // namespace

Worker::Worker(WorkerContext context)
    : context_(std::move(context)),
      settings_(context_.settings),
      signals_(loop_),
      ticker_(loop_),
      in_force_(std::make_shared<const config::Settings>(context_.settings)),
      had_terminal_(context_.console.err_is_terminal()) {}

Worker::~Worker() {
    // The engine goes before what it calls; attempts go with it, and with them their processes.
    if (server_) server_->stop(Duration::zero());
    api_background_.reset();
    if (host_) host_->drop();
    server_.reset();
    if (platform_) platform_->disconnect();
    host_.reset();
    forget_executors();
    spawner_.reset();
    task_logs_.reset();
    platform_.reset();
}

int Worker::failed_to_start(const Error& error) {
    context_.console.err("worker-agents cannot start\n  " + error.describe() + "\n");
    if (!error.fix.empty()) context_.console.err("  fix: " + error.fix + "\n");
    switch (error.code) {
        case ErrorCode::kConflict:
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kNotAllowed:
        case ErrorCode::kNotFound:
        case ErrorCode::kUnsupported:
        case ErrorCode::kCorrupt: return cli::kExitBadConfig;
        case ErrorCode::kInternal: return 70;
        default: return kExitUnavailable;
    }
}

int Worker::run() {
#ifndef WA_SANITIZED
    // Tokens are in this memory: no core file of it, and no other process of this user looks into it. (A sanitizer
    // does.)
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    if (auto opened = open_parts(); !opened) return failed_to_start(opened.error());
    if (auto made = make_flow(); !made) return failed_to_start(made.error());
    if (auto serving = serve(); !serving) return failed_to_start(serving.error());
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP})
        signals_.add(number);
    const auto wait_for_signal = [this](const auto& again) -> void {
        signals_.async_wait([this, again](const boost::system::error_code& error, int number) {
            if (error) return;
            on_signal(number);
            again(again);
        });
    };
    wait_for_signal(wait_for_signal);
    spawner_->start([this](Result<HelperStatus> status) {
        if (!status) {
            // Tickets that need local processes say so one by one; everything else works.
            log_->error("spawn_helper_failed", {{"error", status.error().describe()}});
        } else if (status->swept > 0) {
            metrics_->orphans_removed("local", status->swept);
            log_->warning("orphans_removed", {{"count", status->swept}});
        }
        if (status) say_isolation(*status);
        begin_runtimes();
    });
    every_tenth_second();
    loop_.run();
    const int code = report_and_close();
    if (platform_->leaves_threads()) std::_Exit(code);
    return code;
}

void Worker::say_isolation(const HelperStatus& helper) {
    std::string missing;
    for (const std::string& layer : helper.missing)
        missing += (missing.empty() ? "" : "; ") + layer;
    const bool enabled = settings_.flag("LOCAL_RUNTIME_ENABLE_SANDBOX");
    if (!enabled) missing = "LOCAL_RUNTIME_ENABLE_SANDBOX=false";
    const std::string level(to_string(level_of(enabled ? helper.layers : 0)));
    if (missing.empty()) {
        log_->info("local_isolation", {{"level", level}});
    } else {
        log_->warning("local_isolation", {{"level", level}, {"missing", missing}});
    }
}

Result<void> Worker::open_parts() {
    WA_TRY(StateDir state, context_.state_dir.empty() ? StateDir::open_scratch(context_.scratch_base)
                                                      : StateDir::open(context_.state_dir));
    state_.emplace(std::move(state));
    agent_id_ = settings_.has("AGENT_ID") ? settings_.text("AGENT_ID") : uuid4(context_.random);

    observability::LogOptions log_options;
    log_options.level =
        observability::parse_log_level(settings_.text("LOG_LEVEL")).value_or(observability::LogLevel::kInfo);
    log_options.format =
        observability::parse_log_format(settings_.text("LOG_FORMAT")).value_or(observability::LogFormat::kAuto);
    // The view and the log share the terminal: only what is worth interrupting the view is written.
    const bool quiet = context_.command.exit && settings_.origin("LOG_LEVEL").layer == config::Layer::kDefault;
    if (quiet) log_options.level = observability::LogLevel::kError;
    log_options.version = kVersion;
    log_options.instance_id = agent_id_;
    log_options.secrets = settings_.secret_values();
    log_ = std::make_unique<observability::Log>(std::move(log_options), context_.clock);
    log_->info("worker_agent_starting",
               {{"state_dir", state_->path().string()}, {"pid", static_cast<std::int64_t>(::getpid())}});
    metrics_ = std::make_unique<observability::Metrics>(
        registry_, context_.clock,
        observability::BuildFacts{kVersion, kRevision, agent_id_, settings_.text("ENVIRONMENT")},
        static_cast<std::size_t>(settings_.integer("MAX_CONCURRENT_TICKETS")));
    hub_ = std::make_unique<observability::EventHub>(context_.clock);
    health_ = std::make_unique<observability::Health>(context_.clock);
    pulse_ = &health_->add_pulse("engine");
    health_->add_readiness("started", [this]() -> std::optional<std::string> {
        if (ready_) return std::nullopt;
        return "starting";
    });
    health_->add_readiness("draining", [this]() -> std::optional<std::string> {
        if (!draining_) return std::nullopt;
        return "draining";
    });

    // The helper is started while this process is small; it answers later, on the loop.
    SpawnerOptions spawner;
    spawner.marker = state_->marker();
    spawner.lease = std::chrono::seconds(45);
    spawner.require_all = settings_.flag("LOCAL_RUNTIME_ENABLE_SANDBOX");
    spawner.try_layers = SandboxPolicy::layers_to_try(spawner.require_all);
    spawner.uid_base = static_cast<std::uint32_t>(settings_.integer("LOCAL_RUNTIME_UID_BASE"));
    spawner_ = std::make_unique<Spawner>(loop_, context_.clock, std::move(spawner));

    PlatformParts parts{loop_,
                        context_.clock,
                        context_.random,
                        settings_,
                        *log_,
                        registry_,
                        *metrics_,
                        *health_,
                        *state_,
                        agent_id_,
                        [this](EngineInput input) { host_->feed(std::move(input)); },
                        [this] { return host_ && host_->engine() ? host_->engine()->snapshot() : EngineSnapshot{}; }};
    if (context_.cluster) {
        platform_ = std::make_unique<ClusterPlatform>(std::move(parts));
    } else {
        platform_ = std::make_unique<EmbeddedPlatform>(std::move(parts));
    }
    WA_CHECKED(platform_->open());
    task_logs_ =
        std::make_unique<FileTaskLogs>(FileTaskLogsOptions{(state_->path() / "logs").string(), {}}, context_.clock);
    return {};
}

EngineOptions Worker::engine_options() const {
    EngineOptions options;
    options.agent_id = agent_id_;
    options.max_concurrent_tasks = static_cast<std::size_t>(settings_.integer("MAX_CONCURRENT_TASKS"));
    options.max_concurrent_tickets = static_cast<std::size_t>(settings_.integer("MAX_CONCURRENT_TICKETS"));
    options.pause_threshold = settings_.real("CONSUMER_PAUSE_THRESHOLD");
    options.resume_threshold = settings_.real("CONSUMER_RESUME_THRESHOLD");
    options.max_parked = static_cast<std::size_t>(settings_.integer("MAX_PARKED_TICKETS"));
    options.timeout_multiplier = settings_.real("TASK_TIMEOUT_MULTIPLIER");
    options.max_retries = static_cast<std::int32_t>(settings_.integer("MAX_RETRIES_PER_TICKET"));
    options.backoff = BackoffPolicy{settings_.duration("RETRY_BACKOFF_BASE_SECONDS"),
                                    settings_.duration("RETRY_BACKOFF_MAX_SECONDS")};
    options.deadline_mode = deadline_mode(settings_.text("SLA_DEADLINE_MODE"));
    options.dependency_interval = settings_.duration("DEPENDENCY_CHECK_INTERVAL_SECONDS");
    options.dependency_attempts = static_cast<std::int32_t>(settings_.integer("DEPENDENCY_CHECK_MAX_ATTEMPTS"));
    options.stop_grace = settings_.duration("LOCAL_RUNTIME_GRACE_SECONDS");
    options.shutdown_grace = settings_.duration("SHUTDOWN_GRACE_SECONDS");
    options.compensation_enabled = settings_.flag("COMPENSATION_ENABLED");
    options.simulation_allowed = settings_.text("SIMULATION_POLICY") != "deny";
    platform_->adapt(options);
    return options;
}

LocalRuntimeOptions Worker::local_options() const {
    LocalRuntimeOptions options;
    options.enabled = settings_.flag("LOCAL_RUNTIME_ENABLED");
    options.allowed_commands = settings_.list("LOCAL_RUNTIME_ALLOWED_COMMANDS");
    options.search_path = settings_.text("LOCAL_RUNTIME_PATH");
    options.allow_shell = settings_.flag("LOCAL_RUNTIME_ALLOW_SHELL");
    options.workspace.root = settings_.text("LOCAL_RUNTIME_WORKING_DIR");
    options.workspace.allowed = settings_.list("LOCAL_RUNTIME_ALLOWED_DIRS");
    options.workspace.private_root = state_->work().string();
    options.workspace.forbidden = state_->path().string();
    options.timeout = settings_.duration("LOCAL_RUNTIME_TIMEOUT_SECONDS");
    options.grace = settings_.duration("LOCAL_RUNTIME_GRACE_SECONDS");
    options.open_files = static_cast<std::uint64_t>(settings_.integer("LOCAL_RUNTIME_OPEN_FILES"));
    options.file_size = static_cast<std::uint64_t>(settings_.integer("LOCAL_RUNTIME_FILE_SIZE_LIMIT"));
    options.allowed_variables = settings_.list("LOCAL_RUNTIME_ALLOWED_VARIABLES");
    options.sandbox = sandbox_options();
    for (const config::SettingSpec& spec : config::all_settings()) {
        if (spec.type == config::Type::kSecret) options.denied_variables.emplace_back(spec.name);
    }
    return options;
}

TestOptions Worker::test_options() const {
    TestOptions options;
    options.allowed_commands = settings_.list("ALLOWED_TEST_COMMANDS");
    options.workspace_root = settings_.text("TEST_WORKSPACE_ROOT");
    options.timeout = settings_.duration("TEST_EXECUTION_TIMEOUT_SECONDS");
    options.tries = static_cast<int>(settings_.integer("TEST_RETRY_ATTEMPTS"));
    options.read_junit = settings_.flag("JUNIT_XML_ENABLED");
    options.read_coverage = settings_.flag("COVERAGE_REPORT_ENABLED");
    return options;
}

void Worker::make_clients() {
    http::ClientOptions client;
    client.user_agent = "worker-agents/" + std::string(kVersion);
    client.watch = platform_->calls();
    http::ClientOptions outside = client;
    http_ = std::make_unique<http::Client>(loop_, context_.clock, std::move(client));
    if (auto proxy = outbound_proxy(settings_)) outside.proxy = *std::move(proxy);
    outside_ = std::make_unique<http::Client>(loop_, context_.clock, std::move(outside));
    call_metrics_ = std::make_unique<CallMetrics>(*metrics_, *log_);
}

Result<void> Worker::make_remote_runtimes() {
    WA_TRY(const std::string token, state_->token(context_.random));
    const RuntimeSurroundings around{loop_,
                                     context_.clock,
                                     context_.random,
                                     *http_,
                                     *outside_,
                                     *call_metrics_,
                                     task_logs_.get(),
                                     settings_,
                                     *platform_,
                                     *metrics_,
                                     *log_,
                                     uuid5("docker:" + token),
                                     state_->path().string(),
                                     context_.state_dir.empty(),
                                     [this](std::string_view ticket_id) {
                                         return host_ && host_->engine() != nullptr &&
                                                host_->engine()->explain(ticket_id).has_value();
                                     }};
    for (const MakeRuntime& make : context_.runtimes)
        remote_.push_back(make(around));
    return {};
}

Result<void> Worker::make_executors() {
    local_ = std::make_unique<LocalRuntime>(loop_, context_.clock, *spawner_, task_logs_.get(), local_options());
    if (auto prepared = local_->prepare(context_.random); !prepared) {
        log_->error("local_runtime_unavailable", {{"error", prepared.error().describe()}});
    }
    const SimulationPolicy policy =
        settings_.text("SIMULATION_POLICY") == "deny" ? SimulationPolicy::kDeny : SimulationPolicy::kAllow;
    simulation_ = std::make_unique<SimulationRuntime>(loop_, context_.clock, context_.random, policy);
    make_clients();
    WA_CHECKED(make_remote_runtimes());
    runtimes_ = {local_.get()};
    for (const RuntimePart& part : remote_)
        runtimes_.push_back(part.runtime.get());
    runtimes_.push_back(simulation_.get());
    ExecuteOptions execute;
    execute.runtimes.default_runtime = settings_.text("DEFAULT_RUNTIME");
    execute.runtimes.chain = settings_.list("RUNTIME_FALLBACK_CHAIN");
    execute.fallback_on = parse_fallback_on(settings_.text("RUNTIME_FALLBACK_ON")).value_or(FallbackOn::kUnavailable);
    execute_ = std::make_unique<ExecuteExecutor>(context_.clock, std::move(execute), runtimes_);
    test_reports_ = std::make_unique<TestReportReader>(loop_, context_.clock);
    test_ = std::make_unique<TestExecutor>(
        TestExecutor::Parts{context_.clock, *local_, *test_reports_, *simulation_, call_later_on(loop_)},
        test_options());
    return {};
}

// Before what they are built on.
void Worker::forget_executors() {
    test_.reset();
    execute_.reset();
    test_reports_.reset();
    runtimes_.clear();
    remote_.clear();
    call_metrics_.reset();
    outside_.reset();
    http_.reset();
    local_.reset();
    simulation_.reset();
}

SandboxOptions Worker::sandbox_options() const {
    SandboxOptions options;
    const auto number = [this](std::string_view name) { return static_cast<std::uint64_t>(settings_.integer(name)); };
    options.enabled = settings_.flag("LOCAL_RUNTIME_ENABLE_SANDBOX");
    options.minimum = parse_isolation_level(settings_.text("LOCAL_RUNTIME_MIN_ISOLATION")).value_or(options.minimum);
    options.network = parse_network_policy(settings_.text("LOCAL_RUNTIME_NETWORK")).value_or(options.network);
    options.read_only = settings_.list("LOCAL_RUNTIME_READ_PATHS");
    options.read_only.push_back((state_->path() / "examples").string());
    options.hidden = settings_.list("LOCAL_RUNTIME_HIDDEN_PATHS");
    // Whatever the operator shows: the worker's own files are not a task's business.
    options.hidden.push_back(state_->path().string());
    for (const std::string_view file : {"WORKER_AGENTS_CONFIG", "WORKER_ENV_FILE"}) {
        if (settings_.has(file)) options.hidden.push_back(settings_.text(file));
    }
    for (const config::Setting& setting : settings_.all()) {
        if (setting.origin.file.starts_with('/')) options.hidden.push_back(setting.origin.file);
    }
    options.memory = number("LOCAL_RUNTIME_MEMORY_LIMIT");
    options.processes = number("LOCAL_RUNTIME_MAX_PROCESSES");
    options.cpu_millis = static_cast<std::uint64_t>(settings_.real("LOCAL_RUNTIME_CPU_LIMIT") * 1000);
    options.workspace = number("LOCAL_RUNTIME_WORKSPACE_LIMIT");
    options.workspace_files = number("LOCAL_RUNTIME_WORKSPACE_FILES");
    return options;
}

Result<void> Worker::make_flow() {
    WA_CHECKED(make_executors());

    log_observer_ = std::make_unique<observability::LogObserver>(*log_);
    event_feed_ = std::make_unique<observability::EventFeed>(*hub_);
    drain_watch_ = std::make_unique<DrainWatch>([this](std::string_view phase) {
        draining_ = !phase.empty();
        platform_->draining(!phase.empty());
        if (phase == "draining") {
            drain_began_ = context_.clock.now();
            const EngineSnapshot now = host_->engine()->snapshot();
            ended_before_drain_ = now.completed + now.failed;
        }
        if (phase == "cancelling" && host_->engine()->gauges().executing > 0) cut_short_ = true;
        if (phase == "drained") boost::asio::post(loop_, [this] { leave(); });
    });
    settled_watch_ = std::make_unique<SettledWatch>(runtimes_);
    std::vector<FlowObserver*> watching{metrics_.get(), log_observer_.get(), event_feed_.get(), drain_watch_.get(),
                                        settled_watch_.get()};
    if (context_.command.exit) {
        view_ = std::make_unique<DevView>(context_.console, context_.clock, context_.colours, context_.redraws);
        watching.push_back(view_.get());
    }
    for (FlowObserver* observer : platform_->observers())
        watching.push_back(observer);
    observers_ = std::make_unique<observability::ObserverFanout>(std::move(watching));

    host_ = std::make_unique<EngineHost>(loop_);
    WA_CHECKED(platform_->connect());
    EnginePorts ports{
        platform_->source(), platform_->sink(), platform_->tickets(), *observers_, context_.clock, context_.random, {},
        platform_->decoder()};
    ports.leases = platform_->leases();
    ports.source_name = platform_->source_name();
    ports.handled = [this] { host_->arm(); };
    for (const std::string& name : settings_.list("SUPPORTED_TASK_TYPES")) {
        for (Executor* executor : std::initializer_list<Executor*>{execute_.get(), test_.get()}) {
            if (parse_task_type(name) == executor->task_type())
                ports.executors.emplace(executor->task_type(), executor);
        }
    }
    for (const auto& [type, executor] : ports.executors) {
        metrics_->executor_registered(type);
        task_types_.push_back(type);
    }
    host_->adopt(std::make_unique<Engine>(engine_options(), std::move(ports)));
    return {};
}

Result<void> Worker::serve() {
    WA_TRY(const std::string token, state_->token(context_.random));
    log_->add_secret(token);
    net::ServerOptions options;
    options.host = settings_.text("HTTP_HOST");
    options.port = static_cast<std::uint16_t>(settings_.integer("HTTP_PORT"));
    options.metrics_listener = true;
    options.metrics_port = static_cast<std::uint16_t>(settings_.integer("PROMETHEUS_PORT"));
    options.socket_path = state_->socket().string();
    options.token = token;
    options.on_notice = [this](const net::Notice& notice) {
        const auto level = notice.level == net::Notice::Level::kError     ? observability::LogLevel::kError
                           : notice.level == net::Notice::Level::kWarning ? observability::LogLevel::kWarning
                                                                          : observability::LogLevel::kInfo;
        log_->log(level, notice.event, {{"detail", notice.message}});
    };
    options.on_served = [this](const net::Served& served) {
        metrics_->http_request(served.method, served.pattern, served.status, served.took);
    };
    ApiParts parts{platform_->store(),
                   platform_->dead_letters(),
                   *host_,
                   *task_logs_,
                   *log_,
                   registry_,
                   *metrics_,
                   *hub_,
                   *health_,
                   context_.clock,
                   context_.random,
                   settings_,
                   [this] {
                       const std::lock_guard lock(settings_mutex_);
                       return in_force_;
                   },
                   agent_id_,
                   task_types_,
                   [this] { return isolation(); },
                   [this] { return runtime_states(); },
                   state_->path().string(),
                   [this] { return draining_.load(); },
                   [this] { return platform_->checks(); },
                   [this] { return platform_->registration(); },
                   [this](const TicketSummary& ticket, const Settlement& ending) {
                       boost::asio::dispatch(loop_, [this, ticket, ending] { ended_in_queue(ticket, ending); });
                   },
                   [this] {
                       ++*endings_under_way_;
                       return std::shared_ptr<void>(nullptr, [count = endings_under_way_](void*) { --*count; });
                   }};
    admin::Routers routers = bind_api(parts);
    WA_TRY(server_, net::HttpServer::start(std::move(options), std::move(routers.api), std::move(routers.metrics)));
    api_background_ = std::move(routers.background);
    const net::Endpoints& at = server_->endpoints();
    const std::string outside = at.host.empty() || at.host == "0.0.0.0" ? host_name() : at.host;
    note_states();
    platform_->introduce(task_types_, "http://" + outside + ":" + std::to_string(at.port));
    const std::string host = at.host.empty() || at.host == "0.0.0.0" ? "127.0.0.1" : at.host;
    boost::json::object endpoints{{"http", "http://" + host + ":" + std::to_string(at.port)},
                                  {"metrics", "http://" + host + ":" + std::to_string(at.metrics_port) + "/metrics"},
                                  {"socket", at.socket_path},
                                  {"pid", static_cast<std::int64_t>(::getpid())}};
    WA_CHECKED(state_->write_endpoints(boost::json::serialize(endpoints) + "\n"));
    if (!context_.command.exit) {
        context_.console.err("worker-agents " + std::string(kVersion) + "  http://" + host + ":" +
                             std::to_string(at.port) + "  " + platform_->where() + "\n  token in " +
                             (state_->path() / "token").string() +
                             "; stop with Ctrl-C (once: finish what runs, twice: cancel and hand back)\n");
    }
    return {};
}

// The engine never had it, so it cannot tell those who count and show. The event stream was told by the API.
void Worker::ended_in_queue(const TicketSummary& ticket, const Settlement& ending) {
    TicketView seen;
    seen.ticket_id = ticket.ticket_id;
    seen.plan_id = ticket.plan_id;
    seen.task_id = ticket.task_id;
    seen.correlation_id = ending.result.correlation_id;
    seen.task_type = ticket.task_type;
    seen.priority = ticket.priority;
    seen.state = State::kSettled;
    seen.attempt = ticket.attempts;
    std::vector<FlowObserver*> counting{metrics_.get(), log_observer_.get()};
    if (view_) counting.push_back(view_.get());
    for (FlowObserver* each : counting) {
        each->outcome_decided(seen, ending);
        each->ticket_settled(seen, ending);
    }
}

void Worker::begin_runtimes() {
    const auto all_ready = after_each(remote_.size(), [this] { begin(); });
    for (const RuntimePart& part : remote_)
        part.begin ? part.begin(all_ready) : all_ready();
}

// The left-overs of an earlier worker are gone: from here tickets may run (cluster-rule 24).
void Worker::begin() {
    if (finished_ || leaving_) return;
    if (auto begun = platform_->begin(); !begun) {
        fatal_ = begun.error();
        return stop_now();
    }
    ready_ = true;
    metrics_->started();
    log_->info("worker_agent_started", {{"agent_id", agent_id_}});
    if (auto submitted = submit_examples(); !submitted) {
        fatal_ = submitted.error();
        stop_now();
    }
}

Result<void> Worker::submit_examples() {
    for (const std::string& name : context_.command.examples) {
        const std::string run_folder =
            settings_.text("LOCAL_RUNTIME_WORKING_DIR") + "/" + name + "-" + uuid4(context_.random).substr(0, 8);
        WA_TRY(const ExamplePlan example,
               unpack_example(name, (state_->path() / "examples" / name).string(), run_folder));
        PlanContext plan_context{context_.random, context_.clock.wall_now(), "examples/" + name + "/plan.yaml", name};
        PlanReading reading = read_plan_text(example.text, TextFormat::kYaml, plan_context);
        if (!reading.plan) {
            return fail(ErrorCode::kInternal, "examples",
                        "the example " + name + " is not a valid plan: " +
                            (reading.problems.empty() ? std::string() : reading.problems.front().message));
        }
        SubmitRequest request;
        request.plan_id = reading.plan->plan_id;
        request.plan_name = reading.plan->name;
        request.actor = "example";
        std::vector<Ticket> tickets;
        for (PlanTicket& entry : reading.plan->tickets) {
            NewTicket ticket;
            ticket.ticket_id = entry.ticket.ticket_id;
            ticket.task_id = entry.ticket.task_id;
            ticket.correlation_id = entry.ticket.correlation_id;
            ticket.task_type = entry.ticket.task_type;
            ticket.priority = entry.ticket.priority;
            ticket.created_at = entry.ticket.created_at;
            ticket.dependencies = entry.ticket.dependencies;
            ticket.payload = write_ticket(entry.ticket);
            request.tickets.push_back(std::move(ticket));
            tickets.push_back(entry.ticket);
        }
        if (view_) view_->expect(reading.plan->name, tickets);
        ++pending_submits_;
        platform_->store()->submit(std::move(request), [this](Result<SubmitAnswer> answer) {
            boost::asio::post(loop_, [this, answer = std::move(answer)] {
                --pending_submits_;
                if (answer) return;
                fatal_ = answer.error();
                stop_now();
            });
        });
    }
    submitted_ = true;
    return {};
}

void Worker::on_signal(int number) {
    if (number == SIGQUIT) return quit();
    // A terminal that was closed takes its worker with it; any other SIGHUP asks for new settings.
    const bool terminal_gone = had_terminal_ && !context_.console.err_is_terminal();
    if (number == SIGHUP && !terminal_gone) return reload();
    interrupted(number);
}

void Worker::interrupted(int number) {
    ++signals_seen_;
    log_->info("worker_agent_shutting_down", {{"signal", number}, {"times", signals_seen_}});
    if (signals_seen_ >= 3) ::_exit(cli::kExitInterrupted);
    draining_ = true;
    interrupted_ = true;
    tell(signals_seen_ == 1 ? what_runs() : "cancelling what still runs; it is handed back");
    host_->feed(StartDrain{signals_seen_ > 1, "signal"});
}

std::string Worker::what_runs() {
    constexpr std::size_t kNamed = 5;
    const EngineSnapshot now = host_->engine()->snapshot();
    const EpochMillis at = context_.clock.wall_now();
    std::string text = "draining: " + std::to_string(now.gauges.executing) + " running";
    std::string names;
    std::size_t named = 0;
    for (const RunningTask& task : now.tasks) {
        const bool runs = task.state == State::kRunning || task.state == State::kCancelling;
        if (!runs || named == kNamed) continue;
        ++named;
        names += (names.empty() ? "" : ", ") + cli::printable(task.task_id.empty() ? task.ticket_id : task.task_id);
        if (task.started_at > 0)
            names += " " + std::to_string(std::max<EpochMillis>(0, at - task.started_at) / 1000) + " s";
    }
    if (now.gauges.executing == 0) return text;
    if (!names.empty()) text += " (" + names + (named < now.gauges.executing ? ", …)" : ")");
    return text + ", up to " + std::to_string(settings_.duration("SHUTDOWN_GRACE_SECONDS").count() / 1000) +
           " s; again to cancel now";
}

// SIGQUIT: no grace, and the log says where everything stood.
void Worker::quit() {
    const EngineSnapshot now = host_->engine()->snapshot();
    log_->warning("state_dump", {{"slots", now.gauges.slots},
                                 {"executing", now.gauges.executing},
                                 {"in_flight", now.gauges.in_flight},
                                 {"waiting", now.gauges.parked + now.gauges.held},
                                 {"queued", now.gauges.ready + now.gauges.queued},
                                 {"backing_off", now.gauges.backing_off},
                                 {"reporting", now.gauges.reporting},
                                 {"intake_open", now.gauges.open},
                                 {"drain_phase", now.drain_phase},
                                 {"store_healthy", now.sink_healthy}});
    for (const RunningTask& task : now.tasks) {
        log_->warning("state_dump_ticket", {{"ticket_id", task.ticket_id},
                                            {"task_id", task.task_id},
                                            {"state", std::string(to_string(task.state))},
                                            {"attempt", static_cast<std::int64_t>(task.attempt)},
                                            {"why", task.why}});
    }
    signals_seen_ = std::max(signals_seen_, 1);
    interrupted(SIGQUIT);
}

// All or nothing: what cannot be used changes nothing.
void Worker::reload() {
    Result<config::Settings> fresh = context_.read_settings();
    metrics_->config_reloaded(fresh.has_value());
    if (!fresh) {
        log_->error("configuration_reload_failed", {{"error", fresh.error().describe()}});
        return tell("the configuration was not reloaded: " + fresh.error().describe());
    }
    std::string changed;
    std::string waiting;
    for (const config::Change& change : config::changes(*in_force_, *fresh)) {
        std::string& list = change.reloadable ? changed : waiting;
        list += (list.empty() ? "" : ", ") + std::string(change.spec->name);
    }
    auto merged = std::make_shared<const config::Settings>(in_force_->with_reloadable(*fresh));
    {
        const std::lock_guard lock(settings_mutex_);
        in_force_ = merged;
    }
    if (const auto level = observability::parse_log_level(merged->text("LOG_LEVEL"))) log_->set_level(*level);
    ChangeLimits limits;
    limits.max_concurrent_tasks = static_cast<std::size_t>(merged->integer("MAX_CONCURRENT_TASKS"));
    limits.max_concurrent_tickets = static_cast<std::size_t>(merged->integer("MAX_CONCURRENT_TICKETS"));
    limits.pause_threshold = merged->real("CONSUMER_PAUSE_THRESHOLD");
    limits.resume_threshold = merged->real("CONSUMER_RESUME_THRESHOLD");
    host_->feed(limits);
    log_->info("configuration_reloaded", {{"changed", changed}, {"needs_restart", waiting}});
    std::string line = "reloaded: " + (changed.empty() ? std::string("nothing changed") : changed);
    if (!waiting.empty()) line += "; needs a restart: " + waiting;
    tell(line);
}

void Worker::tell(const std::string& line) {
    if (view_) return view_->note(line);
    context_.console.err(line + "\n");
}

IsolationReport Worker::isolation() {
    const std::lock_guard lock(isolation_mutex_);
    return isolation_;
}

std::vector<RuntimeState> Worker::runtime_states() {
    const std::lock_guard lock(isolation_mutex_);
    return runtime_states_;
}

void Worker::note_states() {
    std::vector<RuntimeState> states;
    for (const RuntimePart& part : remote_)
        states.push_back(part.state());
    std::vector<std::string> offered;
    if (local_->availability().available) offered.emplace_back("local");
    for (const RuntimeState& state : states) {
        if (state.available) offered.push_back(state.name);
    }
    if (offered != offered_) {
        offered_ = std::move(offered);
        platform_->offer(offered_);
    }
    const std::lock_guard lock(isolation_mutex_);
    isolation_ = local_->isolation();
    runtime_states_ = std::move(states);
}

void Worker::every_tenth_second() {
    pulse_->tick();
    note_states();
    if (view_) view_->refresh();
    if (++ticks_ % 10 == 0 && host_->engine() != nullptr) metrics_->set_gauges(host_->engine()->gauges());
    maybe_finished();
    if (finished_) return;
    ticker_.expires_after(std::chrono::milliseconds(100));
    ticker_.async_wait([this](const boost::system::error_code& error) {
        if (!error) every_tenth_second();
    });
}

// `--exit`: everything that is in the store has ended.
void Worker::maybe_finished() {
    if (!context_.command.exit || !submitted_ || pending_submits_ > 0 || draining_ || finished_) return;
    if (!host_->engine()->idle()) return;
    if (!platform_->all_ended()) return;
    if (*endings_under_way_ > 0) return;  // asked last: what the store just counted as ended may not be told yet
    draining_ = true;
    host_->feed(StartDrain{false, "done"});
}

// Drained: those who know this worker are told, as long as that takes no longer than it may.
void Worker::leave() {
    if (finished_ || leaving_) return;
    leaving_ = true;
    static constexpr Duration kRemovals = std::chrono::seconds(5);
    platform_->leave([this] {
        const auto all_left = after_each(remote_.size(), [this] { stop_now(); });
        for (const RuntimePart& part : remote_)
            part.leave ? part.leave(kRemovals, all_left) : all_left();
    });
}

void Worker::stop_now() {
    if (finished_) return;
    finished_ = true;
    ready_ = false;
    ticker_.cancel();
    signals_.cancel();
    loop_.stop();
}

int Worker::report_and_close() {
    const std::size_t uncommitted = host_->engine() != nullptr ? host_->engine()->left_uncommitted() : 0;
    const bool drained =
        host_->engine() != nullptr && host_->engine()->drain_phase() == DrainPhase::kDrained && uncommitted == 0;
    const std::size_t handed_back = host_->engine() != nullptr ? host_->engine()->handed_back() : 0;
    const bool left_behind = host_->engine() != nullptr && host_->engine()->quarantined() > 0;
    if (view_) view_->finish();
    if (interrupted_ && drained) {
        const EngineSnapshot last = host_->engine()->snapshot();
        const std::int64_t tenths = to_millis(context_.clock.now() - drain_began_) / 100;
        context_.console.err("drained in " + std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) +
                             " s: " + std::to_string(last.completed + last.failed - ended_before_drain_) +
                             " finished, " + std::to_string(handed_back) + " handed back\n");
    }
    if (uncommitted > 0) {
        log_->warning("drain_left_uncommitted", {{"outcomes", uncommitted}});
        tell(std::to_string(uncommitted) +
             " ended, but that could not be written down in time: who takes them up next runs them again");
    }
    const bool all_ended = platform_->all_ended();
    server_->stop(std::chrono::seconds(1));
    api_background_.reset();
    host_->drop();
    platform_->disconnect();
    forget_executors();
    spawner_.reset();
    task_logs_.reset();
    platform_->close(drained);
    state_->remove_endpoints();
    log_->info("worker_agent_shutdown_complete", {{"handed_back", handed_back}});
    log_->flush(std::chrono::seconds(1));
    if (fatal_) return failed_to_start(*fatal_);
    if (left_behind || uncommitted > 0) return kExitNotDrained;
    if (const int code = interrupted_exit(all_ended); code != 0) return code;
    if (!context_.command.exit || !view_) return 0;
    if (view_->failed() > 0 || (view_->simulated() > 0 && !context_.command.allow_simulated))
        return cli::kExitWorkFailed;
    return 0;
}

// What a stop from outside left undone decides the exit code.
int Worker::interrupted_exit(bool all_ended) const {
    // What was handed back is somebody else's now: nothing is left behind (cluster-rule 23).
    if (context_.cluster) return 0;
    if (cut_short_) return signals_seen_ > 1 ? cli::kExitInterrupted : kExitNotDrained;
    // `--exit` promises that everything has ended.
    if (!context_.command.exit || all_ended) return 0;
    return interrupted_ ? cli::kExitInterrupted : kExitNotDrained;
}

}  // namespace wa::app
