// The watch of Jobs and pods against a server that keeps its word, and one that does not.
#include "runtimes/kubernetes_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtimes/kubernetes_access.h"
#include "runtimes/kubernetes_place.h"
#include "runtimes/testing/kubernetes_server.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests
using http::testing::Reaction;
using http::testing::run_for;
using http::testing::run_until;
using ::testing::ElementsAre;
using testing::FakeCluster;
using ::testing::HasSubstr;

class Listener : public JobListener {
public:
    void job_seen(const JobState& job) override { note(job.complete ? "job complete" : "job"); }
    void job_missed() override { note("missed"); }
    void pod_seen(const PodState& pod) override { note(pod.terminated() ? "pod ended" : "pod"); }
    void pod_gone(const PodState&) override { note("pod gone"); }
    void watch_lost(const Error& why) override {
        last_loss = why;
        note("lost");
    }
    void watch_back() override { note("back"); }

    [[nodiscard]] bool has(const std::string& what) const { return std::ranges::count(told, what) > 0; }
    [[nodiscard]] auto count(const std::string& what) const { return std::ranges::count(told, what); }

    std::vector<std::string> told;
    Error last_loss;
    std::function<void(const std::string&)> then;

private:
    void note(const std::string& what) {
        told.push_back(what);
        if (const auto next = then) next(what);
    }
};

class KubernetesWatchTest : public ::testing::Test {
public:
    ~KubernetesWatchTest() override {
        watch.reset();
        std::filesystem::remove_all(folder);
    }
    KubernetesWatchTest(const KubernetesWatchTest&) = delete;
    KubernetesWatchTest& operator=(const KubernetesWatchTest&) = delete;

protected:
    KubernetesWatchTest() : cluster(loop), folder("/tmp/wa-kubernetes-watch-test-" + std::to_string(::getpid())) {
        options.name_space = "tasks";
        options.call_timeout = 2s;
        options.watch_time = 1s;
        options.watch_margin = 200ms;
        options.policy.backoff = {1ms, 10ms};
        options.policy.breaker_pause = 20ms;
        std::filesystem::create_directories(folder);
        std::ofstream(folder + "/config") << "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
                                             "contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\n"
                                             "clusters:\n- name: c\n  cluster:\n    server: "
                                          << cluster.url() << "\nusers:\n- name: u\n  user: {}\n";
        AccessOptions place;
        place.kubeconfig = folder + "/config";
        auto opened = Access::open(place);
        EXPECT_TRUE(opened) << opened.error().message;
        access.emplace(std::move(*opened));
        labels = {{"app.kubernetes.io/managed-by", "worker-agents"}, {"neural-hive.io/domain", "domain"}};
    }
    JobWatch& begin() {
        api.emplace(loop, clock, random, client, options);
        api->use(&*access);
        watch.emplace(loop, clock, *api, domain_selector("domain"), retry_wait);
        return *watch;
    }
    void listen(const std::string& name = "j") { begin().listen(name, listener); }
    bool watching() {
        return run_until(loop, [this] { return cluster.watching("jobs") > 0 && cluster.watching("pods") > 0; });
    }
    bool told(const std::string& what) {
        return run_until(loop, [&] { return listener.has(what); });
    }
    void add(const std::string& name = "j") { cluster.add_job(name, labels, {}); }

    boost::asio::io_context loop{1};
    SystemClock clock;
    SeededRandom random{1};
    FakeCluster cluster;
    std::string folder;
    ApiOptions options;
    Duration retry_wait = 200ms;
    json::object labels;
    http::Client client{loop, clock, http::ClientOptions{}};
    std::optional<Access> access;
    std::optional<Api> api;
    std::optional<JobWatch> watch;
    Listener listener;
};

TEST_F(KubernetesWatchTest, WhatChangesIsToldToWhomItIsAbout) {
    add("other");
    cluster.add_job("foreign", {}, {});
    listen();
    ASSERT_TRUE(watching());
    EXPECT_TRUE(told("missed"));  // it is not in the list: it has to be asked for
    listener.told.clear();
    add();
    ASSERT_TRUE(told("job"));
    FakeCluster::Pod& pod = cluster.add_pod(cluster.jobs.at("j"));
    cluster.run(pod);
    cluster.end(pod, 0);
    ASSERT_TRUE(told("job complete"));
    cluster.drop_pod(cluster.pod_of("j")->name);
    ASSERT_TRUE(told("pod gone"));
    cluster.add_pod(cluster.jobs.at("other"));
    cluster.tell("MODIFIED", cluster.jobs.at("other"));
    cluster.remove_job(cluster.jobs.at("j"), false);
    ASSERT_TRUE(told("missed"));
    EXPECT_THAT(listener.told,
                ElementsAre("job", "pod", "pod", "pod ended", "pod ended", "job complete", "pod gone", "missed"));
    EXPECT_EQ(cluster.calls["list_jobs"], 1);
    EXPECT_EQ(cluster.calls["list_pods"], 1);
}

