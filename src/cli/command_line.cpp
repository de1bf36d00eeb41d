// The only includer of CLI11.
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <memory>

#include "cli/exit_codes.h"
#include "cli/text.h"
#include "config/render.h"
#include "config/values.h"
#include "core/codec/suggest.h"

namespace wa::cli {
namespace {

using std::chrono::milliseconds;

// What CLI11 writes into; turned into typed values after the parse, so that every mistake is told in our words.
struct Raw {
    std::string output = "table";
    bool json = false;
    std::string colour = "auto";
    bool no_colour = false;
    bool no_headers = false;
    std::string columns;
    std::string timeout;
    std::string grace;
    std::string format = "human";
    std::string kind = "auto";
    std::string mode = "dev";
    std::string tail;
    std::string attempt;
    bool no_follow = false;
};

// Commands first: the options that every command takes come after what there is to do.
class HelpFormatter final : public CLI::Formatter {
public:
    HelpFormatter() { column_width(34); }
    std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
        if (mode == CLI::AppFormatMode::Sub) return make_expanded(app);
        std::string out = make_description(app) + make_usage(app, std::move(name)) + make_positionals(app);
        out += make_subcommands(app, mode) + make_groups(app, mode);
        if (app->get_parent() != nullptr) out += "\nGlobal options: worker-agents --help\n";
        return out + make_footer(app);
    }
};

struct Tree {
    CLI::App app{
        "Takes execution tickets, waits for what they need, runs each one under its SLA and reports one result.",
        "worker-agents"};
    GlobalOptions global;
    Raw raw;
    std::optional<Command> command;
    SettingFlags settings;  // taken out before CLI11 sees the rest

    DevCommand dev;
    SubmitCommand submit;
    StatusCommand status;
    TicketsListCommand tickets_list;
    TicketLogsCommand ticket_logs;
    TicketWatchCommand ticket_watch;
    TicketCancelCommand ticket_cancel;
    TicketRetryCommand ticket_retry;
    PlansListCommand plans_list;
    PlanWatchCommand plan_watch;
    PlanCancelCommand plan_cancel;
    PlanRetryCommand plan_retry;
    DlqListCommand dlq_list;
    DlqChangeCommand dlq_change;
    DlqExportCommand dlq_export;
    DrainCommand drain;
    LogsCommand logs;
    ValidateCommand validate;
    ConfigShowCommand config_show;
    ConfigInitCommand config_init;
    CompletionCommand completion;
    std::string id;

    Tree() { build(); }

    void build();
    void global_options();
    void process_commands();
    void ticket_commands();
    void plan_commands();
    void dlq_commands();
    void operation_commands();
    void file_commands();

