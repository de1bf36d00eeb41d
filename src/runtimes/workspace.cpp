#include "runtimes/workspace.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

namespace asio = boost::asio;

constexpr Duration kLastRemoval = std::chrono::seconds(3);
constexpr int kOpenFolder = O_PATH | O_DIRECTORY | O_CLOEXEC;

Failure worker_failure(const std::string& what, int error) {
    const bool full = error == ENOSPC || error == EDQUOT;
    return Failure(make_error(full ? ErrorCode::kDiskFull : ErrorCode::kUnavailable, Retry::kAfterBackoff,
                              Fault::kWorker, "local", what + ": " + std::strerror(error)));
}

Failure ticket_failure(ErrorCode code, std::string message) {
    Error error = make_error(code, Retry::kNever, Fault::kInput, "local", std::move(message));
    error.field = "parameters.working_dir";
    return Failure(std::move(error));
}

// Where an open folder really is.
std::string real_path(const Fd& folder) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t length =
        ::readlink(("/proc/self/fd/" + std::to_string(folder.get())).c_str(), buffer.data(), buffer.size());
    return length <= 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(length));
}

bool is_inside(std::string_view path, std::string_view folder) {
    if (folder == "/") return path.starts_with('/');
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// Whether an open folder is, links followed, in the other one.
bool lies_in(const Fd& folder, const std::string& other) {
    const Fd open_other(::open(other.c_str(), kOpenFolder));
    return open_other && is_inside(real_path(folder), real_path(open_other));
}

// "/a//b/./c/" -> ["a", "b", "c"]; nothing when there is a "..".
std::optional<std::vector<std::string>> components(std::string_view path) {
    std::vector<std::string> parts;
    while (!path.empty()) {
        const std::string_view part = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), part.size() + 1));
        if (part == "..") return std::nullopt;
        if (!part.empty() && part != ".") parts.emplace_back(part);
    }
    return parts;
}

// mkdir -p, for us alone; links on the way are followed, as an operator's path may have them.
Result<Fd> make_root(const std::string& path) {
    for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
        ::mkdir(path.substr(0, at).c_str(), 0700);
    }
    ::mkdir(path.c_str(), 0700);
    Fd folder(::open(path.c_str(), kOpenFolder));
    if (!folder) return worker_failure("cannot make the folder " + path, errno);
    return folder;
}

// A root in /tmp may have been made by somebody else beforehand: what is in it could not be trusted.
Result<void> check_owner(const Fd& folder, const std::string& path) {
    struct stat facts{};
    if (::fstat(folder.get(), &facts) != 0) return worker_failure("cannot look at " + path, errno);
    if (facts.st_uid == ::geteuid()) return {};
    return fail(ErrorCode::kUnavailable, "local",
                "the folder " + path + " belongs to another user (" + std::to_string(facts.st_uid) + ")");
}

}  // namespace

// The thread that removes what would keep the loop too long.
class Workspace::Cleaner {
public:
    explicit Cleaner(asio::io_context& loop) : loop_(loop), thread_([this] { run(); }) {}
    ~Cleaner() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        cancelled_ = true;
        work_.notify_all();
        thread_.join();
    }
    Cleaner(const Cleaner&) = delete;
    Cleaner& operator=(const Cleaner&) = delete;

    void add(int parent, std::string name, RemovalLimits limits, Removed removed) {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(Job{Fd(::fcntl(parent, F_DUPFD_CLOEXEC, 3)), std::move(name), limits, std::move(removed)});
        work_.notify_one();
    }

    void add(Fd workspace) {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(Job{std::move(workspace), {}, {}, nullptr});
        work_.notify_one();
    }

private:
    struct Job {
        Fd parent;  // without a name: it is only closed
        std::string name;
        RemovalLimits limits;
        Removed removed;
    };

    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            Job job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            if (job.name.empty()) {
                job.parent.reset();
                lock.lock();
                continue;
            }
            job.limits.cancelled = &cancelled_;
            Removal result = remove_tree(job.parent.get(), job.name, job.limits);
            if (job.removed) {
                asio::post(loop_, [removed = std::move(job.removed), result = std::move(result)] { removed(result); });
            }
            lock.lock();
        }
    }

    asio::io_context& loop_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    std::atomic<bool> cancelled_{false};
    std::thread thread_;  // last: it uses all of the above
};

