#include "config/rules.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <cstdint>
#include <map>
#include <optional>

#include "config/values.h"
#include "core/codec/json_limits.h"
#include "core/codec/quantity.h"

namespace wa::config {
namespace {

class Rules {
public:
    Rules(const Settings& settings, Mode mode, std::vector<Problem>& problems)
        : settings_(settings), mode_(mode), problems_(problems) {}

    void check() {
        engine();
        paths();
        kafka();
        transport();
        delivery();
        identities();
        providers();
        quantities();
        kubernetes_jobs();
        unbuilt();
    }

private:
    [[nodiscard]] Severity cluster() const { return mode_ == Mode::kRun ? Severity::kError : Severity::kWarning; }

    void add(Severity severity, std::string_view name, std::string message, std::string fix = {}) {
        const Origin& origin = settings_.origin(name);
        problems_.push_back({severity, origin.where, std::string(name), std::move(message), std::move(fix)});
    }
    void error(std::string_view name, std::string message, std::string fix = {}) {
        add(Severity::kError, name, std::move(message), std::move(fix));
    }
    void warn(std::string_view name, std::string message, std::string fix = {}) {
        add(Severity::kWarning, name, std::move(message), std::move(fix));
    }

    void engine() {
        const double pause = settings_.real("CONSUMER_PAUSE_THRESHOLD");
        const double resume = settings_.real("CONSUMER_RESUME_THRESHOLD");
        if (resume >= pause) {
            error("CONSUMER_RESUME_THRESHOLD", "CONSUMER_RESUME_THRESHOLD (" + number_text(resume) +
                                                   ") must be below CONSUMER_PAUSE_THRESHOLD (" + number_text(pause) +
                                                   ")");
        }
        const std::int64_t tasks = settings_.integer("MAX_CONCURRENT_TASKS");
        const std::int64_t tickets = settings_.integer("MAX_CONCURRENT_TICKETS");
        if (tickets < tasks) {
            warn("MAX_CONCURRENT_TICKETS", "MAX_CONCURRENT_TICKETS (" + std::to_string(tickets) +
                                               ") is below MAX_CONCURRENT_TASKS (" + std::to_string(tasks) +
                                               "): some slots can never be used");
        }
        base_and_max("RETRY_BACKOFF_BASE_SECONDS", "RETRY_BACKOFF_MAX_SECONDS", Severity::kError);
        base_and_max("DLQ_PUBLISH_RETRY_BACKOFF_BASE_SECONDS", "DLQ_PUBLISH_RETRY_BACKOFF_MAX_SECONDS", cluster());
        base_and_max("OPA_RETRY_BACKOFF_BASE_SECONDS", "OPA_RETRY_BACKOFF_MAX_SECONDS", cluster());
        const std::string& agent = settings_.text("AGENT_ID");
        constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        if (agent.size() > 128 || agent.find_first_not_of(kAllowed) != std::string::npos) {
            error("AGENT_ID", "AGENT_ID may hold letters, digits, dots, underscores and hyphens, at most 128");
        }
        const std::string& host = settings_.text("HTTP_HOST");
        if (host.find_first_of(" /?#@") != std::string::npos) {
            error("HTTP_HOST", "HTTP_HOST must be an address or a host name, without scheme, port or path");
        }
    }

    void base_and_max(std::string_view base, std::string_view max, Severity severity) {
        if (settings_.duration(max) >= settings_.duration(base)) return;
        add(severity, max,
            std::string(max) + " (" + duration_text(settings_.duration(max)) + ") must not be below " +
                std::string(base) + " (" + duration_text(settings_.duration(base)) + ")");
    }

    void paths() {
        for (const std::string_view name : {"LOCAL_RUNTIME_WORKING_DIR", "STATE_DIR"}) {
            if (settings_.has(name) && !settings_.text(name).starts_with('/')) {
                error(name, std::string(name) + " must be an absolute path");
            }
        }
        for (const std::string_view name :
             {"LOCAL_RUNTIME_ALLOWED_DIRS", "LOCAL_RUNTIME_READ_PATHS", "LOCAL_RUNTIME_HIDDEN_PATHS"}) {
            for (const std::string& path : settings_.list(name)) {
                if (!path.starts_with('/')) error(name, std::string(name) + " must hold absolute paths");
            }
        }
        std::string_view path = settings_.text("LOCAL_RUNTIME_PATH");
        while (!path.empty()) {
            const std::size_t colon = path.find(':');
            if (!path.substr(0, colon).starts_with('/')) {
                error("LOCAL_RUNTIME_PATH", "LOCAL_RUNTIME_PATH must hold absolute paths separated by colons");
                break;
            }
            path = colon == std::string_view::npos ? std::string_view{} : path.substr(colon + 1);
        }
    }

