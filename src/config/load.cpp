#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/check.h"
#include "config/files.h"
#include "config/rules.h"
#include "config/settings.h"
#include "config/values.h"
#include "core/codec/suggest.h"

namespace wa::config {
namespace {

constexpr std::size_t kShownText = 80;       // of a refused value, in a message
constexpr std::size_t kMaxSuggestions = 50;  // looking for the nearest name takes time

// What one layer says about one setting.
struct Given {
    std::variant<std::string, std::vector<std::string>> value;
    std::string where;
    bool in_file = false;  // the text is the path of a file that holds the value (NAME_FILE)
};
using LayerValues = std::unordered_map<std::string_view, Given>;  // key: SettingSpec::name

bool is_blank(const Given& given) {
    const auto* text = std::get_if<std::string>(&given.value);
    return text != nullptr && trim(*text).empty();
}

// NAME_FILE of a secret -> its spec.
const SettingSpec* find_secret_file(std::string_view name) {
    constexpr std::string_view kSuffix = "_FILE";
    if (!name.ends_with(kSuffix)) return nullptr;
    const SettingSpec* spec = find_setting(name.substr(0, name.size() - kSuffix.size()));
    return spec != nullptr && spec->type == Type::kSecret ? spec : nullptr;
}

// Kubernetes adds variables for every Service in the namespace: a Service "redis" sets REDIS_PORT=tcp://10.0.0.1:6379.
bool is_service_link(std::string_view value) {
    return value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
}

// The names of the links to a Service that is called worker-agents itself.
bool is_own_service_link(std::string_view name) {
    constexpr std::string_view kPrefix = "WORKER_AGENTS_";
    const std::string_view rest = name.substr(kPrefix.size());
    return rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
}

std::vector<std::string_view> all_names() {
    std::vector<std::string_view> names;
    for (const SettingSpec& spec : all_settings()) {
        names.push_back(spec.name);
        if (!spec.alias.empty()) names.push_back(spec.alias);
    }
    return names;
}

std::string upper(std::string_view key) {
    std::string out(key);
    for (char& c : out) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return out;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, kShownText))
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    if (text.size() > kShownText) out += "…";
    return out + "\"";
}

}  // namespace

class Loader {
public:
    explicit Loader(const Sources& sources) : sources_(sources) {}

    Loaded load() {
        read_flags();
        read_environment();
        if (sources_.env_file) read_env_file_layer();
        if (sources_.config_file) read_config_file();
        read_preset();
        resolve_all();
        if (errors_ == 0) check_rules(out_.settings, sources_.mode, out_.problems);
        errors_first();
        return std::move(out_);
    }

private:
    void report(Severity severity, std::string where, std::string_view setting, std::string message,
                std::string fix = {}) {
        if (severity == Severity::kError) ++errors_;
        out_.problems.push_back({severity, std::move(where), std::string(setting), std::move(message), std::move(fix)});
    }

    void errors_first() {
        std::vector<Problem> sorted;
        for (const Severity severity : {Severity::kError, Severity::kWarning}) {
            for (const Problem& problem : out_.problems) {
                if (problem.severity == severity) sorted.push_back(problem);
            }
        }
        out_.problems = std::move(sorted);
    }

    LayerValues& layer(Layer which) { return layers_[static_cast<std::size_t>(which)]; }

    // True when `name` is a setting (or alias, or NAME_FILE) and was taken.
    bool take(Layer which, std::string_view name, Given given) {
        const SettingSpec* spec = find_setting(name);
        if (spec == nullptr) {
            spec = find_secret_file(name);
            if (spec == nullptr) return false;
            given.in_file = true;
        }
        if (which == Layer::kEnvironment && spec->type == Type::kInt) {
            const auto* text = std::get_if<std::string>(&given.value);
            if (text != nullptr && is_service_link(*text)) {
                report(
                    Severity::kWarning, given.where, spec->name,
                    std::string(name) + " looks like a Kubernetes service link (" + quoted(*text) + ") and is not used",
                    "set enableServiceLinks: false in the pod");
                return true;
            }
        }
        put(which, *spec, std::move(given));
        return true;
    }

