// What the client of the ticket service tells about itself, for logs and metrics. Called from the loop; must not call
// back into the client.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "core/retry/circuit_breaker.h"
#include "ports/ticket_service.h"

namespace wa {

class TicketServiceListener {
public:
    virtual ~TicketServiceListener() = default;
    // `took`: from update_status() to the answer, waits included.
    virtual void status_delivered(const StatusUpdate& /*update*/, Duration /*took*/) {}
    // Tried without success and will be tried again.
    virtual void status_delayed(const StatusUpdate& /*update*/, const Error& /*why*/) {}
    // Given up: refused by the service, or no room in the queue (kLimitExceeded).
    virtual void status_lost(const StatusUpdate& /*update*/, const Error& /*why*/) {}
    // An older one of the same ticket had not gone out and was overtaken.
    virtual void status_replaced(std::string_view /*ticket_id*/) {}
    // One GET of a look-up.
    virtual void lookup_ended(bool /*ok*/, Duration /*took*/) {}
    // One GET of a token.
    virtual void token_fetched(bool /*ok*/, Duration /*took*/) {}
    virtual void lookup_failed(const Error& /*why*/) {}
    virtual void breaker_changed(CircuitBreaker::State /*state*/) {}
    // The file of waiting updates could not be read or written.
    virtual void spill_problem(std::string_view /*text*/) {}
    // Updates of an earlier worker were found.
    virtual void spill_read(std::size_t /*updates*/) {}
};

}  // namespace wa
