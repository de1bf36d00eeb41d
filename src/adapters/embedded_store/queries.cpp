#include "adapters/embedded_store/queries.h"

#include <utility>

namespace wa::store {

namespace {

Result<TicketRow> read_ticket(const sqlite::Statement& row) {
    return decode_row(row.int64(0), row.int64(1), row.int64(2), row.int64(3), row.blob(4));
}

#define WA_PLAN_COLUMNS "id,plan_id,name,intent_id,actor,created_at,changed_at,open,total,counts"

Result<std::optional<PlanRow>> one_plan(sqlite::Statement& statement) {
    const sqlite::Use use(statement);
    WA_TRY(const bool found, statement.step());
    if (!found) return std::nullopt;
    WA_TRY(PlanRow plan, read_plan(statement));
    return plan;
}

}  // namespace

std::string encode_counts(const CountArray& counts) {
    std::string out;
    ByteWriter writer(out);
    for (const std::int64_t count : counts)
        writer.u48(count);
    return out;
}

Result<CountArray> decode_counts(std::string_view bytes) {
    ByteReader reader(bytes);
    CountArray counts{};
    for (auto& count : counts)
        count = reader.u48();
    if (!reader.ok() || !reader.at_end()) return corrupt("the counts of a plan cannot be read");
    return counts;
}

Result<PlanRow> read_plan(const sqlite::Statement& row) {
    PlanRow plan;
    plan.id = row.int64(0);
    plan.plan_id = row.text(1);
    plan.name = row.text(2);
    plan.intent_id = row.text(3);
    plan.actor = row.text(4);
    plan.created_at = row.int64(5);
    plan.changed_at = row.int64(6);
    plan.open = row.int64(7);
    plan.total = row.int64(8);
    WA_TRY(plan.counts, decode_counts(row.blob(9)));
    return plan;
}

Result<std::optional<TicketRow>> find_ticket(sqlite::Db& db, const HashKey& hash_key, std::string_view ticket_id) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT seq,id_key,plan,phase,body FROM tickets WHERE id_key=?1"));
    const sqlite::Use use(*statement);
    statement->bind(1, id_key(hash_key, ticket_id).key);
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return std::nullopt;
        WA_TRY(TicketRow row, read_ticket(*statement));
        if (row.ticket_id == ticket_id) return row;
    }
}

Result<std::optional<TicketRow>> ticket_at(sqlite::Db& db, Offset seq) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT seq,id_key,plan,phase,body FROM tickets WHERE seq=?1"));
    const sqlite::Use use(*statement);
    statement->bind(1, seq);
    WA_TRY(const bool found, statement->step());
    if (!found) return std::nullopt;
    WA_TRY(TicketRow row, read_ticket(*statement));
    return row;
}

Result<std::optional<PlanRow>> find_plan(sqlite::Db& db, std::string_view plan_id) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT " WA_PLAN_COLUMNS " FROM plans WHERE plan_id=?1"));
    statement->bind_text(1, plan_id);
    return one_plan(*statement);
}

Result<std::optional<PlanRow>> plan_at(sqlite::Db& db, std::int64_t id) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT " WA_PLAN_COLUMNS " FROM plans WHERE id=?1"));
    statement->bind(1, id);
    return one_plan(*statement);
}

Result<StoredRecord> record_at(sqlite::Db& db, std::int64_t id, bool with_result) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT born,kind,body,result FROM records WHERE id=?1"));
    const sqlite::Use use(*statement);
    statement->bind(1, id);
    WA_TRY(const bool found, statement->step());
    if (!found) return corrupt("history record " + std::to_string(id) + " is missing");
    StoredRecord out;
    WA_TRY(out.record, decode_record(id, statement->int64(0), statement->int64(1), statement->blob(2)));
    if (!with_result || statement->is_null(3)) return out;
    out.result = statement->text(3);
    if (!result_matches(statement->blob(2), out.result)) {
        return corrupt("the result in record " + std::to_string(id) + " does not match its checksum");
    }
    return out;
}

Result<StoredTicket> stored_ticket(sqlite::Db& db, std::int64_t born, bool with_payload) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT head,payload FROM payloads WHERE born=?1"));
    const sqlite::Use use(*statement);
    statement->bind(1, born);
    WA_TRY(const bool found, statement->step());
    if (!found) return corrupt("the stored ticket " + std::to_string(born) + " is missing");
    StoredTicket out;
    WA_TRY(out.head, decode_head(born, statement->blob(0)));
    if (!with_payload) return out;
    out.payload = statement->text(1);
    if (!payload_matches(statement->blob(0), out.payload)) {
        return corrupt("the stored ticket " + std::to_string(born) + " does not match its checksum");
    }
    return out;
}

Result<std::optional<Tombstone>> find_tombstone(sqlite::Db& db, const HashKey& hash_key, std::string_view ticket_id) {
    WA_TRY(sqlite::Statement * statement,
           db.cached("SELECT ticket_id,phase,ended_at FROM tombstones WHERE id_key=?1 ORDER BY n DESC"));
    const sqlite::Use use(*statement);
    statement->bind(1, id_key(hash_key, ticket_id).key);
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return std::nullopt;
        if (statement->text(0) != ticket_id) continue;
        const auto phase = phase_of(statement->int64(1));
        if (!phase) return corrupt("a tombstone cannot be read");
        return Tombstone{*phase, statement->int64(2)};
    }
}

Result<std::int64_t> meta_int(sqlite::Db& db, std::string_view key) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT value FROM meta WHERE key=?1"));
    const sqlite::Use use(*statement);
    statement->bind_text(1, key);
    WA_TRY(const bool found, statement->step());
    if (!found) return corrupt("the value " + std::string(key) + " is missing");
    return statement->int64(0);
}

Result<std::string> meta_text(sqlite::Db& db, std::string_view key) {
    WA_TRY(sqlite::Statement * statement, db.cached("SELECT value FROM meta WHERE key=?1"));
    const sqlite::Use use(*statement);
    statement->bind_text(1, key);
    WA_TRY(const bool found, statement->step());
    if (!found) return corrupt("the value " + std::string(key) + " is missing");
    return std::string(statement->text(0));
}

Result<void> set_meta(sqlite::Db& db, std::string_view key, std::int64_t value) {
    WA_TRY(sqlite::Statement * statement, db.cached("UPDATE meta SET value=?2 WHERE key=?1"));
    return statement->bind_text(1, key).bind(2, value).run();
}

Result<void> set_meta(sqlite::Db& db, std::string_view key, std::string_view value) {
    WA_TRY(sqlite::Statement * statement, db.cached("UPDATE meta SET value=?2 WHERE key=?1"));
    return statement->bind_text(1, key).bind_text(2, value).run();
}

TicketSummary summarize(const TicketRow& row, const PlanRow* plan) {
    TicketSummary out;
    out.queue_seq = row.seq;
    out.ticket_id = row.ticket_id;
    if (plan != nullptr) {
        out.plan_id = plan->plan_id;
        out.plan_name = plan->name;
    }
    out.task_id = row.task_id;
    out.task_type = row.type;
    out.priority = row.priority;
    out.phase = row.phase;
    if (row.outcome) out.outcome = wa::to_string(*row.outcome);
    out.attempts = row.attempts;
    out.deliveries = row.deliveries;
    out.submissions = row.submissions;
    out.created_at = row.created_at;
    out.submitted_at = row.submitted_at;
    out.started_at = row.started_at;
    out.last_attempt_at = row.attempt_at;
    out.ended_at = row.ended_at;
    out.actual_duration_ms = row.duration_ms;
    return out;
}

}  // namespace wa::store
