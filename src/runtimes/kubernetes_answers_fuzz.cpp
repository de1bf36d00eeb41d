// Whatever an API server may send.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtimes/kubernetes_answers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::kubernetes;  // NOLINT: one function
    if (size == 0) return 0;
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);  // NOLINT: bytes
    switch (data[0] % 7) {
        case 0: static_cast<void>(parse_job(body)); break;
        case 1:
        case 2:
            if (const auto page = parse_page(body))
                for (const auto& item : page->items)
                    static_cast<void>(read_pod(item));
            break;
        case 3: static_cast<void>(parse_events(body)); break;
        case 4: static_cast<void>(parse_refusal(body)); break;
        case 5: static_cast<void>(parse_review(body)); break;
        default: {
            // Cut anywhere: nothing may depend on where.
            LineSplitter lines(4096);
            const std::size_t middle = body.size() / 2;
            const auto take = [](std::string_view line) -> wa::Result<void> {
                static_cast<void>(parse_watch_event(line));
                return {};
            };
            static_cast<void>(lines.feed(body.substr(0, middle), take));
            static_cast<void>(lines.feed(body.substr(middle), take));
        }
    }
    return 0;
}
