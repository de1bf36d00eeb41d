// What API servers answer: the shapes of a real one (1.35), and what is none of them.
#include "runtimes/kubernetes_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace wa::kubernetes {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<PodState> parse_pod(std::string_view text) {
    return read_pod(json::parse(text).as_object());
}

std::string job_text(const std::string& status, const std::string& meta = {}) {
    return R"({"kind":"Job","apiVersion":"batch/v1","metadata":{"name":"exec-0123456789-1","namespace":"tasks",)"
           R"("uid":"87698f19-6b9e-4854-8ad5-41bc1dfd3e9c","resourceVersion":"314","generation":1,)"
           R"("creationTimestamp":"2026-11-26T11:04:15Z","labels":{"app.kubernetes.io/managed-by":"worker-agents"},)"
           R"("annotations":{"neural-hive.io/ticket-id":"t 1"})" +
           meta + R"(},"spec":{"parallelism":1,"backoffLimit":0,"template":{}},"status":)" + status + "}";
}

std::string condition(const std::string& type, const std::string& reason, const std::string& value = "True") {
    return R"({"type":")" + type + R"(","status":")" + value + R"(","reason":")" + reason + R"(","message":"about )" +
           reason + R"(","lastTransitionTime":"2026-11-26T11:04:20Z"})";
}

JobState job(const std::string& status, const std::string& meta = {}) {
    const auto read = parse_job(job_text(status, meta));
    EXPECT_TRUE(read);
    return read.value_or(JobState{});
}

TEST(KubernetesJob, OneThatWasMadeHasNoStatusYet) {
    const JobState made = job("{}");
    EXPECT_EQ(made.name, "exec-0123456789-1");
    EXPECT_EQ(made.uid, "87698f19-6b9e-4854-8ad5-41bc1dfd3e9c");
    EXPECT_EQ(made.created, "2026-11-26T11:04:15Z");
    EXPECT_EQ(made.labels.at("app.kubernetes.io/managed-by"), "worker-agents");
    EXPECT_EQ(made.annotations.at("neural-hive.io/ticket-id"), "t 1");
    EXPECT_FALSE(made.finished());
    EXPECT_FALSE(made.deleting);
}

TEST(KubernetesJob, ConditionsSayHowItEndedAndCountersDoNot) {
    EXPECT_FALSE(job(R"({"startTime":"2026-11-26T11:04:15Z","active":1,"failed":1,"succeeded":1})").finished());
    const JobState good = job(R"({"conditions":[)" + condition("SuccessCriteriaMet", "CompletionsReached") + "," +
                              condition("Complete", "CompletionsReached") + R"(],"succeeded":1})");
    EXPECT_TRUE(good.complete);
    EXPECT_FALSE(good.failed);
    const JobState bad = job(R"({"conditions":[)" + condition("FailureTarget", "BackoffLimitExceeded") + "," +
                             condition("Failed", "BackoffLimitExceeded") + R"(],"failed":1})");
    EXPECT_TRUE(bad.failed);
    EXPECT_FALSE(bad.complete);
    EXPECT_EQ(bad.reason, "BackoffLimitExceeded");
    EXPECT_EQ(bad.message, "about BackoffLimitExceeded");
    EXPECT_FALSE(job(R"({"conditions":[)" + condition("Complete", "x", "False") + "]}").finished());
    EXPECT_FALSE(job(R"({"conditions":[)" + condition("SuccessCriteriaMet", "x") + "]}").finished());
    EXPECT_TRUE(job(R"({"conditions":[)" + condition("Suspended", "JobSuspended") + "]}").suspended);
    EXPECT_FALSE(job(R"({"conditions":[)" + condition("Suspended", "JobResumed", "False") + "]}").suspended);
}

// At its deadline a Job has failed as soon as it says so: the condition Failed waits for its pods.
TEST(KubernetesJob, WhatItIsAboutToFailForIsKnownEarly) {
    const JobState failing =
        job(R"({"conditions":[)" + condition("FailureTarget", "DeadlineExceeded") + R"(],"failed":1,"terminating":1})");
    EXPECT_TRUE(failing.failing);
    EXPECT_FALSE(failing.finished());
    EXPECT_EQ(failing.reason, "DeadlineExceeded");
    EXPECT_EQ(failing.message, "about DeadlineExceeded");
    EXPECT_FALSE(job("{}").failing);
}

