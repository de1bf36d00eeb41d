// Any bytes as an answer of a schema registry, or as a cached schema on disk.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapters/schema_registry/answers.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace sr = wa::schema_registry;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto schema = sr::parse_schema(text)) {
        WA_CHECK(!schema->empty() && schema->size() <= sr::kMaxSchemaBytes, "bounded");
        const auto again = sr::parse_file("r", 7, sr::file_text("r", 7, *schema));
        WA_CHECK(again && *again == *schema, "what is found can be kept");
        WA_CHECK(!sr::parse_file("r", 8, sr::file_text("r", 7, *schema)), "and is not taken for another");
    }
    static_cast<void>(sr::parse_registered(text));
    if (const auto error = sr::parse_error(text)) WA_CHECK(error->message.size() <= 210, "short");
    WA_CHECK(!sr::parse_file("r", 1, text), "nobody guesses the mark");
    return 0;
}
