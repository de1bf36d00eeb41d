// Whether the Kubernetes runtime can be used, and what it says when it cannot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "http_client/testing/raw_server.h"
#include "runtimes/kubernetes.h"

namespace wa {
namespace {

namespace fs = std::filesystem;
using http::testing::RawServer;
using http::testing::reply;
using http::testing::run_until;
using http::testing::Seen;
using ::testing::HasSubstr;

class KubernetesReachTest : public ::testing::Test {
protected:
    KubernetesReachTest() : folder_(fs::temp_directory_path() / ("wa-reach-" + std::to_string(::getpid()))) {
        fs::create_directories(folder_);
        options_.enabled = true;
        options_.name_space = "tasks";
        options_.access.kubeconfig = (folder_ / "config").string();
        options_.keeper.worker = "w";
        options_.keeper.domain = "d";
        options_.probe_interval = std::chrono::milliseconds(20);
    }
    void TearDown() override { fs::remove_all(folder_); }

    void put(const std::string& name, const std::string& text) const {
        std::ofstream(folder_ / "new") << text;
        fs::rename(folder_ / "new", folder_ / name);
    }
    [[nodiscard]] std::string config(const std::string& user) const {
        return "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
               "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:" +
               std::to_string(server_.port()) + "'}}]\nusers: [{name: u, user: {" + user + "}}]\n";
    }
    void begin() {
        runtime_.emplace(loop_, clock_, random_, client_, nullptr, options_);
        bool begun = false;
        runtime_->begin([&] { begun = true; });
        EXPECT_FALSE(begun) << "never from inside";
        ASSERT_TRUE(run_until(loop_, [&] { return begun; }));
    }
    bool becomes_available() {
        return run_until(loop_, [&] { return runtime_->availability().available; });
    }

    boost::asio::io_context loop_;
    int status_ = 200;
    // As much of an API server as is asked for before the first ticket.
    RawServer server_{loop_, [this](const Seen& seen) {
                          if (status_ != 200) return reply(status_, R"({"kind":"Status","message":"not now"})");
                          if (seen.target == "/version") return reply(200, R"({"gitVersion":"v1.2.3"})");
                          if (seen.target.find("selfsubjectaccessreviews") != std::string::npos)
                              return reply(201, R"({"status":{"allowed":true}})");
                          return reply(200, R"({"kind":"JobList","metadata":{"resourceVersion":"1"},"items":[]})");
                      }};
    SystemClock clock_;
    SeededRandom random_{1};
    http::Client client_{loop_, clock_, {}};
    fs::path folder_;
    KubernetesOptions options_;
    std::optional<KubernetesRuntime> runtime_;
};

TEST_F(KubernetesReachTest, AKubeconfigThatComesLater) {
    begin();
    Availability now = runtime_->availability();
    EXPECT_FALSE(now.available);
    EXPECT_EQ(now.reason, Unavailable::kUnreachable) << "a ticket that has a Job must not run elsewhere meanwhile";
    EXPECT_THAT(now.detail, HasSubstr("cannot read the kubeconfig"));
    EXPECT_THAT(runtime_->fix(), HasSubstr("check the path"));
    put("config", config("token: t"));
    ASSERT_TRUE(becomes_available());
    EXPECT_THAT(runtime_->place_shown(), HasSubstr("v1.2.3 at http://127.0.0.1:"));
    EXPECT_EQ(runtime_->fix(), "");
}

TEST_F(KubernetesReachTest, AKubeconfigThatCannotBeUsed) {
    put("config", config("exec: {command: aws}"));
    begin();
    const Availability now = runtime_->availability();
    EXPECT_EQ(now.reason, Unavailable::kUnreachable);
    EXPECT_THAT(now.detail, HasSubstr("exec plug-in"));
    EXPECT_THAT(runtime_->fix(), HasSubstr("service account"));
    EXPECT_TRUE(server_.seen().empty());
    put("config", config("token: t"));
    EXPECT_TRUE(becomes_available());
}

TEST_F(KubernetesReachTest, NoClusterIsNamed) {
    options_.access = {};
    begin();
    EXPECT_EQ(runtime_->availability().reason, Unavailable::kDisabled);
    EXPECT_THAT(runtime_->fix(), HasSubstr("K8S_JOBS_KUBECONFIG_PATH"));
    http::testing::run_for(loop_, std::chrono::milliseconds(100));
    EXPECT_EQ(runtime_->availability().reason, Unavailable::kDisabled);
}

TEST_F(KubernetesReachTest, AServerThatIsBackAndATokenThatIsReplaced) {
    put("token", "first");
    put("config", config("tokenFile: token"));
    status_ = 401;
    begin();
    EXPECT_EQ(runtime_->availability().reason, Unavailable::kUnreachable);
    EXPECT_THAT(runtime_->availability().detail, HasSubstr("not now"));
    put("token", "second");
    status_ = 200;
    ASSERT_TRUE(becomes_available());
    EXPECT_EQ(server_.seen().front().headers.at("authorization"), "Bearer first");
    EXPECT_EQ(server_.seen().back().headers.at("authorization"), "Bearer second");
}

}  // namespace
}  // namespace wa
