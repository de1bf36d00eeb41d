// Execution tickets as Avro (contract/tickets.md 3): the same rules and the same Ticket as core/codec/ticket_json.h.
//
// One AvroTicketReader for each schema that tickets were written under (found by the id in the envelope); making it is
// the expensive part. Immutable; may be used from any thread.
#pragma once

#include <string_view>

#include "base/error.h"
#include "core/codec/avro_decode.h"
#include "core/codec/ticket_json.h"
#include "core/ticket/ticket.h"

namespace wa {

class AvroTicketReader {
public:
    // `writer_schema`: the schema's JSON text as the registry gives it. Errors: those of AvroSchema::parse(), and
    // kInvalidArgument when what was written under it cannot be read as a ticket. All are permanent: dead letter.
    static Result<AvroTicketReader> make(std::string_view writer_schema);

private:
    explicit AvroTicketReader(AvroResolver resolver) : resolver_(std::move(resolver)) {}
    friend Result<Ticket> decode_ticket_avro(const AvroTicketReader&, std::string_view, const TicketLimits&);
    AvroResolver resolver_;
};

// `body` without its envelope. Errors, all with Retry::kNever and Fault::kInput: kMalformed (the bytes do not fit the
// schema), and those of parse_ticket(). The parameters of the ticket are texts only.
[[nodiscard]] Result<Ticket> decode_ticket_avro(const AvroTicketReader& reader, std::string_view body,
                                                const TicketLimits& limits = {});

}  // namespace wa
