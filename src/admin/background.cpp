#include "admin/background.h"

#include <utility>

namespace wa::admin {

bool BackgroundJobs::run(std::function<void()> job) {
    const std::scoped_lock lock(mutex_);
    if (stopping_ || waiting_.size() >= kMaxJobs) return false;
    waiting_.push_back(std::move(job));
    wake_.notify_one();
    return true;
}

void BackgroundJobs::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_) return;
        std::function<void()> job = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
    }
}

void BackgroundJobs::stop() {
    std::deque<std::function<void()>> dropped;  // what they hold goes without the lock
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    dropped.swap(waiting_);
    wake_.notify_all();
}

BackgroundThread::BackgroundThread(std::shared_ptr<BackgroundJobs> jobs)
    : jobs_(std::move(jobs)), thread_([jobs = jobs_] { jobs->work(); }) {}

BackgroundThread::~BackgroundThread() {
    jobs_->stop();
    thread_.join();
}

}  // namespace wa::admin
