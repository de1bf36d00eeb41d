// Read connections for threads that may block for a bounded time. Private to this folder.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "adapters/embedded_store/sqlite.h"
#include "adapters/embedded_store/store.h"
#include "base/clock.h"

namespace wa::store {

class ReadPool {
public:
    ReadPool(std::filesystem::path path, std::size_t connections, Duration time, const Clock& clock)
        : path_(std::move(path)), limit_(connections), time_(time), clock_(clock) {}
    ~ReadPool() { close(); }
    ReadPool(const ReadPool&) = delete;
    ReadPool& operator=(const ReadPool&) = delete;

    // Runs `read(sqlite::Db&)` in one snapshot, within the time of one read. kTimeout, kUnavailable when closed.
    template <class F>
    auto with(F&& read) -> std::invoke_result_t<F, sqlite::Db&> {
        auto taken = take();
        if (!taken) return tl::unexpected(std::move(taken).error());
        auto result = run(**taken, std::forward<F>(read));
        give_back(std::move(*taken));
        return result;
    }

    // Waits for reads under way, then closes; later reads fail.
    void close();

private:
    struct Connection {
        sqlite::Db db;
        bool broken = false;
        MonoTime until{};
        const Clock* clock = nullptr;
    };
    // Cuts a statement that runs past its time.
    class Deadline {
    public:
        Deadline(const ReadPool& pool, Connection& connection);
        ~Deadline();
        Deadline(const Deadline&) = delete;
        Deadline& operator=(const Deadline&) = delete;

    private:
        sqlite3* db_;
    };

    template <class F>
    auto run(Connection& connection, F&& read) -> std::invoke_result_t<F, sqlite::Db&> {
        const Deadline deadline(*this, connection);
        if (auto begun = connection.db.exec("BEGIN"); !begun) {
            connection.broken = true;
            return tl::unexpected(std::move(begun).error().in("read"));
        }
        auto result = std::forward<F>(read)(connection.db);
        // Ending a read cannot lose anything; a connection that cannot even do that is thrown away.
        if (!connection.db.exec("COMMIT")) connection.broken = true;
        return result;
    }

    [[nodiscard]] Result<std::unique_ptr<Connection>> take();
    [[nodiscard]] Result<std::unique_ptr<Connection>> open_connection() const;
    void give_back(std::unique_ptr<Connection> connection);

    const std::filesystem::path path_;
    const std::size_t limit_;
    const Duration time_;
    const Clock& clock_;

    std::mutex mutex_;
    std::condition_variable free_;
    std::vector<std::unique_ptr<Connection>> idle_;
    std::size_t in_use_ = 0;
    bool closed_ = false;
};

}  // namespace wa::store
