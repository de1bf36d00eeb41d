// SQLite behind values: the only header of the project that includes sqlite3.h. Private to this folder.
//
// A Db is one connection and belongs to one thread at a time. Errors carry what SQLite and the system said; a full disk
// is told apart from other trouble by errno, because SQLite reports some of it as plain I/O errors.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/error.h"

namespace wa::sqlite {

class Statement {
public:
    Statement() = default;
    Statement(sqlite3* db, sqlite3_stmt* handle) : db_(db), handle_(handle) {}

    // Text and blobs are not copied: they must live until reset().
    Statement& bind(int index, std::int64_t value);
    Statement& bind_text(int index, std::string_view value);
    Statement& bind_blob(int index, std::string_view value);
    Statement& bind_null(int index);

    // True: a row is there. False: done.
    [[nodiscard]] Result<bool> step();
    // For statements without rows; resets.
    [[nodiscard]] Result<void> run();
    void reset();

    [[nodiscard]] std::int64_t int64(int column) const { return sqlite3_column_int64(handle_.get(), column); }
    // Valid until the next step or reset.
    [[nodiscard]] std::string_view text(int column) const;
    [[nodiscard]] std::string_view blob(int column) const;
    [[nodiscard]] bool is_null(int column) const { return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL; }

private:
    struct Finalize {
        void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
    };
    sqlite3* db_ = nullptr;
    std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

// Resets a statement when the scope ends, so that no read transaction stays open behind it.
class Use {
public:
    explicit Use(Statement& statement) : statement_(statement) {}
    ~Use() { statement_.reset(); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    Statement* operator->() { return &statement_; }
    Statement& operator*() { return statement_; }

private:
    Statement& statement_;
};

class Db {
public:
    Db() = default;
    static Result<Db> open(const std::filesystem::path& path, int flags);

    [[nodiscard]] Result<void> exec(const char* sql);
    [[nodiscard]] Result<Statement> prepare(std::string_view sql);
    // Prepared once per connection; `sql` must be a literal (its address is the key).
    [[nodiscard]] Result<Statement*> cached(const char* sql);
    [[nodiscard]] Result<std::int64_t> scalar(const char* sql);
    [[nodiscard]] sqlite3* raw() const { return handle_.get(); }
    [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }
    [[nodiscard]] int changes() const { return sqlite3_changes(handle_.get()); }
    // Finalizes everything and closes; the destructor does the same.
    void close();

private:
    struct Close {
        void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
    };
    std::unique_ptr<sqlite3, Close> handle_;
    std::unordered_map<const char*, std::unique_ptr<Statement>> statements_;  // destroyed before handle_
};

// What the last failed call on `db` means.
[[nodiscard]] Error last_error(sqlite3* db, std::string_view what);
[[nodiscard]] Error error_of(int extended_code, int system_errno, std::string_view detail, std::string_view what);
// Full disk, quota, file size limit or read-only: the write may work later, and nothing is wrong with the data.
[[nodiscard]] inline bool is_space(const Error& error) {
    return error.code == ErrorCode::kDiskFull;
}

}  // namespace wa::sqlite
