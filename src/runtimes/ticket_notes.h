// Short notes about tickets that outlive this process, one small file each: what was begun elsewhere, and under which
// name it is found again. Written through to the disk: what was begun elsewhere outlives this machine too.
//
// Threading: loop. A note takes one write that waits for the disk; meant for work of minutes. Bound: kMost notes, of
// kMaxBytes each.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wa {

class TicketNotes {
public:
    static constexpr std::size_t kMost = 100'000;
    static constexpr std::size_t kMaxBytes = 4096;

    // `folder` empty: notes are kept in memory only.
    explicit TicketNotes(std::string folder) : folder_(std::move(folder)) {}

    // Makes the folder, and reads what processes before have left. Once. Errors: kUnavailable.
    Result<void> prepare();
    // In place of the one before. Errors: kDiskFull, kLimitExceeded; then the one before still stands.
    Result<void> write(std::string_view ticket_id, std::string_view text);
    [[nodiscard]] std::optional<std::string> read(std::string_view ticket_id) const;
    [[nodiscard]] bool has(std::string_view ticket_id) const;
    void forget(std::string_view ticket_id);
    // Those for whose text `over` says so.
    void forget_if(const std::function<bool(const std::string&)>& over);

private:
    std::string folder_;
    std::map<std::string, std::string, std::less<>> notes_;  // by the ticket id's hash, which is the file's name
};

}  // namespace wa
