// What was asked for on the command line, as values. The only includer of CLI11 is command_line.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/settings.h"
#include "core/plan/problems.h"

namespace wa::cli {

enum class Format : std::uint8_t { kTable, kWide, kJson, kJsonl, kYaml, kName };
enum class ColourWhen : std::uint8_t { kAuto, kAlways, kNever };

struct GlobalOptions {
    std::string server;       // --server, else WORKER_AGENTS_SERVER; empty = look for it (endpoint.h)
    std::string state_dir;    // --state-dir, else STATE_DIR; empty = the default folder
    std::string token_file;   // --token-file, else WORKER_AGENTS_TOKEN_FILE
    std::string config_file;  // --config (WORKER_AGENTS_CONFIG is left to config::gather)
    Format format = Format::kTable;
    ColourWhen colour = ColourWhen::kAuto;
    bool headers = true;
    std::vector<std::string> columns;
    bool quiet = false;
    bool verbose = false;
    bool yes = false;
    bool no_input = false;
    std::optional<std::chrono::milliseconds> timeout;
};

using SettingFlags = std::vector<std::pair<std::string, std::string>>;  // NAME (or NAME_FILE) and text

// ---- handed back to the application
struct DevCommand {
    std::vector<std::string> examples;
    bool exit = false;
    bool allow_simulated = false;
    SettingFlags settings;
};
struct RunCommand {
    SettingFlags settings;
};

// ---- run by run_client (client.h)
struct SubmitCommand {
    std::vector<std::string> files;
    bool wait = false;
    bool follow = false;
    bool dry_run = false;
    bool allow_simulated = false;
};
struct StatusCommand {
    std::string id;  // empty = this worker
    bool exit_code = false;
};
struct TicketsListCommand {
    std::string plan;
    std::string status;
    std::string phase;
    std::string type;
    std::string text;
    bool failed = false;
    std::size_t limit = 100;
    std::size_t offset = 0;
};
struct TicketShowCommand {
    std::string id;
};
struct TicketLogsCommand {
    std::string id;
    bool follow = false;
    std::optional<std::size_t> tail;
    std::optional<int> attempt;
    std::string stream = "all";
};
struct TicketWatchCommand {
    std::string id;
    bool allow_simulated = false;
};
struct TicketExplainCommand {
    std::string id;
};
struct TicketCancelCommand {
    std::vector<std::string> ids;
    std::string reason = "user_request";
    std::optional<std::chrono::milliseconds> grace;
};
struct TicketRetryCommand {
    std::vector<std::string> ids;
};
struct PlansListCommand {
    std::size_t limit = 100;
    std::size_t offset = 0;
};
struct PlanShowCommand {
    std::string id;
};
struct PlanWatchCommand {
    std::string id;
    bool allow_simulated = false;
};
struct PlanCancelCommand {
    std::string id;
    bool dry_run = false;
};
struct PlanRetryCommand {
    std::string id;
    bool failed = false;  // only what failed and what hangs on it; else everything that ended
    bool dry_run = false;
};
struct DlqListCommand {
    std::size_t limit = 100;
    std::size_t offset = 0;
};
struct DlqShowCommand {
    std::string key;
};
struct DlqChangeCommand {
    std::vector<std::string> keys;
    bool all = false;
    bool discard = false;  // else replay
    std::string reason;
    bool dry_run = false;
};
struct DlqExportCommand {
    std::string file;    // empty = stdout
    std::string ticket;  // beginning of its id; empty = every one
    std::string reason;  // empty = every one
};
struct ExecutorsCommand {};
struct DrainCommand {
    bool wait = false;
    bool now = false;
    bool undo = false;
    std::optional<std::chrono::milliseconds> grace;
    std::string reason;
};
struct LogsCommand {
    bool follow = false;
    std::string level;
    std::optional<std::size_t> tail;
};
enum class FileKind : std::uint8_t { kAuto, kPlan, kConfig };
struct ValidateCommand {
    std::vector<std::string> files;
    ProblemFormat format = ProblemFormat::kHuman;
    FileKind kind = FileKind::kAuto;
};
struct DoctorCommand {
    SettingFlags settings;
};
struct ConfigShowCommand {
    bool origin = false;
    bool diff_defaults = false;
    config::Mode mode = config::Mode::kDev;
    SettingFlags settings;
};
struct ConfigInitCommand {
    std::string file;  // empty = stdout
    bool force = false;
};
struct ConfigSchemaCommand {};
struct VersionCommand {};
struct CompletionCommand {
    std::string shell;
};
struct CompleteCommand {
    std::vector<std::string> words;  // behind the program's name; the last one is being typed
};

using Command =
    std::variant<DevCommand, RunCommand, SubmitCommand, StatusCommand, TicketsListCommand, TicketShowCommand,
                 TicketLogsCommand, TicketWatchCommand, TicketExplainCommand, TicketCancelCommand, TicketRetryCommand,
                 PlansListCommand, PlanShowCommand, PlanWatchCommand, PlanCancelCommand, PlanRetryCommand,
                 DlqListCommand, DlqShowCommand, DlqChangeCommand, DlqExportCommand, ExecutorsCommand, DrainCommand,
                 LogsCommand, ValidateCommand, DoctorCommand, ConfigShowCommand, ConfigInitCommand, ConfigSchemaCommand,
                 VersionCommand, CompletionCommand, CompleteCommand>;

struct Invocation {
    GlobalOptions global;
    Command command;
};
// The command line was answered already: help, or wrong usage (exit code 2).
struct Answered {
    int exit_code = 0;
    std::string out;
    std::string err;
};

// `args` without the program's name. Pure: the environment is handed in.
[[nodiscard]] std::variant<Invocation, Answered> parse_command_line(const std::vector<std::string>& args,
                                                                    const config::Environment& environment);

// ---- for completion
enum class Live : std::uint8_t { kNothing, kTickets, kPlans, kAnyId, kDeadLetters, kFiles };
struct Completions {
    std::vector<std::string> words;  // that begin with what is typed
    Live live = Live::kNothing;      // further candidates that only the server (or the disk) knows
    std::string typed;
};
[[nodiscard]] Completions complete(const std::vector<std::string>& words);

}  // namespace wa::cli
