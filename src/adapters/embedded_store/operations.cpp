#include "adapters/embedded_store/operations.h"

#include <algorithm>
#include <unordered_map>

namespace wa::store {

namespace {

bool is_failed(StoredPhase phase) {
    return wire_status(phase) == TicketStatus::kFailed;
}

Error refusal(ErrorCode code, std::string message, std::string field = {}) {
    Error error = make_error(code, Retry::kNever, Fault::kInput, "store", std::move(message));
    error.field = std::move(field);
    return error;
}
Error unknown_ticket(std::string_view id) {
    return refusal(ErrorCode::kNotFound, "there is no ticket " + std::string(id), std::string(id));
}

// An operation with one typed answer: the value, a refusal, or the trouble of the file.
template <class T>
class Answering : public Operation {
public:
    explicit Answering(StoreCallback<T> answer) : answer_(std::move(answer)) {}
    void committed(Feed& feed) override {
        if (refused_) {
            give(tl::unexpected(std::move(*refused_)));
        } else {
            fill(feed);
            give(std::move(value_));
        }
    }
    void failed(const Error& error) override { give(tl::unexpected(error)); }

protected:
    void reset() {
        refused_.reset();
        value_ = {};
    }
    Result<void> refuse(Error error) {
        refused_ = std::move(error);
        return {};
    }
    [[nodiscard]] bool refused() const { return refused_.has_value(); }
    virtual void fill(Feed&) {}
    T value_{};

private:
    void give(Result<T> result) {
        if (answer_) answer_(std::move(result));
    }
    StoreCallback<T> answer_;
    std::optional<Error> refused_;
};

struct Nothing {};

// -------------------------------------------------------------------- submit

class Submit final : public Answering<SubmitAnswer> {
public:
    Submit(SubmitRequest request, StoreCallback<SubmitAnswer> answer)
        : Answering(std::move(answer)), request_(std::move(request)) {
        for (const auto& ticket : request_.tickets)
            bytes_ += ticket.payload.size() + 64;
    }
    [[nodiscard]] std::size_t tickets() const override { return request_.tickets.size(); }
    [[nodiscard]] std::size_t bytes() const override { return bytes_; }

    Result<void> run(Book& book) override {
        reset();
        known_.clear();
        value_.plan_id = request_.plan_id;
        value_.tickets.resize(request_.tickets.size());
        for (std::size_t n = 0; n < request_.tickets.size() && !refused(); ++n)
            WA_CHECKED(classify(book, n));
        WA_CHECKED(find_original(book));
        if (refused()) return {};
        WA_TRY(const std::int64_t plan,
               book.plan({request_.plan_id, request_.plan_name, request_.intent_id, request_.actor}));
        for (std::size_t n = 0; n < request_.tickets.size(); ++n)
            WA_CHECKED(write(book, n, plan));
        return mark_original(book);
    }

protected:
    void fill(Feed& feed) override {
        for (std::size_t n = 0; n < request_.tickets.size(); ++n) {
            const auto& done = value_.tickets[n];
            if (done.disposition == Disposition::kRequeued) feed.complete = false;
            if (done.disposition != Disposition::kCreated) continue;
            Record record;
            record.position.offset = record.origin.offset = done.queue_seq;
            record.key = done.ticket_id;
            record.payload = std::move(request_.tickets[n].payload);
            record.timestamp = now_;
            record.priority = request_.tickets[n].priority;
            feed.records.push_back(std::move(record));
        }
    }

private:
    Result<void> classify(Book& book, std::size_t n) {
        const NewTicket& ticket = request_.tickets[n];
        auto& out = value_.tickets[n];
        out.ticket_id = ticket.ticket_id;
        WA_TRY(std::optional<TicketRow> row, book.find(ticket.ticket_id));
        if (!row) return check_tombstone(book, n);
        WA_TRY(const bool same, is_same(book, *row, ticket));
        if (!same) {
            return refuse(refusal(ErrorCode::kConflict,
                                  "ticket " + ticket.ticket_id + " is known, with other content (it is " +
                                      std::string(to_string(row->phase)) + ")",
                                  ticket.ticket_id));
        }
        out.disposition = is_failed(row->phase) ? Disposition::kRequeued : Disposition::kSame;
        out.phase = row->phase;
        out.queue_seq = row->seq;
        known_.emplace(n, std::move(*row));
        return {};
    }

    Result<void> check_tombstone(Book& book, std::size_t n) {
        const std::string& id = request_.tickets[n].ticket_id;
        WA_TRY(const std::optional<Tombstone> stone, book.tombstone(id));
        if (!stone || is_failed(stone->phase)) return {};
        return refuse(refusal(ErrorCode::kConflict,
                              "ticket " + id + " was " + std::string(to_string(stone->phase)) +
                                  " before, and its record is no longer kept",
                              id));
    }

