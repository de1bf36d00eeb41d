// With traces switched off: what came with a ticket about its trace is passed on as it came, to calls and messages that
// are about it, so that a worker without traces does not cut those of others in two. Makes no spans and no ids; a
// ticket that brought nothing costs nothing.
//
// Bounded: contexts beyond `max_tickets` are not passed on. Loop thread only.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/trace/call_watch.h"
#include "ports/flow_observer.h"

namespace wa {

class TracePassage final : public FlowObserver, public CallWatch {
public:
    explicit TracePassage(std::size_t max_tickets = 50'000) : max_tickets_(max_tickets) {}

    // What came with the ticket in hand; nothing when nothing came.
    [[nodiscard]] std::optional<TraceContext> context_of(std::string_view ticket_id) const;
    [[nodiscard]] std::size_t kept() const { return open_.size(); }

    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;
    std::unique_ptr<WatchedCall> begin(const CallPurpose& purpose, const OutgoingCall& call,
                                       CarriedHeaders& carry) override;

private:
    struct Open {
        TraceContext context;
        std::size_t records = 0;  // of this ticket, in hand
    };
    void one_less(std::string_view ticket_id);

    std::size_t max_tickets_;
    std::map<std::string, Open, std::less<>> open_;
};

}  // namespace wa