TEST(KubernetesJob, OneThatGoes) {
    EXPECT_TRUE(
        job("{}", R"(,"deletionTimestamp":"2026-11-26T11:05:00Z","finalizers":["foregroundDeletion"])").deleting);
}

TEST(KubernetesJob, WhatIsNoneIsRefused) {
    for (const char* bad : {"", "null", "[]", "{]", "{}", R"({"metadata":5})", R"({"metadata":{"name":"a"}})",
                            R"({"metadata":{"uid":"a1"}})", R"({"metadata":{"name":"../../secrets","uid":"a1"}})",
                            R"({"metadata":{"name":"..","uid":"a1"}})", R"({"metadata":{"name":"A","uid":"a1"}})",
                            R"({"metadata":{"name":"a","uid":"../x"}})", R"({"metadata":{"name":5,"uid":"a1"}})",
                            R"({"metadata":{"name":"a?b","uid":"a1"}})"}) {
        const auto read = parse_job(bad);
        ASSERT_FALSE(read) << bad;
        EXPECT_EQ(read.error().code, ErrorCode::kMalformed) << bad;
    }
    EXPECT_FALSE(parse_job(R"({"metadata":{"name":")" + std::string(254, 'a') + R"(","uid":"a1"}})"));
    // Types that nobody has promised are as good as nothing.
    const auto odd = parse_job(
        R"({"metadata":{"name":"a","uid":"a1","labels":[1],"annotations":{"x":5,"y":"z"},"creationTimestamp":7},)"
        R"("status":{"conditions":[5,null,{"type":"Complete","status":true},{"type":"Failed"}]}})");
    ASSERT_TRUE(odd);
    EXPECT_FALSE(odd->finished());
    EXPECT_THAT(odd->labels, IsEmpty());
    EXPECT_EQ(odd->annotations.size(), 1U);
}

TEST(KubernetesJob, TextsAreBoundedLines) {
    const JobState bad = job(R"({"conditions":[{"type":"Failed","status":"True","reason":"a\nb","message":")" +
                             std::string(5000, 'x') + R"("}]})");
    EXPECT_EQ(bad.reason, "a b");
    EXPECT_LE(bad.message.size(), 1100U);
    std::string many;
    for (int at = 0; at < 1000; ++at)
        many += (many.empty() ? "" : ",") + ("\"l" + std::to_string(at) + "\":\"x\"");
    const auto read = parse_job(R"({"metadata":{"name":"a","uid":"a1","labels":{)" + many + "}}}");
    ASSERT_TRUE(read);
    EXPECT_LE(read->labels.size(), 256U);
}

// ---- pods

std::string pod_text(const std::string& status, const std::string& meta = {}) {
    return R"({"metadata":{"name":"exec-0123456789-1-7v986","uid":"7b440419-cf96-46fb-a213-8b2e914c2928",)"
           R"("creationTimestamp":"2026-11-26T11:04:15Z","labels":{"batch.kubernetes.io/controller-uid":)"
           R"("87698f19-6b9e-4854-8ad5-41bc1dfd3e9c","batch.kubernetes.io/job-name":"exec-0123456789-1",)"
           R"("job-name":"exec-0123456789-1"},"ownerReferences":[{"kind":"Job","name":"exec-0123456789-1",)"
           R"("uid":"87698f19-6b9e-4854-8ad5-41bc1dfd3e9c","controller":true}])" +
           meta + R"(},"spec":{"nodeName":"node-1"},"status":)" + status + "}";
}

std::string container(const std::string& state) {
    return R"("containerStatuses":[{"name":"sidecar","state":{"terminated":{"exitCode":77,"reason":"Error"}}},)"
           R"({"name":"executor","state":{)" +
           state + R"(},"lastState":{},"ready":false,"restartCount":0,"imageID":"sha256:6c84"}])";
}

