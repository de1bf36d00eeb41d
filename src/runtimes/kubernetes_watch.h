// The Jobs and pods of a domain, watched: two streams, however many attempts there are.
//
// A list, then a watch from where the list ended; watches are ended after a minute (by the server, or by us if it does
// not) and resumed, so that a connection that is dead without a word is noticed; bookmarks keep the place fresh; a
// place that the server has forgotten (410) means a new list. It begins with the first listener and rests when there is
// none.
//
// Threading: the loop. A listener may leave, or be destroyed, from inside what it is told; this may, too. Nothing is
// kept of objects that nobody listens for.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "runtimes/kubernetes_api.h"

namespace wa::kubernetes {

// One kind of object, as protocol.
class ObjectWatch {
public:
    struct Events {
        std::function<void(WatchEvent::Type, const boost::json::object&)> changed;
        std::function<void()> listed;            // after all objects of a list were told as kAdded
        std::function<void(const Error&)> lost;  // it cannot be had at present
        std::function<bool()> wanted;            // asked before each list and watch; false: it rests
    };
    ObjectWatch(boost::asio::io_context& loop, const Clock& clock, Api& api, Kind kind, std::string selector,
                Duration retry_wait, Events events);
    ~ObjectWatch();
    ObjectWatch(const ObjectWatch&) = delete;
    ObjectWatch& operator=(const ObjectWatch&) = delete;

    void begin();
    void end();
    [[nodiscard]] bool is_listing() const { return listing_; }  // what changed() tells comes from a list

private:
    void list(const std::string& next);
    void listed(const Reply<Page>& reply);
    void watch();
    [[nodiscard]] Result<void> take(std::string_view line);
    void watch_ended(const Reply<Nothing>& reply);
    void list_anew();
    void again_after(Duration wait, bool anew);
    [[nodiscard]] Duration wait_after_watch();
    [[nodiscard]] Duration growing_wait();

    const Clock& clock_;
    Api& api_;
    Kind kind_;
    std::string selector_;
    Duration retry_wait_;
    Events events_;
    bool running_ = false;
    bool listing_ = false;
    std::string version_;
    int failures_ = 0;
    MonoTime watch_began_{};
    std::shared_ptr<LineSplitter> lines_;
    http::ServiceHandle call_;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer limit_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

class JobListener {
public:
    virtual ~JobListener() = default;
    virtual void job_seen(const JobState& job) = 0;
    // Deleted, or not in a list: to be asked about.
    virtual void job_missed() = 0;
    virtual void pod_seen(const PodState& pod) = 0;
    virtual void pod_gone(const PodState& pod) = 0;
    virtual void watch_lost(const Error& why) = 0;
    virtual void watch_back() = 0;
};

class JobWatch {
public:
    JobWatch(boost::asio::io_context& loop, const Clock& clock, Api& api, std::string selector, Duration retry_wait);
    ~JobWatch();
    JobWatch(const JobWatch&) = delete;
    JobWatch& operator=(const JobWatch&) = delete;

    // One listener for a name. It is told what changes from now on; what is there already it has to ask for.
    void listen(const std::string& job_name, JobListener& listener);
    void leave(const std::string& job_name, const JobListener& listener);
    void end();

private:
    void job_changed(WatchEvent::Type type, const boost::json::object& object);
    void pod_changed(WatchEvent::Type type, const boost::json::object& object);
    void jobs_listed();
    void lost(const Error& why);
    [[nodiscard]] bool back();  // false: this is not there any more
    void tell_all(const std::function<void(JobListener&)>& tell);
    [[nodiscard]] JobListener* listener_of(const std::string& job_name) const;

    std::map<std::string, JobListener*, std::less<>> listeners_;
    std::set<std::string, std::less<>> seen_;  // names in the list that is being read
    bool lost_ = false;
    ObjectWatch jobs_;
    ObjectWatch pods_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa::kubernetes
