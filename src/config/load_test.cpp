#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <algorithm>

#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "config/environment.h"
#include "config/files.h"
#include "config/render.h"
#include "config/settings.h"

namespace wa::config {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

Sources sources(Mode mode = Mode::kRun) {
    Sources out;
    out.mode = mode;
    out.environment = {{"HOME", "/home/u"}};
    out.read_file = [](const std::string& path) -> Result<std::string> {
        if (path == "/secrets/token") return std::string("s3cret-from-file\n");
        if (path == "/secrets/empty") return std::string("\n");
        return fail(ErrorCode::kNotFound, "files", "cannot read " + path + ": No such file or directory");
    };
    return out;
}

Sources with_environment(Environment environment, Mode mode = Mode::kRun) {
    Sources out = sources(mode);
    for (auto& [name, value] : environment)
        out.environment[name] = value;
    return out;
}

Sources with_file(std::string text, Mode mode = Mode::kRun) {
    Sources out = sources(mode);
    out.config_file = NamedText{"config.yaml", std::move(text)};
    return out;
}

std::string all_text(const std::vector<Problem>& problems) {
    std::string out;
    for (const Problem& problem : problems) {
        out += std::string(problem.severity == Severity::kError ? "error " : "warning ") + problem.describe() + "\n";
    }
    return out;
}

#define EXPECT_LOADS(loaded) EXPECT_TRUE((loaded).ok()) << all_text((loaded).problems)

void expect_refused(const Sources& input, const std::string& text) {
    const Loaded loaded = load(input);
    EXPECT_FALSE(loaded.ok()) << "expected: " << text;
    EXPECT_THAT(all_text(loaded.problems), HasSubstr("error "));
    EXPECT_THAT(all_text(loaded.problems), HasSubstr(text));
}

TEST(Load, DefaultsStartInBothModes) {
    const Loaded run = load(sources(Mode::kRun));
    EXPECT_LOADS(run);
    EXPECT_EQ(run.settings.integer("MAX_CONCURRENT_TASKS"), 5);
    EXPECT_EQ(run.settings.text("HTTP_HOST"), "0.0.0.0");
    EXPECT_EQ(run.settings.text("ENVIRONMENT"), "production");
    EXPECT_TRUE(run.settings.strict());
    EXPECT_EQ(run.settings.text("SIMULATION_POLICY"), "deny");
    EXPECT_FALSE(run.settings.flag("VAULT_FAIL_OPEN"));
    EXPECT_FALSE(run.settings.has("STATE_DIR"));
    EXPECT_EQ(run.settings.duration("SHUTDOWN_GRACE_SECONDS"), 30s);
    EXPECT_EQ(run.settings.integer("DOCKER_DEFAULT_MEMORY_LIMIT"), 536'870'912);

    const Loaded dev = load(sources(Mode::kDev));
    EXPECT_LOADS(dev);
    EXPECT_EQ(dev.settings.text("HTTP_HOST"), "127.0.0.1");
    EXPECT_EQ(dev.settings.text("STATE_DIR"), "/home/u/.local/state/worker-agents");
    EXPECT_EQ(dev.settings.text("SIMULATION_POLICY"), "allow");
    EXPECT_TRUE(dev.settings.flag("VAULT_FAIL_OPEN"));
    EXPECT_TRUE(dev.problems.empty()) << all_text(dev.problems);
}

TEST(Load, StateFolderFollowsXdg) {
    EXPECT_EQ(default_state_dir({{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}}), "/x/worker-agents");
    EXPECT_EQ(default_state_dir({{"XDG_STATE_HOME", "relative"}, {"HOME", "/h"}}), "/h/.local/state/worker-agents");
    EXPECT_EQ(default_state_dir({}), "");
    Sources nowhere;
    nowhere.mode = Mode::kDev;
    expect_refused(nowhere, "--state-dir");
    expect_refused(with_environment({{"STATE_DIR", "relative"}}), "STATE_DIR must be an absolute path");
}

TEST(Load, PrecedenceIsFlagEnvironmentEnvFileFilePresetDefault) {
    Sources all = with_environment({{"MAX_CONCURRENT_TASKS", "4"}, {"ENVIRONMENT", "test"}});
    all.flags = {{"MAX_CONCURRENT_TASKS", "3"}, {"MAX_CONCURRENT_TASKS", "2"}};
    all.env_file = NamedText{"worker.env", "MAX_CONCURRENT_TASKS=6\n"};
    all.config_file = NamedText{"config.yaml", "max_concurrent_tasks: 7\n"};
    all.preset = {{"MAX_CONCURRENT_TASKS", "8"}};
    all.preset_name = "example project";
    const auto value = [&all] {
        const Loaded loaded = load(all);
        EXPECT_LOADS(loaded);
        return std::pair(loaded.settings.integer("MAX_CONCURRENT_TASKS"),
                         loaded.settings.origin("MAX_CONCURRENT_TASKS").where);
    };
    EXPECT_EQ(value(), std::pair(std::int64_t{2}, std::string("flag --max-concurrent-tasks")));
    all.flags.clear();
    EXPECT_EQ(value(), std::pair(std::int64_t{4}, std::string("env MAX_CONCURRENT_TASKS")));
    all.environment["MAX_CONCURRENT_TASKS"] = " ";  // charts render empty text: unset
    EXPECT_EQ(value(), std::pair(std::int64_t{6}, std::string("worker.env:1")));
    all.env_file.reset();
    EXPECT_EQ(value(), std::pair(std::int64_t{7}, std::string("config.yaml:1:1")));
    all.config_file.reset();
    EXPECT_EQ(value(), std::pair(std::int64_t{8}, std::string("example project")));
    all.preset.clear();
    EXPECT_EQ(value(), std::pair(std::int64_t{5}, std::string("default")));
}

TEST(Load, CollectsEveryProblem) {
    Sources bad = with_environment({{"HTTP_PORT", "abc"}, {"MAX_CONCURRENT_TASKS", "-1"}, {"LOG_LEVEL", "LOUD"}});
    bad.config_file = NamedText{"config.yaml", "max_concurent_tickets: 5\nshutdown_grace_seconds: soon\n"};
    const Loaded loaded = load(bad);
    const std::string text = all_text(loaded.problems);
    EXPECT_THAT(text, HasSubstr("env HTTP_PORT: HTTP_PORT must be a whole number, but is \"abc\""));
    EXPECT_THAT(text, HasSubstr("MAX_CONCURRENT_TASKS must be from 1 to 1024, but is \"-1\""));
    EXPECT_THAT(text, HasSubstr("LOG_LEVEL must be one of"));
    EXPECT_THAT(
        text,
        HasSubstr("config.yaml:1:1: unknown key \"max_concurent_tickets\" (did you mean max_concurrent_tickets?)"));
    EXPECT_THAT(text, HasSubstr("config.yaml:2:1: SHUTDOWN_GRACE_SECONDS must be a duration"));
    const auto folded = load_or_error(bad);
    ASSERT_FALSE(folded.has_value());
    EXPECT_EQ(folded.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(folded.error().message, HasSubstr("config.yaml:1:1"));
}

TEST(Load, FileIsFlatLowerCaseAndChecked) {
    const Loaded good =
        load(with_file("# comment\nmax_concurrent_tasks: 7\nallowed_test_commands: [pytest, npm test]\n"
                       "local_runtime_allowed_commands: \"sh, bash\"\nlog_level: debug\nagent_id: ~\n"
                       "shutdown_grace_seconds: 10m\nconsumer_pause_threshold: 90%\n"));
    EXPECT_LOADS(good);
    EXPECT_EQ(good.settings.list("ALLOWED_TEST_COMMANDS"), (std::vector<std::string>{"pytest", "npm test"}));
    EXPECT_EQ(good.settings.list("LOCAL_RUNTIME_ALLOWED_COMMANDS"), (std::vector<std::string>{"sh", "bash"}));
    EXPECT_EQ(good.settings.duration("SHUTDOWN_GRACE_SECONDS"), 10min);
    EXPECT_DOUBLE_EQ(good.settings.real("CONSUMER_PAUSE_THRESHOLD"), 0.9);
    EXPECT_EQ(good.settings.origin("ALLOWED_TEST_COMMANDS").where, "config.yaml:3:1");

    expect_refused(with_file("MAX_CONCURRENT_TASKS: 5\n"), "did you mean max_concurrent_tasks?");
    expect_refused(with_file("engine:\n  slots: 5\n"), "must be a value or a list, not a mapping");
    expect_refused(with_file("http_port: 1\nhttp_port: 2\n"), "config.yaml:2:1: \"http_port\" stands twice");
    expect_refused(with_file("http_port: [1]\n"), "must be a single value");
    expect_refused(with_file("- a\n"), "must be a mapping");
    expect_refused(with_file("a: [\n"), "not valid YAML");
    expect_refused(with_file("? [a]\n: b\n"), "plain text");
    EXPECT_LOADS(load(with_file("")));
    EXPECT_LOADS(load(with_file("# nothing\n")));
}

TEST(Load, HostileFilesAreBounded) {
    std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
    char last = 'a';
    for (char name = 'b'; name < 'j'; ++name) {
        bomb += std::string(1, name) + ": &" + name + " [";
        for (int i = 0; i < 9; ++i)
            bomb += std::string(i == 0 ? "" : ",") + "*" + last;
        bomb += "]\n";
        last = name;
    }
    EXPECT_FALSE(load(with_file(bomb)).ok());
    EXPECT_FALSE(load(with_file(std::string(2'000'000, 'a'))).ok());
    EXPECT_FALSE(load(with_file(std::string(5'000, '['))).ok());
    EXPECT_FALSE(load(with_file(std::string("a: \0\xff\xfe", 6))).ok());
    std::string many;
    for (int i = 0; i < 20'000; ++i)
        many += "k" + std::to_string(i) + ": 1\n";
    EXPECT_FALSE(load(with_file(many)).ok());
}

TEST(Load, EnvFileKeepsCommentsAndWarnsOfUnknownNames) {
    Sources input = sources();
    input.env_file = NamedText{
        "w.env", "# c\n\nexport MAX_CONCURRENT_TASKS=6\nLOG_LEVEL=\"debug\"\nKAFKA_TICKETS_TOPIC=a # b\nFOO=1\n"};
    const Loaded loaded = load(input);
    EXPECT_LOADS(loaded);
    EXPECT_EQ(loaded.settings.integer("MAX_CONCURRENT_TASKS"), 6);
    EXPECT_EQ(loaded.settings.text("LOG_LEVEL"), "DEBUG");
    EXPECT_EQ(loaded.settings.text("KAFKA_TICKETS_TOPIC"), "a # b");
    EXPECT_THAT(all_text(loaded.problems), HasSubstr("warning w.env:6: unknown setting \"FOO\""));
    input.env_file = NamedText{"w.env", "nonsense\n"};
    expect_refused(input, "w.env:1");
}

TEST(Load, UnknownVariablesOfOthersAreIgnoredOwnAreNot) {
    EXPECT_LOADS(load(with_environment({{"PATH", "/bin"}, {"SOME_TOKEN", "x"}, {"LANG", "C"}})));
    expect_refused(with_environment({{"WORKER_AGENTS_CONFG", "/x"}}), "did you mean WORKER_AGENTS_CONFIG?");
    EXPECT_LOADS(load(with_environment({{"WORKER_AGENTS_SERVER", "http://x"}})));
    const Loaded near = load(with_environment({{"KAFKA_TICKETS_TOPICS", "x"}, {"http_port", "1"}}));
    EXPECT_LOADS(near);
    EXPECT_THAT(all_text(near.problems), HasSubstr("did you mean KAFKA_TICKETS_TOPIC?"));
    EXPECT_THAT(all_text(near.problems), HasSubstr("did you mean HTTP_PORT?"));
}

TEST(Load, KubernetesServiceLinksDoNotBreakTheStart) {
    const Loaded loaded = load(with_environment({{"REDIS_PORT", "tcp://10.0.0.1:6379"},
                                                 {"SERVICE_REGISTRY_PORT", "tcp://10.0.0.2:50051"},
                                                 {"WORKER_AGENTS_PORT", "tcp://10.0.0.3:8080"},
                                                 {"WORKER_AGENTS_PORT_8080_TCP_ADDR", "10.0.0.3"},
                                                 {"WORKER_AGENTS_SERVICE_HOST", "10.0.0.3"}}));
    EXPECT_LOADS(loaded);
    EXPECT_EQ(loaded.settings.integer("REDIS_PORT"), 6379);
    EXPECT_EQ(loaded.settings.integer("SERVICE_REGISTRY_PORT"), 50051);
    EXPECT_THAT(all_text(loaded.problems), HasSubstr("service link"));
}

TEST(Load, AliasAndEmptyValues) {
    EXPECT_EQ(load(with_environment({{"HTTP_BIND_ADDRESS", "10.1.1.1"}})).settings.text("HTTP_HOST"), "10.1.1.1");
    EXPECT_EQ(load(with_file("http_bind_address: 10.1.1.1\n")).settings.text("HTTP_HOST"), "10.1.1.1");
    expect_refused(with_environment({{"HTTP_BIND_ADDRESS", "10.1.1.1"}, {"HTTP_HOST", "10.1.1.2"}}), "is set twice");
    EXPECT_LOADS(load(with_environment({{"HTTP_BIND_ADDRESS", "10.1.1.1"}, {"HTTP_HOST", "10.1.1.1"}})));
    EXPECT_LOADS(load(with_environment({{"HTTP_BIND_ADDRESS", ""}, {"HTTP_HOST", "10.1.1.2"}})));
    const Loaded empty = load(with_environment({{"HTTP_PORT", ""},
                                                {"OPA_ENABLED", ""},
                                                {"KAFKA_SSL_CA_LOCATION", ""},
                                                {"SUPPORTED_TASK_TYPES", ""},
                                                {"KAFKA_SCHEMA_REGISTRY_URL", ""}}));
    EXPECT_LOADS(empty);
    EXPECT_EQ(empty.settings.integer("HTTP_PORT"), 8080);
    EXPECT_TRUE(empty.settings.flag("OPA_ENABLED"));
    EXPECT_FALSE(empty.settings.has("KAFKA_SSL_CA_LOCATION"));
    EXPECT_EQ(empty.settings.list("SUPPORTED_TASK_TYPES").size(), 5U);
    EXPECT_FALSE(empty.settings.has("KAFKA_SCHEMA_REGISTRY_URL"));  // given but empty: JSON only
}

TEST(Load, PodNamespaceWins) {
    EXPECT_EQ(load(with_environment({{"NAMESPACE", "a"}, {"POD_NAMESPACE", "b"}})).settings.text("NAMESPACE"), "b");
    EXPECT_EQ(load(with_environment({{"NAMESPACE", "a"}, {"POD_NAMESPACE", "default"}})).settings.text("NAMESPACE"),
              "a");
    EXPECT_EQ(load(with_environment({{"NAMESPACE", "a"}, {"POD_NAMESPACE", ""}})).settings.text("NAMESPACE"), "a");
    Sources flag = with_environment({{"POD_NAMESPACE", "b"}});
    flag.flags = {{"NAMESPACE", "c"}};
    EXPECT_EQ(load(flag).settings.text("NAMESPACE"), "c");
}

TEST(Load, TraceEndpointHasTwoNames) {
    const Loaded standard = load(with_environment({{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:4317"}}));
    EXPECT_EQ(standard.settings.text("OTEL_EXPORTER_ENDPOINT"), "https://a:4317");
    const Loaded both = load(with_environment(
        {{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:4317"}, {"OTEL_EXPORTER_ENDPOINT", "https://b:4317"}}));
    EXPECT_EQ(both.settings.text("OTEL_EXPORTER_ENDPOINT"), "https://b:4317");
}

TEST(Load, SecretsComeFromFilesToo) {
    const Loaded file = load(with_environment({{"OPA_TOKEN_FILE", "/secrets/token"}}));
    EXPECT_LOADS(file);
    EXPECT_EQ(file.settings.text("OPA_TOKEN"), "s3cret-from-file");
    EXPECT_EQ(file.settings.origin("OPA_TOKEN").where, "env OPA_TOKEN_FILE");
    EXPECT_EQ(load(with_file("opa_token_file: /secrets/token\n")).settings.text("OPA_TOKEN"), "s3cret-from-file");
    EXPECT_FALSE(load(with_environment({{"OPA_TOKEN_FILE", "/secrets/empty"}})).settings.has("OPA_TOKEN"));
    expect_refused(with_environment({{"OPA_TOKEN_FILE", "/none"}}), "cannot read /none");
    expect_refused(with_environment({{"OPA_TOKEN_FILE", "/secrets/token"}, {"OPA_TOKEN", "x"}}), "is set twice");
    // Files are for secrets only.
    expect_refused(with_file("http_port_file: /secrets/token\n"), "unknown key");
    Sources flag = sources();
    flag.flags = {{"OPA_TOKEN_FILE", "/secrets/token"}};
    EXPECT_EQ(load(flag).settings.text("OPA_TOKEN"), "s3cret-from-file");
    flag.flags = {{"OPA_TOKEN", "hunter2"}};
    expect_refused(flag, "--opa-token-file");
    EXPECT_THAT(all_text(load(flag).problems), Not(HasSubstr("hunter2")));
}

TEST(Load, NoSecretReachesAnyOutput) {
    Environment environment{{"ENVIRONMENT", "test"}, {"HTTP_PORT", "not-a-port"}};
    for (const SettingSpec& spec : all_settings()) {
        if (spec.type == Type::kSecret)
            environment[std::string(spec.name)] = "hunter2-" + std::string(spec.name) + std::string(1, '\0');
    }
    Loaded broken = load(with_environment(environment));
    EXPECT_THAT(all_text(broken.problems), Not(HasSubstr("hunter2")));
    environment.erase("HTTP_PORT");
    for (auto& [name, value] : environment) {
        if (value.starts_with("hunter2")) value.pop_back();
    }
    environment["CODE_FORGE_URL"] = "http://user:hunter2@forge";
    environment["JENKINS_URL"] = "http://hunter2@jenkins";
    const Loaded loaded = load(with_environment(environment));
    EXPECT_LOADS(loaded);
    std::string shown = all_text(loaded.problems);
    for (const auto& row : show_rows(loaded.settings, {.origin = true})) {
        for (const auto& cell : row)
            shown += cell + "\n";
    }
    shown += boost::json::serialize(show_json(loaded.settings, {}));
    EXPECT_THAT(shown, Not(HasSubstr("hunter2")));
    EXPECT_THAT(shown, HasSubstr("***(from GITHUB_TOKEN)"));
    const auto secrets =
        std::ranges::count_if(all_settings(), [](const SettingSpec& spec) { return spec.type == Type::kSecret; });
    EXPECT_GE(secrets, 19);
    EXPECT_EQ(loaded.settings.secret_values().size(), static_cast<std::size_t>(secrets));
}

// The samples of the two seed documents, comma lists and plain-http collector included.
TEST(Load, SeedSamplesStart) {
    const Environment first{{"SERVICE_NAME", "worker-agents"},
                            {"NAMESPACE", "neural-hive-execution"},
                            {"CLUSTER", "production"},
                            {"SUPPORTED_TASK_TYPES", "BUILD,DEPLOY,TEST,VALIDATE,EXECUTE"},
                            {"MAX_CONCURRENT_TASKS", "5"},
                            {"KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"},
                            {"KAFKA_TICKETS_TOPIC", "execution.tickets"},
                            {"KAFKA_RESULTS_TOPIC", "execution.results"},
                            {"KAFKA_CONSUMER_GROUP_ID", "worker-agents"},
                            {"SERVICE_REGISTRY_HOST", "service-registry"},
                            {"SERVICE_REGISTRY_PORT", "50051"},
                            {"HEARTBEAT_INTERVAL_SECONDS", "30"},
                            {"EXECUTION_TICKET_SERVICE_URL", "http://execution-ticket-service:8080"},
                            {"ENABLE_TEMPORAL_ACTIVITIES", "false"},
                            {"OTEL_EXPORTER_ENDPOINT", "http://otel-collector:4317"},
                            {"PROMETHEUS_PORT", "9090"},
                            {"HTTP_PORT", "8080"},
                            {"LOG_LEVEL", "INFO"}};
    Environment second = first;
    const Environment more{{"CODE_FORGE_URL", "http://code-forge.neural-hive-execution:8000"},
                           {"CODE_FORGE_ENABLED", "true"},
                           {"CODE_FORGE_TIMEOUT_SECONDS", "14400"},
                           {"ARGOCD_URL", "https://argocd.example.com"},
                           {"ARGOCD_TOKEN", "your-argocd-token"},
                           {"ARGOCD_ENABLED", "true"},
                           {"FLUX_ENABLED", "true"},
                           {"FLUX_KUBECONFIG_PATH", ""},
                           {"OPA_URL", "http://opa.neural-hive-governance:8181"},
                           {"OPA_TOKEN", ""},
                           {"ALLOWED_TEST_COMMANDS", "pytest,npm test,go test,mvn test"},
                           {"GITHUB_ACTIONS_ENABLED", "true"},
                           {"GITHUB_TOKEN", "your-github-token"},
                           {"GITLAB_CI_ENABLED", "true"},
                           {"GITLAB_TOKEN", "your-gitlab-token"},
                           {"JENKINS_ENABLED", "true"},
                           {"JENKINS_URL", "https://jenkins.example.com"},
                           {"JENKINS_USER", "your-jenkins-user"},
                           {"JENKINS_TOKEN", "your-jenkins-token"},
                           {"DOCKER_ENABLED", "true"},
                           {"DOCKER_BASE_URL", "unix:///var/run/docker.sock"},
                           {"DOCKER_DEFAULT_MEMORY_LIMIT", "512m"},
                           {"K8S_JOBS_ENABLED", "true"},
                           {"LAMBDA_ENABLED", "true"},
                           {"LAMBDA_ACCESS_KEY", "your-access-key"},
                           {"LAMBDA_SECRET_KEY", "your-secret-key"},
                           {"LOCAL_RUNTIME_ALLOWED_COMMANDS", "python,python3,node,bash,sh"},
                           {"RUNTIME_FALLBACK_CHAIN", "k8s,docker,local,simulation"}};
    for (const auto& [name, value] : more)
        second[name] = value;
    for (const Mode mode : {Mode::kDev, Mode::kRun}) {
        EXPECT_LOADS(load(with_environment(first, mode)));
        EXPECT_LOADS(load(with_environment(second, mode)));
    }
    EXPECT_EQ(load(with_environment(second)).settings.list("ALLOWED_TEST_COMMANDS")[1], "npm test");
}

TEST(Rules, PlainHttpOutsideTheClusterIsRefusedInStrictEnvironments) {
    for (const char* environment : {"production", "Production", "STAGING", "prod"}) {
        expect_refused(with_environment({{"ENVIRONMENT", environment},
                                         {"OTEL_EXPORTER_ENDPOINT", "http://collector.example.com:4317"}}),
                       "OTEL_EXPORTER_ENDPOINT uses plain http to collector.example.com");
    }
    expect_refused(with_environment({{"KAFKA_SCHEMA_REGISTRY_URL", "http://evil.com/?x=.svc.cluster.local"}}),
                   "plain http to evil.com");
    expect_refused(with_environment({{"VAULT_ENABLED", "true"}, {"VAULT_ADDRESS", "http://vault.example.com"}}),
                   "VAULT_ADDRESS");
    EXPECT_LOADS(load(with_environment({{"VAULT_ADDRESS", "http://vault.example.com"}})));
    EXPECT_LOADS(load(with_environment({{"KAFKA_SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081"}})));
    EXPECT_LOADS(
        load(with_environment({{"ENVIRONMENT", "test"}, {"OTEL_EXPORTER_ENDPOINT", "http://collector.example.com"}})));
    EXPECT_LOADS(
        load(with_environment({{"OTEL_EXPORTER_ENDPOINT", "http://c.my-ns:4317"}, {"INTERNAL_NAMESPACES", "my-ns"}})));
    expect_refused(with_environment({{"SERVICE_REGISTRY_HOST", "registry.example.com"}}), "needs mTLS");
    EXPECT_LOADS(
        load(with_environment({{"SERVICE_REGISTRY_HOST", "registry.example.com"}, {"SPIFFE_ENABLED", "true"}})));
    // On a laptop the same is a word of warning: dev speaks to none of them.
    EXPECT_LOADS(load(
        with_environment({{"ENVIRONMENT", "prod"}, {"SERVICE_REGISTRY_HOST", "registry.example.com"}}, Mode::kDev)));
}

TEST(Rules, BetweenSettings) {
    expect_refused(with_environment({{"CONSUMER_RESUME_THRESHOLD", "0.8"}}), "must be below CONSUMER_PAUSE_THRESHOLD");
    expect_refused(with_environment({{"CONSUMER_PAUSE_THRESHOLD", "0"}}), "CONSUMER_PAUSE_THRESHOLD must be from");
    expect_refused(with_environment({{"CONSUMER_PAUSE_THRESHOLD", "1.1"}}), "CONSUMER_PAUSE_THRESHOLD must be from");
    expect_refused(with_environment({{"RETRY_BACKOFF_MAX_SECONDS", "1"}}),
                   "must not be below RETRY_BACKOFF_BASE_SECONDS");
    expect_refused(with_environment({{"KAFKA_ENABLE_AUTO_COMMIT", "true"}}), "KAFKA_ENABLE_AUTO_COMMIT must be false");
    expect_refused(with_environment({{"KAFKA_SASL_USERNAME", "u"}}), "set without KAFKA_SASL_PASSWORD");
    expect_refused(with_environment({{"KAFKA_BOOTSTRAP_SERVERS", "kafka"}}), "must be host:port");
    expect_refused(with_environment({{"ARGOCD_ENABLED", "true"}}), "ARGOCD_URL is not set");
    expect_refused(with_environment({{"ARGOCD_ENABLED", "true"}, {"ARGOCD_URL", "ftp://x"}, {"ARGOCD_TOKEN", "t"}}),
                   "http:// or https://");
    expect_refused(with_environment({{"VAULT_FAIL_OPEN", "true"}}), "VAULT_FAIL_OPEN must not be true");
    expect_refused(with_environment({{"SPIFFE_FALLBACK_ALLOWED", "true"}}), "SPIFFE_FALLBACK_ALLOWED must not be true");
    expect_refused(with_environment({{"AGENT_ID", "a b"}}), "AGENT_ID may hold");
    expect_refused(with_environment({{"AGENT_ID", std::string(129, 'a')}}), "AGENT_ID may hold");
    expect_refused(with_environment({{"LOCAL_RUNTIME_ALLOWED_DIRS", "tmp"}}), "absolute paths");
    expect_refused(with_environment({{"LOCAL_RUNTIME_PATH", "/bin:."}}), "absolute paths");
    expect_refused(with_environment({{"K8S_JOBS_DEFAULT_CPU_LIMIT", "many"}}), "quantity");
    expect_refused(with_environment({{"K8S_JOBS_DEFAULT_CPU_REQUEST", "2"}}), "above K8S_JOBS_DEFAULT_CPU_LIMIT");
    expect_refused(with_environment({{"K8S_JOBS_DEFAULT_MEMORY_LIMIT", "64Mi"}}),
                   "K8S_JOBS_DEFAULT_MEMORY_REQUEST must not be above");
    expect_refused(with_environment({{"K8S_JOBS_TMP_SIZE", "2GiB"}}), "K8S_JOBS_EPHEMERAL_STORAGE");
    for (const char* user : {"root", "0", "0:0", "000", "1000:", "1000:staff", ":1", "12345678901"})
        expect_refused(with_environment({{"K8S_JOBS_USER", user}}), "K8S_JOBS_USER must be");
    expect_refused(with_environment({{"K8S_JOBS_NODE_SELECTOR", "disk=ssd,zone"}}), "must hold key=value");
    for (const char* text : {"x", "{}", "[1]", "[{}"})
        expect_refused(with_environment({{"K8S_JOBS_TOLERATIONS", text}}), "JSON list of objects");
    EXPECT_LOADS(load(with_environment({{"K8S_JOBS_USER", "65534"},
                                        {"K8S_JOBS_NODE_SELECTOR", "disk=ssd,node.example.org/pool="},
                                        {"K8S_JOBS_TOLERATIONS", R"([{"operator": "Exists"}])"},
                                        {"K8S_JOBS_DEFAULT_CPU_LIMIT", "0.5"}})));
    expect_refused(with_environment({{"HTTP_HOST", "http://x"}}), "HTTP_HOST must be an address");
    // S2: an empty kubeconfig means in-cluster.
    EXPECT_LOADS(load(with_environment({{"FLUX_ENABLED", "true"}})));
}

TEST(Rules, WarningsDoNotStopTheStart) {
    const Loaded loaded = load(with_environment({{"MAX_CONCURRENT_TICKETS", "2"},
                                                 {"GITHUB_ACTIONS_ENABLED", "true"},
                                                 {"ENABLE_TEMPORAL_ACTIVITIES", "true"},
                                                 {"ENVIRONMENT", "test"}}));
    EXPECT_LOADS(loaded);
    const std::string text = all_text(loaded.problems);
    EXPECT_THAT(text, HasSubstr("is below MAX_CONCURRENT_TASKS"));
    EXPECT_THAT(text, HasSubstr("GITHUB_TOKEN is not set: not used"));
    EXPECT_THAT(text, HasSubstr("neither ARGOCD_ENABLED nor FLUX_ENABLED"));
    EXPECT_THAT(text, HasSubstr("this build has no such part"));
}

TEST(Show, SaysWhatIsNotBuilt) {
    const Loaded loaded = load(with_environment({{"KAFKA_TICKETS_TOPIC", "mine"}}, Mode::kDev));
    bool seen = false;
    for (const auto& row : show_rows(loaded.settings, {.origin = true, .diff_defaults = true})) {
        if (row[0] != "KAFKA_TICKETS_TOPIC") continue;
        seen = true;
        EXPECT_EQ(row[1], "mine");
        EXPECT_EQ(row[2], "env KAFKA_TICKETS_TOPIC");
        EXPECT_EQ(row[3], is_built(Part::kKafka) ? "" : "not built: Kafka");
    }
    EXPECT_TRUE(seen);
    EXPECT_EQ(show_rows(loaded.settings, {}).size(), all_settings().size());
    EXPECT_EQ(show_rows(loaded.settings, {.diff_defaults = true}).size(), 1U);
}

TEST(Show, StarterFileLoadsCommentedAndUncommented) {
    const std::string starter = starter_file();
    EXPECT_LOADS(load(with_file(starter)));
    std::string active;
    std::istringstream lines(starter);
    std::string line;
    while (std::getline(lines, line)) {
        const std::size_t colon = line.find(": ");
        const bool setting = line.starts_with("# ") && colon != std::string::npos && line.find(' ', 2) > colon;
        if (setting && line.substr(2, 6) != "one of") active += line.substr(2) + "\n";
    }
    const Loaded loaded = load(with_file(active));
    EXPECT_LOADS(loaded);
    EXPECT_EQ(loaded.settings.origin("MAX_CONCURRENT_TASKS").layer, Layer::kFile) << active;
}

TEST(Show, SchemaNamesEveryKey) {
    const auto schema = file_schema();
    const auto& properties = schema.at("properties").as_object();
    for (const SettingSpec& spec : all_settings())
        EXPECT_TRUE(properties.contains(file_key(spec.name))) << spec.name;
    EXPECT_TRUE(properties.contains("argocd_token_file"));
    EXPECT_EQ(schema.at("additionalProperties").as_bool(), false);
    EXPECT_EQ(boost::json::serialize(properties.at("http_port").at("anyOf").at(0)),
              R"({"type":"integer","minimum":0,"maximum":65535})");
    EXPECT_EQ(properties.at("http_port").at("default").as_int64(), 8080);
}

TEST(Reload, NamesWhatChanged) {
    const Loaded before = load(sources());
    const Loaded now = load(with_environment({{"LOG_LEVEL", "DEBUG"}, {"HTTP_PORT", "81"}}));
    const auto changed = changes(before.settings, now.settings);
    ASSERT_EQ(changed.size(), 2U);
    EXPECT_EQ(changed[0].spec->name, "HTTP_PORT");
    EXPECT_FALSE(changed[0].reloadable);
    EXPECT_EQ(changed[1].spec->name, "LOG_LEVEL");
    EXPECT_TRUE(changed[1].reloadable);
}

TEST(Reload, TakesOnlyWhatMayChange) {
    const Loaded before = load(sources());
    const Loaded now = load(with_environment({{"LOG_LEVEL", "DEBUG"}, {"HTTP_PORT", "81"}}));
    const Settings merged = before.settings.with_reloadable(now.settings);
    EXPECT_EQ(merged.text("LOG_LEVEL"), "DEBUG");
    EXPECT_EQ(merged.origin("LOG_LEVEL").layer, Layer::kEnvironment);
    EXPECT_EQ(merged.integer("HTTP_PORT"), before.settings.integer("HTTP_PORT"));
}

TEST(Load, DevKeepsTheSharedWorkingFolderInItsStateFolder) {
    Sources dev = with_environment({{"STATE_DIR", "/state"}});
    dev.mode = Mode::kDev;
    EXPECT_EQ(load(dev).settings.text("LOCAL_RUNTIME_WORKING_DIR"), "/state/workspace");
    dev.environment["LOCAL_RUNTIME_WORKING_DIR"] = "/elsewhere";
    EXPECT_EQ(load(dev).settings.text("LOCAL_RUNTIME_WORKING_DIR"), "/elsewhere");
    Sources run = with_environment({{"STATE_DIR", "/state"}});
    run.mode = Mode::kRun;
    EXPECT_EQ(load(run).settings.text("LOCAL_RUNTIME_WORKING_DIR"), "/tmp/neural-hive-execution");
}

TEST(Environment, SnapshotAndSmallFiles) {
    ::setenv("WA_TEST_VARIABLE", "a=b", 1);
    EXPECT_EQ(process_environment().at("WA_TEST_VARIABLE"), "a=b");
    const auto folder = std::filesystem::temp_directory_path() / ("wa-config-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "f") << "hello";
    EXPECT_EQ(read_small_file((folder / "f").string()).value(), "hello");
    EXPECT_EQ(read_small_file((folder / "f").string(), 3).error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(read_small_file((folder / "none").string()).error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(read_small_file(folder.string()).has_value());
    EXPECT_EQ(read_small_file("/dev/zero").error().code, ErrorCode::kLimitExceeded);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace wa::config
