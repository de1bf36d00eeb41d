// Whatever a process prints: what is shown of it is UTF-8 within its limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "core/codec/text.h"
#include "process/kept_output.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const std::size_t head = data[0];
    const std::size_t tail = data[1];
    const std::size_t piece = 1U + data[2];
    const std::size_t limit = data[3] * 4U;
    std::string_view input(reinterpret_cast<const char*>(data + 4), size - 4);
    wa::KeptOutput kept(head, tail);
    while (!input.empty()) {
        kept.append(input.substr(0, piece));
        input.remove_prefix(piece < input.size() ? piece : input.size());
    }
    WA_CHECK(kept.total() == size - 4, "every byte counts");
    const std::string text = kept.text(limit, 1U + data[2] % 16U);
    WA_CHECK(text.size() <= limit, "the limit holds");
    WA_CHECK(wa::is_utf8(text), "always text");
    const std::string line = kept.last_line(limit);
    WA_CHECK(line.size() <= limit && wa::is_utf8(line), "the last line too");
    return 0;
}
