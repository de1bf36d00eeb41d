#include "adapters/embedded_store/reads.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <map>
#include <optional>
#include <utility>

namespace wa::store {

namespace {

constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kCandidates = 5;
constexpr std::size_t kSummaryError = 1024;

Failure not_found(std::string_view what, std::string_view id) {
    Error error = make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "store",
                             "there is no " + std::string(what) + " " + std::string(id));
    error.field = id;
    return tl::unexpected(std::move(error));
}

Result<TicketRow> row_of(const ReadContext& in, std::string_view ticket_id) {
    WA_TRY(std::optional<TicketRow> row, find_ticket(in.db, in.hash_key, ticket_id));
    if (!row) return not_found("ticket", ticket_id);
    return std::move(*row);
}

// Plans of one answer, looked up once.
class Plans {
public:
    explicit Plans(sqlite::Db& db) : db_(db) {}
    // Null for tickets without a plan.
    Result<const PlanRow*> get(std::int64_t id) {
        if (id == 0) return nullptr;
        if (const auto known = plans_.find(id); known != plans_.end()) return &known->second;
        WA_TRY(std::optional<PlanRow> plan, plan_at(db_, id));
        if (!plan) return corrupt("plan " + std::to_string(id) + " is missing");
        return &plans_.emplace(id, std::move(*plan)).first->second;
    }

private:
    sqlite::Db& db_;
    std::map<std::int64_t, PlanRow> plans_;
};

// Newest first, until `visit` says stop (false).
template <class F>
Result<void> walk_records(const ReadContext& in, const TicketRow& row, bool with_result, F&& visit) {
    for (std::int64_t id = row.last_record; id != 0;) {
        WA_TRY(StoredRecord stored, record_at(in.db, id, with_result));
        if (stored.record.born != row.born || stored.record.previous >= id)
            return corrupt("the history of a ticket is tangled");
        id = stored.record.previous;
        if (!visit(std::move(stored))) return {};
    }
    return {};
}

// The whole error of the last ending; empty while the ticket is open and when it was completed.
Result<std::string> last_error_text(const ReadContext& in, const TicketRow& row) {
    std::string text;
    if (!is_ended(row.phase) || wire_status(row.phase) == TicketStatus::kCompleted) return text;
    WA_CHECKED(walk_records(in, row, false, [&](StoredRecord stored) {
        const bool ending = is_ending(stored.record.kind, stored.record.phase);
        if (ending) text = std::move(stored.record.error);
        return !ending;
    }));
    return text;
}

std::string shorten(std::string text, std::size_t limit) {
    if (text.size() <= limit) return text;
    std::size_t end = limit;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U)
        --end;  // not inside a character
    text.resize(end);
    return text;
}

Result<TicketSummary> summary_of(const ReadContext& in, const TicketRow& row, Plans& plans) {
    WA_TRY(const PlanRow* plan, plans.get(row.plan));
    TicketSummary out = summarize(row, plan);
    WA_TRY(std::string error, last_error_text(in, row));
    out.error = shorten(std::move(error), kSummaryError);
    return out;
}

// ------------------------------------------------------------------- resolve

Result<std::string> newest(const ReadContext& in, std::initializer_list<StoredPhase> phases) {
    Offset best = 0;
    for (const StoredPhase phase : phases) {
        WA_TRY(sqlite::Statement * statement, in.db.cached("SELECT max(seq) FROM tickets WHERE phase=?1"));
        const sqlite::Use use(*statement);
        statement->bind(1, phase_code(phase));
        WA_TRY([[maybe_unused]] const bool found, statement->step());
        best = std::max(best, statement->int64(0));
    }
    if (best == 0) return not_found("ticket", "@failed");
    WA_TRY(const std::optional<TicketRow> row, ticket_at(in.db, best));
    if (!row) return corrupt("a ticket row is missing");
    return row->ticket_id;
}

Result<std::string> latest(const ReadContext& in) {
    WA_TRY(const std::int64_t seq, in.db.scalar("SELECT coalesce(max(seq),0) FROM tickets"));
    if (seq == 0) return not_found("ticket", "@latest");
    WA_TRY(const std::optional<TicketRow> row, ticket_at(in.db, seq));
    if (!row) return corrupt("a ticket row is missing");
    return row->ticket_id;
}

