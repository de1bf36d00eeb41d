#include "app/app.h"

#include <csignal>
#include <filesystem>
#include <utility>
#include <variant>

#include "app/build_info.h"
#include "app/examples.h"
#include "app/worker.h"
#include "cli/client.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/exit_codes.h"
#include "config/environment.h"
#include "config/gather.h"

namespace wa::app {
namespace {

cli::BuildInfo build_info() {
    cli::BuildInfo info;
    info.version = kVersion;
    info.commit = kRevision;
    info.build_type = kBuildType;
    info.libraries = {{"compiler", kCompiler}, {"sqlite", kSqliteVersion}, {"boost", kBoostVersion}};
    return info;
}

// What an example needs beyond the usual settings stands between the file and the defaults, under its own name.
Result<void> add_presets(const std::vector<std::string>& examples, config::GatherRequest& request) {
    std::vector<std::string> commands;
    for (const std::string& name : examples) {
        WA_TRY(const std::vector<std::string> needed, example_commands(name));
        commands.insert(commands.end(), needed.begin(), needed.end());
        if (!request.preset_name.empty()) request.preset_name += ", ";
        request.preset_name += "example " + name;
    }
    if (commands.empty()) return {};
    std::string joined;
    for (const std::string& command : commands)
        joined += (joined.empty() ? "" : ",") + command;
    request.preset.emplace_back("LOCAL_RUNTIME_ALLOWED_COMMANDS", std::move(joined));
    return {};
}

int bad_configuration(cli::Console& console, const Error& error) {
    std::string text = "  ";
    for (const char c : error.describe())
        text += c == '\n' ? std::string("\n  ") : std::string(1, c);
    console.err("the configuration cannot be used\n" + text + "\n");
    if (!error.fix.empty()) console.err("  fix: " + error.fix + "\n");
    return cli::kExitBadConfig;
}

int run_dev(const cli::Invocation& invocation, const cli::DevCommand& command, const config::Environment& environment,
            std::vector<MakeRuntime> runtimes, cli::Console& console) {
    const SystemClock clock;
    SystemRandom random;
    config::GatherRequest request;
    request.mode = config::Mode::kDev;
    request.environment = environment;
    request.flags = command.settings;
    request.config_path = invocation.global.config_file;
    if (!invocation.global.state_dir.empty()) request.flags.emplace_back("STATE_DIR", invocation.global.state_dir);
    if (auto added = add_presets(command.examples, request); !added) return bad_configuration(console, added.error());
    const auto read_settings = [request]() -> Result<config::Settings> {
        WA_TRY(const config::Sources sources, config::gather(request));
        return config::load_or_error(sources);
    };
    Result<config::Settings> settings = read_settings();
    if (!settings) return bad_configuration(console, settings.error());
    std::string state_dir = settings->text("STATE_DIR");
    if (state_dir.empty()) state_dir = config::default_state_dir(environment);
    if (state_dir.empty()) {
        return bad_configuration(console,
                                 make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "config",
                                            "there is no home folder to keep the state in; give --state-dir"));
    }
    const bool colours = cli::wants_colours(invocation.global.colour, console.err_is_terminal(), environment);
    const bool redraws = cli::can_redraw(console.err_is_terminal() && console.out_is_terminal(), environment);
    Worker worker(WorkerContext{console,
                                clock,
                                random,
                                std::move(runtimes),
                                std::move(*settings),
                                read_settings,
                                false,
                                command,
                                state_dir,
                                {},
                                colours,
                                redraws});
    return worker.run();
}

int run_cluster(const cli::Invocation& invocation, const cli::RunCommand& command,
                const config::Environment& environment, std::vector<MakeRuntime> runtimes, cli::Console& console) {
    const SystemClock clock;
    SystemRandom random;
    config::GatherRequest request;
    request.mode = config::Mode::kRun;
    request.environment = environment;
    request.flags = command.settings;
    request.config_path = invocation.global.config_file;
    if (!invocation.global.state_dir.empty()) request.flags.emplace_back("STATE_DIR", invocation.global.state_dir);
    const auto read_settings = [request]() -> Result<config::Settings> {
        WA_TRY(const config::Sources sources, config::gather(request));
        return config::load_or_error(sources);
    };
    Result<config::Settings> settings = read_settings();
    if (!settings) return bad_configuration(console, settings.error());
    const auto runtime = environment.find("XDG_RUNTIME_DIR");
    const std::string scratch = runtime != environment.end() && !runtime->second.empty() ? runtime->second : "/tmp";
    const std::string state_dir = settings->text("STATE_DIR");
    Worker worker(WorkerContext{console,
                                clock,
                                random,
                                std::move(runtimes),
                                std::move(*settings),
                                read_settings,
                                true,
                                {},
                                state_dir,
                                scratch,
                                false,
                                false});
    return worker.run();
}

}  // namespace

int run(const std::vector<std::string>& arguments, std::vector<MakeRuntime> runtimes) {
    std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of that write, not the end of the process
    const config::Environment environment = config::process_environment();
    cli::ProcessConsole console;
    auto parsed = cli::parse_command_line(arguments, environment);
    if (const auto* answered = std::get_if<cli::Answered>(&parsed)) {
        if (!answered->out.empty()) console.out(answered->out);
        if (!answered->err.empty()) console.err(answered->err);
        return answered->exit_code;
    }
    auto& invocation = std::get<cli::Invocation>(parsed);
    // What a person types is meant from where they stand.
    if (std::string& folder = invocation.global.state_dir; !folder.empty()) {
        std::error_code error;
        const std::filesystem::path whole = std::filesystem::absolute(folder, error);
        if (!error) folder = whole.lexically_normal().string();
        if (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    }
    if (const auto* dev = std::get_if<cli::DevCommand>(&invocation.command))
        return run_dev(invocation, *dev, environment, std::move(runtimes), console);
    if (const auto* cluster = std::get_if<cli::RunCommand>(&invocation.command))
        return run_cluster(invocation, *cluster, environment, std::move(runtimes), console);
    const SystemClock clock;
    SystemRandom random;
    return cli::run_client(invocation, cli::ClientContext{console, clock, random, environment, build_info()});
}

}  // namespace wa::app