Workspace::Workspace(asio::io_context& loop, WorkspaceOptions options)
    : loop_(loop), options_(std::move(options)), cleaner_(std::make_unique<Cleaner>(loop)) {}

Workspace::~Workspace() {
    cleaner_.reset();
    // Whatever is left of this run's private folders goes with it; what takes too long is left to the next start.
    if (private_root_ && !instance_path_.empty()) {
        const std::string name = instance_path_.substr(instance_path_.rfind('/') + 1);
        instance_.reset();
        RemovalLimits limits = options_.removal;
        limits.time = std::min(limits.time, kLastRemoval);
        [[maybe_unused]] const Removal last = remove_tree(private_root_.get(), name, limits);
    }
}

Result<void> Workspace::prepare(Random& random) {
    if (options_.private_root.empty())
        return fail(ErrorCode::kInvalidArgument, "local", "no folder for private folders is set");
    WA_TRY(const Fd root, make_root(options_.root));
    WA_CHECKED(check_owner(root, options_.root));
    WA_TRY(private_root_, make_root(options_.private_root));
    WA_CHECKED(check_owner(private_root_, options_.private_root));
    private_real_ = real_path(private_root_);
    // Leftovers of earlier runs. Our own folder is made after this list, so it is not on it.
    if (DIR* dir = ::opendir(options_.private_root.c_str()); dir != nullptr) {
        while (const dirent* entry = ::readdir(dir)) {
            const std::string name = entry->d_name;
            if (name != "." && name != "..") cleaner_->add(private_root_.get(), name, options_.removal, nullptr);
        }
        ::closedir(dir);
    }
    std::string name = uuid4(random).substr(0, 13);
    if (::mkdirat(private_root_.get(), name.c_str(), 0700) != 0) {
        return worker_failure("cannot make a folder in " + options_.private_root, errno);
    }
    instance_ = Fd(::openat(private_root_.get(), name.c_str(), kOpenFolder | O_NOFOLLOW));
    if (!instance_) return worker_failure("cannot open a folder in " + options_.private_root, errno);
    instance_path_ = options_.private_root + "/" + name;
    return {};
}

Result<AttemptFolders> Workspace::make_private() {
    AttemptFolders folders;
    folders.name = std::to_string(++counter_);
    const auto failed = [&] {
        const int error = errno;
        [[maybe_unused]] const Removal undone = remove_tree(instance_.get(), folders.name, options_.removal);
        return worker_failure("cannot make the attempt's folder", error);
    };
    if (::mkdirat(instance_.get(), folders.name.c_str(), 0700) != 0) return failed();
    for (const char* part : {"/home", "/tmp", "/work"}) {
        if (::mkdirat(instance_.get(), (folders.name + part).c_str(), 0700) != 0) return failed();
    }
    folders.work = Fd(::openat(instance_.get(), (folders.name + "/work").c_str(), kOpenFolder | O_NOFOLLOW));
    if (!folders.work) return failed();
    const std::string base = instance_path_ + "/" + folders.name;
    folders.home = base + "/home";
    folders.tmp = base + "/tmp";
    folders.secrets = base + "/secrets";
    return folders;
}

Result<std::string> Workspace::write_secret(const AttemptFolders& folders, const std::string& name,
                                            const std::string& value) {
    const std::string folder = folders.name + "/secrets";
    if (::mkdirat(instance_.get(), folder.c_str(), 0700) != 0 && errno != EEXIST)
        return worker_failure("cannot make the folder of a secret", errno);
    const Fd file(::openat(instance_.get(), (folder + "/" + name).c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400));
    if (!file) return worker_failure("cannot make the file of a secret", errno);
    for (std::size_t at = 0; at < value.size();) {
        const ssize_t written = ::write(file.get(), value.data() + at, value.size() - at);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return worker_failure("cannot write the file of a secret", errno);
        at += static_cast<std::size_t>(written);
    }
    return folders.secrets + "/" + name;
}

void Workspace::remove_private(const std::string& name, Removed removed) {
    // The usual case: nothing was left in them.
    bool all_gone = true;
    for (const char* part : {"/home", "/tmp", "/work", ""}) {  // with secrets it is not the usual case
        all_gone = ::unlinkat(instance_.get(), (name + part).c_str(), AT_REMOVEDIR) == 0 && all_gone;
    }
    if (all_gone) {
        asio::post(loop_, [removed = std::move(removed)] { removed(Removal{true, 4, {}}); });
        return;
    }
    cleaner_->add(instance_.get(), name, options_.removal, std::move(removed));
}