PodState pod(const std::string& status, const std::string& meta = {}) {
    const auto read = parse_pod(pod_text(status, meta));
    EXPECT_TRUE(read);
    return read.value_or(PodState{});
}

TEST(KubernetesPod, WhoseItIs) {
    const PodState fresh = pod(R"({"phase":"Pending","qosClass":"Burstable"})");
    EXPECT_EQ(fresh.name, "exec-0123456789-1-7v986");
    EXPECT_EQ(fresh.job_name, "exec-0123456789-1");
    EXPECT_EQ(fresh.job_uid, "87698f19-6b9e-4854-8ad5-41bc1dfd3e9c");
    EXPECT_EQ(fresh.node, "node-1");
    EXPECT_EQ(fresh.container, ContainerPhase::kUnknown);
    EXPECT_FALSE(fresh.began);
    // Clusters before 1.27 have the short labels only.
    const auto old =
        parse_pod(R"({"metadata":{"name":"p","uid":"a1","labels":{"job-name":"j","controller-uid":"b2"}}})");
    ASSERT_TRUE(old);
    EXPECT_EQ(old->job_name, "j");
    EXPECT_EQ(old->job_uid, "b2");
    EXPECT_FALSE(parse_pod(R"({"metadata":{"name":"p","uid":"a1","labels":{"job-name":"../j"}}})"));
    EXPECT_FALSE(parse_pod(R"({"metadata":{"name":"p/log","uid":"a1"}})"));
}

TEST(KubernetesPod, PhasesOfItsContainer) {
    const PodState waits = pod(R"({"phase":"Pending",)" +
                               container(R"("waiting":{"reason":"ErrImagePull","message":"no such host"})") + "}");
    EXPECT_EQ(waits.container, ContainerPhase::kWaiting);
    EXPECT_EQ(waits.waiting_reason, "ErrImagePull");
    EXPECT_EQ(waits.waiting_message, "no such host");
    EXPECT_FALSE(waits.began);
    const PodState runs =
        pod(R"({"phase":"Running",)" + container(R"("running":{"startedAt":"2026-11-26T11:04:16Z"})") + "}");
    EXPECT_EQ(runs.container, ContainerPhase::kRunning);
    EXPECT_TRUE(runs.began);
    EXPECT_EQ(runs.image_id, "sha256:6c84");
    // Two seconds before the phase says so.
    const PodState ended =
        pod(R"({"phase":"Running",)" + container(R"("terminated":{"exitCode":9,"reason":"Error"})") + "}");
    EXPECT_TRUE(ended.terminated());
    EXPECT_TRUE(ended.began);
    EXPECT_EQ(ended.exit_code, 9);
    EXPECT_FALSE(ended.failed);
    const PodState memory =
        pod(R"({"phase":"Failed",)" + container(R"("terminated":{"exitCode":137,"reason":"OOMKilled"})") + "}");
    EXPECT_TRUE(memory.out_of_memory());
    EXPECT_TRUE(memory.failed);
}

TEST(KubernetesPod, WhoseProcessNeverWasHasNotBegun) {
    const PodState missing = pod(
        R"({"phase":"Failed",)" +
        container(
            R"("terminated":{"exitCode":128,"reason":"StartError","message":"exec: \"x\": executable file not found",)"
            R"("startedAt":"1970-01-01T00:00:00Z"})") +
        "}");
    EXPECT_TRUE(missing.terminated());
    EXPECT_FALSE(missing.began);
    EXPECT_THAT(missing.end_message, HasSubstr("not found"));
    const PodState lost =
        pod(R"({"phase":"Failed",)" +
            container(R"("terminated":{"exitCode":137,"reason":"ContainerStatusUnknown","startedAt":null})") + "}");
    EXPECT_FALSE(lost.began);
    // An exit code that is none.
    for (const char* code : {R"("x")", "null", "1.5", "{}", "1e30"}) {
        const PodState odd = pod(R"({)" + container(R"("terminated":{"exitCode":)" + std::string(code) + "}") + "}");
        EXPECT_TRUE(odd.terminated());
        EXPECT_TRUE(odd.exit_code == -1 || odd.exit_code == 65'535) << code;
    }
    EXPECT_EQ(pod("{" + container(R"("terminated":{"reason":"Error"})") + "}").exit_code, -1);
}

