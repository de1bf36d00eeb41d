// One attempt as a Kubernetes Job: what it waits for, and what comes next. See kubernetes.h.
//
//   look ──► create ──► pending ──► run ──► collect ──► (report)
//    │                      │         │         ▲
//    │                      └──stop◄──┘─────────┘   what was stopped is gone before the report
//    └── adopted: to where that Job is
//
// What the watch tells, and what is asked for beside it, leads to the same place: at(), which looks at the Job and its
// newest pod and decides.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtimes/kubernetes.h"
#include "runtimes/kubernetes_log.h"
#include "runtimes/task_output.h"

namespace wa {

class KubernetesRuntime::Attempt final : public RunningAttempt, public kubernetes::JobListener {
public:
    Attempt(KubernetesRuntime& runtime, const AttemptContext& context, RuntimeListener& listener);
    ~Attempt() override;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin();
    void stop(StopReason reason, Duration grace) override;

private:
    enum class Stage : std::uint8_t { kLook, kCreate, kPending, kRun, kStop, kCollect, kEnded };
    using Nothing = kubernetes::Nothing;
    template <class T>
    using Reply = kubernetes::Reply<T>;

    // look
    void look();
    void looked(Reply<kubernetes::Page> reply);
    [[nodiscard]] bool is_forbidden_for_now(const kubernetes::ApiError& failure);
    void look_failed(kubernetes::ApiError failure);
    void adopt(kubernetes::JobState job);
    [[nodiscard]] bool is_same_work(const kubernetes::JobState& job) const;
    // create
    void create();
    void created(Reply<kubernetes::JobState> reply);
    void look_by_name();
    void found_by_name(Reply<kubernetes::JobState> reply);
    [[nodiscard]] kubernetes::JobMarks marks() const;
    void take_up(kubernetes::JobState job);
    void ask_for_pods();
    [[nodiscard]] bool is_of_job(const kubernetes::PodState& pod) const;
    // what is told
    void job_seen(const kubernetes::JobState& job) override;
    void job_missed() override;
    void pod_seen(const kubernetes::PodState& pod) override;
    void pod_gone(const kubernetes::PodState& pod) override;
    void lose_pod();
    void watch_lost(const Error& why) override;
    void watch_back() override;
    // run
    void find_out();
    void found(Reply<kubernetes::JobState> reply);
    void second_look();
    void at();
    [[nodiscard]] bool is_cause_known() const;
    void ask_for_cause();
    void at_waiting();
    void runs();
    void patience_is_over();
    [[nodiscard]] Duration own_limit() const;
    void arm_limit();
    void arm_limit_of_waiting();
    void time_is_over();
    void start_is_late();
    void schedule_is_late();
    void events_told(const Reply<std::vector<std::string>>& reply);
    // stop
    void look_is_late();
    void begin_stop();
    void stop_pod();
    void stop_is_late();
    void stop_before_start();
    // the end
    void ended();
    void output_incomplete(std::string why);
    void collected();
    [[nodiscard]] std::string waited_for() const;
    void decide();
    void leave_job();
    void describe();
    void refuse(Error error);
    void not_started(Error error);
    void end_unknown(Error error);
    void finish();

    [[nodiscard]] Error error(ErrorCode code, Retry retry, Fault fault, std::string message) const;
    void after(boost::asio::steady_timer& timer, Duration wait, void (Attempt::*next)());
    void again(void (Attempt::*step)());
    void again_after_conflict(void (Attempt::*step)());
    [[nodiscard]] bool out_of_patience();
    void contact();
    [[nodiscard]] bool stopping() const { return stopped_.has_value() || over_time_ || hopeless_.has_value(); }
    void note_stage(std::string_view stage);
    [[nodiscard]] std::string shown() const;
    void say(std::string line);

    KubernetesRuntime& runtime_;
    kubernetes::Api& api_;
    WorkKeeper& keeper_;
    AttemptContext context_;
    RuntimeListener& listener_;
    const std::string& ticket_id_;
    MonoTime began_;
    Stage stage_ = Stage::kLook;
    kubernetes::JobTask task_;
    std::string work_;  // what this ticket asks for, as a hash: a Job of other work is not taken for it
    TaskOutput output_;
    kubernetes::PodLog log_;

    std::string name_;
    bool listens_ = false;
    bool held_ = false;    // a Job of an earlier attempt may exist
    bool unsure_ = false;  // one of this attempt may
    bool adopted_ = false;
    int conflicts_ = 0;
    MonoTime create_began_{};
    int forbidden_ = 0;
    std::optional<kubernetes::JobState> job_;
    std::optional<kubernetes::PodState> pod_;  // the newest one
    bool job_gone_ = false;
    bool pod_gone_ = false;
    bool asks_at_end_ = false;     // the pods, of a Job that has ended
    bool pods_known_ = false;      // those
    bool asks_for_cause_ = false;  // of the end of a pod that we did not end
    bool cause_asked_ = false;
    std::string waiting_;  // why it has not started, in the cluster's words

    std::optional<StopReason> stopped_;
    std::optional<Error> hopeless_;  // it can never start
    bool over_time_ = false;         // of our own limit
    bool stop_asked_ = false;        // the Job was told to go
    bool ran_ = false;
    MonoTime stop_until_{};
    Duration limit_{};

    std::optional<MonoTime> lost_since_;
    std::string lost_why_;
    bool contact_lost_ = false;
    int tries_ = 0;

    MonoTime stage_began_{};
    RuntimeReport report_;
    boost::asio::steady_timer step_timer_;
    boost::asio::steady_timer limit_timer_;
    boost::asio::steady_timer wait_timer_;   // for a start
    boost::asio::steady_timer place_timer_;  // for a node, or for a pod to be made
    boost::asio::steady_timer look_timer_;
    boost::asio::steady_timer patience_timer_;
    http::ServiceHandle call_;
    http::ServiceHandle look_call_;
    http::ServiceHandle pods_call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