bool Workspace::inside_allowed(const std::string& real) const {
    if (real.empty() || (!private_real_.empty() && is_inside(real, private_real_))) return false;
    const auto contains = [&](const std::string& folder) {
        const Fd open_folder(::open(folder.c_str(), kOpenFolder));
        return open_folder && is_inside(real, real_path(open_folder));
    };
    if (contains(options_.root)) return true;
    return !(!options_.forbidden.empty() && contains(options_.forbidden)) &&
           std::any_of(options_.allowed.begin(), options_.allowed.end(), contains);
}

Result<SharedFolder> Workspace::open_shared(const std::string& path, const std::string& inside) {
    if (path.size() >= PATH_MAX || path.find('\0') != std::string::npos) {
        return ticket_failure(ErrorCode::kInvalidArgument, "working_dir is no usable path");
    }
    const std::string absolute = path.starts_with('/') ? path : (inside.empty() ? options_.root : inside) + "/" + path;
    if (!components(absolute)) {
        return ticket_failure(ErrorCode::kNotAllowed, "working_dir '" + clip(path, 200) + "' may not contain '..'");
    }
    Fd folder(::open(absolute.c_str(), kOpenFolder));
    if (!folder && errno == ENOENT) {
        WA_TRY(folder, make_missing(absolute));
    } else if (!folder) {
        return ticket_failure(ErrorCode::kInvalidArgument,
                              "cannot use the working_dir '" + clip(path, 200) + "': " + std::strerror(errno));
    }
    if (!inside_allowed(real_path(folder))) {
        Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "local",
                                 "working_dir '" + clip(path, 200) + "' does not lie in an allowed folder");
        error.field = "parameters.working_dir";
        error.fix = "use a folder in LOCAL_RUNTIME_WORKING_DIR, or add it to LOCAL_RUNTIME_ALLOWED_DIRS";
        return Failure(std::move(error));
    }
    if (!inside.empty() && !lies_in(folder, inside)) {
        return ticket_failure(ErrorCode::kNotAllowed,
                              "working_dir '" + clip(path, 200) + "' does not lie in " + clip(inside, 200));
    }
    std::string real = real_path(folder);
    return SharedFolder{std::move(folder), std::move(real)};
}

void Workspace::release(Fd workspace) {
    cleaner_->add(std::move(workspace));
}

// Makes the missing end of a path, beginning at its deepest folder that exists, which must be allowed already.
Result<Fd> Workspace::make_missing(const std::string& path) {
    for (const std::string& folder : options_.allowed) {
        // An allowed folder itself is made with the first ticket that needs it.
        if (is_inside(path, folder)) [[maybe_unused]]
            const auto made = make_root(folder);
    }
    const std::vector<std::string> parts = components(path).value_or(std::vector<std::string>{});
    std::size_t missing = parts.size();
    Fd folder;
    while (!folder) {
        std::string prefix = "/";
        for (std::size_t index = 0; index < missing; ++index)
            prefix += parts[index] + "/";
        folder = Fd(::open(prefix.c_str(), kOpenFolder));
        if (folder) break;
        if (missing == 0) return worker_failure("cannot open /", errno);
        --missing;
    }
    if (!inside_allowed(real_path(folder))) {
        return ticket_failure(ErrorCode::kNotAllowed,
                              "working_dir '" + clip(path, 200) + "' does not lie in an allowed folder");
    }
    for (; missing < parts.size(); ++missing) {
        const char* name = parts[missing].c_str();
        if (::mkdirat(folder.get(), name, 0700) != 0 && errno != EEXIST) {
            if (errno == ENOSPC || errno == EDQUOT) return worker_failure("cannot make the working_dir", errno);
            return ticket_failure(ErrorCode::kInvalidArgument,
                                  "cannot make the working_dir '" + clip(path, 200) + "': " + std::strerror(errno));
        }
        // A link here was put in our way (or leads nowhere): it is not followed.
        Fd next(::openat(folder.get(), name, kOpenFolder | O_NOFOLLOW));
        if (!next) {
            return ticket_failure(ErrorCode::kNotAllowed,
                                  "working_dir '" + clip(path, 200) + "' cannot be used: " + std::strerror(errno));
        }
        folder = std::move(next);
    }
    return folder;
}

}  // namespace wa
