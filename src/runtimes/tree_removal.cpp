#include "runtimes/tree_removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <vector>

#include "process/fd.h"

namespace wa {
namespace {

// Deeper folders are first moved up, so that the number of open descriptors stays bounded.
constexpr std::size_t kMaxOpenDepth = 32;

class Remover {
public:
    Remover(int parent, const RemovalLimits& limits)
        : parent_(parent), limits_(limits), end_(std::chrono::steady_clock::now() + limits.time) {}

    Removal run(const std::string& name) {
        struct stat facts{};
        if (::fstat(parent_, &facts) != 0) return fail(name, errno);
        device_ = facts.st_dev;
        top_ = name;
        remove(parent_, name, 0);
        // Folders that were moved up while the others were removed.
        while (!moved_.empty() && !stopped_) {
            const std::string next = std::move(moved_.back());
            moved_.pop_back();
            remove(parent_, next, 0);
        }
        if (!moved_.empty()) result_.complete = false;
        return std::move(result_);
    }

private:
    Removal fail(const std::string& name, int error) {
        note(name, std::strerror(error));
        return std::move(result_);
    }

    void note(const std::string& name, const std::string& why) {
        result_.complete = false;
        if (result_.problem.empty()) result_.problem = name + ": " + why;
    }

    bool over() {
        if (stopped_) return true;
        if (result_.removed >= limits_.entries) {
            stopped_ = true;
            note("too many entries", "stopped after " + std::to_string(result_.removed));
        } else if (limits_.cancelled != nullptr && limits_.cancelled->load(std::memory_order_relaxed)) {
            stopped_ = true;
            note("cancelled", "stopped after " + std::to_string(result_.removed) + " entries");
        } else if ((++steps_ & 63U) == 0 && std::chrono::steady_clock::now() >= end_) {
            stopped_ = true;
            note("too slow", "stopped after " + std::to_string(result_.removed) + " entries");
        }
        return stopped_;
    }

    void remove(int folder, const std::string& name, std::size_t depth) {
        if (over()) return;
        if (::unlinkat(folder, name.c_str(), 0) == 0) {
            ++result_.removed;
            return;
        }
        if (errno == ENOENT) return;
        if (errno != EISDIR && errno != EPERM) return note(name, std::strerror(errno));
        const int why = errno;
        if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0) {
            ++result_.removed;
            return;
        }
        if (errno == ENOTDIR) return note(name, std::strerror(why));
        if (errno != ENOTEMPTY && errno != EEXIST && errno != EACCES && errno != EPERM)
            return note(name, std::strerror(errno));
        if (depth >= kMaxOpenDepth && move_up(folder, name)) return;
        if (depth >= 2 * kMaxOpenDepth) return note(name, "nested too deeply");
        empty(folder, name, depth);
        if (stopped_) return;
        if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0) {
            ++result_.removed;
        } else if (errno != ENOENT) {
            note(name, std::strerror(errno));
        }
    }

    bool move_up(int folder, const std::string& name) {
        std::string upper = top_ + ".moved-" + std::to_string(++moves_);
        if (::renameat(folder, name.c_str(), parent_, upper.c_str()) != 0) return false;
        moved_.push_back(std::move(upper));
        return true;
    }

    void empty(int folder, const std::string& name, std::size_t depth) {
        Fd inside = open_folder(folder, name);
        if (!inside) return note(name, std::strerror(errno));
        struct stat facts{};
        if (::fstat(inside.get(), &facts) != 0) return note(name, std::strerror(errno));
        if (facts.st_dev != device_) return note(name, "another file system is mounted there");
        // Read in rounds: removing while reading may skip entries.
        for (bool again = true; again && !stopped_;) {
            const std::vector<std::string> names = list(inside.get());
            const std::uint64_t before = result_.removed + moves_;
            for (const std::string& entry : names) {
                remove(inside.get(), entry, depth + 1);
                if (stopped_) return;
            }
            again = !names.empty() && result_.removed + moves_ > before;
        }
    }

    // A task may take away its own right to look into a folder; it is ours all the same.
    static Fd open_folder(int folder, const std::string& name) {
        constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        ::fchmodat(folder, name.c_str(), 0700, AT_SYMLINK_NOFOLLOW);
        Fd fd(::openat(folder, name.c_str(), kFlags));
        if (fd || errno != EACCES) {
            if (fd) ::fchmod(fd.get(), 0700);
            return fd;
        }
        // Older kernels cannot change the mode without following links: make sure first that it is a folder.
        const Fd path(::openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!path) return {};
        ::chmod(("/proc/self/fd/" + std::to_string(path.get())).c_str(), 0700);
        return Fd(::openat(folder, name.c_str(), kFlags));
    }

    static std::vector<std::string> list(int folder) {
        constexpr std::size_t kAtOnce = 4096;
        std::vector<std::string> names;
        const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR* dir = copy < 0 ? nullptr : ::fdopendir(copy);
        if (dir == nullptr) {
            if (copy >= 0) ::close(copy);
            return names;
        }
        while (names.size() < kAtOnce) {
            const dirent* entry = ::readdir(dir);
            if (entry == nullptr) break;
            const std::string_view name = entry->d_name;
            if (name != "." && name != "..") names.emplace_back(name);
        }
        ::closedir(dir);
        return names;
    }

    int parent_;
    RemovalLimits limits_;
    std::chrono::steady_clock::time_point end_;
    dev_t device_ = 0;
    std::string top_;
    Removal result_;
    std::vector<std::string> moved_;
    std::uint64_t moves_ = 0;
    std::uint64_t steps_ = 0;
    bool stopped_ = false;
};

}  // namespace

Removal remove_tree(int parent, const std::string& name, const RemovalLimits& limits) {
    return Remover(parent, limits).run(name);
}

}  // namespace wa
