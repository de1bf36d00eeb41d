// Our own schemas (schemas/execution-ticket, schemas/execution-result), compiled in: what messages are read as, and
// what is registered for those that are written.
#pragma once

#include <string_view>

namespace wa {

// The text of schemas/execution-ticket/execution-ticket.avsc. Fingerprint a754342886ab3e49.
[[nodiscard]] std::string_view ticket_schema_text();
// The text of schemas/execution-result/execution-result.avsc. Fingerprint 0ed75a6fedb2ed21.
[[nodiscard]] std::string_view result_schema_text();

}  // namespace wa