TEST_F(KubernetesWatchTest, ListsHaveManyPages) {
    cluster.page_items = 2;
    for (int at = 0; at < 5; ++at)
        add("j" + std::to_string(at));
    listen("j4");
    ASSERT_TRUE(watching());
    EXPECT_EQ(cluster.calls["list_jobs"], 3);
    EXPECT_TRUE(listener.has("job"));
    EXPECT_FALSE(listener.has("missed"));
    EXPECT_THAT(cluster.last["list_jobs"].target, HasSubstr("limit=500"));
    EXPECT_THAT(cluster.last["watch_jobs"].target, HasSubstr("allowWatchBookmarks=true&timeoutSeconds=1"));
}

TEST_F(KubernetesWatchTest, ItGoesOnWhereItWas) {
    listen();
    ASSERT_TRUE(watching());
    run_for(loop, 1050ms);  // one that ends later than after a second is as it should be
    cluster.end_watches("jobs");
    add();  // in between
    ASSERT_TRUE(told("job"));
    EXPECT_EQ(cluster.calls["list_jobs"], 1);
    EXPECT_FALSE(listener.has("lost"));
    EXPECT_EQ(listener.count("job"), 1);
}

TEST_F(KubernetesWatchTest, BookmarksMoveThePlace) {
    listen();
    ASSERT_TRUE(watching());
    cluster.push("jobs", "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5000\"}}}\n");
    run_for(loop, 20ms);
    cluster.end_watches("jobs");
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["watch_jobs"] > 1; }));
    EXPECT_THAT(cluster.last["watch_jobs"].target, HasSubstr("resourceVersion=5000"));
}

TEST_F(KubernetesWatchTest, APlaceThatIsForgottenMeansANewList) {
    listen();
    ASSERT_TRUE(watching());
    // As a line of a good answer.
    cluster.forgotten_before = cluster.version + 1;
    cluster.end_watches("jobs");
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["watch_jobs"] > 1; }));
    add();  // whoever lists now finds it
    ASSERT_TRUE(told("job"));
    EXPECT_EQ(cluster.calls["list_jobs"], 2);
    // And as a status.
    cluster.forgotten_before = 0;
    ASSERT_TRUE(watching());
    cluster.misbehave["watch_jobs"] = {1, testing::refuse(410, "Expired", "too old resource version")};
    cluster.end_watches("jobs");
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["list_jobs"] > 2; }));
    ASSERT_TRUE(watching());
    EXPECT_FALSE(listener.has("lost"));
}

TEST_F(KubernetesWatchTest, APlaceThatIsForgottenAgainAndAgainIsNoBusyLoop) {
    cluster.forgotten_before = 1'000'000;
    retry_wait = 10s;
    listen();
    run_for(loop, 900ms);
    // 100, 200, 400, 800 ms, …
    EXPECT_GE(cluster.calls["list_jobs"], 2);
    EXPECT_LE(cluster.calls["list_jobs"], 5);
    EXPECT_LE(cluster.calls["watch_jobs"], 5);
}

TEST_F(KubernetesWatchTest, AServerThatEndsWatchesAtOnceIsNotAskedWithoutAPause) {
    cluster.misbehave["watch_jobs"] = {0, {.bytes = testing::kChunked + testing::kLastChunk}};
    retry_wait = 10s;
    listen();
    run_for(loop, 900ms);
    EXPECT_GE(cluster.calls["watch_jobs"], 2);
    EXPECT_LE(cluster.calls["watch_jobs"], 5);
    EXPECT_EQ(cluster.calls["list_jobs"], 1);
}

TEST_F(KubernetesWatchTest, AnOutageIsToldOnceItIsOver) {
    listen();
    ASSERT_TRUE(watching());
    cluster.go_away();
    ASSERT_TRUE(told("lost"));
    EXPECT_TRUE(listener.last_loss.retryable());
    EXPECT_THAT(listener.last_loss.message, HasSubstr("does not answer"));
    EXPECT_FALSE(listener.has("back"));
    add();
    cluster.listen();
    ASSERT_TRUE(told("back"));
    ASSERT_TRUE(told("job"));
    ASSERT_TRUE(watching());
    // It begins anew after that: no memory of the failures.
    listener.told.clear();
    cluster.tell("MODIFIED", cluster.jobs.at("j"));
    ASSERT_TRUE(told("job"));
}

TEST_F(KubernetesWatchTest, AJobThatIsMissingInTheListIsMissed) {
    add();
    listen();
    ASSERT_TRUE(watching());
    EXPECT_FALSE(listener.has("missed"));
    cluster.go_away();
    cluster.jobs.clear();
    cluster.listen();
    ASSERT_TRUE(told("missed"));
}