    static Result<bool> is_same(Book& book, const TicketRow& row, const NewTicket& ticket) {
        const bool by_identity = !ticket.identity.empty();
        WA_TRY(const StoredTicket stored, stored_ticket(book.db(), row.born, !by_identity));
        if (by_identity && !stored.head.identity.empty()) return stored.head.identity == ticket.identity;
        if (!by_identity) return stored.payload == ticket.payload;
        WA_TRY(const StoredTicket whole, stored_ticket(book.db(), row.born, true));
        return whole.payload == ticket.payload;
    }

    Result<void> find_original(Book& book) {
        original_.reset();
        if (request_.compensates.empty() || refused()) return {};
        WA_TRY(original_, book.find(request_.compensates));
        if (!original_) return refuse(unknown_ticket(request_.compensates));
        if (is_failed(original_->phase) || original_->phase == StoredPhase::kCompensating ||
            original_->phase == StoredPhase::kExternal) {
            return {};
        }
        return refuse(refusal(ErrorCode::kConflict,
                              "ticket " + request_.compensates + " is " + std::string(to_string(original_->phase)) +
                                  "; only a failed one can be compensated",
                              request_.compensates));
    }

    Result<void> mark_original(Book& book) {
        if (!original_) return {};
        const StoredPhase before = original_->phase;
        original_->phase = StoredPhase::kCompensating;
        if (original_->ended_at == 0) original_->ended_at = book.now();
        HistoryRecord record;
        record.kind = RecordKind::kCompensation;
        record.actor = request_.actor;
        record.compensation_ticket_id = request_.tickets.front().ticket_id;
        record.reason = "compensated by " + record.compensation_ticket_id;
        WA_CHECKED(book.append(*original_, std::move(record)));
        WA_CHECKED(book.update(*original_, before));
        if (before != StoredPhase::kDeadLettered) return {};
        return book.settle_dead_letter(original_->born, false);
    }

    Result<void> write(Book& book, std::size_t n, std::int64_t plan) {
        auto& out = value_.tickets[n];
        if (out.disposition == Disposition::kSame) return {};
        if (out.disposition == Disposition::kRequeued) {
            TicketRow& row = known_.at(n);
            WA_CHECKED(
                book.requeue(row, RecordKind::kResubmitted, request_.actor, "submitted again after it had failed"));
            out.phase = row.phase;
            out.queue_seq = row.seq;
            return {};
        }
        const NewTicket& ticket = request_.tickets[n];
        now_ = book.now();
        TicketRow row;
        row.plan = plan;
        row.type = ticket.task_type;
        row.priority = ticket.priority;
        row.created_at = ticket.created_at > 0 ? ticket.created_at : now_;
        row.submitted_at = now_;
        row.ticket_id = ticket.ticket_id;
        row.task_id = ticket.task_id;
        const TicketHead head{ticket.correlation_id, request_.intent_id, request_.actor, ticket.identity, now_,
                              ticket.dependencies};
        WA_CHECKED(book.insert(row, head, ticket.payload));
        out.queue_seq = row.seq;
        return {};
    }

    SubmitRequest request_;
    std::size_t bytes_ = 0;
    std::unordered_map<std::size_t, TicketRow> known_;
    std::optional<TicketRow> original_;
    EpochMillis now_ = 0;
};

// --------------------------------------------------------------------- retry

class Retrying : public Answering<RetryAnswer> {
public:
    using Answering::Answering;

protected:
    void fill(Feed& feed) override {
        if (!value_.ticket_ids.empty()) feed.complete = false;
    }
    Result<void> requeue_all(Book& book, std::vector<TicketRow>& rows, const std::string& actor,
                             std::string_view reason) {
        std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
        WA_TRY(const std::vector<std::size_t> order, dependencies_first(book, rows));
        for (const std::size_t at : order) {
            WA_CHECKED(book.requeue(rows[at], RecordKind::kRetried, actor, reason));
            value_.ticket_ids.push_back(rows[at].ticket_id);
        }
        return {};
    }

private:
    // Their earlier endings count until they are read again: one that is read before what it needs would take the old
    // ending for the new one.
    static Result<std::vector<std::size_t>> dependencies_first(Book& book, const std::vector<TicketRow>& rows) {
        std::unordered_map<std::string_view, std::size_t> by_id;
        for (std::size_t at = 0; at < rows.size(); ++at)
            by_id.emplace(rows[at].ticket_id, at);
        std::vector<std::vector<std::size_t>> needs(rows.size());
        for (std::size_t at = 0; at < rows.size() && rows.size() > 1; ++at) {
            WA_TRY(const StoredTicket stored, stored_ticket(book.db(), rows[at].born, false));
            for (const std::string& id : stored.head.dependencies) {
                if (const auto found = by_id.find(id); found != by_id.end()) needs[at].push_back(found->second);
            }
        }
        std::vector<std::size_t> order;
        std::vector<bool> seen(rows.size());
        std::vector<std::pair<std::size_t, std::size_t>> path;  // ticket, next of its needs
        for (std::size_t start = 0; start < rows.size(); ++start) {
            if (seen[start]) continue;
            seen[start] = true;
            path.emplace_back(start, 0);
            while (!path.empty()) {
                auto& [at, next] = path.back();
                if (next == needs[at].size()) {
                    order.push_back(at);
                    path.pop_back();
                } else if (const std::size_t needed = needs[at][next++]; !seen[needed]) {
                    seen[needed] = true;
                    path.emplace_back(needed, 0);
                }
            }
        }
        return order;
    }
};

class RetryTickets final : public Retrying {
public:
    RetryTickets(std::vector<std::string> ids, std::string actor, StoreCallback<RetryAnswer> answer)
        : Retrying(std::move(answer)), ids_(std::move(ids)), actor_(std::move(actor)) {
        std::sort(ids_.begin(), ids_.end());
        ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    }
    [[nodiscard]] std::size_t tickets() const override { return ids_.size(); }

