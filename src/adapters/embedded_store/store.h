// The embedded store: tickets, their queue, their history and their results in one SQLite file (design.md "Embedded
// store"; cluster-rules 4, 9-11, 24-26).
//
// Promises. A write is answered after it is on disk (WAL, synchronous=FULL, group commit: whatever is waiting goes into
// one transaction). The file survives kill -9 at any moment. A corrupt, foreign or newer file is refused and not
// touched. A full disk refuses submits (kDiskFull), keeps what is stored, keeps room for endings and heals by itself.
//
// Threading. Write calls come from any thread and never block; the callback is called exactly once, on the store's
// writer thread (it must be quick and must not throw): hand it a function that posts to your own loop. Reads block for
// a bounded time and may come from any thread except the callbacks. After close() returned no callback is called any
// more.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/embedded_store/records.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "ports/ticket_source.h"

namespace wa {

struct StoreLimits {
    std::size_t payload_bytes = 1024 * 1024;  // of one ticket
    std::size_t submit_tickets = 100'000;     // in one submit
    // In one submit. Tickets are longer here than in the plan file that they come from, which may have 64 MiB.
    std::size_t submit_bytes = 192 * 1024 * 1024;
    std::size_t result_bytes = 1024 * 1024;  // of one result; longer ones lose their logs, then their output
    std::size_t history_bytes = 256 * 1024;  // of one history write; the middle is left out beyond it
    std::size_t queued_operations = 4096;    // writes not yet taken; more are refused (kUnavailable)
    std::size_t queued_bytes = 192 * 1024 * 1024;
    std::size_t transaction_tickets = 8192;  // of one group commit, unless one operation alone is larger
    std::size_t transaction_bytes = 16 * 1024 * 1024;
    std::size_t list_limit = 1000;
    std::size_t scan_rows = 200'000;              // rows one filtered listing looks at
    std::size_t answer_bytes = 64 * 1024 * 1024;  // payloads in one answer
    std::size_t read_connections = 3;
    Duration read_time = std::chrono::seconds(5);    // of one read, waiting for a connection included
    Duration check_time = std::chrono::seconds(2);   // of the integrity check at open; what is left is not checked
    std::size_t reserve_bytes = 2 * 1024 * 1024;     // kept free beside the file, for endings on a full disk (rule 25)
    std::int64_t file_bytes = 0;                     // submits are refused above this size; 0 = only the disk decides
    Duration probe_every = std::chrono::seconds(1);  // after a full disk
};

struct StoreRetention {
    Duration keep_ended = std::chrono::hours(24 * 7);  // 0 = for ever
    std::int64_t keep_tickets = 1'000'000;             // ended ones beyond this many go, oldest plans first
    std::int64_t keep_tombstones = 10'000'000;         // (id, ending) of purged tickets
    Duration run_every = std::chrono::seconds(30);     // 0 = only when purge() is called
    std::size_t tickets_per_run = 1000;
};

struct StoreOptions {
    std::filesystem::path path;  // of worker.db; its folder must exist
    StoreLimits limits;
    StoreRetention retention;
};

// What open() found.
struct OpenReport {
    std::string epoch;  // new after a backup was restored (rule 26)
    bool created = false;
    bool restored = false;  // the file was a backup copy
    bool unclean = false;   // the last process did not close it
    int migrated_from = 0;  // 0 = not migrated
    std::filesystem::path migration_backup;
    std::int64_t interrupted = 0;  // attempts without an end (history says so, deliveries +1)
    std::int64_t handed_back = 0;  // attempts that a clean stop gave back
    bool check_complete = true;    // the integrity check finished within its time
};

enum class StopKind : std::uint8_t {
    kDrained,  // nothing of ours runs any more: open attempts were handed back, not interrupted
    kUnclean,  // no promise about running attempts
};

struct StoreHealth {
    bool ok = true;          // the last write worked
    bool disk_full = false;  // submits are refused now
    bool reserve_whole = true;
    std::string error;  // of the last failed write, empty when ok
    std::int64_t file_bytes = 0;
    std::int64_t wal_bytes = 0;
    std::size_t queued_operations = 0;
    std::uint64_t transactions = 0;
    std::uint64_t failed_transactions = 0;
    Duration last_commit{};  // how long the last commit took, fsync included
    std::int64_t tickets_open = 0;
    bool stopped = false;
};

struct PurgeAnswer {
    std::int64_t tickets = 0;
    std::int64_t plans = 0;
    std::int64_t tombstones_dropped = 0;
};
struct BackupAnswer {
    std::filesystem::path path;
    std::int64_t bytes = 0;
};

template <class T>
using StoreCallback = std::function<void(Result<T>)>;

class EmbeddedStore {
public:
    // Clock and random must outlive the store. Errors: kCorrupt (damaged), kUnsupported (newer version or another
    // program's file), kConflict (in use by another process), kDiskFull, kUnavailable (cannot be opened).
    static Result<std::unique_ptr<EmbeddedStore>> open(StoreOptions options, const Clock& clock, Random& random);
    ~EmbeddedStore();  // close(StopKind::kUnclean) unless closed
    EmbeddedStore(const EmbeddedStore&) = delete;
    EmbeddedStore& operator=(const EmbeddedStore&) = delete;

