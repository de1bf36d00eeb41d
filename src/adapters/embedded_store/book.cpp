#include "adapters/embedded_store/book.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace wa::store {

namespace {

constexpr std::size_t kPlanCache = 4096;

Result<HashKey> parse_hash_key(std::string_view text) {
    HashKey key{};
    if (text.size() == 32) {
        const auto first = std::from_chars(text.data(), text.data() + 16, key[0], 16);
        const auto second = std::from_chars(text.data() + 16, text.data() + 32, key[1], 16);
        if (first.ec == std::errc{} && first.ptr == text.data() + 16 && second.ec == std::errc{} &&
            second.ptr == text.data() + 32) {
            return key;
        }
    }
    return corrupt("the hash key of the store cannot be read");
}

}  // namespace

Result<std::unique_ptr<Book>> Book::open(sqlite::Db db, const Clock& clock) {
    std::unique_ptr<Book> book(new Book(std::move(db), clock));
    WA_CHECKED(book->load());
    return book;
}

Result<void> Book::load() {
    WA_TRY(const std::string key_text, meta_text(db_, "hash_key"));
    WA_TRY(hash_key_, parse_hash_key(key_text));
    WA_TRY(next_seq_, meta_int(db_, "next_seq"));
    WA_TRY(next_record_, meta_int(db_, "next_record"));
    WA_TRY(const std::int64_t last_seq, db_.scalar("SELECT coalesce(max(seq),0) FROM tickets"));
    WA_TRY(const std::int64_t last_record, db_.scalar("SELECT coalesce(max(id),0) FROM records"));
    if (next_seq_ <= last_seq || next_record_ <= last_record)
        return corrupt("the store's numbering does not fit its rows");
    WA_TRY(tombstones_, db_.scalar("SELECT EXISTS(SELECT 1 FROM tombstones)"));
    saved_seq_ = next_seq_;
    saved_record_ = next_record_;
    saved_tombstones_ = tombstones_;
    WA_TRY(sqlite::Statement statement, db_.prepare("SELECT phase,type,n FROM counters"));
    while (true) {
        WA_TRY(const bool found, statement.step());
        if (!found) return {};
        const auto phase = phase_of(statement.int64(0));
        const std::int64_t type = statement.int64(1);
        if (!phase || type < 0 || type >= static_cast<std::int64_t>(kTaskTypeCount))
            return corrupt("the counters cannot be read");
        counters_[static_cast<std::size_t>(*phase)][static_cast<std::size_t>(type)] = statement.int64(2);
    }
}

std::int64_t Book::open_tickets() const {
    std::int64_t sum = 0;
    for (std::size_t phase = 0; phase < kStoredPhaseCount; ++phase) {
        if (is_ended(static_cast<StoredPhase>(phase))) continue;
        for (std::size_t type = 0; type < kTaskTypeCount; ++type)
            sum += counters_[phase][type] + deltas_[phase][type];
    }
    return sum;
}

std::int64_t Book::ended_tickets() const {
    std::int64_t sum = 0;
    for (std::size_t phase = 0; phase < kStoredPhaseCount; ++phase) {
        if (!is_ended(static_cast<StoredPhase>(phase))) continue;
        for (std::size_t type = 0; type < kTaskTypeCount; ++type)
            sum += counters_[phase][type] + deltas_[phase][type];
    }
    return sum;
}

// --------------------------------------------------------------- transaction

Result<void> Book::begin() {
    now_ = clock_.wall_now();
    WA_TRY(sqlite::Statement * statement, db_.cached("BEGIN IMMEDIATE"));
    return statement->run();
}

Result<void> Book::commit() {
    WA_CHECKED(flush_plans());
    WA_CHECKED(flush_counters());
    if (next_seq_ != saved_seq_) WA_CHECKED(set_meta(db_, "next_seq", next_seq_));
    if (next_record_ != saved_record_) WA_CHECKED(set_meta(db_, "next_record", next_record_));
    WA_TRY(sqlite::Statement * statement, db_.cached("COMMIT"));
    WA_CHECKED(statement->run());
    for (std::size_t phase = 0; phase < kStoredPhaseCount; ++phase) {
        for (std::size_t type = 0; type < kTaskTypeCount; ++type) {
            counters_[phase][type] += std::exchange(deltas_[phase][type], 0);
        }
    }
    saved_seq_ = next_seq_;
    saved_record_ = next_record_;
    saved_tombstones_ = tombstones_;
    plan_deltas_.clear();
    return {};
}