    void put(Layer which, const SettingSpec& spec, Given given) {
        LayerValues& values = layer(which);
        const auto before = values.find(spec.name);
        if (before == values.end() || is_blank(before->second)) {
            values.insert_or_assign(spec.name, std::move(given));
            return;
        }
        if (is_blank(given)) return;
        if (which == Layer::kFlag) {  // the last flag wins
            before->second = std::move(given);
            return;
        }
        if (before->second.value == given.value && before->second.in_file == given.in_file) return;
        report(Severity::kError, given.where, spec.name,
               std::string(spec.name) + " is set twice: " + before->second.where + " and " + given.where,
               "keep one of them");
    }

    void read_flags() {
        for (const auto& [name, text] : sources_.flags) {
            const SettingSpec* spec = find_setting(name);
            const SettingSpec* secret = spec == nullptr ? find_secret_file(name) : nullptr;
            const SettingSpec* known = spec != nullptr ? spec : secret;
            const std::string where = "flag " + (known != nullptr ? flag_name(*known) : name.substr(0, kShownText));
            if (spec != nullptr && spec->type == Type::kSecret) {
                report(Severity::kError, where, spec->name,
                       "a secret cannot be given on the command line, where others can read it",
                       "put it into a file and give " + flag_name(*spec));
                continue;
            }
            if (!take(Layer::kFlag, name, {text, where, false})) report_unknown(where, name, Severity::kError, false);
        }
    }

    void read_environment() {
        for (const auto& [name, text] : sources_.environment) {
            if (name.starts_with("WORKER_AGENTS_")) {
                read_own_variable(name, text);
                continue;
            }
            if (!take(Layer::kEnvironment, name, {text, "env " + name, false})) hint_at_near_miss(name);
        }
    }

    void read_own_variable(const std::string& name, const std::string& text) {
        // Read by the client commands alone.
        if (name == "WORKER_AGENTS_SERVER" || name == "WORKER_AGENTS_TOKEN_FILE" || is_own_service_link(name)) return;
        const std::string where = "env " + name;
        if (!take(Layer::kEnvironment, name, {text, where, false}))
            report_unknown(where, name, Severity::kError, false);
    }

    // Other programs' variables are none of our business; a slip of the fingers in one of ours is worth a word.
    void hint_at_near_miss(const std::string& name) {
        constexpr std::size_t kShortest = 8;
        if (name.size() < kShortest) return;
        for (const SettingSpec& spec : all_settings()) {
            if (spec.name.substr(0, 3) != upper(std::string_view(name).substr(0, 3))) continue;
            if (edit_distance(name, spec.name, 1) > 1) continue;
            report(Severity::kWarning, "env " + name, {}, name + " is not a setting",
                   "did you mean " + std::string(spec.name) + "?");
            return;
        }
    }

    void read_env_file_layer() {
        FileContent content = read_env_file(*sources_.env_file);
        adopt(content.problems);
        for (FileEntry& entry : content.entries) {
            const std::string where = entry.where;
            if (!take(Layer::kEnvFile, entry.key, {std::move(entry.value), where, false})) {
                report_unknown(where, entry.key, Severity::kWarning, false);
            }
        }
    }

    void read_config_file() {
        FileContent content = read_yaml_settings(*sources_.config_file);
        adopt(content.problems);
        for (FileEntry& entry : content.entries) {
            const std::string where = entry.where;
            const std::string name = upper(entry.key);
            // The file's keys are lower case only, so that there is one way to write each.
            const bool lower_case = file_key(entry.key) == entry.key;
            if (!lower_case || !take(Layer::kFile, name, {std::move(entry.value), where, false})) {
                report_unknown(where, entry.key, Severity::kError, true);
            }
        }
    }

    void read_preset() {
        for (const auto& [name, text] : sources_.preset) {
            WA_CHECK(take(Layer::kPreset, name, {text, sources_.preset_name, false}),
                     "a preset names known settings only");
        }
    }

    void adopt(std::vector<Problem>& problems) {
        for (Problem& problem : problems) {
            if (problem.severity == Severity::kError) ++errors_;
            out_.problems.push_back(std::move(problem));
        }
    }

