// validate, config, version: nothing here needs a server.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "config/environment.h"
#include "config/files.h"
#include "config/gather.h"
#include "config/render.h"
#include "config/values.h"
#include "core/codec/json_write.h"
#include "plan_file/plan_file.h"

namespace wa::cli {
namespace {

// "worker.yaml:3:1" -> 3 and 1.
void read_place(const std::string& where, const std::string& file, Problem& out) {
    if (!where.starts_with(file + ":")) return;
    const std::string_view rest = std::string_view(where).substr(file.size() + 1);
    const std::size_t colon = rest.find(':');
    const auto line = config::parse_int(rest.substr(0, colon));
    if (line && *line > 0) out.line = static_cast<std::uint32_t>(*line);
    if (colon == std::string_view::npos) return;
    const auto column = config::parse_int(rest.substr(colon + 1));
    if (column && *column > 0) out.column = static_cast<std::uint32_t>(*column);
}

// The file on its own: no environment, so that the answer is the same on every machine.
std::vector<Problem> check_config(const std::string& file, std::string text) {
    config::Sources sources;
    sources.mode = config::Mode::kRun;
    sources.config_file = config::NamedText{file, std::move(text)};
    // What a NAME_FILE points to is a matter of the machine that it is used on.
    sources.read_file = [](const std::string&) -> Result<std::string> { return std::string("unread"); };
    std::vector<Problem> out;
    for (const config::Problem& found : config::load(sources).problems) {
        const bool in_file = found.where.starts_with(file);
        if (!in_file) continue;
        Problem problem;
        problem.severity = found.severity == config::Severity::kError ? Severity::kError : Severity::kWarning;
        problem.rule = found.setting.empty() ? "unknown-key" : "setting";
        problem.message = found.message + (found.fix.empty() ? "" : " (" + found.fix + ")");
        problem.path = config::file_key(found.setting);
        problem.file = file;
        read_place(found.where, file, problem);
        out.push_back(std::move(problem));
    }
    return out;
}

// Plan and ticket files have `tickets` or `task_type` at the top; a configuration file has names of settings.
bool looks_like_config(const std::string& file, const std::string& text) {
    const config::FileContent content = config::read_yaml_settings({file, text});
    if (content.entries.empty()) return false;
    const auto is_setting = [](const config::FileEntry& entry) {
        std::string name = entry.key;
        for (char& c : name)
            c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        return config::find_setting(name) != nullptr;
    };
    const bool plan = std::ranges::any_of(content.entries, [](const config::FileEntry& entry) {
        return entry.key == "tickets" || entry.key == "plan" || entry.key == "task_type";
    });
    return !plan && std::ranges::any_of(content.entries, is_setting);
}

bool is_config(const ValidateCommand& command, const std::string& file, const std::string& text) {
    if (command.kind != FileKind::kAuto) return command.kind == FileKind::kConfig;
    constexpr std::size_t kLargestConfig = 256 * 1024;
    // A plan is the common case, and the larger one: what names tickets need not be read twice.
    if (text.size() > kLargestConfig || text.find("tickets") != std::string::npos) return false;
    return looks_like_config(file, text);
}

Result<config::Loaded> load_settings(Session& session, config::Mode mode, const SettingFlags& flags) {
    config::GatherRequest request;
    request.mode = mode;
    request.environment = session.environment();
    request.flags = flags;
    request.config_path = session.global().config_file;
    WA_TRY(const config::Sources sources, config::gather(std::move(request)));
    return config::load(sources);
}

std::string problem_lines(const std::vector<config::Problem>& problems) {
    std::string text;
    for (const config::Problem& problem : problems) {
        text += (problem.severity == config::Severity::kError ? "error    " : "warning  ") +
                printable(problem.describe()) + "\n";
    }
    return text;
}

Result<void> write_new_file(const std::string& file, std::string_view text, bool force) {
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL);
    const int handle = ::open(file.c_str(), flags, 0644);
    if (handle < 0) {
        Error error =
            make_error(errno == EEXIST ? ErrorCode::kConflict : ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput,
                       "files", "cannot write " + file + ": " + std::system_category().message(errno));
        if (errno == EEXIST) error.fix = "give another name, or --force";
        return tl::unexpected(std::move(error));
    }
    bool good = true;
    while (good && !text.empty()) {
        const ssize_t done = ::write(handle, text.data(), text.size());
        if (done < 0 && errno == EINTR) continue;
        good = done > 0;
        if (good) text.remove_prefix(static_cast<std::size_t>(done));
    }
    good = ::close(handle) == 0 && good;
    if (!good) return fail(ErrorCode::kDiskFull, "files", "cannot write " + file);
    return {};
}

}  // namespace

