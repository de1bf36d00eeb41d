#include "runtimes/local_process.h"

#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <csignal>
#include <fstream>
#include <utility>

#include "core/codec/text.h"
#include "runtimes/secret_mask.h"
#include "runtimes/stop_error.h"
#include "runtimes/task_environment.h"

namespace wa {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kOrigin = "local";
constexpr std::size_t kShownLineBytes = 400;
constexpr Duration kEngineFirst = std::chrono::seconds(1);

std::string signal_name(int number) {
    const char* name = ::sigabbrev_np(number);
    return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(number);
}

// How often the kernel has killed something for want of memory since it started; the whole machine.
std::optional<std::uint64_t> count_out_of_memory_kills() {
    std::ifstream file("/proc/vmstat");
    std::string name;
    std::uint64_t value = 0;
    while (file >> name >> value) {
        if (name == "oom_kill") return value;
    }
    return std::nullopt;
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::uint64_t kMebi = 1U << 20U;
    return bytes >= kMebi ? std::to_string(bytes / kMebi) + " MiB" : std::to_string(bytes) + " bytes";
}

std::string yes_no(bool value) {
    return value ? "true" : "false";
}

}  // namespace

class LocalRuntime::Attempt final : public RunningAttempt, public ProcessListener {
public:
    // `job`: the command of another executor; empty = the ticket's own.
    Attempt(LocalRuntime& runtime, const AttemptContext& context, std::optional<LocalJob> job,
            RuntimeListener& listener)
        : runtime_(runtime),
          job_(std::move(job)),
          key_(context.key),
          listener_(listener),
          started_(runtime.clock_.now()),
          masked_out_(mask_),
          masked_err_(mask_),
          timer_(runtime.loop_) {}

    ~Attempt() override {
        process_.reset();
        if (log_) log_->close(finished_ ? "" : "abandoned by the worker");
        if (!folder_.empty()) runtime_.workspace_.remove_private(folder_, [](const Removal&) {});
        if (workspace_) runtime_.workspace_.release(std::move(workspace_));
    }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin(const AttemptContext& context) {
        if (const Availability now = runtime_.availability(); !now.available) {
            report_.unavailable = now.reason;
            return refuse(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker,
                                     std::string(kOrigin), "the local runtime cannot be used: " + now.detail));
        }
        auto command = job_ ? parse_local_job(*context.ticket, *job_, runtime_.rules())
                            : parse_local_command(*context.ticket, runtime_.rules());
        if (!command) return refuse(std::move(command).error());
        command_ = std::move(*command);
        mask_ = SecretMask(command_.secrets);
        if (auto spawned = spawn(context); !spawned) refuse(std::move(spawned).error());
    }

    void stop(StopReason reason, Duration grace) override {
        if (finished_ || process_ == nullptr) return;
        if (!stopped_) stopped_ = reason;
        process_->stop(std::min(grace, runtime_.options_.grace));
    }

