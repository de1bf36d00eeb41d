#include "runtimes/ticket_notes.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "process/fd.h"
#include "runtimes/work_keeper.h"

namespace wa {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = ".new";

bool write_through(const std::string& path, std::string_view text) {
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return false;
    while (!text.empty()) {
        const ssize_t written = ::write(file.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return ::fsync(file.get()) == 0;
}

bool sync_folder(const std::string& folder) {
    const Fd place(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return place.get() >= 0 && ::fsync(place.get()) == 0;
}

}  // namespace

Result<void> TicketNotes::prepare() {
    if (folder_.empty()) return {};
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error)
        return fail(ErrorCode::kUnavailable, "notes", "the folder " + folder_ + " cannot be made: " + error.message());
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
        if (notes_.size() == kMost) break;
        const std::string name = entry.path().filename().string();
        if (name.ends_with(kUnfinished)) {
            std::error_code ignored;
            fs::remove(entry.path(), ignored);
            continue;
        }
        std::ifstream file(entry.path(), std::ios::binary);
        std::string text{std::istreambuf_iterator<char>(file), {}};
        if (text.size() <= kMaxBytes) notes_.insert_or_assign(name, std::move(text));
    }
    return {};
}

Result<void> TicketNotes::write(std::string_view ticket_id, std::string_view text) {
    const std::string name = hash_of(ticket_id);
    if (text.size() > kMaxBytes || (notes_.size() >= kMost && !notes_.contains(name)))
        return fail(ErrorCode::kLimitExceeded, "notes",
                    "there are too many notes about tickets, or this one is too long");
    if (!folder_.empty()) {
        const std::string path = folder_ + "/" + name;
        const std::string fresh = path + std::string(kUnfinished);
        std::error_code error;
        if (write_through(fresh, text)) {
            fs::rename(fresh, path, error);
            if (!error && sync_folder(folder_)) {
                notes_.insert_or_assign(name, std::string(text));
                return {};
            }
        }
        fs::remove(fresh, error);
        return fail(ErrorCode::kDiskFull, "notes", "a note about the ticket cannot be written in " + folder_);
    }
    notes_.insert_or_assign(name, std::string(text));
    return {};
}

std::optional<std::string> TicketNotes::read(std::string_view ticket_id) const {
    if (notes_.empty()) return std::nullopt;
    const auto found = notes_.find(hash_of(ticket_id));
    if (found == notes_.end()) return std::nullopt;
    return found->second;
}

bool TicketNotes::has(std::string_view ticket_id) const {
    return read(ticket_id).has_value();
}

void TicketNotes::forget(std::string_view ticket_id) {
    if (notes_.empty()) return;
    const std::string name = hash_of(ticket_id);
    if (notes_.erase(name) == 0 || folder_.empty()) return;
    std::error_code ignored;  // one that stays is looked at again at the next start
    fs::remove(folder_ + "/" + name, ignored);
}

void TicketNotes::forget_if(const std::function<bool(const std::string&)>& over) {
    std::erase_if(notes_, [&](const auto& note) {
        if (!over(note.second)) return false;
        std::error_code ignored;
        if (!folder_.empty()) fs::remove(folder_ + "/" + note.first, ignored);
        return true;
    });
}

}  // namespace wa
