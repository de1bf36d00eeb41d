// Any bytes as answers of a server: shown without a crash and without a control character on the terminal.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cli/json_view.h"
#include "cli/sse.h"
#include "cli/text.h"
#include "cli/ticket_view.h"
#include "core/codec/json_limits.h"

namespace {

void check(const std::string& text) {
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte < 0x20 && c != '\n') || byte == 0x7f) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::cli;
    const std::string text(static_cast<const char*>(static_cast<const void*>(data)), size);
    check(printable(text));
    SseParser parser(1000);
    for (std::size_t i = 0; i < size; i += 7)
        static_cast<void>(parser.feed(std::string_view(text).substr(i, 7)));
    const auto value = wa::parse_json(text);
    if (!value) return 0;
    static_cast<void>(yaml_text(*value));
    if (!value->is_object()) return 0;
    const json::object& object = value->get_object();
    const TimeStyle style{1'785'851'600'000, true};
    for (const Table& table : {tickets_table(object, style), plans_table(object, style),
                               dead_letters_table(object, style), executors_table(object)}) {
        if (const auto shown = render(table, {.width = 80})) check(*shown);
    }
    check(tickets_summary(object));
    check(ticket_page(object, *value, style, false));
    check(explain_page(object, text));
    check(worker_page(object, object, false));
    check(doctor_page(object));
    Progress progress({});
    check(progress.update(plan_progress(object, style.now)));
    return 0;
}
