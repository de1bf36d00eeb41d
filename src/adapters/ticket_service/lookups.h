// Looks up what became of dependencies: a cache, then as few requests as will do.
//
// An id whose plan is not known is asked for alone; its answer tells the plan, and when more ids wait than a few, the
// plan's list is fetched: it answers for all of them that belong to it. Ids that a list did not name are asked for
// alone again (P4).
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "adapters/ticket_service/answers.h"
#include "adapters/ticket_service/shared.h"

namespace wa {

class HttpTicketService::Lookups {
public:
    Lookups(Shared& shared, std::function<void(DependencyStatuses)> deliver);
    Lookups(const Lookups&) = delete;
    Lookups& operator=(const Lookups&) = delete;

    void ask(std::vector<std::string> ticket_ids);
    [[nodiscard]] std::size_t awaited() const { return awaited_.size(); }

private:
    struct Known {
        std::string plan_id;
        DependencyStatus status;
        MonoTime until{};  // the status is good until then; the plan for longer
        std::list<std::string>::iterator place;
    };
    struct Request {
        http::Call call;
        MonoTime sent_at{};
    };

    void pump_soon();
    void pump();
    void ask_one(const std::string& ticket_id);
    void ask_plan(const std::string& plan_id);
    void send(http::Request request, std::function<void(const Result<http::Response>&)> done);
    void one_answered(const std::string& ticket_id, const Result<http::Response>& answer);
    void plan_answered(const Result<http::Response>& answer);
    void learn(const ticket_service::TicketAnswer& ticket);
    void answer(DependencyStatus status);
    void give_up_all();
    [[nodiscard]] bool listed_recently(const std::string& plan_id) const;
    [[nodiscard]] std::string plan_of(const std::string& ticket_id) const;

    Shared& shared_;
    std::function<void(DependencyStatuses)> deliver_;
    std::unordered_map<std::string, Known> known_;
    std::list<std::string> order_;             // of known_; the longest unused first
    std::unordered_set<std::string> awaited_;  // asked for by the engine, not answered
    std::list<std::string> queue_;             // of these, the ones for which nothing is under way; may be stale
    std::unordered_set<std::string> asking_;   // alone, under way
    std::unordered_map<std::string, MonoTime> listed_;  // plans, when their list was asked for
    std::vector<std::string> plans_due_;
    std::unordered_map<std::uint64_t, Request> requests_;
    std::uint64_t next_request_ = 1;
    std::size_t lists_ = 0;  // of requests_
    std::vector<DependencyStatus> answers_;
    bool pump_posted_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
