// Looks at the files before SQLite does, because SQLite repairs silently: it cuts a damaged log where the damage
// begins, and it adopts a log that is left over beside a new file. Nothing here writes. Private to this folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/error.h"

namespace wa::store {

// Held for as long as a store is open; released by the kernel when the process dies.
class FileLock {
public:
    static Result<FileLock> take(const std::filesystem::path& path);
    FileLock(FileLock&& other) noexcept;
    FileLock& operator=(FileLock&& other) noexcept;
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;
    ~FileLock();

private:
    explicit FileLock(int fd) : fd_(fd) {}
    int fd_ = -1;
};

enum class FileState : std::uint8_t { kMissing, kOurs };

// kUnsupported: another program's file, or a newer version than `newest`. kCorrupt: not a database, or the log belongs
// to nothing, or holds whole transactions behind a damaged place.
[[nodiscard]] Result<FileState> inspect(const std::filesystem::path& path, std::int32_t newest);
// The log alone. Ok for a missing or empty one and for the torn end that a power cut leaves.
[[nodiscard]] Result<void> inspect_log(const std::filesystem::path& wal);

}  // namespace wa::store
