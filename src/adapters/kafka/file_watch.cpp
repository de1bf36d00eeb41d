#include "adapters/kafka/file_watch.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <utility>

namespace wa::kafka {

FileWatch::FileWatch(boost::asio::io_context& loop, std::vector<std::string> files, Duration every, Duration settle,
                     std::function<bool()> changed)
    : timer_(loop), every_(every), settle_(settle), changed_(std::move(changed)) {
    for (std::string& path : files) {
        if (!path.empty()) files_.push_back(File{std::move(path)});
    }
    if (files_.empty()) return;
    in_use_ = seen_ = digests();
    wait(every_);
}

FileWatch::~FileWatch() {
    timer_.cancel();
}

void FileWatch::wait(Duration how_long) {
    timer_.expires_after(how_long);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) look();
    });
}

void FileWatch::look() {
    const std::vector<std::size_t> now = digests();
    const bool settled = std::exchange(seen_, now) == now;
    if (now == in_use_) return wait(every_);
    if (!settled) return wait(settle_);
    if (changed_()) in_use_ = now;
    wait(every_);
}

std::vector<std::size_t> FileWatch::digests() {
    std::vector<std::size_t> all;
    for (File& file : files_) {
        read(file);
        all.push_back(file.digest);
    }
    return all;
}

void FileWatch::read(File& file) {
    struct stat facts{};
    if (::stat(file.path.c_str(), &facts) != 0) {
        file = File{std::move(file.path)};
        return;
    }
    constexpr std::int64_t kNanos = 1'000'000'000;
    const std::int64_t modified = static_cast<std::int64_t>(facts.st_mtim.tv_sec) * kNanos + facts.st_mtim.tv_nsec;
    if (modified == file.modified_ns && facts.st_size == file.size && facts.st_ino == file.inode) return;
    std::string content(static_cast<std::size_t>(std::min<std::int64_t>(facts.st_size, kMaxBytes)), '\0');
    std::ifstream in(file.path, std::ios::binary);
    if (!in.read(content.data(), static_cast<std::streamsize>(content.size()))) {
        file = File{std::move(file.path)};
        return;
    }
    file.modified_ns = modified;
    file.size = facts.st_size;
    file.inode = facts.st_ino;
    file.digest = std::hash<std::string_view>{}(content) | 1U;
}

}  // namespace wa::kafka