    void kafka() {
        if (settings_.flag("KAFKA_ENABLE_AUTO_COMMIT")) {
            add(cluster(), "KAFKA_ENABLE_AUTO_COMMIT",
                "KAFKA_ENABLE_AUTO_COMMIT must be false: the worker commits by itself", "remove the setting");
        }
        if (settings_.has("KAFKA_SASL_USERNAME") != settings_.has("KAFKA_SASL_PASSWORD")) {
            const bool user = settings_.has("KAFKA_SASL_USERNAME");
            add(cluster(), user ? "KAFKA_SASL_USERNAME" : "KAFKA_SASL_PASSWORD",
                std::string(user ? "KAFKA_SASL_USERNAME" : "KAFKA_SASL_PASSWORD") + " is set without " +
                    (user ? "KAFKA_SASL_PASSWORD" : "KAFKA_SASL_USERNAME"),
                "set both, or none");
        }
        const auto servers = parse_list(settings_.text("KAFKA_BOOTSTRAP_SERVERS"));
        const bool good = servers && !servers->empty() && std::ranges::all_of(*servers, is_host_and_port);
        if (!good) {
            add(cluster(), "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS must be host:port, separated by commas");
        }
    }

    static bool is_host_and_port(const std::string& server) {
        const std::size_t colon = server.rfind(':');
        if (colon == std::string::npos || colon == 0) return false;
        if (server.find_first_of(" /@") != std::string::npos) return false;
        const auto port = parse_int(std::string_view(server).substr(colon + 1));
        return port && *port >= 1 && *port <= 65'535;
    }

    [[nodiscard]] bool internal(std::string_view host) const {
        return is_internal_host(host, settings_.list("INTERNAL_NAMESPACES"));
    }

    // P1, P2
    void transport() {
        if (!settings_.strict()) return;
        plain_http("KAFKA_SCHEMA_REGISTRY_URL");
        plain_http("OTEL_EXPORTER_ENDPOINT");
        if (settings_.flag("VAULT_ENABLED")) plain_http("VAULT_ADDRESS");
        const bool mtls =
            (settings_.flag("SPIFFE_ENABLED") && settings_.flag("SPIFFE_ENABLE_X509")) ||
            (settings_.flag("SERVICE_REGISTRY_TLS_ENABLED") && settings_.has("SERVICE_REGISTRY_CLIENT_CERT"));
        if (!mtls && !internal(settings_.text("SERVICE_REGISTRY_HOST"))) {
            add(cluster(), "SERVICE_REGISTRY_HOST",
                "SERVICE_REGISTRY_HOST is outside the cluster: ENVIRONMENT " + settings_.text("ENVIRONMENT") +
                    " needs mTLS to it",
                "set SERVICE_REGISTRY_TLS_ENABLED=true with a client certificate, or use an internal name");
        }
        for (const std::string_view name : {"VAULT_FAIL_OPEN", "SPIFFE_FALLBACK_ALLOWED"}) {
            if (!settings_.flag(name)) continue;
            add(cluster(), name,
                std::string(name) + " must not be true when ENVIRONMENT is " + settings_.text("ENVIRONMENT"));
        }
    }

    void plain_http(std::string_view name) {
        if (!settings_.has(name)) return;
        const Host host = url_host(settings_.text(name));
        if (host.scheme != "http" || internal(host.name)) return;
        add(cluster(), name,
            std::string(name) + " uses plain http to " + host.name + ", which ENVIRONMENT " +
                settings_.text("ENVIRONMENT") + " does not allow",
            "use https, or an internal name (see INTERNAL_NAMESPACES)");
    }

    // P4, P6
    void delivery() {
        if (settings_.flag("ARGOCD_ENABLED")) {
            for (const std::string_view name : {"ARGOCD_URL", "ARGOCD_TOKEN"}) {
                if (settings_.has(name)) continue;
                add(cluster(), "ARGOCD_ENABLED", "ARGOCD_ENABLED is true but " + std::string(name) + " is not set");
            }
        }
        for (const std::string_view name : {"ARGOCD_URL", "EXECUTION_TICKET_SERVICE_URL", "CODE_FORGE_URL"}) {
            if (!settings_.has(name)) continue;
            const std::string scheme = url_host(settings_.text(name)).scheme;
            if (scheme == "http" || scheme == "https") continue;
            add(cluster(), name, std::string(name) + " must start with http:// or https://");
        }
        const auto& types = settings_.list("SUPPORTED_TASK_TYPES");
        const bool deploys = std::ranges::find(types, "DEPLOY") != types.end();
        if (mode_ == Mode::kRun && deploys && !settings_.flag("ARGOCD_ENABLED") && !settings_.flag("FLUX_ENABLED")) {
            warn("SUPPORTED_TASK_TYPES",
                 "DEPLOY is a supported task type, but neither ARGOCD_ENABLED nor FLUX_ENABLED is true");
        }
    }

    void identities() {
        if (settings_.flag("ENABLE_TEMPORAL_ACTIVITIES") && !is_built(Part::kTemporal)) {
            warn("ENABLE_TEMPORAL_ACTIVITIES",
                 "ENABLE_TEMPORAL_ACTIVITIES is true, but this build has no Temporal activities");
        }
        if (settings_.flag("SPIFFE_ENABLED") &&
            settings_.text("SPIFFE_TRUST_DOMAIN").find_first_of("/: ") != std::string::npos) {
            add(cluster(), "SPIFFE_TRUST_DOMAIN", "SPIFFE_TRUST_DOMAIN must be a name without scheme or path");
        }
    }