int run(Session& session, const ValidateCommand& command) {
    std::vector<Problem> problems;
    for (const std::string& file : command.files) {
        auto text = read_input(session, file);
        if (!text) {
            Error error = std::move(text).error();
            error.origin = "files";
            return session.failed("cannot validate", error);
        }
        const std::string name = file == "-" ? "<stdin>" : file;
        std::vector<Problem> found = is_config(command, name, *text)
                                         ? check_config(name, std::move(*text))
                                         : validate_text(name, *text, session.clock().wall_now());
        std::ranges::move(found, std::back_inserter(problems));
    }
    const std::string report = format_problems(problems, command.format, command.files.size(), session.build().version);
    print_raw(session, report);
    return has_errors(problems) ? kExitUsage : kExitOk;
}

int run(Session& session, const ConfigShowCommand& command) {
    auto loaded = load_settings(session, command.mode, command.settings);
    if (!loaded) return session.failed("cannot read the settings", loaded.error());
    const config::ShowOptions options{command.origin, command.diff_defaults};
    const json::object shown = config::show_json(loaded->settings, options);
    if (session.machine_output()) {
        ApiAnswer answer;
        answer.body = json_text(shown);
        if (auto printed = session.print_machine(answer, "settings"); !printed)
            return session.failed("cannot show", printed.error());
    } else {
        Table table;
        table.columns = {{"NAME"}, {"VALUE", false, 60}};
        if (command.origin) table.columns.push_back({"ORIGIN"});
        table.columns.push_back({"NOTE"});
        table.rows = config::show_rows(loaded->settings, options);
        if (session.global().format == Format::kName) {
            for (const auto& row : table.rows)
                session.console().out(row.front() + "\n");
        } else {
            auto text = render(table, session.table_options());
            if (!text) return session.failed("cannot show the settings", text.error());
            session.console().out(*text);
        }
    }
    session.console().err(problem_lines(loaded->problems));
    return loaded->ok() ? kExitOk : kExitUsage;
}

int run(Session& session, const ConfigInitCommand& command) {
    const std::string text = config::starter_file();
    if (command.file.empty() || command.file == "-") {
        session.console().out(text);
        return kExitOk;
    }
    if (auto written = write_new_file(command.file, text, command.force); !written) {
        return session.failed("cannot write the configuration file", written.error());
    }
    session.hint("next: edit it, then worker-agents validate --kind config " + printable(command.file) + "\n");
    return kExitOk;
}

int run(Session& session, const ConfigSchemaCommand&) {
    session.console().out(json_text(config::file_schema()) + "\n");
    return kExitOk;
}

int run(Session& session, const VersionCommand&) {
    const BuildInfo& build = session.build();
    const auto text = [](const std::string& value) { return json::string_view(value.data(), value.size()); };
    json::object object;
    object["version"] = text(build.version);
    object["commit"] = text(build.commit);
    object["build_date"] = text(build.build_date);
    object["build_type"] = text(build.build_type);
    json::object libraries;
    for (const auto& [name, version] : build.libraries)
        libraries[text(name)] = text(version);
    object["libraries"] = libraries;
    if (session.machine_output()) {
        ApiAnswer answer;
        answer.body = json_text(object);
        if (auto printed = session.print_machine(answer); !printed)
            return session.failed("cannot show", printed.error());
        return kExitOk;
    }
    std::string out = "worker-agents " + build.version + "\n";
    for (const auto& [name, value] : object) {
        const std::string shown = scalar_text(value);
        if (name == "version" || name == "libraries" || shown.empty()) continue;
        out += pad(std::string_view(name.data(), name.size()), 12) + " " + printable(shown) + "\n";
    }
    for (const auto& [name, version] : build.libraries)
        out += pad(name, 12) + " " + version + "\n";
    session.console().out(out);
    return kExitOk;
}

}  // namespace wa::cli
