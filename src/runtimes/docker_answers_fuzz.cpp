// Whatever an engine answers is read or refused; ids that are taken can stand in a path.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "runtimes/docker_answers.h"

namespace {

void check_id(const std::string& id) {
    WA_CHECK(id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string::npos, "an id is hexadecimal");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::docker;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(parse_version(text));
    static_cast<void>(parse_wait(text));
    if (const auto containers = parse_list(text)) {
        for (const ContainerSummary& container : *containers)
            check_id(container.id);
    }
    if (const auto container = parse_inspect(text)) check_id(container->id);
    if (const auto created = parse_created(text)) check_id(created->id);
    const std::string refusal = refusal_text(text);
    WA_CHECK(!refusal.empty(), "there is always a word");
    WA_CHECK(refusal.find('\n') == std::string::npos, "on one line");
    return 0;
}
