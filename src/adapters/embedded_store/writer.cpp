#include "adapters/embedded_store/writer.h"

#include <pthread.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace wa::store {

namespace {

constexpr std::size_t kProbeBytes = 256 * 1024;
constexpr Duration kSizesEvery = std::chrono::seconds(1);

std::int64_t bytes_of(const std::filesystem::path& path) {
    std::error_code code;
    const auto size = std::filesystem::file_size(path, code);
    return code ? 0 : static_cast<std::int64_t>(size);
}

std::filesystem::path log_of(const std::filesystem::path& path) {
    std::filesystem::path out = path;
    out += "-wal";
    return out;
}

Error closed_error() {
    return make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "store", "the store is closing");
}

Error busy_error() {
    Error error =
        make_error(ErrorCode::kUnavailable, Retry::kAfterHint, Fault::kWorker, "store", "too many writes are waiting");
    error.retry_after = std::chrono::seconds(1);
    return error;
}

}  // namespace

Writer::Writer(std::unique_ptr<Book> book, const StoreOptions& options, const Clock& clock)
    : book_(std::move(book)), options_(options), clock_(clock), reserve_(options.path, options.limits.reserve_bytes) {
    // Without room for the reserve the store still works; the trouble shows in health() and submits are refused.
    if (auto filled = reserve_.fill(); !filled) note_failure(filled.error());
    next_purge_ = clock_.now() + options_.retention.run_every;
    refresh_sizes();
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "wa-store-write");
        loop();
    });
}

Writer::~Writer() {
    stop(StopKind::kUnclean);
}

void Writer::enqueue(std::unique_ptr<Operation> operation) {
    std::optional<Error> refused;
    {
        const std::lock_guard lock(mutex_);
        const bool bounded = operation->kind() == OperationKind::kRequest;
        const std::size_t bytes = operation->bytes();
        if (stopping_) {
            refused = closed_error();
        } else if (bounded && (queue_.size() >= options_.limits.queued_operations ||
                               (!queue_.empty() && queued_bytes_ + bytes > options_.limits.queued_bytes))) {
            refused = busy_error();
        } else {
            queued_bytes_ += bytes;
            queue_.push_back(std::move(operation));
        }
    }
    if (refused) {
        operation->failed(*refused);  // NOLINT(bugprone-use-after-move): moved only when nothing refused it
    } else {
        wake_.notify_one();
    }
}

void Writer::feed_to(std::function<void(Feed&&)> sink) {
    const std::lock_guard lock(mutex_);
    feed_sink_ = std::move(sink);
}

StoreHealth Writer::health() const {
    const std::lock_guard lock(mutex_);
    StoreHealth out = health_;
    out.queued_operations = queue_.size();
    out.stopped = stopping_;
    return out;
}

