#include "adapters/ticket_service/tokens.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "adapters/ticket_service/answers.h"

namespace wa {
namespace asio = boost::asio;
using ticket_service::Fate;
using ticket_service::Verdict;

namespace {

constexpr EpochMillis kMargin = 30'000;
constexpr std::size_t kMaxAsking = 1000;

Failure unavailable(std::string why) {
    return tl::unexpected(
        make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "ticket_service", std::move(why)));
}

}  // namespace

void HttpTicketService::Tokens::ask(const std::string& ticket_id, Done done) {
    if (const auto found = kept_.find(ticket_id); found != kept_.end()) {
        if (shared_.clock.wall_now() < found->second.token.expires_at - kMargin)
            return answer_soon(std::move(done), found->second.token);
        drop(ticket_id);
    }
    if (!ticket_service::can_be_asked_for(ticket_id))
        return answer_soon(std::move(done), invalid("ticket_id", "this cannot be the id of a ticket"));
    if (const auto found = asking_.find(ticket_id); found != asking_.end()) {
        found->second.waiting.push_back(std::move(done));
        return;
    }
    if (asking_.size() >= kMaxAsking)
        return answer_soon(std::move(done), unavailable("too many tokens are being fetched"));
    if (!shared_.gate.try_pass())
        return answer_soon(std::move(done), unavailable("the ticket service is away; it is tried again later"));
    Asking& asking = asking_[ticket_id];
    asking.waiting.push_back(std::move(done));
    asking.sent_at = shared_.clock.now();
    http::Request request = shared_.request("GET", http::encode_url_part(ticket_id) + "/token",
                                            {"ticket_service.get_ticket_token", ticket_id});
    request.max_response_bytes = 65'536;
    asking.call = shared_.client.send(std::move(request), [this, ticket_id](const Result<http::Response>& response) {
        answered(ticket_id, response);
    });
}

void HttpTicketService::Tokens::answer_soon(Done done, Result<TicketToken> result) {
    asio::post(shared_.loop,
               [alive = std::weak_ptr<bool>(alive_), done = std::move(done), result = std::move(result)]() mutable {
                   if (!alive.expired()) done(std::move(result));
               });
}

void HttpTicketService::Tokens::answered(const std::string& ticket_id, const Result<http::Response>& response) {
    auto asking = asking_.extract(ticket_id);
    const Result<TicketToken> result = read(response);
    shared_.listener.token_fetched(result.has_value(), shared_.clock.now() - asking.mapped().sent_at);
    if (result) keep(ticket_id, *result);
    const std::weak_ptr<bool> alive = alive_;
    for (const Done& done : asking.mapped().waiting) {
        done(result);
        if (alive.expired()) return;
    }
}

Result<TicketToken> HttpTicketService::Tokens::read(const Result<http::Response>& response) {
    const Verdict verdict = ticket_service::judge(response, shared_.clock.wall_now());
    shared_.gate.passed(verdict);
    if (verdict.fate != Fate::kOk) return tl::unexpected(verdict.error);
    WA_TRY(const ticket_service::TokenAnswer answer, ticket_service::parse_token(response->body));
    TicketToken token{answer.token, 0};
    constexpr std::int64_t kYear2500 = 16'725'225'600;
    if (answer.expires_at && *answer.expires_at > 0 && *answer.expires_at < kYear2500)
        token.expires_at = *answer.expires_at * 1000;
    return token;
}

// One that does not say when it ends is used once.
void HttpTicketService::Tokens::keep(const std::string& ticket_id, const TicketToken& token) {
    if (token.expires_at - kMargin <= shared_.clock.wall_now()) return;
    while (kept_.size() >= shared_.options.tokens && !order_.empty())
        drop(std::string(order_.front()));
    if (kept_.size() >= shared_.options.tokens) return;
    kept_[ticket_id] = {token, order_.insert(order_.end(), ticket_id)};
}

void HttpTicketService::Tokens::drop(const std::string& ticket_id) {
    const auto found = kept_.find(ticket_id);
    if (found == kept_.end()) return;
    order_.erase(found->second.place);
    kept_.erase(found);
}

}  // namespace wa
