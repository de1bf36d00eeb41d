// Notices that files were given new content: certificates and keys, which the Kafka client reads only when a client is
// made. Whoever replaces them may write several files one after the other, so a change is told when everything has been
// the same in two looks.
//
// Threading: the loop, which reads the files: they are small (at most kMaxBytes are read).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace wa::kafka {

class FileWatch {
public:
    static constexpr std::size_t kMaxBytes = 1024 * 1024;

    // Looks every `every`, and after `settle` when something has changed. `changed` gives true when the new content is
    // in use now; else it is asked again at each look until the content is what it was. It must not destroy this.
    FileWatch(boost::asio::io_context& loop, std::vector<std::string> files, Duration every, Duration settle,
              std::function<bool()> changed);
    ~FileWatch();
    FileWatch(const FileWatch&) = delete;
    FileWatch& operator=(const FileWatch&) = delete;

private:
    struct File {
        std::string path;
        // Of the file when it was read: as long as they are the same, so is its content.
        std::int64_t modified_ns = -1;
        std::int64_t size = -1;
        std::uint64_t inode = 0;
        std::size_t digest = 0;  // 0 = it cannot be read
    };
    void wait(Duration how_long);
    void look();
    [[nodiscard]] std::vector<std::size_t> digests();
    static void read(File& file);

    boost::asio::steady_timer timer_;
    std::vector<File> files_;
    Duration every_;
    Duration settle_;
    std::function<bool()> changed_;
    std::vector<std::size_t> in_use_;
    std::vector<std::size_t> seen_;
};

}  // namespace wa::kafka
