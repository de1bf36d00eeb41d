// Reads what the pods of one Job print, into a TaskOutput: followed while a pod runs, to its end once it has ended.
// Nodes close a log that is followed when the container ends, may not have it any more, and keep only so much of it.
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "runtimes/kubernetes_api.h"
#include "runtimes/task_output.h"

namespace wa::kubernetes {

class PodLog {
public:
    struct Calls {
        std::function<void(std::string)> incomplete;  // some of the output is missing, or may be: why
        std::function<void()> over;                   // once, after finish(): nothing more comes
    };
    // `look`: how often the log of an ended pod must go on, to be waited for. What is referred to must outlive it.
    PodLog(boost::asio::io_context& loop, Api& api, TaskOutput& output, const std::string& ticket_id, Duration look,
           Calls calls);
    PodLog(const PodLog&) = delete;
    PodLog& operator=(const PodLog&) = delete;

    // A pod runs. Nothing happens when it is followed already.
    void follow(const std::string& pod);
    // Nothing more is to be asked of a pod that is gone; what still comes is taken.
    void pod_is_gone() { gone_ = true; }
    // It has ended. Not `readable`: its pod, and the log with it, is gone. over() may come before this returns.
    void finish(const std::string& pod, bool readable);
    // In place of finish(), or when no more is hoped for.
    void give_up(std::string why);
    // No call comes any more.
    void stop();

private:
    void take_up(const std::string& pod);
    void read(bool follow);
    [[nodiscard]] bool take(std::string_view bytes);
    void ended(const Reply<Nothing>& reply);
    void read_again();
    void look();
    void end();
    void after(boost::asio::steady_timer& timer, Duration wait, void (PodLog::*next)());

    Api& api_;
    TaskOutput& output_;
    const std::string& ticket_id_;
    Duration look_;
    Calls calls_;
    std::string pod_;         // whose log is read
    bool finishing_ = false;  // it has ended
    bool gone_ = false;
    bool over_ = false;
    std::optional<std::uint64_t> end_;  // what was seen when the stream of it ended by itself
    std::string lacks_;                 // what the node says in place of a log
    int tries_ = 0;
    std::uint64_t bytes_ = 0;  // of this reading
    std::uint64_t bytes_before_ = 0;
    int looks_ = 0;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer look_timer_;
    http::ServiceHandle call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa::kubernetes
