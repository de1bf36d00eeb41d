#include "adapters/embedded_store/store.h"

#include <algorithm>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "adapters/embedded_store/store_impl.h"

namespace wa {

namespace {

constexpr std::size_t kIdBytes = 255;
constexpr std::size_t kIdentityBytes = 64;
constexpr std::size_t kTextBytes = 4096;  // of names, actors, reasons

Error over_limit(std::string field, std::string message) {
    Error error = make_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput, "store", std::move(message));
    error.field = std::move(field);
    return error;
}

Result<void> check_ticket(const NewTicket& ticket, const StoreLimits& limits) {
    if (ticket.ticket_id.empty() || ticket.ticket_id.size() > kIdBytes) {
        return invalid("ticket_id", "a ticket id has 1 to " + std::to_string(kIdBytes) + " bytes");
    }
    if (ticket.ticket_id.find('\0') != std::string::npos) return invalid("ticket_id", "a ticket id holds no zero byte");
    if (ticket.identity.size() > kIdentityBytes) return invalid("identity", "an identity has at most 64 bytes");
    std::size_t other = ticket.task_id.size() + ticket.correlation_id.size();
    for (const auto& id : ticket.dependencies)
        other += id.size();
    if (ticket.payload.size() <= limits.payload_bytes && other <= limits.payload_bytes) return {};
    return tl::unexpected(over_limit(ticket.ticket_id, "ticket " + ticket.ticket_id + " is larger than " +
                                                           std::to_string(limits.payload_bytes) + " bytes"));
}

Result<void> check_request(const SubmitRequest& request, const StoreLimits& limits) {
    if (request.tickets.empty()) return invalid("tickets", "there is nothing to submit");
    if (request.tickets.size() > limits.submit_tickets) {
        return tl::unexpected(
            over_limit("tickets", "at most " + std::to_string(limits.submit_tickets) + " tickets at once"));
    }
    for (const std::string* text : {&request.plan_id, &request.plan_name, &request.intent_id, &request.actor}) {
        if (text->size() > kTextBytes) return tl::unexpected(over_limit("plan", "a name is longer than 4096 bytes"));
    }
    std::unordered_set<std::string_view> ids;
    ids.reserve(request.tickets.size());
    std::size_t bytes = 0;
    for (const auto& ticket : request.tickets) {
        WA_CHECKED(check_ticket(ticket, limits));
        bytes += ticket.payload.size();
        if (!ids.insert(ticket.ticket_id).second) {
            return invalid(ticket.ticket_id, "ticket id " + ticket.ticket_id + " stands twice in one request");
        }
    }
    if (bytes <= limits.submit_bytes) return {};
    return tl::unexpected(over_limit("tickets", "written out, the tickets have " + std::to_string(bytes) +
                                                    " bytes; at most " + std::to_string(limits.submit_bytes) +
                                                    " are taken at once"));
}

void shorten(std::string& text) {
    if (text.size() > kTextBytes) text.resize(kTextBytes);
}

}  // namespace

