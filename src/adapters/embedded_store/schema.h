// The file's format: who it belongs to, its version, and the steps between versions. Private to this folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "adapters/embedded_store/sqlite.h"
#include "base/error.h"

namespace wa::store {

// PRAGMA application_id of our files ("WAst"); PRAGMA user_version is the version of the schema.
inline constexpr std::int32_t kApplicationId = 0x57417374;

// `sql` leads from version - 1 to version. A step is never changed once it was released; a new one is added.
struct Migration {
    std::int32_t version = 0;
    const char* sql = nullptr;
};
// Rising versions from 1; the first one makes the schema.
std::span<const Migration> migrations();

// Runs every step above `from` and sets the version, in one transaction.
[[nodiscard]] Result<void> migrate(sqlite::Db& db, std::int32_t from, std::span<const Migration> steps);
// Makes a complete empty file beside `path` and renames it there: a crash leaves either nothing or a whole store.
// `hash_key`: 32 random hexadecimal digits (rows.h, id_key).
[[nodiscard]] Result<void> create_file(const std::filesystem::path& path, std::span<const Migration> steps,
                                       std::string_view hash_key);
// Copies a whole database into `target` under a temporary name and renames it; `mark` makes it a backup (a new epoch
// when it is opened). `stop` is asked between pieces.
struct CopyOptions {
    bool mark = true;
    const std::atomic<bool>* stop = nullptr;
};
[[nodiscard]] Result<std::int64_t> copy_database(sqlite::Db& from, const std::filesystem::path& target,
                                                 const CopyOptions& options);
// fsync of a folder, so that a rename in it is durable.
[[nodiscard]] Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace wa::store
