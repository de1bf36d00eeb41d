#include "app/kubernetes_parts.h"

#include <algorithm>
#include <utility>

#include "app/container_parts.h"
#include "core/codec/json_limits.h"
#include "core/codec/quantity.h"
#include "runtimes/kubernetes.h"

namespace wa::app {
namespace {

kubernetes::AccessOptions access_options(const config::Settings& settings) {
    kubernetes::AccessOptions access;
    access.kubeconfig = settings.text("K8S_JOBS_KUBECONFIG_PATH");
    access.context = settings.text("K8S_JOBS_CONTEXT");
    access.service_host = settings.text("KUBERNETES_SERVICE_HOST");
    access.service_port = settings.text("KUBERNETES_SERVICE_PORT");
    return access;
}

using ReadQuantity = std::optional<std::uint64_t> (*)(std::string_view);

Result<std::uint64_t> amount(const config::Settings& settings, std::string_view name, ReadQuantity read) {
    if (const auto value = read(settings.text(name))) return *value;
    return invalid(std::string(name), std::string(name) + " is no quantity");
}

Result<void> read_amounts(const config::Settings& settings, kubernetes::JobRules& rules) {
    WA_TRY(rules.cpu_request_millis, amount(settings, "K8S_JOBS_DEFAULT_CPU_REQUEST", parse_cpu_quantity));
    WA_TRY(rules.cpu_limit_millis, amount(settings, "K8S_JOBS_DEFAULT_CPU_LIMIT", parse_cpu_quantity));
    WA_TRY(rules.memory_request, amount(settings, "K8S_JOBS_DEFAULT_MEMORY_REQUEST", parse_memory_quantity));
    WA_TRY(rules.memory_limit, amount(settings, "K8S_JOBS_DEFAULT_MEMORY_LIMIT", parse_memory_quantity));
    rules.tmp_bytes = static_cast<std::uint64_t>(settings.integer("K8S_JOBS_TMP_SIZE"));
    rules.ephemeral_bytes = static_cast<std::uint64_t>(settings.integer("K8S_JOBS_EPHEMERAL_STORAGE"));
    return {};
}

Result<void> read_placement(const config::Settings& settings, kubernetes::JobRules& rules) {
    for (const std::string& entry : settings.list("K8S_JOBS_NODE_SELECTOR")) {
        const std::size_t at = entry.find('=');
        if (at == std::string::npos || at == 0)
            return invalid("K8S_JOBS_NODE_SELECTOR", "K8S_JOBS_NODE_SELECTOR has an entry that is not key=value");
        rules.node_selector[entry.substr(0, at)] = entry.substr(at + 1);
    }
    rules.runtime_class = settings.text("K8S_JOBS_RUNTIME_CLASS");
    if (!settings.has("K8S_JOBS_TOLERATIONS")) return {};
    const auto tolerations = parse_json(settings.text("K8S_JOBS_TOLERATIONS"));
    if (!tolerations || !tolerations->is_array())
        return invalid("K8S_JOBS_TOLERATIONS", "K8S_JOBS_TOLERATIONS is no JSON list");
    rules.tolerations = tolerations->get_array();
    return {};
}

// A pod takes two to five seconds longer than its grace until the cluster says that it is gone, and the engine waits no
// more than five beyond the grace of tasks.
std::chrono::seconds grace_of_pods(const config::Settings& settings) {
    constexpr Duration kSlower = std::chrono::seconds(2);
    const Duration grace = settings.duration("LOCAL_RUNTIME_GRACE_SECONDS") - kSlower;
    return std::max(std::chrono::ceil<std::chrono::seconds>(grace), std::chrono::seconds(1));
}

// What `dev` only warns about is found here.
Result<kubernetes::JobRules> job_rules(const config::Settings& settings) {
    kubernetes::JobRules rules;
    WA_CHECKED(read_amounts(settings, rules));
    WA_CHECKED(read_placement(settings, rules));
    rules.allowed_images = settings.list("EXECUTE_ALLOWED_IMAGES");
    rules.service_account = settings.text("K8S_JOBS_SERVICE_ACCOUNT");
    rules.allowed_accounts = settings.list("K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS");
    rules.automount_token = settings.flag("K8S_JOBS_AUTOMOUNT_TOKEN");
    rules.user = settings.text("K8S_JOBS_USER");
    rules.read_only = settings.flag("K8S_JOBS_READONLY_ROOTFS");
    rules.pull_policy = settings.text("K8S_JOBS_IMAGE_PULL_POLICY");
    rules.pull_secrets = settings.list("K8S_JOBS_IMAGE_PULL_SECRETS");
    rules.backoff_limit = static_cast<int>(settings.integer("K8S_JOBS_BACKOFF_LIMIT"));
    rules.grace = grace_of_pods(settings);
    rules.ttl = std::chrono::duration_cast<std::chrono::seconds>(settings.duration("K8S_JOBS_TTL_SECONDS"));
    return rules;
}

KubernetesOptions kubernetes_options(const RuntimeSurroundings& around) {
    const config::Settings& settings = around.settings;
    KubernetesOptions options;
    options.enabled = settings.flag("K8S_JOBS_ENABLED");
    options.access = access_options(settings);
    options.name_space = settings.text("K8S_JOBS_NAMESPACE");
    if (auto rules = job_rules(settings)) {
        options.rules = std::move(*rules);
    } else {
        options.misconfigured = rules.error().message;
    }
    options.keeper = keeper_options(around, "k8s", settings.flag("K8S_JOBS_CLEANUP"));
    // Whoever gets the ticket next finds its Job: this worker again, or one of the same group.
    options.detachable = !around.platform.pool().empty() || !around.scratch;
    options.grace = options.rules.grace;
    options.timeout = settings.duration("K8S_JOBS_TIMEOUT_SECONDS");
    options.start_timeout = settings.duration("K8S_JOBS_START_TIMEOUT_SECONDS");
    options.schedule_timeout = settings.duration("K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS");
    options.patience = settings.duration("K8S_JOBS_RECONNECT_SECONDS");
    options.poll_interval = settings.duration("K8S_JOBS_POLL_INTERVAL_SECONDS");
    options.listener = &around.listener;
    options.on_call = [&metrics = around.metrics](std::string_view call, std::string_view status) {
        metrics.k8s_call(call, status);
    };
    options.on_stage = [&metrics = around.metrics](std::string_view stage, Duration took) {
        if (stage != "total") metrics.k8s_stage(stage, took);  // the whole is counted where every attempt ends
    };
    return options;
}

std::string kubernetes_fix(const config::Settings& settings, const KubernetesRuntime& runtime) {
    const Availability now = runtime.availability();
    if (!settings.flag("K8S_JOBS_ENABLED")) return "K8S_JOBS_ENABLED=true, with K8S_JOBS_KUBECONFIG_PATH outside a pod";
    if (now.available && runtime.lacking().empty()) return {};
    if (now.available)
        return "give its account a Role in the namespace " + settings.text("K8S_JOBS_NAMESPACE") +
               " that allows it (docs/how-to/run-on-kubernetes.md has one)";
    if (!runtime.fix().empty()) return runtime.fix();
    if (now.reason == Unavailable::kDisabled) return "correct what is named";
    return "see that the API server can be reached from here, and that the account is known to it: kubectl version";
}

}  // namespace

RuntimePart make_kubernetes(const RuntimeSurroundings& around) {
    auto made = std::make_unique<KubernetesRuntime>(around.loop, around.clock, around.random, around.http, around.logs,
                                                    kubernetes_options(around));
    KubernetesRuntime& jobs = *made;
    return {.runtime = std::move(made),
            .begin = [&jobs](std::function<void()> ready) { jobs.begin(std::move(ready)); },
            .leave = [&jobs](Duration limit, std::function<void()> done) { jobs.leave(limit, std::move(done)); },
            .state =
                [&jobs, &settings = around.settings] {
                    const std::string fix = kubernetes_fix(settings, jobs);
                    RuntimeState state = state_of(jobs, jobs.place_shown(), fix, settings.flag("K8S_JOBS_ENABLED"));
                    state.fix = fix;  // also of one that is there, and may not do all that it needs
                    return state;
                }};
}

}  // namespace wa::app
