// What a ticket may ask of the Kubernetes runtime, and the Job that is made of it (contract/executors.md 6.1, 6.3).
#include "runtimes/kubernetes_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "runtimes/kubernetes_api.h"
#include "runtimes/kubernetes_place.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class KubernetesTaskTest : public ::testing::Test {
protected:
    Result<JobTask> parse(const json::object& more = {}) {
        ticket.parameters = {{"command", json::array{"echo", "x"}}, {"image", "busybox:1"}};
        for (const auto& [key, value] : more)
            ticket.parameters[key] = value;
        return parse_task(ticket, rules);
    }
    JobTask good(const json::object& more = {}) {
        auto task = parse(more);
        EXPECT_TRUE(task) << task.error().message;
        return task ? std::move(*task) : JobTask{};
    }
    Error refused(const json::object& more) {
        const auto task = parse(more);
        EXPECT_FALSE(task) << json::serialize(more);
        if (task) return {};
        EXPECT_FALSE(task.error().retryable());
        EXPECT_EQ(task.error().fault, Fault::kInput);
        return task.error();
    }
    json::object body(const json::object& more = {}) {
        const std::string text = job_body(good(more), rules, marks);
        return json::parse(text).as_object();
    }
    json::object pod(const json::object& more = {}) {
        return body(more).at("spec").at("template").at("spec").as_object();
    }
    json::object container(const json::object& more = {}) {
        const json::object spec = pod(more);
        EXPECT_EQ(spec.at("containers").as_array().size(), 1U);
        return spec.at("containers").as_array().at(0).as_object();
    }

    JobRules rules;
    JobMarks marks{"exec-0123456789-1", {{"l", "v"}}, {{"a", "any text\n"}}, std::chrono::seconds(90)};
    Ticket ticket;
};

// ---- the manifest: every promise of executors.md 6.3