TEST(KubernetesPod, WhyItIsWhereItIs) {
    const PodState waits =
        pod(R"({"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable",)"
            R"("message":"0/1 nodes are available: 1 Insufficient memory."}]})");
    EXPECT_EQ(waits.unscheduled, "0/1 nodes are available: 1 Insufficient memory.");
    EXPECT_THAT(pod(R"({"conditions":[{"type":"PodScheduled","status":"True"}]})").unscheduled, IsEmpty());
    const PodState evicted = pod(
        R"({"phase":"Failed","reason":"Evicted","message":"Usage of EmptyDir volume \"tmp\" exceeds the limit. ",)" +
        container(R"("terminated":{"exitCode":137,"reason":"Error"})") + "}");
    EXPECT_EQ(evicted.reason, "Evicted");
    EXPECT_EQ(evicted.message, "Usage of EmptyDir volume \"tmp\" exceeds the limit.");
    const PodState drained = pod(R"({"phase":"Running","conditions":[{"type":"DisruptionTarget","status":"True",)"
                                 R"("reason":"EvictionByEvictionAPI","message":"Eviction API: evicting"}]})",
                                 R"(,"deletionTimestamp":"2026-11-26T11:05:00Z")");
    EXPECT_EQ(drained.reason, "EvictionByEvictionAPI");
    EXPECT_TRUE(drained.deleting);
}

// ---- lists

TEST(KubernetesPage, ItemsAndWhereTheyGoOn) {
    const auto page = parse_page(R"({"kind":"JobList","metadata":{"resourceVersion":"534","continue":"tok/en=",)"
                                 R"("remainingItemCount":3},"items":[{"a":1},{"b":2}]})");
    ASSERT_TRUE(page);
    EXPECT_EQ(page->items.size(), 2U);
    EXPECT_EQ(page->version, "534");
    EXPECT_EQ(page->next, "tok/en=");
    EXPECT_TRUE(parse_page(R"({"items":null,"metadata":{}})"));
    for (const char* bad : {"{}", "[]", R"({"items":5})", R"({"items":[1]})", R"({"items":{}})", ""})
        EXPECT_FALSE(parse_page(bad)) << bad;
    std::string many = R"({"items":[{})";
    for (int at = 0; at < 10'000; ++at)
        many += ",{}";
    EXPECT_EQ(parse_page(many + "]}").error().code, ErrorCode::kLimitExceeded);
}

TEST(KubernetesAnswers, SmallOnes) {
    EXPECT_EQ(*parse_version(R"({"major":"1","gitVersion":"v1.35.4"})"), "v1.35.4");
    EXPECT_FALSE(parse_version("{}"));
    EXPECT_FALSE(parse_version("<html>"));
    EXPECT_TRUE(*parse_review(R"({"status":{"allowed":true,"reason":"RBAC: allowed"}})"));
    EXPECT_FALSE(*parse_review(R"({"status":{"allowed":false}})"));
    EXPECT_FALSE(parse_review(R"({"status":{"allowed":"true"}})"));
    EXPECT_FALSE(parse_review(R"({"status":{}})"));
}

TEST(KubernetesAnswers, TheLastEventIsTheLastOne) {
    const auto events =
        parse_events(R"({"items":[{"reason":"FailedCreate","message":"newer","lastTimestamp":"2026-11-26T11:07:38Z"},)"
                     R"({"reason":"FailedCreate","message":"older","lastTimestamp":"2026-11-26T11:07:31Z"},)"
                     R"({"reason":"Newest","message":"of the new kind","lastTimestamp":null,)"
                     R"("eventTime":"2026-11-26T11:09:00.123456Z"},{"message":7}]})");
    ASSERT_TRUE(events);
    EXPECT_THAT(*events, ElementsAre("", "FailedCreate: older", "FailedCreate: newer", "Newest: of the new kind"));
}

// ---- refusals

TEST(KubernetesRefusal, OfTheServerAndOfWhateverStandsInBetween) {
    const Refusal taken = parse_refusal(
        R"({"kind":"Status","status":"Failure","message":"jobs.batch \"ok\" already exists","reason":"AlreadyExists",)"
        R"("details":{"name":"ok","group":"batch","kind":"jobs"},"code":409})");
    EXPECT_EQ(taken.reason, "AlreadyExists");
    EXPECT_EQ(taken.message, "jobs.batch \"ok\" already exists");
    EXPECT_EQ(parse_refusal("").message, "no reason given");
    EXPECT_EQ(parse_refusal("{}").message, "no reason given");
    EXPECT_EQ(parse_refusal(R"({"reason":"Gone"})").message, "Gone");
    EXPECT_EQ(parse_refusal("upstream connect error\r\n").message, "upstream connect error");
    EXPECT_FALSE(parse_refusal("\xFF\xFE\x00").message.empty());
    EXPECT_LE(parse_refusal(std::string(1'000'000, 'x')).message.size(), 300U);
    EXPECT_LE(parse_refusal(R"({"message":")" + std::string(100'000, 'x') + R"("})").message.size(), 1100U);
}

