#include "process/spawner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "process/helper_image.h"
#include "process/helper_link.h"
#include "process/output_capture.h"
#include "protocol.h"

namespace wa {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::string_view kOrigin = "local";
constexpr Duration kFirstPause = std::chrono::milliseconds(50);
constexpr Duration kLongestPause = std::chrono::seconds(5);
constexpr int kFailuresInARow = 3;
constexpr int kLeaveLimitMs = 12'000;  // longer than the helper's own last patience
constexpr std::size_t kMaxNameBytes = 512;

Error spawn_error(ErrorCode code, Retry retry, Fault fault, std::string message) {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

Error worker_error(std::string message) {
    return spawn_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, std::move(message));
}

Error task_error(std::string message) {
    return spawn_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, std::move(message));
}

bool is_shortage(int error) {
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE || error == ENOSPC ||
           error == ENOBUFS || error == EIO;
}

Error exec_error(const std::string& program, int error) {
    const std::string head = "cannot run '" + program + "': ";
    switch (error) {
        case ENOENT: return task_error(head + "the file, or the interpreter that it names, does not exist");
        case EACCES: return task_error(head + "it is not an executable file, or the worker may not run it");
        case ENOEXEC: return task_error(head + "not a program for this machine, and no '#!' line names an interpreter");
        case ETXTBSY: {
            Error busy = task_error(head + "the file is being written");
            busy.retry = Retry::kAfterBackoff;
            return busy;
        }
        case E2BIG:
            return spawn_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput,
                               head + "arguments and environment together are too long");
        default: break;
    }
    if (is_shortage(error)) return worker_error(head + std::strerror(error));
    return task_error(head + std::strerror(error));
}

// What went wrong between the request and the program's first instruction.
Error start_error(const std::string& program, helper::Step step, int error) {
    const std::string why = std::strerror(error);
    switch (step) {
        case helper::Step::kExec: return exec_error(program, error);
        case helper::Step::kDirectory:
            if (is_shortage(error)) return worker_error("cannot enter the working directory: " + why);
            return task_error("cannot enter the working directory: " + why);
        case helper::Step::kProgram:
            return spawn_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kTask,
                               "'" + program + "' was replaced between the check and the start: not started");
        case helper::Step::kBind: return task_error("the working directory cannot be shown to the task: " + why);
        case helper::Step::kMap:
            return task_error(
                "the working directory's file system cannot show its files to a task with a user id of its own (" +
                why + "): use a folder on another one");
        case helper::Step::kMemory:
            return spawn_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kLimit,
                               "its limit of memory does not suffice to start it");
        case helper::Step::kIds: return worker_error("cannot give the task its user id: " + why);
        case helper::Step::kNetwork: return worker_error("cannot give the task a network of its own: " + why);
        case helper::Step::kRoot: return worker_error("cannot build the task's root: " + why);
        case helper::Step::kProc: return worker_error("cannot mount /proc for the task: " + why);
        case helper::Step::kWorkspace: return worker_error("cannot make the task's workspace: " + why);
        case helper::Step::kSecret: return worker_error("cannot write the task's secret files: " + why);
        case helper::Step::kCapabilities: return worker_error("cannot drop capabilities: " + why);
        case helper::Step::kLandlock: return worker_error("cannot set the Landlock rules: " + why);
        case helper::Step::kSeccomp: return worker_error("cannot set the system call filter: " + why);
        case helper::Step::kCgroup: return worker_error("cannot set the cgroup limits: " + why);
        case helper::Step::kInit: return worker_error("the task's first process ended before it was started");
        case helper::Step::kTaskLimit: return worker_error("as many processes as allowed are running already");
        case helper::Step::kClone: return worker_error("cannot make a process: " + why);
        case helper::Step::kLimits: return worker_error("cannot set the resource limits: " + why);
        case helper::Step::kProtocol:
            if (error == EOPNOTSUPP) return worker_error("a layer of the sandbox is not there any more");
            [[fallthrough]];
        case helper::Step::kBody:
            return spawn_error(ErrorCode::kInternal, Retry::kNever, Fault::kWorker,
                               "the spawn helper did not understand the request: " + why);
        default: break;
    }
    return worker_error("cannot prepare the process (step " + std::to_string(static_cast<int>(step)) + "): " + why);
}

