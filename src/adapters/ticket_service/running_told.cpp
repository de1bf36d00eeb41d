#include "adapters/ticket_service/running_told.h"

namespace wa::ticket_service {

void RunningTold::told(const StatusUpdate& update, EpochMillis wall) {
    if (update.status != TicketStatus::kRunning) {
        running_.erase(update.ticket_id);
        return;
    }
    running_[update.ticket_id] = wall;
    in_order_.emplace_back(wall, update.ticket_id);
    while (running_.size() > most_ || in_order_.size() > 2 * most_) {
        const auto found = running_.find(in_order_.front().second);
        if (found != running_.end() && found->second == in_order_.front().first) running_.erase(found);
        in_order_.pop_front();
    }
}

// An ending from before is of an earlier record of this ticket: it runs anew.
void RunningTold::seen(const EndingSeen& ending, MonoTime now) {
    const auto found = running_.find(ending.ticket_id);
    if (found == running_.end() || ending.at < found->second) return;
    if (due_.size() >= most_) due_.pop_front();
    due_.push_back({now + kPatience, ending});
}

std::vector<EndingSeen> RunningTold::due(MonoTime now) {
    std::vector<EndingSeen> wrong;
    while (!due_.empty() && due_.front().at <= now) {
        Due next = std::move(due_.front());
        due_.pop_front();
        const auto found = running_.find(next.ending.ticket_id);
        if (found == running_.end() || next.ending.at < found->second) continue;
        running_.erase(found);
        wrong.push_back(std::move(next.ending));
    }
    return wrong;
}

}  // namespace wa::ticket_service
