// A worker that has the runtime "toolshed" besides those of the product: the tutorial's own program, used by
// tests/e2e/toolshed_test.py. In the product make_toolshed() would be a file in src/app and a name in
// built_in_runtimes() (src/app/runtime_parts.cpp), and TOOLSHED_URL a line in src/config/table.cpp.
#include <string>
#include <utility>

#include "app/app.h"
#include "app/runtime_parts.h"
#include "config/environment.h"
#include "http_client/url.h"
#include "toolshed.h"

namespace {

using wa::app::RuntimePart;
using wa::app::RuntimeSurroundings;

wa::ToolshedOptions toolshed_options(const RuntimeSurroundings& around, std::string url) {
    wa::ToolshedOptions options;
    options.url = std::move(url);
    if (const auto parsed = wa::http::parse_url(options.url); !options.url.empty() && !parsed)
        options.misconfigured = "TOOLSHED_URL: " + parsed.error().message;
    options.listener = &around.listener;
    options.notes_folder = around.state_path + "/toolshed";
    // In a cluster the ticket may go to a worker that does not see the notes.
    options.detachable = around.platform.pool().empty() && !around.scratch;
    options.is_over = [&platform = around.platform](std::string_view ticket_id) {
        const wa::DependencyState standing = platform.standing(ticket_id);
        return standing == wa::DependencyState::kCompleted || standing == wa::DependencyState::kFailed;
    };
    return options;
}

RuntimePart make_toolshed(const RuntimeSurroundings& around) {
    const wa::config::Environment environment = wa::config::process_environment();
    const auto found = environment.find("TOOLSHED_URL");
    const std::string url = found == environment.end() ? "" : found->second;
    auto made = std::make_unique<wa::ToolshedRuntime>(around.loop, around.clock, around.random, around.http,
                                                      around.logs, toolshed_options(around, url));
    wa::ToolshedRuntime& toolshed = *made;
    return {.runtime = std::move(made),
            .begin =
                [&toolshed](const std::function<void()>& ready) {
                    toolshed.begin();
                    ready();
                },
            .state =
                [&toolshed, url] {
                    return wa::app::state_of(toolshed, url, "start it: tests/tutorial/toolshed_service.py",
                                             !url.empty());
                }};
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<wa::app::MakeRuntime> runtimes = wa::app::built_in_runtimes();
    runtimes.emplace_back(make_toolshed);
    return wa::app::run({argv + 1, argv + argc}, std::move(runtimes));
}
