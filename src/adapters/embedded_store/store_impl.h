// The parts of an open store. Private to this folder.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "adapters/embedded_store/background.h"
#include "adapters/embedded_store/file_check.h"
#include "adapters/embedded_store/read_pool.h"
#include "adapters/embedded_store/reads.h"
#include "adapters/embedded_store/schema.h"
#include "adapters/embedded_store/store.h"
#include "adapters/embedded_store/writer.h"

namespace wa {

struct EmbeddedStore::Impl {
    Impl(StoreOptions store_options, const Clock& store_clock, store::FileLock file_lock)
        : options(std::move(store_options)),
          clock(store_clock),
          lock(std::move(file_lock)),
          pool(options.path, options.limits.read_connections, options.limits.read_time, store_clock) {}

    template <class F>
    auto read(F&& query) -> std::invoke_result_t<F, const store::ReadContext&> {
        return pool.with([&](sqlite::Db& db) { return query(store::ReadContext{db, hash_key, options.limits}); });
    }

    const StoreOptions options;
    const Clock& clock;
    std::optional<store::FileLock> lock;  // until closed
    store::HashKey hash_key{};
    OpenReport report;
    store::ReadPool pool;
    std::unique_ptr<store::Writer> writer;
    std::unique_ptr<store::Background> reader;  // source reads and look-ups
    std::unique_ptr<store::Background> copier;  // backups
    std::atomic<bool> copying = false;
    std::atomic<bool> stop_copying = false;
    std::atomic<bool> closed = false;
};

namespace store {

// What open() does, with the steps of the schema as an argument so that tests can bring their own.
[[nodiscard]] Result<std::shared_ptr<EmbeddedStore::Impl>> open_store(StoreOptions options, const Clock& clock,
                                                                      Random& random, std::span<const Migration> steps);

}  // namespace store
}  // namespace wa