Result<void> odd_candidates(const ReadContext& in, std::string_view prefix, std::vector<std::string>& out) {
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT ticket_id FROM odd_ids WHERE ticket_id>=?1 ORDER BY ticket_id LIMIT ?2"));
    const sqlite::Use use(*statement);
    statement->bind_text(1, prefix).bind(2, static_cast<std::int64_t>(kCandidates + 1));
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found || !statement->text(0).starts_with(prefix)) return {};
        out.emplace_back(statement->text(0));
    }
}

Result<void> uuid_candidates(const ReadContext& in, std::string_view prefix, std::vector<std::string>& out) {
    const auto range = id_range(prefix);
    if (!range) return {};
    WA_TRY(
        sqlite::Statement * statement,
        in.db.cached("SELECT seq,id_key,plan,phase,body FROM tickets WHERE id_key BETWEEN ?1 AND ?2 ORDER BY id_key"));
    const sqlite::Use use(*statement);
    statement->bind(1, range->first).bind(2, range->second);
    while (out.size() <= kCandidates) {
        WA_TRY(const bool found, statement->step());
        if (!found) return {};
        WA_TRY(TicketRow row, decode_row(statement->int64(0), statement->int64(1), statement->int64(2),
                                         statement->int64(3), statement->blob(4)));
        if (!row.odd_id && row.ticket_id.starts_with(prefix)) out.push_back(std::move(row.ticket_id));
    }
    return {};
}

Failure ambiguous(std::string_view text, const std::vector<std::string>& candidates) {
    std::string message = std::string(text) + " is the beginning of more than one id:";
    for (std::size_t n = 0; n < std::min(candidates.size(), kCandidates); ++n)
        message += " " + candidates[n];
    if (candidates.size() > kCandidates) message += " …";
    Error error = make_error(ErrorCode::kConflict, Retry::kNever, Fault::kInput, "store", std::move(message));
    error.field = text;
    error.fix = "give more characters of the id";
    return tl::unexpected(std::move(error));
}

// ------------------------------------------------------------------- listing

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}
bool contains(std::string_view text, std::string_view low_part) {
    const auto at = std::search(text.begin(), text.end(), low_part.begin(), low_part.end(),
                                [](char a, char b) { return lower(a) == b; });
    return at != text.end();
}

std::vector<StoredPhase> phases_of(const TicketQuery& query) {
    std::vector<StoredPhase> out;
    for (std::size_t n = 0; n < kStoredPhaseCount; ++n) {
        const auto phase = static_cast<StoredPhase>(n);
        if (query.phase && *query.phase != phase) continue;
        if (query.status && wire_status(phase) != *query.status) continue;
        out.push_back(phase);
    }
    return out;
}

// Places of the queue, newest first, from one ordered source or merged from several.
class Places {
public:
    static Result<Places> of(sqlite::Db& db, const char* sql, const std::vector<std::int64_t>& values) {
        Places out;
        for (const std::int64_t value : values) {
            WA_TRY(sqlite::Statement statement, db.prepare(sql));
            statement.bind(1, value);
            out.sources_.push_back({std::move(statement), 0});
            WA_CHECKED(out.advance(out.sources_.back()));
        }
        return out;
    }
    // 0 = no more.
    Result<Offset> next() {
        Source* best = nullptr;
        for (auto& source : sources_) {
            if (source.head != 0 && (best == nullptr || source.head > best->head)) best = &source;
        }
        if (best == nullptr) return Offset{0};
        const Offset found = best->head;
        WA_CHECKED(advance(*best));
        return found;
    }

private:
    struct Source {
        sqlite::Statement statement;
        Offset head = 0;
    };
    Result<void> advance(Source& source) {
        WA_TRY(const bool found, source.statement.step());
        source.head = found ? source.statement.int64(0) : 0;
        return {};
    }
    std::vector<Source> sources_;
};

