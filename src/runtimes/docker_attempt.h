// One attempt in a container: what it waits for, and what comes next. See docker.h.
//
//   look ──► create ──► start ──► run ──► collect ──► (report)
//    │  ▲      │ no image                   ▲ │
//    │  └pull◄─┘                      stop ─┘ └──► remove: what was stopped goes before the report
//    └── adopted: to where that container is
//
// A lost call leads to find_out(): a look at the container, again and again while the engine is away.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtimes/docker.h"
#include "runtimes/docker_log.h"
#include "runtimes/task_output.h"

namespace wa {

class DockerRuntime::Attempt final : public RunningAttempt {
public:
    Attempt(DockerRuntime& runtime, const AttemptContext& context, RuntimeListener& listener);
    ~Attempt() override;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin();
    void stop(StopReason reason, Duration grace) override;

private:
    enum class Stage : std::uint8_t { kLook, kPull, kCreate, kStart, kRun, kStop, kCollect, kRemove, kEnded };
    using Nothing = std::monostate;
    template <class T>
    using Reply = docker::Reply<T>;

    // look
    void negotiate();
    void look();
    void looked(Reply<std::vector<docker::ContainerSummary>> reply);
    [[nodiscard]] bool is_same_work(const StringMap& labels) const;
    void adopt(const std::string& id, const std::string& name, const StringMap& labels);
    void look_failed(docker::ApiError error);
    // create
    void pull();
    void pulled(Reply<Nothing> reply);
    void create();
    void created(Reply<docker::CreatedContainer> reply);
    void look_by_name();
    void found_by_name(Reply<docker::ContainerDetail> reply);
    [[nodiscard]] StringMap labels() const;
    // start
    void start();
    void started(Reply<Nothing> reply);
    void not_started(docker::ApiError error);
    // run
    void follow();
    void waited(const Reply<docker::WaitAnswer>& reply);
    void second_look();
    void find_out();
    void found(const Reply<docker::ContainerDetail>& reply);
    void at(const docker::ContainerDetail& detail);
    void vanished();
    void lost();
    void arm_limit();
    void time_is_over();
    // stop
    void look_is_late();
    void begin_stop();
    void kill();
    void stop_before_start();
    // the end
    void ended(const docker::ContainerDetail& detail);
    void output_incomplete(std::string why);
    void collected();
    [[nodiscard]] bool may_have_been_killed() const;
    void ask_who_killed_it();
    void decide();
    void remove();
    void removal_is_late();
    [[nodiscard]] std::optional<Error> judge();
    [[nodiscard]] Error judge_exit();
    [[nodiscard]] bool ended_by_the_engine() const;
    void describe();
    void refuse(Error error);
    void end_unknown(Error error);
    void finish();

    [[nodiscard]] Error error(ErrorCode code, Retry retry, Fault fault, std::string message) const;
    void after(boost::asio::steady_timer& timer, Duration wait, void (Attempt::*next)());
    void again(void (Attempt::*step)());
    [[nodiscard]] Duration growing_wait(int tries) const;
    [[nodiscard]] bool out_of_patience();
    void contact();
    void note_stage(std::string_view stage);
    [[nodiscard]] std::string shown() const;  // the container, for people
    void say(std::string line);

    DockerRuntime& runtime_;
    docker::Api& api_;
    docker::Place& place_;
    WorkKeeper& keeper_;
    AttemptContext context_;
    RuntimeListener& listener_;
    const std::string& ticket_id_;
    MonoTime began_;
    Stage stage_ = Stage::kLook;
    docker::Task task_;
    std::string work_;  // what this ticket asks for, as a hash: a container of other work is not taken for it
    TaskOutput output_;
    docker::ContainerLog log_;

    std::string name_;
    std::string id_;
    bool pulled_ = false;
    bool adopted_ = false;
    int conflicts_ = 0;
    bool held_ = false;    // a container of an earlier attempt may exist
    bool unsure_ = false;  // one of this attempt may
    std::optional<docker::ContainerDetail> detail_;
    std::optional<docker::WaitAnswer> wait_answer_;
    std::optional<docker::ApiError> start_failure_;
    bool vanished_ = false;

    std::optional<StopReason> stopped_;
    bool over_time_ = false;    // of our own limit
    bool stop_worked_ = false;  // it ran when it was told to end
    MonoTime stop_until_{};
    bool killed_ = false;
    bool killed_by_engine_ = false;  // and not because of us
    Duration limit_{};

    std::optional<MonoTime> lost_since_;
    std::string lost_why_;
    bool contact_lost_ = false;
    int tries_ = 0;
    int waits_failed_ = 0;

    MonoTime stage_began_{};
    RuntimeReport report_;
    boost::asio::steady_timer step_timer_;
    boost::asio::steady_timer limit_timer_;
    boost::asio::steady_timer look_timer_;
    boost::asio::steady_timer remove_timer_;
    http::Call call_;
    http::Call wait_call_;
    http::Call look_call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