TEST_F(KubernetesWatchTest, WhatCannotBeReadMeansANewListAtOnce) {
    for (const std::string& strange :
         {std::string("garbage\n"), std::string("{\"type\":\"ODD\",\"object\":{}}\n"), std::string(5U << 20U, 'x')}) {
        SCOPED_TRACE(strange.substr(0, 10));
        listener.told.clear();
        cluster.calls.clear();
        listen();
        ASSERT_TRUE(watching());
        cluster.push("jobs", strange);  // and the stream stays open
        ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["list_jobs"] > 1; }, 800ms)) << "it is not looked at";
        ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["watch_jobs"] > 1; }));
        add();
        ASSERT_TRUE(told("job"));
        cluster.jobs.clear();
        watch.reset();
        run_for(loop, 10ms);
    }
}

TEST_F(KubernetesWatchTest, ObjectsThatAreNoneAreLeftOut) {
    listen();
    ASSERT_TRUE(watching());
    cluster.push("jobs", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"../x\"}}}\n");
    cluster.push("pods", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"}}}\n");
    add();
    ASSERT_TRUE(told("job"));
    EXPECT_EQ(cluster.calls["list_jobs"], 1);
}

TEST_F(KubernetesWatchTest, AConnectionThatDiedWithoutAWordIsLeft) {
    listen();
    ASSERT_TRUE(watching());
    const auto began = clock.now();
    ASSERT_TRUE(run_until(loop, [this] { return cluster.calls["watch_jobs"] > 1; }));
    EXPECT_GE(clock.now() - began, 1s);  // it had its time
    add();
    ASSERT_TRUE(told("job"));
    EXPECT_FALSE(listener.has("lost"));
}

TEST_F(KubernetesWatchTest, WithoutAListenerItRests) {
    listen();
    ASSERT_TRUE(watching());
    watch->leave("j", listener);
    cluster.end_watches("jobs");
    cluster.end_watches("pods");
    run_for(loop, 300ms);
    EXPECT_EQ(cluster.watching("jobs"), 0U);
    EXPECT_EQ(cluster.calls["watch_jobs"], 1);
    // And begins with a list when somebody comes.
    listener.told.clear();
    add();
    watch->listen("j", listener);
    ASSERT_TRUE(told("job"));
    EXPECT_EQ(cluster.calls["list_jobs"], 2);
}

TEST_F(KubernetesWatchTest, AListenerThatIsAnotherOnesSuccessorStays) {
    listen();
    Listener next;
    watch->listen("j", next);
    watch->leave("j", listener);  // not its own any more
    ASSERT_TRUE(watching());
    add();
    EXPECT_TRUE(run_until(loop, [&] { return next.has("job"); }));
    EXPECT_FALSE(listener.has("job"));
}

TEST_F(KubernetesWatchTest, AListenerMayGoInTheMiddleOfWhatItIsTold) {
    for (const std::string what : {"missed", "job", "pod", "pod gone", "lost", "back"}) {
        SCOPED_TRACE(what);
        cluster.jobs.clear();
        cluster.pods.clear();
        auto one = std::make_unique<Listener>();
        Listener other;
        one->then = [&](const std::string& told) {
            if (told != what) return;
            watch->leave("j", *one);
            one.reset();
        };
        begin().listen("j", *one);
        watch->listen("k", other);
        ASSERT_TRUE(watching());
        add();
        add("k");
        cluster.add_pod(cluster.jobs.at("j"));
        cluster.drop_pod(cluster.pod_of("j")->name);
        run_for(loop, 30ms);
        cluster.go_away();
        ASSERT_TRUE(run_until(loop, [&] { return other.has("lost"); }));
        cluster.listen();
        ASSERT_TRUE(run_until(loop, [&] { return other.has("back"); }));
        EXPECT_EQ(one, nullptr);
        watch.reset();
    }
}

TEST_F(KubernetesWatchTest, ItMayEndInTheMiddleOfWhatItTells) {
    for (const std::string what : {"missed", "job", "pod", "pod gone", "lost", "back"}) {
        for (const bool destroyed : {false, true}) {
            SCOPED_TRACE(what + (destroyed ? ", destroyed" : ", ended"));
            cluster.jobs.clear();
            cluster.pods.clear();
            Listener one;
            bool over = false;
            one.then = [&](const std::string& told) {
                if (told != what || std::exchange(over, true)) return;
                destroyed ? watch.reset() : watch->end();
            };
            begin().listen("j", one);
            ASSERT_TRUE(
                run_until(loop, [&] { return over || cluster.watching("jobs") + cluster.watching("pods") > 1; }));
            add();
            cluster.add_pod(cluster.jobs.at("j"));
            cluster.drop_pod(cluster.pod_of("j")->name);
            if (what == "lost" || what == "back") {
                cluster.go_away();
                ASSERT_TRUE(run_until(loop, [&] { return one.has("lost"); }));
                cluster.listen();
            }
            ASSERT_TRUE(run_until(loop, [&] { return over; }));
            const auto so_far = one.told.size();
            run_for(loop, 30ms);
            EXPECT_EQ(one.told.size(), so_far);
            watch.reset();
            run_for(loop, 5ms);
        }
    }
}

}  // namespace
}  // namespace wa::kubernetes
