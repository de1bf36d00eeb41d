// The table of all settings. One line each; the order is that of the documentation.
#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>

#include "config/settings.h"

namespace wa::config {
namespace {

using enum Type;
constexpr Unit kMs = Unit::kMilliseconds;
constexpr Unit kSec = Unit::kSeconds;
constexpr double kDay = 86'400;
constexpr double kMaxPort = 65'535;

// clang-format off
constexpr auto kSettings = std::to_array<SettingSpec>({
    // ---- identity and environment
    {.name = "SERVICE_NAME", .type = kString, .part = Part::kServiceRegistry, .fallback = "worker-agents", .help = "service name in logs and registration"},
    {.name = "SERVICE_VERSION", .type = kString, .part = Part::kServiceRegistry, .fallback = "1.0.0", .help = "version shown in registration, User-Agent and status"},
    {.name = "AGENT_ID", .type = kString, .part = Part::kGeneral, .help = "own id in results and status (letters, digits, . _ -; at most 128); unset = a random UUID at each start"},
    {.name = "NAMESPACE", .type = kString, .part = Part::kGeneral, .fallback = "neural-hive-execution", .help = "namespace that is registered; POD_NAMESPACE wins when it is set and not \"default\""},
    {.name = "POD_NAMESPACE", .type = kString, .part = Part::kGeneral, .help = "namespace of the pod (downward API); see NAMESPACE"},
    {.name = "POD_NAME", .type = kString, .part = Part::kServiceRegistry, .fallback = "unknown", .help = "name of the pod (downward API)"},
    {.name = "NODE_NAME", .type = kString, .part = Part::kServiceRegistry, .fallback = "unknown", .help = "name of the node (downward API)"},
    {.name = "CLUSTER", .type = kString, .part = Part::kGeneral, .fallback = "production", .help = "cluster that is registered", .dev_fallback = "local"},
    {.name = "ENVIRONMENT", .type = kString, .part = Part::kGeneral, .fallback = "production", .help = "production, staging and prod switch the strict rules on", .common = true, .dev_fallback = "development"},
    {.name = "INTERNAL_NAMESPACES", .type = kList, .part = Part::kGeneral, .fallback = "neural-hive,neural-hive-execution,neural-hive-governance,neural-hive-data,kafka,observability,vault", .help = "namespaces whose <name>.<namespace> hosts count as internal, so that plain http is allowed in strict environments"},
    {.name = "STATE_DIR", .type = kPath, .part = Part::kStore, .help = "folder of the database, token, socket and work; dev: $XDG_STATE_HOME/worker-agents unless set", .common = true},
    {.name = "WORKER_ENV_FILE", .type = kPath, .part = Part::kGeneral, .help = "file with NAME=value lines, read below the environment"},
    {.name = "WORKER_AGENTS_CONFIG", .type = kPath, .part = Part::kGeneral, .help = "configuration file (also --config)"},
    {.name = "SHUTDOWN_GRACE_SECONDS", .type = kDuration, .part = Part::kEngine, .fallback = "30", .help = "time that running tickets get when the worker drains", .min = 0, .max = 3600, .unit = kSec, .common = true},
    {.name = "OUTBOUND_PROXY_URL", .type = kSecret, .part = Part::kLambda, .help = "http:// or https:// proxy with its port for calls of services on the internet (AWS); user:password@ is allowed"},
    {.name = "OUTBOUND_NO_PROXY", .type = kString, .part = Part::kLambda, .help = "hosts that are called without it, as in NO_PROXY: example.org,.example.org,10.0.0.0/8,host:8443"},

    // ---- capabilities and concurrency
    {.name = "SUPPORTED_TASK_TYPES", .type = kList, .part = Part::kEngine, .fallback = "BUILD,DEPLOY,TEST,VALIDATE,EXECUTE", .help = "task types that are accepted", .choices = "BUILD|DEPLOY|TEST|VALIDATE|EXECUTE|COMPENSATE|QUERY|TRANSFORM", .required = true},
    {.name = "CAPABILITIES", .type = kList, .part = Part::kServiceRegistry, .fallback = "python,terraform,kubernetes,read,write,compute,analyze,transform,test,code,security,scan,compliance,deploy", .help = "what this worker offers; tickets may require some of it. Names of back-ends (kubernetes, docker, …) are told only while these can be reached", .required = true},
    {.name = "MAX_CONCURRENT_TASKS", .type = kInt, .part = Part::kEngine, .fallback = "5", .help = "tickets that run at the same time (slots)", .min = 1, .max = 1024, .reloadable = true, .common = true},
    {.name = "TASK_TIMEOUT_MULTIPLIER", .type = kFloat, .part = Part::kEngine, .fallback = "1.5", .help = "factor on a ticket's sla.timeout_ms", .min = 0.1, .max = 10},
    {.name = "MAX_CONCURRENT_TICKETS", .type = kInt, .part = Part::kEngine, .fallback = "10", .help = "tickets taken and not finished (in flight)", .min = 1, .max = 10'000, .reloadable = true, .common = true},
    {.name = "CONSUMER_PAUSE_THRESHOLD", .type = kRatio, .part = Part::kEngine, .fallback = "0.8", .help = "share of MAX_CONCURRENT_TICKETS at which intake stops", .min = 0.001, .max = 1, .reloadable = true},
    {.name = "CONSUMER_RESUME_THRESHOLD", .type = kRatio, .part = Part::kEngine, .fallback = "0.5", .help = "share at which intake goes on; below the pause threshold", .min = 0, .max = 1, .reloadable = true},
    {.name = "MAX_PARKED_TICKETS", .type = kInt, .part = Part::kEngine, .fallback = "100000", .help = "tickets that may wait for dependencies", .min = 1, .max = 10'000'000},
    {.name = "SLA_DEADLINE_MODE", .type = kEnum, .part = Part::kEngine, .fallback = "enforce", .help = "what a ticket's deadline does", .choices = "enforce|warn|off"},
    {.name = "COMPENSATION_ENABLED", .type = kBool, .part = Part::kEngine, .fallback = "true", .help = "request compensation for tickets that failed for good"},
    {.name = "RETENTION_DAYS", .type = kDuration, .part = Part::kStore, .fallback = "7", .help = "how long ended tickets stay in the store; 0 = no limit by age", .min = 0, .max = 3650, .unit = Unit::kDays},
    {.name = "RETENTION_MAX_TICKETS", .type = kInt, .part = Part::kStore, .fallback = "1000000", .help = "ended tickets that stay in the store; the oldest go first", .min = 1000, .max = 100'000'000},

    // ---- retry and dependencies
    {.name = "MAX_RETRIES_PER_TICKET", .type = kInt, .part = Part::kEngine, .fallback = "3", .help = "retries of a ticket whose sla.max_retries is absent", .min = 0, .max = 100, .common = true},
    {.name = "RETRY_BACKOFF_BASE_SECONDS", .type = kDuration, .part = Part::kEngine, .fallback = "2", .help = "first wait before a retry", .min = 0, .max = 600, .unit = kSec},
    {.name = "RETRY_BACKOFF_MAX_SECONDS", .type = kDuration, .part = Part::kEngine, .fallback = "60", .help = "longest wait before a retry", .min = 0, .max = kDay, .unit = kSec},
    {.name = "CODE_FORGE_RETRY_ATTEMPTS", .type = kInt, .part = Part::kCodeForge, .fallback = "3", .help = "tries to trigger a pipeline or a generation", .min = 1, .max = 20},
    {.name = "DEPENDENCY_CHECK_INTERVAL_SECONDS", .type = kDuration, .part = Part::kEngine, .fallback = "5", .help = "how often an unknown dependency is asked for", .min = 1, .max = 300, .unit = kSec},
    {.name = "DEPENDENCY_CHECK_MAX_ATTEMPTS", .type = kInt, .part = Part::kEngine, .fallback = "60", .help = "how often before a dependency that stays unknown fails the ticket", .min = 1, .max = 10'000},

    // ---- HTTP, logs, metrics
    {.name = "HTTP_HOST", .type = kString, .part = Part::kHttp, .fallback = "0.0.0.0", .help = "address that the API listens on", .common = true, .dev_fallback = "127.0.0.1", .alias = "HTTP_BIND_ADDRESS"},
    {.name = "HTTP_PORT", .type = kInt, .part = Part::kHttp, .fallback = "8080", .help = "port of the API; 0 = any free one", .min = 0, .max = kMaxPort, .common = true},
    {.name = "PROMETHEUS_PORT", .type = kInt, .part = Part::kMetrics, .fallback = "9090", .help = "port of /metrics; 0 = any free one; equal to HTTP_PORT = one listener", .min = 0, .max = kMaxPort, .common = true},
    {.name = "GRPC_PORT", .type = kInt, .part = Part::kServiceRegistry, .fallback = "0", .help = "registered as metadata grpc_port; nothing listens there", .min = 0, .max = kMaxPort},
    {.name = "HTTP_JWT_AUDIENCE", .type = kString, .part = Part::kSpiffe, .help = "audience that callers' tokens must name; unset = worker-agents.<trust domain>"},
    {.name = "HTTP_ALLOWED_SPIFFE_IDS", .type = kList, .part = Part::kSpiffe, .help = "callers that may use protected routes; unset = the orchestrator's id"},
    {.name = "HTTP_TRUSTED_XFCC", .type = kBool, .part = Part::kSpiffe, .fallback = "false", .help = "believe X-Forwarded-Client-Cert (only behind a proxy that sets it)"},
    {.name = "LOG_LEVEL", .type = kEnum, .part = Part::kLogging, .fallback = "INFO", .help = "least severe line that is logged", .choices = "DEBUG|INFO|WARNING|ERROR|CRITICAL", .reloadable = true, .common = true},
    {.name = "LOG_FORMAT", .type = kEnum, .part = Part::kLogging, .fallback = "auto", .help = "auto = text on a terminal, JSON lines elsewhere", .choices = "auto|text|json", .common = true},
    {.name = "NEURAL_HIVE_COMPONENT", .type = kString, .part = Part::kTracing, .fallback = "worker-agent", .help = "resource attribute of traces and metrics"},
    {.name = "NEURAL_HIVE_LAYER", .type = kString, .part = Part::kTracing, .fallback = "execucao", .help = "resource attribute of traces and metrics"},
    {.name = "NEURAL_HIVE_DOMAIN", .type = kString, .part = Part::kTracing, .fallback = "task-execution", .help = "resource attribute of traces and metrics"},
    {.name = "ENABLE_MTLS", .type = kBool, .part = Part::kNothing, .fallback = "true", .help = "no effect: the mesh does mTLS"},
    {.name = "MTLS_CERT_PATH", .type = kPath, .part = Part::kNothing, .fallback = "/etc/certs/tls.crt", .help = "no effect: the mesh does mTLS"},
    {.name = "MTLS_KEY_PATH", .type = kPath, .part = Part::kNothing, .fallback = "/etc/certs/tls.key", .help = "no effect: the mesh does mTLS"},

    // ---- EXECUTE: choice of a runtime
    {.name = "DEFAULT_RUNTIME", .type = kEnum, .part = Part::kRuntimeChoice, .fallback = "local", .help = "runtime of an EXECUTE ticket that names none", .choices = "local|docker|k8s|lambda|simulation"},
    {.name = "RUNTIME_FALLBACK_CHAIN", .type = kList, .part = Part::kRuntimeChoice, .fallback = "k8s,docker,local,simulation", .help = "runtimes to try, in order, when one is unavailable before the work began", .choices = "k8s|docker|lambda|local|simulation"},
    {.name = "RUNTIME_FALLBACK_ON", .type = kEnum, .part = Part::kRuntimeChoice, .fallback = "unavailable", .help = "when the next runtime is tried", .choices = "unavailable|any_error"},
    {.name = "SIMULATION_POLICY", .type = kEnum, .part = Part::kRuntimeChoice, .fallback = "allow", .help = "may a run be simulated (always labelled as such)", .choices = "allow|deny", .strict_fallback = "deny"},
    {.name = "EXECUTE_ALLOWED_IMAGES", .type = kList, .part = Part::kDocker, .fallback = "*", .help = "images that container runtimes may run (patterns)"},

    // ---- EXECUTE: local runtime
    {.name = "LOCAL_RUNTIME_ENABLED", .type = kBool, .part = Part::kLocalRuntime, .fallback = "true", .help = "run EXECUTE tickets as processes of this machine"},
    {.name = "LOCAL_RUNTIME_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kLocalRuntime, .fallback = "300", .help = "longest local run", .min = 1, .max = 7 * kDay, .unit = kSec},
    {.name = "LOCAL_RUNTIME_ENABLE_SANDBOX", .type = kBool, .part = Part::kLocalRuntime, .fallback = "true", .help = "isolate local tasks and check their commands; refuses to run what it cannot isolate"},
    {.name = "LOCAL_RUNTIME_ALLOWED_COMMANDS", .type = kList, .part = Part::kLocalRuntime, .fallback = "python,python3,node,bash,sh", .help = "programs that local tasks may start; [] = none", .common = true},
    {.name = "LOCAL_RUNTIME_WORKING_DIR", .type = kPath, .part = Part::kLocalRuntime, .fallback = "/tmp/neural-hive-execution", .help = "folder under which local tasks work"},
    {.name = "LOCAL_RUNTIME_ALLOWED_DIRS", .type = kList, .part = Part::kLocalRuntime, .fallback = "/tmp/workspace", .help = "further folders that a ticket's working_dir may lie in"},
    {.name = "LOCAL_RUNTIME_PATH", .type = kString, .part = Part::kLocalRuntime, .fallback = "/usr/local/bin:/usr/bin:/bin", .help = "search path for allowed programs, and PATH of tasks"},
    {.name = "LOCAL_RUNTIME_ALLOW_SHELL", .type = kBool, .part = Part::kLocalRuntime, .fallback = "false", .help = "allow tickets with shell: true (sh must be an allowed program too)"},
    {.name = "LOCAL_RUNTIME_GRACE_SECONDS", .type = kDuration, .part = Part::kLocalRuntime, .fallback = "10", .help = "time between asking a task to end and killing it", .min = 0, .max = 300, .unit = kSec},
    {.name = "LOCAL_RUNTIME_MIN_ISOLATION", .type = kEnum, .part = Part::kLocalRuntime, .fallback = "filtered", .help = "level that local tasks must reach, or they are refused", .choices = "process-group|filtered|namespaces|full"},
    {.name = "LOCAL_RUNTIME_NETWORK", .type = kEnum, .part = Part::kLocalRuntime, .fallback = "ask", .help = "which local tasks have the network: none, those whose ticket asks for it, all", .choices = "deny|ask|allow"},
    {.name = "LOCAL_RUNTIME_READ_PATHS", .type = kList, .part = Part::kLocalRuntime, .fallback = "/usr,/bin,/sbin,/lib,/lib32,/lib64,/etc,/opt", .help = "what local tasks see of this machine, read-only"},
    {.name = "LOCAL_RUNTIME_HIDDEN_PATHS", .type = kList, .part = Part::kLocalRuntime, .help = "paths below those that they do not see"},
    {.name = "LOCAL_RUNTIME_ALLOWED_VARIABLES", .type = kList, .part = Part::kLocalRuntime, .fallback = "*", .help = "environment variables that a ticket may set (patterns)"},
    {.name = "LOCAL_RUNTIME_MEMORY_LIMIT", .type = kSize, .part = Part::kLocalRuntime, .fallback = "4GiB", .help = "memory of one local task, its workspace included; 0 = no limit", .min = 0},
    {.name = "LOCAL_RUNTIME_MAX_PROCESSES", .type = kInt, .part = Part::kLocalRuntime, .fallback = "512", .help = "processes and threads of one local task; 0 = no limit", .min = 0, .max = 1'000'000},
    {.name = "LOCAL_RUNTIME_CPU_LIMIT", .type = kFloat, .part = Part::kLocalRuntime, .fallback = "0", .help = "processors that one local task may use; 0 = no limit", .min = 0, .max = 4096},
    {.name = "LOCAL_RUNTIME_WORKSPACE_LIMIT", .type = kSize, .part = Part::kLocalRuntime, .fallback = "1GiB", .help = "private workspace of one local task (in memory)", .min = 1'048'576},
    {.name = "LOCAL_RUNTIME_WORKSPACE_FILES", .type = kInt, .part = Part::kLocalRuntime, .fallback = "200000", .help = "files and folders in it", .min = 64, .max = 100'000'000},
    {.name = "LOCAL_RUNTIME_OPEN_FILES", .type = kInt, .part = Part::kLocalRuntime, .fallback = "1024", .help = "open files of one process of a local task", .min = 16, .max = 1'000'000},
    {.name = "LOCAL_RUNTIME_FILE_SIZE_LIMIT", .type = kSize, .part = Part::kLocalRuntime, .fallback = "1GiB", .help = "largest file that a local task may write", .min = 4096},
    {.name = "LOCAL_RUNTIME_UID_BASE", .type = kInt, .part = Part::kLocalRuntime, .fallback = "0", .help = "first of 4096 user ids for local tasks of a worker that runs as root; 0 = choose", .min = 0, .max = 4'294'963'000},

    // ---- TEST
    {.name = "TEST_EXECUTION_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kTest, .fallback = "600", .help = "longest test run", .min = 1, .max = kDay, .unit = kSec},
    {.name = "TEST_RETRY_ATTEMPTS", .type = kInt, .part = Part::kTest, .fallback = "3", .help = "tries against a test provider", .min = 1, .max = 20},
    {.name = "ALLOWED_TEST_COMMANDS", .type = kList, .part = Part::kTest, .fallback = "pytest,npm test,go test,mvn test", .help = "first words of test commands that may run here", .common = true},
    {.name = "TEST_WORKSPACE_ROOT", .type = kPath, .part = Part::kTest, .help = "folder that test tickets must work in; unset = not restricted"},
    {.name = "JUNIT_XML_ENABLED", .type = kBool, .part = Part::kTest, .fallback = "true", .help = "read JUnit reports"},
    {.name = "COVERAGE_REPORT_ENABLED", .type = kBool, .part = Part::kTest, .fallback = "true", .help = "read coverage reports"},
    {.name = "GITHUB_ACTIONS_ENABLED", .type = kBool, .part = Part::kCiProviders, .fallback = "false", .help = "run tests on GitHub Actions (needs GITHUB_TOKEN)"},
    {.name = "GITHUB_API_URL", .type = kUrl, .part = Part::kCiProviders, .fallback = "https://api.github.com", .help = "base URL of the GitHub API"},
    {.name = "GITHUB_TOKEN", .type = kSecret, .part = Part::kCiProviders, .help = "token for GitHub Actions"},
    {.name = "GITHUB_ACTIONS_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCiProviders, .fallback = "900", .help = "longest workflow run", .min = 1, .max = kDay, .unit = kSec},
    {.name = "GITHUB_ACTIONS_NEUTRAL_IS_SUCCESS", .type = kBool, .part = Part::kCiProviders, .fallback = "false", .help = "a neutral conclusion counts as success"},
    {.name = "GITLAB_CI_ENABLED", .type = kBool, .part = Part::kCiProviders, .fallback = "false", .help = "run tests on GitLab CI (needs GITLAB_TOKEN)"},
    {.name = "GITLAB_URL", .type = kUrl, .part = Part::kCiProviders, .fallback = "https://gitlab.com", .help = "base URL of GitLab"},
    {.name = "GITLAB_TOKEN", .type = kSecret, .part = Part::kCiProviders, .help = "token for GitLab CI"},
    {.name = "GITLAB_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCiProviders, .fallback = "900", .help = "longest pipeline", .min = 1, .max = kDay, .unit = kSec},
    {.name = "GITLAB_TLS_VERIFY", .type = kBool, .part = Part::kCiProviders, .fallback = "true", .help = "check GitLab's certificate"},
    {.name = "JENKINS_ENABLED", .type = kBool, .part = Part::kCiProviders, .fallback = "false", .help = "run tests on Jenkins (needs JENKINS_URL and JENKINS_TOKEN)"},
    {.name = "JENKINS_URL", .type = kUrl, .part = Part::kCiProviders, .help = "base URL of Jenkins"},
    {.name = "JENKINS_USER", .type = kString, .part = Part::kCiProviders, .help = "user of the Jenkins token"},
    {.name = "JENKINS_TOKEN", .type = kSecret, .part = Part::kCiProviders, .help = "token for Jenkins"},
    {.name = "JENKINS_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCiProviders, .fallback = "600", .help = "longest build", .min = 1, .max = kDay, .unit = kSec},
    {.name = "JENKINS_TLS_VERIFY", .type = kBool, .part = Part::kCiProviders, .fallback = "true", .help = "check the certificate of Jenkins"},

    // ---- Kafka
    {.name = "KAFKA_BOOTSTRAP_SERVERS", .type = kString, .part = Part::kKafka, .fallback = "kafka:9092", .help = "brokers, host:port separated by commas"},
    {.name = "KAFKA_TICKETS_TOPIC", .type = kString, .part = Part::kKafka, .fallback = "execution.tickets", .help = "topic of tickets"},
    {.name = "KAFKA_RESULTS_TOPIC", .type = kString, .part = Part::kKafka, .fallback = "execution.results", .help = "topic of results"},
    {.name = "KAFKA_RESULTS_FORMAT", .type = kEnum, .part = Part::kKafka, .fallback = "auto", .help = "encoding of results; auto = Avro when a schema registry is set", .choices = "auto|avro|json"},
    {.name = "KAFKA_DELIVERY", .type = kEnum, .part = Part::kKafka, .fallback = "exactly_once", .help = "results and offsets in one transaction, or plain at-least-once", .choices = "exactly_once|at_least_once"},
    {.name = "KAFKA_CONSUMER_GROUP_ID", .type = kString, .part = Part::kKafka, .fallback = "worker-agents", .help = "consumer group; the dead letter reader adds -dlq"},
    {.name = "KAFKA_GROUP_INSTANCE_ID", .type = kString, .part = Part::kKafka, .help = "stable name of this member (static membership); unset = dynamic"},
    {.name = "KAFKA_TRANSACTIONAL_ID", .type = kString, .part = Part::kKafka, .help = "stable and different for each worker; unset = group, pod or host, and a number that is free here"},
    {.name = "KAFKA_TRANSACTION_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kKafka, .fallback = "10", .help = "after which brokers end the transaction of a worker that died", .min = 1, .max = 900, .unit = kSec},
    {.name = "KAFKA_SESSION_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kKafka, .fallback = "45", .help = "after which a silent worker loses its partitions", .min = 1, .max = 1800, .unit = kSec},
    {.name = "KAFKA_ASSIGNMENT_STRATEGY", .type = kEnum, .part = Part::kKafka, .fallback = "cooperative-sticky", .help = "how partitions are shared out; the same for the whole group", .choices = "cooperative-sticky|range|roundrobin"},
    {.name = "KAFKA_PREFETCH_BYTES", .type = kSize, .part = Part::kKafka, .fallback = "8MiB", .help = "tickets fetched ahead, all partitions together", .min = 65536},
    {.name = "KAFKA_RESULTS_MARGIN_SECONDS", .type = kDuration, .part = Part::kKafka, .fallback = "120", .help = "how much further back than the oldest ticket the results are read: clocks differ", .min = 0, .max = 86400, .unit = kSec},
    {.name = "KAFKA_STALL_SECONDS", .type = kDuration, .part = Part::kKafka, .fallback = "30", .help = "after which a partition that is behind and does not move counts as stuck", .min = 5, .max = 3600, .unit = kSec},
    {.name = "KAFKA_AUTO_OFFSET_RESET", .type = kEnum, .part = Part::kKafka, .fallback = "earliest", .help = "where a new group starts", .choices = "earliest|latest"},
    {.name = "KAFKA_ENABLE_AUTO_COMMIT", .type = kBool, .part = Part::kKafka, .fallback = "false", .help = "must be false: the worker commits by itself"},
    {.name = "KAFKA_SECURITY_PROTOCOL", .type = kEnum, .part = Part::kKafka, .fallback = "PLAINTEXT", .help = "how brokers are spoken to", .choices = "PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL"},
    {.name = "KAFKA_SASL_MECHANISM", .type = kEnum, .part = Part::kKafka, .fallback = "SCRAM-SHA-512", .help = "used with the SASL protocols", .choices = "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER"},
    {.name = "KAFKA_SASL_USERNAME", .type = kSecret, .part = Part::kKafka, .help = "user for SASL; with the password or not at all"},
    {.name = "KAFKA_SASL_PASSWORD", .type = kSecret, .part = Part::kKafka, .help = "password for SASL"},
    {.name = "KAFKA_OAUTH_TOKEN_URL", .type = kUrl, .part = Part::kKafka, .help = "token endpoint of the OpenID provider, for OAUTHBEARER"},
    {.name = "KAFKA_OAUTH_CLIENT_ID", .type = kString, .part = Part::kKafka, .help = "client id at that provider"},
    {.name = "KAFKA_OAUTH_CLIENT_SECRET", .type = kSecret, .part = Part::kKafka, .help = "client secret at that provider"},
    {.name = "KAFKA_OAUTH_SCOPE", .type = kString, .part = Part::kKafka, .help = "scope that is asked for"},
    {.name = "KAFKA_OAUTH_EXTENSIONS", .type = kString, .part = Part::kKafka, .help = "SASL extensions, key=value separated by commas"},
    {.name = "KAFKA_SSL_CA_LOCATION", .type = kPath, .part = Part::kKafka, .help = "CA file for the brokers"},
    {.name = "KAFKA_SSL_CERTIFICATE_LOCATION", .type = kPath, .part = Part::kKafka, .help = "client certificate"},
    {.name = "KAFKA_SSL_KEY_LOCATION", .type = kPath, .part = Part::kKafka, .help = "client key"},
    {.name = "KAFKA_SCHEMA_REGISTRY_URL", .type = kUrl, .part = Part::kSchemaRegistry, .fallback = "https://schema-registry.kafka.svc.cluster.local:8081", .help = "schema registry; given but empty = JSON only", .empty_is_off = true},
    {.name = "SCHEMA_REGISTRY_TLS_VERIFY", .type = kBool, .part = Part::kSchemaRegistry, .fallback = "true", .help = "check the registry's certificate"},
    {.name = "SCHEMA_REGISTRY_CA_BUNDLE", .type = kPath, .part = Part::kSchemaRegistry, .help = "CA file for the schema registry"},
    {.name = "SCHEMA_REGISTRY_USERNAME", .type = kString, .part = Part::kSchemaRegistry, .help = "user for basic authentication; wins over the URL's"},
    {.name = "SCHEMA_REGISTRY_PASSWORD", .type = kSecret, .part = Part::kSchemaRegistry, .help = "password for it"},
    {.name = "SCHEMA_REGISTRY_CLIENT_CERT", .type = kPath, .part = Part::kSchemaRegistry, .help = "client certificate for the schema registry"},
    {.name = "SCHEMA_REGISTRY_CLIENT_KEY", .type = kPath, .part = Part::kSchemaRegistry, .help = "its key"},
    {.name = "SCHEMA_REGISTRY_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kSchemaRegistry, .fallback = "10", .help = "per request", .min = 1, .max = 120, .unit = kSec},
    {.name = "SCHEMAS_BASE_PATH", .type = kPath, .part = Part::kNothing, .fallback = "/app/schemas", .help = "no effect: the schemas are built in"},

    // ---- dead letters and alerts
    {.name = "KAFKA_DLQ_TOPIC", .type = kString, .part = Part::kDeadLetters, .fallback = "execution.tickets.dlq", .help = "topic of dead letters"},
    {.name = "KAFKA_DLQ_ENABLED", .type = kBool, .part = Part::kMongoDb, .fallback = "true", .help = "store dead letters in MongoDB (writing them to their topic is always on)"},
    {.name = "KAFKA_MAX_RETRIES_BEFORE_DLQ", .type = kInt, .part = Part::kDeadLetters, .fallback = "3", .help = "deliveries of a ticket before it is a dead letter", .min = 1, .max = 100},
    {.name = "DLQ_PUBLISH_MAX_RETRIES", .type = kInt, .part = Part::kNothing, .fallback = "3", .help = "no effect: a dead letter is part of the transaction that settles its ticket, and is tried until that succeeds", .min = 1, .max = 20},
    {.name = "DLQ_PUBLISH_RETRY_BACKOFF_BASE_SECONDS", .type = kDuration, .part = Part::kNothing, .fallback = "1.0", .help = "no effect: a dead letter is part of the transaction that settles its ticket, and is tried until that succeeds", .min = 0.01, .max = 60, .unit = kSec},
    {.name = "DLQ_PUBLISH_RETRY_BACKOFF_MAX_SECONDS", .type = kDuration, .part = Part::kNothing, .fallback = "30.0", .help = "no effect: a dead letter is part of the transaction that settles its ticket, and is tried until that succeeds", .min = 0.01, .max = kDay, .unit = kSec},
    {.name = "DLQ_ALERT_KAFKA_TOPIC", .type = kString, .part = Part::kDeadLetters, .fallback = "sre.alerts", .help = "topic of alerts"},
    {.name = "DLQ_ALERT_ENABLED", .type = kBool, .part = Part::kDeadLetters, .fallback = "true", .help = "send an alert for a dead letter"},

    // ---- service registry, ticket service
    {.name = "SERVICE_REGISTRY_HOST", .type = kString, .part = Part::kServiceRegistry, .fallback = "service-registry", .help = "host of the Service Registry; given but empty = none", .empty_is_off = true},
    {.name = "SERVICE_REGISTRY_PORT", .type = kInt, .part = Part::kServiceRegistry, .fallback = "50051", .help = "port of the Service Registry", .min = 1, .max = kMaxPort},
    {.name = "SERVICE_REGISTRY_TLS_ENABLED", .type = kBool, .part = Part::kServiceRegistry, .fallback = "false", .help = "TLS to the Service Registry"},
    {.name = "SERVICE_REGISTRY_CA_BUNDLE", .type = kPath, .part = Part::kServiceRegistry, .help = "CA file for the Service Registry"},
    {.name = "SERVICE_REGISTRY_CLIENT_CERT", .type = kPath, .part = Part::kServiceRegistry, .help = "client certificate for the Service Registry"},
    {.name = "SERVICE_REGISTRY_CLIENT_KEY", .type = kPath, .part = Part::kServiceRegistry, .help = "its key"},
    {.name = "SERVICE_REGISTRY_SERVER_NAME", .type = kString, .part = Part::kServiceRegistry, .help = "name in its certificate, where that is not the host"},
    {.name = "HEARTBEAT_INTERVAL_SECONDS", .type = kDuration, .part = Part::kServiceRegistry, .fallback = "30", .help = "time between heartbeats", .min = 1, .max = 100, .unit = kSec},
    {.name = "REGISTRATION_RETRY_MAX_ATTEMPTS", .type = kInt, .part = Part::kServiceRegistry, .fallback = "5", .help = "tries of one registration", .min = 1, .max = 100},
    {.name = "EXECUTION_TICKET_SERVICE_URL", .type = kUrl, .part = Part::kTicketService, .fallback = "http://execution-ticket-service:8080", .help = "base URL of the Execution Ticket Service; given but empty = none", .empty_is_off = true},
    {.name = "TICKET_API_TLS_VERIFY", .type = kBool, .part = Part::kTicketService, .fallback = "true", .help = "check the ticket service's certificate"},
    {.name = "TICKET_API_CA_BUNDLE", .type = kPath, .part = Part::kTicketService, .help = "CA file for the ticket service"},
    {.name = "TICKET_API_CLIENT_CERT", .type = kPath, .part = Part::kTicketService, .help = "client certificate for the ticket service"},
    {.name = "TICKET_API_CLIENT_KEY", .type = kPath, .part = Part::kTicketService, .help = "its key"},
    {.name = "TICKET_API_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kTicketService, .fallback = "10", .help = "per request", .min = 1, .max = 120, .unit = kSec},

    // ---- BUILD: Code Forge
    {.name = "CODE_FORGE_URL", .type = kUrl, .part = Part::kCodeForge, .fallback = "http://code-forge.neural-hive-execution:8000", .help = "base URL of Code Forge"},
    {.name = "CODE_FORGE_ENABLED", .type = kBool, .part = Part::kCodeForge, .fallback = "true", .help = "use Code Forge"},
    {.name = "CODE_FORGE_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCodeForge, .fallback = "14400", .help = "longest pipeline", .min = 1, .max = kDay, .unit = kSec},
    {.name = "CODE_FORGE_GENERATION_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCodeForge, .fallback = "1800", .help = "longest generation of an EXECUTE ticket with a template", .min = 1, .max = kDay, .unit = kSec},
    {.name = "CODE_FORGE_POLL_INTERVAL_SECONDS", .type = kDuration, .part = Part::kCodeForge, .fallback = "5", .help = "how often a generation is asked for, unless a ticket says it (poll_interval_seconds)", .min = 0.1, .max = 3600, .unit = kSec},
    {.name = "CODE_FORGE_REQUEST_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kCodeForge, .fallback = "30", .help = "per request", .min = 1, .max = 600, .unit = kSec},
    {.name = "BUILD_ARTIFACT_POLICY", .type = kEnum, .part = Part::kBuild, .fallback = "warn", .help = "what a build without verified artifacts means", .choices = "off|warn|enforce"},
    {.name = "BUILD_SIGNATURE_PUBLIC_KEY", .type = kPath, .part = Part::kBuild, .help = "public key for artifact signatures"},

    // ---- DEPLOY: Argo CD and Flux
    {.name = "ARGOCD_URL", .type = kUrl, .part = Part::kDeploy, .help = "base URL of Argo CD; needed when it is enabled"},
    {.name = "ARGOCD_TOKEN", .type = kSecret, .part = Part::kDeploy, .help = "token for Argo CD; needed when it is enabled"},
    {.name = "ARGOCD_ENABLED", .type = kBool, .part = Part::kDeploy, .fallback = "false", .help = "deploy with Argo CD"},
    {.name = "ARGOCD_NOTIFICATIONS_WEBHOOK", .type = kUrl, .part = Part::kNothing, .help = "no effect"},
    {.name = "ARGOCD_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kDeploy, .fallback = "600", .help = "longest wait for a sync", .min = 1, .max = kDay, .unit = kSec},
    {.name = "ARGOCD_TLS_VERIFY", .type = kBool, .part = Part::kDeploy, .fallback = "true", .help = "check the certificate of Argo CD"},
    {.name = "ARGOCD_CA_BUNDLE", .type = kPath, .part = Part::kDeploy, .help = "CA file for Argo CD"},
    {.name = "FLUX_ENABLED", .type = kBool, .part = Part::kDeploy, .fallback = "false", .help = "deploy with Flux"},
    {.name = "FLUX_NAMESPACE", .type = kString, .part = Part::kDeploy, .fallback = "flux-system", .help = "namespace of Flux"},
    {.name = "FLUX_KUBECONFIG_PATH", .type = kPath, .part = Part::kDeploy, .help = "kubeconfig for Flux; unset = in-cluster"},
    {.name = "FLUX_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kDeploy, .fallback = "600", .help = "longest wait for a reconciliation", .min = 1, .max = kDay, .unit = kSec},

    // ---- VALIDATE: OPA, Trivy, SonarQube, Snyk, Checkov
    {.name = "VALIDATE_WORKSPACE_ROOT", .type = kPath, .part = Part::kValidate, .help = "folder that scanned files must lie in"},
    {.name = "APPROVAL_SERVICE_URL", .type = kUrl, .part = Part::kCompensate, .help = "approval service, asked when a validation is undone"},
    {.name = "COMPENSATION_ALLOW_SCRIPTS", .type = kBool, .part = Part::kCompensate, .fallback = "false", .help = "allow rollback scripts"},
    {.name = "OPA_URL", .type = kUrl, .part = Part::kValidate, .fallback = "http://opa.neural-hive-governance:8181", .help = "base URL of OPA"},
    {.name = "OPA_ENABLED", .type = kBool, .part = Part::kValidate, .fallback = "true", .help = "validate with OPA"},
    {.name = "OPA_TOKEN", .type = kSecret, .part = Part::kValidate, .help = "bearer token for OPA"},
    {.name = "OPA_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "30", .help = "per request", .min = 1, .max = 600, .unit = kSec},
    {.name = "OPA_VERIFY_SSL", .type = kBool, .part = Part::kValidate, .fallback = "true", .help = "check OPA's certificate"},
    {.name = "OPA_RETRY_ATTEMPTS", .type = kInt, .part = Part::kValidate, .fallback = "3", .help = "tries of one request", .min = 1, .max = 20},
    {.name = "OPA_RETRY_BACKOFF_BASE_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "2", .help = "first wait between tries", .min = 0, .max = 600, .unit = kSec},
    {.name = "OPA_RETRY_BACKOFF_MAX_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "60", .help = "longest wait between tries", .min = 0, .max = kDay, .unit = kSec},
    {.name = "OPA_POLL_INTERVAL_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "5", .help = "how often a bundle's activation is asked for", .min = 1, .max = 3600, .unit = kSec},
    {.name = "OPA_POLL_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "300", .help = "longest wait for a bundle's activation", .min = 1, .max = kDay, .unit = kSec},
    {.name = "TRIVY_ENABLED", .type = kBool, .part = Part::kValidate, .fallback = "true", .help = "scan with Trivy"},
    {.name = "TRIVY_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "300", .help = "longest scan", .min = 1, .max = kDay, .unit = kSec},
    {.name = "TRIVY_FAIL_SEVERITY", .type = kEnum, .part = Part::kValidate, .fallback = "CRITICAL", .help = "least severity that fails the ticket", .choices = "LOW|MEDIUM|HIGH|CRITICAL"},
    {.name = "TRIVY_TIMEOUT_IS_SUCCESS", .type = kBool, .part = Part::kValidate, .fallback = "false", .help = "let a scan that timed out pass"},
    {.name = "SONARQUBE_ENABLED", .type = kBool, .part = Part::kValidate, .fallback = "false", .help = "analyse with SonarQube"},
    {.name = "SONARQUBE_URL", .type = kUrl, .part = Part::kValidate, .help = "base URL of SonarQube"},
    {.name = "SONARQUBE_TOKEN", .type = kSecret, .part = Part::kValidate, .help = "token for SonarQube"},
    {.name = "SONARQUBE_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "600", .help = "longest analysis", .min = 1, .max = kDay, .unit = kSec},
    {.name = "SNYK_ENABLED", .type = kBool, .part = Part::kValidate, .fallback = "false", .help = "scan with Snyk"},
    {.name = "SNYK_TOKEN", .type = kSecret, .part = Part::kValidate, .help = "token for Snyk"},
    {.name = "CHECKOV_ENABLED", .type = kBool, .part = Part::kValidate, .fallback = "false", .help = "scan with Checkov"},
    {.name = "CHECKOV_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kValidate, .fallback = "300", .help = "longest scan", .min = 1, .max = kDay, .unit = kSec},

    // ---- Temporal
    {.name = "ENABLE_TEMPORAL_ACTIVITIES", .type = kBool, .part = Part::kTemporal, .fallback = "false", .help = "serve Temporal activities"},
    {.name = "TEMPORAL_HOST", .type = kString, .part = Part::kTemporal, .fallback = "temporal-frontend.temporal.svc.cluster.local", .help = "host of Temporal"},
    {.name = "TEMPORAL_PORT", .type = kInt, .part = Part::kTemporal, .fallback = "7233", .help = "port of Temporal", .min = 1, .max = kMaxPort},
    {.name = "TEMPORAL_NAMESPACE", .type = kString, .part = Part::kTemporal, .fallback = "default", .help = "Temporal namespace"},
    {.name = "TEMPORAL_TASK_QUEUE", .type = kString, .part = Part::kTemporal, .fallback = "worker-tasks", .help = "Temporal task queue"},

    // ---- traces
    {.name = "OTEL_EXPORTER_ENDPOINT", .type = kUrl, .part = Part::kTracing, .fallback = "http://otel-collector:4317", .help = "OTLP endpoint; OTEL_EXPORTER_OTLP_ENDPOINT is used when this is not given"},
    {.name = "OTEL_EXPORTER_OTLP_ENDPOINT", .type = kUrl, .part = Part::kTracing, .help = "the standard name of OTEL_EXPORTER_ENDPOINT"},
    {.name = "OTEL_TLS_VERIFY", .type = kBool, .part = Part::kTracing, .fallback = "true", .help = "check the collector's certificate"},
    {.name = "OTEL_CA_BUNDLE", .type = kPath, .part = Part::kTracing, .help = "CA file for the collector"},
    {.name = "OTEL_CAPTURE_PARAMETERS", .type = kBool, .part = Part::kNothing, .fallback = "false", .help = "no effect: parameters are never put into spans"},
    {.name = "OTEL_EXPORTER_OTLP_HEADERS", .type = kSecret, .part = Part::kTracing, .help = "headers for the collector (may hold a token)"},
    {.name = "OTEL_EXPORTER_OTLP_TIMEOUT", .type = kDuration, .part = Part::kTracing, .fallback = "10000", .help = "per export", .min = 1, .max = 600'000, .unit = kMs},
    {.name = "OTEL_EXPORTER_OTLP_PROTOCOL", .type = kEnum, .part = Part::kTracing, .fallback = "grpc", .help = "how the collector is spoken to", .choices = "grpc|http/protobuf|http/json"},
    {.name = "OTEL_SERVICE_NAME", .type = kString, .part = Part::kTracing, .help = "service.name of spans; unset = SERVICE_NAME"},
    {.name = "OTEL_RESOURCE_ATTRIBUTES", .type = kString, .part = Part::kTracing, .help = "further resource attributes, key=value separated by commas"},
    {.name = "OTEL_SDK_DISABLED", .type = kBool, .part = Part::kTracing, .fallback = "false", .help = "make no traces; what came with a ticket is passed on"},
    {.name = "OTEL_TRACES_SAMPLER", .type = kString, .part = Part::kTracing, .fallback = "parentbased_always_on", .help = "sampler"},
    {.name = "OTEL_TRACES_SAMPLER_ARG", .type = kString, .part = Part::kTracing, .help = "share of traces that traceidratio records, 0 to 1"},
    {.name = "OTEL_EXPORTER_TLS_ENABLED", .type = kBool, .part = Part::kTracing, .fallback = "false", .help = "TLS to the collector"},
    {.name = "OTEL_EXPORTER_TLS_CERT_PATH", .type = kPath, .part = Part::kTracing, .help = "client certificate for the collector"},
    {.name = "OTEL_EXPORTER_TLS_KEY_PATH", .type = kPath, .part = Part::kTracing, .help = "client key for the collector"},
    {.name = "OTEL_EXPORTER_TLS_CA_CERT_PATH", .type = kPath, .part = Part::kTracing, .help = "CA file for the collector"},
    {.name = "OTEL_EXPORTER_TLS_INSECURE_SKIP_VERIFY", .type = kBool, .part = Part::kTracing, .fallback = "false", .help = "do not check the collector's certificate"},
    {.name = "OTEL_EXPORTER_CERTIFICATE", .type = kPath, .part = Part::kTracing, .help = "CA file for the collector"},

    // ---- Vault
    {.name = "VAULT_ENABLED", .type = kBool, .part = Part::kVault, .fallback = "false", .help = "read secrets from Vault"},
    {.name = "VAULT_ADDRESS", .type = kUrl, .part = Part::kVault, .fallback = "https://vault.vault.svc.cluster.local:8200", .help = "base URL of Vault"},
    {.name = "VAULT_TLS_VERIFY", .type = kBool, .part = Part::kVault, .fallback = "true", .help = "check Vault's certificate"},
    {.name = "VAULT_CA_BUNDLE", .type = kPath, .part = Part::kVault, .help = "CA file for Vault", .alias = "VAULT_CA_CERT_PATH"},
    {.name = "VAULT_KUBERNETES_ROLE", .type = kString, .part = Part::kVault, .fallback = "worker-agents", .help = "role for the login by service account"},
    {.name = "VAULT_TOKEN_PATH", .type = kPath, .part = Part::kVault, .fallback = "/vault/secrets/token", .help = "token file for the JWT login"},
    {.name = "VAULT_MOUNT_KV", .type = kString, .part = Part::kVault, .fallback = "secret", .help = "mount of the KV store"},
    {.name = "VAULT_MOUNT_PATH_PKI", .type = kString, .part = Part::kVault, .fallback = "pki", .help = "mount of the PKI engine"},
    {.name = "VAULT_MOUNT_PATH_DATABASE", .type = kString, .part = Part::kVault, .fallback = "database", .help = "mount of the database engine"},
    {.name = "VAULT_FAIL_OPEN", .type = kBool, .part = Part::kVault, .fallback = "true", .help = "go on without Vault; not allowed in strict environments", .strict_fallback = "false"},
    {.name = "VAULT_NAMESPACE", .type = kString, .part = Part::kVault, .help = "Vault namespace"},
    {.name = "VAULT_AUTH_METHOD", .type = kEnum, .part = Part::kVault, .fallback = "kubernetes", .help = "how to log in", .choices = "kubernetes|jwt|approle"},
    {.name = "VAULT_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kVault, .fallback = "5", .help = "per request", .min = 1, .max = 30, .unit = kSec},
    {.name = "VAULT_MAX_RETRIES", .type = kInt, .part = Part::kVault, .fallback = "3", .help = "tries of one request", .min = 0, .max = 10},
    {.name = "VAULT_TOKEN_TTL_SECONDS", .type = kDuration, .part = Part::kVault, .fallback = "3600", .help = "life of a token", .min = 300, .max = 30 * kDay, .unit = kSec},
    {.name = "VAULT_TOKEN_RENEW_THRESHOLD", .type = kRatio, .part = Part::kVault, .fallback = "0.8", .help = "share of its life after which a token is renewed", .min = 0.5, .max = 0.95},

    // ---- SPIFFE and preemption
    {.name = "SPIFFE_ENABLED", .type = kBool, .part = Part::kSpiffe, .fallback = "false", .help = "take identities from the SPIFFE Workload API"},
    {.name = "SPIFFE_SOCKET_PATH", .type = kString, .part = Part::kSpiffe, .fallback = "unix:///run/spire/sockets/agent.sock", .help = "socket of the Workload API"},
    {.name = "SPIFFE_TRUST_DOMAIN", .type = kString, .part = Part::kSpiffe, .fallback = "neural-hive.local", .help = "trust domain"},
    {.name = "SPIFFE_JWT_AUDIENCE", .type = kString, .part = Part::kSpiffe, .fallback = "vault.neural-hive.local", .help = "audience of own tokens"},
    {.name = "SPIFFE_JWT_TTL_SECONDS", .type = kDuration, .part = Part::kSpiffe, .fallback = "3600", .help = "life of own tokens", .min = 300, .max = 30 * kDay, .unit = kSec},
    {.name = "SPIFFE_ENABLE_X509", .type = kBool, .part = Part::kSpiffe, .fallback = "true", .help = "mTLS to the Service Registry"},
    {.name = "SPIFFE_FALLBACK_ALLOWED", .type = kBool, .part = Part::kSpiffe, .fallback = "false", .help = "accept callers without identity; not allowed in strict environments"},
    {.name = "SPIFFE_SVID_REFRESH_THRESHOLD", .type = kRatio, .part = Part::kSpiffe, .fallback = "0.8", .help = "share of its life after which an identity is renewed", .min = 0.5, .max = 0.95},
    {.name = "SPIFFE_ENVIRONMENT", .type = kString, .part = Part::kNothing, .help = "no effect: ENVIRONMENT decides"},
    {.name = "SPIFFE_ID", .type = kString, .part = Part::kSpiffe, .help = "own id for the token file; unset = spiffe://<trust domain>/default"},
    {.name = "SPIFFE_JWT_TOKEN_PATH", .type = kPath, .part = Part::kSpiffe, .fallback = "/var/run/secrets/tokens/spiffe-jwt", .help = "token file"},
    {.name = "SCHEDULER_ENABLE_PREEMPTION", .type = kBool, .part = Part::kSpiffe, .fallback = "false", .help = "accept the orchestrator's internal calls"},

    // ---- EXECUTE: Docker
    {.name = "DOCKER_ENABLED", .type = kBool, .part = Part::kDocker, .fallback = "false", .help = "run EXECUTE tickets in Docker"},
    {.name = "DOCKER_BASE_URL", .type = kUrl, .part = Part::kDocker, .fallback = "unix:///var/run/docker.sock", .help = "Docker's address"},
    {.name = "DOCKER_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kDocker, .fallback = "600", .help = "longest run", .min = 1, .max = kDay, .unit = kSec},
    {.name = "DOCKER_PULL_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kDocker, .fallback = "300", .help = "longest pull", .min = 1, .max = kDay, .unit = kSec},
    {.name = "DOCKER_VERIFY_SSL", .type = kBool, .part = Part::kDocker, .fallback = "true", .help = "check Docker's certificate"},
    {.name = "DOCKER_CERT_PATH", .type = kPath, .part = Part::kDocker, .help = "folder with ca.pem, cert.pem and key.pem for Docker over TCP; tcp:// means TLS then"},
    {.name = "DOCKER_AUTH_CONFIG", .type = kSecret, .part = Part::kDocker, .help = "logins of image registries, in the form of ~/.docker/config.json"},
    {.name = "DOCKER_PULL_POLICY", .type = kEnum, .part = Part::kDocker, .fallback = "missing", .help = "when images are pulled, unless a ticket says it (pull_policy)", .choices = "missing|always|never"},
    {.name = "DOCKER_RECONNECT_SECONDS", .type = kDuration, .part = Part::kDocker, .fallback = "60", .help = "how long the engine may be away while a container runs", .min = 1, .max = kDay, .unit = kSec},
    {.name = "DOCKER_DEFAULT_CPU_LIMIT", .type = kFloat, .part = Part::kDocker, .fallback = "1.0", .help = "cores of a container", .min = 0.01, .max = 1024},
    {.name = "DOCKER_DEFAULT_MEMORY_LIMIT", .type = kSize, .part = Part::kDocker, .fallback = "512m", .help = "memory of a container", .min = 6'291'456, .max = 1e15},
    {.name = "DOCKER_NETWORK_MODE", .type = kEnum, .part = Part::kDocker, .fallback = "bridge", .help = "network of a container", .choices = "bridge|host|none"},
    {.name = "DOCKER_ALLOW_HOST_NETWORK", .type = kBool, .part = Part::kDocker, .fallback = "false", .help = "allow network mode host"},
    {.name = "DOCKER_USER", .type = kString, .part = Part::kDocker, .fallback = "1000:1000", .help = "user and group in the container, unless a ticket names them (user)"},
    {.name = "DOCKER_ALLOW_ROOT", .type = kBool, .part = Part::kDocker, .fallback = "false", .help = "allow containers to run as root, or as a user by name"},
    {.name = "DOCKER_PIDS_LIMIT", .type = kInt, .part = Part::kDocker, .fallback = "256", .help = "processes and threads of a container", .min = 1, .max = 1'000'000},
    {.name = "DOCKER_TMPFS_SIZE", .type = kSize, .part = Part::kDocker, .fallback = "64m", .help = "/tmp of a container (in memory)", .min = 4096},
    {.name = "DOCKER_READONLY_ROOTFS", .type = kBool, .part = Part::kDocker, .fallback = "true", .help = "read-only root file system"},
    {.name = "DOCKER_CLEANUP_CONTAINERS", .type = kBool, .part = Part::kDocker, .fallback = "true", .help = "remove containers afterwards"},

    // ---- EXECUTE: Kubernetes Jobs
    {.name = "K8S_JOBS_ENABLED", .type = kBool, .part = Part::kKubernetesJobs, .fallback = "false", .help = "run EXECUTE tickets as Kubernetes Jobs"},
    {.name = "K8S_JOBS_NAMESPACE", .type = kString, .part = Part::kKubernetesJobs, .fallback = "neural-hive-execution", .help = "namespace of Jobs"},
    {.name = "K8S_JOBS_KUBECONFIG_PATH", .type = kPath, .part = Part::kKubernetesJobs, .help = "kubeconfig; unset = the account of the pod that the worker runs in"},
    {.name = "K8S_JOBS_CONTEXT", .type = kString, .part = Part::kKubernetesJobs, .help = "context of the kubeconfig; unset = its current-context as of the start"},
    {.name = "KUBERNETES_SERVICE_HOST", .type = kString, .part = Part::kKubernetesJobs, .help = "address of the API server; Kubernetes sets it in every pod"},
    {.name = "KUBERNETES_SERVICE_PORT", .type = kString, .part = Part::kKubernetesJobs, .fallback = "443", .help = "port of the API server; Kubernetes sets it in every pod"},
    {.name = "K8S_JOBS_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "600", .help = "longest Job", .min = 1, .max = 7 * kDay, .unit = kSec},
    {.name = "K8S_JOBS_START_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "60", .help = "how long a pod may wait because of its image or configuration", .min = 1, .max = kDay, .unit = kSec},
    {.name = "K8S_JOBS_SCHEDULE_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "300", .help = "how long a pod may wait for a node, or to be made at all", .min = 1, .max = 7 * kDay, .unit = kSec},
    {.name = "K8S_JOBS_RECONNECT_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "60", .help = "how long the API server may be away while a Job runs", .min = 1, .max = kDay, .unit = kSec},
    {.name = "K8S_JOBS_TTL_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "86400", .help = "how long the cluster keeps an ended Job that nobody removed; longer than any absence of the worker", .min = 60, .max = 365 * kDay, .unit = kSec},
    {.name = "K8S_JOBS_DEFAULT_CPU_REQUEST", .type = kString, .part = Part::kKubernetesJobs, .fallback = "100m", .help = "CPU request of a Job"},
    {.name = "K8S_JOBS_DEFAULT_CPU_LIMIT", .type = kString, .part = Part::kKubernetesJobs, .fallback = "1000m", .help = "CPU limit of a Job"},
    {.name = "K8S_JOBS_DEFAULT_MEMORY_REQUEST", .type = kString, .part = Part::kKubernetesJobs, .fallback = "128Mi", .help = "memory request of a Job"},
    {.name = "K8S_JOBS_DEFAULT_MEMORY_LIMIT", .type = kString, .part = Part::kKubernetesJobs, .fallback = "512Mi", .help = "memory limit of a Job"},
    {.name = "K8S_JOBS_EPHEMERAL_STORAGE", .type = kSize, .part = Part::kKubernetesJobs, .fallback = "1GiB", .help = "disk that a Job may use (/tmp, output, what its container writes)", .min = 1'048'576, .max = 1e15},
    {.name = "K8S_JOBS_TMP_SIZE", .type = kSize, .part = Part::kKubernetesJobs, .fallback = "64m", .help = "/tmp of a Job", .min = 4096, .max = 1e15},
    {.name = "K8S_JOBS_USER", .type = kString, .part = Part::kKubernetesJobs, .fallback = "1000:1000", .help = "user and group in the pod as numbers, unless a ticket names them (user); never root"},
    {.name = "K8S_JOBS_READONLY_ROOTFS", .type = kBool, .part = Part::kKubernetesJobs, .fallback = "true", .help = "read-only root file system"},
    {.name = "K8S_JOBS_IMAGE_PULL_POLICY", .type = kEnum, .part = Part::kKubernetesJobs, .fallback = "IfNotPresent", .help = "when images are pulled, unless a ticket says it (pull_policy)", .choices = "IfNotPresent|Always|Never"},
    {.name = "K8S_JOBS_IMAGE_PULL_SECRETS", .type = kList, .part = Part::kKubernetesJobs, .help = "names of secrets in the namespace with logins of image registries"},
    {.name = "K8S_JOBS_NODE_SELECTOR", .type = kList, .part = Part::kKubernetesJobs, .help = "labels that a node must have (key=value)"},
    {.name = "K8S_JOBS_TOLERATIONS", .type = kString, .part = Part::kKubernetesJobs, .help = "tolerations of the pods: a JSON list of objects as Kubernetes has them"},
    {.name = "K8S_JOBS_RUNTIME_CLASS", .type = kString, .part = Part::kKubernetesJobs, .help = "runtimeClassName of the pods (gVisor, Kata)"},
    {.name = "K8S_JOBS_SERVICE_ACCOUNT", .type = kString, .part = Part::kKubernetesJobs, .fallback = "worker-agent-executor", .help = "service account of Jobs"},
    {.name = "K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS", .type = kList, .part = Part::kKubernetesJobs, .help = "service accounts that tickets may name; unset = the configured one"},
    {.name = "K8S_JOBS_AUTOMOUNT_TOKEN", .type = kBool, .part = Part::kKubernetesJobs, .fallback = "false", .help = "give every Job its account's token; one whose ticket names an account has it anyway"},
    {.name = "K8S_JOBS_BACKOFF_LIMIT", .type = kInt, .part = Part::kKubernetesJobs, .fallback = "0", .help = "backoffLimit of a Job", .min = 0, .max = 100},
    {.name = "K8S_JOBS_CLEANUP", .type = kBool, .part = Part::kKubernetesJobs, .fallback = "true", .help = "delete Jobs afterwards"},
    {.name = "K8S_JOBS_POLL_INTERVAL_SECONDS", .type = kDuration, .part = Part::kKubernetesJobs, .fallback = "5", .help = "how often Jobs are asked for while they cannot be watched", .min = 1, .max = 300, .unit = kSec},

    // ---- EXECUTE: AWS Lambda
    {.name = "LAMBDA_ENABLED", .type = kBool, .part = Part::kLambda, .fallback = "false", .help = "run EXECUTE tickets on AWS Lambda"},
    {.name = "LAMBDA_REGION", .type = kString, .part = Part::kLambda, .fallback = "us-east-1", .help = "region"},
    {.name = "LAMBDA_ACCESS_KEY", .type = kSecret, .part = Part::kLambda, .help = "access key"},
    {.name = "LAMBDA_SECRET_KEY", .type = kSecret, .part = Part::kLambda, .help = "secret key"},
    {.name = "LAMBDA_SESSION_TOKEN", .type = kSecret, .part = Part::kLambda, .help = "session token"},
    {.name = "AWS_ACCESS_KEY_ID", .type = kSecret, .part = Part::kLambda, .help = "access key when LAMBDA_ACCESS_KEY is unset"},
    {.name = "AWS_SECRET_ACCESS_KEY", .type = kSecret, .part = Part::kLambda, .help = "secret key to it"},
    {.name = "AWS_SESSION_TOKEN", .type = kSecret, .part = Part::kLambda, .help = "session token to it"},
    {.name = "AWS_WEB_IDENTITY_TOKEN_FILE", .type = kPath, .part = Part::kLambda, .help = "file with a web identity token, for when there are no keys; read anew whenever it is used"},
    {.name = "AWS_ROLE_ARN", .type = kString, .part = Part::kLambda, .help = "role that the web identity takes on"},
    {.name = "AWS_ROLE_SESSION_NAME", .type = kString, .part = Part::kLambda, .fallback = "worker-agents", .help = "name of its session"},
    {.name = "LAMBDA_ENDPOINT_URL", .type = kUrl, .part = Part::kLambda, .help = "another endpoint"},
    {.name = "LAMBDA_STS_ENDPOINT_URL", .type = kUrl, .part = Part::kLambda, .help = "another endpoint of AWS's token service; unset = the region's own"},
    {.name = "LAMBDA_FUNCTION_NAME", .type = kString, .part = Part::kLambda, .fallback = "neural-hive-executor", .help = "function that runs tickets"},
    {.name = "LAMBDA_ALLOWED_FUNCTIONS", .type = kList, .part = Part::kLambda, .help = "functions that tickets may name (patterns); unset = the configured one"},
    {.name = "LAMBDA_TIMEOUT_SECONDS", .type = kDuration, .part = Part::kLambda, .fallback = "900", .help = "longest call", .min = 1, .max = 900, .unit = kSec},

    // ---- Redis, MongoDB, Neo4j
    {.name = "REDIS_URL", .type = kSecret, .part = Part::kRedis, .help = "address with credentials; wins over host and port"},
    {.name = "REDIS_HOST", .type = kString, .part = Part::kRedis, .fallback = "neural-hive-cache.redis-cluster.svc.cluster.local", .help = "host of Redis"},
    {.name = "REDIS_PORT", .type = kInt, .part = Part::kRedis, .fallback = "6379", .help = "port of Redis", .min = 1, .max = kMaxPort},
    {.name = "REDIS_PASSWORD", .type = kSecret, .part = Part::kRedis, .help = "password"},
    {.name = "REDIS_SSL_ENABLED", .type = kBool, .part = Part::kRedis, .fallback = "false", .help = "TLS to Redis"},
    {.name = "REDIS_ENABLED", .type = kBool, .part = Part::kRedis, .fallback = "true", .help = "find duplicates across workers with Redis"},
    {.name = "MONGODB_URI", .type = kSecret, .part = Part::kMongoDb, .fallback = "mongodb://mongodb.neural-hive-data.svc.cluster.local:27017", .help = "address with credentials"},
    {.name = "MONGODB_DATABASE", .type = kString, .part = Part::kMongoDb, .fallback = "neural_hive_workers", .help = "database"},
    {.name = "MONGODB_DLQ_COLLECTION", .type = kString, .part = Part::kMongoDb, .fallback = "execution_tickets_dlq", .help = "collection of dead letters"},
    {.name = "MONGODB_ENABLED", .type = kBool, .part = Part::kMongoDb, .fallback = "true", .help = "keep dead letters in MongoDB"},
    {.name = "MONGODB_MAX_POOL_SIZE", .type = kInt, .part = Part::kMongoDb, .fallback = "10", .help = "connections", .min = 1, .max = 1000},
    {.name = "MONGODB_SERVER_SELECTION_TIMEOUT_MS", .type = kDuration, .part = Part::kMongoDb, .fallback = "5000", .help = "longest wait for a server", .min = 1, .max = 600'000, .unit = kMs},
    {.name = "NEO4J_ENABLED", .type = kBool, .part = Part::kNeo4j, .fallback = "false", .help = "answer QUERY tickets from Neo4j"},
    {.name = "NEO4J_URI", .type = kUrl, .part = Part::kNeo4j, .fallback = "bolt://neo4j.neural-hive-data.svc.cluster.local:7687", .help = "address"},
    {.name = "NEO4J_USER", .type = kString, .part = Part::kNeo4j, .fallback = "neo4j", .help = "user"},
    {.name = "NEO4J_PASSWORD", .type = kSecret, .part = Part::kNeo4j, .help = "password"},
    {.name = "NEO4J_DATABASE", .type = kString, .part = Part::kNeo4j, .fallback = "neo4j", .help = "database"},
    {.name = "NEO4J_MAX_POOL_SIZE", .type = kInt, .part = Part::kNeo4j, .fallback = "50", .help = "connections", .min = 1, .max = 1000},
    {.name = "NEO4J_CONNECTION_TIMEOUT", .type = kDuration, .part = Part::kNeo4j, .fallback = "30", .help = "longest wait for a connection", .min = 1, .max = 600, .unit = kSec},
    {.name = "NEO4J_ENCRYPTED", .type = kBool, .part = Part::kNeo4j, .fallback = "false", .help = "TLS to Neo4j"},

    // ---- tests
    {.name = "RUN_KAFKA_INTEGRATION_TESTS", .type = kBool, .part = Part::kNothing, .fallback = "false", .help = "read by the tests only: run those that need Kafka"},
});

struct PartSpec {
    Part part;
    std::string_view name;
    bool built;
};
// What this build has. A part that is added flips its line here; nothing else needs to know.
constexpr auto kParts = std::to_array<PartSpec>({
    {Part::kGeneral, "general", true},
    {Part::kEngine, "engine", true},
    {Part::kLocalRuntime, "EXECUTE local", true},
    {Part::kRuntimeChoice, "EXECUTE", true},
    {Part::kTest, "TEST", true},
    {Part::kHttp, "HTTP", true},
    {Part::kLogging, "logs", true},
    {Part::kMetrics, "metrics", true},
    {Part::kStore, "store", true},
    {Part::kKafka, "Kafka", true},
    {Part::kSchemaRegistry, "Schema Registry", true},
    {Part::kDeadLetters, "dead letters", true},
    {Part::kServiceRegistry, "Service Registry", true},
    {Part::kTicketService, "Execution Ticket Service", true},
    {Part::kCodeForge, "Code Forge", true},
    {Part::kBuild, "BUILD", false},
    {Part::kDeploy, "DEPLOY", false},
    {Part::kValidate, "VALIDATE", false},
    {Part::kCiProviders, "CI providers", false},
    {Part::kCompensate, "COMPENSATE", false},
    {Part::kTemporal, "Temporal", false},
    {Part::kTracing, "traces", true},
    {Part::kVault, "Vault", false},
    {Part::kSpiffe, "SPIFFE", false},
    {Part::kDocker, "EXECUTE Docker", true},
    {Part::kKubernetesJobs, "EXECUTE Kubernetes", true},
    {Part::kLambda, "EXECUTE Lambda", true},
    {Part::kRedis, "Redis", true},
    {Part::kMongoDb, "MongoDB", false},
    {Part::kNeo4j, "Neo4j", false},
    {Part::kNothing, "no effect", false},
});
// clang-format on

const PartSpec& part_spec(Part part) {
    const auto* found = std::ranges::find(kParts, part, &PartSpec::part);
    return found == kParts.end() ? kParts.front() : *found;
}

using Index = std::unordered_map<std::string_view, const SettingSpec*>;
const Index& setting_index() {
    static const Index kIndex = [] {
        Index index;
        index.reserve(kSettings.size() * 2);
        for (const SettingSpec& spec : kSettings) {
            index.emplace(spec.name, &spec);
            if (!spec.alias.empty()) index.emplace(spec.alias, &spec);
        }
        return index;
    }();
    return kIndex;
}

}  // namespace

std::string_view to_string(Type type) {
    switch (type) {
        case Type::kString: return "text";
        case Type::kEnum: return "choice";
        case Type::kInt: return "integer";
        case Type::kFloat: return "number";
        case Type::kRatio: return "ratio";
        case Type::kBool: return "boolean";
        case Type::kList: return "list";
        case Type::kDuration: return "duration";
        case Type::kSize: return "size";
        case Type::kPath: return "path";
        case Type::kUrl: return "url";
        case Type::kSecret: return "secret";
    }
    return "text";
}

std::string_view to_string(Part part) {
    return part_spec(part).name;
}
bool is_built(Part part) {
    return part_spec(part).built;
}

std::span<const SettingSpec> all_settings() {
    return kSettings;
}

const SettingSpec* find_setting(std::string_view name) {
    const auto found = setting_index().find(name);
    return found == setting_index().end() ? nullptr : found->second;
}

std::string file_key(std::string_view name) {
    std::string key(name);
    for (char& c : key)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return key;
}

std::string flag_name(const SettingSpec& spec) {
    std::string flag = "--" + file_key(spec.name);
    std::ranges::replace(flag, '_', '-');
    if (spec.type == Type::kSecret) flag += "-file";
    return flag;
}

bool is_strict_environment(std::string_view environment) {
    const std::string lower = file_key(environment);
    return lower == "production" || lower == "staging" || lower == "prod";
}

}  // namespace wa::config