private:
    Result<void> spawn(const AttemptContext& context) {
        const HelperStatus helper = runtime_.spawner_.status();
        WA_CHECKED(runtime_.sandbox_.check(command_.sandbox, helper));
        SpawnRequest request;
        request.name = context.name.substr(0, 512);
        request.executable = command_.executable;
        request.arguments = command_.arguments;
        request.sandbox = runtime_.sandbox_.decide(command_.sandbox, helper);
        if (SandboxPolicy::has_own_root(request.sandbox.layers)) {
            WA_CHECKED(place_in_own_root(request));
        } else {
            WA_CHECKED(place_on_disk(request));
        }
        // The file that the allow-list spoke of, so that no other one is started in its place.
        WA_TRY(request.sandbox.program, runtime_.programs_.look(command_.executable, command_.digest));
        began_ = runtime_.clock_.wall_now();
        request.input = command_.input;
        const Duration longest = job_ && job_->timeout > Duration::zero() ? job_->timeout : runtime_.options_.timeout;
        const TimeLimits limits = runtime_.time_limits(context, command_, longest);
        time_limit_ = limits.effective;
        request.time_limit = limits.enforced;
        request.grace = runtime_.options_.grace;
        request.limits = runtime_.limits(time_limit_);
        memory_limit_ = request.sandbox.memory;
        limit_without_cgroup(request);
        if (!mask_.empty()) {
            request.filter = [this](OutputStream stream, std::string_view bytes) {
                MaskingStream& masked = stream == OutputStream::kStdout ? masked_out_ : masked_err_;
                return bytes.empty() ? masked.finish() : masked.feed(bytes);
            };
        }
        if (runtime_.logs_ != nullptr) {
            log_ = runtime_.logs_->open(context.ticket->ticket_id, context.number);
            request.sink = [this](OutputStream stream, std::string_view bytes) {
                return log_->append(stream == OutputStream::kStdout ? TaskLogStream::kStdout : TaskLogStream::kStderr,
                                    bytes);
            };
        }
        process_ = runtime_.spawner_.spawn(std::move(request), *this);
        return {};
    }

    // The helper builds everything private in memory; only a folder that is shared comes from here.
    Result<void> place_in_own_root(SpawnRequest& request) {
        SandboxRequest& sandbox = request.sandbox;
        StringMap variables = command_.variables;
        for (const auto& [name, value] : command_.secret_files) {
            sandbox.secrets.push_back(SecretFile{name, value});
            variables[name + "_FILE"] = std::string(SandboxPolicy::kSecrets) + "/" + name;
        }
        request.environment =
            make_environment({runtime_.policy_.path(), SandboxPolicy::kHome, SandboxPolicy::kTemporary}, variables);
        // A program that the operator named by its path may lie where tasks see nothing else.
        sandbox.read_only.push_back(command_.executable);
        if (!command_.working_dir) return {};
        WA_TRY(SharedFolder shared, runtime_.workspace_.open_shared(*command_.working_dir, job_ ? job_->inside : ""));
        WA_CHECKED(check_no_own_files(sandbox.hidden, shared.path));
        sandbox.directory_path = std::move(shared.path);
        if (job_ && job_->collect) directory_ = shared.folder.copy();
        request.directory = std::move(shared.folder);
        return {};
    }

    Result<void> place_on_disk(SpawnRequest& request) {
        WA_TRY(AttemptFolders folders, runtime_.workspace_.make_private());
        folder_ = folders.name;
        StringMap variables = command_.variables;
        for (const auto& [name, value] : command_.secret_files) {
            WA_TRY(variables[name + "_FILE"], runtime_.workspace_.write_secret(folders, name, value));
        }
        request.environment = make_environment({runtime_.policy_.path(), folders.home, folders.tmp}, variables);
        request.sandbox.writable = {folders.home, folders.tmp};
        if (!command_.secret_files.empty()) request.sandbox.read_only.push_back(folders.secrets);
        request.sandbox.read_only.push_back(command_.executable);
        request.directory = std::move(folders.work);
        if (command_.working_dir) {
            WA_TRY(SharedFolder shared,
                   runtime_.workspace_.open_shared(*command_.working_dir, job_ ? job_->inside : ""));
            if (request.sandbox.layers != 0) WA_CHECKED(check_no_own_files(request.sandbox.hidden, shared.path));
            request.directory = std::move(shared.folder);
        }
        if (job_ && job_->collect) directory_ = request.directory.copy();
        return {};
    }

    // What is hidden cannot be kept so below a folder that a task may change: it renames what leads there, and Landlock
    // takes nothing back below what it gives.
    static Result<void> check_no_own_files(const std::vector<std::string>& hidden, const std::string& folder) {
        for (const std::string& path : hidden) {
            if (!path.starts_with(folder == "/" ? folder : folder + "/")) continue;
            Error error = make_error(
                ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, std::string(kOrigin),
                "working_dir '" + clip(folder, 200) +
                    "' holds what is hidden from tasks (the worker's own files, or LOCAL_RUNTIME_HIDDEN_PATHS)");
            error.field = "parameters.working_dir";
            return Failure(std::move(error));
        }
        return {};
    }

    // Where no cgroup can hold the whole task, each of its processes is held.
    static void limit_without_cgroup(SpawnRequest& request) {
        const SandboxRequest& sandbox = request.sandbox;
        if ((sandbox.layers & layer::kMemory) == 0 && sandbox.memory > 0) request.limits.data = sandbox.memory;
        // Counted for each user namespace: in one of its own for the task alone.
        if ((sandbox.layers & layer::kProcesses) == 0 && (sandbox.layers & layer::kUser) != 0 && sandbox.processes > 0)
            request.limits.processes = sandbox.processes;
    }

    // Nothing was started.
    void refuse(Error error) {
        report_.work_began = false;
        report_.attempt.error = std::move(error);
        describe_command();
        asio::post(runtime_.loop_, [this, alive = std::weak_ptr<int>(alive_)] {
            if (!alive.expired()) clean_up();
        });
    }

    void process_started(pid_t pid) override {
        pid_ = pid;
        report_.attempt.logs.push_back("local: started " + command_.executable + " as process " + std::to_string(pid));
    }

    void process_ended(ProcessEnd end) override {
        report_.work_began = end.began;
        AttemptReport& attempt = report_.attempt;
        attempt.still_alive = end.still_alive > 0;
        attempt.exit_code = end.exit_code;
        attempt.signal = end.signal;
        attempt.error = judge(end);
        attempt.success = !attempt.error.has_value();
        describe_command();
        describe_end(end);
        if (log_) log_->close(killed_because(end));
        process_.reset();
        workspace_ = std::move(end.workspace);
        const Fd& files = directory_ ? directory_ : workspace_;
        if (!end.began || stopped_ || !job_ || !job_->collect || !files) return clean_up();
        job_->collect(EndedJob{files.get(), began_, command_.secrets}, [this, alive = std::weak_ptr<int>(alive_)] {
            if (!alive.expired()) clean_up();
        });
    }

    [[nodiscard]] bool timed_out(const ProcessEnd& end) const {
        return end.cause == EndCause::kTimeLimit ||
               (end.cause == EndCause::kRequested && stopped_ == StopReason::kTimeout);
    }

    // The one place that decides what an ending means.
    std::optional<Error> judge(const ProcessEnd& end) {
        const auto error = [](ErrorCode code, Retry retry, Fault fault, std::string message) {
            return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
        };
        if (stopped_ && (end.cause == EndCause::kRequested || end.error))
            return stop_error(*stopped_, std::string(kOrigin));
        if (end.error) return end.error;
        switch (end.cause) {
            case EndCause::kTimeLimit:
                return error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit,
                             "timed out after " + seconds_text(time_limit_) + " s");
            case EndCause::kLease:
                return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker,
                             "killed because the worker stood still for longer than its lease");
            case EndCause::kRequested:
            case EndCause::kShutdown:
                return error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker, "killed with the worker");
            case EndCause::kItself: break;
        }
        if (end.exit_code == 0) return std::nullopt;
        if (end.exit_code) {
            std::string message = "exit code " + std::to_string(*end.exit_code);
            if (const std::string line = mask_.apply(end.err.last_line(kShownLineBytes)); !line.empty())
                message += ": " + line;
            message += limits_text(end);
            const Retry retry = command_.retry.includes(*end.exit_code) ? Retry::kAfterBackoff : Retry::kNever;
            return error(ErrorCode::kExecutionFailed, retry, Fault::kTask, std::move(message));
        }
        if (!end.signal) {
            return error(ErrorCode::kInterrupted, Retry::kNever, Fault::kWorker, "the process could not be killed");
        }
        return judge_signal(*end.signal, end);
    }

    // The limits that it ran into, by the kernel's own count.
    std::vector<std::string> limits_reached(const ProcessEnd& end) const {
        std::vector<std::string> reached;
        if (end.out_of_memory.value_or(0) > 0) reached.emplace_back("memory");
        if (end.processes_refused.value_or(0) > 0) reached.emplace_back("processes");
        if (is_full(end.workspace)) reached.emplace_back("workspace");
        if (end.signal == SIGXCPU) reached.emplace_back("cpu_time");
        if (end.signal == SIGXFSZ) reached.emplace_back("file_size");
        return reached;
    }

    static bool is_full(const Fd& workspace) {
        struct statvfs room{};
        return workspace && ::fstatvfs(workspace.get(), &room) == 0 && (room.f_bavail == 0 || room.f_favail == 0);
    }

    std::string limits_text(const ProcessEnd& end) const {
        std::string text;
        for (const std::string& limit : limits_reached(end)) {
            if (limit == "memory")
                text +=
                    "; " + std::to_string(*end.out_of_memory) + " of its processes were killed because memory ran out";
            if (limit == "processes") text += "; it reached its limit of processes";
            if (limit == "workspace") text += "; its workspace is full";
        }
        return text;
    }

    Error judge_signal(int number, const ProcessEnd& end) {
        const auto error = [](Fault fault, std::string message) {
            return make_error(ErrorCode::kExecutionFailed, Retry::kNever, fault, std::string(kOrigin),
                              std::move(message));
        };
        const std::string name = signal_name(number);
        if (number == SIGXCPU) return error(Fault::kLimit, "killed by " + name + ": it used up its CPU time");
        if (number == SIGXFSZ) return error(Fault::kLimit, "killed by " + name + ": it wrote a file that is too large");
        if (number == SIGKILL && end.out_of_memory.value_or(0) > 0) {
            return error(Fault::kLimit, "killed by " + name + " because memory ran out: it used all of its " +
                                            size_text(memory_limit_));
        }
        if (number == SIGKILL && !end.out_of_memory && memory_ran_out()) {
            report_.attempt.metadata["oom_suspected"] = "true";
            return error(Fault::kLimit, "killed by " + name + ", probably because memory ran out");
        }
        if (number == SIGSYS)
            return error(Fault::kTask, "killed by " + name + ": a system call of another architecture");
        return error(Fault::kTask,
                     "killed by " + name + " from outside the worker, or by its own doing" + limits_text(end));
    }

    [[nodiscard]] bool memory_ran_out() const {
        const auto before = runtime_.out_of_memory_kills_;
        runtime_.out_of_memory_kills_ = count_out_of_memory_kills();
        return before && runtime_.out_of_memory_kills_ && *runtime_.out_of_memory_kills_ > *before;
    }

    [[nodiscard]] std::string killed_because(const ProcessEnd& end) const {
        if (!end.began || (end.cause == EndCause::kItself && end.exit_code)) return {};
        return report_.attempt.error ? report_.attempt.error->message : std::string();
    }

    void describe_command() {
        AttemptReport& attempt = report_.attempt;
        attempt.runtime = kOrigin;
        attempt.metadata["runtime"] = kOrigin;
        if (!command_.shown.empty()) attempt.output["command"] = command_.shown;
        attempt.metadata["duration_seconds"] = seconds_text(runtime_.clock_.now() - started_);
    }

    void describe_end(const ProcessEnd& end) {
        AttemptReport& attempt = report_.attempt;
        // A process that a signal ended has no exit code; -signal is how the original reports it.
        if (end.exit_code) attempt.output["exit_code"] = std::to_string(*end.exit_code);
        if (end.signal) attempt.output["exit_code"] = std::to_string(-*end.signal);
        // Each stream may use what the other leaves of the room, and at least half of it.
        const std::size_t room = command_.max_output_bytes;
        const std::size_t lines = runtime_.options_.result_lines;
        const std::string err =
            end.err.text(std::max(room / 2, room - std::min<std::size_t>(room, end.out.total())), lines);
        const std::string out = end.out.text(room - std::min(room, err.size()), lines);
        StringMap& facts = attempt.metadata;
        facts["truncated"] = yes_no(was_cut(end.out, out) || was_cut(end.err, err));
        attempt.output["stdout"] = out;
        attempt.output["stderr"] = err;
        facts["timed_out"] = yes_no(timed_out(end));
        describe_isolation(end);
        facts["effective_timeout_seconds"] = seconds_text(time_limit_);
        facts["max_rss_kb"] = std::to_string(end.max_rss_kb);
        facts["cpu_seconds"] = seconds_text(end.user + end.system);
        facts["stdout_bytes"] = std::to_string(end.out.total());
        facts["stderr_bytes"] = std::to_string(end.err.total());
        if (pid_ > 0) facts["pid"] = std::to_string(pid_);
        if (end.signal) facts["signal"] = std::to_string(*end.signal);
        if (end.left_behind > 0) facts["processes_left_behind"] = std::to_string(end.left_behind);
        if (end.still_alive > 0) facts["processes_still_alive"] = std::to_string(end.still_alive);
        attempt.logs.push_back("local: " + (attempt.error ? attempt.error->message : std::string("exit code 0")) +
                               " after " + seconds_text(end.took) + " s");
        if (end.left_behind > 0) {
            attempt.logs.push_back("local: killed " + std::to_string(end.left_behind) +
                                   " processes that it left behind");
        }
    }

    void describe_isolation(const ProcessEnd& end) {
        StringMap& facts = report_.attempt.metadata;
        const auto text_of = [](const std::vector<std::string>& words) {
            std::string text;
            for (const std::string& word : words)
                text += (text.empty() ? "" : ",") + word;
            return text;
        };
        facts["isolation"] = to_string(end.began ? level_of(end.layers) : IsolationLevel::kNone);
        if (end.layers != 0) facts["isolation_layers"] = text_of(layer_names(end.layers));
        if (const auto reached = limits_reached(end); !reached.empty()) facts["limits_reached"] = text_of(reached);
        if (end.memory_peak_bytes) facts["memory_peak_kb"] = std::to_string(*end.memory_peak_bytes / 1024);
        if (end.throttled_us) facts["throttled_seconds"] = seconds_text(std::chrono::microseconds(*end.throttled_us));
        facts["read_bytes"] = std::to_string(end.read_bytes);
        facts["written_bytes"] = std::to_string(end.written_bytes);
        if (end.began) report_.attempt.logs.push_back("local: isolation " + facts["isolation"]);
    }

    static bool was_cut(const KeptOutput& kept, const std::string& text) {
        // Replacing what is no UTF-8 makes text longer than the bytes, never shorter.
        return kept.truncated() || text.size() < kept.total() || text.find("\n[worker-agents] ") != std::string::npos;
    }

    // The private folder goes before the result is told; a huge one is waited for only so long.
    void clean_up() {
        process_.reset();
        directory_.reset();
        if (workspace_) runtime_.workspace_.release(std::move(workspace_));
        if (folder_.empty()) return finish();
        auto removed = [this, alive = std::weak_ptr<int>(alive_)](const Removal& removal) {
            if (alive.expired() || finished_) return;
            if (!removal.complete) report_.attempt.metadata["cleanup"] = "incomplete: " + clip(removal.problem, 200);
            finish();
        };
        runtime_.workspace_.remove_private(std::exchange(folder_, {}), std::move(removed));
        timer_.expires_after(runtime_.options_.cleanup_patience);
        timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](boost::system::error_code error) {
            if (error || alive.expired() || finished_) return;
            report_.attempt.metadata["cleanup"] = "still under way";
            finish();
        });
    }

    void finish() {
        finished_ = true;
        timer_.cancel();
        listener_.runtime_ended(key_, std::move(report_));
    }

    LocalRuntime& runtime_;
    std::optional<LocalJob> job_;
    AttemptKey key_;
    RuntimeListener& listener_;
    MonoTime started_;
    EpochMillis began_ = 0;
    Fd directory_;  // the shared one, for whoever collects files
    Fd workspace_;  // the private one in memory
    LocalCommand command_;
    SecretMask mask_;
    MaskingStream masked_out_;
    MaskingStream masked_err_;
    std::unique_ptr<TaskLog> log_;
    std::string folder_;
    Duration time_limit_{};
    std::uint64_t memory_limit_ = 0;
    pid_t pid_ = -1;
    std::optional<StopReason> stopped_;
    bool finished_ = false;
    RuntimeReport report_;
    asio::steady_timer timer_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
    std::unique_ptr<Process> process_;
};

