// Reads what one container prints, into a TaskOutput: followed while it runs, and once more to its end when it has
// ended, since engines close a log that is followed with the container, not with its output.
// Threading: the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtimes/docker_api.h"
#include "runtimes/docker_frames.h"
#include "runtimes/task_output.h"

namespace wa::docker {

class ContainerLog {
public:
    struct Calls {
        std::function<void(std::string)> say;         // the engine's own words among the output
        std::function<void(std::string)> incomplete;  // some of the output is missing, or may be: why
        std::function<void()> over;                   // once, after finish(): nothing more comes
    };
    // `first_wait`: before a log that broke off is asked for again; it grows. What is referred to must outlive it.
    ContainerLog(boost::asio::io_context& loop, Api& api, TaskOutput& output, const std::string& ticket_id,
                 Duration first_wait, Calls calls);
    ContainerLog(const ContainerLog&) = delete;
    ContainerLog& operator=(const ContainerLog&) = delete;

    // The container runs. Nothing happens when it is followed already; one whose log ended is read again.
    void follow(const std::string& id);
    // The container is gone, and its log with it: what was followed is all there is.
    void is_gone();
    // It has ended. over() may come before this returns.
    void finish(const std::string& id);
    // No call comes any more.
    void stop();

private:
    void read(bool follow);
    [[nodiscard]] bool take(std::string_view bytes);
    [[nodiscard]] bool take_frame(TaskLogStream stream, std::string_view bytes);
    void ended(const Reply<std::monostate>& reply);
    void read_again();
    void read_to_the_end();
    void give_up(std::string why);
    void look();
    void end();
    void after(boost::asio::steady_timer& timer, Duration wait, void (ContainerLog::*next)());

    Api& api_;
    TaskOutput& output_;
    const std::string& ticket_id_;
    Duration first_wait_;
    Calls calls_;
    std::string id_;
    LogFrames frames_;
    bool finishing_ = false;  // the container has ended
    bool complete_ = false;
    bool refused_ = false;   // there is no more of it
    bool is_final_ = false;  // read after the end
    bool over_ = false;
    bool some_missing_ = false;
    int tries_ = 0;
    std::uint64_t bytes_ = 0;         // of all that was read
    std::uint64_t bytes_before_ = 0;  // when it was last looked
    int looks_ = 0;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer look_timer_;
    http::Call call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa::docker