    void providers() {
        struct Needs {
            std::string_view enabled;
            std::string_view needed;
        };
        for (const Needs rule :
             {Needs{"GITHUB_ACTIONS_ENABLED", "GITHUB_TOKEN"}, Needs{"GITLAB_CI_ENABLED", "GITLAB_TOKEN"},
              Needs{"JENKINS_ENABLED", "JENKINS_URL"}, Needs{"JENKINS_ENABLED", "JENKINS_TOKEN"},
              Needs{"SONARQUBE_ENABLED", "SONARQUBE_URL"}, Needs{"SNYK_ENABLED", "SNYK_TOKEN"}}) {
            if (!settings_.flag(rule.enabled) || settings_.has(rule.needed)) continue;
            warn(rule.enabled,
                 std::string(rule.enabled) + " is true but " + std::string(rule.needed) + " is not set: not used");
        }
    }

    using ReadQuantity = std::optional<std::uint64_t> (*)(std::string_view);

    // Kubernetes refuses every Job whose requests are above its limits.
    void quantities() {
        request_and_limit("K8S_JOBS_DEFAULT_CPU_REQUEST", "K8S_JOBS_DEFAULT_CPU_LIMIT", parse_cpu_quantity, "500m");
        request_and_limit("K8S_JOBS_DEFAULT_MEMORY_REQUEST", "K8S_JOBS_DEFAULT_MEMORY_LIMIT", parse_memory_quantity,
                          "512Mi");
        if (settings_.integer("K8S_JOBS_TMP_SIZE") > settings_.integer("K8S_JOBS_EPHEMERAL_STORAGE")) {
            add(cluster(), "K8S_JOBS_TMP_SIZE",
                "K8S_JOBS_TMP_SIZE must not be above K8S_JOBS_EPHEMERAL_STORAGE, which it is a part of");
        }
    }

    void request_and_limit(std::string_view request, std::string_view limit, ReadQuantity read,
                           const std::string& example) {
        for (const std::string_view name : {request, limit}) {
            if (read(settings_.text(name))) continue;
            return add(cluster(), name, std::string(name) + " must be a quantity such as " + example);
        }
        if (*read(settings_.text(request)) > *read(settings_.text(limit)))
            add(cluster(), request, std::string(request) + " must not be above " + std::string(limit));
    }

    void kubernetes_jobs() {
        const auto numbers = [](std::string_view text) {
            return !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
        };
        const std::string_view user = settings_.text("K8S_JOBS_USER");
        const std::size_t colon = user.find(':');
        const std::string_view uid = user.substr(0, colon);
        const bool group = colon == std::string_view::npos || numbers(user.substr(colon + 1));
        if (!numbers(uid) || !group || uid.find_first_not_of('0') == std::string_view::npos) {
            add(cluster(), "K8S_JOBS_USER",
                "K8S_JOBS_USER must be uid or uid:gid as numbers, and not root's: a cluster may not know names");
        }
        for (const std::string& entry : settings_.list("K8S_JOBS_NODE_SELECTOR")) {
            if (const std::size_t at = entry.find('='); at != std::string::npos && at > 0) continue;
            add(cluster(), "K8S_JOBS_NODE_SELECTOR", "K8S_JOBS_NODE_SELECTOR must hold key=value");
        }
        if (!settings_.has("K8S_JOBS_TOLERATIONS")) return;
        const auto tolerations = parse_json(settings_.text("K8S_JOBS_TOLERATIONS"));
        const auto* list = tolerations ? tolerations->if_array() : nullptr;
        const auto is_object = [](const boost::json::value& entry) { return entry.is_object(); };
        if (list == nullptr || !std::ranges::all_of(*list, is_object))
            add(cluster(), "K8S_JOBS_TOLERATIONS", "K8S_JOBS_TOLERATIONS must be a JSON list of objects",
                R"(for example [{"key": "tasks", "operator": "Exists", "effect": "NoSchedule"}])");
    }

    // One warning for all settings that were given and have nothing to act on.
    void unbuilt() {
        std::map<std::string_view, std::size_t> parts;
        const Setting* first = nullptr;
        for (const Setting& setting : settings_.all()) {
            const bool given = setting.origin.layer > Layer::kPreset;
            if (!given || setting.spec->part == Part::kNothing || is_built(setting.spec->part)) continue;
            ++parts[to_string(setting.spec->part)];
            if (first == nullptr) first = &setting;
        }
        if (first == nullptr) return;
        std::string text;
        for (const auto& [part, count] : parts) {
            text += (text.empty() ? "" : ", ") + std::string(part) + " (" + std::to_string(count) + ")";
        }
        problems_.push_back({Severity::kWarning,
                             first->origin.where,
                             {},
                             "settings without effect, since this build has no such part: " + text,
                             "see them with: worker-agents config show --origin"});
    }

    const Settings& settings_;
    Mode mode_;
    std::vector<Problem>& problems_;
};

}  // namespace

void check_rules(const Settings& settings, Mode mode, std::vector<Problem>& problems) {
    Rules(settings, mode, problems).check();
}

}  // namespace wa::config