LocalRuntime::LocalRuntime(asio::io_context& loop, const Clock& clock, Spawner& spawner, TaskLogs* logs,
                           LocalRuntimeOptions options)
    : loop_(loop),
      clock_(clock),
      spawner_(spawner),
      logs_(logs),
      options_(std::move(options)),
      policy_(options_.allowed_commands, options_.search_path),
      sandbox_(options_.sandbox),
      workspace_(loop, options_.workspace),
      out_of_memory_kills_(count_out_of_memory_kills()) {}

LocalRuntime::~LocalRuntime() = default;

Result<void> LocalRuntime::prepare(Random& random) {
    if (!options_.enabled) return {};
    auto prepared = workspace_.prepare(random);
    unprepared_ = prepared ? std::string() : prepared.error().describe();
    return prepared;
}

Availability LocalRuntime::availability() const {
    if (!options_.enabled) return {false, Unavailable::kDisabled, "it is switched off (LOCAL_RUNTIME_ENABLED=false)"};
    if (!unprepared_.empty()) return {false, Unavailable::kUnreachable, unprepared_};
    const HelperStatus helper = spawner_.status();
    if (helper.failed) return {false, Unavailable::kUnreachable, helper.error};
    if (auto good = sandbox_.check(helper); !good)
        return {false, good.error().retryable() ? Unavailable::kUnreachable : Unavailable::kDisabled,
                good.error().message};
    return {};
}

