#include "adapters/embedded_store/sqlite.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace wa::sqlite {

namespace {

bool no_space(int code, int system_errno) {
    const int primary = code & 0xff;
    if (primary == SQLITE_FULL || primary == SQLITE_READONLY) return true;
    if (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN) return false;
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG || system_errno == EROFS;
}

ErrorCode class_of(int code, int system_errno) {
    if (no_space(code, system_errno)) return ErrorCode::kDiskFull;
    switch (code & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return ErrorCode::kCorrupt;
        case SQLITE_INTERRUPT: return ErrorCode::kTimeout;
        case SQLITE_TOOBIG: return ErrorCode::kLimitExceeded;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_NOMEM:
        case SQLITE_PERM: return ErrorCode::kUnavailable;
        default: return ErrorCode::kInternal;  // misuse, constraint, schema: a defect of ours
    }
}

// A commit that fails loses the system's word on its way up; the files still have it.
int errno_of_files(sqlite3* db) {
    sqlite3_file* file = nullptr;
    int code = 0;
    const bool have_log = sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) == SQLITE_OK &&
                          file != nullptr && file->pMethods != nullptr;
    if (have_log && file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &code) == SQLITE_OK && code != 0) {
        return code;
    }
    code = 0;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &code) != SQLITE_OK) return 0;
    return code;
}

std::string_view fix_for(ErrorCode code) {
    if (code == ErrorCode::kDiskFull) return "free space on the disk of the state folder, or make it writable";
    if (code == ErrorCode::kCorrupt) return "restore a backup of the store, or start with a new state folder";
    return "";
}

}  // namespace

Error error_of(int extended_code, int system_errno, std::string_view detail, std::string_view what) {
    const ErrorCode code = class_of(extended_code, system_errno);
    const bool passing = code == ErrorCode::kDiskFull || code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
    std::string message(what);
    message.append(": ").append(detail);
    if (system_errno != 0 && (code == ErrorCode::kDiskFull || code == ErrorCode::kUnavailable)) {
        char buffer[128] = {};
        message.append(" (").append(strerror_r(system_errno, buffer, sizeof buffer)).append(")");
    }
    Error error = make_error(code, passing ? Retry::kAfterBackoff : Retry::kNever, Fault::kWorker, "store", message);
    error.fix = fix_for(code);
    return error;
}

Error last_error(sqlite3* db, std::string_view what) {
    const int code = sqlite3_extended_errcode(db);
    const int primary = code & 0xff;
    int system = 0;
    if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) system = sqlite3_system_errno(db);
    if (primary == SQLITE_IOERR && system == 0) system = errno_of_files(db);
    return error_of(code, system, sqlite3_errmsg(db), what);
}

// ------------------------------------------------------------------ Statement

Statement& Statement::bind(int index, std::int64_t value) {
    sqlite3_bind_int64(handle_.get(), index, value);
    return *this;
}
Statement& Statement::bind_text(int index, std::string_view value) {
    // An empty view may have a null pointer, which would bind NULL.
    sqlite3_bind_text64(handle_.get(), index, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
    return *this;
}
Statement& Statement::bind_blob(int index, std::string_view value) {
    sqlite3_bind_blob64(handle_.get(), index, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC);
    return *this;
}
Statement& Statement::bind_null(int index) {
    sqlite3_bind_null(handle_.get(), index);
    return *this;
}

Result<bool> Statement::step() {
    const int code = sqlite3_step(handle_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    Error error = last_error(db_, "statement");
    sqlite3_reset(handle_.get());
    return tl::unexpected(std::move(error));
}

Result<void> Statement::run() {
    WA_TRY([[maybe_unused]] const bool row, step());
    sqlite3_reset(handle_.get());
    return {};
}

void Statement::reset() {
    sqlite3_reset(handle_.get());
}

std::string_view Statement::text(int column) const {
    const unsigned char* data = sqlite3_column_text(handle_.get(), column);
    if (data == nullptr) return {};
    const int size = sqlite3_column_bytes(handle_.get(), column);
    return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(size)};
}
std::string_view Statement::blob(int column) const {
    const void* data = sqlite3_column_blob(handle_.get(), column);
    if (data == nullptr) return {};
    const int size = sqlite3_column_bytes(handle_.get(), column);
    return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

// ------------------------------------------------------------------------ Db

Result<Db> Db::open(const std::filesystem::path& path, int flags) {
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
    Db db;
    db.handle_.reset(handle);
    if (handle == nullptr) return fail(ErrorCode::kUnavailable, "store", "SQLite cannot get memory for a connection");
    if (code != SQLITE_OK) return tl::unexpected(last_error(handle, "open " + path.string()));
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, 2000);
    // Stored text is data: nothing in a hostile file may run code or reach other files.
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
    return db;
}

Result<void> Db::exec(const char* sql) {
    if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return tl::unexpected(last_error(handle_.get(), "statement"));
}

Result<Statement> Db::prepare(std::string_view sql) {
    sqlite3_stmt* handle = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
    if (code != SQLITE_OK) return tl::unexpected(last_error(handle_.get(), "prepare"));
    return Statement(handle_.get(), handle);
}

Result<Statement*> Db::cached(const char* sql) {
    auto& slot = statements_[sql];
    if (!slot) {
        auto made = prepare(sql);
        if (!made) {
            statements_.erase(sql);
            return tl::unexpected(std::move(made).error());
        }
        slot = std::make_unique<Statement>(std::move(*made));
    }
    slot->reset();
    return slot.get();
}

Result<std::int64_t> Db::scalar(const char* sql) {
    WA_TRY(Statement statement, prepare(sql));
    WA_TRY(const bool row, statement.step());
    if (!row) return fail(ErrorCode::kCorrupt, "store", "a value is missing from the store");
    return statement.int64(0);
}

void Db::close() {
    statements_.clear();
    handle_.reset();
}

}  // namespace wa::sqlite
