#include "adapters/ticket_service/lookups.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace wa {
namespace asio = boost::asio;
using ticket_service::Fate;
using ticket_service::TicketAnswer;
using ticket_service::Verdict;

namespace {

constexpr Duration kKeep = std::chrono::seconds(5);
constexpr Duration kKeepEnding = std::chrono::minutes(10);
constexpr std::size_t kWorthAList = 4;  // a list of up to 1000 tickets is large
constexpr std::size_t kMaxListedPlans = 1000;
constexpr std::size_t kMaxTicketBytes = 2ULL << 20U;
constexpr std::size_t kMaxListBytes = 16ULL << 20U;

}  // namespace

HttpTicketService::Lookups::Lookups(Shared& shared, std::function<void(DependencyStatuses)> deliver)
    : shared_(shared), deliver_(std::move(deliver)) {}

void HttpTicketService::Lookups::ask(std::vector<std::string> ticket_ids) {
    const MonoTime now = shared_.clock.now();
    for (std::string& id : ticket_ids) {
        const auto found = known_.find(id);
        if (found != known_.end() && now < found->second.until) {
            order_.splice(order_.end(), order_, found->second.place);
            answers_.push_back(found->second.status);
            continue;
        }
        if (!ticket_service::can_be_asked_for(id)) {
            DependencyStatus nobody;
            nobody.ticket_id = std::move(id);
            answers_.push_back(std::move(nobody));
            continue;
        }
        if (awaited_.size() >= shared_.options.awaited) continue;  // asked again later
        if (awaited_.insert(id).second) queue_.push_back(std::move(id));
    }
    pump_soon();
}

void HttpTicketService::Lookups::pump_soon() {
    if (std::exchange(pump_posted_, true)) return;
    asio::post(shared_.loop, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        pump_posted_ = false;
        pump();
    });
}

bool HttpTicketService::Lookups::listed_recently(const std::string& plan_id) const {
    const auto found = listed_.find(plan_id);
    return found != listed_.end() && shared_.clock.now() - found->second < kKeep;
}

std::string HttpTicketService::Lookups::plan_of(const std::string& ticket_id) const {
    const auto found = known_.find(ticket_id);
    return found == known_.end() ? std::string() : found->second.plan_id;
}

void HttpTicketService::Lookups::pump() {
    while (requests_.size() < shared_.options.lookups && (!queue_.empty() || !plans_due_.empty())) {
        if (!plans_due_.empty()) {
            const std::string plan = std::move(plans_due_.back());
            plans_due_.pop_back();
            if (listed_recently(plan)) continue;
            if (!shared_.gate.try_pass()) {
                give_up_all();
                break;
            }
            ask_plan(plan);
            continue;
        }
        if (lists_ > 0) break;  // it may answer for the rest
        const std::string id = std::move(queue_.front());
        queue_.pop_front();
        if (!awaited_.contains(id) || asking_.contains(id)) continue;  // a list has answered it
        const std::string plan = plan_of(id);
        if (!plan.empty() && !listed_recently(plan) && queue_.size() + 1 >= kWorthAList) {
            plans_due_.push_back(plan);
            queue_.push_back(id);  // in case the list does not name it
            continue;
        }
        if (!shared_.gate.try_pass()) {
            give_up_all();
            break;
        }
        ask_one(id);
    }
    if (answers_.empty()) return;
    deliver_(DependencyStatuses{std::exchange(answers_, {})});
}

void HttpTicketService::Lookups::send(http::Request request, std::function<void(const Result<http::Response>&)> done) {
    const std::uint64_t number = next_request_++;
    Request& entry = requests_[number];
    entry.sent_at = shared_.clock.now();
    entry.call = shared_.client.send(std::move(request),
                                     [this, number, done = std::move(done)](const Result<http::Response>& response) {
                                         const auto ended = requests_.extract(number);
                                         shared_.listener.lookup_ended(response.has_value() && response->status < 500,
                                                                       shared_.clock.now() - ended.mapped().sent_at);
                                         done(response);
                                         pump_soon();
                                     });
}