    void report_unknown(const std::string& where, std::string_view name, Severity severity, bool as_key) {
        std::string fix;
        std::string_view near;
        if (++unknown_ <= kMaxSuggestions) {
            const std::vector<std::string_view> names = all_names();
            near = closest(name, names);
        }
        if (!near.empty()) fix = "did you mean " + (as_key ? file_key(near) : std::string(near)) + "?";
        report(severity, where, {}, "unknown " + std::string(as_key ? "key " : "setting ") + quoted(name),
               std::move(fix));
    }

    void resolve_all() {
        // ENVIRONMENT decides defaults of others, so it is resolved before them; its problems are reported in its turn.
        const std::size_t reported = out_.problems.size();
        const std::size_t errors = errors_;
        const Setting environment = resolve(*find_setting("ENVIRONMENT"), false);
        const auto* text = std::get_if<std::string>(&environment.value);
        const bool strict = text != nullptr && is_strict_environment(*text);
        out_.problems.erase(out_.problems.begin() + static_cast<std::ptrdiff_t>(reported), out_.problems.end());
        errors_ = errors;
        out_.settings.settings_.reserve(all_settings().size());
        for (const SettingSpec& spec : all_settings())
            out_.settings.settings_.push_back(resolve(spec, strict));
        apply_pod_namespace();
        apply_dev_working_dir();
        apply_standard_trace_endpoint();
    }

    Setting resolve(const SettingSpec& spec, bool strict) {
        static constexpr std::array kOrder{Layer::kFlag, Layer::kEnvironment, Layer::kEnvFile, Layer::kFile,
                                           Layer::kPreset};
        for (const Layer which : kOrder) {
            const LayerValues& values = layer(which);
            const auto found = values.find(spec.name);
            if (found == values.end()) continue;
            if (is_blank(found->second)) {
                if (!spec.empty_is_off) continue;
                return {&spec, std::monostate{}, {which, found->second.where}};
            }
            return from(spec, which, found->second);
        }
        return from_default(spec, strict);
    }

    Setting from(const SettingSpec& spec, Layer which, const Given& given) {
        Setting setting{&spec, std::monostate{}, {which, given.where}};
        if (const auto* file = std::get_if<std::string>(&given.value); given.in_file && file != nullptr)
            setting.origin.file = *file;
        Result<Value> value = given.in_file ? from_secret_file(spec, given) : parse(spec, given);
        if (value) {
            setting.value = std::move(*value);
        } else {
            std::string message = std::string(spec.name) + " " + value.error().message;
            if (spec.type != Type::kSecret) message += shown(spec, given);
            report(Severity::kError, given.where, spec.name, std::move(message));
        }
        return setting;
    }

    static std::string shown(const SettingSpec& spec, const Given& given) {
        const auto* text = std::get_if<std::string>(&given.value);
        if (text == nullptr) return {};
        return ", but is " + quoted(spec.type == Type::kUrl ? mask_url(*text) : *text);
    }

    static Result<Value> parse(const SettingSpec& spec, const Given& given) {
        if (const auto* text = std::get_if<std::string>(&given.value)) return parse_value(spec, *text);
        if (spec.type != Type::kList) return invalid("", "must be a single value, not a list");
        return parse_items(spec, std::get<std::vector<std::string>>(given.value));
    }

    Result<Value> from_secret_file(const SettingSpec& spec, const Given& given) {
        const auto* path = std::get_if<std::string>(&given.value);
        if (path == nullptr || !sources_.read_file) return invalid("", "must name one file");
        Result<std::string> text = sources_.read_file(std::string(trim(*path)));
        if (!text) return tl::unexpected(std::move(text).error());
        // Editors and mounted secrets end files with a newline that is not part of the secret.
        while (!text->empty() && (text->back() == '\n' || text->back() == '\r'))
            text->pop_back();
        if (text->empty()) return Value(std::monostate{});
        return parse_value(spec, *text);
    }

