// What the Execution Ticket Service answers, read from JSON. Outside input: bounded, typed, never believed beyond that.
// Pure. Facts: contract/services.md 2.1 to 2.3; contract/engine.md P2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ports/ticket_service.h"

namespace wa::ticket_service {

struct TicketAnswer {
    std::string ticket_id;
    std::string plan_id;  // empty when not said
    std::string status;   // as sent
    std::string error_message;
};

// One ticket object. kMalformed when it is none.
[[nodiscard]] Result<TicketAnswer> parse_ticket(std::string_view body);
// {"tickets": […]}. Items that are no tickets are left out.
[[nodiscard]] Result<std::vector<TicketAnswer>> parse_ticket_list(std::string_view body);

// What a dependency's status means for who waits (P2). Words that are not known mean: wait.
[[nodiscard]] DependencyStatus dependency_status(const TicketAnswer& ticket);

struct TokenAnswer {
    std::string token;
    std::optional<std::int64_t> expires_at;  // seconds since 1970
};
[[nodiscard]] Result<TokenAnswer> parse_token(std::string_view body);

// The "detail" of an error answer as one short line, empty when there is none to understand.
[[nodiscard]] std::string error_detail(std::string_view body);

// {"status": …, "error_message": …|null, "actual_duration_ms": …|null}
[[nodiscard]] std::string status_body(const StatusUpdate& update);

// The file of updates that wait for the service.
inline constexpr std::size_t kMaxSpillBytes = 16ULL << 20U;
[[nodiscard]] std::string spill_text(const std::vector<StatusUpdate>& updates);
// kCorrupt when it is not what spill_text() writes.
[[nodiscard]] Result<std::vector<StatusUpdate>> parse_spill(std::string_view text);

}  // namespace wa::ticket_service
