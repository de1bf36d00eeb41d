// The one thread that writes: takes whatever is waiting, puts it into one transaction, syncs, answers. Private to this
// folder.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "adapters/embedded_store/book.h"
#include "adapters/embedded_store/operations.h"
#include "adapters/embedded_store/reserve.h"
#include "adapters/embedded_store/store.h"

namespace wa::store {

class Writer {
public:
    // Takes over the book. `clock` outlives the writer.
    Writer(std::unique_ptr<Book> book, const StoreOptions& options, const Clock& clock);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // Any thread. False when too much is waiting or the writer has stopped; the operation was then told so.
    void enqueue(std::unique_ptr<Operation> operation);
    // Called after every transaction, on the writer thread. Replaces the one before; null = nobody.
    void feed_to(std::function<void(Feed&&)> sink);
    [[nodiscard]] StoreHealth health() const;
    // Writes what is waiting, marks the file, ends the thread and closes the connection.
    void stop(StopKind kind);

private:
    using Batch = std::vector<std::unique_ptr<Operation>>;

    void loop();
    // Empty when only time has passed; false when the writer is to end.
    bool take(Batch& batch);
    [[nodiscard]] bool work_waiting() const;
    void execute(Batch batch);
    void refuse_requests(Batch& batch, const Error& error);
    [[nodiscard]] Result<void> transact(const Batch& batch);
    void write_endings(Batch batch, Error error);
    void write_singly(Batch batch);
    void answer(Batch batch, Offset queue_before);
    void failed(const Batch& batch, const Error& error);
    void upkeep();
    void heal();
    void relieve_log();
    [[nodiscard]] std::optional<Error> request_refusal();
    [[nodiscard]] bool over_file_limit();
    void note_success(Duration took);
    void note_failure(const Error& error);
    void refresh_sizes();
    void mark_clean();

    std::unique_ptr<Book> book_;
    const StoreOptions options_;
    const Clock& clock_;
    Reserve reserve_;
    MonoTime next_probe_{};
    MonoTime next_purge_{};
    MonoTime next_sizes_{};
    std::optional<Error> trouble_;  // requests are refused with it until heal(); writer thread only

    mutable std::mutex mutex_;  // everything below
    std::condition_variable wake_;
    std::deque<std::unique_ptr<Operation>> queue_;
    std::size_t queued_bytes_ = 0;
    std::function<void(Feed&&)> feed_sink_;
    StoreHealth health_;
    StopKind stop_kind_ = StopKind::kUnclean;
    bool stopping_ = false;

    std::thread thread_;
};

}  // namespace wa::store
