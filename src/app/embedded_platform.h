// The platform of one machine: the store is the queue, the record and the ticket service.
#pragma once

#include <memory>

#include "adapters/embedded_store/dead_letters.h"
#include "adapters/embedded_store/ports.h"
#include "app/platform.h"

namespace wa::app {

class EmbeddedPlatform final : public Platform {
public:
    explicit EmbeddedPlatform(PlatformParts parts) : parts_(std::move(parts)) {}
    ~EmbeddedPlatform() override;

    Result<void> open() override;
    Result<void> connect() override;
    [[nodiscard]] TicketSource& source() override { return *source_; }
    [[nodiscard]] ResultSink& sink() override { return *sink_; }
    [[nodiscard]] TicketService& tickets() override { return *tickets_; }
    [[nodiscard]] std::function<Result<Ticket>(std::string_view)> decoder() override;
    [[nodiscard]] DependencyState standing(std::string_view ticket_id) override;
    void adapt(EngineOptions& /*options*/) const override {}
    Result<void> begin() override;
    void leave(std::function<void()> done) override { done(); }
    void disconnect() override;
    void close(bool drained) override;
    [[nodiscard]] EmbeddedStore* store() override { return store_.get(); }
    [[nodiscard]] DeadLetters& dead_letters() override { return *dead_letters_; }
    [[nodiscard]] bool all_ended() const override { return store_->health().tickets_open == 0; }
    [[nodiscard]] std::vector<std::vector<std::string>> checks() override;
    [[nodiscard]] std::string where() const override { return "state " + parts_.state.path().string(); }

private:
    PlatformParts parts_;
    std::unique_ptr<EmbeddedStore> store_;
    std::unique_ptr<EmbeddedDeadLetters> dead_letters_;
    std::unique_ptr<EmbeddedSource> source_;
    std::unique_ptr<EmbeddedSink> sink_;
    std::unique_ptr<EmbeddedTicketService> tickets_;
};

}  // namespace wa::app