struct Listing {
    const TicketQuery& query;
    std::optional<PlanRow> plan;      // of query.plan_id
    std::vector<StoredPhase> phases;  // that match; all of them when not asked for
    std::string text;                 // lowered
    [[nodiscard]] bool all_phases() const { return phases.size() == kStoredPhaseCount; }
};

Result<bool> matches(const Listing& listing, const TicketRow& row, Plans& plans) {
    if (std::find(listing.phases.begin(), listing.phases.end(), row.phase) == listing.phases.end()) return false;
    if (listing.query.task_type && row.type != *listing.query.task_type) return false;
    if (listing.text.empty()) return true;
    if (contains(row.ticket_id, listing.text) || contains(row.task_id, listing.text)) return true;
    WA_TRY(const PlanRow* plan, plans.get(row.plan));
    return plan != nullptr && (contains(plan->plan_id, listing.text) || contains(plan->name, listing.text));
}

Result<std::int64_t> counted(const ReadContext& in, const Listing& listing) {
    WA_TRY(sqlite::Statement * statement, in.db.cached("SELECT phase,type,n FROM counters"));
    const sqlite::Use use(*statement);
    std::int64_t sum = 0;
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return sum;
        const auto phase = phase_of(statement->int64(0));
        const bool wanted_phase =
            phase && std::find(listing.phases.begin(), listing.phases.end(), *phase) != listing.phases.end();
        const bool wanted_type =
            !listing.query.task_type || static_cast<std::int64_t>(*listing.query.task_type) == statement->int64(1);
        if (wanted_phase && wanted_type) sum += statement->int64(2);
    }
}

// The exact number when the store keeps it; nothing when it has to be counted row by row.
Result<std::optional<std::int64_t>> known_total(const ReadContext& in, const Listing& listing) {
    if (!listing.text.empty()) return std::nullopt;
    if (!listing.plan) {
        WA_TRY(const std::int64_t sum, counted(in, listing));
        return sum;
    }
    if (listing.query.task_type) return std::nullopt;
    std::int64_t sum = 0;
    for (const StoredPhase phase : listing.phases)
        sum += listing.plan->counts[static_cast<std::size_t>(phase)];
    return sum;
}

// The start of the page in plain order, found inside SQLite; rows are not decoded on the way.
Result<Places> plain_places(const ReadContext& in, std::size_t offset) {
    return Places::of(in.db,
                      "SELECT seq FROM tickets WHERE seq<=coalesce((SELECT seq FROM tickets ORDER BY seq DESC LIMIT 1 "
                      "OFFSET ?1),0) ORDER BY seq DESC",
                      {static_cast<std::int64_t>(offset)});
}

Result<Places> places_for(const ReadContext& in, const Listing& listing) {
    if (listing.plan) {
        return Places::of(in.db, "SELECT seq FROM tickets WHERE plan=?1 ORDER BY seq DESC", {listing.plan->id});
    }
    if (!listing.all_phases()) {
        std::vector<std::int64_t> codes;
        for (const StoredPhase phase : listing.phases)
            codes.push_back(phase_code(phase));
        return Places::of(in.db, "SELECT seq FROM tickets WHERE phase=?1 ORDER BY seq DESC", codes);
    }
    return plain_places(in, 0);
}

Result<void> add_to_page(const ReadContext& in, const TicketQuery& query, const TicketRow& row, Plans& plans,
                         TicketPage& page, std::size_t& bytes) {
    WA_TRY(TicketSummary summary, summary_of(in, row, plans));
    if (query.with_payload && bytes < in.limits.answer_bytes) {
        WA_TRY(StoredTicket stored, stored_ticket(in.db, row.born, true));
        bytes += stored.payload.size();
        summary.payload = std::move(stored.payload);
    } else if (query.with_payload) {
        page.complete = false;
    }
    page.tickets.push_back(std::move(summary));
    return {};
}

Result<TicketRow> must_be_at(const ReadContext& in, Offset seq) {
    WA_TRY(std::optional<TicketRow> row, ticket_at(in.db, seq));
    if (!row) return corrupt("ticket row " + std::to_string(seq) + " is missing");
    return std::move(*row);
}