void Book::rollback() {
    // SQLite may have rolled back by itself already (full disk); a failure here leaves nothing else to do, and the next
    // BEGIN says so.
    if (db_.in_transaction()) sqlite3_exec(db_.raw(), "ROLLBACK", nullptr, nullptr, nullptr);
    next_seq_ = saved_seq_;
    next_record_ = saved_record_;
    tombstones_ = saved_tombstones_;
    deltas_ = {};
    plan_deltas_.clear();
    plan_ids_.clear();
}

Result<void> Book::flush_plans() {
    for (const auto& [id, delta] : plan_deltas_) {
        WA_TRY(std::optional<PlanRow> plan, plan_at(db_, id));
        if (!plan) return corrupt("plan " + std::to_string(id) + " is missing");
        std::int64_t open = 0;
        std::int64_t total = 0;
        for (std::size_t phase = 0; phase < kStoredPhaseCount; ++phase) {
            plan->counts[phase] += delta.counts[phase];
            total += plan->counts[phase];
            if (!is_ended(static_cast<StoredPhase>(phase))) open += plan->counts[phase];
        }
        const std::string counts = encode_counts(plan->counts);
        WA_TRY(sqlite::Statement * statement,
               db_.cached("UPDATE plans SET changed_at=?2,open=?3,total=?4,counts=?5 WHERE id=?1"));
        WA_CHECKED(statement->bind(1, id)
                       .bind(2, delta.touched ? now_ : plan->changed_at)
                       .bind(3, open)
                       .bind(4, total)
                       .bind_blob(5, counts)
                       .run());
    }
    return {};
}

Result<void> Book::flush_counters() {
    for (std::size_t phase = 0; phase < kStoredPhaseCount; ++phase) {
        for (std::size_t type = 0; type < kTaskTypeCount; ++type) {
            if (deltas_[phase][type] == 0) continue;
            WA_TRY(sqlite::Statement * statement, db_.cached("INSERT INTO counters(phase,type,n) VALUES(?1,?2,?3) "
                                                             "ON CONFLICT(phase,type) DO UPDATE SET n=excluded.n"));
            WA_CHECKED(statement->bind(1, phase_code(static_cast<StoredPhase>(phase)))
                           .bind(2, static_cast<std::int64_t>(type))
                           .bind(3, counters_[phase][type] + deltas_[phase][type])
                           .run());
        }
    }
    return {};
}

// --------------------------------------------------------------------- plans

Result<std::int64_t> Book::plan(const NewPlan& plan) {
    if (plan.plan_id.empty()) return std::int64_t{0};
    const std::string plan_id(plan.plan_id);
    if (const auto known = plan_ids_.find(plan_id); known != plan_ids_.end()) return known->second;
    if (plan_ids_.size() >= kPlanCache) plan_ids_.clear();
    WA_TRY(const std::optional<PlanRow> found, find_plan(db_, plan_id));
    std::int64_t id = found ? found->id : 0;
    if (!found) {
        const std::string counts = encode_counts({});
        WA_TRY(sqlite::Statement * statement,
               db_.cached("INSERT INTO plans(plan_id,name,intent_id,actor,created_at,changed_at,open,total,counts) "
                          "VALUES(?1,?2,?3,?4,?5,?5,0,0,?6)"));
        statement->bind_text(1, plan_id).bind_text(2, plan.name).bind_text(3, plan.intent_id);
        WA_CHECKED(statement->bind_text(4, plan.actor).bind(5, now_).bind_blob(6, counts).run());
        id = sqlite3_last_insert_rowid(db_.raw());
    }
    plan_ids_.emplace(plan_id, id);
    return id;
}

Result<void> Book::delete_plan(std::int64_t id) {
    plan_deltas_.erase(id);
    plan_ids_.clear();
    WA_TRY(sqlite::Statement * statement, db_.cached("DELETE FROM plans WHERE id=?1"));
    return statement->bind(1, id).run();
}

