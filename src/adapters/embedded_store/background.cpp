#include "adapters/embedded_store/background.h"

#include <pthread.h>

#include <utility>

namespace wa::store {

Background::Background(const char* name, std::size_t most_waiting) : name_(name), most_(most_waiting) {
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), name_);
        loop();
    });
}

bool Background::run(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ || tasks_.size() >= most_) return false;
        tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
    return true;
}

void Background::pause(Duration time) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, time, [this] { return stopping_; });
}

void Background::stop() {
    std::deque<std::function<void()>> dropped;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        dropped.swap(tasks_);
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void Background::loop() {
    while (true) {
        std::function<void()> task;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
            if (stopping_) return;
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        task();
    }
}

}  // namespace wa::store