// Only index and place decide: skipped rows are not read.
Result<TicketPage> page_by_place(const ReadContext& in, const Listing& listing, std::int64_t total) {
    TicketPage page;
    page.total = total;
    const TicketQuery& query = listing.query;
    if (static_cast<std::int64_t>(query.offset) >= total) return page;
    const bool plain = !listing.plan && listing.all_phases();
    WA_TRY(Places places, plain ? plain_places(in, query.offset) : places_for(in, listing));
    Plans plans(in.db);
    std::size_t bytes = 0;
    for (std::size_t n = plain ? query.offset : 0; n < query.offset + query.limit; ++n) {
        WA_TRY(const Offset seq, places.next());
        if (seq == 0) break;
        if (n < query.offset) continue;
        WA_TRY(const TicketRow row, must_be_at(in, seq));
        WA_CHECKED(add_to_page(in, query, row, plans, page, bytes));
    }
    return page;
}

// Each row is looked at, newest first, up to StoreLimits::scan_rows of them.
Result<TicketPage> page_by_scan(const ReadContext& in, const Listing& listing, std::optional<std::int64_t> total) {
    TicketPage page;
    const TicketQuery& query = listing.query;
    WA_TRY(Places places, places_for(in, listing));
    Plans plans(in.db);
    std::size_t bytes = 0;
    std::size_t hits = 0;
    for (std::size_t looked = 0;; ++looked) {
        WA_TRY(const Offset seq, places.next());
        if (seq == 0) break;
        if (looked >= in.limits.scan_rows) {
            page.complete = false;
            break;
        }
        WA_TRY(const TicketRow row, must_be_at(in, seq));
        WA_TRY(const bool hit, matches(listing, row, plans));
        if (!hit) continue;
        ++hits;
        if (hits > query.offset && hits <= query.offset + query.limit) {
            WA_CHECKED(add_to_page(in, query, row, plans, page, bytes));
        }
        if (total && hits >= query.offset + query.limit) break;  // nothing more to count
    }
    page.total = total.value_or(static_cast<std::int64_t>(hits));
    return page;
}

Result<void> check_page(const ReadContext& in, std::size_t limit) {
    if (limit >= 1 && limit <= in.limits.list_limit) return {};
    return invalid("limit", "limit must be 1 to " + std::to_string(in.limits.list_limit));
}

// --------------------------------------------------------------------- plans

PlanSummary public_plan(const PlanRow& plan) {
    PlanSummary out;
    out.plan_id = plan.plan_id;
    out.name = plan.name;
    out.intent_id = plan.intent_id;
    out.created_at = plan.created_at;
    out.changed_at = plan.changed_at;
    out.total = plan.total;
    out.submitted_by = plan.actor;
    for (std::size_t n = 0; n < kStoredPhaseCount; ++n) {
        if (plan.counts[n] != 0) out.counts.emplace(static_cast<StoredPhase>(n), plan.counts[n]);
    }
    return out;
}

Result<PlanRow> plan_row(const ReadContext& in, std::string_view plan_id) {
    WA_TRY(std::optional<PlanRow> plan, find_plan(in.db, plan_id));
    if (!plan || plan_id.empty()) return not_found("plan", plan_id);
    return std::move(*plan);
}

// -------------------------------------------------------------------- letters

#define WA_LETTER_COLUMNS "key,born,at,first_at,replays,ticket_id,task_type,reason,error_type,error"

struct Letter {
    DeadLetterRecord record;
    std::int64_t born = 0;
};
Letter read_letter_row(const sqlite::Statement& row) {
    Letter out;
    out.record.key = row.int64(0);
    out.born = row.int64(1);
    out.record.at = row.int64(2);
    out.record.first_at = row.int64(3);
    out.record.replays = static_cast<std::int32_t>(row.int64(4));
    out.record.ticket_id = row.text(5);
    out.record.task_type = row.text(6);
    out.record.reason = row.text(7);
    out.record.error_type = row.text(8);
    out.record.error = row.text(9);
    return out;
}

