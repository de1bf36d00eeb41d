#include "app/docker_parts.h"

#include <filesystem>
#include <utility>

#include "app/container_parts.h"
#include "runtimes/docker.h"

namespace wa::app {
namespace {

http::TlsOptions tls_options(const config::Settings& settings) {
    http::TlsOptions tls;
    tls.verify = settings.flag("DOCKER_VERIFY_SSL");
    if (!settings.has("DOCKER_CERT_PATH")) return tls;
    // The names that the docker command knows.
    const std::filesystem::path folder = settings.text("DOCKER_CERT_PATH");
    const auto named = [&](const char* name) {
        std::error_code ignored;
        const std::filesystem::path file = folder / name;
        return std::filesystem::exists(file, ignored) ? file.string() : std::string();
    };
    tls.ca_file = named("ca.pem");
    tls.client_cert = named("cert.pem");
    tls.client_key = named("key.pem");
    return tls;
}

docker::TaskRules task_rules(const config::Settings& settings) {
    docker::TaskRules rules;
    const auto number = [&](std::string_view name) { return static_cast<std::uint64_t>(settings.integer(name)); };
    rules.allowed_images = settings.list("EXECUTE_ALLOWED_IMAGES");
    rules.cpu_millis = static_cast<std::uint64_t>(settings.real("DOCKER_DEFAULT_CPU_LIMIT") * 1000);
    rules.memory = number("DOCKER_DEFAULT_MEMORY_LIMIT");
    rules.processes = number("DOCKER_PIDS_LIMIT");
    rules.tmp_bytes = number("DOCKER_TMPFS_SIZE");
    rules.network = settings.text("DOCKER_NETWORK_MODE");
    rules.allow_host_network = settings.flag("DOCKER_ALLOW_HOST_NETWORK");
    rules.user = settings.text("DOCKER_USER");
    rules.allow_root = settings.flag("DOCKER_ALLOW_ROOT");
    rules.read_only = settings.flag("DOCKER_READONLY_ROOTFS");
    rules.pull = docker::parse_pull_policy(settings.text("DOCKER_PULL_POLICY")).value_or(rules.pull);
    return rules;
}

DockerOptions docker_options(const RuntimeSurroundings& around) {
    const config::Settings& settings = around.settings;
    DockerOptions options;
    options.enabled = settings.flag("DOCKER_ENABLED");
    options.api.tls = tls_options(settings);
    auto endpoint = docker::parse_endpoint(settings.text("DOCKER_BASE_URL"), settings.has("DOCKER_CERT_PATH"));
    if (endpoint) {
        options.api.endpoint = std::move(*endpoint);
    } else {
        options.misconfigured = "DOCKER_BASE_URL: " + endpoint.error().message;
    }
    options.api.on_call = [&metrics = around.metrics](std::string_view call, std::string_view status, Duration took) {
        metrics.docker_call(call, status);
        // How long a container or its output lasts says nothing about the engine.
        if (call != "wait" && call != "logs") metrics.external_request("docker", call, took);
    };
    options.on_stage = [&metrics = around.metrics](std::string_view stage, Duration took) {
        metrics.docker_stage(stage, took);
    };
    options.rules = task_rules(settings);
    auto auth = RegistryAuth::parse(settings.text("DOCKER_AUTH_CONFIG"));
    if (auth) {
        options.auth = std::move(*auth);
    } else {
        options.misconfigured = "DOCKER_AUTH_CONFIG: " + auth.error().message;
    }
    options.keeper = keeper_options(around, "docker", settings.flag("DOCKER_CLEANUP_CONTAINERS"));
    options.timeout = settings.duration("DOCKER_TIMEOUT_SECONDS");
    options.pull_timeout = settings.duration("DOCKER_PULL_TIMEOUT_SECONDS");
    options.patience = settings.duration("DOCKER_RECONNECT_SECONDS");
    // Left running only where whoever gets the ticket next finds it: this worker again, or one at the same engine.
    const bool shared_engine = options.api.endpoint.unix_socket.empty();
    options.detachable = around.platform.pool().empty() ? !around.scratch : shared_engine;
    return options;
}

std::string docker_fix(const config::Settings& settings, const Availability& now) {
    if (!settings.flag("DOCKER_ENABLED")) return "DOCKER_ENABLED=true";
    if (now.reason == Unavailable::kDisabled) return "correct the setting";
    const std::string& url = settings.text("DOCKER_BASE_URL");
    if (!url.starts_with("unix://")) return "start the engine, or correct DOCKER_BASE_URL and DOCKER_CERT_PATH";
    return "start the Docker engine, let this user open its socket (group docker), or name another in DOCKER_BASE_URL";
}

}  // namespace

RuntimePart make_docker(const RuntimeSurroundings& around) {
    auto made =
        std::make_unique<DockerRuntime>(around.loop, around.clock, around.http, around.logs, docker_options(around));
    DockerRuntime& docker = *made;
    return {.runtime = std::move(made),
            .begin = [&docker](std::function<void()> ready) { docker.begin(std::move(ready)); },
            .leave = [&docker](Duration limit, std::function<void()> done) { docker.leave(limit, std::move(done)); },
            .state =
                [&docker, &settings = around.settings] {
                    return state_of(docker, "engine " + docker.engine(), docker_fix(settings, docker.availability()),
                                    settings.flag("DOCKER_ENABLED"));
                }};
}

}  // namespace wa::app
