// One small file with the updates that wait for the service, written by a thread of its own: a new file in place of the
// old one, so that a crash leaves either. Threads: write() and wait() from the loop; the listener hears from wait() and
// take_problem() only.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "ports/ticket_service.h"

namespace wa::ticket_service {

class SpillFile {
public:
    explicit SpillFile(std::string path);
    // Writes what was handed over last.
    ~SpillFile();
    SpillFile(const SpillFile&) = delete;
    SpillFile& operator=(const SpillFile&) = delete;

    // What an earlier worker left; empty when there is no file. A damaged one is moved aside to "<path>.damaged".
    [[nodiscard]] Result<std::vector<StatusUpdate>> read() const;
    // Replaces the file soon; an empty list removes it. A later call may overtake this one.
    void write(std::vector<StatusUpdate> updates);
    // Until everything handed over so far is on the disk. Blocks: for the end of the process.
    void wait();
    // Why the last write failed, once.
    [[nodiscard]] std::optional<std::string> take_problem();

private:
    void run();
    [[nodiscard]] std::optional<std::string> put(const std::vector<StatusUpdate>& updates) const;

    std::string path_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<std::vector<StatusUpdate>> next_;
    std::optional<std::string> problem_;
    bool busy_ = false;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace wa::ticket_service
