// What the parts of the ticket service's client have in common.
#pragma once

#include <boost/asio/io_context.hpp>
#include <string>

#include "adapters/ticket_service/gate.h"
#include "adapters/ticket_service/http_ticket_service.h"
#include "http_client/url.h"

namespace wa {

struct HttpTicketService::Shared {
    boost::asio::io_context& loop;
    const Clock& clock;
    Random& random;
    http::Client& client;
    TicketServiceOptions options;
    TicketServiceListener& listener;
    ticket_service::Gate gate;

    [[nodiscard]] http::Request request(std::string method, const std::string& path, CallPurpose purpose) const {
        http::Request request;
        request.purpose = std::move(purpose);
        request.method = std::move(method);
        request.url = http::join_url(options.base_url, "/api/v1/tickets/" + path);
        request.headers.push_back({"Accept", "application/json"});
        request.timeout = options.timeout;
        request.connect_timeout = std::min<Duration>(options.timeout, std::chrono::seconds(5));
        return request;
    }
};

namespace ticket_service {
// "." and ".." would change the path that is asked for; such a ticket does not exist.
[[nodiscard]] inline bool can_be_asked_for(const std::string& ticket_id) {
    return !ticket_id.empty() && ticket_id != "." && ticket_id != ".." && ticket_id.size() <= 512;
}
}  // namespace ticket_service

}  // namespace wa
