// The program's settings: one table of all of them, and the typed values of this start.
//
// A value comes from the first of: command line, environment, env file (WORKER_ENV_FILE), configuration file, preset (a
// built-in example), default. Each value remembers where it came from. `load` is pure: what the outside world says is
// handed in (Sources), so that every rule can be tested; only environment.h touches the process.
//
// Rules: contract/settings.md (N0-N4, lists, P1-P8), interface.md (files, ports, STATE_DIR), experience.md 1b.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace wa::config {

enum class Type : std::uint8_t {
    kString,
    kEnum,  // one of SettingSpec::choices, compared without case, kept as the table spells it
    kInt,
    kFloat,
    kRatio,  // "0.8" or "80%"; kept as a float
    kBool,
    kList,      // JSON array or comma-separated
    kDuration,  // "10m", "1m30s", "250ms", or a bare number in SettingSpec::unit
    kSize,      // "512MiB", "512m", or bare bytes
    kPath,
    kUrl,
    kSecret,  // never shown; also read from the file that NAME_FILE names
};
std::string_view to_string(Type type);

// The part of the program that reads a setting. `built` in the table of parts says whether this build has that part;
// settings of the others are accepted, checked, and shown as "not built".
enum class Part : std::uint8_t {
    kGeneral,
    kEngine,
    kLocalRuntime,
    kRuntimeChoice,
    kTest,
    kHttp,
    kLogging,
    kMetrics,
    kStore,
    kKafka,
    kSchemaRegistry,
    kDeadLetters,
    kServiceRegistry,
    kTicketService,
    kCodeForge,
    kBuild,
    kDeploy,
    kValidate,
    kCiProviders,
    kCompensate,
    kTemporal,
    kTracing,
    kVault,
    kSpiffe,
    kDocker,
    kKubernetesJobs,
    kLambda,
    kRedis,
    kMongoDb,
    kNeo4j,
    kNothing,  // known name without effect, kept so that old environments start
};
std::string_view to_string(Part part);
bool is_built(Part part);

enum class Unit : std::uint8_t { kNone, kMilliseconds, kSeconds, kDays };

// One line of the table. All text is static.
struct SettingSpec {
    std::string_view name;  // environment variable; flag and file key are derived from it
    Type type = Type::kString;
    Part part = Part::kGeneral;
    std::string_view fallback = {};  // default as text; empty = unset
    std::string_view help = {};      // one line for --help, config init, config show
    std::string_view choices = {};   // "a|b|c" for kEnum, and for kList when its entries are restricted
    double min = 0;                  // kInt, kFloat, kRatio, kSize; kDuration: in `unit`
    double max = -1;                 // max < min = not bounded
    Unit unit = Unit::kNone;
    bool required = false;                  // kList: at least one entry
    bool empty_is_off = false;              // given but empty = unset, not the default
    bool reloadable = false;                // may change while the worker runs
    bool common = false;                    // written by `config init`
    std::string_view dev_fallback = {};     // default of `dev` where it differs
    std::string_view strict_fallback = {};  // default in strict environments where it differs
    std::string_view alias = {};            // a second name with the same meaning
};

// Every setting, in the order of the documentation.
std::span<const SettingSpec> all_settings();
// By exact name or alias (upper case), or null.
const SettingSpec* find_setting(std::string_view name);
std::string flag_name(
    const SettingSpec& spec);  // "MAX_CONCURRENT_TASKS" -> "--max-concurrent-tasks" ("…-file" for secrets)
std::string file_key(std::string_view name);  // "MAX_CONCURRENT_TASKS" -> "max_concurrent_tasks"
// True for production, staging, prod, in any case (rule N3).
bool is_strict_environment(std::string_view environment);

enum class Layer : std::uint8_t { kDefault, kPreset, kFile, kEnvFile, kEnvironment, kFlag };
struct Origin {
    Layer layer = Layer::kDefault;
    std::string where;      // "default", "example project", "config.yaml:3", "env X", "env X_FILE", "flag --x"
    std::string file = {};  // path of the file that holds a secret (NAME_FILE); else empty
};

