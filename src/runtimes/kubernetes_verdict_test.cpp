// How an attempt that ran as a Job is judged, for every way in which it can end.
#include "runtimes/kubernetes_verdict.h"

#include <gtest/gtest.h>

namespace wa::kubernetes {
namespace {

class KubernetesVerdict : public ::testing::Test {
protected:
    KubernetesVerdict() {
        job.complete = true;
        pod.container = ContainerPhase::kTerminated;
        pod.began = true;
    }
    JobEnd end() {
        return {.job = job,
                .pod = has_pod ? &pod : nullptr,
                .shown = "Job j",
                .job_gone = job_gone,
                .pod_gone = pod_gone,
                .ran = true,
                .stopped = stopped,
                .over_time = over_time,
                .hopeless = hopeless,
                .limit = std::chrono::seconds(3),
                .memory_limit = 64U << 20U,
                .retry = retry};
    }
    Error refused(std::string_view last_line = {}) {
        auto error = verdict(end(), last_line);
        EXPECT_TRUE(error);
        return error.value_or(Error{});
    }
    void exits(int code) {
        job.complete = false;
        job.failed = job.failing = true;
        pod.exit_code = code;
        pod.failed = true;
    }

    JobState job;
    PodState pod;
    RetryCodes retry;
    bool has_pod = true;
    bool job_gone = false;
    bool pod_gone = false;
    bool over_time = false;
    std::optional<StopReason> stopped;
    std::optional<Error> hopeless;
};

TEST_F(KubernetesVerdict, EndedWell) {
    EXPECT_EQ(own_exit_code(end()), 0);
    EXPECT_FALSE(verdict(end(), "last"));
    has_pod = false;  // removed before it was seen: its Job knows
    EXPECT_FALSE(own_exit_code(end()));
    EXPECT_FALSE(verdict(end(), ""));
}

TEST_F(KubernetesVerdict, ExitCodes) {
    exits(3);
    pod.end_message = "said";
    Error error = refused("its last line");
    EXPECT_EQ(error.message, "exit code 3: its last line; the cluster says: said");
    EXPECT_EQ(error.fault, Fault::kTask);
    EXPECT_FALSE(error.retryable());
    retry.codes = {3};
    EXPECT_TRUE(refused().retryable());
    exits(137);
    EXPECT_EQ(refused().message, "exit code 137 (signal 9); the cluster says: said");
    pod.end_reason = "OOMKilled";
    error = refused();
    EXPECT_EQ(error.message, "killed because memory ran out: it used all of its 64 MiB (exit code 137)");
    EXPECT_EQ(error.fault, Fault::kLimit);
    EXPECT_FALSE(error.retryable());
}

TEST_F(KubernetesVerdict, WhatWeStopped) {
    exits(143);
    pod.deleting = true;
    over_time = true;
    EXPECT_EQ(refused().code, ErrorCode::kTimeout);
    EXPECT_EQ(refused().message, "timed out after 3.000 s");
    stopped = StopReason::kCancelled;
    EXPECT_EQ(refused().code, ErrorCode::kCancelled);
    // It had ended by itself before anybody told the pod to go.
    pod.deleting = false;
    exits(5);
    EXPECT_EQ(refused().code, ErrorCode::kExecutionFailed);
}

TEST_F(KubernetesVerdict, GivenUpBeforeItStarted) {
    has_pod = false;
    job.complete = false;
    hopeless = make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "k8s", "no such image");
    JobEnd never = end();
    never.ran = false;
    EXPECT_EQ(verdict(never, "")->message, "no such image");
    EXPECT_TRUE(refused().retryable()) << "it did start, just then";
}

TEST_F(KubernetesVerdict, TimeThatWasOverBeforeItStartedHasACause) {
    job.complete = false;
    has_pod = false;
    JobEnd never = end();
    never.ran = false;
    never.waited_for = "ErrImagePull: no such image";
    never.stopped = StopReason::kTimeout;
    EXPECT_EQ(verdict(never, "")->message,
              "the attempt's time was over; it had not started: ErrImagePull: no such image");
    never.stopped = StopReason::kCancelled;
    EXPECT_EQ(verdict(never, "")->message, "cancelled");
    never.stopped.reset();
    never.over_time = true;
    EXPECT_EQ(verdict(never, "")->message, "timed out after 3.000 s; it had not started: ErrImagePull: no such image");
    never.ran = true;
    EXPECT_EQ(verdict(never, "")->message, "timed out after 3.000 s");
}

TEST_F(KubernetesVerdict, WhatSomebodyElseEnded) {
    job.complete = false;
    exits(143);
    pod.deleting = true;
    EXPECT_FALSE(own_exit_code(end())) << "a signal that was not the task's own";
    EXPECT_EQ(refused().code, ErrorCode::kInterrupted);
    EXPECT_TRUE(refused().retryable());
    pod.exit_code = 0;
    pod.failed = false;
    EXPECT_FALSE(verdict(end(), "")) << "it came to its end while the pod was being removed";
    exits(137);
    pod.reason = "Evicted";
    pod.message = "the node was low on memory";
    EXPECT_EQ(refused().code, ErrorCode::kInterrupted);
    pod.message = "usage exceeds the limit";
    EXPECT_EQ(refused().fault, Fault::kLimit);
    EXPECT_FALSE(refused().retryable());
    job.reason = "DeadlineExceeded";
    EXPECT_EQ(refused().code, ErrorCode::kTimeout);
}

TEST_F(KubernetesVerdict, NobodyKnows) {
    job.complete = false;
    has_pod = false;
    job_gone = true;
    EXPECT_NE(refused().message.find("Job j was removed by somebody else"), std::string::npos);
    job_gone = false;
    job.suspended = true;
    EXPECT_NE(refused().message.find("suspended"), std::string::npos);
    job.suspended = false;
    job.reason = "BackoffLimitExceeded";
    EXPECT_NE(refused().message.find("(BackoffLimitExceeded)"), std::string::npos);
    has_pod = true;
    pod.began = false;
    pod.end_reason = "ContainerStatusUnknown";
    EXPECT_NE(refused().message.find("not known: ContainerStatusUnknown"), std::string::npos);
    EXPECT_TRUE(refused().retryable());
}

TEST_F(KubernetesVerdict, WhyItWaits) {
    EXPECT_TRUE(is_stuck("ImagePullBackOff") && is_passing("ImagePullBackOff") && !is_hopeless("ImagePullBackOff"));
    EXPECT_TRUE(is_stuck("InvalidImageName") && is_hopeless("InvalidImageName") && !is_passing("InvalidImageName"));
    EXPECT_TRUE(is_stuck("CreateContainerConfigError") && !is_passing("CreateContainerConfigError"));
    EXPECT_FALSE(is_stuck("ContainerCreating"));
}

}  // namespace
}  // namespace wa::kubernetes