// ------------------------------------------------------------------- tickets

void Book::count(const TicketRow& row, StoredPhase phase, std::int64_t by, bool touch) {
    deltas_[static_cast<std::size_t>(phase)][static_cast<std::size_t>(row.type)] += by;
    if (row.plan == 0) return;
    PlanDelta& delta = plan_deltas_[row.plan];
    delta.counts[static_cast<std::size_t>(phase)] += by;
    delta.touched = delta.touched || touch;
}

Result<void> Book::write_row(const TicketRow& row) {
    encode_row(row, scratch_);
    WA_TRY(sqlite::Statement * statement,
           db_.cached("INSERT INTO tickets(seq,id_key,plan,phase,body) VALUES(?1,?2,?3,?4,?5)"));
    statement->bind(1, row.seq).bind(2, row.id_key).bind(3, row.plan).bind(4, phase_code(row.phase));
    return statement->bind_blob(5, scratch_).run();
}

Result<void> Book::insert(TicketRow& row, const TicketHead& head, std::string_view payload) {
    const IdKey key = id_key(hash_key_, row.ticket_id);
    row.id_key = key.key;
    row.odd_id = key.odd;
    row.seq = next_seq_++;
    row.born = row.seq;
    WA_CHECKED(write_row(row));
    const std::string head_bytes = encode_head(row.born, head, payload);
    WA_TRY(sqlite::Statement * statement, db_.cached("INSERT INTO payloads(born,head,payload) VALUES(?1,?2,?3)"));
    WA_CHECKED(statement->bind(1, row.born).bind_blob(2, head_bytes).bind_text(3, payload).run());
    if (row.odd_id) {
        WA_TRY(sqlite::Statement * odd, db_.cached("INSERT INTO odd_ids(ticket_id) VALUES(?1)"));
        WA_CHECKED(odd->bind_text(1, row.ticket_id).run());
    }
    count(row, row.phase, 1);
    return {};
}

Result<void> Book::update(const TicketRow& row, StoredPhase before) {
    encode_row(row, scratch_);
    if (row.phase == before) {  // leaves the index alone
        WA_TRY(sqlite::Statement * statement, db_.cached("UPDATE tickets SET body=?2 WHERE seq=?1"));
        return statement->bind(1, row.seq).bind_blob(2, scratch_).run();
    }
    WA_TRY(sqlite::Statement * statement, db_.cached("UPDATE tickets SET phase=?2,body=?3 WHERE seq=?1"));
    WA_CHECKED(statement->bind(1, row.seq).bind(2, phase_code(row.phase)).bind_blob(3, scratch_).run());
    count(row, before, -1);
    count(row, row.phase, 1);
    return {};
}

Result<void> Book::move_to_tail(TicketRow& row, StoredPhase before) {
    WA_TRY(sqlite::Statement * statement, db_.cached("DELETE FROM tickets WHERE seq=?1"));
    WA_CHECKED(statement->bind(1, row.seq).run());
    row.seq = next_seq_++;
    WA_CHECKED(write_row(row));
    count(row, before, -1);
    count(row, row.phase, 1);
    return {};
}

Result<void> Book::append(TicketRow& row, HistoryRecord record, std::string_view trail, std::string_view result) {
    record.id = next_record_++;
    record.born = row.born;
    record.previous = row.last_record;
    if (record.at == 0) record.at = now_;
    record.phase = row.phase;
    if (record.attempt == 0) record.attempt = row.attempts;
    record.ticket_id = row.ticket_id;
    row.last_record = record.id;
    encode_record(record, trail, result, scratch_);
    WA_TRY(sqlite::Statement * statement,
           db_.cached("INSERT INTO records(id,born,kind,body,result) VALUES(?1,?2,?3,?4,?5)"));
    statement->bind(1, record.id).bind(2, row.born).bind(3, static_cast<std::int64_t>(record.kind));
    statement->bind_blob(4, scratch_);
    if (result.empty()) {
        statement->bind_null(5);
    } else {
        statement->bind_text(5, result);
    }
    return statement->run();
}

