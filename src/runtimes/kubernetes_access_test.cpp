// Kubeconfigs and the account of a pod: what is taken, what is refused, and what happens when files change.
#include "runtimes/kubernetes_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/codec/text.h"
#include "runtimes/kubernetes_config.h"

namespace wa::kubernetes {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kPem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
const std::string kOther = "-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n";
const std::string kKey = "-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n";

// A kubeconfig with one context; each line is put in as it stands.
std::string config(const std::string& cluster, const std::string& user, const std::string& context = {}) {
    return "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
           "contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\n" +
           context + "clusters:\n- name: c\n  cluster:\n    server: https://10.0.0.1:6443\n" + cluster +
           "users:\n- name: u\n  user:\n    ignored: 1\n" + user;
}

Result<Login> read(const std::string& text, const std::string& context = {}) {
    return read_kubeconfig(text, context, "/etc/wa");
}

std::string refusal(const std::string& text, const std::string& context = {}) {
    const auto login = read(text, context);
    if (login) return "it was taken";
    EXPECT_FALSE(login.error().retryable());
    return login.error().describe() + " / " + login.error().fix;
}

TEST(Kubeconfig, WhatIsInline) {
    const auto login = read(config("    certificate-authority-data: " + base64(kPem) + "\n",
                                   "    client-certificate-data: " + base64(kPem) +
                                       "\n    client-key-data: " + base64(kKey) + "\n    token: abc.def\n",
                                   "    namespace: tasks\n"));
    ASSERT_TRUE(login) << login.error().describe();
    EXPECT_EQ(login->server, "https://10.0.0.1:6443");
    EXPECT_EQ(login->context, "main");
    EXPECT_TRUE(login->tls);
    EXPECT_TRUE(login->verify);
    EXPECT_EQ(login->ca_pem, kPem);
    EXPECT_EQ(login->cert_pem, kPem);
    EXPECT_EQ(login->key_pem, kKey);
    EXPECT_EQ(login->token, "abc.def");
}

TEST(Kubeconfig, FilesCountFromItsFolder) {
    const auto login = read(config("    certificate-authority: ca.crt\n",
                                   "    client-certificate: ../pki/me.crt\n    client-key: /keys/me.key\n"
                                   "    tokenFile: token\n"));
    ASSERT_TRUE(login) << login.error().describe();
    EXPECT_EQ(login->ca_file, "/etc/wa/ca.crt");
    EXPECT_EQ(login->cert_file, "/etc/pki/me.crt");
    EXPECT_EQ(login->key_file, "/keys/me.key");
    EXPECT_EQ(login->token_file, "/etc/wa/token");
}

TEST(Kubeconfig, JsonIsOneToo) {
    const auto login = read(R"({"kind":"Config","apiVersion":"v1","current-context":"x",
        "contexts":[{"name":"x","context":{"cluster":"c","user":"u","namespace":"n"}}],
        "clusters":[{"name":"c","cluster":{"server":"https://k/","insecure-skip-tls-verify":true}}],
        "users":[{"name":"u","user":{"username":"me","password":"pass"}}]})");
    ASSERT_TRUE(login) << login.error().describe();
    EXPECT_EQ(login->server, "https://k");
    EXPECT_FALSE(login->verify);
    EXPECT_EQ(login->user, "me");
    EXPECT_EQ(login->password, "pass");
}

TEST(Kubeconfig, ContextsAreChosenByName) {
    const std::string text =
        "current-context: a\n"
        "contexts: [{name: a, context: {cluster: ca}}, {name: b, context: {cluster: cb, user: ''}}, {name: 7}]\n"
        "clusters: [{name: ca, cluster: {server: https://a}}, {name: cb, cluster: {server: 'https://b/k8s/x/'}}]\n";
    EXPECT_EQ(read(text)->server, "https://a");
    const auto other = read(text, "b");
    ASSERT_TRUE(other) << other.error().describe();
    EXPECT_EQ(other->server, "https://b/k8s/x") << "a path stays";
    EXPECT_FALSE(other->has_secret());
    EXPECT_THAT(refusal(text, "z"), HasSubstr("no context 'z'; there are 'a', 'b', '7'"));
    EXPECT_THAT(refusal(text, "7"), HasSubstr("names no cluster"));
    EXPECT_THAT(refusal("contexts: []\n"), HasSubstr("K8S_JOBS_CONTEXT"));
}

