#include "config/gather.h"

#include "config/environment.h"
#include "config/values.h"

namespace wa::config {
namespace {

struct Named {
    std::string path;
    std::string by;  // who named it
};

std::string flag_value(const GatherRequest& request, std::string_view name) {
    std::string value;
    for (const auto& [flag, text] : request.flags) {
        if (flag == name) value = text;
    }
    return value;
}

Named file_named_by(const GatherRequest& request, std::string_view setting) {
    if (std::string value = flag_value(request, setting); !value.empty()) {
        return {std::move(value), flag_name(*find_setting(setting))};
    }
    const auto found = request.environment.find(setting);
    if (found == request.environment.end()) return {};
    return {std::string(trim(found->second)), "env " + std::string(setting)};
}

Result<std::optional<NamedText>> read_named(const Named& named, std::string_view setting) {
    if (named.path.empty()) return std::optional<NamedText>{};
    auto text = read_small_file(named.path);
    if (!text) {
        Error error = std::move(text).error();
        error.message = named.by + ": " + error.message;
        error.field = setting;
        return tl::unexpected(std::move(error));
    }
    return std::optional<NamedText>{NamedText{named.path, std::move(*text)}};
}

}  // namespace

Result<Sources> gather(GatherRequest request) {
    Sources sources;
    const Named config = request.config_path.empty() ? file_named_by(request, "WORKER_AGENTS_CONFIG")
                                                     : Named{request.config_path, "--config"};
    WA_TRY(sources.config_file, read_named(config, "WORKER_AGENTS_CONFIG"));
    WA_TRY(sources.env_file, read_named(file_named_by(request, "WORKER_ENV_FILE"), "WORKER_ENV_FILE"));
    sources.mode = request.mode;
    sources.environment = std::move(request.environment);
    sources.flags = std::move(request.flags);
    if (!request.config_path.empty()) sources.flags.emplace_back("WORKER_AGENTS_CONFIG", request.config_path);
    sources.preset = std::move(request.preset);
    sources.preset_name = std::move(request.preset_name);
    sources.read_file = [](const std::string& path) { return read_small_file(path); };
    return sources;
}

}  // namespace wa::config