TEST_F(KubernetesTaskTest, TheJob) {
    const json::object job = body();
    EXPECT_EQ(job.at("apiVersion").as_string(), "batch/v1");
    EXPECT_EQ(job.at("kind").as_string(), "Job");
    const json::object& meta = job.at("metadata").as_object();
    EXPECT_EQ(meta.at("name").as_string(), "exec-0123456789-1");
    EXPECT_EQ(meta.at("labels"), (json::object{{"l", "v"}}));
    EXPECT_EQ(meta.at("annotations"), (json::object{{"a", "any text\n"}}));
    EXPECT_FALSE(meta.contains("namespace"));  // the path says it
    const json::object& spec = job.at("spec").as_object();
    EXPECT_EQ(spec.at("backoffLimit"), 0);
    EXPECT_EQ(spec.at("ttlSecondsAfterFinished"), 86'400);
    EXPECT_EQ(spec.at("activeDeadlineSeconds"), 90);
    EXPECT_EQ(spec.at("template").at("metadata").at("labels"), meta.at("labels"));
    rules.backoff_limit = 3;
    rules.ttl = std::chrono::seconds(300);
    marks.deadline = {};
    const json::object other = body().at("spec").as_object();
    EXPECT_EQ(other.at("backoffLimit"), 3);
    EXPECT_EQ(other.at("ttlSecondsAfterFinished"), 300);
    EXPECT_FALSE(other.contains("activeDeadlineSeconds"));
}

TEST_F(KubernetesTaskTest, ThePodGivesAwayNothing) {
    const json::object spec = pod();
    EXPECT_EQ(spec.at("restartPolicy").as_string(), "Never");
    EXPECT_EQ(spec.at("automountServiceAccountToken"), false);
    EXPECT_EQ(spec.at("enableServiceLinks"), false);
    EXPECT_EQ(spec.at("terminationGracePeriodSeconds"), 10);
    EXPECT_EQ(spec.at("volumes"),
              (json::array{json::object{{"name", "tmp"}, {"emptyDir", json::object{{"sizeLimit", "64Mi"}}}}}));
    for (const char* key : {"hostNetwork", "hostPID", "hostIPC", "nodeName", "initContainers", "serviceAccountName",
                            "imagePullSecrets", "nodeSelector", "tolerations", "runtimeClassName"})
        EXPECT_FALSE(spec.contains(key)) << key;
    rules.service_account = "executor";
    rules.pull_secrets = {"one", "two"};
    rules.node_selector = {{"disk", "ssd"}};
    rules.tolerations = {json::object{{"key", "jobs"}, {"operator", "Exists"}}};
    rules.runtime_class = "gvisor";
    rules.automount_token = true;
    const json::object full = pod();
    EXPECT_EQ(full.at("serviceAccountName").as_string(), "executor");
    EXPECT_EQ(full.at("automountServiceAccountToken"), true);
    EXPECT_EQ(full.at("imagePullSecrets"), (json::array{json::object{{"name", "one"}}, json::object{{"name", "two"}}}));
    EXPECT_EQ(full.at("nodeSelector"), (json::object{{"disk", "ssd"}}));
    EXPECT_EQ(full.at("tolerations"), json::value(rules.tolerations));
    EXPECT_EQ(full.at("runtimeClassName").as_string(), "gvisor");
}

TEST_F(KubernetesTaskTest, TheContainerHasNoPrivileges) {
    const json::object one = container({{"working_dir", "/w"}, {"env_vars", json::object{{"A", "b"}}}});
    EXPECT_EQ(one.at("name").as_string(), "executor");
    EXPECT_EQ(one.at("image").as_string(), "busybox:1");
    EXPECT_EQ(one.at("imagePullPolicy").as_string(), "IfNotPresent");
    EXPECT_EQ(one.at("command"), (json::array{"echo", "x"}));
    EXPECT_EQ(one.at("workingDir").as_string(), "/w");
    EXPECT_EQ(one.at("env"), (json::array{json::object{{"name", "HOME"}, {"value", "/tmp"}},
                                          json::object{{"name", "A"}, {"value", "b"}}}));
    EXPECT_EQ(one.at("volumeMounts"), (json::array{json::object{{"name", "tmp"}, {"mountPath", "/tmp"}}}));
    const json::object& security = one.at("securityContext").as_object();
    EXPECT_EQ(security.at("runAsNonRoot"), true);
    EXPECT_EQ(security.at("runAsUser"), 1000);
    EXPECT_EQ(security.at("runAsGroup"), 1000);
    EXPECT_EQ(security.at("readOnlyRootFilesystem"), true);
    EXPECT_EQ(security.at("allowPrivilegeEscalation"), false);
    EXPECT_EQ(security.at("privileged"), false);
    EXPECT_EQ(security.at("capabilities"), (json::object{{"drop", json::array{"ALL"}}}));
    EXPECT_EQ(security.at("seccompProfile"), (json::object{{"type", "RuntimeDefault"}}));
    EXPECT_FALSE(container().contains("workingDir"));
    // The ticket's own HOME, once.
    EXPECT_EQ(container({{"env_vars", json::object{{"HOME", "/w"}}}}).at("env"),
              (json::array{json::object{{"name", "HOME"}, {"value", "/w"}}}));
    rules.read_only = false;
    const json::object user = container({{"user", "1234:99"}}).at("securityContext").as_object();
    EXPECT_EQ(user.at("readOnlyRootFilesystem"), false);
    EXPECT_EQ(user.at("runAsUser"), 1234);
    EXPECT_EQ(user.at("runAsGroup"), 99);
    EXPECT_EQ(container({{"user", "7"}}).at("securityContext").at("runAsGroup"), 7);
}

TEST_F(KubernetesTaskTest, Amounts) {
    const auto resources = [this](const json::object& more) { return container(more).at("resources").as_object(); };
    EXPECT_EQ(resources({}),
              (json::object{
                  {"requests", json::object{{"cpu", "100m"}, {"memory", "128Mi"}}},
                  {"limits", json::object{{"cpu", "1000m"}, {"memory", "512Mi"}, {"ephemeral-storage", "1024Mi"}}}}));
    rules.ephemeral_bytes = 0;
    const json::object all =
        resources({{"cpu_request", "0.5"}, {"cpu_limit", 2}, {"memory_request", "64Mi"}, {"memory_limit", "1g"}});
    EXPECT_EQ(all.at("requests"), (json::object{{"cpu", "500m"}, {"memory", "64Mi"}}));
    EXPECT_EQ(all.at("limits"), (json::object{{"cpu", "2000m"}, {"memory", "1024Mi"}}));
    // What a ticket says bends what it does not say, in both directions.
    const JobTask little = good({{"cpu_limit", "50m"}, {"memory_limit", "32Mi"}});
    EXPECT_EQ(little.cpu_request_millis, 50U);
    EXPECT_EQ(little.memory_request, 32U << 20U);
    const JobTask much = good({{"cpu_request", "4"}, {"memory_request", "2Gi"}});
    EXPECT_EQ(much.cpu_limit_millis, 4000U);
    EXPECT_EQ(much.memory_limit, 2ULL << 30U);
    EXPECT_THAT(refused({{"cpu_request", "2"}, {"cpu_limit", "1"}}).message, HasSubstr("more than cpu_limit"));
    EXPECT_THAT(refused({{"memory_request", "2g"}, {"memory_limit", "1g"}}).field, HasSubstr("memory_request"));
    for (const char* bad : {"many", "-1", "0", "1e400", "1 000", "nan", "0x10"}) {
        static_cast<void>(refused({{"cpu_limit", bad}}));
        static_cast<void>(refused({{"memory_limit", bad}}));
    }
}

// The cluster expands $(NAME) and turns $$ into $ in commands and variables.
TEST_F(KubernetesTaskTest, ADollarMeansADollar) {
    const json::object one = container({{"command", json::array{"sh", "-c", "kill -9 $$; echo $(HOME) $$(HOME) $"}},
                                        {"args", json::array{"$(A)", "no sign"}},
                                        {"env_vars", json::object{{"A", "x$$y$(HOME)"}}},
                                        {"working_dir", "/w$(HOME)"}});
    EXPECT_EQ(one.at("command"),
              (json::array{"sh", "-c", "kill -9 $$$$; echo $$(HOME) $$$$(HOME) $$", "$$(A)", "no sign"}));
    EXPECT_EQ(one.at("env").as_array().at(1).at("value").as_string(), "x$$$$y$$(HOME)");
    EXPECT_EQ(one.at("workingDir").as_string(), "/w$(HOME)");  // nothing is expanded there
    EXPECT_FALSE(one.contains("args"));
    // What is shown to people is what the ticket says.
    EXPECT_THAT(good({{"command", json::array{"echo", "$HOME"}}}).shown, Not(HasSubstr("$$")));
}

TEST_F(KubernetesTaskTest, TextsOfAllKindsComeThroughWhole) {
    const std::string odd = "\"quotes\" \\ \n \t \x01 \xC3\xA9 \xE2\x82\xAC";
    EXPECT_EQ(container({{"command", json::array{"printf", odd}}}).at("command").as_array().at(1).as_string(), odd);
    EXPECT_EQ(container({{"env_vars", json::object{{"A", odd}}}}).at("env").as_array().at(1).at("value").as_string(),
              odd);
}

// ---- parameters: executors.md 6.1

TEST_F(KubernetesTaskTest, CommandsAreWordsAndNeverLeftOut) {
    EXPECT_EQ(good({{"command", "sh -c 'echo hi'"}}).words, (std::vector<std::string>{"sh", "-c", "echo hi"}));
    EXPECT_EQ(good({{"command", json::array{"a b"}}, {"args", json::array{"c"}}}).words,
              (std::vector<std::string>{"a b", "c"}));
    EXPECT_EQ(good({{"command", "echo $X | cat"}, {"shell", true}}).words,
              (std::vector<std::string>{"sh", "-c", "echo $X | cat", "sh"}));
    for (const json::value& bad : {json::value(""), json::value(json::array{}), json::value(json::object{}),
                                   json::value(nullptr), json::value("'")})
        static_cast<void>(refused({{"command", bad}}));
}

TEST_F(KubernetesTaskTest, ImagesAreThoseThatAreAllowed) {
    ticket.parameters = {{"command", "true"}};
    EXPECT_EQ(parse_task(ticket, rules)->image.text, "python:3.11-slim");
    static_cast<void>(refused({{"image", "not an image"}}));
    rules.allowed_images = {"registry.example.com/*"};
    const Error other = refused({});
    EXPECT_EQ(other.code, ErrorCode::kNotAllowed);
    EXPECT_THAT(other.fix, HasSubstr("EXECUTE_ALLOWED_IMAGES"));
    EXPECT_TRUE(parse({{"image", "registry.example.com/tool:1"}}));
    rules.allowed_images = {};
    EXPECT_EQ(refused({}).code, ErrorCode::kNotAllowed);
}

TEST_F(KubernetesTaskTest, PullPolicies) {
    EXPECT_EQ(good({{"pull_policy", "missing"}}).pull_policy, "IfNotPresent");
    EXPECT_EQ(good({{"pull_policy", "always"}}).pull_policy, "Always");
    EXPECT_EQ(good({{"pull_policy", "never"}}).pull_policy, "Never");
    rules.pull_policy = "Always";
    EXPECT_EQ(good().pull_policy, "Always");
    static_cast<void>(refused({{"pull_policy", "sometimes"}}));
}

TEST_F(KubernetesTaskTest, ServiceAccountsAreThoseThatAreAllowed) {
    EXPECT_EQ(refused({{"service_account", "default"}}).code, ErrorCode::kNotAllowed);
    rules.service_account = "executor";
    const JobTask usual = good();
    EXPECT_EQ(usual.service_account, "executor");
    EXPECT_FALSE(usual.mounts_token);
    const JobTask asked = good({{"service_account", "executor"}});
    EXPECT_TRUE(asked.mounts_token);  // who asks for it wants to use it
    EXPECT_EQ(refused({{"service_account", "admin"}}).code, ErrorCode::kNotAllowed);
    rules.allowed_accounts = {"reader"};
    EXPECT_EQ(good({{"service_account", "reader"}}).service_account, "reader");
    EXPECT_THAT(refused({{"service_account", "executor"}}).fix, HasSubstr("K8S_JOBS_ALLOWED_SERVICE_ACCOUNTS"));
}

TEST_F(KubernetesTaskTest, WhatATicketMayNotHave) {
    for (const char* key : {"mounts", "volumes", "binds", "privileged", "devices", "cap_add", "pid_mode", "ipc_mode",
                            "security_opt", "host_network", "host_pid", "node_name", "init_containers", "sidecars"}) {
        EXPECT_EQ(refused({{key, "x"}}).code, ErrorCode::kNotAllowed) << key;
        EXPECT_EQ(refused({{key, true}}).code, ErrorCode::kNotAllowed) << key;
        EXPECT_EQ(refused({{key, json::object{{"a", 1}}}}).code, ErrorCode::kNotAllowed) << key;
        EXPECT_TRUE(parse({{key, false}})) << key;
    }
    for (const char* network : {"host", "none", "container:other"})
        EXPECT_EQ(refused({{"network_mode", network}}).code, ErrorCode::kNotAllowed) << network;
    EXPECT_TRUE(parse({{"network_mode", "bridge"}}));
    for (const char* user : {"0", "0:0", "000", "root", "1000:staff", "-1", "1000:", "99999999999", ":1", "1:2:3"})
        static_cast<void>(refused({{"user", user}}));
    EXPECT_EQ(refused({{"stdin", "x"}}).code, ErrorCode::kUnsupported);
    EXPECT_EQ(refused({{"secrets", json::object{{"A", "b"}}}}).code, ErrorCode::kUnsupported);
    for (const char* folder : {"relative", "../up"})
        static_cast<void>(refused({{"working_dir", folder}}));
    for (const char* name : {"", "A=B", "A B", "A\n"})
        static_cast<void>(refused({{"env_vars", json::object{{name, "x"}}}}));
    static_cast<void>(refused({{"env_vars", json::object{{"A", std::string("a\0b", 3)}}}}));
    static_cast<void>(refused({{"timeout_seconds", 0}}));
    static_cast<void>(refused({{"timeout_seconds", "soon"}}));
    static_cast<void>(refused({{"max_output_bytes", -1}}));
}

TEST_F(KubernetesTaskTest, LimitsOfTheOutputAndTheTime) {
    EXPECT_EQ(good({{"timeout_seconds", 1.5}}).timeout, std::chrono::milliseconds(1500));
    EXPECT_FALSE(good().timeout);
    EXPECT_EQ(good({{"max_output_bytes", 100}}).max_output_bytes, 100U);
    EXPECT_EQ(good({{"max_output_bytes", 1LL << 40}}).max_output_bytes, rules.max_output_bytes);
    EXPECT_TRUE(good({{"retry_on_exit_codes", json::array{3}}}).retry.includes(3));
}

TEST_F(KubernetesTaskTest, SecretsAreFoundAndNotShown) {
    const JobTask task = good({{"command", json::array{"login", "--token=hidden-value-1"}},
                               {"env_vars", json::object{{"API_TOKEN", "hidden-value-2"}, {"PLAIN", "seen-value"}}}});
    EXPECT_THAT(task.secrets, ::testing::UnorderedElementsAre("hidden-value-1", "hidden-value-2"));
    EXPECT_THAT(task.shown, Not(HasSubstr("hidden")));
    // An error names the variable, never its value.
    EXPECT_THAT(refused({{"env_vars", json::object{{"MY SECRET", "hidden-value-3"}}}}).describe(),
                Not(HasSubstr("hidden")));
}

// ---- names

TEST(KubernetesNames, LabelsHoldAnyText) {
    EXPECT_EQ(label_value("plain-1.2_x"), "plain-1.2_x");
    EXPECT_EQ(label_value(std::string(63, 'a')), std::string(63, 'a'));
    for (const std::string& text :
         {std::string(), std::string(64, 'a'), std::string("-a"), std::string("a-"), std::string("a/b"),
          std::string("\xC3\xA9"), std::string("a b"), std::string(".")}) {
        EXPECT_THAT(label_value(text), MatchesRegex("sha256-[0-9a-f]{40}")) << text;
        EXPECT_EQ(label_value(label_value(text)), label_value(text));
    }
    EXPECT_NE(label_value("a b"), label_value("a c"));
}

TEST(KubernetesNames, JobsAreNamedAfterTheirTicketAndAttempt) {
    EXPECT_THAT(job_name("domain", "t-1", 2), MatchesRegex("exec-[0-9a-f]{10}-2"));
    EXPECT_EQ(job_name("domain", "t-1", 2), job_name("domain", "t-1", 2));
    EXPECT_NE(job_name("domain", "t-1", 2), job_name("domain", "t-2", 2));
    EXPECT_NE(job_name("domain", "t-1", 2), job_name("other", "t-1", 2));
    EXPECT_LE(job_name("d", "t", 2'147'483'647).size(), 63U);  // it is a label of its pods, too
    EXPECT_EQ(selector_text({{"a", "1"}, {"b", "2"}}), "a=1,b=2");
    EXPECT_THAT(domain_selector("my domain"), HasSubstr("app.kubernetes.io/managed-by=worker-agents"));
    EXPECT_THAT(domain_selector("my domain"), HasSubstr("neural-hive.io/domain=sha256-"));
}

}  // namespace
}  // namespace wa::kubernetes