TEST(Kubeconfig, AnchorsMayBeUsed) {
    const auto login = read(
        "current-context: a\n"
        "contexts: [{name: a, context: &same {cluster: c}}, {name: b, context: *same}]\n"
        "clusters: [{name: c, cluster: {server: https://a}}]\n",
        "b");
    EXPECT_TRUE(login) << login.error().describe();
}

TEST(Kubeconfig, WhatIsRefusedIsNamed) {
    const auto user = [](const std::string& lines) { return refusal(config("", lines)); };
    const auto cluster = [](const std::string& lines) { return refusal(config(lines, "")); };
    EXPECT_THAT(user("    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [secret-1]}\n"),
                AllOf(HasSubstr("exec plug-in ('aws')"), HasSubstr("service account"), Not(HasSubstr("secret-1"))));
    EXPECT_THAT(user("    auth-provider: {name: oidc}\n"), HasSubstr("auth-provider"));
    EXPECT_THAT(user("    as: admin\n"), HasSubstr("acting as somebody else"));
    EXPECT_THAT(user("    as-groups: [a]\n"), HasSubstr("as-groups"));
    EXPECT_THAT(user("    as-user-extra: {a: [b]}\n"), HasSubstr("as-user-extra"));
    EXPECT_THAT(cluster("    proxy-url: http://proxy:1\n"), HasSubstr("proxy-url"));
    EXPECT_THAT(cluster("    tls-server-name: k\n"), HasSubstr("tls-server-name"));
    EXPECT_THAT(cluster("    insecure-skip-tls-verify: maybe\n"), HasSubstr("neither true nor false"));
    EXPECT_THAT(cluster("    insecure-skip-tls-verify: true\n    certificate-authority: x\n"),
                HasSubstr("has a certificate authority"));
    EXPECT_THAT(cluster("    certificate-authority-data: '%%%'\n"), HasSubstr("is not Base64"));
    EXPECT_THAT(cluster("    certificate-authority-data: " + base64("plain") + "\n"), HasSubstr("holds no PEM"));
    EXPECT_THAT(user("    client-certificate: x\n"), HasSubstr("no client key"));
    EXPECT_THAT(user("    client-key: x\n"), HasSubstr("without its certificate"));
    EXPECT_THAT(user("    token: a\n    username: b\n"), HasSubstr("has a token, and a password"));
    EXPECT_THAT(user("    username: 'b:c'\n"), HasSubstr("colon"));
    EXPECT_THAT(user("    password: b\n"), HasSubstr("without a username"));
    EXPECT_THAT(user("    token: [a]\n"), HasSubstr("is not a text"));
    EXPECT_THAT(refusal("kind: Secret\n"), HasSubstr("its kind is 'Secret'"));
    EXPECT_THAT(refusal("apiVersion: v2\n"), HasSubstr("its apiVersion is 'v2'"));
    EXPECT_THAT(refusal("[1]\n"), HasSubstr("not a mapping"));
    EXPECT_THAT(refusal(""), HasSubstr("not a mapping"));
}

TEST(Kubeconfig, EmptyFieldsAreAbsent) {
    const auto login = read(config("    proxy-url: ''\n    certificate-authority-data:\n",
                                   "    exec: null\n    as-groups: []\n    as-user-extra: {}\n    token: ''\n"));
    ASSERT_TRUE(login) << login.error().describe();
    EXPECT_FALSE(login->has_secret());
}