LocalCommandRules LocalRuntime::rules() const {
    return LocalCommandRules{policy_, options_.allow_shell, options_.result_bytes, options_.allowed_variables,
                             options_.denied_variables};
}

Result<void> LocalRuntime::validate(const Ticket& ticket) const {
    WA_TRY(const LocalCommand command, parse_local_command(ticket, rules()));
    return sandbox_.check(command.sandbox, spawner_.status());
}

LocalRuntime::TimeLimits LocalRuntime::time_limits(const AttemptContext& context, const LocalCommand& command,
                                                   Duration longest) const {
    Duration own = longest;
    if (command.timeout) own = std::min<Duration>(own, *command.timeout);
    Duration engine = Duration::max() / 2;
    if (context.timeout_ms > 0) engine = std::chrono::milliseconds(context.timeout_ms);
    if (context.deadline != MonoTime{}) engine = std::min(engine, context.deadline - clock_.now());
    const auto positive = [](Duration limit) { return std::max<Duration>(limit, std::chrono::milliseconds(1)); };
    // The engine's time is ended by the engine, which knows whether it is a timeout or the ticket's deadline; the
    // helper only stands behind it.
    return TimeLimits{positive(std::min(own, engine)), positive(std::min(own, engine + kEngineFirst))};
}

ProcessLimits LocalRuntime::limits(Duration time_limit) const {
    ProcessLimits limits;
    // A backstop for a process that nobody ends: as much CPU time as all processors have in its time.
    const auto processors = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
    const auto seconds = static_cast<std::uint64_t>(to_seconds(time_limit + options_.grace)) + 1;
    limits.cpu_seconds = seconds * processors;
    limits.address_space = options_.address_space;
    limits.open_files = options_.open_files;
    limits.file_size = options_.file_size;
    limits.processes = options_.processes;
    return limits;
}

