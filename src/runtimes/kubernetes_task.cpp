#include "runtimes/kubernetes_task.h"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "core/codec/parameters.h"
#include "core/codec/quantity.h"
#include "core/codec/text.h"
#include "runtimes/container_task.h"
#include "runtimes/work_keeper.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::string_view kOrigin = "k8s";

struct Amount {
    std::uint64_t request = 0;
    std::uint64_t limit = 0;
};

// What a ticket asks for, and for what it does not say the defaults, bent to what it says.
template <class Parse>
Result<Amount> read_amount(const Parameters& parameters, std::string_view request_key, std::string_view limit_key,
                           std::string_view expected, Amount usual, Parse parse) {
    const auto read = [&](std::string_view key) -> Result<std::optional<std::uint64_t>> {
        WA_TRY(const auto text, parameters.text(key));
        if (!text) return std::optional<std::uint64_t>();
        const auto amount = parse(*text);
        if (!amount) return parameters.refuse(key, std::string(expected));
        return amount;
    };
    WA_TRY(const auto request, read(request_key));
    WA_TRY(const auto limit, read(limit_key));
    if (request && limit && *request > *limit)
        return parameters.refuse(request_key, "it is more than " + std::string(limit_key));
    Amount amount;
    amount.limit = limit.value_or(std::max(usual.limit, request.value_or(0)));
    amount.request = request.value_or(std::min(usual.request, amount.limit));
    return amount;
}

Result<void> refuse_what_only_others_have(const Parameters& parameters) {
    static constexpr std::array kNever{"host_network", "host_pid", "node_name", "init_containers", "sidecars"};
    for (const char* const key : kNever) {
        const auto* value = parameters.raw(key);
        if (value == nullptr || (value->is_bool() && !value->get_bool())) continue;
        return not_allowed(kOrigin, key, "'" + std::string(key) + "' is never taken from a ticket");
    }
    // A network of its own is what a pod has; that of the node, or none at all, it cannot have.
    WA_TRY(const auto network, parameters.text("network_mode"));
    if (network && *network != "bridge") {
        return not_allowed(kOrigin, "network_mode", "a Job has the network of its pod, not '" + clip(*network) + "'",
                           "leave network_mode out; use a NetworkPolicy to close it");
    }
    return {};
}

Result<std::string> read_account(const Parameters& parameters, const JobRules& rules, bool& mounts_token) {
    WA_TRY(const auto asked, parameters.text("service_account"));
    mounts_token = rules.automount_token || asked.has_value();
    if (!asked) return rules.service_account;
    const bool allowed = rules.allowed_accounts.empty()
                             ? *asked == rules.service_account
                             : std::ranges::find(rules.allowed_accounts, *asked) != rules.allowed_accounts.end();
    if (!allowed) {
        return not_allowed(kOrigin, "service_account", "the service account '" + clip(*asked) + "' is not allowed here",
                           "add it to K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS");
    }
    return *asked;
}

json::value text(std::string_view value) {
    return json::value(json::string(value));
}

// The cluster replaces $(NAME) in commands and variables, and $$ by $. Tickets mean what they say.
std::string as_said(std::string_view value) {
    std::string out;
    for (const char c : value) {
        out += c;
        if (c == '$') out += c;
    }
    return out;
}

json::object texts(const StringMap& map) {
    json::object object;
    for (const auto& [name, value] : map)
        object[name] = text(value);
    return object;
}

json::array variables(const JobTask& task) {
    json::array list;
    if (!task.variables.contains("HOME")) list.push_back(json::object{{"name", "HOME"}, {"value", "/tmp"}});
    for (const auto& [name, value] : task.variables)
        list.push_back(json::object{{"name", text(name)}, {"value", text(as_said(value))}});
    return list;
}

// As people write it.
std::string amount_text(std::uint64_t bytes) {
    constexpr std::uint64_t kMebi = 1U << 20U;
    return bytes % kMebi == 0 ? std::to_string(bytes / kMebi) + "Mi" : std::to_string(bytes);
}

json::object resources(const JobTask& task, const JobRules& rules) {
    const auto millis = [](std::uint64_t amount) { return text(std::to_string(amount) + "m"); };
    const auto bytes = [](std::uint64_t amount) { return text(amount_text(amount)); };
    json::object requests{{"cpu", millis(task.cpu_request_millis)}, {"memory", bytes(task.memory_request)}};
    json::object limits{{"cpu", millis(task.cpu_limit_millis)}, {"memory", bytes(task.memory_limit)}};
    if (rules.ephemeral_bytes > 0) limits["ephemeral-storage"] = bytes(rules.ephemeral_bytes);
    return json::object{{"requests", std::move(requests)}, {"limits", std::move(limits)}};
}

json::object security(const JobTask& task, const JobRules& rules) {
    const std::size_t colon = task.user.find(':');
    json::object context;
    const std::int64_t uid = parse_whole_number(task.user.substr(0, colon)).value_or(1000);
    context["runAsNonRoot"] = true;
    context["runAsUser"] = uid;
    context["runAsGroup"] =
        colon == std::string::npos ? uid : parse_whole_number(task.user.substr(colon + 1)).value_or(uid);
    context["readOnlyRootFilesystem"] = rules.read_only;
    context["allowPrivilegeEscalation"] = false;
    context["privileged"] = false;
    context["capabilities"] = json::object{{"drop", json::array{"ALL"}}};
    context["seccompProfile"] = json::object{{"type", "RuntimeDefault"}};
    return context;
}