    Setting from_default(const SettingSpec& spec, bool strict) {
        Setting setting{&spec, std::monostate{}, {Layer::kDefault, "default"}};
        std::string_view text = spec.fallback;
        if (sources_.mode == Mode::kDev && !spec.dev_fallback.empty()) text = spec.dev_fallback;
        if (strict && !spec.strict_fallback.empty()) text = spec.strict_fallback;
        std::string computed;
        if (spec.name == "STATE_DIR" && sources_.mode == Mode::kDev) {
            computed = default_state_dir(sources_.environment);
            if (computed.empty()) {
                report(Severity::kError, "env HOME", spec.name,
                       "cannot tell where to keep state: neither HOME nor XDG_STATE_HOME is set", "give --state-dir");
            }
            text = computed;
        }
        if (text.empty()) return setting;
        Result<Value> value = parse_value(spec, text);
        WA_CHECK(value.has_value(), "every default of the table can be read");
        setting.value = std::move(*value);
        return setting;
    }

    // Rule N1. The command line still has the last word.
    void apply_pod_namespace() {
        const Setting& pod = out_.settings.at("POD_NAMESPACE");
        Setting& own = mutable_setting("NAMESPACE");
        const auto* name = std::get_if<std::string>(&pod.value);
        if (name == nullptr || *name == "default" || own.origin.layer == Layer::kFlag) return;
        own.value = *name;
        own.origin = pod.origin;
    }

    // `dev` keeps all that it makes under its state folder; the seed's default is a folder that all users share.
    void apply_dev_working_dir() {
        Setting& own = mutable_setting("LOCAL_RUNTIME_WORKING_DIR");
        const Setting& state = out_.settings.at("STATE_DIR");
        const auto* folder = std::get_if<std::string>(&state.value);
        if (sources_.mode != Mode::kDev || own.origin.layer != Layer::kDefault || folder == nullptr) return;
        own.value = *folder + "/workspace";
    }

    void apply_standard_trace_endpoint() {
        const Setting& standard = out_.settings.at("OTEL_EXPORTER_OTLP_ENDPOINT");
        Setting& own = mutable_setting("OTEL_EXPORTER_ENDPOINT");
        if (own.origin.layer != Layer::kDefault || standard.value.index() == 0) return;
        own.value = standard.value;
        own.origin = standard.origin;
    }

    Setting& mutable_setting(std::string_view name) {
        const auto found = std::ranges::find_if(out_.settings.settings_,
                                                [name](const Setting& setting) { return setting.spec->name == name; });
        WA_CHECK(found != out_.settings.settings_.end(), "the setting is in the table");
        return *found;
    }

    const Sources& sources_;
    std::array<LayerValues, 6> layers_;
    Loaded out_;
    std::size_t errors_ = 0;
    std::size_t unknown_ = 0;
};

std::string default_state_dir(const Environment& environment) {
    const auto value = [&environment](std::string_view name) -> std::string {
        const auto found = environment.find(name);
        // The XDG rule: relative paths are to be ignored.
        return found == environment.end() || !found->second.starts_with('/') ? std::string{} : found->second;
    };
    if (const std::string state = value("XDG_STATE_HOME"); !state.empty()) return state + "/worker-agents";
    if (const std::string home = value("HOME"); !home.empty()) return home + "/.local/state/worker-agents";
    return {};
}

Loaded load(const Sources& sources) {
    return Loader(sources).load();
}

bool Loaded::ok() const {
    return std::ranges::none_of(problems, [](const Problem& problem) { return problem.severity == Severity::kError; });
}

std::string Problem::describe() const {
    std::string text = where + ": " + message;
    if (!fix.empty()) text += " (" + fix + ")";
    return text;
}

Result<Settings> load_or_error(const Sources& sources) {
    Loaded loaded = load(sources);
    if (loaded.ok()) return std::move(loaded.settings);
    std::string text;
    std::string field;
    for (const Problem& problem : loaded.problems) {
        if (problem.severity != Severity::kError) continue;
        if (field.empty()) field = problem.setting;
        text += (text.empty() ? "" : "\n") + problem.describe();
    }
    return invalid(std::move(field), std::move(text));
}

}  // namespace wa::config