    Result<void> run(Book& book) override {
        reset();
        std::vector<TicketRow> rows;
        for (const auto& id : ids_) {
            WA_TRY(std::optional<TicketRow> row, book.find(id));
            if (!row) return refuse(unknown_ticket(id));
            if (!is_failed(row->phase)) {
                return refuse(refusal(
                    ErrorCode::kConflict,
                    "ticket " + id + " is " + std::string(to_string(row->phase)) + "; only a failed one can be retried",
                    id));
            }
            rows.push_back(std::move(*row));
        }
        return requeue_all(book, rows, actor_, "retry asked for");
    }

private:
    std::vector<std::string> ids_;
    std::string actor_;
};

class RetryPlan final : public Retrying {
public:
    RetryPlan(std::string plan_id, PlanRetry only, std::string actor, StoreCallback<RetryAnswer> answer)
        : Retrying(std::move(answer)), plan_id_(std::move(plan_id)), only_(only), actor_(std::move(actor)) {}
    [[nodiscard]] std::size_t tickets() const override { return 1000; }

    Result<void> run(Book& book) override {
        reset();
        WA_TRY(const std::optional<PlanRow> plan, find_plan(book.db(), plan_id_));
        if (!plan || plan_id_.empty()) {
            return refuse(refusal(ErrorCode::kNotFound, "there is no plan " + plan_id_, plan_id_));
        }
        WA_TRY(const std::vector<Offset> places, places_of(book, plan->id));
        std::vector<TicketRow> rows;
        for (const Offset place : places) {
            WA_TRY(std::optional<TicketRow> row, book.at(place));
            if (!row) return corrupt("ticket row " + std::to_string(place) + " is missing");
            const bool wanted = only_ == PlanRetry::kAll ? is_ended(row->phase) : is_failed(row->phase);
            if (wanted) rows.push_back(std::move(*row));
        }
        return requeue_all(book, rows, actor_,
                           only_ == PlanRetry::kAll ? "retry of the whole plan" : "retry of what failed in the plan");
    }

private:
    static Result<std::vector<Offset>> places_of(Book& book, std::int64_t plan) {
        WA_TRY(sqlite::Statement * statement, book.db().cached("SELECT seq FROM tickets WHERE plan=?1 ORDER BY seq"));
        const sqlite::Use use(*statement);
        statement->bind(1, plan);
        std::vector<Offset> places;
        while (true) {
            WA_TRY(const bool found, statement->step());
            if (!found) return places;
            places.push_back(statement->int64(0));
        }
    }

    std::string plan_id_;
    PlanRetry only_;
    std::string actor_;
};

// --------------------------------------------------------------------- patch

StoredPhase phase_for(TicketStatus status) {
    switch (status) {
        case TicketStatus::kPending: return StoredPhase::kPending;
        case TicketStatus::kRunning: return StoredPhase::kExternal;
        case TicketStatus::kCompleted: return StoredPhase::kCompleted;
        case TicketStatus::kFailed: return StoredPhase::kFailed;
        case TicketStatus::kCompensating: return StoredPhase::kCompensating;
        case TicketStatus::kCompensated: return StoredPhase::kCompensated;
    }
    return StoredPhase::kPending;
}

class Patch final : public Answering<TicketSummary> {
public:
    Patch(StatusPatch patch, StoreCallback<TicketSummary> answer)
        : Answering(std::move(answer)), patch_(std::move(patch)) {}

