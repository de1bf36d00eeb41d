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
#include "runtimes/container_task.h"

namespace wa::docker {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::uint64_t kNanosPerMilli = 1'000'000;
constexpr std::size_t kMaxPath = 4096;
constexpr std::string_view kOrigin = "docker";

Result<std::string> read_network(const Parameters& parameters, const TaskRules& rules) {
    WA_TRY(const auto asked, parameters.text("network_mode", kMaxPath));
    const std::string network = asked.value_or(rules.network);
    if (network != "bridge" && network != "none" && network != "host")
        return not_allowed(kOrigin, "network_mode", "'" + clip(network) + "' is no network that a ticket may have",
                           "use bridge or none");
    if (network == "host" && !rules.allow_host_network)
        return not_allowed(kOrigin, "network_mode", "the network of the host is not allowed here",
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
    const ContainerRules common{kOrigin,    rules.allowed_images, rules.default_image,
                                rules.user, rules.allow_root,     "set DOCKER_ALLOW_ROOT=true"};
    WA_CHECKED(refuse_what_is_not_taken(parameters, kOrigin));
    WA_TRY(task.words, read_container_command(parameters));
    WA_TRY(task.image, read_image(parameters, common));
    WA_TRY(task.variables, read_container_variables(parameters));
    WA_TRY(task.working_dir, read_container_folder(parameters));
    WA_TRY(task.user, read_container_user(parameters, common));
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