Result<DeadLetterRecord> complete_letter(const ReadContext& in, Letter letter, Plans& plans, bool with_payload) {
    WA_TRY(const std::optional<TicketRow> row, find_ticket(in.db, in.hash_key, letter.record.ticket_id));
    if (!row || row->born != letter.born) return corrupt("a dead letter points at no ticket");
    WA_TRY(const PlanRow* plan, plans.get(row->plan));
    if (plan != nullptr) letter.record.plan_id = plan->plan_id;
    letter.record.task_id = row->task_id;
    letter.record.attempts = row->attempts;
    letter.record.queue_seq = row->seq;
    if (!with_payload) return std::move(letter.record);
    WA_TRY(StoredTicket stored, stored_ticket(in.db, row->born, true));
    letter.record.payload = std::move(stored.payload);
    return std::move(letter.record);
}

// ---------------------------------------------------------------------- logs

// Lines of "logs" in a stored result. The text was written by this program, and is still read with bounds.
Result<std::vector<std::string>> log_lines(const std::string& result) {
    std::vector<std::string> lines;
    if (result.empty()) return lines;
    boost::system::error_code code;
    const boost::json::value value = boost::json::parse(result, code);
    if (code) return corrupt("a stored result is not JSON");
    const auto* object = value.if_object();
    const auto* inner = object != nullptr ? object->if_contains("result") : nullptr;
    const auto* holder = inner != nullptr && inner->is_object() ? inner->if_object() : object;
    const auto* logs = holder != nullptr ? holder->if_contains("logs") : nullptr;
    if (logs == nullptr || !logs->is_array()) return lines;
    for (const auto& line : logs->get_array()) {
        if (line.is_string()) lines.emplace_back(line.get_string().c_str(), line.get_string().size());
    }
    return lines;
}

DependencyState dependency_state(StoredPhase phase) {
    if (!is_ended(phase)) return DependencyState::kOpen;
    return wire_status(phase) == TicketStatus::kCompleted ? DependencyState::kCompleted : DependencyState::kFailed;
}

}  // namespace

Result<std::string> resolve_id(const ReadContext& in, std::string_view text) {
    if (text == "@latest") return latest(in);
    if (text == "@failed") {
        return newest(in, {StoredPhase::kFailed, StoredPhase::kDependencyLost, StoredPhase::kCancelled,
                           StoredPhase::kDeadLettered});
    }
    WA_TRY(const std::optional<TicketRow> exact, find_ticket(in.db, in.hash_key, text));
    if (exact) return exact->ticket_id;
    if (text.size() < kShortestPrefix) {
        return invalid("ticket", "give at least 4 characters of the id, @latest or @failed");
    }
    std::vector<std::string> candidates;
    WA_CHECKED(uuid_candidates(in, text, candidates));
    WA_CHECKED(odd_candidates(in, text, candidates));
    if (candidates.empty()) return not_found("ticket", text);
    if (candidates.size() > 1) return ambiguous(text, candidates);
    return candidates.front();
}

Result<TicketDetail> read_detail(const ReadContext& in, std::string_view ticket_id) {
    WA_TRY(const TicketRow row, row_of(in, ticket_id));
    Plans plans(in.db);
    TicketDetail out;
    WA_TRY(out.summary, summary_of(in, row, plans));
    WA_TRY(StoredTicket stored, stored_ticket(in.db, row.born, true));
    out.summary.payload = std::move(stored.payload);
    out.intent_id = std::move(stored.head.intent_id);
    out.correlation_id = std::move(stored.head.correlation_id);
    out.dependencies = std::move(stored.head.dependencies);
    out.submitted_by = std::move(stored.head.actor);
    WA_TRY(out.error, last_error_text(in, row));
    bool result_found = false;
    WA_CHECKED(walk_records(in, row, true, [&](StoredRecord record) {
        if (out.compensation_ticket_id.empty())
            out.compensation_ticket_id = std::move(record.record.compensation_ticket_id);
        if (!result_found && !record.result.empty()) {
            out.result_json = std::move(record.result);
            result_found = true;
        }
        return true;
    }));
    return out;
}