    Result<void> run(Book& book) override {
        reset();
        withdrawn_.reset();
        requeued_ = false;
        WA_TRY(std::optional<TicketRow> row, book.find(patch_.ticket_id));
        if (!row) return refuse(unknown_ticket(patch_.ticket_id));
        if (!allowed(*row)) {
            return refuse(refusal(ErrorCode::kConflict,
                                  "ticket " + patch_.ticket_id + " is " + std::string(to_string(row->phase)) +
                                      "; it cannot be set to " + std::string(to_string(patch_.status)) +
                                      " from outside",
                                  patch_.ticket_id));
        }
        const Offset place = row->seq;
        const bool was_pending = row->phase == StoredPhase::kPending;
        WA_CHECKED(apply(book, *row));
        if (was_pending && row->phase != StoredPhase::kPending) withdrawn_ = place;
        WA_TRY(const std::optional<PlanRow> plan, plan_at(book.db(), row->plan));
        value_ = summarize(*row, plan ? &*plan : nullptr);
        value_.error = patch_.error_message.value_or("");
        return {};
    }

protected:
    void fill(Feed& feed) override {
        if (requeued_) feed.complete = false;
        // A ticket may have come in and gone in one transaction: its record must not be fed.
        if (withdrawn_) feed.withdrawn.push_back(*withdrawn_);
    }

private:
    [[nodiscard]] bool allowed(const TicketRow& row) const {
        if (row.phase == StoredPhase::kRunning) return false;
        if (patch_.unless_ended && is_ended(row.phase)) return false;
        const TicketStatus now = wire_status(row.phase);
        if (now == patch_.status) return true;
        if (now == TicketStatus::kCompleted || now == TicketStatus::kCompensated) {  // COMPLETED is sticky (rule 11)
            return patch_.status == TicketStatus::kCompensating || patch_.status == TicketStatus::kCompensated;
        }
        return patch_.status != TicketStatus::kRunning || !is_ended(row.phase);
    }

    Result<void> apply(Book& book, TicketRow& row) {
        const StoredPhase before = row.phase;
        const std::string reason =
            patch_.reason.empty() ? "status set from outside: " + std::string(to_string(patch_.status)) : patch_.reason;
        const bool same = wire_status(before) == patch_.status;
        if (patch_.status == TicketStatus::kPending && !same) {
            requeued_ = true;
            return book.requeue(row, RecordKind::kPatched, patch_.actor, reason);
        }
        if (!same) row.phase = phase_for(patch_.status);
        if (row.phase == StoredPhase::kExternal && row.started_at == 0) row.started_at = book.now();
        if (is_ended(row.phase) && !is_ended(before)) row.ended_at = book.now();
        if (row.phase == StoredPhase::kCompleted) row.outcome = Outcome::kCompleted;
        if (row.phase == StoredPhase::kFailed && patch_.outcome) {
            row.outcome = patch_.outcome;
            const bool stopped = *row.outcome == Outcome::kCancelled || *row.outcome == Outcome::kPreempted;
            if (stopped) row.phase = StoredPhase::kCancelled;
        }
        if (row.phase == StoredPhase::kFailed && !row.outcome) row.outcome = Outcome::kExecutionFailed;
        if (patch_.actual_duration_ms) row.duration_ms = std::max<std::int64_t>(*patch_.actual_duration_ms, 0);
        HistoryRecord record;
        record.kind = RecordKind::kPatched;
        record.actor = patch_.actor;
        record.reason = reason;
        record.error = patch_.error_message.value_or("");
        WA_CHECKED(book.append(row, std::move(record), {}, patch_.result_json));
        WA_CHECKED(book.update(row, before));
        if (before != StoredPhase::kDeadLettered || row.phase == before) return {};
        return book.settle_dead_letter(row.born, false);
    }

