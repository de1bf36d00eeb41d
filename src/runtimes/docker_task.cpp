#include "runtimes/docker_task.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "core/codec/parameters.h"
#include "core/codec/quantity.h"
#include "core/codec/text.h"
#include "runtimes/task_environment.h"

namespace wa::docker {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::uint64_t kNanosPerMilli = 1'000'000;
constexpr std::size_t kMaxPath = 4096;

Failure not_allowed(std::string field, std::string why, std::string fix = {}) {
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "docker", std::move(why));
    error.field = "parameters." + std::move(field);
    error.fix = std::move(fix);
    return Failure(std::move(error));
}

Result<std::vector<std::string>> command_words(const Parameters& parameters) {
    WA_TRY(const bool shell, parameters.boolean_or("shell", false));
    std::vector<std::string> words;
    const auto* raw = parameters.raw("command");
    if (shell && (raw == nullptr || !raw->is_array())) {
        WA_TRY(const std::string script, parameters.required_text("command"));
        words = {"sh", "-c", script, "sh"};
    } else {
        WA_TRY(const auto command, parameters.command("command"));
        if (!command || command->empty()) return parameters.refuse("command", "it is missing");
        words = *command;
        if (shell && words.size() != 1) return parameters.refuse("command", "with 'shell' it must be one text");
        if (shell) words = {"sh", "-c", words.front(), "sh"};
    }
    WA_TRY(const auto arguments, parameters.command("args"));
    if (arguments) words.insert(words.end(), arguments->begin(), arguments->end());
    return words;
}

// Never from a ticket, or not to be had here: nothing of that is left out in silence.
Result<void> refuse_what_is_not_taken(const Parameters& parameters) {
    static constexpr std::array kNever{"mounts",  "volumes",  "binds",    "privileged",  "devices",
                                       "cap_add", "pid_mode", "ipc_mode", "security_opt"};
    for (const char* const key : kNever) {
        const auto* value = parameters.raw(key);
        if (value == nullptr || (value->is_bool() && !value->get_bool())) continue;
        return not_allowed(key, "'" + std::string(key) + "' is never taken from a ticket");
    }
    for (const char* const key : {"stdin", "secrets"}) {
        if (!parameters.has(key)) continue;
        Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kInput, "docker",
                                 "'" + std::string(key) + "' cannot be given to a container");
        error.field = "parameters." + std::string(key);
        error.fix = "use the local runtime, or hand the value over in env_vars (masked when its name says 'secret')";
        return Failure(std::move(error));
    }
    return {};
}

Result<ImageName> read_image(const Parameters& parameters, const TaskRules& rules) {
    WA_TRY(const std::string text, parameters.text_or("image", rules.default_image));
    WA_TRY(ImageName image, parse_image_name(text));
    const bool allowed = std::ranges::any_of(
        rules.allowed_images, [&](const std::string& pattern) { return fits_pattern(image.text, pattern); });
    if (!allowed) {
        return not_allowed("image", "the image '" + clip(image.text, 200) + "' is not allowed here",
                           "add it to EXECUTE_ALLOWED_IMAGES");
    }
    return image;
}

bool is_number(std::string_view text) {
    constexpr std::size_t kMostDigits = 10;
    return !text.empty() && text.size() <= kMostDigits &&
           text.find_first_not_of("0123456789") == std::string_view::npos && *parse_whole_number(text) <= 4'294'967'294;
}

// Names are looked up in the image's own /etc/passwd, where any name may be root: only numbers are sure.
Result<std::string> read_user(const Parameters& parameters, const TaskRules& rules) {
    WA_TRY(const std::string user, parameters.text_or("user", rules.user));
    const std::size_t colon = user.find(':');
    const std::string uid = user.substr(0, colon);
    const bool numbers = is_number(uid) && (colon == std::string::npos || is_number(user.substr(colon + 1)));
    if (rules.allow_root) {
        constexpr std::size_t kMostBytes = 64;
        if (!numbers && (user.empty() || user.size() > kMostBytes || user.find_first_of(" \t/\\") != std::string::npos))
            return parameters.refuse("user", "expected user[:group]");
        return user;
    }
    if (!numbers) return parameters.refuse("user", "expected numbers, uid[:gid]: what a name means is up to the image");
    if (*parse_whole_number(uid) == 0)
        return not_allowed("user", "containers do not run as root here", "set DOCKER_ALLOW_ROOT=true");
    return user;
}

Result<std::string> read_network(const Parameters& parameters, const TaskRules& rules) {
    WA_TRY(const auto asked, parameters.text("network_mode", kMaxPath));
    const std::string network = asked.value_or(rules.network);
    if (network != "bridge" && network != "none" && network != "host")
        return not_allowed("network_mode", "'" + clip(network) + "' is no network that a ticket may have",
                           "use bridge or none");
    if (network == "host" && !rules.allow_host_network)
        return not_allowed("network_mode", "the network of the host is not allowed here",
                           "set DOCKER_ALLOW_HOST_NETWORK=true");
    return network;
}

Result<void> read_limits(const Parameters& parameters, const TaskRules& rules, Task& task) {
    task.cpu_millis = rules.cpu_millis;
    task.memory = rules.memory;
    WA_TRY(const auto cpu, parameters.text("cpu_limit"));
    if (cpu) {
        const auto millis = parse_cpu_quantity(*cpu);
        if (!millis) return parameters.refuse("cpu_limit", "expected processors, such as 0.5, 2 or 500m");
        task.cpu_millis = *millis;
    }
    WA_TRY(const auto memory, parameters.text("memory_limit"));
    if (memory) {
        const auto bytes = parse_memory_quantity(*memory);
        if (!bytes) return parameters.refuse("memory_limit", "expected an amount of memory, such as 512m, 512Mi or 1g");
        task.memory = *bytes;
    }
    return {};
}

