// One thread for what would hold up the HTTP thread: large plans, long readings.
//
// The thread has one owner, who ends it before what the jobs use goes away. The jobs' side may outlive it: then nothing
// is taken any more.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace wa::admin {

// Thread-safe.
class BackgroundJobs {
public:
    // False: too much is waiting (32 jobs), or the thread has ended.
    [[nodiscard]] bool run(std::function<void()> job);

private:
    friend class BackgroundThread;
    static constexpr std::size_t kMaxJobs = 32;
    void work();
    void stop();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> waiting_;
    bool stopping_ = false;
};

class BackgroundThread {
public:
    explicit BackgroundThread(std::shared_ptr<BackgroundJobs> jobs);
    ~BackgroundThread();  // waits for the job under way, drops the others. Not from within a job.
    BackgroundThread(const BackgroundThread&) = delete;
    BackgroundThread& operator=(const BackgroundThread&) = delete;

private:
    std::shared_ptr<BackgroundJobs> jobs_;
    std::thread thread_;
};

}  // namespace wa::admin
