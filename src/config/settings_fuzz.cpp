// Any bytes as configuration file, env file and values: always an answer, never a crash.
#include <cstddef>
#include <cstdint>
#include <string>

#include "config/render.h"
#include "config/settings.h"
#include "config/values.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::config;
    if (size == 0) return 0;
    const std::string text(static_cast<const char*>(static_cast<const void*>(data + 1)), size - 1);
    Sources sources;
    sources.environment = {{"HOME", "/h"}};
    switch (data[0] % 4) {
        case 0: sources.config_file = NamedText{"c.yaml", text}; break;
        case 1: sources.env_file = NamedText{"e", text}; break;
        case 2:
            for (const SettingSpec& spec : all_settings())
                static_cast<void>(parse_value(spec, text));
            return 0;
        default:
            static_cast<void>(url_host(text));
            static_cast<void>(mask_url(text));
            static_cast<void>(is_internal_host(text, {text}));
            return 0;
    }
    const Loaded loaded = load(sources);
    static_cast<void>(show_rows(loaded.settings, {.origin = true}));
    return 0;
}