Result<TicketPage> list_tickets(const ReadContext& in, const TicketQuery& query) {
    WA_CHECKED(check_page(in, query.limit));
    Listing listing{query, std::nullopt, phases_of(query), lowered(query.text)};
    if (!query.plan_id.empty()) {
        WA_TRY(listing.plan, find_plan(in.db, query.plan_id));
        if (!listing.plan) return TicketPage{};
    }
    WA_TRY(const std::optional<std::int64_t> total, known_total(in, listing));
    const bool by_place = total && !query.task_type && (!listing.plan || listing.all_phases());
    return by_place ? page_by_place(in, listing, *total) : page_by_scan(in, listing, total);
}

Result<PlanPage> list_plans(const ReadContext& in, std::size_t offset, std::size_t limit) {
    WA_CHECKED(check_page(in, limit));
    PlanPage page;
    WA_TRY(page.total, in.db.scalar("SELECT count(*) FROM plans"));
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT id,plan_id,name,intent_id,actor,created_at,changed_at,open,total,counts FROM plans "
                        "ORDER BY id DESC LIMIT ?1 OFFSET ?2"));
    const sqlite::Use use(*statement);
    statement->bind(1, static_cast<std::int64_t>(limit))
        .bind(2, static_cast<std::int64_t>(std::min<std::size_t>(offset, INT64_MAX)));
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return page;
        WA_TRY(const PlanRow plan, read_plan(*statement));
        page.plans.push_back(public_plan(plan));
    }
}

Result<PlanSummary> read_plan_summary(const ReadContext& in, std::string_view plan_id) {
    WA_TRY(const PlanRow plan, plan_row(in, plan_id));
    return public_plan(plan);
}

Result<PlanGraph> read_graph(const ReadContext& in, std::string_view plan_id, std::size_t node_limit) {
    WA_TRY(const PlanRow plan, plan_row(in, plan_id));
    PlanGraph graph;
    graph.plan = public_plan(plan);
    Plans plans(in.db);
    WA_TRY(sqlite::Statement * statement, in.db.cached("SELECT seq FROM tickets WHERE plan=?1 ORDER BY seq"));
    const sqlite::Use use(*statement);
    statement->bind(1, plan.id);
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return graph;
        if (graph.nodes.size() >= node_limit) {
            graph.complete = false;
            return graph;
        }
        WA_TRY(const TicketRow row, must_be_at(in, statement->int64(0)));
        PlanNode node;
        WA_TRY(node.ticket, summary_of(in, row, plans));
        WA_TRY(StoredTicket stored, stored_ticket(in.db, row.born, false));
        node.dependencies = std::move(stored.head.dependencies);
        graph.nodes.push_back(std::move(node));
    }
}

Result<std::vector<std::string>> list_open(const ReadContext& in, std::string_view plan_id) {
    WA_TRY(const PlanRow plan, plan_row(in, plan_id));
    std::vector<std::string> out;
    WA_TRY(sqlite::Statement * statement, in.db.cached("SELECT seq,phase FROM tickets WHERE plan=?1 ORDER BY seq"));
    const sqlite::Use use(*statement);
    statement->bind(1, plan.id);
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return out;
        const auto phase = phase_of(statement->int64(1));
        if (phase && is_ended(*phase)) continue;
        WA_TRY(TicketRow row, must_be_at(in, statement->int64(0)));
        out.push_back(std::move(row.ticket_id));
    }
}

Result<std::vector<AttemptRecord>> read_attempts(const ReadContext& in, std::string_view ticket_id) {
    WA_TRY(const TicketRow row, row_of(in, ticket_id));
    std::map<std::int32_t, AttemptRecord> by_number;
    WA_CHECKED(walk_records(in, row, false, [&](StoredRecord stored) {
        // Newest first: a settlement's full account wins over the short one written when the next attempt began.
        for (auto& attempt : stored.record.attempts)
            by_number.emplace(attempt.number, std::move(attempt));
        return true;
    }));
    if (row.phase == StoredPhase::kRunning) {
        AttemptRecord running;
        running.number = row.attempts;
        running.started_at = row.attempt_at;
        running.outcome = "running";
        by_number.insert_or_assign(running.number, running);
    }
    std::vector<AttemptRecord> out;
    for (auto& [number, attempt] : by_number)
        out.push_back(std::move(attempt));
    return out;
}

