// Inside admin/: tickets on their way into the store.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "admin/support.h"
#include "core/plan/plan.h"

namespace wa::admin {

// The ticket as the store takes it. Its identity comes from `sent`, without what the server filled in (created_at).
[[nodiscard]] NewTicket new_ticket(const Ticket& ticket, Ticket sent);
[[nodiscard]] NewTicket new_ticket(const Ticket& ticket);
// Served type, PENDING, and what the executor says.
[[nodiscard]] Result<void> check_acceptable(const Api& api, const Ticket& ticket);
// 503 while draining; nothing otherwise.
[[nodiscard]] std::optional<net::Response> refusal_while_draining(const Api& api);

}  // namespace wa::admin