std::unique_ptr<RunningAttempt> LocalRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, std::nullopt, listener);
    attempt->begin(context);
    return attempt;
}

Result<void> LocalRuntime::check_job(const Ticket& ticket, const LocalJob& job) const {
    WA_TRY(const LocalCommand command, parse_local_job(ticket, job, rules()));
    return sandbox_.check(command.sandbox, spawner_.status());
}

std::unique_ptr<RunningAttempt> LocalRuntime::start_job(const AttemptContext& context, LocalJob job,
                                                        RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, std::move(job), listener);
    attempt->begin(context);
    return attempt;
}

IsolationReport LocalRuntime::isolation() const {
    const HelperStatus helper = spawner_.status();
    IsolationReport report;
    const auto add = [&](bool there, const char* measure) {
        (there ? report.measures : report.missing).emplace_back(measure);
    };
    const Layers layers = sandbox_.options().enabled ? helper.layers : 0;
    report.level = to_string(helper.ready ? level_of(layers) : IsolationLevel::kNone);
    add(helper.ready, "own session and process group, killed as a whole");
    add(helper.subreaper, "subreaper: descendants that left the group are found and killed");
    add(helper.pidfd, "pidfd");
    add(helper.no_new_privileges, "no new privileges");
    add(helper.ready, "resource limits, clean environment, descriptors and signal mask");
    add(unprepared_.empty(), "private home, tmp and working folders");
    for (std::string& name : layer_names(layers))
        report.measures.push_back(std::move(name));
    if (sandbox_.options().enabled) {
        report.missing.insert(report.missing.end(), helper.missing.begin(), helper.missing.end());
    } else {
        report.missing.emplace_back("every layer (LOCAL_RUNTIME_ENABLE_SANDBOX=false)");
    }
    return report;
}

}  // namespace wa