std::int64_t boot_now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint32_t to_milliseconds(Duration duration) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::max(duration, Duration::zero())).count();
    return static_cast<std::uint32_t>(std::min<std::int64_t>(ms, 7 * 24 * 3'600'000LL));
}

template <class Message>
std::string packet(const Message& message) {
    std::string bytes(sizeof message, '\0');
    std::memcpy(bytes.data(), &message, sizeof message);
    return bytes;
}

template <class Message>
Message make_message(helper::Type type, std::uint64_t id) {
    Message message{};
    const helper::Header header{helper::kMagic, static_cast<std::uint16_t>(type), 0, id};
    std::memcpy(&message, &header, sizeof header);
    return message;
}

template <class Message>
std::optional<Message> read_message(std::string_view bytes) {
    if (bytes.size() != sizeof(Message)) return std::nullopt;
    Message message{};
    std::memcpy(&message, bytes.data(), sizeof message);
    return message;
}

// A sealed file in memory, read from its start.
Result<Fd> memory_file(const char* name, std::string_view bytes) {
    Fd fd(static_cast<int>(::syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    if (!fd) return Failure(worker_error(std::string("memfd_create: ") + std::strerror(errno)));
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t written = ::pwrite(fd.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return Failure(worker_error(std::string("memfd: ") + std::strerror(errno)));
        at += static_cast<std::size_t>(written);
    }
    ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

helper::Limits to_wire(const ProcessLimits& limits) {
    const auto value = [](const std::optional<std::uint64_t>& limit) { return limit.value_or(helper::kNoLimit); };
    return helper::Limits{
        value(limits.cpu_seconds), value(limits.address_space), value(limits.data), value(limits.open_files),
        value(limits.file_size),   value(limits.processes),     limits.core};
}

helper::Sandbox to_wire(const SandboxRequest& request) {
    helper::Sandbox wire{};
    wire.layers = request.layers;
    wire.read_only_count = static_cast<std::uint32_t>(request.read_only.size());
    wire.writable_count = static_cast<std::uint32_t>(request.writable.size());
    wire.hidden_count = static_cast<std::uint32_t>(request.hidden.size());
    wire.secret_count = static_cast<std::uint32_t>(request.secrets.size());
    wire.memory_bytes = request.memory;
    wire.processes = request.processes;
    wire.cpu_millis = request.cpu_millis;
    wire.workspace_bytes = request.workspace_bytes;
    wire.workspace_entries = request.workspace_entries;
    if (request.program) {
        wire.program_device = request.program->device;
        wire.program_inode = request.program->inode;
        wire.program_changed_ns = request.program->changed_ns;
    }
    return wire;
}

// Why a layer that was tried is not there: what was being done, and the kernel's answer.
std::string reason(const helper::Obstacle& obstacle, std::string_view otherwise) {
    if (obstacle.step == helper::Step::kNone) return std::string(otherwise);
    const auto doing = [&]() -> std::string_view {
        switch (obstacle.step) {
            case helper::Step::kClone: return "new namespaces";
            case helper::Step::kIds: return "mapping user ids";
            case helper::Step::kNetwork: return "a network of its own";
            case helper::Step::kRoot: return "mounting a root";
            case helper::Step::kProc: return "mounting /proc";
            case helper::Step::kWorkspace: return "mounting a workspace";
            case helper::Step::kCgroup: return "making a cgroup";
            case helper::Step::kInit: return "starting the first process";
            default: return "trying it";
        }
    }();
    return std::string(doing) + ": " + std::strerror(obstacle.error);
}

std::vector<std::string> missing_layers(Layers asked, const helper::Ready& ready) {
    std::vector<std::string> missing;
    const auto explain = [&](Layers group, const helper::Obstacle& obstacle, std::string_view otherwise) {
        const Layers gone = asked & group & ~ready.layers;
        if (gone == 0) return;
        std::string names;
        for (const std::string& name : layer_names(gone))
            names += (names.empty() ? "" : ", ") + name;
        missing.push_back(names + " (" + reason(obstacle, otherwise) + ")");
    };
    explain(helper::kNamespaceLayers, ready.namespaces, "not tried");
    explain(helper::kLayerNetwork, ready.network, "needs the other namespaces");
    explain(helper::kLayerOwnUid, ready.own_uid, "needs the other namespaces");
    explain(helper::kLayerSeccomp, ready.seccomp, "not tried");
    explain(helper::kLayerLandlock, ready.landlock, "not tried");
    explain(helper::kCgroupLayers, ready.cgroup, "not tried");
    return missing;
}

EndCause to_cause(helper::Cause cause) {
    switch (cause) {
        case helper::Cause::kNone: return EndCause::kItself;
        case helper::Cause::kDeadline: return EndCause::kTimeLimit;
        case helper::Cause::kRequest: return EndCause::kRequested;
        case helper::Cause::kLease: return EndCause::kLease;
        case helper::Cause::kShutdown: return EndCause::kShutdown;
    }
    return EndCause::kItself;
}

// What fits into the helper's greeting, and looks the same in every environment.
std::string clean_marker(std::string_view marker) {
    std::string clean(marker.substr(0, helper::kMarkerSize - 1));
    for (char& c : clean) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_';
        if (!plain) c = '_';
    }
    return clean;
}

}  // namespace

std::string state_marker(const std::string& state_folder) {
    struct stat facts{};
    if (::stat(state_folder.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) return {};
    return "state-" + std::to_string(facts.st_dev) + "-" + std::to_string(facts.st_ino);
}

class Spawner::Core : public std::enable_shared_from_this<Spawner::Core> {
public:
    Core(asio::io_context& loop, const Clock& clock, SpawnerOptions options)
        : loop_(loop),
          clock_(clock),
          options_(std::move(options)),
          image_(options_.helper_file),
          pause_timer_(loop),
          tick_timer_(loop),
          scratch_(new char[OutputCapture::kReadBytes]) {
        options_.marker = clean_marker(options_.marker);
        if (options_.lease > Duration::zero()) {
            options_.tick_interval = std::min(options_.tick_interval, options_.lease / 5);
        }
    }

    enum class Phase : std::uint8_t { kWaiting, kSent, kRunning, kDraining, kEnded };

    struct Entry {
        std::uint64_t id = 0;
        Phase phase = Phase::kWaiting;
        ProcessListener* listener = nullptr;  // null once nobody wants to know
        std::string program;
        std::string request;  // until it is sent
        std::vector<Fd> fds;
        std::unique_ptr<OutputCapture> capture;
        MonoTime asked_at;
        Fd pidfd;
        ProcessEnd end;
    };
    using EntryPtr = std::shared_ptr<Entry>;

    void start(std::function<void(Result<HelperStatus>)> ready) {
        if (ready) on_ready_.push_back(std::move(ready));
        if (state_ == State::kReady) {
            for (auto& call : std::exchange(on_ready_, {})) {
                asio::post(loop_, [call = std::move(call), now = status()] { call(now); });
            }
        }
        if (state_ == State::kIdle) start_helper();
    }

    EntryPtr spawn(SpawnRequest request, ProcessListener& listener) {
        auto entry = std::make_shared<Entry>();
        entry->id = ++last_id_;
        entry->listener = &listener;
        entry->program = request.executable;
        entry->asked_at = clock_.now();
        if (auto prepared = prepare(*entry, std::move(request)); !prepared) {
            post_failure(entry, std::move(prepared).error());
            return entry;
        }
        entries_.emplace(entry->id, entry);
        if (state_ == State::kReady) {
            send(entry);
        } else {
            waiting_.push_back(entry);
            // After a failed start nobody waits for the timer: try now, and say at once if it is still so.
            if (state_ == State::kIdle || (state_ == State::kPausing && failures_ > 0)) start_helper();
        }
        return entry;
    }

    void stop(const EntryPtr& entry, Duration grace) {
        switch (entry->phase) {
            case Phase::kWaiting:
                std::erase(waiting_, entry);
                entry->end.cause = EndCause::kRequested;
                finish_unstarted(entry, spawn_error(ErrorCode::kCancelled, Retry::kNever, Fault::kWorker,
                                                    "stopped before it was started"));
                return;
            case Phase::kSent:
            case Phase::kRunning: {
                auto kill = make_message<helper::Kill>(helper::Type::kKill, entry->id);
                kill.hard = grace <= Duration::zero() ? 1 : 0;
                kill.grace_ms = to_milliseconds(grace);
                if (link_) link_->send(packet(kill), {});
                return;
            }
            case Phase::kDraining:
            case Phase::kEnded: return;
        }
    }

    void abandon(const EntryPtr& entry) {
        entry->listener = nullptr;
        if (entry->phase == Phase::kEnded) return;
        entry->capture.reset();  // a writer sees a closed pipe, not a full one
        if (entry->phase == Phase::kWaiting) {
            std::erase(waiting_, entry);
            entry->phase = Phase::kEnded;
            entries_.erase(entry->id);
        } else if (entry->phase == Phase::kDraining) {
            entry->phase = Phase::kEnded;
            entries_.erase(entry->id);
        } else {
            stop(entry, Duration::zero());  // stays in entries_ until the helper has said that it is gone
        }
    }

    void shutdown() {
        state_ = State::kStopped;
        pause_timer_.cancel();
        tick_timer_.cancel();
        for (auto& [id, entry] : entries_) {
            entry->listener = nullptr;
            entry->capture.reset();
            entry->phase = Phase::kEnded;
        }
        entries_.clear();
        waiting_.clear();
        on_ready_.clear();
        if (auto link = std::exchange(link_, nullptr)) link->close_and_wait(kLeaveLimitMs);
    }

    [[nodiscard]] HelperStatus status() const {
        HelperStatus status = status_;
        status.running = entries_.size();
        return status;
    }

private:
    enum class State : std::uint8_t { kIdle, kStarting, kReady, kPausing, kStopped };

    // --- the helper ---

    void start_helper() {
        state_ = State::kStarting;
        status_.ready = false;
        auto process = image_.start();
        if (!process) return helper_failed(std::move(process).error());
        ++status_.starts;
        status_.pid = process->pid;
        const std::weak_ptr<Core> weak = weak_from_this();
        const std::uint64_t generation = ++generation_;
        HelperLink::Handlers handlers;
        handlers.packet = [weak, generation](std::string_view bytes, std::vector<Fd> fds) {
            if (auto self = weak.lock(); self && self->generation_ == generation) self->received(bytes, std::move(fds));
        };
        handlers.gone = [weak, generation] {
            if (auto self = weak.lock(); self && self->generation_ == generation) self->helper_gone();
        };
        link_ = std::make_shared<HelperLink>(loop_, std::move(*process), std::move(handlers));
        link_->begin();
        auto hello = make_message<helper::Hello>(helper::Type::kHello, 0);
        hello.lease_ns = static_cast<std::uint64_t>(std::max(options_.lease, Duration::zero()).count());
        hello.max_tasks = options_.max_processes;
        hello.oom_score_adj = options_.oom_score_adj;
        options_.marker.copy(hello.marker, sizeof hello.marker - 1);
        hello.ask_layers = options_.try_layers;
        hello.uid_base = options_.uid_base;
        link_->send(packet(hello), {});
        unanswered_ = 0;
        schedule_tick();
    }

    // Its own handlers keep it alive: it must be closed, not just let go.
    void drop_link() {
        if (auto link = std::exchange(link_, nullptr)) link->close_and_wait(0);
    }

    // It could not be started at all, or died before it was ready. Who waits is told; we go on trying.
    void helper_failed(Error error) {
        drop_link();
        tick_timer_.cancel();
        status_.ready = false;
        status_.failed = ++failures_ >= kFailuresInARow || !was_ever_ready_;
        status_.pid = -1;
        status_.error = error.describe();
        fail_waiting(error);
        for (auto& ready : std::exchange(on_ready_, {})) {
            asio::post(loop_, [ready = std::move(ready), error] { ready(Failure(error)); });
        }
        pause_then_start(kLongestPause);
    }

    void pause_then_start(Duration pause) {
        state_ = State::kPausing;
        pause_timer_.expires_after(pause);
        pause_timer_.async_wait([weak = weak_from_this()](error_code error) {
            auto self = weak.lock();
            if (!error && self && self->state_ == State::kPausing) self->start_helper();
        });
    }

    void helper_gone() {
        tick_timer_.cancel();
        const bool was_ready = state_ == State::kReady;
        drop_link();
        status_.ready = false;
        status_.pid = -1;
        if (!was_ready) return helper_failed(worker_error("the spawn helper ended before it was ready"));
        status_.error = "the spawn helper ended; a new one is being started";
        lose_running();
        pause_ =
            clock_.now() - ready_since_ > std::chrono::minutes(1) ? kFirstPause : std::min(pause_ * 2, kLongestPause);
        pause_then_start(pause_);
    }

    // Whatever ran died with the helper (its death signal), or is killed by the sweep of the next one.
    void lose_running() {
        std::vector<EntryPtr> lost;
        for (auto& [id, entry] : entries_) {
            if (entry->phase == Phase::kSent || entry->phase == Phase::kRunning) lost.push_back(entry);
        }
        for (const EntryPtr& entry : lost) {
            if (entry->pidfd) ::syscall(SYS_pidfd_send_signal, entry->pidfd.get(), SIGKILL, nullptr, 0U);
            entry->end.error = spawn_error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker,
                                           "the spawn helper ended while the command ran");
            entry->end.kill_sent = true;
            drain(entry);
        }
    }

    void schedule_tick() {
        tick_timer_.expires_after(options_.tick_interval);
        tick_timer_.async_wait([weak = weak_from_this()](error_code error) {
            auto self = weak.lock();
            if (!error && self) self->tick();
        });
    }

    // Two directions of one question: the helper sees that we live, and we see that it does.
    void tick() {
        if (!link_) return;
        // Counted in ticks, not in time: a worker that was stopped must not blame the helper.
        if (++unanswered_ > options_.helper_patience / options_.tick_interval) return helper_gone();
        if (state_ == State::kReady) {
            link_->send(packet(make_message<helper::Header>(helper::Type::kTick, ++ticks_)), {});
        }
        // An idle helper needs no lease and gets none.
        if (state_ != State::kReady || !entries_.empty()) {
            schedule_tick();
        } else {
            ticking_ = false;
        }
    }

    void keep_ticking() {
        if (ticking_) return;
        ticking_ = true;
        unanswered_ = 0;
        schedule_tick();
    }

    void received(std::string_view bytes, std::vector<Fd> fds) {
        const auto header = bytes.size() < sizeof(helper::Header)
                                ? std::nullopt
                                : read_message<helper::Header>(bytes.substr(0, sizeof(helper::Header)));
        if (!header || header->magic != helper::kMagic) return;
        unanswered_ = 0;
        switch (static_cast<helper::Type>(header->type)) {
            case helper::Type::kReady:
                if (const auto ready = read_message<helper::Ready>(bytes)) on_ready(*ready);
                return;
            case helper::Type::kStarted:
                if (const auto started = read_message<helper::Started>(bytes)) on_started(*started, std::move(fds));
                return;
            case helper::Type::kFailed:
                if (const auto failed = read_message<helper::Failed>(bytes)) on_failed(*failed);
                return;
            case helper::Type::kExited:
                if (const auto exited = read_message<helper::Exited>(bytes)) on_exited(*exited);
                return;
            default: return;
        }
    }

    void on_ready(const helper::Ready& ready) {
        const auto has = [&](std::uint32_t feature) { return (ready.features & feature) != 0; };
        constexpr std::uint32_t kDemanded =
            helper::kFeatureSubreaper | helper::kFeaturePidfd | helper::kFeatureNoNewPrivileges;
        if (options_.require_all && (ready.features & kDemanded) != kDemanded) {
            return helper_failed(
                worker_error("this machine lacks a measure that the sandbox demands (subreaper, pidfd or "
                             "no-new-privileges)"));
        }
        failures_ = 0;
        was_ever_ready_ = true;
        state_ = State::kReady;
        ready_since_ = clock_.now();
        ticking_ = true;
        status_.ready = true;
        status_.failed = false;
        status_.error.clear();
        status_.subreaper = has(helper::kFeatureSubreaper);
        status_.pidfd = has(helper::kFeaturePidfd);
        status_.no_new_privileges = has(helper::kFeatureNoNewPrivileges);
        status_.children_file = has(helper::kFeatureChildrenFile);
        status_.close_range = has(helper::kFeatureCloseRange);
        status_.probed = true;
        status_.layers = ready.layers;
        status_.missing = missing_layers(options_.try_layers, ready);
        status_.swept = ready.swept;
        status_.swept_alive = ready.swept_alive;
        for (const EntryPtr& entry : std::exchange(waiting_, {}))
            send(entry);
        for (auto& call : std::exchange(on_ready_, {})) {
            asio::post(loop_, [call = std::move(call), now = status()] { call(now); });
        }
    }

    // --- one process ---

    Result<void> prepare(Entry& entry, SpawnRequest request) {
        const auto refuse = [](std::string why) {
            return Failure(spawn_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, std::move(why)));
        };
        if (request.executable.empty() || request.executable.front() != '/')
            return refuse("the program's path is not absolute");
        if (request.arguments.empty() || request.arguments.size() > helper::kMaxArguments) {
            return refuse("a command has 1 to " + std::to_string(helper::kMaxArguments) + " words");
        }
        if (request.environment.size() + 2 > helper::kMaxEnvironment) return refuse("too many environment variables");
        if (request.name.size() > kMaxNameBytes) return refuse("the attempt's name is too long");
        const SandboxRequest& sandbox = request.sandbox;
        if (!request.directory && ((sandbox.layers & helper::kLayerMount) == 0 || !sandbox.directory_path.empty()))
            return refuse("no working directory");
        if (sandbox.read_only.size() > helper::kMaxPaths || sandbox.writable.size() > helper::kMaxPaths ||
            sandbox.hidden.size() > helper::kMaxPaths)
            return refuse("too many paths for the sandbox");
        if (sandbox.secrets.size() > helper::kMaxSecrets) return refuse("too many secret files");
        // The marks come first: they are found even when a reader of the environment stops early.
        std::vector<std::string> environment{helper::kAttemptVariable + request.name};
        if (!options_.marker.empty()) environment.push_back(helper::kStateVariable + options_.marker);
        for (std::string& variable : request.environment)
            environment.push_back(std::move(variable));
        std::string body;
        const auto add = [&body](const std::string& text) {
            body += text;
            body += '\0';
            return text.find('\0') == std::string::npos;
        };
        bool clean = add(request.executable);
        for (const std::string& argument : request.arguments)
            clean = add(argument) && clean;
        for (const std::string& variable : environment)
            clean = add(variable) && clean;
        clean = add(sandbox.directory_path) && clean;
        for (const auto* paths : {&sandbox.read_only, &sandbox.writable, &sandbox.hidden}) {
            for (const std::string& path : *paths)
                clean = add(path) && clean;
        }
        for (const SecretFile& secret : sandbox.secrets)
            clean = add(secret.name) && clean;
        if (!clean) return refuse("a NUL character in a command or its environment");
        if (body.size() > helper::kBodyLimit) {
            return Failure(spawn_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput,
                                       "arguments and environment together are too long"));
        }
        WA_TRY(OutputPipes pipes, make_output_pipes());
        auto spawn = make_message<helper::Spawn>(helper::Type::kSpawn, entry.id);
        entry.fds.push_back(std::move(pipes.out_write));
        entry.fds.push_back(std::move(pipes.err_write));
        if (request.directory) {
            entry.fds.push_back(std::move(request.directory));
        } else {
            spawn.header.flags |= helper::kNoDirectory;
        }
        if (request.input) {
            WA_TRY(Fd input, memory_file("stdin", *request.input));
            entry.fds.push_back(std::move(input));
            spawn.header.flags |= helper::kHasStdin;
        }
        const bool large = body.size() > helper::kInlineBodyLimit;
        if (large) {
            WA_TRY(Fd file, memory_file("request", body));
            entry.fds.push_back(std::move(file));
            spawn.header.flags |= helper::kBodyInMemfd;
        }
        for (const SecretFile& secret : sandbox.secrets) {
            WA_TRY(Fd file, memory_file("secret", secret.value));
            entry.fds.push_back(std::move(file));
        }
        spawn.deadline_boot_ns = request.time_limit > Duration::zero() ? boot_now_ns() + request.time_limit.count() : 0;
        spawn.grace_ms = to_milliseconds(request.grace);
        spawn.argument_count = static_cast<std::uint32_t>(request.arguments.size());
        spawn.environment_count = static_cast<std::uint32_t>(environment.size());
        spawn.body_size = static_cast<std::uint32_t>(body.size());
        spawn.limits = to_wire(request.limits);
        spawn.sandbox = to_wire(sandbox);
        entry.request = packet(spawn);
        if (!large) entry.request += body;
        entry.capture = std::make_unique<OutputCapture>(loop_, std::move(pipes.out_read), std::move(pipes.err_read),
                                                        std::move(request.filter), std::move(request.sink), scratch_);
        return {};
    }

    void send(const EntryPtr& entry) {
        entry->phase = Phase::kSent;
        link_->send(std::exchange(entry->request, {}), std::exchange(entry->fds, {}));
        keep_ticking();
    }

    EntryPtr find(std::uint64_t id) {
        const auto found = entries_.find(id);
        return found == entries_.end() ? nullptr : found->second;
    }

    void on_started(const helper::Started& started, std::vector<Fd> fds) {
        ++status_.spawned;
        const EntryPtr entry = find(started.header.id);
        if (!entry || entry->phase != Phase::kSent) return;
        entry->phase = Phase::kRunning;
        if (!fds.empty()) entry->pidfd = std::move(fds[0]);
        if (fds.size() > 1) entry->end.workspace = std::move(fds[1]);
        if (entry->listener != nullptr) entry->listener->process_started(started.pid);
    }

    void on_failed(const helper::Failed& failed) {
        const EntryPtr entry = find(failed.header.id);
        if (!entry || entry->phase != Phase::kSent) return;
        finish_unstarted(entry, start_error(entry->program, failed.step, failed.error));
    }

    void on_exited(const helper::Exited& exited) {
        const EntryPtr entry = find(exited.header.id);
        if (!entry || (entry->phase != Phase::kSent && entry->phase != Phase::kRunning)) return;
        ProcessEnd& end = entry->end;
        end.cause = to_cause(exited.cause);
        end.term_sent = exited.term_sent != 0;
        end.kill_sent = exited.kill_sent != 0;
        end.left_behind = exited.left_behind;
        end.still_alive = exited.alive;
        end.user = std::chrono::microseconds(exited.user_us);
        end.system = std::chrono::microseconds(exited.system_us);
        end.max_rss_kb = exited.max_rss_kb;
        end.layers = exited.layers;
        end.read_bytes = exited.read_bytes;
        end.written_bytes = exited.written_bytes;
        const auto known = [](std::int64_t value) { return value < 0 ? std::nullopt : std::optional(value); };
        end.memory_peak_bytes = known(exited.memory_peak_bytes);
        end.out_of_memory = known(exited.out_of_memory);
        end.processes_refused = known(exited.processes_refused);
        end.throttled_us = known(exited.throttled_us);
        if (exited.main_alive == 0) {
            if (WIFEXITED(exited.wait_status)) end.exit_code = WEXITSTATUS(exited.wait_status);
            if (WIFSIGNALED(exited.wait_status)) {
                end.signal = WTERMSIG(exited.wait_status);
                end.core_dumped = WCOREDUMP(exited.wait_status);
            }
        }
        drain(entry);
    }

    void drain(const EntryPtr& entry) {
        entry->phase = Phase::kDraining;
        entry->pidfd.reset();
        entry->end.took = clock_.now() - entry->asked_at;
        if (entry->listener == nullptr || !entry->capture) return end(entry);
        entry->capture->finish(options_.drain_limit, [weak = weak_from_this(), entry] {
            if (auto self = weak.lock(); self && entry->phase == Phase::kDraining) self->end(entry);
        });
    }

    void end(const EntryPtr& entry) {
        entry->phase = Phase::kEnded;
        entries_.erase(entry->id);
        if (entry->capture) {
            entry->end.out = entry->capture->take_out();
            entry->end.err = entry->capture->take_err();
            entry->capture.reset();
        }
        if (auto* listener = std::exchange(entry->listener, nullptr)) listener->process_ended(std::move(entry->end));
    }

    void finish_unstarted(const EntryPtr& entry, Error error) {
        entry->capture.reset();
        entry->fds.clear();
        entries_.erase(entry->id);
        post_failure(entry, std::move(error));
    }

    void post_failure(const EntryPtr& entry, Error error) {
        entry->phase = Phase::kDraining;
        entry->end.error = std::move(error);
        entry->end.began = false;
        asio::post(loop_, [weak = weak_from_this(), entry] {
            if (auto self = weak.lock(); self && entry->phase == Phase::kDraining) self->end(entry);
        });
    }

    void fail_waiting(const Error& error) {
        for (const EntryPtr& entry : std::exchange(waiting_, {}))
            finish_unstarted(entry, error);
    }

    asio::io_context& loop_;
    const Clock& clock_;
    SpawnerOptions options_;
    HelperImage image_;
    asio::steady_timer pause_timer_;
    asio::steady_timer tick_timer_;
    std::shared_ptr<char[]> scratch_;
    State state_ = State::kIdle;
    HelperStatus status_;
    std::shared_ptr<HelperLink> link_;
    std::uint64_t generation_ = 0;
    std::vector<std::function<void(Result<HelperStatus>)>> on_ready_;
    std::map<std::uint64_t, EntryPtr> entries_;
    std::deque<EntryPtr> waiting_;
    std::uint64_t last_id_ = 0;
    std::uint64_t ticks_ = 0;
    std::int64_t unanswered_ = 0;
    bool ticking_ = false;
    int failures_ = 0;  // starts in a row that came to nothing
    bool was_ever_ready_ = false;
    MonoTime ready_since_{};
    Duration pause_ = kFirstPause;

    friend class Spawner;
};

Spawner::Spawner(asio::io_context& loop, const Clock& clock, SpawnerOptions options)
    : core_(std::make_shared<Core>(loop, clock, std::move(options))) {}

Spawner::~Spawner() {
    core_->shutdown();
}

void Spawner::start(std::function<void(Result<HelperStatus>)> ready) {
    core_->start(std::move(ready));
}

std::unique_ptr<Process> Spawner::spawn(SpawnRequest request, ProcessListener& listener) {
    class Handle final : public Process {
    public:
        Handle(std::weak_ptr<Core> core, Core::EntryPtr entry) : core_(std::move(core)), entry_(std::move(entry)) {}
        ~Handle() override {
            if (auto core = core_.lock()) core->abandon(entry_);
        }
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        void stop(Duration grace) override {
            if (auto core = core_.lock()) core->stop(entry_, grace);
        }

    private:
        std::weak_ptr<Core> core_;
        Core::EntryPtr entry_;
    };
    return std::make_unique<Handle>(core_, core_->spawn(std::move(request), listener));
}

HelperStatus Spawner::status() const {
    return core_->status();
}

}  // namespace wa
