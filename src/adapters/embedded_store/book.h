// The write side's view of the file: rows in, rows out, counts kept in step. Owned by the writer thread. What is cached
// here is put back when a transaction rolls back. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "adapters/embedded_store/queries.h"
#include "adapters/embedded_store/rows.h"
#include "adapters/embedded_store/sqlite.h"
#include "base/clock.h"

namespace wa::store {

class Book {
public:
    // `db` is the write connection of an accepted file.
    static Result<std::unique_ptr<Book>> open(sqlite::Db db, const Clock& clock);

    [[nodiscard]] Result<void> begin();
    [[nodiscard]] Result<void> commit();
    // After it nothing of the transaction is left, here or in the file.
    void rollback();

    [[nodiscard]] sqlite::Db& db() { return db_; }
    [[nodiscard]] const HashKey& hash_key() const { return hash_key_; }
    // Wall time of the transaction.
    [[nodiscard]] EpochMillis now() const { return now_; }
    // The next place in the queue.
    [[nodiscard]] Offset next_seq() const { return next_seq_; }
    [[nodiscard]] std::int64_t open_tickets() const;
    [[nodiscard]] std::int64_t ended_tickets() const;

    [[nodiscard]] Result<std::optional<TicketRow>> find(std::string_view ticket_id) {
        return find_ticket(db_, hash_key_, ticket_id);
    }
    [[nodiscard]] Result<std::optional<TicketRow>> at(Offset seq) { return ticket_at(db_, seq); }
    [[nodiscard]] Result<std::optional<Tombstone>> tombstone(std::string_view ticket_id);
    [[nodiscard]] Result<void> drop_tombstones(std::string_view ticket_id);

    struct NewPlan {
        std::string_view plan_id;
        std::string_view name;
        std::string_view intent_id;
        std::string_view actor;
    };
    // Row number of the plan; 0 for an empty id.
    [[nodiscard]] Result<std::int64_t> plan(const NewPlan& plan);
    [[nodiscard]] Result<void> delete_plan(std::int64_t id);

    // Gives the row its place (seq, born) and its key.
    [[nodiscard]] Result<void> insert(TicketRow& row, const TicketHead& head, std::string_view payload);
    // Writes the row where it stands. `before` is the phase that the file has.
    [[nodiscard]] Result<void> update(const TicketRow& row, StoredPhase before);
    // Writes the row at the tail of the queue.
    [[nodiscard]] Result<void> move_to_tail(TicketRow& row, StoredPhase before);
    // Appends to the ticket's history and hooks it into `row`, which the caller then writes.
    [[nodiscard]] Result<void> append(TicketRow& row, HistoryRecord record, std::string_view trail = {},
                                      std::string_view result = {});
    // Deletes the ticket and all that hangs on it; leaves a tombstone.
    [[nodiscard]] Result<void> purge(const TicketRow& row);
    // Back into the queue with a clean slate; attempt numbers go on. Takes the ticket out of the dead letters.
    [[nodiscard]] Result<void> requeue(TicketRow& row, RecordKind kind, std::string_view actor,
                                       std::string_view reason);
    [[nodiscard]] Result<void> settle_dead_letter(std::int64_t born, bool replayed);

    [[nodiscard]] Result<std::int64_t> count_tombstones();
    [[nodiscard]] Result<std::int64_t> trim_tombstones(std::int64_t keep, std::int64_t at_most);

private:
    Book(sqlite::Db db, const Clock& clock) : db_(std::move(db)), clock_(clock) {}
    [[nodiscard]] Result<void> load();
    void count(const TicketRow& row, StoredPhase phase, std::int64_t by, bool touch = true);
    [[nodiscard]] Result<void> flush_plans();
    [[nodiscard]] Result<void> flush_counters();
    [[nodiscard]] Result<void> write_row(const TicketRow& row);

    using Counters = std::array<std::array<std::int64_t, kTaskTypeCount>, kStoredPhaseCount>;
    struct PlanDelta {
        CountArray counts{};
        bool touched = false;  // something happened to the plan; a purge is not such a thing
    };

    sqlite::Db db_;
    const Clock& clock_;
    HashKey hash_key_{};
    Offset next_seq_ = 1;
    std::int64_t next_record_ = 1;
    Offset saved_seq_ = 1;  // as the file has them
    std::int64_t saved_record_ = 1;
    std::int64_t tombstones_ = 0;
    std::int64_t saved_tombstones_ = 0;
    Counters counters_{};
    Counters deltas_{};
    std::unordered_map<std::int64_t, PlanDelta> plan_deltas_;
    std::unordered_map<std::string, std::int64_t> plan_ids_;
    EpochMillis now_ = 0;
    std::string scratch_;
};

}  // namespace wa::store