Result<std::vector<HistoryLine>> read_history(const ReadContext& in, std::string_view ticket_id) {
    WA_TRY(const TicketRow row, row_of(in, ticket_id));
    std::vector<std::vector<HistoryLine>> blocks;
    WA_CHECKED(walk_records(in, row, false, [&](StoredRecord stored) {
        const HistoryRecord& record = stored.record;
        auto& block = blocks.emplace_back();
        for (const auto& entry : record.history) {
            block.push_back({entry.at, "moved", std::string(wa::phase(entry.from)), std::string(wa::phase(entry.to)),
                             entry.attempt, entry.reason, entry.actor});
        }
        const std::string& why = record.reason.empty() ? record.error : record.reason;
        block.push_back({record.at, std::string(to_string(record.kind)), "", std::string(wa::to_string(record.phase)),
                         record.attempt, why, record.actor});
        return true;
    }));
    WA_TRY(const StoredTicket stored, stored_ticket(in.db, row.born, false));
    std::vector<HistoryLine> out;
    out.push_back({stored.head.submitted_at, "submitted", "", std::string(wa::to_string(StoredPhase::kPending)), 0, "",
                   stored.head.actor});
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        std::move(block->begin(), block->end(), std::back_inserter(out));
    }
    return out;
}

Result<AttemptLog> read_log(const ReadContext& in, std::string_view ticket_id, std::int32_t attempt) {
    WA_TRY(const TicketRow row, row_of(in, ticket_id));
    AttemptLog out;
    std::string result;
    WA_CHECKED(walk_records(in, row, true, [&](StoredRecord stored) {
        if (stored.result.empty() || (attempt != 0 && stored.record.attempt != attempt)) return true;
        out.attempt = stored.record.attempt;
        result = std::move(stored.result);
        return false;
    }));
    if (result.empty() && attempt != 0) return not_found("kept log of attempt", std::to_string(attempt));
    WA_TRY(out.lines, log_lines(result));
    return out;
}

Result<DeadLetterPage> list_letters(const ReadContext& in, std::size_t offset, std::size_t limit) {
    WA_CHECKED(check_page(in, limit));
    DeadLetterPage page;
    WA_TRY(page.total, in.db.scalar("SELECT count(*) FROM dead_letters WHERE active=1"));
    Plans plans(in.db);
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT " WA_LETTER_COLUMNS
                        " FROM dead_letters WHERE active=1 ORDER BY at DESC, key DESC LIMIT ?1 OFFSET ?2"));
    const sqlite::Use use(*statement);
    statement->bind(1, static_cast<std::int64_t>(limit))
        .bind(2, static_cast<std::int64_t>(std::min<std::size_t>(offset, INT64_MAX)));
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return page;
        WA_TRY(DeadLetterRecord record, complete_letter(in, read_letter_row(*statement), plans, false));
        page.letters.push_back(std::move(record));
    }
}

Result<DeadLetterRecord> read_letter(const ReadContext& in, std::int64_t key) {
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT " WA_LETTER_COLUMNS " FROM dead_letters WHERE active=1 AND key=?1"));
    const sqlite::Use use(*statement);
    statement->bind(1, key);
    WA_TRY(const bool found, statement->step());
    if (!found) return not_found("dead letter", std::to_string(key));
    Plans plans(in.db);
    return complete_letter(in, read_letter_row(*statement), plans, true);
}

Result<PhaseCounts> count_phases(const ReadContext& in) {
    WA_TRY(sqlite::Statement * statement, in.db.cached("SELECT phase,sum(n) FROM counters GROUP BY phase"));
    const sqlite::Use use(*statement);
    PhaseCounts out;
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return out;
        const auto phase = phase_of(statement->int64(0));
        if (!phase) return corrupt("the counters cannot be read");
        if (statement->int64(1) != 0) out.emplace(*phase, statement->int64(1));
    }
}