json::object container(const JobTask& task, const JobRules& rules) {
    json::array words;
    for (const std::string& word : task.words)
        words.push_back(text(as_said(word)));
    json::object container;
    container["name"] = text(kContainer);
    container["image"] = text(task.image.text);
    container["imagePullPolicy"] = text(task.pull_policy);
    container["command"] = std::move(words);
    container["env"] = variables(task);
    if (!task.working_dir.empty()) container["workingDir"] = text(task.working_dir);
    container["resources"] = resources(task, rules);
    container["securityContext"] = security(task, rules);
    container["volumeMounts"] = json::array{json::object{{"name", "tmp"}, {"mountPath", "/tmp"}}};
    return container;
}

json::object pod_spec(const JobTask& task, const JobRules& rules) {
    json::object tmp{{"name", "tmp"}, {"emptyDir", json::object{{"sizeLimit", text(amount_text(rules.tmp_bytes))}}}};
    json::object spec;
    spec["restartPolicy"] = "Never";
    if (!task.service_account.empty()) spec["serviceAccountName"] = text(task.service_account);
    spec["automountServiceAccountToken"] = task.mounts_token;
    spec["enableServiceLinks"] = false;
    // The command is not process 1 then: SIGTERM ends what does not ask for it, and orphans are reaped.
    spec["shareProcessNamespace"] = true;
    spec["terminationGracePeriodSeconds"] = rules.grace.count();
    spec["containers"] = json::array{container(task, rules)};
    spec["volumes"] = json::array{std::move(tmp)};
    if (!rules.runtime_class.empty()) spec["runtimeClassName"] = text(rules.runtime_class);
    if (!rules.node_selector.empty()) spec["nodeSelector"] = texts(rules.node_selector);
    if (!rules.tolerations.empty()) spec["tolerations"] = rules.tolerations;
    json::array secrets;
    for (const std::string& name : rules.pull_secrets)
        secrets.push_back(json::object{{"name", text(name)}});
    if (!secrets.empty()) spec["imagePullSecrets"] = std::move(secrets);
    return spec;
}

bool is_label_value(std::string_view value) {
    static constexpr std::string_view kEnds = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    constexpr std::size_t kLongest = 63;
    if (value.empty() || value.size() > kLongest) return false;
    const auto at_end = [](char c) { return kEnds.find(c) != std::string_view::npos; };
    return at_end(value.front()) && at_end(value.back()) &&
           std::ranges::all_of(value, [&](char c) { return at_end(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

std::string label_value(std::string_view text) {
    constexpr std::size_t kDigits = 40;
    return is_label_value(text) ? std::string(text) : "sha256-" + hash_of(text).substr(0, kDigits);
}

Result<JobTask> parse_task(const Ticket& ticket, const JobRules& rules) {
    const Parameters parameters(ticket.parameters);
    const ContainerRules common{kOrigin, rules.allowed_images, rules.default_image, rules.user, false, {}};
    JobTask task;
    WA_CHECKED(refuse_what_is_not_taken(parameters, kOrigin));
    WA_CHECKED(refuse_what_only_others_have(parameters));
    WA_TRY(task.words, read_container_command(parameters));
    WA_TRY(task.image, read_image(parameters, common));
    WA_TRY(task.variables, read_container_variables(parameters));
    WA_TRY(task.working_dir, read_container_folder(parameters));
    WA_TRY(task.user, read_container_user(parameters, common));
    WA_TRY(task.service_account, read_account(parameters, rules, task.mounts_token));
    WA_TRY(const Amount cpu,
           read_amount(parameters, "cpu_request", "cpu_limit", "expected processors, such as 0.5, 2 or 500m",
                       {rules.cpu_request_millis, rules.cpu_limit_millis}, parse_cpu_quantity));
    task.cpu_request_millis = cpu.request;
    task.cpu_limit_millis = cpu.limit;
    WA_TRY(const Amount memory, read_amount(parameters, "memory_request", "memory_limit",
                                            "expected an amount of memory, such as 512m, 512Mi or 1g",
                                            {rules.memory_request, rules.memory_limit}, parse_memory_quantity));
    task.memory_request = memory.request;
    task.memory_limit = memory.limit;
    WA_TRY(const auto pull, parameters.word("pull_policy", {"missing", "always", "never"}));
    task.pull_policy = rules.pull_policy;
    if (pull) task.pull_policy = *pull == "missing" ? "IfNotPresent" : (*pull == "always" ? "Always" : "Never");
    WA_TRY(task.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(task.retry, read_retry_codes(parameters));
    WA_TRY(const auto max_output, parameters.integer("max_output_bytes", {0, 1LL << 40}));
    task.max_output_bytes =
        max_output ? std::min(static_cast<std::size_t>(*max_output), rules.max_output_bytes) : rules.max_output_bytes;
    WA_TRY(task.secrets, find_secrets(parameters, task.words, {}, {&task.variables}));
    task.shown = shown_command(task.words, task.secrets);
    return task;
}

std::string job_body(const JobTask& task, const JobRules& rules, const JobMarks& marks) {
    const json::object labels = texts(marks.labels);
    json::object template_meta{{"labels", labels}};
    json::object spec;
    spec["backoffLimit"] = rules.backoff_limit;
    spec["ttlSecondsAfterFinished"] = rules.ttl.count();
    if (marks.deadline.count() > 0) spec["activeDeadlineSeconds"] = marks.deadline.count();
    spec["template"] = json::object{{"metadata", std::move(template_meta)}, {"spec", pod_spec(task, rules)}};
    json::object body;
    body["apiVersion"] = "batch/v1";
    body["kind"] = "Job";
    body["metadata"] =
        json::object{{"name", text(marks.name)}, {"labels", labels}, {"annotations", texts(marks.annotations)}};
    body["spec"] = std::move(spec);
    return json::serialize(body);
}

}  // namespace wa::kubernetes
