#include "runtimes/file_search.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::string_view kOrigin = "local";
constexpr std::size_t kMaxOddities = 100;
constexpr std::size_t kPiece = 1024 * 1024;
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

std::vector<std::string> names_of(std::string_view path) {
    std::vector<std::string> names;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), name.size() + 1));
        if (name.empty() || name == ".") continue;
        // Twice the same as once, and walking costs with each of them.
        if (name == "**" && !names.empty() && names.back() == "**") continue;
        names.emplace_back(name);
    }
    return names;
}

bool has_wildcard(std::string_view name) {
    return name.find_first_of("*?") != std::string_view::npos;
}

const char* kind_of(mode_t mode) {
    if (S_ISLNK(mode)) return "a link";
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

Failure failure(ErrorCode code, std::string message) {
    return Failure(make_error(code, Retry::kNever, Fault::kTask, std::string(kOrigin), std::move(message)));
}

}  // namespace

bool name_fits(std::string_view name, std::string_view pattern) {
    if (name.starts_with('.') && !pattern.starts_with('.')) return false;
    return fits_pattern(name, pattern);
}

std::vector<std::string> FileSearch::find(std::string_view text) {
    Pattern pattern{names_of(text), {}};
    if (pattern.names.empty() || std::ranges::find(pattern.names, "..") != pattern.names.end()) return {};
    // What was lent may be a mere handle (O_PATH), which cannot be listed.
    const Fd folder(::openat(folder_, ".", kFolder));
    if (folder) walk(pattern, folder.get(), "", 0, 0);
    std::ranges::sort(pattern.found);
    const auto repeats = std::ranges::unique(pattern.found);
    pattern.found.erase(repeats.begin(), repeats.end());
    return std::move(pattern.found);
}

bool FileSearch::over() {
    if (!stopped_.empty()) return true;
    if (entries_ >= limits_.entries) {
        stopped_ = "stopped after " + std::to_string(limits_.entries) + " entries";
    } else if (files_ >= limits_.files) {
        stopped_ = "stopped after " + std::to_string(limits_.files) + " files";
    } else if (const char* why = (entries_ & 63U) == 0 ? stop_() : nullptr; why != nullptr) {
        stopped_ = why;
    }
    return !stopped_.empty();
}

std::vector<FileSearch::Entry> FileSearch::list(int folder) {
    std::vector<Entry> entries;
    const int own = ::openat(folder, ".", kFolder);
    if (own < 0) return entries;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own), ::closedir);
    if (!stream) {
        ::close(own);
        return entries;
    }
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (over()) break;
        ++entries_;
        entries.push_back({std::string(name), entry->d_type});
    }
    return entries;
}

void FileSearch::walk(Pattern& pattern, int folder, const std::string& prefix, std::size_t index, std::size_t depth) {
    if (over()) return;
    const std::string& name = pattern.names[index];
    const bool last = index + 1 == pattern.names.size();
    if (name == "**") return walk_below(pattern, folder, prefix, index, depth);
    if (!has_wildcard(name)) {
        ++entries_;
        if (last) return take(pattern, folder, prefix, name, true);
        return enter(pattern, folder, prefix, name, index + 1, depth);
    }
    for (const Entry& entry : list(folder)) {
        if (!name_fits(entry.name, name)) continue;
        if (last) {
            take(pattern, folder, prefix, entry.name, false);
        } else if (entry.type == DT_DIR || entry.type == DT_UNKNOWN) {
            enter(pattern, folder, prefix, entry.name, index + 1, depth);
        }
    }
}

// `**`: here, and in every folder below.
void FileSearch::walk_below(Pattern& pattern, int folder, const std::string& prefix, std::size_t index,
                            std::size_t depth) {
    const bool last = index + 1 == pattern.names.size();
    if (!last) walk(pattern, folder, prefix, index + 1, depth);
    for (const Entry& entry : list(folder)) {
        if (entry.name.starts_with('.')) continue;
        if (last) take(pattern, folder, prefix, entry.name, false);
        if (entry.type == DT_DIR || entry.type == DT_UNKNOWN) enter(pattern, folder, prefix, entry.name, index, depth);
    }
}

void FileSearch::enter(Pattern& pattern, int folder, const std::string& prefix, const std::string& name,
                       std::size_t index, std::size_t depth) {
    if (over() || depth >= limits_.depth) return;
    const Fd below(::openat(folder, name.c_str(), kFolder));
    if (below) walk(pattern, below.get(), prefix + name + "/", index, depth + 1);
}

// `named`: the pattern has this very name, so that a folder of it is worth a word.
void FileSearch::take(Pattern& pattern, int folder, const std::string& prefix, const std::string& name, bool named) {
    struct stat facts{};
    if (over() || ::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (S_ISREG(facts.st_mode)) {
        pattern.found.push_back(prefix + name);
        ++files_;
        return;
    }
    if (S_ISDIR(facts.st_mode) && !named) return;
    if (oddities_.size() < kMaxOddities) oddities_.push_back({prefix + name, kind_of(facts.st_mode)});
}

Result<OpenFile> open_below(int folder, std::string_view path) {
    const std::vector<std::string> names = names_of(path);
    if (names.empty() || path.starts_with('/') || std::ranges::find(names, "..") != names.end()) {
        return failure(ErrorCode::kNotAllowed, "the path leaves the working directory");
    }
    const auto failed = [](int error) {
        if (error == ENOENT) return failure(ErrorCode::kNotFound, "there is no such file");
        const bool link = error == ELOOP || error == ENOTDIR;
        return failure(link ? ErrorCode::kNotAllowed : ErrorCode::kUnavailable,
                       link ? "there is a link on the way" : std::strerror(error));
    };
    Fd here(::openat(folder, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (std::size_t index = 0; index + 1 < names.size() && here; ++index)
        here = Fd(::openat(here.get(), names[index].c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!here) return failed(errno);
    struct stat facts{};
    if (::fstatat(here.get(), names.back().c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return failed(errno);
    const auto odd = [&] {
        return failure(ErrorCode::kNotAllowed, std::string("it is ") + kind_of(facts.st_mode) + ", not a regular file");
    };
    if (!S_ISREG(facts.st_mode)) return odd();
    OpenFile opened;
    // Something else may have been put there meanwhile: it is not waited for (a pipe), and looked at again.
    opened.file =
        Fd(::openat(here.get(), names.back().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    if (!opened.file) return failed(errno);
    if (::fstat(opened.file.get(), &facts) != 0) return failed(errno);
    if (!S_ISREG(facts.st_mode)) return odd();
    opened.size = static_cast<std::uint64_t>(facts.st_size);
    opened.modified = EpochMillis{facts.st_mtim.tv_sec} * 1000 + facts.st_mtim.tv_nsec / 1'000'000;
    return opened;
}

Result<std::string> read_whole(const Fd& file, std::uint64_t size, std::uint64_t most,
                               const std::atomic<bool>& cancelled) {
    std::string bytes;
    bytes.reserve(std::min(size, most));
    for (;;) {
        if (cancelled.load(std::memory_order_relaxed)) return failure(ErrorCode::kCancelled, "cancelled");
        const std::size_t before = bytes.size();
        bytes.resize(before + kPiece);
        const ssize_t count = ::read(file.get(), bytes.data() + before, kPiece);
        bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(0, count)));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failure(ErrorCode::kUnavailable, std::string("cannot be read: ") + std::strerror(errno));
        if (count == 0) return bytes;
        if (bytes.size() > most) return failure(ErrorCode::kLimitExceeded, "it grew while it was read");
    }
}

}  // namespace wa