    StatusPatch patch_;
    std::optional<Offset> withdrawn_;
    bool requeued_ = false;
};

// -------------------------------------------------------------- dead letters

struct LetterKey {
    std::int64_t born = 0;
    std::string ticket_id;
};
Result<std::optional<LetterKey>> active_letter(Book& book, std::int64_t key) {
    WA_TRY(sqlite::Statement * statement,
           book.db().cached("SELECT born,ticket_id FROM dead_letters WHERE key=?1 AND active=1"));
    const sqlite::Use use(*statement);
    statement->bind(1, key);
    WA_TRY(const bool found, statement->step());
    if (!found) return std::nullopt;
    return LetterKey{statement->int64(0), std::string(statement->text(1))};
}
// The row of a dead letter; nothing when there is no such letter.
Result<std::optional<TicketRow>> dead_ticket(Book& book, std::int64_t key) {
    WA_TRY(const std::optional<LetterKey> letter, active_letter(book, key));
    if (!letter) return std::nullopt;
    WA_TRY(std::optional<TicketRow> row, book.find(letter->ticket_id));
    if (!row || row->born != letter->born)
        return corrupt("dead letter " + std::to_string(key) + " points at no ticket");
    return row;
}
Error unknown_letter(std::int64_t key) {
    return refusal(ErrorCode::kNotFound, "there is no dead letter " + std::to_string(key), std::to_string(key));
}

class Replay final : public Answering<SubmittedTicket> {
public:
    Replay(std::int64_t key, std::string actor, StoreCallback<SubmittedTicket> answer)
        : Answering(std::move(answer)), key_(key), actor_(std::move(actor)) {}
    Result<void> run(Book& book) override {
        reset();
        WA_TRY(std::optional<TicketRow> row, dead_ticket(book, key_));
        if (!row) return refuse(unknown_letter(key_));
        WA_CHECKED(book.requeue(*row, RecordKind::kReplayed, actor_, "replayed from the dead letters"));
        value_ = {row->ticket_id, Disposition::kRequeued, row->phase, row->seq};
        return {};
    }

protected:
    void fill(Feed& feed) override { feed.complete = false; }

private:
    std::int64_t key_;
    std::string actor_;
};

class Discard final : public Answering<Nothing> {
public:
    Discard(std::int64_t key, std::string reason, std::string actor, StoreCallback<void> answer)
        : Answering([done = std::move(answer)](Result<Nothing> result) {
              if (!done) return;
              if (result) {
                  done({});
              } else {
                  done(tl::unexpected(std::move(result).error()));
              }
          }),
          key_(key),
          reason_(std::move(reason)),
          actor_(std::move(actor)) {}
    Result<void> run(Book& book) override {
        reset();
        WA_TRY(std::optional<TicketRow> row, dead_ticket(book, key_));
        if (!row) return refuse(unknown_letter(key_));
        const StoredPhase before = row->phase;
        row->phase = StoredPhase::kFailed;
        HistoryRecord record;
        record.kind = RecordKind::kDiscarded;
        record.actor = actor_;
        record.reason = reason_;
        WA_CHECKED(book.append(*row, std::move(record)));
        WA_CHECKED(book.update(*row, before));
        return book.settle_dead_letter(row->born, false);
    }

private:
    std::int64_t key_;
    std::string reason_;
    std::string actor_;
};

// --------------------------------------------------------------------- purge

class Purge final : public Answering<PurgeAnswer> {
public:
    Purge(StoreRetention retention, StoreCallback<PurgeAnswer> answer)
        : Answering(std::move(answer)), retention_(retention) {}
    [[nodiscard]] OperationKind kind() const override { return OperationKind::kUpkeep; }
    [[nodiscard]] std::size_t tickets() const override { return retention_.tickets_per_run; }

    Result<void> run(Book& book) override {
        reset();
        budget_ = static_cast<std::int64_t>(retention_.tickets_per_run);
        while (budget_ > 0) {
            WA_TRY(const bool more, purge_one_plan(book));
            if (!more) break;
        }
        WA_CHECKED(purge_loose(book));
        WA_TRY(value_.tombstones_dropped,
               book.trim_tombstones(retention_.keep_tombstones, static_cast<std::int64_t>(retention_.tickets_per_run)));
        return {};
    }

private:
    [[nodiscard]] EpochMillis cutoff(Book& book) const {
        if (book.ended_tickets() > retention_.keep_tickets) return INT64_MAX;
        if (retention_.keep_ended <= Duration::zero()) return 0;
        return book.now() - to_millis(retention_.keep_ended);
    }

    // One plan without open tickets, or a part of it. False: nothing (more) to purge.
    Result<bool> purge_one_plan(Book& book) {
        WA_TRY(
            sqlite::Statement * statement,
            book.db().cached("SELECT id,total FROM plans WHERE open=0 AND changed_at<?1 ORDER BY changed_at LIMIT 1"));
        std::int64_t id = 0;
        {
            const sqlite::Use use(*statement);
            statement->bind(1, cutoff(book));
            WA_TRY(const bool found, statement->step());
            if (!found) return false;
            id = statement->int64(0);
        }
        WA_TRY(const std::vector<TicketRow> rows, rows_of(book, id, budget_, 0));
        for (const auto& row : rows)
            WA_CHECKED(book.purge(row));
        const auto done = static_cast<std::int64_t>(rows.size());
        value_.tickets += done;
        const bool whole = done < budget_;
        budget_ -= std::max<std::int64_t>(done, 1);
        if (!whole) return false;
        WA_CHECKED(book.delete_plan(id));
        ++value_.plans;
        return true;
    }

    // Tickets without a plan go one by one. Open ones in between are passed over, within a bounded look.
    Result<void> purge_loose(Book& book) {
        if (budget_ <= 0) return {};
        WA_TRY(const std::vector<TicketRow> rows, rows_of(book, 0, budget_ * 4, 0));
        for (const auto& row : rows) {
            if (budget_ <= 0) break;
            if (!is_ended(row.phase) || row.ended_at >= cutoff(book)) continue;
            WA_CHECKED(book.purge(row));
            ++value_.tickets;
            --budget_;
        }
        return {};
    }

