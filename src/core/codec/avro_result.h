// Execution results as Avro (contract/tickets.md 5.1), under our own schema.
#pragma once

#include <cstdint>
#include <string>

#include "core/ticket/result.h"

namespace wa {

// The whole message: envelope with `schema_id` (the id that the registry gave result_schema_text()), then the record.
// What JSON results carry beside the schema's fields (plan_id, workflow_id, correlation_id, trace_id, started_at,
// completed_at) goes into result.metadata when known. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string encode_result_avro(const ExecutionResult& result, std::uint32_t schema_id);

}  // namespace wa