// ---- watches

TEST(KubernetesWatchEvent, Lines) {
    const auto added = parse_watch_event(R"({"type":"ADDED","object":)" + job_text("{}") + "}");
    ASSERT_TRUE(added);
    EXPECT_EQ(added->type, WatchEvent::Type::kAdded);
    EXPECT_EQ(added->version, "314");
    EXPECT_TRUE(read_job(added->object));
    const auto mark =
        parse_watch_event(R"({"type":"BOOKMARK","object":{"kind":"Job","metadata":{"resourceVersion":"1500"}}})");
    ASSERT_TRUE(mark);
    EXPECT_EQ(mark->type, WatchEvent::Type::kBookmark);
    EXPECT_EQ(mark->version, "1500");
    const auto gone =
        parse_watch_event(R"({"type":"ERROR","object":{"kind":"Status","metadata":{},"reason":"Expired","code":410,)"
                          R"("message":"too old resource version: 1"}})");
    ASSERT_TRUE(gone);
    EXPECT_EQ(gone->type, WatchEvent::Type::kError);
    EXPECT_EQ(gone->code, 410);
    for (const char* bad : {"", "{", "[]", R"({"type":"ADDED"})", R"({"type":"ODD","object":{}})", R"({"object":{}})",
                            R"({"type":"ADDED","object":[]})"})
        EXPECT_FALSE(parse_watch_event(bad)) << bad;
}

std::vector<std::string> split(std::string_view bytes, std::size_t piece, LineSplitter& lines, bool& good) {
    std::vector<std::string> taken;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        good = lines
                   .feed(bytes.substr(at, piece),
                         [&](std::string_view line) -> Result<void> {
                             taken.emplace_back(line);
                             if (line == "stop") return fail(ErrorCode::kCancelled, "test", "enough");
                             return {};
                         })
                   .has_value();
        if (!good) break;
    }
    return taken;
}

TEST(LineSplitter, PiecesOfAnySize) {
    const std::string bytes = "one\n\ntwo\nthree";
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        LineSplitter lines(5);
        bool good = true;
        EXPECT_THAT(split(bytes, piece, lines, good), ElementsAre("one", "two"));
        EXPECT_TRUE(good);
    }
}

TEST(LineSplitter, NothingIsTakenAfterALineThatIsTooLong) {
    for (std::size_t piece = 1; piece <= 8; ++piece) {
        LineSplitter lines(5);
        bool good = true;
        EXPECT_THAT(split("a\n123456", piece, lines, good), ElementsAre("a"));
        EXPECT_FALSE(good);
        EXPECT_THAT(split("\nb\n", 9, lines, good), IsEmpty());
        EXPECT_FALSE(good);  // it stays so
    }
    LineSplitter told(5);
    bool good = true;
    EXPECT_THAT(split("a\nstop\nb\n", 100, told, good), ElementsAre("a", "stop"));
    EXPECT_FALSE(good);
}

}  // namespace
}  // namespace wa::kubernetes
