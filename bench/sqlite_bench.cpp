// Bare SQLite doing the durable writes that so many tickets need, and nothing else: what the disk allows.
//
//   sqlite_bench DIR TICKETS GROUP [rows]
//
// WAL, synchronous=FULL and the checkpoint size of the embedded store. For each group of tickets one synced transaction
// with their rows and one with their results' rows (with "rows": the first only). Prints tickets a second as JSON.
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/random.h"

namespace {

void must(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "sqlite_bench: %s failed\n", what);
    std::exit(1);
}

class Rows {
public:
    explicit Rows(const std::filesystem::path& path) {
        must(sqlite3_open(path.c_str(), &db_) == SQLITE_OK, "open");
        run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA "
            "cache_size=-65536;"
            "CREATE TABLE tickets(id TEXT PRIMARY KEY, payload TEXT); CREATE TABLE results(id TEXT PRIMARY KEY, "
            "payload TEXT)");
        must(sqlite3_prepare_v2(db_, "INSERT INTO tickets VALUES(?1,?2)", -1, &ticket_, nullptr) == SQLITE_OK,
             "prepare");
        must(sqlite3_prepare_v2(db_, "INSERT INTO results VALUES(?1,?2)", -1, &result_, nullptr) == SQLITE_OK,
             "prepare");
    }
    ~Rows() {
        sqlite3_finalize(ticket_);
        sqlite3_finalize(result_);
        sqlite3_close(db_);
    }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    void run(const char* text) { must(sqlite3_exec(db_, text, nullptr, nullptr, nullptr) == SQLITE_OK, text); }
    void ticket(const std::string& id, const std::string& text) { insert(ticket_, id, text); }
    void result(const std::string& id, const std::string& text) { insert(result_, id, text); }

private:
    static void insert(sqlite3_stmt* statement, const std::string& id, const std::string& text) {
        sqlite3_bind_text(statement, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
        must(sqlite3_step(statement) == SQLITE_DONE, "insert");
        sqlite3_reset(statement);
    }

    sqlite3* db_ = nullptr;
    sqlite3_stmt* ticket_ = nullptr;
    sqlite3_stmt* result_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
    must(argc >= 4, "usage: sqlite_bench DIR TICKETS GROUP [rows]; reading that");
    const std::filesystem::path path = std::filesystem::path(argv[1]) / ("bare-" + std::to_string(::getpid()) + ".db");
    const std::size_t tickets = std::strtoul(argv[2], nullptr, 10);
    const std::size_t group = std::strtoul(argv[3], nullptr, 10);
    const bool with_results = argc < 5;
    must(tickets > 0 && group > 0, "a count of at least 1");
    // As long as what the store keeps of a no-op.
    const std::string ticket_text(540, 't');
    const std::string result_text(780, 'r');
    wa::SeededRandom random(static_cast<std::uint64_t>(::getpid()));
    double seconds = 0;
    {
        Rows rows(path);
        const auto began = std::chrono::steady_clock::now();
        for (std::size_t done = 0; done < tickets; done += group) {
            std::vector<std::string> ids;
            for (std::size_t n = 0; n < group; ++n)
                ids.push_back(wa::uuid4(random));
            rows.run("BEGIN IMMEDIATE");
            for (const std::string& id : ids)
                rows.ticket(id, ticket_text);
            rows.run("COMMIT");
            if (!with_results) continue;
            rows.run("BEGIN IMMEDIATE");
            for (const std::string& id : ids)
                rows.result(id, result_text);
            rows.run("COMMIT");
        }
        seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }
    for (const char* suffix : {"", "-wal", "-shm"})
        std::filesystem::remove(path.string() + suffix);
    std::printf("{\"per_s\":%.1f}\n", static_cast<double>((tickets + group - 1) / group * group) / seconds);
    return 0;
}
