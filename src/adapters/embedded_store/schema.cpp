#include "adapters/embedded_store/schema.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "adapters/embedded_store/queries.h"

namespace wa::store {

namespace {

constexpr const char* kVersion1 = R"sql(
-- Values that belong to the file as a whole.
CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
-- The mutable part of each ticket. seq is its place in the queue: it changes when the ticket is queued again.
CREATE TABLE tickets(
    seq INTEGER PRIMARY KEY, id_key INTEGER NOT NULL, plan INTEGER NOT NULL, phase INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX tickets_by_key ON tickets(id_key);
CREATE INDEX tickets_by_plan ON tickets(plan);
CREATE INDEX tickets_by_phase ON tickets(phase);
-- Ids that are not in UUID form, for looking them up by their beginning.
CREATE TABLE odd_ids(ticket_id TEXT PRIMARY KEY) WITHOUT ROWID;
-- The immutable part: the ticket as it was submitted.
CREATE TABLE payloads(born INTEGER PRIMARY KEY, head BLOB NOT NULL, payload TEXT NOT NULL);
-- History: one row for each write, in the order of commits.
CREATE TABLE records(id INTEGER PRIMARY KEY, born INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, result TEXT);
CREATE TABLE plans(
    id INTEGER PRIMARY KEY AUTOINCREMENT, plan_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, intent_id TEXT NOT NULL,
    actor TEXT NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, open INTEGER NOT NULL,
    total INTEGER NOT NULL, counts BLOB NOT NULL);
CREATE INDEX plans_done ON plans(changed_at) WHERE open = 0;
CREATE TABLE dead_letters(
    key INTEGER PRIMARY KEY AUTOINCREMENT, born INTEGER NOT NULL UNIQUE, active INTEGER NOT NULL, at INTEGER NOT NULL,
    first_at INTEGER NOT NULL, replays INTEGER NOT NULL, ticket_id TEXT NOT NULL, task_type TEXT NOT NULL,
    reason TEXT NOT NULL, error_type TEXT NOT NULL, error TEXT NOT NULL);
CREATE INDEX dead_letters_active ON dead_letters(active, at);
-- What is left of purged tickets (cluster rule 26).
CREATE TABLE tombstones(
    n INTEGER PRIMARY KEY AUTOINCREMENT, id_key INTEGER NOT NULL, ticket_id TEXT NOT NULL, phase INTEGER NOT NULL,
    ended_at INTEGER NOT NULL);
CREATE INDEX tombstones_by_key ON tombstones(id_key);
-- Tickets by phase and type, kept in step with every write.
CREATE TABLE counters(phase INTEGER, type INTEGER, n INTEGER NOT NULL, PRIMARY KEY(phase, type)) WITHOUT ROWID;
INSERT INTO meta VALUES('next_seq', 1), ('next_record', 1), ('epoch', ''), ('hash_key', ''), ('clean', 1), ('backup', 0);
)sql";

constexpr std::array kMigrations{Migration{1, kVersion1}};

constexpr int kPagesPerStep = 512;

std::filesystem::path with_suffix(const std::filesystem::path& path, std::string_view suffix) {
    std::filesystem::path out = path;
    out += suffix;
    return out;
}

void remove_database(const std::filesystem::path& path) {
    std::error_code ignored;  // what is not there need not be removed; what cannot be is found by the next open
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
        std::filesystem::remove(with_suffix(path, suffix), ignored);
    }
}

Error file_error(int code, std::string_view what) {
    return sqlite::error_of(SQLITE_IOERR, code, std::system_category().message(code), what);
}

Result<void> publish(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::error_code code;
    std::filesystem::rename(from, to, code);
    if (code) return tl::unexpected(file_error(code.value(), "rename to " + to.string()));
    return sync_folder(to.parent_path());
}

Result<void> build(const std::filesystem::path& path, std::span<const Migration> steps, std::string_view hash_key) {
    WA_TRY(sqlite::Db db, sqlite::Db::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    WA_CHECKED(db.exec("PRAGMA page_size=4096; PRAGMA auto_vacuum=NONE; PRAGMA synchronous=FULL;"));
    WA_CHECKED(db.exec(("PRAGMA application_id=" + std::to_string(kApplicationId)).c_str()));
    WA_CHECKED(migrate(db, 0, steps));
    return set_meta(db, "hash_key", hash_key);
}

Result<void> copy_pages(sqlite::Db& from, sqlite::Db& to, const std::atomic<bool>* stop) {
    sqlite3_backup* backup = sqlite3_backup_init(to.raw(), "main", from.raw(), "main");
    if (backup == nullptr) return tl::unexpected(sqlite::last_error(to.raw(), "start of the copy"));
    int code = SQLITE_OK;
    bool stopped = false;
    while (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED) {
        stopped = stop != nullptr && stop->load();
        if (stopped) break;
        code = sqlite3_backup_step(backup, kPagesPerStep);
    }
    sqlite3_backup_finish(backup);
    if (stopped) return fail(ErrorCode::kCancelled, "store", "the copy was stopped because the store is closing");
    if (code != SQLITE_DONE) return tl::unexpected(sqlite::last_error(to.raw(), "copy of the store"));
    return {};
}

// One snapshot for the whole copy: without it every write in between would start the copy again.
Result<void> copy_snapshot(sqlite::Db& from, sqlite::Db& to, const std::atomic<bool>* stop) {
    WA_CHECKED(from.exec("BEGIN"));
    auto read = from.scalar("SELECT count(*) FROM meta");  // BEGIN alone takes no snapshot
    Result<void> copied = read ? copy_pages(from, to, stop) : tl::unexpected(std::move(read).error());
    auto ended = from.exec("COMMIT");
    if (!copied) return copied;
    return ended;
}

}  // namespace

std::span<const Migration> migrations() {
    return kMigrations;
}

Result<void> migrate(sqlite::Db& db, std::int32_t from, std::span<const Migration> steps) {
    WA_CHECKED(db.exec("BEGIN IMMEDIATE"));
    Result<void> done{};
    std::int32_t version = from;
    for (const auto& step : steps) {
        if (!done || step.version <= from) continue;
        done = db.exec(step.sql);
        version = step.version;
    }
    if (done) done = db.exec(("PRAGMA user_version=" + std::to_string(version)).c_str());
    if (done) done = db.exec("COMMIT");
    if (done) return {};
    if (db.in_transaction()) {
        if (auto undone = db.exec("ROLLBACK"); !undone)
            return tl::unexpected(std::move(undone).error().in("roll back"));
    }
    return tl::unexpected(std::move(done).error().in("migration to version " + std::to_string(version)));
}

Result<void> sync_folder(const std::filesystem::path& folder) {
    const std::string name = folder.empty() ? "." : folder.string();
    const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return tl::unexpected(file_error(errno, "open folder " + name));
    const int code = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (code != 0) return tl::unexpected(file_error(code, "sync folder " + name));
    return {};
}

Result<void> create_file(const std::filesystem::path& path, std::span<const Migration> steps,
                         std::string_view hash_key) {
    const auto temporary = with_suffix(path, ".new");
    remove_database(temporary);
    if (auto built = build(temporary, steps, hash_key); !built) {
        remove_database(temporary);
        return tl::unexpected(std::move(built).error().in("create " + path.string()));
    }
    return publish(temporary, path);
}

Result<std::int64_t> copy_database(sqlite::Db& from, const std::filesystem::path& target, const CopyOptions& options) {
    const auto temporary = with_suffix(target, ".part");
    remove_database(temporary);
    const auto copy = [&]() -> Result<std::int64_t> {
        WA_TRY(sqlite::Db to, sqlite::Db::open(temporary, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
        WA_CHECKED(to.exec("PRAGMA synchronous=FULL"));
        WA_CHECKED(copy_snapshot(from, to, options.stop));
        // One file without a log beside it; whoever opens it turns the log on again.
        WA_CHECKED(to.exec("PRAGMA journal_mode=DELETE"));
        if (options.mark) WA_CHECKED(to.exec("UPDATE meta SET value=1 WHERE key='backup'"));
        WA_TRY(const std::int64_t pages, to.scalar("PRAGMA page_count"));
        WA_TRY(const std::int64_t page_size, to.scalar("PRAGMA page_size"));
        return pages * page_size;
    };
    auto bytes = copy();
    if (bytes) {
        if (auto done = publish(temporary, target); !done) bytes = tl::unexpected(std::move(done).error());
    }
    if (!bytes) remove_database(temporary);
    return bytes;
}

}  // namespace wa::store