TEST(Kubeconfig, ReferencesThatLeadNowhere) {
    const std::string good = config("", "");
    const auto without = [&](const std::string& from, const std::string& to) {
        std::string text = good;
        text.replace(text.find(from), from.size(), to);
        return refusal(text);
    };
    EXPECT_THAT(without("user: u\n", "user: other\n"), HasSubstr("no user 'other'; there are 'u'"));
    EXPECT_THAT(without("cluster: c\n", "cluster: d\n"), HasSubstr("no cluster 'd'; there are 'c'"));
    EXPECT_THAT(without("server: https://10.0.0.1:6443\n", "x: 1\n"), HasSubstr("has no server"));
    EXPECT_THAT(without("https://10.0.0.1:6443", "10.0.0.1:6443"), HasSubstr("begins neither"));
    EXPECT_THAT(without("https://10.0.0.1:6443", "https://me:word@k"),
                AllOf(HasSubstr("no password"), Not(HasSubstr("word@"))));
    EXPECT_THAT(without("https://10.0.0.1:6443", "https://k?a=b"), HasSubstr("no query"));
    EXPECT_THAT(refusal(good + "- name: u\n  user: {}\n"), HasSubstr("user 'u' twice"));
    EXPECT_THAT(refusal(good + "- name: u\n  user: 1\n"), HasSubstr("twice"));
    EXPECT_THAT(without("    ignored: 1\n", ""), Not(HasSubstr("Base64"))) << "a user without anything is nobody";
}

TEST(Kubeconfig, HostileTexts) {
    EXPECT_THAT(refusal(config("", "    token: \"secret-word\n")), Not(HasSubstr("secret-word")));
    EXPECT_THAT(refusal(config("", "    token: secret-word: x\n")), Not(HasSubstr("secret-word")));
    EXPECT_THAT(refusal(config("", "    token: \"secret\\nword\"\n")),
                AllOf(HasSubstr("token"), Not(HasSubstr("secret"))));
    EXPECT_THAT(refusal(config("", "    client-key-data: secret-word!\n")), Not(HasSubstr("secret-word")));
    EXPECT_THAT(refusal(config("", "    tokenFile: \"a\\0b\"\n")), HasSubstr("NUL"));
    EXPECT_THAT(refusal(std::string(kMaxKubeconfigBytes + 1, ' ')), HasSubstr("1 MiB"));
    EXPECT_THAT(refusal("a: " + std::string(1000, '[')), HasSubstr("not YAML"));
    EXPECT_THAT(refusal(std::string("\xff\xfe", 2)), HasSubstr("not YAML"));
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; ++i) {
        const std::string name = "a" + std::to_string(i);
        const std::string last = "*a" + std::to_string(i - 1);
        bomb += name + ": &" + name + " [";
        for (int k = 0; k < 10; ++k)
            bomb += last + ", ";
        bomb += "]\n";
    }
    EXPECT_THAT(refusal(bomb), HasSubstr("not YAML"));
    std::string crowd = "current-context: z\ncontexts:\n";
    for (int i = 0; i < 3000; ++i)
        crowd += "- name: " + std::string(50, 'n') + std::to_string(i) + "\n";
    EXPECT_LT(refusal(crowd).size(), 1500U);
}