    CLI::App* sub(CLI::App* parent, const std::string& name, const std::string& help) {
        CLI::App* command_app = parent->add_subcommand(name, help);
        command_app->fallthrough();
        return command_app;
    }
    template <class F>
    void then(CLI::App* command_app, F make) {
        command_app->callback([this, make] { command = make(); });
    }
    void id_argument(CLI::App* command_app, const std::string& what) {
        command_app->add_option("ID", id, what + " id, the first characters of it (at least 4), @latest or @failed")
            ->required();
    }
};

std::string setting_help(const config::SettingSpec& spec, config::Mode mode) {
    std::string text = "  " + pad(config::flag_name(spec), 36) + " " + std::string(spec.help);
    text += " [env " + std::string(spec.name);
    const std::string fallback = config::shown_default(spec, mode);
    if (!fallback.empty()) text += ", default " + fallback;
    return text + "]\n";
}

std::string settings_footer(config::Mode mode) {
    std::string text =
        "\nSettings (each one is a flag, an environment variable and a key of the configuration file; flag > "
        "environment >\n"
        "file > default). The common ones:\n";
    for (const config::SettingSpec& spec : config::all_settings()) {
        if (spec.common) text += setting_help(spec, mode);
    }
    return text + "All of them: worker-agents config show --origin";
}

void Tree::global_options() {
    const std::string group = "Global options";
    app.add_option("--server", global.server,
                   "API of the worker: http://host:port or unix:///path [env WORKER_AGENTS_SERVER]")
        ->group(group);
    app.add_option("--state-dir", global.state_dir, "folder of the worker's socket, token and state [env STATE_DIR]")
        ->group(group);
    app.add_option("--config", global.config_file, "configuration file [env WORKER_AGENTS_CONFIG]")->group(group);
    app.add_option("--token-file", global.token_file,
                   "file with the token; default: token in the state folder [env WORKER_AGENTS_TOKEN_FILE]")
        ->group(group);
    app.add_option("-o,--output", raw.output, "table, wide, json, jsonl, yaml or name [default table]")->group(group);
    app.add_flag("--json", raw.json, "the same as -o json")->group(group);
    app.add_option("--columns", raw.columns, "columns to show, separated by commas")->group(group);
    app.add_flag("--no-headers", raw.no_headers, "no line of column names")->group(group);
    app.add_option("--color", raw.colour, "auto, always or never [env NO_COLOR, FORCE_COLOR; default auto]")
        ->group(group);
    app.add_flag("--no-color", raw.no_colour, "the same as --color never")->group(group);
    app.add_option("--timeout", raw.timeout, "longest wait, such as 30s [default 30s for one request, none for --wait]")
        ->group(group);
    app.add_flag("-q,--quiet", global.quiet, "no progress, no hints")->group(group);
    app.add_flag("-v,--verbose", global.verbose, "more detail in errors")->group(group);
    app.add_flag("-y,--yes", global.yes, "answer every question with yes")->group(group);
    app.add_flag("--no-input", global.no_input, "never ask")->group(group);
}

void Tree::process_commands() {
    const std::string group = "Run it";
    CLI::App* dev_app = sub(&app, "dev", "run queue, worker and API in one process, without Kafka");
    dev_app->group(group);
    dev_app->add_option("--example", dev.examples, "submit a built-in example at the start (may be repeated)")
        ->expected(1)
        ->take_all();
    dev_app->add_flag("--exit", dev.exit, "end when every ticket has ended; exit code 3 when any failed");
    dev_app->add_flag("--allow-simulated", dev.allow_simulated, "with --exit: a simulated run is a success");
    dev_app->footer([] { return settings_footer(config::Mode::kDev); });
    then(dev_app, [this] {
        dev.settings = settings;
        return dev;
    });
    CLI::App* run_app = sub(&app, "run", "run the worker against Kafka and its services");
    run_app->group(group);
    run_app->footer([] { return settings_footer(config::Mode::kRun); });
    then(run_app, [this] { return RunCommand{settings}; });
}

void Tree::ticket_commands() {
    const std::string group = "Work";
    CLI::App* submit_app = sub(&app, "submit", "send tickets or a plan");
    submit_app->group(group);
    submit_app->add_option("FILE", submit.files, "plan or ticket files (YAML or JSON); - = standard input")->required();
    submit_app->add_flag("--wait", submit.wait, "wait until all is done; exit code 3 when anything failed");
    submit_app->add_flag("--follow", submit.follow, "wait, and show the output of the tickets");
    submit_app->add_flag("--dry-run", submit.dry_run, "ask the server whether it would take it; send nothing");
    submit_app->add_flag("--allow-simulated", submit.allow_simulated, "with --wait: a simulated run is a success");
    then(submit_app, [this] { return submit; });

    CLI::App* status_app = sub(&app, "status", "this worker, or anything by id");
    status_app->group(group);
    status_app->add_option("ID", status.id, "ticket or plan id, or the first characters of it");
    status_app->add_flag("--exit-code", status.exit_code,
                         "exit code 3 when the worker is not ready, or when the ticket or plan failed");
    then(status_app, [this] { return status; });

    CLI::App* tickets = sub(&app, "tickets", "list, look at and change tickets");
    tickets->group(group)->alias("ticket");
    CLI::App* list = sub(tickets, "ls", "list tickets, newest first");
    list->alias("list");
    list->add_option("--plan", tickets_list.plan, "only tickets of this plan");
    list->add_option("--status", tickets_list.status, "only this status (PENDING, RUNNING, COMPLETED, FAILED, …)");
    list->add_option("--phase", tickets_list.phase,
                     "only this phase (pending, running, completed, simulated, failed, cancelled, dead-lettered, …)");
    list->add_option("--type", tickets_list.type, "only this task type");
    list->add_option("--text", tickets_list.text, "only tickets whose id, task or plan holds this");
    list->add_flag("--failed", tickets_list.failed, "the same as --status FAILED");
    list->add_option("--limit", tickets_list.limit, "at most so many [default 100]")->check(CLI::Range(1, 1000));
    list->add_option("--offset", tickets_list.offset, "leave out so many");
    then(list, [this] { return tickets_list; });

    CLI::App* show = sub(tickets, "show", "everything about one ticket");
    show->alias("describe")->alias("get");
    id_argument(show, "ticket");
    then(show, [this] { return TicketShowCommand{id}; });

    CLI::App* logs_app = sub(tickets, "logs", "the output of a ticket");
    id_argument(logs_app, "ticket");
    logs_app->add_flag("-f,--follow", ticket_logs.follow, "go on until the ticket ends");
    logs_app->add_option("--tail", raw.tail, "only the last N lines");
    logs_app->add_option("--attempt", raw.attempt, "of this try; default: the last one");
    logs_app->add_option("--stream", ticket_logs.stream, "out, err or all [default all]")
        ->check(CLI::IsMember({"out", "err", "all"}));
    then(logs_app, [this] {
        ticket_logs.id = id;
        return ticket_logs;
    });

    CLI::App* watch = sub(tickets, "watch", "follow the state of a ticket; exit code 3 when it fails");
    id_argument(watch, "ticket");
    watch->add_flag("--allow-simulated", ticket_watch.allow_simulated, "a simulated run is a success");
    then(watch, [this] {
        ticket_watch.id = id;
        return ticket_watch;
    });

    CLI::App* explain = sub(tickets, "explain", "why a ticket stands where it stands");
    id_argument(explain, "ticket");
    then(explain, [this] { return TicketExplainCommand{id}; });

    CLI::App* cancel = sub(tickets, "cancel", "stop tickets");
    cancel->add_option("ID", ticket_cancel.ids, "ticket ids")->required();
    cancel->add_option("--reason", ticket_cancel.reason, "kept in the ticket's history [default user_request]");
    cancel->add_option("--grace", raw.grace, "time to end by itself, at most 5m [default 30s]");
    then(cancel, [this] { return ticket_cancel; });

    CLI::App* retry = sub(tickets, "retry", "run failed tickets again: same ticket, new attempt");
    retry->add_option("ID", ticket_retry.ids, "ticket ids")->required();
    then(retry, [this] { return ticket_retry; });
}

void Tree::plan_commands() {
    CLI::App* plans = sub(&app, "plans", "list, look at and change plans");
    plans->group("Work")->alias("plan");
    CLI::App* list = sub(plans, "ls", "list plans, newest first");
    list->alias("list");
    list->add_option("--limit", plans_list.limit, "at most so many [default 100]")->check(CLI::Range(1, 1000));
    list->add_option("--offset", plans_list.offset, "leave out so many");
    then(list, [this] { return plans_list; });

    CLI::App* show = sub(plans, "show", "the tickets of a plan");
    show->alias("describe")->alias("get");
    id_argument(show, "plan");
    then(show, [this] { return PlanShowCommand{id}; });

    CLI::App* watch = sub(plans, "watch", "follow a plan until it ends; exit code 3 when anything failed");
    id_argument(watch, "plan");
    watch->add_flag("--allow-simulated", plan_watch.allow_simulated, "a simulated run is a success");
    then(watch, [this] {
        plan_watch.id = id;
        return plan_watch;
    });

    CLI::App* cancel = sub(plans, "cancel", "stop every ticket of a plan that has not ended");
    id_argument(cancel, "plan");
    cancel->add_flag("--dry-run", plan_cancel.dry_run, "show what would be stopped");
    then(cancel, [this] {
        plan_cancel.id = id;
        return plan_cancel;
    });

    CLI::App* retry = sub(plans, "retry", "run the tickets of a plan again");
    id_argument(retry, "plan");
    retry->add_flag("--failed", plan_retry.failed, "only what failed, and what hangs on it");
    retry->add_flag("--dry-run", plan_retry.dry_run, "show what would run");
    then(retry, [this] {
        plan_retry.id = id;
        return plan_retry;
    });
}

void Tree::dlq_commands() {
    CLI::App* dlq = sub(&app, "dlq", "dead letters: tickets that could not be accepted");
    dlq->group("Work");
    CLI::App* list = sub(dlq, "ls", "list dead letters, newest first");
    list->alias("list");
    list->add_option("--limit", dlq_list.limit, "at most so many [default 100]")->check(CLI::Range(1, 1000));
    list->add_option("--offset", dlq_list.offset, "leave out so many");
    then(list, [this] { return dlq_list; });

    CLI::App* show = sub(dlq, "show", "one dead letter with its message");
    show->alias("describe")->alias("get");
    show->add_option("KEY", id, "key of the dead letter")->required();
    then(show, [this] { return DlqShowCommand{id}; });

    const auto change = [this, dlq](const std::string& name, const std::string& help, bool discard) {
        CLI::App* change_app = sub(dlq, name, help);
        change_app->add_option("KEY", dlq_change.keys, "keys of dead letters");
        change_app->add_flag("--all", dlq_change.all, "every dead letter (asks first)");
        change_app->add_flag("--dry-run", dlq_change.dry_run, "show what would be done");
        if (discard) change_app->add_option("--reason", dlq_change.reason, "kept in the ticket's history");
        then(change_app, [this, discard] {
            dlq_change.discard = discard;
            return dlq_change;
        });
    };
    change("replay", "put dead letters back into the queue", false);
    change("discard", "take dead letters away", true);

    CLI::App* export_app = sub(dlq, "export", "every dead letter with its message, one JSON line each");
    export_app->add_option("FILE", dlq_export.file, "file to write; default: standard output");
    export_app->add_option("--ticket", dlq_export.ticket, "only those of this ticket, or of ids that begin so");
    export_app->add_option("--reason", dlq_export.reason, "only those that died of this: invalid_ticket, …");
    then(export_app, [this] { return dlq_export; });
}

void Tree::operation_commands() {
    const std::string group = "Operate";
    CLI::App* executors = sub(&app, "executors", "what this worker can run");
    executors->group(group)->alias("executor");
    CLI::App* list = sub(executors, "ls", "list executors and their runtimes");
    list->alias("list");
    then(list, [] { return ExecutorsCommand{}; });

    CLI::App* drain_app = sub(&app, "drain", "stop taking work, finish, leave");
    drain_app->group(group);
    drain_app->add_flag("--wait", drain.wait, "show what is still running until the worker has left");
    drain_app->add_flag("--now", drain.now, "cancel what runs and hand it back");
    drain_app->add_flag("--undo", drain.undo, "take work again");
    drain_app->add_option(
        "--grace", raw.grace,
        "wait so long, then cancel what still runs; never longer than the worker's own SHUTDOWN_GRACE_SECONDS");
    drain_app->add_option("--reason", drain.reason, "for the worker's log");
    then(drain_app, [this] { return drain; });

    CLI::App* logs_app = sub(&app, "logs", "the worker's own log");
    logs_app->group(group);
    logs_app->add_flag("-f,--follow", logs.follow, "go on until interrupted");
    logs_app->add_option("--level", logs.level, "least severe line: debug, info, warning, error")
        ->check(CLI::IsMember({"debug", "info", "warning", "error"}, CLI::ignore_case));
    logs_app->add_option("--tail", raw.tail, "only the last N lines");
    then(logs_app, [this] { return logs; });

    CLI::App* doctor = sub(&app, "doctor", "check settings, folders, rights and connections");
    doctor->group(group);
    then(doctor, [this] { return DoctorCommand{settings}; });
}

void Tree::file_commands() {
    const std::string group = "Files and help";
    CLI::App* validate_app = sub(&app, "validate", "check plan, ticket and configuration files, offline");
    validate_app->group(group);
    validate_app->add_option("FILE", validate.files, "files; - = standard input")->required();
    validate_app->add_option("--format", raw.format, "human, json, sarif or github [default human]");
    validate_app->add_option("--kind", raw.kind, "plan or config [default: told from the content]")
        ->check(CLI::IsMember({"auto", "plan", "config"}));
    then(validate_app, [this] { return validate; });

    CLI::App* config_app = sub(&app, "config", "settings: what is in force, where it comes from, a file to start with");
    config_app->group(group);
    CLI::App* show = sub(config_app, "show", "every setting and its value; secrets are not shown");
    show->add_flag("--origin", config_show.origin, "where each value comes from");
    show->add_flag("--diff-defaults", config_show.diff_defaults, "only what differs from the defaults");
    show->add_option("--mode", raw.mode, "as dev or run would see it [default dev]")
        ->check(CLI::IsMember({"dev", "run"}));
    then(show, [this] {
        config_show.mode = raw.mode == "run" ? config::Mode::kRun : config::Mode::kDev;
        config_show.settings = settings;
        return config_show;
    });
    CLI::App* init = sub(config_app, "init", "write a commented configuration file");
    init->add_option("FILE", config_init.file, "file to write; default: standard output");
    init->add_flag("--force", config_init.force, "write over a file that is there");
    then(init, [this] { return config_init; });
    CLI::App* schema = sub(config_app, "schema", "JSON Schema of the configuration file, for editors");
    then(schema, [] { return ConfigSchemaCommand{}; });

    CLI::App* version = sub(&app, "version", "version and build");
    version->group(group);
    then(version, [] { return VersionCommand{}; });
    CLI::App* completion_app = sub(&app, "completion", "completion script for a shell");
    completion_app->group(group);
    completion_app->add_option("SHELL", completion.shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    then(completion_app, [this] { return completion; });
}

void Tree::build() {
    app.formatter(std::make_shared<HelpFormatter>());  // before the subcommands, which take it over
    app.set_help_flag("-h,--help", "show this help");
    app.footer("Help for one command: worker-agents COMMAND --help");
    global_options();
    process_commands();
    ticket_commands();
    plan_commands();
    dlq_commands();
    operation_commands();
    file_commands();
}

// ---------------------------------------------------------------- before CLI11

constexpr std::array<std::string_view, 9> kGlobalWithValue{
    "--server", "--config", "--state-dir", "-o", "--output", "--color", "--columns", "--timeout", "--token-file"};
constexpr std::array<std::string_view, 4> kWithSettings{"dev", "run", "doctor", "config"};

bool takes_value(std::string_view token) {
    return std::ranges::find(kGlobalWithValue, token) != kGlobalWithValue.end();
}

// Index of the first word that is a command; args.size() when there is none.
std::size_t command_index(const std::vector<std::string>& args) {
    for (std::size_t i = 0; i < args.size(); ++i) {
        if (takes_value(args[i])) {
            ++i;
        } else if (!args[i].starts_with('-')) {
            return i;
        }
    }
    return args.size();
}

struct SettingFlag {
    std::string name;  // of the table, with _FILE for a secret's file
    const config::SettingSpec* spec = nullptr;
};
std::optional<SettingFlag> setting_flag(std::string_view flag) {
    if (!flag.starts_with("--")) return std::nullopt;
    std::string name(flag.substr(2));
    for (char& c : name) {
        if (c == '_' || (c >= 'A' && c <= 'Z')) return std::nullopt;
        c = c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    if (const auto* spec = config::find_setting(name)) return SettingFlag{name, spec};
    constexpr std::string_view kSuffix = "_FILE";
    if (!name.ends_with(kSuffix)) return std::nullopt;
    const auto* spec = config::find_setting(std::string_view(name).substr(0, name.size() - kSuffix.size()));
    if (spec == nullptr || spec->type != config::Type::kSecret) return std::nullopt;
    return SettingFlag{name, spec};
}

struct Split {
    std::vector<std::string> rest;
    SettingFlags settings;
    std::string state_dir;
    std::string error;
};

// There are more than two hundred settings: as CLI11 options they would cost more than the whole start.
Split take_settings(const std::vector<std::string>& args) {
    Split out;
    const std::size_t command = command_index(args);
    const bool has_settings = command < args.size() &&
                              std::ranges::find(kWithSettings, std::string_view(args[command])) != kWithSettings.end();
    for (std::size_t i = 0; i < args.size(); ++i) {
        const std::string& token = args[i];
        if (token == "--") {
            out.rest.insert(out.rest.end(), args.begin() + static_cast<std::ptrdiff_t>(i), args.end());
            break;
        }
        const std::size_t equals = token.find('=');
        const auto flag = has_settings ? setting_flag(std::string_view(token).substr(0, equals)) : std::nullopt;
        if (!flag) {
            out.rest.push_back(token);
            if (takes_value(token) && i + 1 < args.size()) out.rest.push_back(args[++i]);
            continue;
        }
        std::string value;
        if (equals != std::string::npos) {
            value = token.substr(equals + 1);
        } else if (flag->spec->type == config::Type::kBool) {
            value = "true";
        } else if (i + 1 < args.size()) {
            value = args[++i];
        } else {
            out.error = token + " needs a value";
            break;
        }
        if (flag->name == "STATE_DIR") out.state_dir = value;
        out.settings.emplace_back(flag->name, std::move(value));
    }
    return out;
}

// ---------------------------------------------------------------- after CLI11

CLI::App* deepest(CLI::App* app) {
    while (!app->get_subcommands().empty())
        app = app->get_subcommands().front();
    return app;
}

std::string command_path(const CLI::App* app) {
    std::string path;
    for (const CLI::App* step = app; step != nullptr; step = step->get_parent()) {
        path = step->get_name() + (path.empty() ? "" : " " + path);
    }
    return path;
}

std::vector<std::string> subcommand_names(const CLI::App* app) {
    std::vector<std::string> names;
    for (const CLI::App* child : app->get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(child->get_name());
    return names;
}

std::vector<std::string> flag_names(const CLI::App* app, bool with_settings) {
    std::vector<std::string> names;
    for (const CLI::App* step = app; step != nullptr; step = step->get_parent()) {
        for (const CLI::Option* option : step->get_options()) {
            for (const std::string& name : option->get_lnames())
                names.push_back("--" + name);
        }
    }
    if (with_settings) {
        for (const auto& spec : config::all_settings())
            names.push_back(config::flag_name(spec));
    }
    return names;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& names) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::string_view near = closest(word, views);
    return near.empty() ? std::string() : " (did you mean " + std::string(near) + "?)";
}

bool has_setting_flags(const CLI::App* app) {
    for (const CLI::App* step = app; step != nullptr; step = step->get_parent()) {
        if (std::ranges::find(kWithSettings, std::string_view(step->get_name())) != kWithSettings.end()) return true;
    }
    return false;
}

Answered usage(const CLI::App* app, const std::string& message) {
    return {kExitUsage, {}, message + "\nfix: " + command_path(app) + " --help\n"};
}

Answered unexpected(CLI::App& root, const CLI::App* at) {
    const std::vector<std::string> left = root.remaining(true);
    if (left.empty()) return usage(at, "the command line could not be read");
    const std::string word = printable(left.front());
    if (left.front() == "--token" || left.front().starts_with("--token=")) {
        return usage(at, "there is no --token: other users could read it. Use --token-file FILE");
    }
    if (left.front().starts_with('-')) {
        const std::string name = left.front().substr(0, left.front().find('='));
        return usage(at, "unknown flag " + printable(name) + suggestion(name, flag_names(at, has_setting_flags(at))));
    }
    const auto names = subcommand_names(at);
    if (!names.empty()) return usage(at, "unknown command \"" + word + "\"" + suggestion(left.front(), names));
    return usage(at, "\"" + word + "\" is one argument too many");
}

std::optional<Format> parse_format(std::string_view word) {
    constexpr std::array<std::pair<std::string_view, Format>, 6> kFormats{{{"table", Format::kTable},
                                                                           {"wide", Format::kWide},
                                                                           {"json", Format::kJson},
                                                                           {"jsonl", Format::kJsonl},
                                                                           {"yaml", Format::kYaml},
                                                                           {"name", Format::kName}}};
    for (const auto& [name, format] : kFormats) {
        if (name == word) return format;
    }
    return std::nullopt;
}

Result<std::optional<milliseconds>> optional_duration(const std::string& text, const std::string& flag) {
    if (text.empty()) return std::optional<milliseconds>{};
    auto value = config::parse_duration(text, config::Unit::kSeconds);
    if (!value) return invalid(flag, flag + " " + value.error().message);
    return std::optional<milliseconds>{*value};
}

Result<std::optional<std::int64_t>> optional_count(const std::string& text, const std::string& flag,
                                                   std::int64_t least) {
    if (text.empty()) return std::optional<std::int64_t>{};
    const auto value = config::parse_int(text);
    constexpr std::int64_t kMost = 1'000'000;
    if (!value || *value < least || *value > kMost) {
        return invalid(flag,
                       flag + " must be a whole number from " + std::to_string(least) + " to " + std::to_string(kMost));
    }
    return std::optional<std::int64_t>{*value};
}

// Turns the raw texts into values.
Result<void> interpret(Tree& tree, bool output_given) {
    const auto format = parse_format(tree.raw.json ? "json" : tree.raw.output);
    if (!format) return invalid("--output", "-o must be table, wide, json, jsonl, yaml or name");
    if (tree.raw.json && output_given && tree.raw.output != "json")
        return invalid("--json", "--json and -o contradict each other");
    tree.global.format = *format;
    if (tree.raw.no_colour || tree.raw.colour == "never") {
        tree.global.colour = ColourWhen::kNever;
    } else if (tree.raw.colour == "always") {
        tree.global.colour = ColourWhen::kAlways;
    } else if (tree.raw.colour != "auto") {
        return invalid("--color", "--color must be auto, always or never");
    }
    tree.global.headers = !tree.raw.no_headers;
    WA_TRY(tree.global.columns, config::parse_list(tree.raw.columns));
    WA_TRY(tree.global.timeout, optional_duration(tree.raw.timeout, "--timeout"));
    WA_TRY(const auto grace, optional_duration(tree.raw.grace, "--grace"));
    if (auto* cancel = std::get_if<TicketCancelCommand>(&*tree.command)) {
        if (grace && *grace > std::chrono::minutes(5)) return invalid("--grace", "--grace must be at most 5m");
        cancel->grace = grace;
    }
    if (auto* drain = std::get_if<DrainCommand>(&*tree.command)) {
        drain->grace = grace;
        if (drain->undo && (drain->now || drain->wait || grace)) return invalid("--undo", "--undo stands alone");
        if (drain->now && grace) return invalid("--grace", "--now and --grace contradict each other");
    }
    WA_TRY(const auto tail, optional_count(tree.raw.tail, "--tail", 0));
    WA_TRY(const auto attempt, optional_count(tree.raw.attempt, "--attempt", 1));
    if (auto* logs = std::get_if<TicketLogsCommand>(&*tree.command)) {
        if (tail) logs->tail = static_cast<std::size_t>(*tail);
        if (attempt) logs->attempt = static_cast<int>(*attempt);
    }
    if (auto* logs = std::get_if<LogsCommand>(&*tree.command); logs != nullptr && tail) {
        logs->tail = static_cast<std::size_t>(*tail);
    }
    if (auto* list = std::get_if<TicketsListCommand>(&*tree.command); list != nullptr && list->failed) {
        if (!list->status.empty() && list->status != "FAILED")
            return invalid("--failed", "--failed and --status contradict each other");
        list->status = "FAILED";
    }
    if (auto* change = std::get_if<DlqChangeCommand>(&*tree.command)) {
        if (change->all == !change->keys.empty()) return invalid("KEY", "name the keys, or give --all");
    }
    if (auto* validate = std::get_if<ValidateCommand>(&*tree.command)) {
        const auto report =
            parse_problem_format(*format == Format::kJson && tree.raw.format == "human" ? "json" : tree.raw.format);
        if (!report) return invalid("--format", "--format must be human, json, sarif or github");
        validate->format = *report;
        validate->kind = tree.raw.kind == "plan"     ? FileKind::kPlan
                         : tree.raw.kind == "config" ? FileKind::kConfig
                                                     : FileKind::kAuto;
    }
    return {};
}

void apply_environment(GlobalOptions& global, const config::Environment& environment) {
    const auto take = [&environment](std::string& value, std::string_view name) {
        const auto found = environment.find(name);
        if (value.empty() && found != environment.end()) value = config::trim(found->second);
    };
    take(global.server, "WORKER_AGENTS_SERVER");
    take(global.state_dir, "STATE_DIR");
    take(global.token_file, "WORKER_AGENTS_TOKEN_FILE");
}

// Which worker the words so far name; the last word is still being typed.
void take_server(const std::vector<std::string>& words, GlobalOptions& global) {
    const std::array<std::pair<std::string_view, std::string*>, 3> flags{
        {{"--server", &global.server}, {"--state-dir", &global.state_dir}, {"--token-file", &global.token_file}}};
    for (std::size_t i = 1; i + 1 < words.size(); ++i) {
        for (const auto& [name, value] : flags) {
            const std::string& word = words[i];
            if (word == name && i + 2 < words.size()) *value = words[i + 1];
            if (word.size() > name.size() && word.starts_with(name) && word[name.size()] == '=')
                *value = word.substr(name.size() + 1);
        }
    }
}

// `help tickets ls` is `tickets ls --help`.
std::vector<std::string> without_help_word(std::vector<std::string> args) {
    const std::size_t command = command_index(args);
    if (command >= args.size() || args[command] != "help") return args;
    args.erase(args.begin() + static_cast<std::ptrdiff_t>(command));
    args.emplace_back("--help");
    return args;
}

std::variant<Invocation, Answered> parse_tree(Tree& tree, std::vector<std::string> args,
                                              const config::Environment& environment) {
    std::ranges::reverse(args);  // CLI11 takes the words from the back
    try {
        tree.app.parse(std::move(args));
    } catch (const CLI::CallForHelp&) {
        return Answered{kExitOk, tree.app.help("", CLI::AppFormatMode::Normal), {}};
    } catch (const CLI::ExtrasError&) {
        return unexpected(tree.app, deepest(&tree.app));
    } catch (const CLI::ParseError& error) {
        return usage(deepest(&tree.app), printable(error.what()));
    }
    const CLI::App* at = deepest(&tree.app);
    if (!tree.command) {
        return Answered{kExitUsage, {}, tree.app.help("", CLI::AppFormatMode::Normal)};
    }
    if (auto good = interpret(tree, tree.app.count("--output") > 0); !good) return usage(at, good.error().message);
    apply_environment(tree.global, environment);
    return Invocation{std::move(tree.global), std::move(*tree.command)};
}

}  // namespace

std::variant<Invocation, Answered> parse_command_line(const std::vector<std::string>& args,
                                                      const config::Environment& environment) {
    if (!args.empty() && args.front() == "__complete") {
        Invocation invocation;
        invocation.command = CompleteCommand{{args.begin() + 1, args.end()}};
        take_server(args, invocation.global);
        apply_environment(invocation.global, environment);
        return invocation;
    }
    if (args.size() == 1 && args.front() == "--version") return Invocation{{}, VersionCommand{}};
    Tree tree;
    Split split = take_settings(without_help_word(args));
    if (!split.error.empty()) return usage(&tree.app, split.error);
    tree.settings = std::move(split.settings);
    tree.global.state_dir = split.state_dir;
    return parse_tree(tree, std::move(split.rest), environment);
}

namespace {

Live live_candidates(const CLI::App* at) {
    const std::string path = command_path(at);
    if (path.ends_with(" status")) return Live::kAnyId;
    if (path.ends_with(" submit") || path.ends_with(" validate") || path.ends_with(" export") ||
        path.ends_with(" init")) {
        return Live::kFiles;
    }
    if (path.find(" tickets ") != std::string::npos && !path.ends_with(" ls")) return Live::kTickets;
    if (path.find(" plans ") != std::string::npos && !path.ends_with(" ls")) return Live::kPlans;
    if (path.find(" dlq ") != std::string::npos && !path.ends_with(" ls")) return Live::kDeadLetters;
    return Live::kNothing;
}

std::vector<std::string> values_of(std::string_view flag) {
    if (flag == "-o" || flag == "--output") return {"table", "wide", "json", "jsonl", "yaml", "name"};
    if (flag == "--color") return {"auto", "always", "never"};
    if (flag == "--status") return {"PENDING", "RUNNING", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED"};
    if (flag == "--type") return {"BUILD", "DEPLOY", "TEST", "VALIDATE", "EXECUTE", "COMPENSATE", "QUERY", "TRANSFORM"};
    if (flag == "--format") return {"human", "json", "sarif", "github"};
    if (flag == "--stream") return {"out", "err", "all"};
    if (flag == "--level") return {"debug", "info", "warning", "error"};
    if (flag == "--kind") return {"auto", "plan", "config"};
    if (flag == "--mode") return {"dev", "run"};
    if (flag == "--example") return {"diamond", "project"};
    if (flag.starts_with("--")) {
        if (const auto setting = setting_flag(flag); setting && !setting->spec->choices.empty()) {
            std::vector<std::string> out;
            std::string_view rest = setting->spec->choices;
            while (!rest.empty()) {
                const std::size_t end = rest.find('|');
                out.emplace_back(rest.substr(0, end));
                rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
            }
            return out;
        }
    }
    return {};
}

}  // namespace

Completions complete(const std::vector<std::string>& words) {
    Completions out;
    if (words.empty()) return out;
    out.typed = words.back();
    const Tree tree;
    const CLI::App* at = &tree.app;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        if (takes_value(words[i])) {
            ++i;
            continue;
        }
        for (const CLI::App* child : at->get_subcommands([](const CLI::App*) { return true; })) {
            if (child->check_name(words[i])) {
                at = child;
                break;
            }
        }
    }
    std::vector<std::string> candidates =
        words.size() > 1 ? values_of(words[words.size() - 2]) : std::vector<std::string>{};
    if (candidates.empty() && out.typed.starts_with('-')) {
        candidates = flag_names(at, has_setting_flags(at));
    } else if (candidates.empty()) {
        candidates = subcommand_names(at);
        if (at == &tree.app) candidates.emplace_back("help");
        if (command_path(at).ends_with(" completion")) candidates = {"bash", "zsh", "fish"};
        if (candidates.empty()) out.live = live_candidates(at);
    }
    for (std::string& candidate : candidates) {
        if (candidate.starts_with(out.typed)) out.words.push_back(std::move(candidate));
    }
    std::ranges::sort(out.words);
    const auto repeated = std::ranges::unique(out.words);
    out.words.erase(repeated.begin(), repeated.end());
    return out;
}

}  // namespace wa::cli