void HttpTicketService::Lookups::ask_one(const std::string& ticket_id) {
    asking_.insert(ticket_id);
    http::Request request =
        shared_.request("GET", http::encode_url_part(ticket_id), {"ticket_service.get_ticket", ticket_id});
    request.max_response_bytes = kMaxTicketBytes;
    send(std::move(request),
         [this, ticket_id](const Result<http::Response>& response) { one_answered(ticket_id, response); });
}

void HttpTicketService::Lookups::ask_plan(const std::string& plan_id) {
    if (listed_.size() >= kMaxListedPlans) {
        std::erase_if(listed_, [&](const auto& entry) { return shared_.clock.now() - entry.second >= kKeep; });
        if (listed_.size() >= kMaxListedPlans) listed_.clear();
    }
    listed_[plan_id] = shared_.clock.now();
    http::Request request = shared_.request("GET", "?plan_id=" + http::encode_url_part(plan_id) + "&limit=1000",
                                            {"ticket_service.list_tickets"});
    request.max_response_bytes = kMaxListBytes;
    ++lists_;
    send(std::move(request), [this](const Result<http::Response>& response) {
        --lists_;
        plan_answered(response);
    });
}

void HttpTicketService::Lookups::one_answered(const std::string& ticket_id, const Result<http::Response>& response) {
    asking_.erase(ticket_id);
    const Verdict verdict = ticket_service::judge(response, shared_.clock.wall_now());
    shared_.gate.passed(verdict);
    if (verdict.fate == Fate::kNotFound) {
        DependencyStatus unknown;
        unknown.ticket_id = ticket_id;
        return answer(std::move(unknown));
    }
    if (verdict.fate != Fate::kOk) {
        awaited_.erase(ticket_id);
        shared_.listener.lookup_failed(verdict.error);
        return;
    }
    const auto ticket = ticket_service::parse_ticket(response->body);
    if (!ticket || ticket->ticket_id != ticket_id) {
        awaited_.erase(ticket_id);
        shared_.listener.lookup_failed(ticket ? make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kService,
                                                           "ticket_service", "the answer is about another ticket")
                                              : ticket.error());
        return;
    }
    learn(*ticket);
    answer(ticket_service::dependency_status(*ticket));
    if (!ticket->plan_id.empty() && queue_.size() >= kWorthAList && !listed_recently(ticket->plan_id))
        plans_due_.push_back(ticket->plan_id);
}

void HttpTicketService::Lookups::plan_answered(const Result<http::Response>& response) {
    const Verdict verdict = ticket_service::judge(response, shared_.clock.wall_now());
    shared_.gate.passed(verdict);
    if (verdict.fate != Fate::kOk) {
        shared_.listener.lookup_failed(verdict.error);
        return;
    }
    const auto tickets = ticket_service::parse_ticket_list(response->body);
    if (!tickets) {
        shared_.listener.lookup_failed(tickets.error());
        return;
    }
    for (const TicketAnswer& ticket : *tickets) {
        learn(ticket);
        if (awaited_.contains(ticket.ticket_id)) answer(ticket_service::dependency_status(ticket));
    }
}

void HttpTicketService::Lookups::learn(const TicketAnswer& ticket) {
    auto found = known_.find(ticket.ticket_id);
    if (found == known_.end()) {
        while (known_.size() >= shared_.options.cache && !order_.empty()) {
            known_.erase(order_.front());
            order_.pop_front();
        }
        found = known_.try_emplace(ticket.ticket_id).first;
        found->second.place = order_.insert(order_.end(), ticket.ticket_id);
    }
    Known& known = found->second;
    known.plan_id = ticket.plan_id;
    known.status = ticket_service::dependency_status(ticket);
    // Only "completed" is final: a failed ticket may run again (rule 11).
    known.until = shared_.clock.now() + (known.status.state == DependencyState::kCompleted ? kKeepEnding : kKeep);
    order_.splice(order_.end(), order_, known.place);
}

void HttpTicketService::Lookups::answer(DependencyStatus status) {
    awaited_.erase(status.ticket_id);
    answers_.push_back(std::move(status));
}

// The service is away: nothing is asked for now. Requests under way may still answer.
void HttpTicketService::Lookups::give_up_all() {
    plans_due_.clear();
    queue_.clear();
    std::erase_if(awaited_, [this](const std::string& id) { return !asking_.contains(id); });
}

}  // namespace wa
