#include "adapters/tracing/trace_passage.h"

#include "adapters/tracing/span_parts.h"

namespace wa {

std::optional<TraceContext> TracePassage::context_of(std::string_view ticket_id) const {
    const auto found = open_.find(ticket_id);
    return found == open_.end() ? std::nullopt : std::optional(found->second.context);
}

void TracePassage::ticket_consumed(const TicketView& ticket) {
    if (const auto found = open_.find(ticket.ticket_id); found != open_.end()) {
        ++found->second.records;
        return;
    }
    auto context = parent_of(ticket.trace);
    if (context && open_.size() < max_tickets_)
        open_.try_emplace(std::string(ticket.ticket_id), *std::move(context), 1U);
}

void TracePassage::ticket_moved(const TicketView& ticket, State /*from*/, Event /*event*/, State to,
                                std::string_view /*reason*/) {
    if (to == State::kHandedBack) one_less(ticket.ticket_id);
}

void TracePassage::ticket_settled(const TicketView& ticket, const Settlement& /*settlement*/) {
    one_less(ticket.ticket_id);
}

void TracePassage::one_less(std::string_view ticket_id) {
    const auto found = open_.find(ticket_id);
    if (found != open_.end() && --found->second.records == 0) open_.erase(found);
}

std::unique_ptr<WatchedCall> TracePassage::begin(const CallPurpose& purpose, const OutgoingCall& /*call*/,
                                                 CarriedHeaders& carry) {
    if (purpose.cause) {
        tracing::carry_context(*purpose.cause, carry);
    } else if (const auto found = open_.find(purpose.ticket_id); found != open_.end()) {
        tracing::carry_context(found->second.context, carry);
    }
    return nullptr;
}

}  // namespace wa