    // Writes what is waiting, then stops the threads. Blocks. Not from a callback.
    void close(StopKind kind);

    [[nodiscard]] const OpenReport& opened() const;
    [[nodiscard]] StoreHealth health() const;  // any thread, does not block on the disk
    [[nodiscard]] const StoreLimits& limits() const;

    // ------------------------------------------------------------ writes
    // kConflict (field = the ticket id): known and different, or purged after COMPLETED. kDiskFull: 507. kUnavailable:
    // too much is waiting, or closed (503). kLimitExceeded: over a limit (413). kInvalidArgument: empty, doubled ids.
    void submit(SubmitRequest request, StoreCallback<SubmitAnswer> answer);
    // Only FAILED tickets; anything else is kConflict and nothing happens. kNotFound: unknown.
    void retry(std::vector<std::string> ticket_ids, std::string actor, StoreCallback<RetryAnswer> answer);
    // kNotFound: no such plan. An empty answer: there was nothing to retry.
    void retry_plan(std::string plan_id, PlanRetry only, std::string actor, StoreCallback<RetryAnswer> answer);
    // From outside. kConflict while an attempt of ours runs (RUNNING), and for PENDING on a COMPLETED ticket.
    void patch_status(StatusPatch patch, StoreCallback<TicketSummary> answer);
    // The ticket goes back to the queue under its own id, its attempt numbers go on.
    void replay_dead_letter(std::int64_t key, std::string actor, StoreCallback<SubmittedTicket> answer);
    // The entry goes; the ticket stays FAILED and its history says who discarded it and why.
    void discard_dead_letter(std::int64_t key, std::string reason, std::string actor, StoreCallback<void> answer);
    // One bounded run of the retention, at once.
    void purge(StoreCallback<PurgeAnswer> answer);
    // A consistent copy while the store works, marked as a backup, complete under its final name or not there at all.
    // kConflict: another backup is running, or the target exists. Called back on the backup's own thread.
    void backup(std::filesystem::path target, StoreCallback<BackupAnswer> answer);

    // ------------------------------------------------------------ reads
    // Id, unique beginning of one (at least 4 characters), "@latest" (newest) or "@failed" (newest FAILED).
    // kNotFound; kConflict (message names up to 5 candidates); kInvalidArgument (too short).
    [[nodiscard]] Result<std::string> resolve(std::string_view text) const;
    // Exact id. kNotFound; kCorrupt when the stored row does not match its checksum.
    [[nodiscard]] Result<TicketDetail> ticket(std::string_view ticket_id) const;
    [[nodiscard]] Result<TicketPage> tickets(const TicketQuery& query) const;
    [[nodiscard]] Result<PlanPage> plans(std::size_t offset, std::size_t limit) const;
    [[nodiscard]] Result<PlanSummary> plan(std::string_view plan_id) const;
    [[nodiscard]] Result<PlanGraph> plan_graph(std::string_view plan_id, std::size_t node_limit = 100'000) const;
    // Ids of the plan's tickets that have not ended (for "cancel the plan").
    [[nodiscard]] Result<std::vector<std::string>> open_tickets(std::string_view plan_id) const;
    [[nodiscard]] Result<std::vector<AttemptRecord>> attempts(std::string_view ticket_id) const;
    [[nodiscard]] Result<std::vector<HistoryLine>> history(std::string_view ticket_id) const;
    // Log lines kept with results, per ending attempt; `attempt` 0 = the last one.
    [[nodiscard]] Result<AttemptLog> log(std::string_view ticket_id, std::int32_t attempt = 0) const;
    [[nodiscard]] Result<DeadLetterPage> dead_letters(std::size_t offset, std::size_t limit) const;
    [[nodiscard]] Result<DeadLetterRecord> dead_letter(std::int64_t key) const;
    [[nodiscard]] Result<PhaseCounts> counts() const;
    [[nodiscard]] Result<std::int64_t> unfinished() const;
    // Also for purged tickets. One answer for each id, in the same order.
    [[nodiscard]] Result<std::vector<DependencyStatus>> statuses(const std::vector<std::string>& ticket_ids) const;
    // Endings after `cursor` (0 = from the beginning of what is kept), oldest first, limit <= list_limit.
    [[nodiscard]] Result<std::vector<EndingEvent>> endings_since(std::int64_t cursor, std::size_t limit) const;

    struct Impl;  // shared with the port adapters (ports.h)
    [[nodiscard]] const std::shared_ptr<Impl>& impl() const { return impl_; }

private:
    explicit EmbeddedStore(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

}  // namespace wa