class AccessTest : public ::testing::Test {
protected:
    AccessTest() : folder_(fs::temp_directory_path() / ("wa-access-" + std::to_string(::getpid()))) {
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    [[nodiscard]] std::string file(const std::string& name) const { return (folder_ / name).string(); }
    // As secrets are replaced: a new file in place of the old one.
    void put(const std::string& name, const std::string& text) const {
        std::ofstream(file("new")) << text;
        fs::rename(file("new"), file(name));
    }
    Result<Access> open_config(const std::string& text, const std::string& context = {}) {
        put("config", text);
        return Access::open({.kubeconfig = file("config"), .context = context});
    }
    Result<Access> open_pod(const std::string& host = "10.96.0.1") {
        return Access::open({.service_host = host, .account_folder = folder_.string()});
    }

    // "<url> <value of Authorization>"
    static std::string sent(Access& access) {
        http::Request request{.url = "/version"};
        const auto applied = access.apply(request);
        if (!applied) return applied.error().describe();
        std::string text = request.url;
        for (const http::Header& header : request.headers)
            text += " " + header.name + "=" + header.value;
        return text;
    }

    fs::path folder_;
};

TEST_F(AccessTest, InAPod) {
    put("token", "pod-token\n");
    auto access = open_pod();
    ASSERT_TRUE(access) << access.error().describe();
    EXPECT_EQ(access->server(), "https://10.96.0.1:443");
    http::Request request{.url = "/version", .headers = {{"authorization", "Bearer old"}, {"Accept", "x"}}};
    ASSERT_TRUE(access->apply(request));
    EXPECT_EQ(request.url, "https://10.96.0.1:443/version");
    EXPECT_THAT(request.headers,
                ::testing::ElementsAre(http::Header{"Accept", "x"}, http::Header{"Authorization", "Bearer pod-token"}))
        << "one that is there is replaced";
    ASSERT_TRUE(request.tls);
    EXPECT_TRUE(request.tls->verify);
    EXPECT_EQ(request.tls->ca_file, file("ca.crt"));
    put("token", "rotated");
    EXPECT_EQ(sent(*access), "https://10.96.0.1:443/version Authorization=Bearer rotated");
    EXPECT_EQ(open_pod("fd00::1")->server(), "https://[fd00::1]:443");
    EXPECT_EQ(open_pod("a b").error().code, ErrorCode::kInvalidArgument);
}

TEST_F(AccessTest, NotInAPod) {
    const auto nowhere = open_pod("");
    ASSERT_FALSE(nowhere);
    EXPECT_EQ(nowhere.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(nowhere.error().fix, HasSubstr("K8S_JOBS_KUBECONFIG_PATH"));
    const auto no_account = open_pod();
    ASSERT_FALSE(no_account);
    EXPECT_EQ(no_account.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(no_account.error().fix, HasSubstr("automountServiceAccountToken"));
    put("token", " \n");
    EXPECT_THAT(open_pod().error().message, HasSubstr("is empty"));
}

TEST_F(AccessTest, TheLastGoodTokenStays) {
    put("token", "first");
    auto access = open_pod();
    ASSERT_TRUE(access);
    for (const std::string& bad :
         {std::string(), std::string("two words"), std::string("a\r\nX: y"), std::string(100'000, 'x')}) {
        put("token", bad);
        EXPECT_THAT(sent(*access), HasSubstr("Bearer first")) << bad.substr(0, 20);
    }
    fs::remove(file("token"));
    EXPECT_THAT(sent(*access), HasSubstr("Bearer first"));
    put("token", "second");
    EXPECT_THAT(sent(*access), HasSubstr("Bearer second"));
}

TEST_F(AccessTest, ATokenFileBesideAToken) {
    auto access = open_config(config("", "    token: inline\n    tokenFile: my-token\n"));
    ASSERT_TRUE(access) << access.error().describe();
    EXPECT_THAT(sent(*access), HasSubstr("Bearer inline")) << "the file cannot be read";
    put("my-token", "\n from-file \n");
    EXPECT_THAT(sent(*access), ::testing::EndsWith("Bearer from-file"));
    auto without = open_config(config("", "    tokenFile: absent\n"));
    ASSERT_TRUE(without);
    http::Request request{.url = "/version"};
    const auto applied = without->apply(request);
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(applied.error().retryable());
    put("absent", "secret\tword");
    const auto unfit = without->apply(request);
    ASSERT_FALSE(unfit);
    EXPECT_THAT(unfit.error().describe(), Not(HasSubstr("secret")));
}

TEST_F(AccessTest, TlsOfAConfig) {
    auto access = open_config(
        config("    certificate-authority-data: " + base64(kPem) + "\n    certificate-authority: file.crt\n",
               "    client-certificate-data: " + base64(kOther) + "\n    client-key: me.key\n"));
    ASSERT_TRUE(access) << access.error().describe();
    http::Request request{.url = "/version"};
    ASSERT_TRUE(access->apply(request));
    ASSERT_TRUE(request.tls);
    EXPECT_EQ(request.tls->ca_pem, kPem) << "what is inline wins over the file";
    EXPECT_EQ(request.tls->client_cert_pem, kOther);
    EXPECT_EQ(request.tls->client_key, file("me.key"));
    EXPECT_TRUE(request.headers.empty());
    EXPECT_FALSE(access->apply(request)) << "done twice, it would lead elsewhere";
}

TEST_F(AccessTest, ACheckThatIsLeftOut) {
    auto access = open_config(config("    insecure-skip-tls-verify: true\n", "    username: me\n    password: word\n"));
    ASSERT_TRUE(access);
    http::Request request{.url = "/x"};
    ASSERT_TRUE(access->apply(request));
    EXPECT_FALSE(request.tls->verify);
    EXPECT_EQ(request.headers.at(0).value, "Basic " + base64("me:word"));
}

TEST_F(AccessTest, AConfigIsReadAgain) {
    auto access = open_config(config("", "    token: one\n"));
    ASSERT_TRUE(access);
    EXPECT_EQ(sent(*access), "https://10.0.0.1:6443/version Authorization=Bearer one");
    put("config", config("", "    token: two\n"));
    EXPECT_THAT(sent(*access), HasSubstr("Bearer two"));
    put("config", "{[ nothing usable");
    EXPECT_THAT(sent(*access), HasSubstr("Bearer two"));
    put("config", config("", "    exec: {command: x}\n"));
    EXPECT_THAT(sent(*access), HasSubstr("Bearer two"));
    fs::remove(file("config"));
    EXPECT_THAT(sent(*access), HasSubstr("Bearer two"));
    put("config", config("", "    client-certificate: a\n    client-key: b\n"));
    EXPECT_EQ(sent(*access), "https://10.0.0.1:6443/version") << "the old token is not sent any more";
}

TEST_F(AccessTest, TheContextStays) {
    const std::string rest =
        "contexts: [{name: a, context: {cluster: ca}}, {name: b, context: {cluster: cb}}]\n"
        "clusters: [{name: ca, cluster: {server: https://a}}, {name: cb, cluster: {server: https://b}}]\n";
    auto access = open_config("current-context: a\n" + rest);
    ASSERT_TRUE(access);
    put("config", "current-context: b\n" + rest);
    EXPECT_EQ(sent(*access), "https://a/version");
    EXPECT_EQ(open_config("current-context: b\n" + rest)->server(), "https://b");
    EXPECT_EQ(open_config("current-context: b\n" + rest, "a")->server(), "https://a");
}

TEST_F(AccessTest, NoSecretInTheClear) {
    const auto clear = [](std::string text, const std::string& server) {
        const std::string from = "https://10.0.0.1:6443";
        return text.replace(text.find(from), from.size(), server);
    };
    const std::string with_token = config("", "    token: t\n");
    const auto refused = open_config(clear(with_token, "http://10.0.0.1:8080"));
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("http://"));
    EXPECT_TRUE(open_config(clear(config("", ""), "http://10.0.0.1:8080"))) << "there is nothing to see";
    for (const char* here : {"http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001"})
        EXPECT_TRUE(open_config(clear(with_token, here))) << here;
}

TEST_F(AccessTest, ConfigsThatCannotBeOpened) {
    const auto absent = Access::open({.kubeconfig = file("absent")});
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(absent.error().message, HasSubstr("kubeconfig '" + file("absent")));
    EXPECT_EQ(Access::open({.kubeconfig = folder_.string()}).error().code, ErrorCode::kUnavailable);
    const auto wrong = open_config("a: [");
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(wrong.error().message, HasSubstr(file("config")));
    EXPECT_FALSE(wrong.error().fix.empty());
}

}  // namespace
}  // namespace wa::kubernetes