using Value = std::variant<std::monostate, std::string, std::int64_t, double, bool, std::vector<std::string>,
                           std::chrono::milliseconds>;

struct Setting {
    const SettingSpec* spec = nullptr;
    Value value;  // monostate = unset
    Origin origin;
};

// The values of this start. Reading a name that is not in the table, or with the wrong type, is a defect (WA_CHECK).
// Immutable, safe to share between threads.
class Settings {
public:
    [[nodiscard]] bool has(std::string_view name) const;  // false = unset
    // kString, kEnum, kPath, kUrl, kSecret; "" when unset.
    [[nodiscard]] const std::string& text(std::string_view name) const;
    [[nodiscard]] std::int64_t integer(std::string_view name) const;  // kInt, kSize (bytes); 0 when unset
    [[nodiscard]] double real(std::string_view name) const;           // kFloat, kRatio; 0 when unset
    [[nodiscard]] bool flag(std::string_view name) const;             // false when unset
    [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const;
    [[nodiscard]] std::chrono::milliseconds duration(std::string_view name) const;
    [[nodiscard]] const Origin& origin(std::string_view name) const;
    [[nodiscard]] bool strict() const;  // ENVIRONMENT is production, staging or prod
    [[nodiscard]] const std::vector<Setting>& all() const { return settings_; }  // in the order of the table
    // These settings with what may change while the worker runs taken from `now`; the rest waits for a restart.
    [[nodiscard]] Settings with_reloadable(const Settings& now) const;
    // Every secret's value, for the maskers of log and output. Never print them.
    [[nodiscard]] std::vector<std::string> secret_values() const;

private:
    friend class Loader;
    [[nodiscard]] const Setting& at(std::string_view name) const;
    std::vector<Setting> settings_;
};

enum class Severity : std::uint8_t { kError, kWarning };
struct Problem {
    Severity severity = Severity::kError;
    std::string where;    // "config.yaml:3:1", "env HTTP_PORT", "flag --http-port"; never empty
    std::string setting;  // name, or empty
    std::string message;  // never holds a secret
    std::string fix;      // may be empty
    // "config.yaml:3:1: unknown key … (did you mean …?)"
    [[nodiscard]] std::string describe() const;
};

enum class Mode : std::uint8_t { kDev, kRun };

struct NamedText {
    std::string path;  // as shown to people
    std::string text;
};
using Environment = std::map<std::string, std::string, std::less<>>;

struct Sources {
    Mode mode = Mode::kDev;
    std::vector<std::pair<std::string, std::string>> flags;  // NAME (or NAME_FILE for a secret) and text; last one wins
    Environment environment;                                 // snapshot (environment.h)
    std::optional<NamedText> env_file;                       // what WORKER_ENV_FILE names
    std::optional<NamedText> config_file;                    // what --config or WORKER_AGENTS_CONFIG names
    std::vector<std::pair<std::string, std::string>> preset;  // NAME and text; stands between file and default
    std::string preset_name;                                  // "example project"
    // Reads the file behind a NAME_FILE. Null = such settings are an error.
    std::function<Result<std::string>(const std::string& path)> read_file;
};

struct Loaded {
    Settings settings;              // usable only when there is no error
    std::vector<Problem> problems;  // errors first, then warnings
    [[nodiscard]] bool ok() const;
};
// Total: any input gives an answer, with every problem that could be found, not only the first.
[[nodiscard]] Loaded load(const Sources& sources);

// The same, folded into one error (kInvalidArgument) that lists the problems, one a line. Warnings are dropped.
[[nodiscard]] Result<Settings> load_or_error(const Sources& sources);

// $XDG_STATE_HOME/worker-agents, else $HOME/.local/state/worker-agents, else "".
[[nodiscard]] std::string default_state_dir(const Environment& environment);

// What differs between two loads (reload on SIGHUP). `reloadable` false = needs a restart.
struct Change {
    const SettingSpec* spec = nullptr;
    bool reloadable = false;
};
[[nodiscard]] std::vector<Change> changes(const Settings& before, const Settings& now);

}  // namespace wa::config
