#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "helper.h"

namespace wa::helper {
namespace {

// The strings of a request's body, in its order.
struct Body {
    char* bytes = nullptr;
    char** strings = nullptr;  // one slot more than strings, for the second end of a vector
    Body() = default;
    Body(const Body&) = delete;
    Body& operator=(const Body&) = delete;
    ~Body() {
        free(bytes);
        free(strings);
    }
    char** arguments = nullptr;
    char** environment = nullptr;
    char** paths = nullptr;  // the working directory's first
};

size_t path_count(const Sandbox& wish) {
    return size_t{1} + wish.read_only_count + wish.writable_count + wish.hidden_count + wish.secret_count;
}

bool counts_are_good(const Spawn& spawn) {
    const Sandbox& wish = spawn.sandbox;
    const bool isolated = (wish.layers & kNamespaceLayers) != 0;
    return spawn.argument_count > 0 && spawn.argument_count <= kMaxArguments &&
           spawn.environment_count <= kMaxEnvironment && spawn.body_size <= kBodyLimit && spawn.deadline_boot_ns >= 0 &&
           wish.read_only_count <= kMaxPaths && wish.writable_count <= kMaxPaths && wish.hidden_count <= kMaxPaths &&
           wish.secret_count <= kMaxSecrets && (isolated || wish.secret_count == 0) &&
           // All of the namespaces or none: init's work rests on each of them.
           (!isolated || (wish.layers & kNamespaceLayers) == kNamespaceLayers) &&
           (isolated || (spawn.header.flags & kNoDirectory) == 0);
}

// Nothing but a plain file of the right size is read: a pipe could keep us waiting.
bool read_body_file(int fd, char* bytes, size_t size) {
    struct stat facts{};
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size != static_cast<off_t>(size)) return false;
    size_t at = 0;
    while (at < size) {
        const ssize_t got = pread(fd, bytes + at, size - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += static_cast<size_t>(got);
    }
    return true;
}

// Cuts the body into its strings; it must end with NUL.
bool cut_body(Body& body, size_t size, const Spawn& spawn) {
    if (size == 0 || body.bytes[size - 1] != '\0') return false;
    const size_t before = size_t{1} + spawn.argument_count;
    const size_t wanted = before + spawn.environment_count + path_count(spawn.sandbox);
    size_t found = 0;
    for (size_t at = 0; at < size;) {
        if (found == wanted) return false;
        body.strings[found++] = body.bytes + at;
        at += strlen(body.bytes + at) + 1;
    }
    if (found != wanted || body.strings[0][0] != '/') return false;
    // [exe, args…, env…, paths…] becomes exe, [args…, null], [env…, null], [paths…]: the rest moves to the right.
    body.arguments = body.strings + 1;
    body.environment = body.strings + before + 1;
    body.paths = body.environment + spawn.environment_count + 1;
    memmove(body.paths, body.paths - 2, path_count(spawn.sandbox) * sizeof(char*));
    memmove(body.environment, body.environment - 1, spawn.environment_count * sizeof(char*));
    body.arguments[spawn.argument_count] = nullptr;
    body.environment[spawn.environment_count] = nullptr;
    return true;
}

// Names of files in the task's folder of secrets, and paths that lead somewhere below the root.
bool paths_are_good(const Body& body, const Spawn& spawn) {
    const size_t count = path_count(spawn.sandbox);
    const size_t secrets_from = count - spawn.sandbox.secret_count;
    for (size_t index = 0; index < count; ++index) {
        const char* text = body.paths[index];
        const bool is_secret = index >= secrets_from;
        if (is_secret && (*text == '\0' || *text == '.' || strchr(text, '/') != nullptr || strlen(text) > 200))
            return false;
        if (!is_secret && !(index == 0 && *text == '\0') && *text != '/') return false;
        if (!is_secret && (strstr(text, "/../") != nullptr || strstr(text, "//") != nullptr)) return false;
    }
    return true;
}

char* find_marker(char* const* environment) {
    const size_t length = sizeof kAttemptVariable - 1;
    for (; *environment != nullptr; ++environment) {
        if (strncmp(*environment, kAttemptVariable, length) == 0) return strdup(*environment + length);
    }
    return nullptr;
}

}  // namespace

size_t Helper::free_slot() {
    for (size_t slot = 0; slot < kTaskLimit - 2; ++slot) {  // the last one is for probing
        bool taken = false;
        for (size_t index = 0; index < task_count_ && !taken; ++index)
            taken = tasks_[index]->slot == slot;
        if (taken) continue;
        sandboxes_.cgroups().unburden(slot);
        return slot;
    }
    return kTaskLimit - 2;
}

void Helper::on_spawn(const Spawn& spawn, const char* inline_body, size_t inline_size, const int* fds,
                      size_t fd_count) {
    const uint64_t id = spawn.header.id;
    const bool has_stdin = (spawn.header.flags & kHasStdin) != 0;
    const bool in_memfd = (spawn.header.flags & kBodyInMemfd) != 0;
    const bool has_directory = (spawn.header.flags & kNoDirectory) == 0;
    if (!counts_are_good(spawn) || (in_memfd ? inline_size != 0 : inline_size != spawn.body_size))
        return fail(id, Step::kProtocol, EBADMSG);
    const size_t before_secrets = size_t{2} + (has_directory ? 1 : 0) + (has_stdin ? 1 : 0) + (in_memfd ? 1 : 0);
    if (fd_count != before_secrets + spawn.sandbox.secret_count) return fail(id, Step::kProtocol, EBADMSG);
    if (by_id(id) != nullptr) return fail(id, Step::kProtocol, EEXIST);
    if (task_count_ >= max_tasks_) return fail(id, Step::kTaskLimit, EAGAIN);
    if (sandboxes_.missing(spawn.sandbox) != 0) return fail(id, Step::kProtocol, EOPNOTSUPP);

    Body body;
    body.bytes = static_cast<char*>(malloc(size_t{spawn.body_size} + 1));
    const size_t strings = size_t{1} + spawn.argument_count + spawn.environment_count + path_count(spawn.sandbox) + 2;
    body.strings = static_cast<char**>(calloc(strings + 1, sizeof(char*)));
    Task* task = static_cast<Task*>(malloc(sizeof(Task)));
    if (body.bytes == nullptr || body.strings == nullptr || task == nullptr) {
        free(task);
        return fail(id, Step::kClone, ENOMEM);
    }
    *task = Task{};
    const auto refuse = [&](Step step, int error) {
        free(task->marker);
        free(task);
        fail(id, step, error);
    };
    if (in_memfd) {
        if (!read_body_file(fds[before_secrets - 1], body.bytes, spawn.body_size)) return refuse(Step::kBody, EBADMSG);
    } else {
        memcpy(body.bytes, inline_body, inline_size);
    }
    if (!cut_body(body, spawn.body_size, spawn) || !paths_are_good(body, spawn))
        return refuse(Step::kProtocol, EBADMSG);

    SandboxPlan plan;
    plan.wish = &spawn.sandbox;
    ChildPlan& child = plan.child;
    child.executable = body.strings[0];
    child.arguments = body.arguments;
    child.environment = body.environment;
    child.output = fds[0];
    child.errors = fds[1];
    child.directory = has_directory ? fds[2] : -1;
    child.input = has_stdin ? fds[has_directory ? 3 : 2] : null_;
    child.limits = spawn.limits;
    child.program_device = spawn.sandbox.program_device;
    child.program_inode = spawn.sandbox.program_inode;
    child.program_changed_ns = spawn.sandbox.program_changed_ns;
    plan.secrets = fds + before_secrets;
    task->id = id;
    task->marker = find_marker(body.environment);
    task->slot = free_slot();
    task->layers = spawn.sandbox.layers;
    task->deadline = spawn.deadline_boot_ns;
    task->grace = static_cast<int64_t>(spawn.grace_ms) * kMillisecond;
    if ((task->layers & kLayerMount) != 0) {
        start_with_init(*task, plan, spawn, body.paths);
    } else {
        start_plain(*task, child, spawn, body.paths);
    }
    if (task->failed) {
        free(task->marker);
        free(task);
        return;
    }
    task->sequence = ++sequence_;
    tasks_[task_count_++] = task;
    lease_over_ = false;
    now_ = boot_now_ns();
}

void Helper::start_with_init(Task& task, SandboxPlan& plan, const Spawn& spawn, char* const* paths) {
    const Sandbox& wish = spawn.sandbox;
    plan.directory = plan.child.directory;
    plan.directory_path = paths[0];
    plan.read_only = paths + 1;
    plan.hidden = paths + 1 + wish.read_only_count + wish.writable_count;
    plan.secret_names = plan.hidden + wish.hidden_count;
    task.has_init = true;
    task.started = false;
    const InitResult init = sandboxes_.start(task.slot, plan, task.layers, oom_score_adj_);
    if (init.step != Step::kNone) {
        task.failed = true;
        return fail(task.id, init.step, init.error);
    }
    task.pid = init.pid;
    task.pidfd = init.pidfd;
    task.control = init.control;
}

void Helper::start_plain(Task& task, ChildPlan& plan, const Spawn& spawn, char* const* paths) {
    const Sandbox& wish = spawn.sandbox;
    const auto refuse = [&](Step step, int error) {
        task.failed = true;
        fail(task.id, step, error);
    };
    if (!sandboxes_.confine(plan, task.layers, paths + 1, wish.read_only_count, paths + 1 + wish.read_only_count,
                            wish.writable_count))
        return refuse(Step::kLandlock, errno);
    if ((task.layers & kCgroupLayers) != 0) {
        if (!sandboxes_.cgroups().prepare_slot(task.slot, task.layers, wish)) {
            const int error = errno;
            if (plan.landlock >= 0) close(plan.landlock);
            return refuse(Step::kCgroup, error);
        }
        plan.cgroups = &sandboxes_.cgroups();
        plan.slot = task.slot;
        plan.cgroup_layers = task.layers & kCgroupLayers;
    }
    const ChildResult child = start_child(plan);
    if (plan.landlock >= 0) close(plan.landlock);
    if (child.step != Step::kNone) return refuse(child.step, child.error);
    task.pid = child.pid;
    // A task dies before the worker when memory runs out. Not in the child: until exec it shares our memory, and with
    // it the protection that keeps others (and so itself) from writing there.
    if (oom_score_adj_ != 0) set_oom_score(child.pid, oom_score_adj_);
    tell_started(task, child.pidfd, -1);
}

void Helper::tell_started(Task& task, int pidfd, int folder) {
    task.started = true;
    auto started = message<Started>(Type::kStarted, task.id);
    started.pid = task.pid;
    send_message(started, pidfd, folder);
}

}  // namespace wa::helper
