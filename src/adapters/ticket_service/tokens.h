// The JWT of a ticket, fetched when somebody asks for it and kept for a while.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapters/ticket_service/shared.h"

namespace wa {

class HttpTicketService::Tokens {
public:
    using Done = std::function<void(Result<TicketToken>)>;

    explicit Tokens(Shared& shared) : shared_(shared) {}
    Tokens(const Tokens&) = delete;
    Tokens& operator=(const Tokens&) = delete;

    void ask(const std::string& ticket_id, Done done);

private:
    struct Kept {
        TicketToken token;
        std::list<std::string>::iterator place;
    };
    struct Asking {
        http::Call call;
        std::vector<Done> waiting;
        MonoTime sent_at{};
    };
    void answer_soon(Done done, Result<TicketToken> result);
    void answered(const std::string& ticket_id, const Result<http::Response>& response);
    [[nodiscard]] Result<TicketToken> read(const Result<http::Response>& response);
    void keep(const std::string& ticket_id, const TicketToken& token);
    void drop(const std::string& ticket_id);

    Shared& shared_;
    std::unordered_map<std::string, Kept> kept_;
    std::list<std::string> order_;  // the oldest first
    std::unordered_map<std::string, Asking> asking_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
