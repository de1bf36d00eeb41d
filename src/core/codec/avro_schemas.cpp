#include "core/codec/avro_schemas.h"

#include "avro_schema_texts.h"  // made by CMake from schemas/

namespace wa {

std::string_view ticket_schema_text() {
    return kTicketSchemaText;
}

std::string_view result_schema_text() {
    return kResultSchemaText;
}

}  // namespace wa
