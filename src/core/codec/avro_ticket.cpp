#include "core/codec/avro_ticket.h"

#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <utility>

#include "core/codec/avro_schemas.h"

namespace wa {
namespace json = boost::json;

namespace {

// An ordinary ticket is decoded without touching the heap; a larger one grows from here.
constexpr std::size_t kArenaBytes = 16 * 1024;

}  // namespace

Result<AvroTicketReader> AvroTicketReader::make(std::string_view writer_schema) {
    WA_TRY(const AvroSchema reader, AvroSchema::parse(ticket_schema_text()));
    WA_TRY(const AvroSchema writer, AvroSchema::parse(writer_schema));
    WA_TRY(AvroResolver resolver, AvroResolver::make(writer, reader));
    return AvroTicketReader(std::move(resolver));
}

Result<Ticket> decode_ticket_avro(const AvroTicketReader& reader, std::string_view body, const TicketLimits& limits) {
    std::array<unsigned char, kArenaBytes> buffer;  // NOLINT: raw memory for the arena
    json::monotonic_resource arena(buffer.data(), buffer.size());
    auto value = reader.resolver_.decode(body, AvroLimits{limits.max_bytes, limits.max_depth}, &arena);
    if (!value) {
        value.error().origin = "ticket";
        return tl::unexpected(std::move(value).error());
    }
    return parse_ticket_value(*value, limits);
}

}  // namespace wa
