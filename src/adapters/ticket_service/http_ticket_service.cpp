#include "adapters/ticket_service/http_ticket_service.h"

#include <utility>

#include "adapters/ticket_service/lookups.h"
#include "adapters/ticket_service/sender.h"
#include "adapters/ticket_service/shared.h"
#include "adapters/ticket_service/tokens.h"

namespace wa {

HttpTicketService::HttpTicketService(boost::asio::io_context& loop, const Clock& clock, Random& random,
                                     http::Client& client, TicketServiceOptions options,
                                     std::function<void(DependencyStatuses)> deliver, TicketServiceListener& listener)
    : shared_(std::make_unique<Shared>(
          Shared{loop, clock, random, client, options, listener,
                 ticket_service::Gate(clock, listener, options.breaker_failures, options.breaker_pause)})),
      sender_(std::make_unique<Sender>(*shared_)),
      lookups_(std::make_unique<Lookups>(*shared_, std::move(deliver))),
      tokens_(std::make_unique<Tokens>(*shared_)) {}

HttpTicketService::~HttpTicketService() = default;

Result<void> HttpTicketService::check(const TicketServiceOptions& options) {
    const auto url = http::parse_url(options.base_url);
    if (url) return {};
    Error error = url.error();
    error.field = "EXECUTION_TICKET_SERVICE_URL";
    return tl::unexpected(std::move(error).in("EXECUTION_TICKET_SERVICE_URL"));
}

void HttpTicketService::update_status(StatusUpdate update) {
    sender_->add(std::move(update));
}

bool HttpTicketService::behind() {
    return sender_->behind();
}

void HttpTicketService::lookup(std::vector<std::string> ticket_ids) {
    lookups_->ask(std::move(ticket_ids));
}

void HttpTicketService::token(const std::string& ticket_id, std::function<void(Result<TicketToken>)> done) {
    tokens_->ask(ticket_id, std::move(done));
}

void HttpTicketService::flush(Duration limit, std::function<void(std::size_t left)> done) {
    sender_->flush(limit, std::move(done));
}

TicketServiceStats HttpTicketService::stats() const {
    return {sender_->queued(), sender_->in_flight(), lookups_->awaited(), shared_->gate.state()};
}

}  // namespace wa
