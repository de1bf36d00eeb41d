#include "app/code_forge_parts.h"

#include "http_client/url.h"
#include "runtimes/code_forge.h"

namespace wa::app {
namespace {

bool address_is_set(const config::Settings& settings) {
    return settings.origin("CODE_FORGE_URL").layer != config::Layer::kDefault;
}

CodeForgeOptions code_forge_options(const RuntimeSurroundings& around) {
    const config::Settings& settings = around.settings;
    CodeForgeOptions options;
    options.enabled = settings.flag("CODE_FORGE_ENABLED");
    options.url = settings.text("CODE_FORGE_URL");
    const bool one_machine = around.platform.pool().empty();
    if (auto url = http::parse_url(options.url); !url) {
        options.misconfigured = "CODE_FORGE_URL: " + url.error().message;
    } else if (one_machine && !address_is_set(settings)) {
        options.misconfigured = "CODE_FORGE_URL is not set";
    }
    options.tries = static_cast<std::int32_t>(settings.integer("CODE_FORGE_RETRY_ATTEMPTS"));
    options.timeout = settings.duration("CODE_FORGE_GENERATION_TIMEOUT_SECONDS");
    options.longest = settings.duration("CODE_FORGE_TIMEOUT_SECONDS");
    options.request_timeout = settings.duration("CODE_FORGE_REQUEST_TIMEOUT_SECONDS");
    options.interval = settings.duration("CODE_FORGE_POLL_INTERVAL_SECONDS");
    options.notes_folder = around.state_path + "/code_forge";
    // In a cluster the ticket may go to a worker that does not see the notes.
    options.detachable = one_machine && !around.scratch;
    options.listener = &around.listener;
    options.on_call = [&metrics = around.metrics](std::string_view method, std::string_view status) {
        metrics.code_forge_call(method, status);
    };
    options.is_over = [&platform = around.platform](std::string_view ticket_id) {
        const DependencyState standing = platform.standing(ticket_id);
        return standing == DependencyState::kCompleted || standing == DependencyState::kFailed;
    };
    return options;
}

std::string code_forge_place(const config::Settings& settings) {
    const auto url = http::parse_url(settings.text("CODE_FORGE_URL"));
    return url ? url->shown : "CODE_FORGE_URL cannot be read";
}

std::string code_forge_fix(const config::Settings& settings, const Availability& now) {
    if (!settings.flag("CODE_FORGE_ENABLED")) return "CODE_FORGE_ENABLED=true, and CODE_FORGE_URL";
    if (now.reason == Unavailable::kDisabled) return "set CODE_FORGE_URL";
    return "see that CODE_FORGE_URL is right and that it can be reached from here";
}

}  // namespace

RuntimePart make_code_forge(const RuntimeSurroundings& around) {
    auto made = std::make_unique<CodeForgeRuntime>(around.loop, around.clock, around.random, around.http, around.logs,
                                                   code_forge_options(around));
    CodeForgeRuntime& forge = *made;
    return {.runtime = std::move(made),
            .begin =
                [&forge](const std::function<void()>& ready) {
                    forge.begin();
                    ready();
                },
            .state =
                [&forge, &settings = around.settings] {
                    return state_of(forge, code_forge_place(settings), code_forge_fix(settings, forge.availability()),
                                    settings.flag("CODE_FORGE_ENABLED") && address_is_set(settings));
                }};
}

}  // namespace wa::app