EmbeddedStore::EmbeddedStore(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
EmbeddedStore::~EmbeddedStore() {
    close(StopKind::kUnclean);
}

Result<std::unique_ptr<EmbeddedStore>> EmbeddedStore::open(StoreOptions options, const Clock& clock, Random& random) {
    WA_TRY(std::shared_ptr<Impl> impl, store::open_store(std::move(options), clock, random, store::migrations()));
    return std::unique_ptr<EmbeddedStore>(new EmbeddedStore(std::move(impl)));
}

void EmbeddedStore::close(StopKind kind) {
    if (impl_->closed.exchange(true)) return;
    impl_->stop_copying = true;
    impl_->copier->stop();
    impl_->reader->stop();
    impl_->pool.close();
    impl_->writer->stop(kind);  // last, so that closing its connection moves the log into the file
    impl_->lock.reset();
}

const OpenReport& EmbeddedStore::opened() const {
    return impl_->report;
}
StoreHealth EmbeddedStore::health() const {
    return impl_->writer->health();
}
const StoreLimits& EmbeddedStore::limits() const {
    return impl_->options.limits;
}

// -------------------------------------------------------------------- writes

void EmbeddedStore::submit(SubmitRequest request, StoreCallback<SubmitAnswer> answer) {
    auto operation = [&]() -> Result<std::unique_ptr<store::Operation>> {
        WA_CHECKED(check_request(request, impl_->options.limits));
        return store::submit_operation(std::move(request), answer);
    }();
    if (!operation) return answer(tl::unexpected(std::move(operation).error()));
    impl_->writer->enqueue(std::move(*operation));
}

void EmbeddedStore::retry(std::vector<std::string> ticket_ids, std::string actor, StoreCallback<RetryAnswer> answer) {
    if (ticket_ids.size() > impl_->options.limits.submit_tickets) {
        return answer(tl::unexpected(over_limit("tickets", "too many tickets in one retry")));
    }
    shorten(actor);
    impl_->writer->enqueue(store::retry_operation(std::move(ticket_ids), std::move(actor), std::move(answer)));
}

void EmbeddedStore::retry_plan(std::string plan_id, PlanRetry only, std::string actor,
                               StoreCallback<RetryAnswer> answer) {
    shorten(actor);
    impl_->writer->enqueue(store::retry_plan_operation(std::move(plan_id), only, std::move(actor), std::move(answer)));
}

void EmbeddedStore::patch_status(StatusPatch patch, StoreCallback<TicketSummary> answer) {
    shorten(patch.actor);
    if (patch.error_message && patch.error_message->size() > impl_->options.limits.history_bytes) {
        patch.error_message->resize(impl_->options.limits.history_bytes);
    }
    impl_->writer->enqueue(store::patch_operation(std::move(patch), std::move(answer)));
}

void EmbeddedStore::replay_dead_letter(std::int64_t key, std::string actor, StoreCallback<SubmittedTicket> answer) {
    shorten(actor);
    impl_->writer->enqueue(store::replay_operation(key, std::move(actor), std::move(answer)));
}

void EmbeddedStore::discard_dead_letter(std::int64_t key, std::string reason, std::string actor,
                                        StoreCallback<void> answer) {
    shorten(reason);
    shorten(actor);
    impl_->writer->enqueue(store::discard_operation(key, std::move(reason), std::move(actor), std::move(answer)));
}

void EmbeddedStore::purge(StoreCallback<PurgeAnswer> answer) {
    impl_->writer->enqueue(store::purge_operation(impl_->options.retention, std::move(answer)));
}

void EmbeddedStore::backup(std::filesystem::path target, StoreCallback<BackupAnswer> answer) {
    std::error_code code;
    if (target.empty()) return answer(invalid("target", "a backup needs a path"));
    if (std::filesystem::exists(target, code) || code) {
        return answer(
            fail(ErrorCode::kConflict, "store", target.string() + " exists already, or its folder cannot be read"));
    }
    if (impl_->copying.exchange(true)) return answer(fail(ErrorCode::kConflict, "store", "another backup is running"));
    Impl* impl = impl_.get();  // close() waits for this thread
    const bool started = impl_->copier->run([impl, target, answer] {
        auto done = [&]() -> Result<BackupAnswer> {
            WA_TRY(sqlite::Db db, sqlite::Db::open(impl->options.path, SQLITE_OPEN_READONLY));
            WA_TRY(const std::int64_t bytes, store::copy_database(db, target, {true, &impl->stop_copying}));
            return BackupAnswer{target, bytes};
        }();
        impl->copying = false;
        answer(std::move(done));
    });
    if (started) return;
    impl_->copying = false;
    answer(fail(ErrorCode::kUnavailable, "store", "the store is closing"));
}

// --------------------------------------------------------------------- reads

Result<std::string> EmbeddedStore::resolve(std::string_view text) const {
    return impl_->read([&](const store::ReadContext& in) { return store::resolve_id(in, text); });
}
Result<TicketDetail> EmbeddedStore::ticket(std::string_view ticket_id) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_detail(in, ticket_id); });
}
Result<TicketPage> EmbeddedStore::tickets(const TicketQuery& query) const {
    return impl_->read([&](const store::ReadContext& in) { return store::list_tickets(in, query); });
}
Result<PlanPage> EmbeddedStore::plans(std::size_t offset, std::size_t limit) const {
    return impl_->read([&](const store::ReadContext& in) { return store::list_plans(in, offset, limit); });
}
Result<PlanSummary> EmbeddedStore::plan(std::string_view plan_id) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_plan_summary(in, plan_id); });
}
Result<PlanGraph> EmbeddedStore::plan_graph(std::string_view plan_id, std::size_t node_limit) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_graph(in, plan_id, node_limit); });
}
Result<std::vector<std::string>> EmbeddedStore::open_tickets(std::string_view plan_id) const {
    return impl_->read([&](const store::ReadContext& in) { return store::list_open(in, plan_id); });
}
Result<std::vector<AttemptRecord>> EmbeddedStore::attempts(std::string_view ticket_id) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_attempts(in, ticket_id); });
}
Result<std::vector<HistoryLine>> EmbeddedStore::history(std::string_view ticket_id) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_history(in, ticket_id); });
}
Result<AttemptLog> EmbeddedStore::log(std::string_view ticket_id, std::int32_t attempt) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_log(in, ticket_id, attempt); });
}
Result<DeadLetterPage> EmbeddedStore::dead_letters(std::size_t offset, std::size_t limit) const {
    return impl_->read([&](const store::ReadContext& in) { return store::list_letters(in, offset, limit); });
}
Result<DeadLetterRecord> EmbeddedStore::dead_letter(std::int64_t key) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_letter(in, key); });
}
Result<PhaseCounts> EmbeddedStore::counts() const {
    return impl_->read([](const store::ReadContext& in) { return store::count_phases(in); });
}
Result<std::int64_t> EmbeddedStore::unfinished() const {
    WA_TRY(const PhaseCounts counted, counts());
    std::int64_t sum = 0;
    for (const auto& [phase, count] : counted) {
        if (!is_ended(phase)) sum += count;
    }
    return sum;
}
Result<std::vector<DependencyStatus>> EmbeddedStore::statuses(const std::vector<std::string>& ticket_ids) const {
    return impl_->read([&](const store::ReadContext& in) { return store::read_statuses(in, ticket_ids); });
}
Result<std::vector<EndingEvent>> EmbeddedStore::endings_since(std::int64_t cursor, std::size_t limit) const {
    return impl_->read([&](const store::ReadContext& in) { return store::list_endings(in, cursor, limit); });
}

}  // namespace wa
