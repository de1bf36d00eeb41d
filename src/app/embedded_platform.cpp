#include "app/embedded_platform.h"

#include <boost/asio/post.hpp>
#include <optional>
#include <utility>
#include <variant>

#include "core/codec/result_json.h"
#include "core/codec/ticket_json.h"

namespace wa::app {

EmbeddedPlatform::~EmbeddedPlatform() {
    disconnect();
    store_.reset();
}

Result<void> EmbeddedPlatform::open() {
    StoreOptions store;
    store.path = parts_.state.database();
    store.retention.keep_ended = parts_.settings.duration("RETENTION_DAYS");
    store.retention.keep_tickets = parts_.settings.integer("RETENTION_MAX_TICKETS");
    WA_TRY(store_, EmbeddedStore::open(std::move(store), parts_.clock, parts_.random));
    dead_letters_ = std::make_unique<EmbeddedDeadLetters>(*store_);
    parts_.health.add_liveness("store", [this]() -> std::optional<std::string> {
        if (!store_->health().stopped) return std::nullopt;
        return "the store has stopped";
    });
    parts_.health.add_readiness("store", [this]() -> std::optional<std::string> {
        const StoreHealth health = store_->health();
        if (health.disk_full) return "the disk is full";
        if (!health.ok) return health.error;
        return std::nullopt;
    });
    if (store_->opened().interrupted > 0)
        parts_.log.warning("attempts_interrupted", {{"count", store_->opened().interrupted}});
    return {};
}

Result<void> EmbeddedPlatform::connect() {
    const Post post = [this](std::function<void()> action) { boost::asio::post(parts_.loop, std::move(action)); };
    const auto deliver = [this](auto input) {
        std::visit([this](auto& value) { parts_.feed(std::move(value)); }, input);
    };
    source_ =
        std::make_unique<EmbeddedSource>(*store_, post, [deliver](SourceInput input) { deliver(std::move(input)); });
    sink_ = std::make_unique<EmbeddedSink>(
        *store_, post, [deliver](SinkInput input) { deliver(std::move(input)); },
        EmbeddedSinkOptions{[](const ExecutionResult& result) { return write_result(result); },
                            [](const Ticket& ticket) { return write_ticket(ticket); }, false});
    tickets_ = std::make_unique<EmbeddedTicketService>(
        *store_, post, [this](DependencyStatuses statuses) { parts_.feed(std::move(statuses)); });
    return {};
}

std::function<Result<Ticket>(std::string_view)> EmbeddedPlatform::decoder() {
    return [](std::string_view payload) { return parse_ticket(payload); };
}

// One row; a store that cannot be asked is no reason to think that a ticket is gone.
DependencyState EmbeddedPlatform::standing(std::string_view ticket_id) {
    const auto known = store_->statuses({std::string(ticket_id)});
    return known && !known->empty() ? known->front().state : DependencyState::kOpen;
}

Result<void> EmbeddedPlatform::begin() {
    source_->start();
    return {};
}

void EmbeddedPlatform::disconnect() {
    source_.reset();
    sink_.reset();
    tickets_.reset();
}

void EmbeddedPlatform::close(bool drained) {
    if (store_) store_->close(drained ? StopKind::kDrained : StopKind::kUnclean);
}

std::vector<std::vector<std::string>> EmbeddedPlatform::checks() {
    const StoreHealth store = store_->health();
    if (store.ok && !store.disk_full) {
        return {{"store", "ok",
                 std::to_string(store.file_bytes) + " bytes, " + std::to_string(store.tickets_open) + " open tickets"}};
    }
    return {{"store", "error", store.disk_full ? "the disk is full" : store.error,
             "free space or repair the disk; the store recovers by itself"}};
}

}  // namespace wa::app