    static Result<std::vector<TicketRow>> rows_of(Book& book, std::int64_t plan, std::int64_t limit, Offset after) {
        WA_TRY(sqlite::Statement * statement,
               book.db().cached(
                   "SELECT seq,id_key,plan,phase,body FROM tickets WHERE plan=?1 AND seq>?2 ORDER BY seq LIMIT ?3"));
        const sqlite::Use use(*statement);
        statement->bind(1, plan).bind(2, after).bind(3, limit);
        std::vector<TicketRow> rows;
        while (true) {
            WA_TRY(const bool found, statement->step());
            if (!found) return rows;
            WA_TRY(TicketRow row, decode_row(statement->int64(0), statement->int64(1), statement->int64(2),
                                             statement->int64(3), statement->blob(4)));
            rows.push_back(std::move(row));
        }
    }

    StoreRetention retention_;
    std::int64_t budget_ = 0;
};

// -------------------------------------------------------------------- settle

StoredPhase phase_for(const EncodedSettlement& settlement) {
    if (settlement.kind == SettlementKind::kDeadLetter) return StoredPhase::kDeadLettered;
    if (settlement.kind == SettlementKind::kSuppressed) return StoredPhase::kCompleted;
    switch (settlement.outcome) {
        case Outcome::kCompleted: return settlement.simulated ? StoredPhase::kSimulated : StoredPhase::kCompleted;
        case Outcome::kCancelled:
        case Outcome::kPreempted: return StoredPhase::kCancelled;
        case Outcome::kDependencyFailed:
        case Outcome::kDependencyTimeout: return StoredPhase::kDependencyLost;
        case Outcome::kExecutionFailed:
        case Outcome::kTimeout:
        case Outcome::kDeadlineExceeded:
        case Outcome::kInvalid: return StoredPhase::kFailed;
    }
    return StoredPhase::kFailed;
}

class Settle final : public Operation {
public:
    Settle(EncodedBatch batch, std::function<void(BatchAnswer)> answer)
        : batch_(std::move(batch)), answer_(std::move(answer)) {}
    [[nodiscard]] OperationKind kind() const override { return OperationKind::kEnding; }
    [[nodiscard]] std::size_t tickets() const override {
        return batch_.settlements.size() + batch_.intents.size() + batch_.ends.size();
    }

    Result<void> run(Book& book) override {
        requeued_.clear();
        added_ = false;
        for (const auto& end : batch_.ends)
            WA_CHECKED(end_attempt(book, end));
        for (const auto& intent : batch_.intents)
            WA_CHECKED(begin_attempt(book, intent));
        for (const auto& settlement : batch_.settlements)
            WA_CHECKED(settle(book, settlement));
        return {};
    }
    void committed(Feed& feed) override {
        if (added_ || !requeued_.empty()) feed.complete = false;
        answer_({batch_.number, std::nullopt, std::move(requeued_)});
    }
    void failed(const Error& error) override { answer_({batch_.number, error, {}}); }

private:
    static Result<void> begin_attempt(Book& book, const AttemptIntent& intent) {
        WA_TRY(std::optional<TicketRow> row, place(book, intent.position.offset, intent.ticket_id));
        if (!row || is_ended(row->phase) || intent.number <= row->attempts) return {};  // the same batch again
        const StoredPhase before = row->phase;
        row->phase = StoredPhase::kRunning;
        row->attempts = intent.number;
        row->attempt_at = intent.at;
        if (row->started_at == 0) row->started_at = intent.at;
        return book.update(*row, before);
    }

    // Nothing runs between two attempts: should the worker die now, it did not die of this ticket.
    static Result<void> end_attempt(Book& book, const EncodedAttemptEnd& end) {
        WA_TRY(std::optional<TicketRow> row, place(book, end.position.offset, end.ticket_id));
        if (!row || is_ended(row->phase) || end.number <= row->ended_attempt) return {};  // the same batch again
        const StoredPhase before = row->phase;
        row->phase = StoredPhase::kPending;
        row->attempts = std::max(row->attempts, end.number);
        row->ended_attempt = end.number;
        if (end.burned) ++row->burned;
        HistoryRecord record;
        record.kind = end.handed_back ? RecordKind::kHandedBack : RecordKind::kAttemptEnded;
        record.actor = "engine";
        record.at = end.at;
        record.attempt = end.number;
        record.reason = end.handed_back ? "the worker stops; a later start takes it up" : "another attempt follows";
        WA_CHECKED(book.append(*row, std::move(record), end.trail));
        return book.update(*row, before);
    }

    // The row at its place in the queue, else wherever the ticket stands now.
    static Result<std::optional<TicketRow>> place(Book& book, Offset seq, const std::string& ticket_id) {
        WA_TRY(std::optional<TicketRow> row, book.at(seq));
        if (row) return row;
        return book.find(ticket_id);
    }

    Result<void> settle(Book& book, const EncodedSettlement& settlement) {
        WA_TRY(std::optional<TicketRow> row, place(book, settlement.position.offset, settlement.ticket_id));
        if (!row) return {};  // purged since: it had ended
        const bool moved = row->seq != settlement.position.offset;
        if (settlement.kind == SettlementKind::kRequeue) return requeue(book, *row, settlement, moved);
        if (is_ended(row->phase) || moved) return {};  // one ending: the first one stands
        const StoredPhase before = row->phase;
        apply(*row, settlement, book.now());
        if (settlement.kind == SettlementKind::kSuppressed) {
            WA_TRY(const bool repeat, completed_before(book, *row));
            if (!repeat) not_run(*row);
        }
        WA_CHECKED(write_ending(book, *row, settlement));
        WA_CHECKED(compensate(book, *row, settlement));
        return book.update(*row, before);
    }