Result<std::vector<DependencyStatus>> read_statuses(const ReadContext& in, const std::vector<std::string>& ticket_ids) {
    std::vector<DependencyStatus> out;
    out.reserve(ticket_ids.size());
    for (const auto& id : ticket_ids) {
        DependencyStatus status;
        status.ticket_id = id;
        WA_TRY(const std::optional<TicketRow> row, find_ticket(in.db, in.hash_key, id));
        std::optional<StoredPhase> phase;
        if (row) {
            phase = row->phase;
        } else {
            WA_TRY(const std::optional<Tombstone> stone, find_tombstone(in.db, in.hash_key, id));
            if (stone) phase = stone->phase;
        }
        if (phase) {
            status.state = dependency_state(*phase);
            status.last_word = is_ended(*phase);  // queued again means open again: here nobody else could know better
            status.detail = wa::to_string(wire_status(*phase));
        }
        if (row && status.state == DependencyState::kFailed) {
            WA_TRY(const std::string error, last_error_text(in, *row));
            const std::string_view why = row->outcome ? wa::to_string(*row->outcome) : wa::to_string(row->phase);
            status.detail.append(": ").append(error.empty() ? why : std::string_view(error));
            status.detail = shorten(std::move(status.detail), kSummaryError);
        }
        out.push_back(std::move(status));
    }
    return out;
}

Result<std::vector<EndingEvent>> list_endings(const ReadContext& in, std::int64_t cursor, std::size_t limit) {
    WA_CHECKED(check_page(in, limit));
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT id,born,kind,body,result FROM records WHERE id>?1 ORDER BY id"));
    const sqlite::Use use(*statement);
    statement->bind(1, cursor);
    std::vector<EndingEvent> out;
    std::size_t bytes = 0;
    for (std::size_t looked = 0; out.size() < limit && looked < in.limits.scan_rows; ++looked) {
        WA_TRY(const bool found, statement->step());
        if (!found) break;
        WA_TRY(HistoryRecord record,
               decode_record(statement->int64(0), statement->int64(1), statement->int64(2), statement->blob(3)));
        if (!is_ending(record.kind, record.phase)) continue;
        EndingEvent event;
        event.cursor = record.id;
        event.at = record.at;
        event.ticket_id = std::move(record.ticket_id);
        event.phase = record.phase;
        event.result_json = statement->text(4);
        bytes += event.result_json.size();
        out.push_back(std::move(event));
        if (bytes > in.limits.answer_bytes) break;
    }
    return out;
}

Result<QueueSlice> read_queue(const ReadContext& in, Offset from, std::size_t records, std::size_t bytes) {
    QueueSlice slice;
    WA_TRY(slice.end, meta_int(in.db, "next_seq"));
    WA_TRY(sqlite::Statement * statement,
           in.db.cached("SELECT seq FROM tickets WHERE phase=?1 AND seq>=?2 ORDER BY seq"));
    const sqlite::Use use(*statement);
    statement->bind(1, phase_code(StoredPhase::kPending)).bind(2, from);
    std::size_t taken = 0;
    while (true) {
        WA_TRY(const bool found, statement->step());
        if (!found) return slice;
        if (slice.records.size() >= records || taken >= bytes) {
            slice.exhausted = false;
            return slice;
        }
        WA_TRY(TicketRow row, must_be_at(in, statement->int64(0)));
        WA_TRY(StoredTicket stored, stored_ticket(in.db, row.born, true));
        Record record;
        record.position.offset = row.seq;
        record.origin.offset = row.origin != 0 ? row.origin : row.seq;
        record.key = std::move(row.ticket_id);
        record.payload = std::move(stored.payload);
        record.timestamp = row.submitted_at;
        record.requeue_round = row.round;
        record.priority = row.priority;
        record.run_again = row.submissions > 1;  // a repeat that nobody asked for is answered, not queued
        record.attempts_made = row.attempts;
        record.attempts_burned = row.burned;
        record.deliveries = row.deliveries;
        taken += record.payload.size();
        slice.records.push_back(std::move(record));
    }
}

}  // namespace wa::store