// Within a container the names are the image's business; their form is ours.
Result<StringMap> read_variables(const Parameters& parameters) {
    WA_TRY(const auto given, parameters.map({"env_vars", "env"}));
    StringMap variables = given.value_or(StringMap{});
    for (const auto& [name, value] : variables) {
        const bool good = !name.empty() && name.find_first_of("=") == std::string::npos &&
                          std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7F; });
        if (!good) return parameters.refuse("env_vars", "'" + clip(name) + "' is no name of a variable");
        if (value.find('\0') != std::string::npos)
            return parameters.refuse("env_vars", "'" + clip(name) + "' holds a NUL character");
        if (value.size() > kMaxVariableBytes)
            return parameters.refuse("env_vars", "'" + clip(name) + "' is longer than 32 KiB");
    }
    return variables;
}

json::value text(std::string_view value) {
    return json::value(json::string(value));
}

json::array texts(const std::vector<std::string>& values) {
    json::array array;
    for (const std::string& value : values)
        array.push_back(text(value));
    return array;
}

json::object host_config(const Task& task, const TaskRules& rules) {
    json::object log_options{{"max-size", "16m"}, {"max-file", "2"}};
    json::object host;
    host["Memory"] = task.memory;
    host["MemorySwap"] = task.memory;  // none beyond it
    host["NanoCpus"] = task.cpu_millis * kNanosPerMilli;
    host["PidsLimit"] = rules.processes;
    host["NetworkMode"] = text(task.network);
    host["CapDrop"] = json::array{"ALL"};
    host["SecurityOpt"] = json::array{"no-new-privileges"};
    host["Privileged"] = false;
    host["ReadonlyRootfs"] = rules.read_only;
    host["Tmpfs"] =
        json::object{{"/tmp", text("rw,noexec,nosuid,nodev,size=" + std::to_string(rules.tmp_bytes) + ",mode=1777")}};
    host["Ulimits"] = json::array{json::object{{"Name", "nofile"}, {"Soft", 1024}, {"Hard", 4096}},
                                  json::object{{"Name", "core"}, {"Soft", 0}, {"Hard", 0}}};
    host["LogConfig"] = json::object{{"Type", "json-file"}, {"Config", std::move(log_options)}};
    host["Init"] = true;
    host["AutoRemove"] = false;  // its end is asked for first
    host["RestartPolicy"] = json::object{{"Name", "no"}};
    return host;
}

}  // namespace

std::optional<PullPolicy> parse_pull_policy(std::string_view text) {
    if (text == "missing") return PullPolicy::kMissing;
    if (text == "always") return PullPolicy::kAlways;
    if (text == "never") return PullPolicy::kNever;
    return std::nullopt;
}

Result<Task> parse_task(const Ticket& ticket, const TaskRules& rules) {
    const Parameters parameters(ticket.parameters);
    Task task;
    WA_CHECKED(refuse_what_is_not_taken(parameters));
    WA_TRY(task.words, command_words(parameters));
    WA_TRY(task.image, read_image(parameters, rules));
    WA_TRY(task.variables, read_variables(parameters));
    WA_TRY(const auto folder, parameters.text("working_dir", kMaxPath));
    task.working_dir = folder.value_or("");
    if (folder && !folder->starts_with('/'))
        return parameters.refuse("working_dir", "expected a path inside the container that begins with '/'");
    WA_TRY(task.user, read_user(parameters, rules));
    WA_TRY(task.network, read_network(parameters, rules));
    WA_CHECKED(read_limits(parameters, rules, task));
    WA_TRY(const auto pull, parameters.word("pull_policy", {"missing", "always", "never"}));
    task.pull = pull ? parse_pull_policy(*pull).value_or(rules.pull) : rules.pull;
    WA_TRY(task.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(task.retry, read_retry_codes(parameters));
    WA_TRY(const auto max_output, parameters.integer("max_output_bytes", {0, 1LL << 40}));
    task.max_output_bytes =
        max_output ? std::min(static_cast<std::size_t>(*max_output), rules.max_output_bytes) : rules.max_output_bytes;
    WA_TRY(task.secrets, find_secrets(parameters, task.words, {}, {&task.variables}));
    task.shown = shown_command(task.words, task.secrets);
    return task;
}

std::string create_body(const Task& task, const TaskRules& rules, const StringMap& labels) {
    json::array variables;
    if (!task.variables.contains("HOME")) variables.push_back("HOME=/tmp");  // the one folder that can be written to
    for (const auto& [name, value] : task.variables)
        variables.push_back(text(name + "=" + value));
    json::object marks;
    for (const auto& [name, value] : labels)
        marks[name] = text(value);
    json::object body;
    body["Image"] = text(task.image.text);
    body["Cmd"] = texts(task.words);
    body["Env"] = std::move(variables);
    if (!task.working_dir.empty()) body["WorkingDir"] = text(task.working_dir);
    body["User"] = text(task.user);
    body["AttachStdin"] = false;
    body["AttachStdout"] = true;
    body["AttachStderr"] = true;
    body["OpenStdin"] = false;
    body["Tty"] = false;
    body["Labels"] = std::move(marks);
    body["HostConfig"] = host_config(task, rules);
    return json::serialize(body);
}

}  // namespace wa::docker
