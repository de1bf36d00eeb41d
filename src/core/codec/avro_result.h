// Execution results as Avro (contract/tickets.md 5.1), under our own schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "core/codec/avro_decode.h"
#include "core/ticket/result.h"

namespace wa {

// The whole message: envelope with `schema_id` (the id that the registry gave result_schema_text()), then the record.
// What JSON results carry beside the schema's fields (plan_id, workflow_id, correlation_id, trace_id, started_at,
// completed_at) goes into result.metadata when known. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string encode_result_avro(const ExecutionResult& result, std::uint32_t schema_id);

// How a result says that its ticket ended.
struct ResultVerdict {
    bool completed = false;
    std::string error;  // of a failure; may be empty
};

// Reads the verdict of results that were written under one schema. Immutable; may be used from any thread.
class AvroVerdictReader {
public:
    // `writer_schema`: the schema's JSON text as the registry gives it. Errors: those of AvroSchema::parse(), and
    // kInvalidArgument when what was written under it is no result.
    static Result<AvroVerdictReader> make(std::string_view writer_schema);
    // `body` without its envelope. nullopt: it says that the ticket still runs. Errors: those of
    // AvroResolver::decode().
    [[nodiscard]] Result<std::optional<ResultVerdict>> read(std::string_view body) const;

private:
    explicit AvroVerdictReader(AvroResolver resolver) : resolver_(std::move(resolver)) {}
    AvroResolver resolver_;
};

}  // namespace wa