    static void apply(TicketRow& row, const EncodedSettlement& settlement, EpochMillis now) {
        row.phase = phase_for(settlement);
        row.outcome = settlement.kind == SettlementKind::kDeadLetter ? Outcome::kInvalid : settlement.outcome;
        row.attempts = row.ended_attempt = std::max(row.attempts, settlement.attempts);
        if (settlement.started_at > 0) row.started_at = settlement.started_at;
        row.ended_at = settlement.ended_at > 0 ? settlement.ended_at : now;
        row.duration_ms = std::max<std::int64_t>(settlement.duration_ms, 0);
    }

    static Result<bool> completed_before(Book& book, const TicketRow& row) {
        for (std::int64_t id = row.last_record; id != 0;) {
            WA_TRY(const StoredRecord stored, record_at(book.db(), id, false));
            if (wire_status(stored.record.phase) == TicketStatus::kCompleted) return true;
            id = stored.record.previous;
        }
        return false;
    }
    // Suppressed without having been completed: nothing may look like success that never was one.
    static void not_run(TicketRow& row) {
        row.phase = StoredPhase::kFailed;
        row.outcome = Outcome::kInvalid;
    }

    static Result<void> write_ending(Book& book, TicketRow& row, const EncodedSettlement& settlement) {
        HistoryRecord record;
        record.kind = RecordKind::kEnded;
        record.actor = "engine";
        record.at = row.ended_at;
        record.error = settlement.error;
        if (settlement.kind == SettlementKind::kSuppressed) {
            record.kind = RecordKind::kSuppressed;
            record.reason = wire_status(row.phase) == TicketStatus::kCompleted
                                ? "a repeat of a ticket that was completed before: not run again"
                                : "not run: the ticket came with another status than PENDING";
            record.error = row.phase == StoredPhase::kFailed ? record.reason : "";
        }
        if (settlement.kind == SettlementKind::kDeadLetter) {
            record.kind = RecordKind::kDeadLettered;
            record.reason = settlement.dead_letter.reason;
            record.error = settlement.dead_letter.error;
            WA_CHECKED(write_letter(book, row, settlement.dead_letter));
        }
        return book.append(row, std::move(record), settlement.trail, settlement.result);
    }

    static Result<void> write_letter(Book& book, const TicketRow& row, const DeadLetter& letter) {
        WA_TRY(
            sqlite::Statement * statement,
            book.db().cached(
                "INSERT INTO dead_letters(born,active,at,first_at,replays,ticket_id,task_type,reason,error_type,error) "
                "VALUES(?1,1,?2,?2,0,?3,?4,?5,?6,?7) ON CONFLICT(born) DO UPDATE SET active=1,at=excluded.at,"
                "task_type=excluded.task_type,reason=excluded.reason,error_type=excluded.error_type,error=excluded."
                "error"));
        statement->bind(1, row.born).bind(2, book.now()).bind_text(3, row.ticket_id).bind_text(4, letter.task_type);
        return statement->bind_text(5, letter.reason).bind_text(6, letter.error_type).bind_text(7, letter.error).run();
    }

    Result<void> compensate(Book& book, TicketRow& row, const EncodedSettlement& settlement) {
        if (!settlement.compensation) return {};
        const EncodedCompensation& wanted = *settlement.compensation;
        HistoryRecord record;
        record.kind = RecordKind::kCompensation;
        record.actor = "engine";
        record.compensation_ticket_id = wanted.ticket.ticket_id;
        record.reason = "compensated by " + wanted.ticket.ticket_id;
        if (!wanted.supported) {
            record.compensation_ticket_id.clear();
            record.reason = "a compensation was asked for and not done: this worker does not run COMPENSATE tickets";
            return book.append(row, std::move(record));
        }
        WA_TRY(const std::optional<TicketRow> known, book.find(wanted.ticket.ticket_id));
        if (!known) WA_CHECKED(insert_compensation(book, wanted));
        if (row.phase == StoredPhase::kFailed) row.phase = StoredPhase::kCompensating;
        return book.append(row, std::move(record));
    }

    Result<void> insert_compensation(Book& book, const EncodedCompensation& wanted) {
        WA_TRY(const std::int64_t plan, book.plan({wanted.plan_id, {}, wanted.intent_id, "engine"}));
        const NewTicket& ticket = wanted.ticket;
        TicketRow row;
        row.plan = plan;
        row.type = ticket.task_type;
        row.priority = ticket.priority;
        row.created_at = ticket.created_at > 0 ? ticket.created_at : book.now();
        row.submitted_at = book.now();
        row.ticket_id = ticket.ticket_id;
        row.task_id = ticket.task_id;
        added_ = true;
        return book.insert(row,
                           {ticket.correlation_id, wanted.intent_id, "engine", {}, book.now(), ticket.dependencies},
                           ticket.payload);
    }

