// Whatever Code Forge answers: nothing but a value or an error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/codec/text.h"
#include "runtimes/code_forge_answers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto id = wa::code_forge::read_request_id(text)) {
        const wa::code_forge::Note note{"t", "w", *id};
        const auto again = wa::code_forge::read_note(wa::code_forge::write_note(note));
        if (!again || again->request_id != *id) std::abort();
    }
    if (const auto generation = wa::code_forge::read_generation(text, "r");
        generation && !wa::is_utf8(generation->error))
        std::abort();
    static_cast<void>(wa::code_forge::read_detail(text));
    static_cast<void>(wa::code_forge::read_note(text));
    return 0;
}
