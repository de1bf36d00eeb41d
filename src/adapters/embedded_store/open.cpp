// From a path to a store that may be used: lock, look, check, migrate, take over. Until the file is accepted nothing in
// it is written.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "adapters/embedded_store/store_impl.h"

namespace wa::store {

namespace {

constexpr int kOpsPerCheck = 50'000;
constexpr std::int64_t kLogPages = 4000;  // before it is moved into the file: 16 MiB

std::filesystem::path with_suffix(const std::filesystem::path& path, const std::string& suffix) {
    std::filesystem::path out = path;
    out += suffix;
    return out;
}

std::string hex_key(Random& random) {
    char buffer[33] = {};
    std::snprintf(buffer, sizeof buffer, "%016llx%016llx", static_cast<unsigned long long>(random.next()),
                  static_cast<unsigned long long>(random.next()));
    return buffer;
}

// A connection that leaves the files as they are: no checkpoint when it closes.
Result<sqlite::Db> open_careful(const std::filesystem::path& path) {
    WA_TRY(sqlite::Db db, sqlite::Db::open(path, SQLITE_OPEN_READWRITE));
    sqlite3_db_config(db.raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    return db;
}

struct CheckTime {
    const Clock* clock;
    MonoTime until;
};

// One of SQLite's own checks, as far as the time allows. True: it went through the whole file.
Result<bool> run_check(sqlite::Db& db, const char* pragma, CheckTime limit) {
    sqlite3_progress_handler(
        db.raw(), kOpsPerCheck,
        [](void* context) {
            const auto& self = *static_cast<CheckTime*>(context);
            return self.clock->now() > self.until ? 1 : 0;
        },
        &limit);
    const auto check = [&]() -> Result<bool> {
        WA_TRY(sqlite::Statement statement, db.prepare(pragma));
        WA_TRY(const bool row, statement.step());
        if (!row || statement.text(0) != "ok") {
            return corrupt("the store is damaged: " +
                           std::string(row ? statement.text(0) : "no answer from the check"));
        }
        return true;
    };
    auto result = check();
    sqlite3_progress_handler(db.raw(), 0, nullptr, nullptr);
    if (!result && result.error().code == ErrorCode::kTimeout) return false;
    return result;
}

// First whether the pages hang together, which is quick; then, with the time that is left, whether indexes and rows
// agree.
Result<bool> check_content(sqlite::Db& db, const Clock& clock, Duration time) {
    const CheckTime limit{&clock, clock.now() + time};
    WA_TRY(const bool whole, run_check(db, "PRAGMA quick_check(1)", limit));
    if (!whole) return false;
    return run_check(db, "PRAGMA integrity_check(1)", limit);
}

// The tables and columns that this version works with. SQLite's check does not know what should be there.
Result<void> check_tables(sqlite::Db& db) {
    constexpr std::array kQuestions{
        "SELECT key,value FROM meta",
        "SELECT seq,id_key,plan,phase,body FROM tickets",
        "SELECT ticket_id FROM odd_ids",
        "SELECT born,head,payload FROM payloads",
        "SELECT id,born,kind,body,result FROM records",
        "SELECT id,plan_id,name,intent_id,actor,created_at,changed_at,open,total,counts FROM plans",
        "SELECT key,born,active,at,first_at,replays,ticket_id,task_type,reason,error_type,error FROM dead_letters",
        "SELECT n,id_key,ticket_id,phase,ended_at FROM tombstones",
        "SELECT phase,type,n FROM counters",
        "SELECT 1 FROM tickets INDEXED BY tickets_by_key WHERE id_key=0",
        "SELECT 1 FROM tickets INDEXED BY tickets_by_plan WHERE plan=0",
        "SELECT 1 FROM tickets INDEXED BY tickets_by_phase WHERE phase=0"};
    for (const char* question : kQuestions) {
        if (auto statement = db.prepare(question); !statement) {
            return corrupt("the store is damaged: " + statement.error().message);
        }
    }
    return {};
}

Error as_damage(Error error) {
    // A schema that cannot be parsed is reported as a plain SQL error.
    if (error.code != ErrorCode::kInternal) return error;
    return corrupt("the store is damaged: " + error.message).value();
}

Result<void> check_version(sqlite::Db& db, std::int32_t newest, std::int64_t& version) {
    WA_TRY(const std::int64_t application, db.scalar("PRAGMA application_id"));
    WA_TRY(version, db.scalar("PRAGMA user_version"));
    if (application == kApplicationId && version >= 1 && version <= newest) return {};
    return fail(ErrorCode::kUnsupported, "store",
                "the store has version " + std::to_string(version) + "; this build reads up to version " +
                    std::to_string(newest));
}

Result<void> back_up_and_migrate(sqlite::Db& db, const StoreOptions& options, std::int32_t from,
                                 std::span<const Migration> steps, OpenReport& report) {
    const auto backup = with_suffix(options.path, ".v" + std::to_string(from) + ".bak");
    if (auto copied = copy_database(db, backup, {true, nullptr}); !copied) {
        return tl::unexpected(std::move(copied).error().in("backup before the migration"));
    }
    WA_CHECKED(migrate(db, from, steps));
    report.migrated_from = from;
    report.migration_backup = backup;
    return {};
}

// Log and pragmas of the write connection.
Result<void> configure(sqlite::Db& db) {
    {
        WA_TRY(sqlite::Statement statement, db.prepare("PRAGMA journal_mode=WAL"));
        WA_TRY([[maybe_unused]] const bool row, statement.step());
        if (statement.text(0) != "wal") {
            return fail(ErrorCode::kUnavailable, "store",
                        "the file system of the state folder cannot hold a write-ahead log");
        }
    }
    WA_CHECKED(
        db.exec("PRAGMA synchronous=FULL; PRAGMA secure_delete=FAST; PRAGMA temp_store=MEMORY;"
                "PRAGMA cache_size=-65536; PRAGMA journal_size_limit=16777216;"));
    return db.exec(("PRAGMA wal_autocheckpoint=" + std::to_string(kLogPages)).c_str());
}

// Epoch, and what the last process left behind; in one transaction.
Result<void> take_over(Book& book, Random& random, OpenReport& report) {
    sqlite::Db& db = book.db();
    WA_TRY(const std::int64_t clean, meta_int(db, "clean"));
    WA_TRY(const std::int64_t backup, meta_int(db, "backup"));
    WA_TRY(report.epoch, meta_text(db, "epoch"));
    report.restored = backup != 0;
    report.unclean = clean == 0 && !report.restored;
    if (report.restored || report.epoch.empty()) report.epoch = uuid4(random);
    WA_CHECKED(book.begin());
    const bool handed_back = clean != 0 && !report.restored;
    const std::string_view reason = report.restored ? "the store was restored from a backup: what ran then is not known"
                                    : handed_back   ? "handed back: the worker was stopped in good order"
                                                    : "the worker stopped in the middle of the attempt";
    WA_TRY(const std::int64_t released,
           release_running(book, handed_back ? RecordKind::kHandedBack : RecordKind::kInterrupted, report.unclean,
                           reason));
    (handed_back ? report.handed_back : report.interrupted) = released;
    WA_CHECKED(set_meta(db, "epoch", report.epoch));
    WA_CHECKED(set_meta(db, "backup", std::int64_t{0}));
    WA_CHECKED(set_meta(db, "clean", std::int64_t{0}));
    return book.commit();
}

// The last connection leaves an empty log behind when it was told not to move it; put things back as they were found.
void remove_traces(const std::filesystem::path& path, bool had_log, bool had_index) {
    std::error_code ignored;
    const auto log = with_suffix(path, "-wal");
    if (!had_log && std::filesystem::file_size(log, ignored) == 0 && !ignored) std::filesystem::remove(log, ignored);
    if (!had_index) std::filesystem::remove(with_suffix(path, "-shm"), ignored);
}

struct Checked {
    sqlite::Db db;
    std::int64_t version = 0;
    bool complete = true;
};
Result<Checked> check_file(const StoreOptions& options, const Clock& clock, std::int32_t newest) {
    Checked out;
    WA_TRY(out.db, open_careful(options.path));
    WA_CHECKED(check_version(out.db, newest, out.version));
    WA_TRY(out.complete, check_content(out.db, clock, options.limits.check_time));
    if (out.version == newest) WA_CHECKED(check_tables(out.db));
    return out;
}

Result<std::unique_ptr<Book>> accept(Checked file, const StoreOptions& options, const Clock& clock, Random& random,
                                     std::span<const Migration> steps, OpenReport& report) {
    report.check_complete = file.complete;
    if (file.version < steps.back().version) {
        WA_CHECKED(back_up_and_migrate(file.db, options, static_cast<std::int32_t>(file.version), steps, report));
        WA_CHECKED(check_tables(file.db));
    }
    WA_TRY(std::unique_ptr<Book> book, Book::open(std::move(file.db), clock));
    WA_CHECKED(configure(book->db()));
    WA_CHECKED(take_over(*book, random, report));
    sqlite3_db_config(book->db().raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0,
                      nullptr);  // accepted: from now on it is ours
    return book;
}

Result<void> check_options(const StoreOptions& options) {
    if (options.path.empty()) return invalid("path", "the store needs a path");
    if (options.limits.read_connections == 0 || options.limits.list_limit == 0) {
        return invalid("limits", "read_connections and list_limit must be at least 1");
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<EmbeddedStore::Impl>> open_store(StoreOptions options, const Clock& clock, Random& random,
                                                        std::span<const Migration> steps) {
    WA_CHECKED(check_options(options));
    WA_TRY(FileLock lock, FileLock::take(with_suffix(options.path, "-lock")));
    const std::int32_t newest = steps.back().version;
    WA_TRY(const FileState state, inspect(options.path, newest));
    OpenReport report;
    if (state == FileState::kMissing) {
        WA_CHECKED(create_file(options.path, steps, hex_key(random)));
        report.created = true;
    }
    std::error_code ignored;
    const bool had_log = std::filesystem::exists(with_suffix(options.path, "-wal"), ignored);
    const bool had_index = std::filesystem::exists(with_suffix(options.path, "-shm"), ignored);
    auto checked = check_file(options, clock, newest);
    if (!checked) {
        remove_traces(options.path, had_log, had_index);
        return tl::unexpected(as_damage(std::move(checked).error()));
    }
    auto book = accept(std::move(*checked), options, clock, random, steps, report);
    if (!book) {
        remove_traces(options.path, had_log, had_index);
        return tl::unexpected(as_damage(std::move(book).error()).in("open " + options.path.string()));
    }

    auto impl = std::make_shared<EmbeddedStore::Impl>(std::move(options), clock, std::move(lock));
    impl->hash_key = (*book)->hash_key();
    impl->report = std::move(report);
    impl->writer = std::make_unique<Writer>(std::move(*book), impl->options, clock);
    impl->reader = std::make_unique<Background>("wa-store-read", 256);
    impl->copier = std::make_unique<Background>("wa-store-copy", 1);
    return impl;
}

}  // namespace wa::store