void Writer::stop(StopKind kind) {
    {
        const std::lock_guard lock(mutex_);
        if (!stopping_) stop_kind_ = kind;
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

// ---------------------------------------------------------------------- loop

void Writer::loop() {
    while (true) {
        Batch batch;
        const bool go_on = take(batch);
        if (!batch.empty()) execute(std::move(batch));
        if (!go_on) break;
        upkeep();
    }
    mark_clean();
    book_.reset();
}

bool Writer::work_waiting() const {
    return stopping_ || !queue_.empty();
}

bool Writer::take(Batch& batch) {
    std::unique_lock lock(mutex_);
    Duration pause = kSizesEvery;
    if (trouble_) pause = std::min(pause, options_.limits.probe_every);
    if (!work_waiting()) wake_.wait_for(lock, pause, [this] { return work_waiting(); });
    std::size_t tickets = 0;
    std::size_t bytes = 0;
    while (!queue_.empty()) {
        Operation& next = *queue_.front();
        const bool fits = tickets + next.tickets() <= options_.limits.transaction_tickets &&
                          bytes + next.bytes() <= options_.limits.transaction_bytes;
        if (!batch.empty() && !fits) break;
        tickets += next.tickets();
        bytes += next.bytes();
        queued_bytes_ -= next.bytes();
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    return !(stopping_ && queue_.empty());
}

void Writer::execute(Batch batch) {
    if (const auto refused = request_refusal()) refuse_requests(batch, *refused);
    if (batch.empty()) return;
    const Offset queue_before = book_->next_seq();
    const MonoTime start = clock_.now();
    const Result<void> done = transact(batch);
    if (done) {
        note_success(clock_.now() - start);
        answer(std::move(batch), queue_before);
        if (trouble_) relieve_log();
        return;
    }
    book_->rollback();
    note_failure(done.error());
    if (done.error().code == ErrorCode::kDiskFull || done.error().code == ErrorCode::kUnavailable) {
        refuse_requests(batch, done.error());
        write_endings(std::move(batch), done.error());
    } else if (batch.size() > 1) {
        write_singly(std::move(batch));
    } else {
        failed(batch, done.error());
    }
}

Result<void> Writer::transact(const Batch& batch) {
    WA_CHECKED(book_->begin());
    for (const auto& operation : batch)
        WA_CHECKED(operation->run(*book_));
    return book_->commit();
}

void Writer::refuse_requests(Batch& batch, const Error& error) {
    Batch kept;
    for (auto& operation : batch) {
        if (operation->kind() == OperationKind::kRequest) {
            operation->failed(error);
        } else {
            kept.push_back(std::move(operation));
        }
    }
    batch = std::move(kept);
}

// Endings first try the room that the log holds, then the reserve. What still fails goes back to the engine, which
// keeps the outcome, the slot, and intake shut, and hands the same batch over again.
void Writer::write_endings(Batch batch, Error error) {
    for (int step = 0; step < 2 && !batch.empty(); ++step) {
        if (step == 0) relieve_log();
        if (step == 1 && !reserve_.spend()) break;
        const Offset queue_before = book_->next_seq();
        const MonoTime start = clock_.now();
        const Result<void> done = transact(batch);
        if (done) {
            // The disk is as full as before: only submits find out whether it has room again (heal).
            const std::lock_guard lock(mutex_);
            ++health_.transactions;
            health_.last_commit = clock_.now() - start;
        } else {
            book_->rollback();
            note_failure(done.error());
            error = done.error();
            continue;
        }
        answer(std::move(batch), queue_before);
        relieve_log();
        return;
    }
    failed(batch, error);
}

// One operation is at fault and must not take the others with it.
void Writer::write_singly(Batch batch) {
    for (auto& operation : batch) {
        Batch one;
        one.push_back(std::move(operation));
        execute(std::move(one));
    }
}

void Writer::answer(Batch batch, Offset queue_before) {
    Feed feed;
    feed.after = queue_before;
    feed.end = book_->next_seq();
    for (const auto& operation : batch)
        operation->committed(feed);
    std::function<void(Feed&&)> sink;
    {
        const std::lock_guard lock(mutex_);
        sink = feed_sink_;
    }
    if (sink && (feed.end != feed.after || !feed.withdrawn.empty())) sink(std::move(feed));
}

void Writer::failed(const Batch& batch, const Error& error) {
    for (const auto& operation : batch)
        operation->failed(error);
}

// -------------------------------------------------------------------- upkeep

void Writer::upkeep() {
    const MonoTime now = clock_.now();
    if (trouble_ && now >= next_probe_) heal();
    if (now >= next_sizes_) refresh_sizes();
    if (options_.retention.run_every <= Duration::zero() || now < next_purge_) return;
    next_purge_ = now + options_.retention.run_every;
    Batch batch;
    batch.push_back(purge_operation(options_.retention, nullptr));
    execute(std::move(batch));
}

// Is there room again? Asked by really taking it.
void Writer::heal() {
    next_probe_ = clock_.now() + options_.limits.probe_every;
    Result<void> room = reserve_.fill();
    if (room) room = reserve_.probe(kProbeBytes);
    if (room && over_file_limit()) return;
    if (room) {  // an empty transaction that really writes
        room = book_->begin();
        if (room) room = set_meta(book_->db(), "clean", std::int64_t{0});
        if (room) room = book_->commit();
        if (!room) book_->rollback();
    }
    if (room) {
        trouble_.reset();
        note_success(Duration::zero());
    } else {
        note_failure(room.error());
    }
}

// Moves the log into the file, so that the next write begins the log again and uses its room once more. Does only as
// much as readers allow, and what cannot be moved stays in the log: its return code changes nothing here.
void Writer::relieve_log() {
    sqlite3_wal_checkpoint_v2(book_->db().raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
}

std::optional<Error> Writer::request_refusal() {
    if (trouble_ && clock_.now() >= next_probe_) heal();
    if (!trouble_ && over_file_limit()) {
        note_failure(make_error(
            ErrorCode::kDiskFull, Retry::kAfterBackoff, Fault::kWorker, "store",
            "the store has reached its size limit of " + std::to_string(options_.limits.file_bytes) + " bytes"));
    }
    if (!trouble_) return std::nullopt;
    Error error = *trouble_;
    error.fix = "free space on the disk of the state folder, or make it writable; the store goes on by itself";
    return error;
}

bool Writer::over_file_limit() {
    if (options_.limits.file_bytes <= 0) return false;
    const auto pages =
        book_->db().scalar("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count");
    const auto page_size = book_->db().scalar("PRAGMA page_size");
    return pages && page_size && *pages * *page_size >= options_.limits.file_bytes;
}

void Writer::note_success(Duration took) {
    const std::lock_guard lock(mutex_);
    ++health_.transactions;
    health_.last_commit = took;
    health_.tickets_open = book_->open_tickets();
    health_.reserve_whole = reserve_.whole();
    if (trouble_) return;
    health_.ok = true;
    health_.disk_full = false;
    health_.error.clear();
}

void Writer::note_failure(const Error& error) {
    if (error.code == ErrorCode::kDiskFull || error.code == ErrorCode::kUnavailable) {
        if (!trouble_) next_probe_ = clock_.now() + options_.limits.probe_every;
        trouble_ = error;
    }
    const std::lock_guard lock(mutex_);
    ++health_.failed_transactions;
    health_.ok = false;
    health_.disk_full = health_.disk_full || error.code == ErrorCode::kDiskFull;
    health_.reserve_whole = reserve_.whole();
    health_.error = error.describe();
}

void Writer::refresh_sizes() {
    next_sizes_ = clock_.now() + kSizesEvery;
    const std::int64_t file = bytes_of(options_.path);
    const std::int64_t log = bytes_of(log_of(options_.path));
    const std::lock_guard lock(mutex_);
    health_.file_bytes = file;
    health_.wal_bytes = log;
    health_.tickets_open = book_->open_tickets();
}

void Writer::mark_clean() {
    StopKind kind = StopKind::kUnclean;
    {
        const std::lock_guard lock(mutex_);
        kind = stop_kind_;
    }
    if (kind != StopKind::kDrained) return;
    Result<void> done = book_->begin();
    if (done) done = set_meta(book_->db(), "clean", std::int64_t{1});
    if (done) done = book_->commit();
    if (done) return;
    // The next start then takes what was running as interrupted, which is the careful reading.
    book_->rollback();
    note_failure(done.error());
}

}  // namespace wa::store