    Result<void> requeue(Book& book, TicketRow& row, const EncodedSettlement& settlement, bool moved) {
        if (is_ended(row.phase)) return {};
        if (!moved) {
            const StoredPhase before = row.phase;
            row.phase = StoredPhase::kPending;
            row.origin = settlement.origin.offset != 0 ? settlement.origin.offset : row.seq;
            row.round = settlement.round;
            row.attempts = std::max(row.attempts, settlement.attempts);
            HistoryRecord record;
            record.kind = RecordKind::kRequeued;
            record.actor = "engine";
            record.reason = "moved to the end of the queue, round " + std::to_string(settlement.round);
            WA_CHECKED(book.append(row, std::move(record), settlement.trail));
            WA_CHECKED(book.move_to_tail(row, before));
        }
        requeued_.emplace_back(settlement.position, SourcePosition{settlement.position.partition, row.seq});
        return {};
    }

    EncodedBatch batch_;
    std::function<void(BatchAnswer)> answer_;
    std::vector<std::pair<SourcePosition, SourcePosition>> requeued_;
    bool added_ = false;
};

}  // namespace

std::unique_ptr<Operation> submit_operation(SubmitRequest request, StoreCallback<SubmitAnswer> answer) {
    return std::make_unique<Submit>(std::move(request), std::move(answer));
}
std::unique_ptr<Operation> retry_operation(std::vector<std::string> ticket_ids, std::string actor,
                                           StoreCallback<RetryAnswer> answer) {
    return std::make_unique<RetryTickets>(std::move(ticket_ids), std::move(actor), std::move(answer));
}
std::unique_ptr<Operation> retry_plan_operation(std::string plan_id, PlanRetry only, std::string actor,
                                                StoreCallback<RetryAnswer> answer) {
    return std::make_unique<RetryPlan>(std::move(plan_id), only, std::move(actor), std::move(answer));
}
std::unique_ptr<Operation> patch_operation(StatusPatch patch, StoreCallback<TicketSummary> answer) {
    return std::make_unique<Patch>(std::move(patch), std::move(answer));
}
std::unique_ptr<Operation> replay_operation(std::int64_t key, std::string actor,
                                            StoreCallback<SubmittedTicket> answer) {
    return std::make_unique<Replay>(key, std::move(actor), std::move(answer));
}
std::unique_ptr<Operation> discard_operation(std::int64_t key, std::string reason, std::string actor,
                                             StoreCallback<void> answer) {
    return std::make_unique<Discard>(key, std::move(reason), std::move(actor), std::move(answer));
}
std::unique_ptr<Operation> purge_operation(StoreRetention retention, StoreCallback<PurgeAnswer> answer) {
    return std::make_unique<Purge>(retention, std::move(answer));
}
std::unique_ptr<Operation> settle_operation(EncodedBatch batch, std::function<void(BatchAnswer)> answer) {
    return std::make_unique<Settle>(std::move(batch), std::move(answer));
}

Result<std::int64_t> release_running(Book& book, RecordKind kind, bool count_delivery, std::string_view reason) {
    std::vector<Offset> places;
    {
        WA_TRY(sqlite::Statement * statement, book.db().cached("SELECT seq FROM tickets WHERE phase=?1 ORDER BY seq"));
        const sqlite::Use use(*statement);
        statement->bind(1, phase_code(StoredPhase::kRunning));
        while (true) {
            WA_TRY(const bool found, statement->step());
            if (!found) break;
            places.push_back(statement->int64(0));
        }
    }
    for (const Offset place : places) {
        WA_TRY(std::optional<TicketRow> row, book.at(place));
        if (!row) return corrupt("ticket row " + std::to_string(place) + " is missing");
        AttemptRecord attempt;
        attempt.number = row->attempts;
        attempt.started_at = row->attempt_at;
        attempt.ended_at = book.now();
        attempt.outcome = kind == RecordKind::kInterrupted ? "interrupted" : "handed_back";
        attempt.fault = to_string(Fault::kWorker);
        attempt.error = reason;
        attempt.retryable = true;
        row->phase = StoredPhase::kPending;
        row->ended_attempt = row->attempts;
        if (count_delivery) ++row->deliveries;
        HistoryRecord record;
        record.kind = kind;
        record.actor = "store";
        record.reason = reason;
        WA_CHECKED(book.append(*row, std::move(record), encode_trail({attempt}, {}, 4096)));
        WA_CHECKED(book.update(*row, StoredPhase::kRunning));
    }
    return static_cast<std::int64_t>(places.size());
}

}  // namespace wa::store
