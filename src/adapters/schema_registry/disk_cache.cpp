#include "adapters/schema_registry/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "adapters/schema_registry/answers.h"
#include "base/random.h"

namespace wa::schema_registry {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".schema.json";

Failure disk_error(const std::string& what, const std::string& why) {
    return tl::unexpected(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "schema_registry",
                                     "cannot " + what + ": " + why));
}

std::optional<std::string> read_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return std::nullopt;
    std::string text;
    char bytes[16'384];
    ssize_t got = 0;
    while (text.size() <= kMaxAnswerBytes && (got = ::read(fd, bytes, sizeof bytes)) > 0)
        text.append(bytes, static_cast<std::size_t>(got));
    ::close(fd);
    if (got < 0) return std::nullopt;
    return text;
}

}  // namespace

DiskCache::DiskCache(std::string folder, std::string registry, std::size_t max_files)
    : folder_(std::move(folder)),
      registry_(std::move(registry)),
      prefix_(uuid5(registry_) + "."),
      max_files_(max_files) {}

std::string DiskCache::path_of(SchemaId id) const {
    return folder_ + "/" + prefix_ + std::to_string(id) + std::string(kSuffix);
}

Result<void> DiskCache::read_all(const std::function<void(SchemaId, std::string)>& found) {
    if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
        return disk_error("create the folder '" + folder_ + "'", std::strerror(errno));
    std::error_code error;
    auto entry = fs::directory_iterator(folder_, error);
    for (; !error && entry != fs::directory_iterator() && files_ < max_files_; entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (!name.starts_with(prefix_) || !name.ends_with(kSuffix)) continue;
        SchemaId id = 0;
        const char* const first = name.data() + prefix_.size();
        const char* const last = name.data() + name.size() - kSuffix.size();
        const auto [end, failure] = std::from_chars(first, last, id);
        if (failure != std::errc() || end != last) continue;
        const auto text = read_file(entry->path().string());
        auto schema = text ? parse_file(registry_, id, *text) : fail(ErrorCode::kCorrupt, "schema_registry", "unread");
        if (!schema) {
            static_cast<void>(::unlink(entry->path().c_str()));
            continue;
        }
        ++files_;
        found(id, *std::move(schema));
    }
    if (error) return disk_error("read the folder '" + folder_ + "'", error.message());
    return {};
}

// Not synced: a file that a crash cut short is noticed when it is read.
Result<void> DiskCache::put(SchemaId id, std::string_view schema) {
    if (files_ >= max_files_) return {};
    const std::string path = path_of(id);
    const bool replaces = ::access(path.c_str(), F_OK) == 0;
    const std::string temporary = path + ".new";
    static_cast<void>(::unlink(temporary.c_str()));
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return disk_error("create '" + temporary + "'", std::strerror(errno));
    const std::string text = file_text(registry_, id, schema);
    std::string_view rest = text;
    while (!rest.empty()) {
        const ssize_t done = ::write(fd, rest.data(), rest.size());
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) break;
        rest.remove_prefix(static_cast<std::size_t>(done));
    }
    const int why = errno;
    ::close(fd);
    if (!rest.empty() || ::rename(temporary.c_str(), path.c_str()) != 0) {
        const std::string text_of_error = std::strerror(rest.empty() ? errno : why);
        static_cast<void>(::unlink(temporary.c_str()));
        return disk_error("write '" + path + "'", text_of_error);
    }
    if (!replaces) ++files_;
    return {};
}

}  // namespace wa::schema_registry