Result<void> Book::requeue(TicketRow& row, RecordKind kind, std::string_view actor, std::string_view reason) {
    const StoredPhase before = row.phase;
    row.phase = StoredPhase::kPending;
    row.outcome.reset();
    ++row.submissions;
    row.burned = 0;
    row.deliveries = 0;
    row.round = 0;
    row.origin = 0;
    row.submitted_at = now_;
    row.started_at = row.attempt_at = row.ended_at = row.duration_ms = 0;
    HistoryRecord record;
    record.kind = kind;
    record.actor = actor;
    record.reason = reason;
    WA_CHECKED(append(row, std::move(record)));
    WA_CHECKED(move_to_tail(row, before));
    if (before != StoredPhase::kDeadLettered) return {};
    return settle_dead_letter(row.born, true);
}

Result<void> Book::settle_dead_letter(std::int64_t born, bool replayed) {
    WA_TRY(sqlite::Statement * statement,
           db_.cached("UPDATE dead_letters SET active=0,replays=replays+?2 WHERE born=?1"));
    return statement->bind(1, born).bind(2, replayed ? 1 : 0).run();
}

// --------------------------------------------------------------------- purge

Result<void> Book::purge(const TicketRow& row) {
    for (std::int64_t id = row.last_record; id != 0;) {
        WA_TRY(const StoredRecord stored, record_at(db_, id, false));
        WA_TRY(sqlite::Statement * statement, db_.cached("DELETE FROM records WHERE id=?1"));
        WA_CHECKED(statement->bind(1, id).run());
        id = stored.record.previous;
    }
    WA_TRY(sqlite::Statement * payload, db_.cached("DELETE FROM payloads WHERE born=?1"));
    WA_CHECKED(payload->bind(1, row.born).run());
    WA_TRY(sqlite::Statement * letter, db_.cached("DELETE FROM dead_letters WHERE born=?1"));
    WA_CHECKED(letter->bind(1, row.born).run());
    WA_TRY(sqlite::Statement * ticket, db_.cached("DELETE FROM tickets WHERE seq=?1"));
    WA_CHECKED(ticket->bind(1, row.seq).run());
    if (row.odd_id) {
        WA_TRY(sqlite::Statement * odd, db_.cached("DELETE FROM odd_ids WHERE ticket_id=?1"));
        WA_CHECKED(odd->bind_text(1, row.ticket_id).run());
    }
    WA_TRY(sqlite::Statement * tombstone,
           db_.cached("INSERT INTO tombstones(id_key,ticket_id,phase,ended_at) VALUES(?1,?2,?3,?4)"));
    tombstone->bind(1, row.id_key).bind_text(2, row.ticket_id).bind(3, phase_code(row.phase));
    WA_CHECKED(tombstone->bind(4, row.ended_at).run());
    tombstones_ = 1;
    count(row, row.phase, -1, false);
    return {};
}

Result<std::optional<Tombstone>> Book::tombstone(std::string_view ticket_id) {
    if (tombstones_ == 0) return std::nullopt;
    return find_tombstone(db_, hash_key_, ticket_id);
}

Result<void> Book::drop_tombstones(std::string_view ticket_id) {
    WA_TRY(sqlite::Statement * statement, db_.cached("DELETE FROM tombstones WHERE id_key=?1 AND ticket_id=?2"));
    return statement->bind(1, id_key(hash_key_, ticket_id).key).bind_text(2, ticket_id).run();
}

Result<std::int64_t> Book::count_tombstones() {
    // Numbers are given out without gaps except for dropped ones: the span is an upper bound, and cheap.
    return db_.scalar("SELECT coalesce((SELECT max(n) FROM tombstones) - (SELECT min(n) FROM tombstones) + 1, 0)");
}

Result<std::int64_t> Book::trim_tombstones(std::int64_t keep, std::int64_t at_most) {
    WA_TRY(const std::int64_t span, count_tombstones());
    if (span <= keep) return std::int64_t{0};
    WA_TRY(sqlite::Statement * statement,
           db_.cached("DELETE FROM tombstones WHERE n IN (SELECT n FROM tombstones ORDER BY n LIMIT ?1)"));
    WA_CHECKED(statement->bind(1, std::min(span - keep, at_most)).run());
    return std::int64_t{db_.changes()};
}

}  // namespace wa::store
