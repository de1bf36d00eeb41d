#include "adapters/embedded_store/read_pool.h"

#include <algorithm>

namespace wa::store {

namespace {
constexpr int kOpsPerCheck = 20'000;
}

ReadPool::Deadline::Deadline(const ReadPool& pool, Connection& connection) : db_(connection.db.raw()) {
    connection.until = pool.clock_.now() + pool.time_;
    connection.clock = &pool.clock_;
    sqlite3_progress_handler(
        db_, kOpsPerCheck,
        [](void* context) {
            const auto& self = *static_cast<Connection*>(context);
            return self.clock->now() > self.until ? 1 : 0;
        },
        &connection);
}
ReadPool::Deadline::~Deadline() {
    sqlite3_progress_handler(db_, 0, nullptr, nullptr);
}

Result<std::unique_ptr<ReadPool::Connection>> ReadPool::open_connection() const {
    auto connection = std::make_unique<Connection>();
    WA_TRY(connection->db, sqlite::Db::open(path_, SQLITE_OPEN_READONLY));
    WA_CHECKED(connection->db.exec("PRAGMA query_only=1; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;"));
    return connection;
}

Result<std::unique_ptr<ReadPool::Connection>> ReadPool::take() {
    std::unique_lock lock(mutex_);
    const bool got = free_.wait_for(lock, std::max(time_, Duration::zero()),
                                    [this] { return closed_ || !idle_.empty() || in_use_ < limit_; });
    if (closed_) return fail(ErrorCode::kUnavailable, "store", "the store is closed");
    if (!got) {
        return tl::unexpected(make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kWorker, "store",
                                         "too many reads at once: none became free in time"));
    }
    ++in_use_;
    if (!idle_.empty()) {
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        return connection;
    }
    lock.unlock();
    auto opened = open_connection();
    if (opened) return opened;
    lock.lock();
    --in_use_;
    free_.notify_all();
    return tl::unexpected(std::move(opened).error());
}

void ReadPool::give_back(std::unique_ptr<Connection> connection) {
    if (connection->broken) connection.reset();
    const std::lock_guard lock(mutex_);
    --in_use_;
    if (connection) idle_.push_back(std::move(connection));
    free_.notify_all();
}

void ReadPool::close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    free_.notify_all();
    free_.wait(lock, [this] { return in_use_ == 0; });
    idle_.clear();
}

}  // namespace wa::store
